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

TEMPLATES := template.yaml deploy/privatelink.yaml deploy/database.yaml deploy/lattice.yaml
# Where the templates' resource types, mappings and runtimes are checked besides. VPC Lattice's resource
# gateways are not in the last two. All regions would take cfn-lint more than ten minutes.
REGIONS := us-east-1 eu-central-1 ap-southeast-4
PARTITIONS := us-gov-west-1 cn-north-1
# sam asks for a region and for credentials, and uses neither.
SAM := AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none SAM_CLI_TELEMETRY=0 $(VENV)/bin/sam

# How many schedules `make soak` plays, and from which seed on.
SEEDS ?= 100000
START ?= 0

# How many hostile answers and inputs `make fuzz` plays.
CASES ?= 100000
# From the package registry of cargo where none is installed; it takes some minutes to build.
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)
CARGO_MUTANTS_VERSION := 27.1.0
CARGO_MUTANTS := $(or $(shell command -v cargo-mutants),target/tools/bin/cargo-mutants)

.PHONY: help demo pictures outage test words check check-network format lint doc deny build deploy invoke template emulate artifact terraform emulate-terraform soak exhaust fuzz mutants bench bench-fleet clean

help: ## Lists what there is to run
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## Plays a failover, a failback and more against the real binary, on loopback
	@[ -x target/debug/examples/demo ] || echo "Building. The first time takes two to three minutes on two cores." >&2
	@cargo build --locked --bin bootstrap
	@cargo build --locked --example demo
	@cargo run --locked --quiet --example demo

invoke: ## Invokes the function once in the demo's world, and plays the event: make invoke EVENT=events/check.json
	@cargo build --locked --quiet --bin bootstrap
	@cargo run --locked --quiet --example demo -- $(EVENT)

outage: ## Plays how long failovers cut vendors off, here and elsewhere, and draws docs/outage.svg
	@cargo run --locked --quiet --example outage

test: ## Runs the tests; tests/install installs what some of them need, and the rest counts as skipped
	@mkdir -p $(CURDIR)/target && rm -f $(CURDIR)/target/requests.log
	RECORD_REQUESTS=$(CURDIR)/target/requests.log scripts/count-skips cargo test --locked --features cli
	$(or $(wildcard $(VENV)/bin/python),$(PYTHON)) -m unittest discover -s tests/requests
	$(PYTHON) -m unittest discover -s tests/drill
	$(PYTHON) -m unittest discover -s tests/words
	$(PYTHON) -m unittest discover -s tests/docs

pictures: $(VENV)/pictures/installed ## Draws the README's pictures of the demo and of the doctor
	cargo build --locked --bin bootstrap
	cargo build --locked --example demo
	cargo build --locked --features cli --bin rds-nlb-sync
	$(VENV)/pictures/bin/python scripts/pictures

words: ## Lists where the words that docs/words.md avoids stand
	$(PYTHON) scripts/words

check: format lint doc deny test ## Runs everything that must pass before a commit

# The default `make check` leaves it out: the library for EC2 alone takes minutes and gigabytes to build.
check-network: ## Lints and tests the feature network
	cargo clippy --locked --all-targets --features network -- --deny warnings
	scripts/count-skips cargo test --locked --features network --lib --test tests -- doctor:: cli:: network:: through::

format:
	cargo fmt --all --check

lint:
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy --locked --all-targets --features cli -- --deny warnings

doc:
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps --lib --features cli

deny: $(CARGO_DENY) ## Checks licences, sources and what is linked; advisories where their database can be had
	$(CARGO_DENY) --locked check bans licenses sources
	@$(CARGO_DENY) --locked check advisories || echo "SKIPPED: the advisories' database could not be had, or see above" >&2

target/tools/bin/cargo-deny:
	cargo install --locked --quiet --root target/tools cargo-deny --version $(CARGO_DENY_VERSION)

mutants: $(CARGO_MUTANTS) ## Breaks the code in every small way to see whether the tests notice; takes hours
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo mutants

target/tools/bin/cargo-mutants:
	cargo install --locked --quiet --root target/tools cargo-mutants --version $(CARGO_MUTANTS_VERSION)

fuzz: ## Plays hostile input against parsers and adapters: make fuzz CASES=1000000
	CASES=$(CASES) cargo test --locked --features cli --test tests fuzz

build: $(CARGO_LAMBDA) ## Builds the zip for Lambda: make build ARCH=arm64|x86_64
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(CARGO_LAMBDA) lambda build --locked --release --bin bootstrap $(ARCH_FLAG) --output-format zip
	@ls -l target/lambda/bootstrap/bootstrap.zip

# SAM keeps the architecture of a stack that is not given one, and builds for the template's default: so all steps get it.
deploy: ## Builds and deploys with SAM: make deploy STACK=name ARCH=arm64|x86_64 PARAMETERS="Endpoint=… TargetGroupArn=…"
	sam build --parameter-overrides Architecture=$(ARCH)
	scripts/check-build $(ARCH)
	sam deploy --stack-name $(STACK) --parameter-overrides "Architecture=$(ARCH) $(PARAMETERS)"

