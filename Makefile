# Landwaiter: `make run` builds and tries it, `make test` proves it.
SHELL := /bin/bash
# One set of flags everywhere: the build cache depends on it.
export CGO_ENABLED ?= 0
export GOFLAGS := -trimpath -tags=disable_grpc_modules -buildvcs=false

FUZZTIME ?= 60s
LINTER := v2.15.0
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/landwaiter/tools/bin
RELEASE := $(shell git describe --tags --always --dirty 2>/dev/null)

.PHONY: build run test race lint fuzz bench crash servers

build: ## the program, as bin/landwaiter
	go build -ldflags '-s -w -X main.release=$(RELEASE)' -o bin/landwaiter ./cmd/landwaiter

run: build ## try it: watch ./inbox and put malware away
	@mkdir -p inbox && cat docs/try.txt && exec bin/landwaiter serve --watch inbox --quarantine landwaiter-data/quarantine

test: servers ## everything but benchmarks, against real servers
	go vet ./... && go test -count=1 -timeout 25m ./...

race: servers ## the same with the race detector
	CGO_ENABLED=1 go test -race -count=1 -timeout 40m ./...

lint: $(TOOLS)/golangci-lint-$(LINTER) ## what .golangci.yml asks for
	$< run ./...

fuzz: ## each fuzz target for FUZZTIME
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file func; do go test -run '^$$' -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$(dirname "$$file")" || exit 1; done

bench: servers ## the bars of docs/architecture.md, as ratios in one run
	go test -count=1 -timeout 60m -run '^$$' -bench . -benchtime 1x ./test/bench

crash: servers ## kill the program at every step, lose events, replace objects, and see what is left
	TEST_CRASH=all TEST_KILLS=1000 TEST_BURST=200000 TEST_TRIALS=10000 LANDWAITER_TRIALS=3000 TEST_COVERAGE=100000 go test -count=1 -timeout 90m \
		-run 'Crash|Adversary|Burst|NothingIsMissed' -v ./pipeline ./remediation ./connectors/... ./test/crash ./test/coverage

servers: ## the real servers that tests run against (once; some minutes)
	@test/servers/install.sh

$(TOOLS)/golangci-lint-$(LINTER):
	GOBIN=$(TOOLS) GOFLAGS=-trimpath go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER) && mv $(TOOLS)/golangci-lint $@
