-- Who is on the Wi-Fi (edgegate/store/wifi.py). The rows follow the entries edgegate.wifi.*, and can
-- be built again from them but for what only a row has: counters, addresses, and tries to disconnect.

-- What an Access-Accept said, by the Class that it gave.
CREATE TABLE wifi_grant (
    class TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    location TEXT NOT NULL,
    visit TEXT, -- the session that was open then; NULL: none, as for staff
    nas TEXT NOT NULL,
    place TEXT NOT NULL, -- which of a network of access points
    station TEXT NOT NULL, -- keyed hash of the device's MAC address; '': it was not told
    at INTEGER NOT NULL, -- microseconds since 1970, UTC; so are all instants here
    until INTEGER NOT NULL,
    names BLOB NOT NULL DEFAULT x'', -- what a Disconnect-Request calls it by, for as long as it may need to
    address TEXT NOT NULL DEFAULT '',
    tries INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX wifi_grant_station ON wifi_grant (place, station, at);
CREATE INDEX wifi_grant_customer ON wifi_grant (customer);

-- What the accounting says, one row for each session of a NAS and the customer whose Class it had.
CREATE TABLE wifi_session (
    place TEXT NOT NULL,
    number TEXT NOT NULL, -- Acct-Session-Id
    station TEXT NOT NULL,
    customer TEXT NOT NULL, -- '': nobody knows whose it is
    class TEXT NOT NULL,
    nas TEXT NOT NULL,
    location TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    seconds INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0, -- octets, from the device
    sent INTEGER NOT NULL DEFAULT 0,
    stopped_at INTEGER,
    why TEXT NOT NULL DEFAULT '',
    surplus INTEGER NOT NULL DEFAULT 0, -- the customer has newer devices than may be on at once
    names BLOB NOT NULL DEFAULT x'',
    address TEXT NOT NULL DEFAULT '',
    tries INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (place, number, station, customer)
) STRICT, WITHOUT ROWID;
CREATE INDEX wifi_session_live ON wifi_session (customer, location) WHERE stopped_at IS NULL;

-- Devices that come in by their MAC address because somebody signed in on them at the portal.
CREATE TABLE wifi_learnt (
    station TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    credential TEXT NOT NULL, -- by which they signed in: blocked, it ends this too
    proof TEXT NOT NULL, -- of its verifier then: a new password ends this too
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX wifi_learnt_customer ON wifi_learnt (customer);
