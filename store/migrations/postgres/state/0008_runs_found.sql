-- A run is found by its end, which is what lists show of it, and by the run that it tries again.
CREATE INDEX runs_by_end ON runs (right(run, 8));
CREATE INDEX runs_by_retry ON runs (retry_of) WHERE retry_of IS NOT NULL;
