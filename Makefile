# `make` lists the targets. Whatever needs more than a line is in scripts/.

GO       ?= go
BIN      := bin
FUZZTIME ?= 3s
SUITE    ?= bus
SOAK     ?= 60s

# How long the tests of one package may take. A hang is to be seen, with the
# stacks of all goroutines, long before somebody gives up waiting.
TIMEOUT  ?= 12m
# Those of the whole wait for programs of others: emulated kernels, cells of OpenAFS. On a busy
# machine they take several times what they take alone, which is more than three minutes.
WHOLE_TIMEOUT ?= 20m

# With "all" a test that would be skipped fails. A few need root; `make test
# REQUIRE=` lets whoever is not root skip them.
REQUIRE  ?= all

# Programs that the tests use: Debian package and a command of it.
TEST_DEPS  := gcc:gcc libc6-dev:+stdio.h git:git iproute2:ip nftables:nft util-linux:unshare procps:ps openssl:openssl hostname:hostname \
              tshark:tshark man-db:man groff-base:groff systemd:systemd-analyze \
              qemu-system-x86:qemu-system-x86_64 busybox-static:busybox cpio:cpio kmod:depmod xz-utils:xz zstd:zstd tcpdump:tcpdump \
              krb5-kdc:krb5kdc krb5-admin-server:kadmin.local krb5-user:kinit
# What the interop tests talk to is fetched into the user's cache, not installed.
TEST_PEERS := openafs 6.1 6.12 newest
# Programs that the benchmarks compare with.
BENCH_DEPS := dbus-daemon:dbus-daemon dbus-broker:dbus-broker-launch

export GO FUZZTIME BIN
export CNBUS_REQUIRE = $(REQUIRE)

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/cnbus and bin/cn-test
	@scripts/build.sh cnbus cn-test

# The last part is go test itself, so that its lines are the last ones.
.PHONY: test
test: ## everything: set-up, build, lint, fuzz smoke, race, tests; nothing is skipped
	@scripts/parts.sh deps build lint fuzz-smoke race
	@$(MAKE) --no-print-directory unit

# The tests of the whole load the machine with programs: one package at a time.
PARTS = $(shell $(GO) list ./... | grep -v /tests/)

.PHONY: unit
unit: ## all tests without the race detector, but for those of whole programs, which race runs
	@scripts/header.sh unit 'all tests but those of whole programs, CNBUS_REQUIRE=$(REQUIRE)'
	$(GO) test -count=1 -shuffle=on -timeout $(TIMEOUT) $(PARTS)
	$(GO) test -count=1 -shuffle=on -timeout $(WHOLE_TIMEOUT) -p 1 $(WHOLE)

# What is tested there runs as programs of its own, ours or real peers and kernels, which are
# the same with the race detector in the test: once is enough.
WHOLE = $(shell $(GO) list ./tests/... | grep -vE '/tests/(interop|e2e|hosts)(/|$$)')

# A run of the benchmarks, however short, says nothing under the race detector: every program in it is
# slow, and half of them are other people's.
RACED = $(shell $(GO) list ./tests/... | grep -v '/tests/bench$$')

.PHONY: race
race: ## all tests under the race detector
	$(GO) test -count=1 -race -shuffle=on -timeout $(TIMEOUT) $(PARTS)
	$(GO) test -count=1 -race -shuffle=on -timeout $(WHOLE_TIMEOUT) -p 1 $(RACED)

.PHONY: lint
lint: ## gofumpt, vet, staticcheck, layering, house rules, builds for other systems
	@scripts/lint.sh

.PHONY: fuzz-smoke
fuzz-smoke: ## every fuzz target for FUZZTIME (3s), in at most FUZZTOTAL seconds (100) of fuzzing
	@scripts/fuzz.sh

.PHONY: deps
deps: ## install the Debian packages that the tests use, where they are missing
	@scripts/deps.sh $(TEST_DEPS)
	@tests/interop/install.sh $(TEST_PEERS)

.PHONY: bench-deps
bench-deps: ## install what the benchmarks compare with: nats-server, D-Bus
	@scripts/deps.sh $(BENCH_DEPS)
	$(GO) build -o $(BIN)/nats-server github.com/nats-io/nats-server/v2

.PHONY: bench
bench: ## run a suite of benchmarks, SUITE=bus; QUICK=1 for a short run
	$(GO) run ./tests/bench -suite $(SUITE) -json $(if $(QUICK),-quick)

.PHONY: soak
soak: build ## account for every message of a long run, SOAK=60s, also while clients die and between hosts
	CNBUS_SOAK=$(SOAK) $(GO) test -count=1 -timeout 0 -v -run '^TestChurn$$' ./tests/faults
	$(BIN)/cn-test soak --duration $(SOAK) --json
	$(BIN)/cn-test soak --duration $(SOAK) --bus site: --json

.PHONY: clean
clean: ## remove what the other targets made
	rm -rf $(BIN)
