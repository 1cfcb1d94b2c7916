# Everything a user or a developer runs. `make help` lists it.
ARCH ?= arm64
EVENT ?= events/schedule.json
PYTHON ?= python3
VENV := .venv
# Where cargo builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Lambda's names of the architectures, in cargo-lambda's words.
ARCH_FLAG_arm64 := --arm64
ARCH_FLAG_x86_64 := --x86-64
ARCH_FLAG := $(or $(ARCH_FLAG_$(ARCH)),$(error ARCH is arm64 or x86_64, not $(ARCH)))
# The versions that a release is built with, from PyPI where no cargo-lambda is installed. ziglang is its linker.
CARGO_LAMBDA_VERSION := 1.9.2
ZIGLANG_VERSION := 0.17.1
CARGO_LAMBDA := $(or $(shell command -v cargo-lambda),$(VENV)/bin/cargo-lambda)
# Without rustup's word for it, where the environment names the compiler (scripts/with-target).
LAMBDA_BUILD = PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(CARGO_LAMBDA) lambda build --locked --release $(ARCH_FLAG) $(if $(RUSTC),--skip-target-check)

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

# How long `make fuzz-live` plays. SEED replays one schedule.
SECONDS ?= 60
# From the package registry of cargo where none is installed; it takes some minutes to build.
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)
CARGO_MUTANTS_VERSION := 27.1.0
CARGO_MUTANTS := $(or $(shell command -v cargo-mutants),target/tools/bin/cargo-mutants)
CARGO_CYCLONEDX_VERSION := 0.5.9
CARGO_CYCLONEDX := $(or $(shell command -v cargo-cyclonedx),target/tools/bin/cargo-cyclonedx)

.PHONY: help demo pictures outage test words check check-network test-network format lint doc deny advisories build build-cli deploy invoke template emulate artifact terraform emulate-terraform arm64 release release-test workflows containers soak exhaust fuzz fuzz-live mutants bench bench-fleet clean

help: ## Lists what there is to run
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

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
	DRILL_PYTHONS="$(or $(DRILL_PYTHONS),$(shell scripts/pythons $(PYTHON)))" $(PYTHON) -m unittest discover -s tests/drill
	$(PYTHON) -m unittest discover -s tests/words
	$(PYTHON) -m unittest discover -s tests/docs
	$(PYTHON) -m unittest discover -s tests/live

pictures: $(VENV)/pictures/installed ## Draws the README's pictures of the demo and of the doctor
	cargo build --locked --bin bootstrap
	cargo build --locked --example demo
	cargo build --locked --features cli --bin rds-nlb-sync
	$(VENV)/pictures/bin/python scripts/pictures

words: ## Lists where the words that docs/words.md avoids stand
	$(PYTHON) scripts/words

check: format lint doc deny test ## Runs everything that must pass before a commit

# `make check` leaves it out: the library for EC2 alone takes minutes and gigabytes to build.
check-network: test-network ## Lints and tests the feature network
	cargo clippy --locked --all-targets --features network -- --deny warnings

test-network: ## Tests the feature network
	scripts/count-skips cargo test --locked --features network --lib --test tests -- doctor:: cli:: network:: through::

format:
	cargo fmt --all --check

lint:
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy --locked --all-targets --features cli -- --deny warnings

doc:
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps --lib --features cli

# Where cargo-deny looks for the database of its default address.
ADVISORY_FOLDER := advisory-db-3157b0e258782691
# What the released command line links; the function links a part of it.
DENY_RELEASED := $(CARGO_DENY) --locked --features network
# ADVISORY_DB names a clone of the RustSec advisory database. Without it nothing is fetched: `make advisories` does that.
deny: $(CARGO_DENY) ## Checks licences, sources and what is linked; and advisories: make deny ADVISORY_DB=folder
	$(CARGO_DENY) --locked check bans licenses sources
	mkdir -p target
# The library for EC2 has the old types of http as well.
	sed '/crate = "http",/d' deny.toml > target/deny-released.toml
	$(DENY_RELEASED) --config target/deny-released.toml check bans licenses sources
