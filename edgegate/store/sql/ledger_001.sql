-- One row for each thing that happened. The key is epoch * 2^32 + sequence: new rows go to the end
-- of one B-tree, and a row carries all that its own hash covers (edgegate/store/chain.py).
CREATE TABLE entry (
    key INTEGER PRIMARY KEY,
    epoch INTEGER GENERATED ALWAYS AS (key >> 32) VIRTUAL,
    sequence INTEGER GENERATED ALWAYS AS (key & 4294967295) VIRTUAL,
    source TEXT NOT NULL,
    type TEXT NOT NULL,
    at INTEGER NOT NULL, -- microseconds since 1970, UTC
    subject TEXT,
    clock TEXT NOT NULL,
    monotonic TEXT NOT NULL,
    salt BLOB,
    data BLOB, -- JSON; both NULL once erased
    data_hash BLOB NOT NULL,
    prevhash BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- Entries up to this key may be deleted; ledger.forget() moves it.
CREATE TABLE retention (until INTEGER NOT NULL) STRICT;
INSERT INTO retention VALUES (0);

-- This also stops INSERT OR REPLACE, which deletes without asking the trigger for DELETE.
CREATE TRIGGER entry_goes_to_the_end BEFORE INSERT ON entry
WHEN NEW.key <= (SELECT max(key) FROM entry)
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: an entry goes to the end');
END;

CREATE TRIGGER entry_is_only_erased BEFORE UPDATE ON entry
WHEN NEW.salt IS NOT NULL
    OR NEW.data IS NOT NULL
    OR NEW.key IS NOT OLD.key
    OR NEW.source IS NOT OLD.source
    OR NEW.type IS NOT OLD.type
    OR NEW.at IS NOT OLD.at
    OR NEW.subject IS NOT OLD.subject
    OR NEW.clock IS NOT OLD.clock
    OR NEW.monotonic IS NOT OLD.monotonic
    OR NEW.data_hash IS NOT OLD.data_hash
    OR NEW.prevhash IS NOT OLD.prevhash
    OR NEW.hash IS NOT OLD.hash
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: only data may be erased');
END;

CREATE TRIGGER entry_is_kept BEFORE DELETE ON entry
WHEN OLD.key > coalesce((SELECT max(until) FROM retention), 0)
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: entries are kept');
END;

-- epoch: the one new entries get; anchor_key, anchor_hash: the newest entry that was forgotten.
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

-- From here on: what the entries amount to. It is written in the same transaction as they are,
-- and can be built again from them.
CREATE TABLE session (
    id TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    location TEXT NOT NULL,
    pass TEXT,
    deadline INTEGER, -- microseconds since 1970, UTC
    body BLOB NOT NULL,
    UNIQUE (customer, location)
);
CREATE INDEX session_deadline ON session (deadline);
CREATE INDEX session_pass ON session (pass);

CREATE TABLE coverage (
    customer TEXT NOT NULL,
    until INTEGER, -- microseconds since 1970, UTC; NULL: as long as the session
    session TEXT,
    body BLOB NOT NULL
);
CREATE INDEX coverage_customer ON coverage (customer, until);

-- What was taken from passes, less what came back.
CREATE TABLE debit (
    pass TEXT,
    device TEXT,
    epoch INTEGER,
    sequence INTEGER,
    amount INTEGER NOT NULL,
    session TEXT NOT NULL,
    PRIMARY KEY (pass, device, epoch, sequence)
) WITHOUT ROWID;
CREATE INDEX debit_session ON debit (session);

-- What pay-as-you-go visits cost: from the sale on the least, from the end on the charge.
CREATE TABLE charge (
    session TEXT,
    offer TEXT,
    customer TEXT NOT NULL,
    at INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (session, offer)
) WITHOUT ROWID;
CREATE INDEX charge_customer ON charge (customer, at);

CREATE TABLE arrived (reservation TEXT PRIMARY KEY) WITHOUT ROWID;

-- How somebody last came or went at a location: entry, exit, or closed by a rule.
CREATE TABLE moved (
    customer TEXT,
    location TEXT,
    at INTEGER NOT NULL,
    how TEXT NOT NULL,
    PRIMARY KEY (customer, location)
) WITHOUT ROWID;

-- The newest business day on which anybody was let in.
CREATE TABLE begun (location TEXT PRIMARY KEY, day TEXT NOT NULL) WITHOUT ROWID;

-- What the exchange with the cloud and with the site's other devices remembers
-- (edgegate/store/sync_state.py). To lose it costs traffic, never an entry.
-- name 'uploaded': the key of the newest entry that the cloud has; 'reached': when it last answered;
-- 'trusted': the last instant for which somebody vouched, 'trusted_boot' and 'trusted_since_boot': in
-- which boot, and how many microseconds after its start.
CREATE TABLE sync_cursor (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Own entries that the cloud would not take or put aside, by the entry's key.
CREATE TABLE quarantined (
    key INTEGER PRIMARY KEY,
    outcome TEXT NOT NULL, -- refused: it was not taken; quarantined: it was, and counts for nothing
    why TEXT NOT NULL
) STRICT;

-- Ids of the commands that were acted on in this boot.
CREATE TABLE command_id (
    id TEXT PRIMARY KEY,
    boot TEXT NOT NULL,
    expires_at INTEGER NOT NULL -- microseconds since 1970, UTC
) STRICT, WITHOUT ROWID;

-- Which entries of other devices are carried into the tables above, as ranges without a gap.
CREATE TABLE heard (
    device TEXT,
    epoch INTEGER,
    first INTEGER,
    last INTEGER NOT NULL,
    PRIMARY KEY (device, epoch, first)
) STRICT, WITHOUT ROWID;
