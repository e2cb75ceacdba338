-- +goose Up
-- Messages that made no sense, kept for the operator.
CREATE TABLE letters (
  id      BYTEA PRIMARY KEY,
  tenant  INTEGER NOT NULL DEFAULT 1,
  source  BYTEA NOT NULL,
  message BYTEA NOT NULL, -- the vendor's id of it, or our own
  body    BYTEA NOT NULL,
  why     BYTEA NOT NULL,
  tries   BIGINT NOT NULL,
  at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX letters_message ON letters (source, message);

-- Of the last whole sweep: when it began, what it listed, and what it could not list.
ALTER TABLE unit_states ADD COLUMN covered BIGINT NOT NULL DEFAULT 0;
ALTER TABLE unit_states ADD COLUMN listed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE unit_states ADD COLUMN gaps BIGINT NOT NULL DEFAULT 0;
