-- Who may ask the gateway. A token's text is nowhere, only its keyed hash; a revoked token stays, because the audit names it.
CREATE TABLE IF NOT EXISTS tokens (
    id                  TEXT PRIMARY KEY,
    hash                BLOB NOT NULL,
    name                TEXT NOT NULL,
    role                TEXT NOT NULL,
    datasets            TEXT,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER,
    last_used_at        INTEGER,
    revoked_at          INTEGER,
    requests_per_second INTEGER
);
