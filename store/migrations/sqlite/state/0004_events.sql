-- What happened, in an order that never changes. `once` tells what has been announced already.
CREATE TABLE IF NOT EXISTS events (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    once    TEXT NOT NULL UNIQUE,
    data    TEXT NOT NULL
);
