# The commands that people and CI call. Nothing else is needed to work on this repository.
.DEFAULT_GOAL := help
.PHONY: help run demo test lint fmt snapshots

CARGO ?= cargo
# CI must not change what is checked in.
LOCKED := $(if $(CI),--locked)

help:
	@echo "make run    install what is missing, build, start every role in one process"
	@echo "make demo   play the story on a running platform (second terminal)"
	@echo "make test   all tests on a real Postgres"
	@echo "make lint   format, clippy, rustdoc, dependencies"
	@echo "make fmt    format"
	@echo "make snapshots   write docs/openapi.json, the contract's tables and who may call what anew"

run:
	scripts/bootstrap run
	$(CARGO) build --release $(LOCKED) -p pulseops
	exec target/release/pulseops up

demo:
	@test -x target/release/pulseops || { echo "start the platform first: make run"; exit 1; }
	exec target/release/pulseops demo

# One Postgres serves the whole run: the first test starts it, this ends it, whatever happened, unless
# another terminal tests too. A red crate hides no other.
test:
	scripts/bootstrap test
	@$(CARGO) test --workspace --no-fail-fast $(LOCKED); status=$$?; scripts/test-postgres release; exit $$status

lint:
	scripts/bootstrap lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets $(LOCKED) -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features $(LOCKED)
	scripts/check-dependencies

fmt:
	$(CARGO) fmt --all

snapshots:
	INSTA_UPDATE=always $(CARGO) test -p pulseops --test it contract::
	INSTA_UPDATE=always $(CARGO) test -p pulseops --test it access::
	UPDATE_NUMBERS=1 $(CARGO) test -p proto --test it numbers
