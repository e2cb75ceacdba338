-- +goose Up
-- Notices are claimed channel by channel.
CREATE INDEX outbox_channel ON outbox (tenant, channel, state, due);

-- How many notices were not kept because the outbox was full, until that stands
-- in the audit.
CREATE TABLE outbox_lost (
  tenant  INTEGER NOT NULL,
  channel BLOB NOT NULL,
  n       INTEGER NOT NULL,
  PRIMARY KEY (tenant, channel)
) STRICT, WITHOUT ROWID;

-- Two places of the audit's chain: head is its last row, cut the last one that
-- retention removed. A chain that does not begin after cut or does not reach
-- head was shortened by somebody else.
CREATE TABLE audit_marks (
  name BLOB PRIMARY KEY,
  n    INTEGER NOT NULL,
  hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO audit_marks (name, n, hash) SELECT x'68656164', n, hash FROM audit ORDER BY n DESC LIMIT 1;
CREATE INDEX audit_at ON audit (at);

-- Retention keeps the entries of what is in quarantine.
CREATE INDEX quarantine_entry ON quarantine (entry) WHERE state = 0;

-- When a job that one node does for all was begun last.
CREATE TABLE jobs (
  name  BLOB PRIMARY KEY,
  begun INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
