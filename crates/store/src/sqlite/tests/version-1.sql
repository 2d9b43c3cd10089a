-- Version 1.

-- One row for each message that was accepted and is not done with.
CREATE TABLE messages (
    id           INTEGER PRIMARY KEY,   -- the queue id as a number
    reverse_path TEXT    NOT NULL,      -- for lists; empty for the null path
    envelope     TEXT    NOT NULL,      -- JSON
    size         INTEGER NOT NULL,      -- octets
    received_at  INTEGER NOT NULL,
    checksum     BLOB    NOT NULL       -- SHA-256 over all octets, then the envelope
) STRICT;

-- The octets of messages. Rows without a message were staged and not yet accepted.
CREATE TABLE pieces (
    message_id INTEGER NOT NULL,
    place      INTEGER NOT NULL,        -- 0 for the first
    octets     BLOB    NOT NULL,
    PRIMARY KEY (message_id, place)
) STRICT;

CREATE TRIGGER message_gone AFTER DELETE ON messages BEGIN
    DELETE FROM pieces WHERE message_id = OLD.id;
END;

-- One row for each message and next hop that is not done with.
CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id  INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    next_hop    TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('incoming', 'active', 'deferred', 'hold', 'corrupt')),
    due_at      INTEGER,                -- set exactly while it waits for its time
    attempts    INTEGER NOT NULL DEFAULT 0,
    expires_at  INTEGER NOT NULL,
    floor       TEXT,                   -- JSON
    last_reason TEXT,
    wish        TEXT CHECK (wish IN ('hold', 'remove')), -- what to do when the attempt ends
    CHECK ((due_at IS NOT NULL) = (state IN ('incoming', 'deferred')))
) STRICT;

CREATE INDEX deliveries_of_message ON deliveries (message_id);
CREATE INDEX deliveries_due ON deliveries (next_hop, state, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_active ON deliveries (state) WHERE state = 'active';

CREATE TABLE recipients (
    delivery_id INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    mailbox     TEXT    NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'bounced')),
    reply       TEXT,                   -- JSON
    PRIMARY KEY (delivery_id, position)
) STRICT, WITHOUT ROWID;

-- When the first delivery for each next hop falls due, so that a long queue for one busy next hop
-- does not have to be read to find work for the others; by state, so that neither do many next hops
-- that fail again and again. Kept by the triggers below.
CREATE TABLE next_hops (
    next_hop TEXT    NOT NULL,
    state    TEXT    NOT NULL CHECK (state IN ('incoming', 'deferred')),
    due_at   INTEGER NOT NULL,
    PRIMARY KEY (next_hop, state)
) STRICT, WITHOUT ROWID;

CREATE INDEX next_hops_due ON next_hops (state, due_at);

-- How many messages, and deliveries by state, so that nobody has to count rows.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, count)
VALUES ('messages', 0), ('incoming', 0), ('active', 0), ('deferred', 0), ('hold', 0), ('corrupt', 0);

CREATE TRIGGER message_counted AFTER INSERT ON messages BEGIN
    UPDATE counters SET count = count + 1 WHERE name = 'messages';
END;

CREATE TRIGGER message_uncounted AFTER DELETE ON messages BEGIN
    UPDATE counters SET count = count - 1 WHERE name = 'messages';
END;

CREATE TRIGGER delivery_new AFTER INSERT ON deliveries BEGIN
    UPDATE counters SET count = count + 1 WHERE name = NEW.state;
    DELETE FROM next_hops WHERE next_hop = NEW.next_hop;
    INSERT INTO next_hops (next_hop, state, due_at)
        SELECT next_hop, state, due_at FROM deliveries
        WHERE next_hop = NEW.next_hop AND state = 'incoming' AND due_at IS NOT NULL
        ORDER BY due_at LIMIT 1;
    INSERT INTO next_hops (next_hop, state, due_at)
        SELECT next_hop, state, due_at FROM deliveries
        WHERE next_hop = NEW.next_hop AND state = 'deferred' AND due_at IS NOT NULL
        ORDER BY due_at LIMIT 1;
END;

CREATE TRIGGER delivery_moved AFTER UPDATE OF state, due_at ON deliveries BEGIN
    UPDATE counters SET count = count - 1 WHERE name = OLD.state;
    UPDATE counters SET count = count + 1 WHERE name = NEW.state;
    DELETE FROM next_hops WHERE next_hop = NEW.next_hop;
    INSERT INTO next_hops (next_hop, state, due_at)
        SELECT next_hop, state, due_at FROM deliveries
        WHERE next_hop = NEW.next_hop AND state = 'incoming' AND due_at IS NOT NULL
        ORDER BY due_at LIMIT 1;
    INSERT INTO next_hops (next_hop, state, due_at)
        SELECT next_hop, state, due_at FROM deliveries
        WHERE next_hop = NEW.next_hop AND state = 'deferred' AND due_at IS NOT NULL
        ORDER BY due_at LIMIT 1;
END;

CREATE TRIGGER delivery_gone AFTER DELETE ON deliveries BEGIN
    UPDATE counters SET count = count - 1 WHERE name = OLD.state;
    DELETE FROM next_hops WHERE next_hop = OLD.next_hop;
    INSERT INTO next_hops (next_hop, state, due_at)
        SELECT next_hop, state, due_at FROM deliveries
        WHERE next_hop = OLD.next_hop AND state = 'incoming' AND due_at IS NOT NULL
        ORDER BY due_at LIMIT 1;
    INSERT INTO next_hops (next_hop, state, due_at)
        SELECT next_hop, state, due_at FROM deliveries
        WHERE next_hop = OLD.next_hop AND state = 'deferred' AND due_at IS NOT NULL
        ORDER BY due_at LIMIT 1;
END;

-- What was tried; outlives the message.
CREATE TABLE receipts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    receipt    TEXT    NOT NULL         -- JSON
) STRICT;

CREATE INDEX receipts_of_message ON receipts (message_id);
CREATE INDEX receipts_by_age ON receipts (at);

CREATE TABLE sts_policies (
    domain     TEXT PRIMARY KEY,
    id         TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    fetched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sts_policies_by_age ON sts_policies (fetched_at);
