-- +goose Up
-- Messages that made no sense, kept for the operator.
CREATE TABLE letters (
  id      BLOB PRIMARY KEY,
  tenant  INTEGER NOT NULL DEFAULT 1,
  source  BLOB NOT NULL,
  message BLOB NOT NULL, -- the vendor's id of it, or our own
  body    BLOB NOT NULL,
  why     BLOB NOT NULL,
  tries   INTEGER NOT NULL,
  at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX letters_message ON letters (source, message);

-- Of the last whole sweep: when it began, what it listed, and what it could not list.
ALTER TABLE unit_states ADD COLUMN covered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unit_states ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unit_states ADD COLUMN gaps INTEGER NOT NULL DEFAULT 0;
