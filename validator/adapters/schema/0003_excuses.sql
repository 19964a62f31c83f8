-- Whom a fault of ours has cost a question: the hour does not count for them.
CREATE TABLE geomagnetic_excuses (
    hour timestamptz NOT NULL REFERENCES geomagnetic_hours ON DELETE CASCADE,
    hotkey text NOT NULL REFERENCES miners (hotkey) ON DELETE CASCADE,
    PRIMARY KEY (hour, hotkey)
);
CREATE INDEX geomagnetic_excuses_hotkey_idx ON geomagnetic_excuses (hotkey);
