-- Version 3.
--
-- Every table is read and written by primary key alone: what waits is indexed in the daemon's memory,
-- and a second index would have to be kept durable with each message. Each record carries a checksum,
-- the first 64 bits of SHA-256 over its other fields (rows.rs says which, and why not all).

-- One row for each message that was accepted and is not done with.
CREATE TABLE messages (
    id             INTEGER PRIMARY KEY, -- the queue id as a number
    size           INTEGER NOT NULL,    -- octets
    received_at    INTEGER NOT NULL,
    first_delivery INTEGER NOT NULL,    -- its deliveries have consecutive ids from here on
    deliveries     INTEGER NOT NULL,    -- how many there were at first
    envelope       TEXT    NOT NULL,    -- JSON
    body_checksum  INTEGER,             -- of the body, if it is here
    checksum       INTEGER NOT NULL,
    body           BLOB                 -- last, so that the other columns are read without it
) STRICT;

-- The octets of larger messages. Rows without a message were staged and not yet accepted.
CREATE TABLE pieces (
    message_id INTEGER NOT NULL,
    place      INTEGER NOT NULL,        -- 0 for the first
    checksum   INTEGER NOT NULL,
    octets     BLOB    NOT NULL,
    PRIMARY KEY (message_id, place)
) STRICT, WITHOUT ROWID;

-- One row for each message and next hop that is not done with.
CREATE TABLE deliveries (
    id             INTEGER PRIMARY KEY,
    message_id     INTEGER NOT NULL,
    first_delivery INTEGER NOT NULL,    -- as in its message, whose row is not read to find its others
    deliveries     INTEGER NOT NULL,
    state          INTEGER NOT NULL,    -- 0 incoming, 1 deferred, 2 hold, 3 corrupt
    due_at         INTEGER NOT NULL,    -- means something while it is incoming or deferred
    attempts       INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    delay_warning  INTEGER NOT NULL,    -- 1 once the sender was told that it takes long
    next_hop       TEXT    NOT NULL,
    sender         TEXT    NOT NULL,    -- empty for the null path
    recipients     TEXT    NOT NULL,    -- JSON
    floor          TEXT,                -- JSON
    last_reason    TEXT,
    checksum       INTEGER NOT NULL
) STRICT;

-- What was tried; outlives the message. The key is what makes an attempt recorded once.
CREATE TABLE receipts (
    message_id    INTEGER NOT NULL,
    delivery_id   INTEGER NOT NULL,     -- 0 if it was written by an earlier version
    attempt       INTEGER NOT NULL,
    place         INTEGER NOT NULL,     -- 0 for the first of the attempt
    at            INTEGER NOT NULL,
    circumstances INTEGER NOT NULL,
    checksum      INTEGER NOT NULL,
    receipt       TEXT    NOT NULL,     -- JSON: what is its own
    PRIMARY KEY (message_id, delivery_id, attempt, place)
) STRICT, WITHOUT ROWID;

-- What many receipts share.
CREATE TABLE circumstances (
    id            INTEGER PRIMARY KEY,  -- the checksum of the text
    used_at       INTEGER NOT NULL,     -- not long before the last receipt that refers to it
    circumstances TEXT    NOT NULL      -- JSON
) STRICT;

-- The two that versions 1 and 2 have already are made only if they are missing.

CREATE TABLE IF NOT EXISTS sts_policies (
    domain     TEXT PRIMARY KEY,
    id         TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    fetched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS sts_policies_by_age ON sts_policies (fetched_at);

-- One row for each zone whose trust anchor is followed (RFC 5011). It outlives the anchor in the
-- configuration: what was revoked stays revoked.
CREATE TABLE IF NOT EXISTS anchors (
    zone     TEXT PRIMARY KEY,          -- with its final dot
    state    TEXT NOT NULL,             -- what it means is for others to say
    checksum BLOB NOT NULL              -- SHA-256 over zone and state
) STRICT, WITHOUT ROWID;
