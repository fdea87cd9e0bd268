-- What was asked. Rows are only ever added; each hash covers the one before it.
CREATE TABLE audit (
    seq         BIGINT PRIMARY KEY,
    at          BIGINT NOT NULL,
    who         TEXT NOT NULL,
    role        TEXT NOT NULL,
    operation   TEXT NOT NULL,
    face        TEXT NOT NULL,
    input       TEXT NOT NULL,
    rows        BIGINT NOT NULL,
    bytes       BIGINT NOT NULL,
    outcome     TEXT NOT NULL,
    duration_us BIGINT NOT NULL,
    request     TEXT NOT NULL,
    hash        BYTEA NOT NULL
);
