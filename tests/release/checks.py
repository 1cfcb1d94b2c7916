"""What these tests share: the repository, its release script, skips that are seen, and what a program links."""

import importlib.machinery
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

ROOT = Path(__file__).resolve().parents[2]
# Amazon Linux 2023, which the runtime provided.al2023 is, has this version of the C library.
GLIBC = (2, 34)
# What the C library and GCC's runtime consist of, which that system and a distroless image have.
LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1",
             "ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2"}

skipped = set()


def skip(reason):
    """Skips a test and repeats the reason in the summary."""
    skipped.add(reason)
    pytest.skip(reason)


def tool(name):
    """The program, of this environment or of the system; skips where there is none."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or skip(f"{name} is not installed")


def run(*command, **options):
    return subprocess.run(list(map(str, command)), cwd=ROOT, text=True, capture_output=True, **options)


def release_script():
    loader = importlib.machinery.SourceFileLoader("release", str(ROOT / "scripts" / "release"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("release", loader))
    loader.exec_module(module)
    return module


def linked(binary):
    """The machine, the libraries and the versions of the C library that the program asks for."""
    with open(binary, "rb") as file:
        elf = ELFFile(file)
        libraries, versions = set(), set()
        for section in elf.iter_sections():
            if isinstance(section, DynamicSection):
                libraries |= {tag.needed for tag in section.iter_tags() if tag.entry.d_tag == "DT_NEEDED"}
            if isinstance(section, GNUVerNeedSection):
                for _, names in section.iter_versions():
                    versions |= {name.name for name in names if name.name.startswith("GLIBC_")}
        return elf.get_machine_arch(), libraries, versions


def assert_runs_on_amazon_linux_2023(binary, machine):
    found, libraries, versions = linked(binary)
    assert found == machine, f"it is for {found}"
    assert libraries <= LIBRARIES, "it needs a library that the system does not have"
    numbers = {tuple(map(int, version.removeprefix("GLIBC_").split("."))) for version in versions}
    assert numbers, "a program without a version of the C library is not the one that this test is about"
    assert max(numbers) <= GLIBC, f"it needs a newer C library: {sorted(versions)}"