ifneq ($(ADVISORY_DB),)
	rm -rf target/advisories && mkdir -p target/advisories
	ln -s "$(abspath $(ADVISORY_DB))" target/advisories/$(ADVISORY_FOLDER)
	sed 's|^\[advisories\]|&\ndb-path = "$(CURDIR)/target/advisories"|' deny.toml > target/deny.toml
	$(DENY_RELEASED) --offline --config target/deny.toml check advisories
else
	@echo "SKIPPED: no dependency was compared with the known advisories: ADVISORY_DB names no clone of their database" >&2
endif

advisories: $(CARGO_DENY) ## Checks whether an advisory is known for a dependency; fails without their database
	$(DENY_RELEASED) check advisories

target/tools/bin/cargo-deny:
	cargo install --locked --quiet --root target/tools cargo-deny --version $(CARGO_DENY_VERSION)

mutants: $(CARGO_MUTANTS) ## Breaks the code in every small way to see whether the tests notice; takes hours
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo mutants

target/tools/bin/cargo-mutants:
	cargo install --locked --quiet --root target/tools cargo-mutants --version $(CARGO_MUTANTS_VERSION)

fuzz: ## Plays hostile input against parsers and adapters: make fuzz CASES=1000000
	CASES=$(CASES) cargo test --locked --features cli --test tests fuzz

fuzz-live: ## Plays schedules of harm against the real binary in real time: make fuzz-live SECONDS=600, make fuzz-live SEED=17
	@cargo build --locked --quiet --bin bootstrap
	@PYTHON=$(PYTHON) SECONDS=$(SECONDS) SEED=$(SEED) cargo run --locked --quiet --example fuzz_live

build: $(CARGO_LAMBDA) ## Builds the zip for Lambda: make build ARCH=arm64|x86_64
	$(LAMBDA_BUILD) --bin bootstrap --output-format zip
	@ls -l $(TARGET)/lambda/bootstrap/bootstrap.zip

# Without cargo-lambda's choice of a processor: a command line runs on older ones than Lambda's.
build-cli: $(CARGO_LAMBDA)
	$(LAMBDA_BUILD) --disable-optimizations --features network --bin rds-nlb-sync

release: $(CARGO_LAMBDA) $(CARGO_CYCLONEDX) ## Builds the files of a release: make release VERSION=x.y.z ARCHITECTURES="arm64 x86_64"
	PATH="$(CURDIR)/target/tools/bin:$$PATH" scripts/release "$(VERSION)" $(ARCHITECTURES)

target/tools/bin/cargo-cyclonedx:
	cargo install --locked --quiet --root target/tools cargo-cyclonedx --version $(CARGO_CYCLONEDX_VERSION)

# Skipped, loudly, where neither rustup nor Debian has a toolchain for arm64, or nothing here runs such a program.
arm64: $(VENV)/release/installed ## Builds the zip for arm64 and plays the demo with it, under QEMU where this machine is another
	cargo build --locked --quiet --bin bootstrap --example demo
	$(VENV)/release/bin/pytest -q tests/release/test_arm64.py

release-test: $(VENV)/release/installed ## Tests what scripts/release makes, without a build, and the commands of CONTRIBUTING.md
	$(VENV)/release/bin/pytest -q tests/release/test_release.py tests/release/test_contributing.py

workflows: $(VENV)/release/installed $(VENV)/release/actionlint ## Lints .github
	$(VENV)/release/bin/pytest -q tests/release/test_workflows.py

containers: $(VENV)/release/installed ## Checks what runs the command line without Lambda: container, Kubernetes, ECS, systemd
	$(VENV)/release/bin/pytest -q tests/release/test_containers.py

$(VENV)/release/installed: tests/release/requirements.txt
	$(PYTHON) -m venv $(VENV)/release
	$(VENV)/release/bin/pip install --quiet -r $<
	touch $@

