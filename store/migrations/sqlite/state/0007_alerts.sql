-- What is wrong, and what was: one row a key, open until it is resolved.
CREATE TABLE alerts (
    key         TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    what        TEXT NOT NULL,
    next_step   TEXT NOT NULL,
    since       BIGINT NOT NULL,
    resolved_at BIGINT
) WITHOUT ROWID;
-- What each channel was told to be wrong, and not yet that it is over. Whoever tells it just now holds a claim.
CREATE TABLE alerts_told (
    key           TEXT NOT NULL,
    channel       TEXT NOT NULL,
    told_at       BIGINT,
    claimed_until BIGINT,
    PRIMARY KEY (key, channel)
) WITHOUT ROWID;
-- The columns of each dataset when the lake was last looked at, and before they last changed: JSON lists.
CREATE TABLE alerts_columns (
    dataset      TEXT PRIMARY KEY,
    names        TEXT NOT NULL,
    names_before TEXT,
    changed_at   BIGINT
) WITHOUT ROWID;
-- Since when it is watched whether a pipeline collects.
CREATE TABLE alerts_watched (
    pipeline TEXT PRIMARY KEY,
    since    BIGINT NOT NULL
) WITHOUT ROWID;
