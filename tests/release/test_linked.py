"""What the program in BUILT links, after `make artifact` has built it."""

import os
import platform

from checks import ROOT, assert_runs_on_amazon_linux_2023

# pyelftools' names.
MACHINES = {"x86_64": "x64", "aarch64": "AArch64"}


def test_program_runs_on_amazon_linux_2023():
    assert_runs_on_amazon_linux_2023(ROOT / os.environ["BUILT"], MACHINES[platform.machine()])