# Its installation downloads a program, which not every network allows. The test says so then.
$(VENV)/release/actionlint: tests/release/requirements-actionlint.txt | $(VENV)/release/installed
	$(VENV)/release/bin/pip install --quiet -r $< || echo "SKIPPED: actionlint cannot be installed here" >&2
	touch $@

# SAM keeps the architecture of a stack that is not given one, and builds for the template's default: so all steps get it.
deploy: ## Builds and deploys with SAM: make deploy STACK=name ARCH=arm64|x86_64 PARAMETERS="Endpoint=… TargetGroupArn=…"
	sam build --parameter-overrides Architecture=$(ARCH)
	scripts/check-build $(ARCH)
	sam deploy --stack-name $(STACK) --parameter-overrides "Architecture=$(ARCH) $(PARAMETERS)"

STACK ?= rds-nlb-sync
HOST_ARCH := $(patsubst aarch64,arm64,$(shell uname -m))

artifact: $(CARGO_LAMBDA) $(VENV)/template $(VENV)/release/installed ## Builds the zip and with SAM, and plays the demo with what they hold
	$(MAKE) build ARCH=$(HOST_ARCH)
	rm -rf $(TARGET)/artifact && mkdir -p $(TARGET)/artifact
	$(VENV)/bin/python -m zipfile -e $(TARGET)/lambda/bootstrap/bootstrap.zip $(TARGET)/artifact
	chmod +x $(TARGET)/artifact/bootstrap
	BOOTSTRAP=$(TARGET)/artifact/bootstrap $(MAKE) demo
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(SAM) build --parameter-overrides Architecture=$(HOST_ARCH)
	cmp $(TARGET)/artifact/bootstrap .aws-sam/build/Function/bootstrap
	BUILT=$(TARGET)/artifact/bootstrap $(VENV)/release/bin/pytest -q tests/release/test_linked.py

bench: $(VENV)/bench ## Measures the function, an echo function and a Python handler in one run; with OTHER=PATH, two builds of the function
	cargo build --locked --quiet --release --bin bootstrap
	cargo build --locked --quiet --release --features bench --bin echo
	OTHER=$(OTHER) cargo bench --locked --quiet --profile dev --bench side_by_side

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

# It prints how long it took: make expands every line, so $(shell date) too, before it runs the first.
template: $(VENV)/template $(VENV)/checkov/installed $(VENV)/awscli/installed ## Lints and tests the templates
	for template in $(TEMPLATES); do $(SAM) validate --lint --template $$template || exit 1; done
	$(VENV)/bin/cfn-lint --regions $(REGIONS) -- $(TEMPLATES)
	$(VENV)/bin/cfn-lint --regions $(PARTITIONS) -- $(filter-out deploy/lattice.yaml,$(TEMPLATES))
	$(VENV)/checkov/bin/checkov --framework cloudformation --skip-download --compact --quiet -f $(TEMPLATES)
	$(VENV)/bin/pytest -q -rs tests/template --ignore tests/template/emulate
	@echo "make template took $$(($$(date +%s) - $(shell date +%s))) s"

# MiniStack and moto, on loopback. MiniStack runs the function's binary.
emulate: $(VENV)/emulate/installed $(VENV)/template $(VENV)/awscli/installed ## Plays the stacks, a failover, the alarms and the doctor on emulators of AWS, and prints timelines
	cargo build --locked --quiet --bin bootstrap
	cargo build --locked --quiet --features cli --bin rds-nlb-sync
	$(VENV)/emulate/bin/pytest -q tests/template/emulate

# Terraform's provider comes from TF_PLUGIN_DIR, or from the registry where that is not set. Without Terraform or provider,
# what needs them is skipped, loudly; it fails where REQUIRE_TERRAFORM is set.
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
	$(VENV)/bin/pip install --quiet cargo-lambda==$(CARGO_LAMBDA_VERSION) ziglang==$(ZIGLANG_VERSION)

clean: ## Removes everything that was built
	cargo clean
	rm -rf $(VENV)
