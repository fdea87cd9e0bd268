-- Acts on the world outside that wait for their owner, and what became of them; that one has expired is told by the clock.
CREATE TABLE approvals (
    id             TEXT PRIMARY KEY,
    digest         TEXT NOT NULL,
    who            TEXT NOT NULL,
    operation      TEXT NOT NULL,
    summary        TEXT NOT NULL,
    is_destructive BIGINT NOT NULL,
    untrusted      BIGINT NOT NULL,
    state          TEXT NOT NULL,
    asked_at       BIGINT NOT NULL,
    decided_at     BIGINT,
    decided_by     TEXT,
    expires_at     BIGINT NOT NULL
);
CREATE INDEX approvals_by_digest ON approvals (digest, who);
CREATE INDEX approvals_by_state ON approvals (state, expires_at);
-- Who has been shown text that others wrote, by which operation first, and until when that is remembered.
CREATE TABLE tainted (
    who   TEXT PRIMARY KEY,
    why   TEXT NOT NULL,
    until BIGINT NOT NULL
);
