-- Acts on the world outside that wait for their owner, and what became of them; that one has expired is told by the clock.
CREATE TABLE IF NOT EXISTS approvals (
    id             TEXT PRIMARY KEY,
    digest         TEXT NOT NULL,
    who            TEXT NOT NULL,
    operation      TEXT NOT NULL,
    summary        TEXT NOT NULL,
    is_destructive INTEGER NOT NULL,
    untrusted      INTEGER NOT NULL,
    state          TEXT NOT NULL,
    asked_at       INTEGER NOT NULL,
    decided_at     INTEGER,
    decided_by     TEXT,
    expires_at     INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS approvals_by_digest ON approvals (digest, who);
CREATE INDEX IF NOT EXISTS approvals_by_state ON approvals (state, expires_at);
-- Who has been shown text that others wrote, by which operation first, and until when that is remembered.
CREATE TABLE IF NOT EXISTS tainted (
    who   TEXT PRIMARY KEY,
    why   TEXT NOT NULL,
    until INTEGER NOT NULL
);
