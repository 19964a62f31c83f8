-- A hotkey is the identity, a uid the chair it sits on: whatever a miner earned
-- hangs on its hotkey and goes with it, so that a newcomer inherits nothing.
CREATE TABLE miners (
    uid integer PRIMARY KEY CHECK (uid BETWEEN 0 AND 255),
    hotkey text NOT NULL UNIQUE,
    ip text NOT NULL,
    port integer NOT NULL CHECK (port BETWEEN 0 AND 65535)
);

-- One row per hour that was asked about; truth in nT once it is scored.
CREATE TABLE geomagnetic_hours (
    hour timestamptz PRIMARY KEY,
    truth integer
);

-- NaN sorts above infinity in PostgreSQL, so the range check refuses it too.
CREATE TABLE geomagnetic_predictions (
    hour timestamptz NOT NULL REFERENCES geomagnetic_hours ON DELETE CASCADE,
    hotkey text NOT NULL REFERENCES miners (hotkey) ON DELETE CASCADE,
    value double precision NOT NULL
        CHECK (value > '-infinity' AND value < 'infinity'),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'processing')),
    owner text,
    incarnation integer,
    PRIMARY KEY (hour, hotkey),
    CONSTRAINT processing_has_an_owner CHECK (
        (status = 'processing') = (owner IS NOT NULL)
        AND (owner IS NULL) = (incarnation IS NULL)
    )
);
CREATE INDEX geomagnetic_predictions_hotkey_idx ON geomagnetic_predictions (hotkey);

CREATE TABLE geomagnetic_history (
    hour timestamptz NOT NULL REFERENCES geomagnetic_hours ON DELETE CASCADE,
    hotkey text NOT NULL REFERENCES miners (hotkey) ON DELETE CASCADE,
    predicted double precision NOT NULL
        CHECK (predicted > '-infinity' AND predicted < 'infinity'),
    score double precision NOT NULL CHECK (score BETWEEN 0 AND 1),
    PRIMARY KEY (hour, hotkey)
);
CREATE INDEX geomagnetic_history_hotkey_idx ON geomagnetic_history (hotkey);

-- A row without scores is a question nobody answered; it counts all the same.
CREATE TABLE score_rows (
    task text NOT NULL CHECK (task IN ('geomagnetic', 'soil_moisture')),
    target_time timestamptz NOT NULL,
    PRIMARY KEY (task, target_time)
);
CREATE INDEX score_rows_target_time_idx ON score_rows (target_time);

CREATE TABLE scores (
    task text NOT NULL,
    target_time timestamptz NOT NULL,
    hotkey text NOT NULL REFERENCES miners (hotkey) ON DELETE CASCADE,
    score double precision NOT NULL CHECK (score BETWEEN 0 AND 1),
    PRIMARY KEY (task, target_time, hotkey),
    FOREIGN KEY (task, target_time) REFERENCES score_rows ON DELETE CASCADE
);
CREATE INDEX scores_hotkey_idx ON scores (hotkey);
