-- Up to which entry the cloud had counted, noted once a day while the clock was believed
-- (edgegate/store/retention.py): what was counted long enough ago may be forgotten.
CREATE TABLE counted (
    at INTEGER PRIMARY KEY, -- microseconds since 1970, UTC
    key INTEGER NOT NULL
) STRICT;
