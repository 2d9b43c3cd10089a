-- What version 4 adds: TLS reports (RFC 8460), and MTA-STS policies of our own.

-- Sessions, counted. A row belongs to no report until one is drawn up; what is counted for the same day
-- after that goes into another.
CREATE TABLE tlsrpt_results (
    report  INTEGER NOT NULL,           -- 0 until a report is drawn up
    day     INTEGER NOT NULL,           -- days since 1970, of UTC
    domain  TEXT    NOT NULL,           -- whom reports are for
    id      INTEGER NOT NULL,           -- the checksum of the next three
    policy  TEXT    NOT NULL,           -- JSON
    outcome INTEGER NOT NULL,           -- 0 sessions that succeeded, 1 that failed, 2 in how many `failure` was met
    failure TEXT    NOT NULL,           -- JSON; empty unless outcome is 2
    count   INTEGER NOT NULL,
    PRIMARY KEY (report, day, domain, id)
) STRICT, WITHOUT ROWID;

-- One row: the batch of counts that was added last, so that none is added twice, and how many rows there
-- are above.
CREATE TABLE tlsrpt_counting (
    last_batch INTEGER NOT NULL,
    results    INTEGER NOT NULL
) STRICT;

INSERT INTO tlsrpt_counting (last_batch, results) VALUES (0, 0);

-- One row for each report whose destinations are still to be found out, then one for each destination.
CREATE TABLE tlsrpt_outgoing (
    report      INTEGER NOT NULL,
    destination TEXT    NOT NULL,       -- a URI; empty until the domain was asked where reports go
    day         INTEGER NOT NULL,
    domain      TEXT    NOT NULL,
    state       INTEGER NOT NULL,       -- 0 waiting, 1 sent, 2 given up
    attempts    INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,       -- means something while it waits
    expires_at  INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    queue_id    INTEGER,                -- of the mail, where one was handed over
    reason      TEXT,                   -- why the last attempt failed
    PRIMARY KEY (report, destination)
) STRICT, WITHOUT ROWID;

CREATE INDEX tlsrpt_outgoing_due ON tlsrpt_outgoing (due_at) WHERE state = 0;

CREATE INDEX tlsrpt_outgoing_changed ON tlsrpt_outgoing (changed_at);

-- Policies that were published, as they were last: RFC 8461.
CREATE TABLE sts_published (
    domain  TEXT    NOT NULL PRIMARY KEY,
    edition INTEGER NOT NULL,           -- how often the same text was published anew
    text    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
