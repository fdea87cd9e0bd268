-- Who may ask the gateway. A token's text is nowhere, only its keyed hash; a revoked token stays, because the audit names it.
CREATE TABLE tokens (
    id                  TEXT PRIMARY KEY,
    hash                BYTEA NOT NULL,
    name                TEXT NOT NULL,
    role                TEXT NOT NULL,
    datasets            TEXT,
    created_at          BIGINT NOT NULL,
    expires_at          BIGINT,
    last_used_at        BIGINT,
    revoked_at          BIGINT,
    requests_per_second BIGINT
);
