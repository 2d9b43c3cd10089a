-- Version 2.

-- One row for each zone whose trust anchor is followed (RFC 5011). It outlives the anchor in the
-- configuration: what was revoked stays revoked.
CREATE TABLE anchors (
    zone     TEXT PRIMARY KEY,          -- with its final dot
    state    TEXT NOT NULL,             -- what it means is for others to say
    checksum BLOB NOT NULL              -- SHA-256 over zone and state
) STRICT, WITHOUT ROWID;
