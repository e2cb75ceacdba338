-- +goose Up
-- Times are UTC microseconds. Text is bytes, so that a server's encoding cannot
-- refuse it nor a collation reorder it. Keys are bytes: ikey is the key itself, or its
-- first 1,024 bytes and the SHA-256 of the whole; tail is then the whole key.
-- The numbers of states, verdicts, reasons, outcomes and decisions are in codes.go.
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tenants (
  id   INTEGER PRIMARY KEY,
  name BLOB NOT NULL UNIQUE
) STRICT;
INSERT INTO tenants (id, name) VALUES (1, x'64656661756c74');

CREATE TABLE workflows (
  n       INTEGER PRIMARY KEY,
  tenant  INTEGER NOT NULL DEFAULT 1,
  hash    BLOB NOT NULL UNIQUE,
  json    BLOB NOT NULL,
  created INTEGER NOT NULL
) STRICT;

CREATE TABLE units (
  id       INTEGER PRIMARY KEY,
  tenant   INTEGER NOT NULL DEFAULT 1,
  client   BLOB NOT NULL,
  name     BLOB NOT NULL,
  vendor   BLOB NOT NULL,
  protocol BLOB,
  account  BLOB,
  grp      BLOB,
  workflow BLOB,
  config   BLOB NOT NULL,
  managed  INTEGER NOT NULL DEFAULT 0,
  disabled INTEGER NOT NULL DEFAULT 0,
  created  INTEGER NOT NULL,
  changed  INTEGER NOT NULL,
  UNIQUE (tenant, name)
) STRICT;