STACK ?= rds-nlb-sync
HOST_ARCH := $(patsubst aarch64,arm64,$(shell uname -m))

artifact: $(CARGO_LAMBDA) $(VENV)/template ## Builds the zip and with SAM, and plays the demo with what they hold
	$(MAKE) build ARCH=$(HOST_ARCH)
	rm -rf target/artifact && mkdir -p target/artifact
	$(VENV)/bin/python -m zipfile -e target/lambda/bootstrap/bootstrap.zip target/artifact
	chmod +x target/artifact/bootstrap
	BOOTSTRAP=target/artifact/bootstrap $(MAKE) demo
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(SAM) build --parameter-overrides Architecture=$(HOST_ARCH)
	cmp target/artifact/bootstrap .aws-sam/build/Function/bootstrap

bench: $(VENV)/bench ## Measures the function, an echo function and a Python handler in one run
	cargo build --locked --quiet --release --bin bootstrap
	cargo build --locked --quiet --release --features bench --bin echo
	cargo bench --locked --quiet --profile dev --bench side_by_side

bench-fleet: ## Measures a thousand databases in an account with limits; takes ten minutes
	cargo build --locked --quiet --release --bin bootstrap
	cargo bench --locked --quiet --profile dev --bench fleet

$(VENV)/bench: benches/requirements.txt | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet -r $<
	touch $@

soak: ## Plays random schedules of harm against the loop: make soak SEEDS=1000000
	SEEDS=$(SEEDS) START=$(START) cargo run --locked --quiet --profile soak --example soak

exhaust: ## Plays every schedule up to a bound, and goes on where it was stopped: make exhaust, make exhaust NUMBER=n
	NUMBER=$(NUMBER) CHUNKS=$(CHUNKS) cargo run --locked --quiet --profile soak --example exhaust

template: $(VENV)/template $(VENV)/checkov/installed $(VENV)/awscli/installed ## Lints and tests the templates
	for template in $(TEMPLATES); do $(SAM) validate --lint --template $$template || exit 1; done
	$(VENV)/bin/cfn-lint --regions $(REGIONS) -- $(TEMPLATES)
	$(VENV)/bin/cfn-lint --regions $(PARTITIONS) -- $(filter-out deploy/lattice.yaml,$(TEMPLATES))
	$(VENV)/checkov/bin/checkov --framework cloudformation --skip-download --compact --quiet -f $(TEMPLATES)
	$(VENV)/bin/pytest -q tests/template --ignore tests/template/emulate

# MiniStack and moto, on loopback. MiniStack runs the function's binary.
emulate: $(VENV)/emulate/installed ## Creates, updates and deletes the stacks on emulators of AWS
	cargo build --locked --quiet --bin bootstrap
	$(VENV)/emulate/bin/pytest -q tests/template/emulate

# Terraform's provider comes from TF_PLUGIN_DIR, or from the registry where that is not set. Without Terraform or provider,
# what needs them is skipped, loudly.
terraform: $(VENV)/terraform/installed $(VENV)/checkov/installed ## Lints, tests and plans the Terraform modules, and compares them with the template
	$(VENV)/checkov/bin/checkov --framework terraform --skip-download --compact --quiet -d deploy/terraform
	$(VENV)/terraform/bin/pytest -q tests/terraform --ignore-glob '*emulate*'

emulate-terraform: $(VENV)/terraform/installed ## Applies the Terraform modules to emulators, with the real binary
	cargo build --locked --quiet --bin bootstrap
	$(VENV)/terraform/bin/pytest -q tests/terraform/test_emulate_*.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/template: tests/template/requirements.txt | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet -r $<
	touch $@

# In an environment of its own: checkov pins a boto3 that is older than what aws-sam-cli needs.
$(VENV)/checkov/installed: tests/template/requirements-checkov.txt
	$(PYTHON) -m venv $(VENV)/checkov
	$(VENV)/checkov/bin/pip install --quiet -r $<
	touch $@

# The AWS CLI and the emulators as well: each pins a boto3 of its own.
$(VENV)/awscli/installed $(VENV)/emulate/installed: $(VENV)/%/installed: tests/template/requirements-%.txt
	$(PYTHON) -m venv $(VENV)/$*
	$(VENV)/$*/bin/pip install --quiet -r $<
	touch $@

$(VENV)/pictures/installed: scripts/pictures-requirements.txt
	$(PYTHON) -m venv $(VENV)/pictures
	$(VENV)/pictures/bin/pip install --quiet -r $<
	touch $@

# In an environment of its own as well: the emulators need other versions of what the templates' tools pin.
$(VENV)/terraform/installed: tests/terraform/requirements.txt
	$(PYTHON) -m venv $(VENV)/terraform
	$(VENV)/terraform/bin/pip install --quiet -r $<
	touch $@

$(VENV)/bin/cargo-lambda: | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet cargo-lambda==$(CARGO_LAMBDA_VERSION)

clean: ## Removes everything that was built
	cargo clean
	rm -rf $(VENV)
