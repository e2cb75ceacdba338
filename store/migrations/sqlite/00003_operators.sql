-- +goose Up
-- What operators set over the API, who they are, and what they did. Names of
-- nouns are compared as they are; logins are kept in lower case. Bodies are
-- JSON; secrets in them are sealed.
ALTER TABLE tenants ADD COLUMN uuid BLOB;
ALTER TABLE tenants ADD COLUMN created INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
UPDATE tenants SET uuid = x'00000000000070008000000000000001';
CREATE UNIQUE INDEX tenants_uuid ON tenants (uuid);
CREATE UNIQUE INDEX units_client ON units (client);

-- One row for each account, group, storage, pool, workflow, schedule, setting.
-- managed: it stands in the configuration file, which is stronger.
CREATE TABLE nouns (
  id       BLOB PRIMARY KEY,
  tenant   INTEGER NOT NULL DEFAULT 1,
  kind     BLOB NOT NULL,
  name     BLOB NOT NULL,
  parent   BLOB,
  managed  INTEGER NOT NULL DEFAULT 0,
  disabled INTEGER NOT NULL DEFAULT 0,
  rev      INTEGER NOT NULL DEFAULT 1,
  body     BLOB NOT NULL,
  created  INTEGER NOT NULL,
  changed  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX nouns_name ON nouns (tenant, kind, name);
CREATE INDEX nouns_parent ON nouns (kind, parent);

CREATE TABLE users (
  id       BLOB PRIMARY KEY,
  tenant   INTEGER NOT NULL DEFAULT 1,
  login    BLOB NOT NULL UNIQUE,
  name     BLOB NOT NULL,
  email    BLOB NOT NULL,
  role     INTEGER NOT NULL,
  password BLOB,            -- argon2id in PHC form
  sso      BLOB UNIQUE,     -- the provider's name of the user
  apikey   BLOB UNIQUE,     -- SHA-256
  failures INTEGER NOT NULL DEFAULT 0,
  failed   INTEGER NOT NULL DEFAULT 0,
  body     BLOB NOT NULL,   -- what is only shown, and tours
  created  INTEGER NOT NULL,
  changed  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX users_name ON users (tenant, login);

-- A session is what a login made. refresh and before are SHA-256 of the last two
-- refresh tokens: before again means that one was stolen.
CREATE TABLE sessions (
  id      BLOB PRIMARY KEY,
  owner   BLOB NOT NULL,
  refresh BLOB NOT NULL UNIQUE,
  before  BLOB,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (owner);
CREATE INDEX sessions_before ON sessions (before);
CREATE INDEX sessions_expires ON sessions (expires);

-- Tokens that work once: password resets, the first administrator, logins under way.
CREATE TABLE tokens (
  hash    BLOB PRIMARY KEY,
  kind    BLOB NOT NULL,
  owner   BLOB,
  body    BLOB,
  expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each row names the hash of the row before it.
CREATE TABLE audit (
  n        INTEGER PRIMARY KEY,
  tenant   INTEGER NOT NULL DEFAULT 1,
  at       INTEGER NOT NULL,
  who      BLOB NOT NULL,
  who_id   BLOB,
  type     INTEGER NOT NULL,
  category INTEGER NOT NULL,
  level    INTEGER NOT NULL,
  action   BLOB NOT NULL,
  target   BLOB NOT NULL,
  detail   BLOB NOT NULL,
  before   BLOB NOT NULL,
  hash     BLOB NOT NULL
) STRICT;
CREATE INDEX audit_tenant ON audit (tenant, n);

-- Notices that are to go out: state 0 waits, 1 gave up.
CREATE TABLE outbox (
  id       BLOB PRIMARY KEY,
  tenant   INTEGER NOT NULL DEFAULT 1,
  channel  BLOB NOT NULL,
  kind     BLOB NOT NULL,
  body     BLOB NOT NULL,
  due      INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  state    INTEGER NOT NULL DEFAULT 0,
  error    BLOB,
  created  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (state, due);
