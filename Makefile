# Landwaiter: `make run` builds and runs it, `make test` proves it.
SHELL := /bin/bash
export CGO_ENABLED ?= 0
export GOFLAGS := -trimpath -tags=disable_grpc_modules -buildvcs=false

build:
	go build -o bin/landwaiter ./cmd/landwaiter

# The real servers that the tests run against.
servers:
	test/servers/install.sh
