-- +goose Up
-- What a scan is called, who started it and how far it has listed: next is where
-- its listing goes on, why is what could not be listed. removed: it is not shown.
ALTER TABLE scans ADD COLUMN name BYTEA NOT NULL DEFAULT '';
ALTER TABLE scans ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE scans ADD COLUMN by_id BYTEA;
ALTER TABLE scans ADD COLUMN by_name BYTEA NOT NULL DEFAULT '';
ALTER TABLE scans ADD COLUMN flow BYTEA;
ALTER TABLE scans ADD COLUMN events SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE scans ADD COLUMN next BYTEA NOT NULL DEFAULT '';
ALTER TABLE scans ADD COLUMN listed SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE scans ADD COLUMN why BYTEA;
ALTER TABLE scans ADD COLUMN removed SMALLINT NOT NULL DEFAULT 0;
UPDATE scans SET tenant = coalesce((SELECT u.tenant FROM units u WHERE u.id = scans.unit), 1);
CREATE INDEX scans_open ON scans (n) WHERE ended = 0 AND type <> 2;
CREATE INDEX scans_tenant ON scans (tenant, started);

-- What a list of files asks of an entry: class puts in one number how far it is,
-- its result and its code (files.go), so that one index answers for all of them.
-- 262399 is an entry that is not finished.
ALTER TABLE entries ADD COLUMN class INTEGER NOT NULL DEFAULT 262399;
ALTER TABLE entries ADD COLUMN detected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN vulns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN dlp INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN remedies BIGINT NOT NULL DEFAULT 0;
UPDATE entries SET class = (((CASE outcome WHEN 2 THEN 1 WHEN 5 THEN 2 ELSE 3 END) * 4 + (CASE WHEN decision = 1 THEN 0 ELSE 1 END)) * 2) * 65536
  + (CASE WHEN code < 0 OR code > 65535 THEN 65535 WHEN code = 0 AND verdict <> 1 THEN 10 ELSE code END) WHERE state = 2;
CREATE INDEX entries_class ON entries (scan, class, discovered, id) WHERE state = 2; -- a write for each entry, not three
