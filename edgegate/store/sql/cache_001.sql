-- The cloud's records: what is looked up by is a column, the whole record is JSON in the body.
-- Tables with row ids: 9 % smaller and a fifth quicker by holder than WITHOUT ROWID (300,000 passes).
CREATE TABLE location (id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE team (id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE balance (id TEXT PRIMARY KEY, body BLOB NOT NULL);

CREATE TABLE customer (id TEXT PRIMARY KEY, team TEXT, body BLOB NOT NULL);
CREATE INDEX customer_team ON customer (team) WHERE team IS NOT NULL;

CREATE TABLE contract (id TEXT PRIMARY KEY, holder TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX contract_holder ON contract (holder);

CREATE TABLE credential (
    id TEXT PRIMARY KEY,
    lookup TEXT NOT NULL,
    customer TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX credential_lookup ON credential (lookup);
CREATE INDEX credential_customer ON credential (customer);

CREATE TABLE pass (id TEXT PRIMARY KEY, holder TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX pass_holder ON pass (holder);

CREATE TABLE door (id TEXT PRIMARY KEY, location TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX door_location ON door (location);

CREATE TABLE offer (id TEXT PRIMARY KEY, body BLOB NOT NULL);

CREATE TABLE resource (id TEXT PRIMARY KEY, location TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX resource_location ON resource (location);

CREATE TABLE reservation (
    id TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    resource TEXT,
    body BLOB NOT NULL
);
CREATE INDEX reservation_customer ON reservation (customer);
CREATE INDEX reservation_resource ON reservation (resource) WHERE resource IS NOT NULL;

-- head: the feed's number up to which this copy goes.
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
