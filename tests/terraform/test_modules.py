"""Format, validity and plans of every module and example."""

import re

import pytest

import runner

FOLDERS = sorted(
    str(path.parent.relative_to(runner.MODULES))
    for pattern in ("versions.tf", "modules/*/versions.tf", "examples/*/main.tf")
    for path in runner.MODULES.glob(pattern)
)
TESTED = sorted({str(path.parents[1].relative_to(runner.MODULES)) for path in runner.MODULES.rglob("tests/*.tftest.hcl")
                 if ".terraform" not in path.parts})


@pytest.fixture(scope="module")
def modules(provider, tmp_path_factory):
    return runner.copy(tmp_path_factory.mktemp("modules"))


def test_every_folder_is_found():
    assert {".", "modules/privatelink", "modules/lattice"} < set(FOLDERS)
    assert len([folder for folder in FOLDERS if folder.startswith("examples/")]) == 5
    assert TESTED == [".", "modules/lattice", "modules/privatelink"]


def test_files_are_formatted(modules):
    assert runner.terraform(modules, "fmt", "-check", "-recursive", "-diff", check=False) == (0, "")


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_is_valid_and_needs_only_the_aws_provider(modules, folder):
    runner.init(modules / folder)
    runner.terraform(modules / folder, "validate", "-no-color")
    sources = set()
    for file in (modules / folder).glob("*.tf"):
        sources |= set(re.findall(r'source\s*=\s*"([^"]+)"', file.read_text()))
    assert {source for source in sources if not source.startswith(".")} <= {"hashicorp/aws"}


@pytest.mark.parametrize("folder", TESTED)
def test_plans(modules, folder):
    runner.init(modules / folder)
    code, output = runner.terraform(modules / folder, "test", "-no-color", check=False)
    print(output)
    assert code == 0, output
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", output), output


@pytest.mark.parametrize("folder", [".", "modules/privatelink", "modules/lattice"])
def test_every_input_and_output_is_described(folder):
    for name, kind in (("variables.tf", "variable"), ("outputs.tf", "output")):
        text = (runner.MODULES / folder / name).read_text()
        blocks = re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', text, re.M | re.S)
        assert blocks
        for block, body in blocks:
            assert re.search(r"^  description = ", body, re.M) or re.search(r"^  description\s+= ", body, re.M), block


def test_every_input_is_in_the_readme():
    text = (runner.MODULES / "README.md").read_text()
    for name in re.findall(r'^variable "(\w+)"', (runner.MODULES / "variables.tf").read_text(), re.M):
        assert f"`{name}`" in text, name
