"""CONTRIBUTING.md: its commands, as far as they can be checked without an account."""

import json
import os
import re
import shlex
import shutil
import tomllib

import pytest

from checks import ROOT, run, skip

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
COMMANDS = [shlex.split(line, comments=True) for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S) for line in block.splitlines()]
LAMBDA = {words[2]: words[3:] for words in COMMANDS if words[:2] == ["cargo", "lambda"]}


def test_function_is_watched_with_a_dry_run_on_loopback():
    exported = dict(word.split("=", 1) for words in COMMANDS if words[0] == "export" for word in words[1:])
    # Cargo finds its commands on the PATH alone.
    assert exported.pop("PATH") == "$PWD/.venv/bin:$PATH"
    assert exported.keys() == {"AWS_REGION", "DRY_RUN", "BINDINGS"} and exported["DRY_RUN"] == "true"
    [binding] = json.loads(exported["BINDINGS"])
    assert binding.keys() == {"endpoint", "target_group"}
    assert all(exported["AWS_REGION"] in value for value in binding.values())
    assert LAMBDA["watch"] == ["--invoke-address", "127.0.0.1"]
    function, *options = LAMBDA["invoke"]
    assert function in {program["name"] for program in tomllib.loads((ROOT / "Cargo.toml").read_text())["bin"]}
    assert options[:2] == LAMBDA["watch"] and options[2] == "--data-file"
    assert json.loads((ROOT / options[3]).read_text()) == {"command": "plan"}
    assert json.loads((ROOT / "events/check.json").read_text()) == {"command": "check"}


@pytest.mark.parametrize("command", ["watch", "invoke"])
def test_cargo_lambda_has_the_options(command):
    program = shutil.which("cargo-lambda", path=f"{os.environ['PATH']}:{ROOT}/.venv/bin")
    if not program:
        skip("cargo-lambda is not installed: its options in CONTRIBUTING.md were not checked")
    known = run(program, "lambda", command, "--help").stdout
    for option in LAMBDA[command]:
        assert not option.startswith("--") or f"{option} <" in known, option


def test_documented_files_and_targets_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for target in re.findall(r"\bmake ([a-z-]+)", TEXT):
        assert target in targets, target
    for words in COMMANDS:
        if "/" in words[0]:
            assert (ROOT / words[0]).is_file(), words
