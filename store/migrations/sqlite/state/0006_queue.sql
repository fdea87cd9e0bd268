-- What waits, what is at work and what is over is one table. Older rows were all begun by a person.
ALTER TABLE runs ADD COLUMN trigger TEXT NOT NULL DEFAULT 'person';
ALTER TABLE runs ADD COLUMN reason TEXT;
ALTER TABLE runs ADD COLUMN due_at BIGINT;
ALTER TABLE runs ADD COLUMN attempt BIGINT NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN retry_of TEXT;
ALTER TABLE runs ADD COLUMN fetch_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN convert_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN commit_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN index_ms BIGINT NOT NULL DEFAULT 0;
-- Of the queue alone: higher priorities first; runs of one host share a limit; who works on it, until when that is
-- believed; whether it is asked to end; a key by which what is asked for twice is queued once.
ALTER TABLE runs ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN host TEXT;
ALTER TABLE runs ADD COLUMN worker TEXT;
ALTER TABLE runs ADD COLUMN lease_until BIGINT;
ALTER TABLE runs ADD COLUMN cancel BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN once TEXT;
-- A crash of an older dkc may have left more than one at work.
UPDATE runs SET state = 'failed', error = 'ended without a word: killed, or the machine stopped'
WHERE state = 'running'
  AND EXISTS (SELECT 1 FROM runs AS later
              WHERE later.state = 'running' AND later.pipeline = runs.pipeline AND later.run > runs.run);
-- One run of a pipeline at once, whoever begins it.
CREATE UNIQUE INDEX runs_at_work ON runs (pipeline) WHERE state = 'running';
CREATE UNIQUE INDEX runs_once ON runs (once) WHERE once IS NOT NULL;
-- What failed is tried again once; a person may ask for it as often as they like.
CREATE UNIQUE INDEX runs_retried ON runs (retry_of) WHERE trigger = 'retry';
CREATE INDEX runs_waiting ON runs (state, priority DESC, started_at, run) WHERE state = 'queued';
CREATE INDEX runs_active ON runs (pipeline, started_at, run) WHERE state IN ('queued', 'running');
CREATE INDEX runs_counted ON runs (pipeline, state);
CREATE INDEX runs_by_state ON runs (state, started_at, run);
CREATE INDEX runs_by_start ON runs (started_at, run);
CREATE INDEX runs_by_worker ON runs (worker) WHERE worker IS NOT NULL;
-- Up to when the times of a schedule are decided, and when it is due next.
CREATE TABLE schedules (
    pipeline      TEXT NOT NULL,
    trigger       TEXT NOT NULL,
    decided_until BIGINT NOT NULL,
    next_due      BIGINT,
    PRIMARY KEY (pipeline, trigger)
) WITHOUT ROWID;
-- What runs said while they were at work.
CREATE TABLE run_log (
    seq     INTEGER PRIMARY KEY,
    run     TEXT NOT NULL,
    at      BIGINT NOT NULL,
    level   TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX run_log_by_run ON run_log (run, seq);
