-- By what an Access-Accept was given: once that counts no more, the device is sent off.
ALTER TABLE wifi_grant ADD COLUMN credential TEXT NOT NULL DEFAULT ''; -- '': not known, of an earlier version
ALTER TABLE wifi_grant ADD COLUMN proof TEXT NOT NULL DEFAULT ''; -- of its verifier then: a new password ends it
ALTER TABLE wifi_grant ADD COLUMN certificate TEXT NOT NULL DEFAULT ''; -- the serial number, where there was one
ALTER TABLE wifi_grant ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0; -- as of the last look
-- When its device last proved itself again, of which there is no entry (edgegate/wifi/rejoin.py).
ALTER TABLE wifi_grant ADD COLUMN again_at INTEGER NOT NULL DEFAULT 0;
