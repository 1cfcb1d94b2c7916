# Everything a user or a developer runs. `make help` lists it.
ARCH ?= arm64
EVENT ?= events/schedule.json
PYTHON ?= python3
VENV := .venv
# Lambda's names of the architectures, in cargo-lambda's words.
ARCH_FLAG_arm64 := --arm64
ARCH_FLAG_x86_64 := --x86-64
ARCH_FLAG := $(or $(ARCH_FLAG_$(ARCH)),$(error ARCH is arm64 or x86_64, not $(ARCH)))
# The version that the release zips are built with, from PyPI where none is installed.
CARGO_LAMBDA_VERSION := 1.9.2
CARGO_LAMBDA := $(or $(shell command -v cargo-lambda),$(VENV)/bin/cargo-lambda)

.PHONY: help demo outage test check format lint doc build invoke clean

help: ## Lists what there is to run
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## Plays a failover, a failback and more against the real binary, on loopback
	@cargo build --locked --quiet --bin bootstrap
	@cargo run --locked --quiet --example demo

invoke: ## Invokes the function once in the demo's world: make invoke EVENT=events/check.json
	@cargo build --locked --quiet --bin bootstrap
	@cargo run --locked --quiet --example demo -- $(EVENT)

outage: ## Plays how long failovers cut vendors off, here and elsewhere, and draws docs/outage.svg
	@cargo run --locked --quiet --example outage

test: ## Runs the tests
	cargo test --locked

check: format lint doc test ## Runs everything that must pass before a commit

format:
	cargo fmt --check

lint:
	cargo clippy --locked --all-targets -- --deny warnings

doc:
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps --lib

build: $(CARGO_LAMBDA) ## Builds the zip for Lambda: make build ARCH=arm64|x86_64
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(CARGO_LAMBDA) lambda build --locked --release --bin bootstrap $(ARCH_FLAG) --output-format zip
	@ls -l target/lambda/bootstrap/bootstrap.zip

$(VENV)/bin/cargo-lambda:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet cargo-lambda==$(CARGO_LAMBDA_VERSION)

clean: ## Removes everything that was built
	cargo clean
	rm -rf $(VENV)