CREATE TABLE unit_states (
  unit        INTEGER PRIMARY KEY,
  last_event  INTEGER NOT NULL DEFAULT 0,
  sweep_start INTEGER NOT NULL DEFAULT 0,
  sweep_end   INTEGER NOT NULL DEFAULT 0,
  probed      INTEGER NOT NULL DEFAULT 0,
  probe       BLOB,
  error       BLOB,
  error_at    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE cursors (
  unit   INTEGER NOT NULL,
  source BLOB NOT NULL,
  next   BLOB NOT NULL,
  PRIMARY KEY (unit, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE scans (
  n          INTEGER PRIMARY KEY,
  id         BLOB NOT NULL UNIQUE,
  tenant     INTEGER NOT NULL DEFAULT 1,
  unit       INTEGER NOT NULL,
  type       INTEGER NOT NULL,
  part       BLOB NOT NULL,
  workflow   INTEGER NOT NULL,
  start_date INTEGER NOT NULL DEFAULT 0,
  started    INTEGER NOT NULL,
  ended      INTEGER NOT NULL DEFAULT 0,
  state      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX scans_realtime ON scans (unit, part) WHERE type = 2;
CREATE INDEX scans_unit ON scans (unit);

CREATE TABLE entries (
  n          INTEGER PRIMARY KEY,
  id         BLOB NOT NULL,
  tenant     INTEGER NOT NULL DEFAULT 1,
  unit       INTEGER NOT NULL,
  scan       INTEGER NOT NULL,
  stype      INTEGER NOT NULL,
  workflow   INTEGER NOT NULL,
  ikey       BLOB NOT NULL,
  tail       BLOB,
  vkey       BLOB NOT NULL,
  version    BLOB NOT NULL,
  slot       INTEGER NOT NULL,
  state      INTEGER NOT NULL DEFAULT 0,
  running    INTEGER NOT NULL DEFAULT 0, -- in work on the node that owns the slot
  parked     INTEGER NOT NULL DEFAULT 0, -- until due, or until its key is free
  lane       INTEGER NOT NULL DEFAULT 0,
  priority   INTEGER NOT NULL,
  due        INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  force      INTEGER NOT NULL DEFAULT 0,
  attempts   INTEGER NOT NULL DEFAULT 0,
  crashes    INTEGER NOT NULL DEFAULT 0,
  cancel     INTEGER NOT NULL DEFAULT 0,
  cause      BLOB,
  parent     BLOB,
  discovered INTEGER NOT NULL,
  started    INTEGER NOT NULL DEFAULT 0,
  finished   INTEGER NOT NULL DEFAULT 0,
  size       INTEGER NOT NULL DEFAULT -1,
  mtime      INTEGER NOT NULL DEFAULT 0,
  md5        BLOB,
  sha1       BLOB,
  sha256     BLOB,
  outcome    INTEGER NOT NULL DEFAULT 0,
  verdict    INTEGER NOT NULL DEFAULT 0,
  reason     INTEGER NOT NULL DEFAULT 0,
  threat     BLOB,
  code       INTEGER NOT NULL DEFAULT 0,
  engines    INTEGER NOT NULL DEFAULT 0,
  engine     BLOB,
  decision   INTEGER NOT NULL DEFAULT 0,
  decided_by BLOB,
  report     BLOB,
  plan       BLOB,
  story      BLOB,
  error      BLOB,
  sum        INTEGER NOT NULL DEFAULT 0 -- of what the end says, see sum.go
) STRICT;
CREATE UNIQUE INDEX entries_id ON entries (id);
CREATE UNIQUE INDEX entries_pending ON entries (unit, ikey, scan, vkey) WHERE state = 0;
CREATE INDEX entries_due ON entries (unit, lane, priority DESC, due) WHERE state < 2 AND running = 0;
CREATE INDEX entries_running ON entries (slot) WHERE running = 1;
CREATE INDEX entries_acting ON entries (unit, ikey) WHERE state = 1;
CREATE INDEX entries_key ON entries (unit, ikey) WHERE state > 0;
CREATE INDEX entries_finished ON entries (finished) WHERE state = 2;
CREATE INDEX entries_unit ON entries (unit, finished) WHERE state = 2;
CREATE INDEX entries_notable ON entries (verdict, finished) WHERE state = 2 AND verdict <> 1;
CREATE INDEX entries_failed ON entries (finished) WHERE state = 2 AND outcome = 2;

CREATE TABLE inventory (
  unit    INTEGER NOT NULL,
  ikey    BLOB NOT NULL,
  tail    BLOB,
  version BLOB NOT NULL,
  verdict INTEGER NOT NULL,
  reason  INTEGER NOT NULL,
  size    INTEGER NOT NULL,
  entry   BLOB,
  sum     INTEGER NOT NULL,
  PRIMARY KEY (unit, ikey)
) STRICT, WITHOUT ROWID;

CREATE TABLE unit_counts (
  unit    INTEGER NOT NULL,
  shard   INTEGER NOT NULL,
  verdict INTEGER NOT NULL,
  reason  INTEGER NOT NULL,
  n       INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  PRIMARY KEY (unit, shard, verdict, reason)
) STRICT, WITHOUT ROWID;

-- outcome 0 counts the entries that are not finished.
CREATE TABLE scan_counts (
  scan     INTEGER NOT NULL,
  shard    INTEGER NOT NULL,
  outcome  INTEGER NOT NULL,
  verdict  INTEGER NOT NULL,
  decision INTEGER NOT NULL,
  n        INTEGER NOT NULL,
  bytes    INTEGER NOT NULL,
  PRIMARY KEY (scan, shard, outcome, verdict, decision)
) STRICT, WITHOUT ROWID;

-- kind 0 holds a destination key, kind 1 names an aside or temporary object.
CREATE TABLE holds (
  unit  INTEGER NOT NULL,
  ikey  BLOB NOT NULL,
  kind  INTEGER NOT NULL,
  tail  BLOB,
  entry BLOB NOT NULL,
  PRIMARY KEY (unit, ikey, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_entry ON holds (entry);

CREATE TABLE quarantine (
  id      BLOB PRIMARY KEY,
  tenant  INTEGER NOT NULL DEFAULT 1,
  unit    INTEGER NOT NULL,
  ikey    BLOB NOT NULL,
  tail    BLOB,
  version BLOB NOT NULL,
  sha256  BLOB NOT NULL,
  size    INTEGER NOT NULL,
  entry   BLOB NOT NULL,
  place   INTEGER NOT NULL,
  object  BLOB NOT NULL,
  reason  BLOB,
  threat  BLOB,
  at      INTEGER NOT NULL,
  expires INTEGER NOT NULL DEFAULT 0,
  state   INTEGER NOT NULL DEFAULT 0,
  changed INTEGER NOT NULL DEFAULT 0,
  changed_by BLOB
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX quarantine_place ON quarantine (place, object);
CREATE INDEX quarantine_held ON quarantine (expires) WHERE state = 0;

CREATE TABLE allowances (
  unit       INTEGER NOT NULL,
  sha256     BLOB NOT NULL,
  tenant     INTEGER NOT NULL DEFAULT 1,
  allowed_by BLOB NOT NULL,
  at         INTEGER NOT NULL,
  until      INTEGER NOT NULL,
  PRIMARY KEY (unit, sha256)
) STRICT, WITHOUT ROWID;
