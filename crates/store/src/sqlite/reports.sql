-- What version 4 adds: TLS reports (RFC 8460), and MTA-STS policies of our own.

-- Sessions, counted. A row belongs to no report until one is drawn up; what is counted for the same day
-- after that goes into another.
CREATE TABLE tlsrpt_results (
    report  INTEGER NOT NULL,           -- 0 until a report is drawn up
    day     INTEGER NOT NULL,           -- days since 1970, of UTC
    domain  TEXT    NOT NULL,           -- whom reports are for
    id      INTEGER NOT NULL,           -- the checksum of the next three
    policy  INTEGER NOT NULL,           -- which of tlsrpt_policies, of the same report, day and domain
    outcome INTEGER NOT NULL,           -- 0 sessions that succeeded, 1 that failed, 2 in how many `failure` was met
    failure TEXT    NOT NULL,           -- JSON; empty unless outcome is 2
    count   INTEGER NOT NULL,
    PRIMARY KEY (report, day, domain, id)
) STRICT, WITHOUT ROWID;

-- The policies in them, each once.
CREATE TABLE tlsrpt_policies (
    report  INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    domain  TEXT    NOT NULL,
    id      INTEGER NOT NULL,           -- the checksum of the text
    text    TEXT    NOT NULL,           -- JSON
    PRIMARY KEY (report, day, domain, id)
) STRICT, WITHOUT ROWID;

-- One row: the batch of counts that was added last, so that none is added twice, how many results there are,
-- and what they and their policies take, about.
CREATE TABLE tlsrpt_counting (
    last_batch INTEGER NOT NULL,
    results    INTEGER NOT NULL,
    octets     INTEGER NOT NULL
) STRICT;

INSERT INTO tlsrpt_counting (last_batch, results, octets) VALUES (0, 0, 0);

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

-- Reports of others about us, and what came as one and could not be read.
CREATE TABLE tlsrpt_received (
    id           INTEGER PRIMARY KEY,
    received_at  INTEGER NOT NULL,
    source       INTEGER NOT NULL,      -- 0 mail, 1 HTTPS, 2 import
    organization TEXT    NOT NULL,      -- empty where it says none
    report_id    TEXT    NOT NULL,
    submitter    TEXT    NOT NULL,
    start_at     INTEGER NOT NULL,
    end_at       INTEGER NOT NULL,
    successful   INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    remarks      TEXT    NOT NULL,      -- JSON: what is strange about it
    unreadable   TEXT,                  -- why it could not be read
    digest       BLOB    NOT NULL,      -- SHA-256 of what it says, or of its octets if nobody can read them
    holder       TEXT    NOT NULL,      -- whose room it takes
    octets       INTEGER NOT NULL       -- about, with all that belongs to it
) STRICT;

CREATE UNIQUE INDEX tlsrpt_received_name ON tlsrpt_received (organization, report_id, digest);
CREATE INDEX tlsrpt_received_submitter ON tlsrpt_received (organization, submitter, received_at);
CREATE INDEX tlsrpt_received_end ON tlsrpt_received (end_at);
CREATE INDEX tlsrpt_received_holder ON tlsrpt_received (holder);
CREATE INDEX tlsrpt_received_unreadable ON tlsrpt_received (id) WHERE unreadable IS NOT NULL;

-- What is long about them.
CREATE TABLE tlsrpt_received_texts (
    id       INTEGER PRIMARY KEY,
    report   TEXT NOT NULL,             -- JSON; empty if it could not be read
    original BLOB NOT NULL              -- as it came, in gzip
) STRICT;

-- The numbers in them. The sessions under a policy have an empty result type.
CREATE TABLE tlsrpt_received_results (
    report        INTEGER NOT NULL,
    place         INTEGER NOT NULL,
    policy_domain TEXT    NOT NULL,
    policy_type   TEXT    NOT NULL,
    result_type   TEXT    NOT NULL,
    mx            TEXT    NOT NULL,
    successful    INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    PRIMARY KEY (report, place)
) STRICT, WITHOUT ROWID;

