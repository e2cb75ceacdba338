-- +goose Up
-- A tenant that is gone keeps its row, so that its number never comes again.
ALTER TABLE tenants ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
UPDATE tenants SET created = (extract(epoch from now()) * 1000000)::bigint, changed = (extract(epoch from now()) * 1000000)::bigint WHERE created = 0;
CREATE INDEX tokens_expires ON tokens (expires);
CREATE INDEX tokens_owner ON tokens (owner);
CREATE INDEX tokens_kind ON tokens (kind);
CREATE INDEX users_role ON users (role, tenant);
CREATE INDEX users_email ON users (email);
