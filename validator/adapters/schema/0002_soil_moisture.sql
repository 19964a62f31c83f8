-- A target is scored as a whole, so it is the target that is in work. One that is closed
-- has been scored, or was given up; its images and predictions are gone.
CREATE TABLE soil_targets (
    target_time timestamptz PRIMARY KEY,
    closed text CHECK (closed IN ('scored', 'abandoned')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    retry_at timestamptz,
    last_error text,
    owner text,
    incarnation integer,
    CONSTRAINT in_work_with_an_owner CHECK ((owner IS NULL) = (incarnation IS NULL)),
    CONSTRAINT not_in_work_when_closed CHECK (closed IS NULL OR owner IS NULL)
);

CREATE TABLE soil_regions (
    target_time timestamptz NOT NULL REFERENCES soil_targets ON DELETE CASCADE,
    number integer NOT NULL CHECK (number >= 0),
    box double precision[] NOT NULL CHECK (cardinality(box) = 4),
    bounds double precision[] NOT NULL CHECK (cardinality(bounds) = 4),
    crs integer NOT NULL CHECK (crs > 0),
    sent boolean NOT NULL DEFAULT false,
    PRIMARY KEY (target_time, number),
    UNIQUE (target_time, box)
);

-- A table of their own: they are read apart from the rest, and deleted long before it.
CREATE TABLE soil_images (
    target_time timestamptz NOT NULL,
    number integer NOT NULL,
    image bytea NOT NULL
        CHECK (octet_length(image) <= 16777216)
        CHECK (substr(image, 1, 4) IN ('\x49492a00', '\x4d4d002a')),
    PRIMARY KEY (target_time, number),
    FOREIGN KEY (target_time, number) REFERENCES soil_regions ON DELETE CASCADE
);
-- Images are compressed already.
ALTER TABLE soil_images ALTER COLUMN image SET STORAGE EXTERNAL;

CREATE DOMAIN soil_grid AS double precision[] CHECK (
    cardinality(VALUE) = 121
    AND array_position(VALUE, NULL) IS NULL
    AND NOT VALUE && '{NaN,Infinity,-Infinity}'::double precision[]
);

-- Collated "C", as pages are in the order of bytes.
CREATE TABLE soil_predictions (
    target_time timestamptz NOT NULL,
    number integer NOT NULL,
    hotkey text COLLATE "C" NOT NULL REFERENCES miners (hotkey) ON DELETE CASCADE,
    surface soil_grid NOT NULL,
    rootzone soil_grid NOT NULL,
    PRIMARY KEY (target_time, number, hotkey),
    FOREIGN KEY (target_time, number) REFERENCES soil_regions ON DELETE CASCADE
);
CREATE INDEX soil_predictions_hotkey_idx ON soil_predictions (hotkey);

CREATE TABLE soil_history (
    target_time timestamptz NOT NULL,
    number integer NOT NULL,
    hotkey text COLLATE "C" NOT NULL REFERENCES miners (hotkey) ON DELETE CASCADE,
    surface_rmse double precision NOT NULL
        CHECK (surface_rmse >= 0 AND surface_rmse < 'infinity'),
    rootzone_rmse double precision NOT NULL
        CHECK (rootzone_rmse >= 0 AND rootzone_rmse < 'infinity'),
    score double precision NOT NULL CHECK (score BETWEEN 0 AND 1),
    PRIMARY KEY (target_time, number, hotkey),
    FOREIGN KEY (target_time, number) REFERENCES soil_regions ON DELETE CASCADE
);
CREATE INDEX soil_history_hotkey_idx ON soil_history (hotkey);