-- Failures that were told of before.
CREATE TABLE tlsrpt_failures (
    policy_domain TEXT    NOT NULL,
    result_type   TEXT    NOT NULL,
    mx            TEXT    NOT NULL,
    last_at       INTEGER NOT NULL,
    PRIMARY KEY (policy_domain, result_type, mx)
) STRICT, WITHOUT ROWID;

CREATE INDEX tlsrpt_failures_last ON tlsrpt_failures (last_at);

-- Those that are new, until everybody knows.
CREATE TABLE tlsrpt_alerts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    at            INTEGER NOT NULL,
    report        INTEGER NOT NULL,
    organization  TEXT    NOT NULL,
    policy_domain TEXT    NOT NULL,
    policy_type   TEXT    NOT NULL,
    result_type   TEXT    NOT NULL,
    mx            TEXT    NOT NULL,
    sessions      INTEGER NOT NULL,
    more          INTEGER NOT NULL,     -- how many others the report tells of that have no row
    hooked        INTEGER NOT NULL,     -- 1 once the webhook has it
    mailed        INTEGER NOT NULL      -- 1 once a mail about it is in the queue
) STRICT;

-- Who takes how much room with reports: each submitter that is known, and under an empty name all others.
CREATE TABLE tlsrpt_holders (
    holder  TEXT    NOT NULL PRIMARY KEY,
    reports INTEGER NOT NULL,
    octets  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tlsrpt_holders_octets ON tlsrpt_holders (octets);

-- One row: how much is kept of the reports of others.
CREATE TABLE tlsrpt_kept (
    reports    INTEGER NOT NULL,
    unreadable INTEGER NOT NULL,
    octets     INTEGER NOT NULL,        -- of both
    failures   INTEGER NOT NULL,
    alerts     INTEGER NOT NULL
) STRICT;

INSERT INTO tlsrpt_kept (reports, unreadable, octets, failures, alerts) VALUES (0, 0, 0, 0, 0);

CREATE TRIGGER tlsrpt_received_comes AFTER INSERT ON tlsrpt_received BEGIN
    UPDATE tlsrpt_kept SET
        reports = reports + (NEW.unreadable IS NULL),
        unreadable = unreadable + (NEW.unreadable IS NOT NULL),
        octets = octets + NEW.octets;
    INSERT INTO tlsrpt_holders (holder, reports, octets) VALUES (NEW.holder, 1, NEW.octets)
        ON CONFLICT (holder) DO UPDATE SET reports = reports + 1, octets = octets + NEW.octets;
END;

CREATE TRIGGER tlsrpt_received_goes AFTER DELETE ON tlsrpt_received BEGIN
    UPDATE tlsrpt_kept SET
        reports = reports - (OLD.unreadable IS NULL),
        unreadable = unreadable - (OLD.unreadable IS NOT NULL),
        octets = octets - OLD.octets;
    UPDATE tlsrpt_holders SET reports = reports - 1, octets = octets - OLD.octets
        WHERE holder = OLD.holder;
    DELETE FROM tlsrpt_holders WHERE holder = OLD.holder AND reports = 0;
END;

CREATE TRIGGER tlsrpt_failures_come AFTER INSERT ON tlsrpt_failures BEGIN
    UPDATE tlsrpt_kept SET failures = failures + 1;
END;

CREATE TRIGGER tlsrpt_failures_go AFTER DELETE ON tlsrpt_failures BEGIN
    UPDATE tlsrpt_kept SET failures = failures - 1;
END;

CREATE TRIGGER tlsrpt_alerts_come AFTER INSERT ON tlsrpt_alerts BEGIN
    UPDATE tlsrpt_kept SET alerts = alerts + 1;
END;

CREATE TRIGGER tlsrpt_alerts_go AFTER DELETE ON tlsrpt_alerts BEGIN
    UPDATE tlsrpt_kept SET alerts = alerts - 1;
END;
