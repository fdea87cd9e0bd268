-- What changes without being collected: a run with nothing new must not make a snapshot of the lake.
CREATE TABLE IF NOT EXISTS runs (
    run             TEXT PRIMARY KEY,
    pipeline        TEXT NOT NULL,
    state           TEXT NOT NULL,
    started_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    items_seen      INTEGER NOT NULL,
    items_stored    INTEGER NOT NULL,
    items_unchanged INTEGER NOT NULL,
    items_rejected  INTEGER NOT NULL,
    items_vanished  INTEGER NOT NULL,
    bytes_stored    INTEGER NOT NULL,
    snapshots       INTEGER NOT NULL,
    cursor_before   TEXT,
    cursor_after    TEXT,
    error           TEXT
);
CREATE INDEX IF NOT EXISTS runs_by_pipeline ON runs (pipeline, started_at);
