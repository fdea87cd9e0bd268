-- What was asked. Rows are only ever added; each hash covers the one before it.
CREATE TABLE IF NOT EXISTS audit (
    seq         INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    who         TEXT NOT NULL,
    role        TEXT NOT NULL,
    operation   TEXT NOT NULL,
    face        TEXT NOT NULL,
    input       TEXT NOT NULL,
    rows        INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    duration_us INTEGER NOT NULL,
    request     TEXT NOT NULL,
    hash        BLOB NOT NULL
);
