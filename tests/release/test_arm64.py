"""The function for arm64: built, linked for Amazon Linux 2023, and run through the demo, under QEMU where that is needed."""

import os
import platform
import shutil
import subprocess
import zipfile

import pytest

from checks import ROOT, assert_runs_on_amazon_linux_2023, run, skip

# In a folder of its own, because the compiler may be another than for the rest. CARGO_TARGET_DIR moves it as well.
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "arm64"
# scripts/with-target: no toolchain can be had.
UNAVAILABLE = 77
QEMU = "qemu-aarch64-static"
# Where Debian's cross packages have the C library of arm64.
SYSROOT = "/usr/aarch64-linux-gnu"
PACKAGES = ["qemu-user-static", "libc6-arm64-cross", "libgcc-s1-arm64-cross"]


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory):
    """The program in the zip that `make build` makes."""
    command = ["nice", "-n", "15", "scripts/with-target", "arm64", "make", "build", "ARCH=arm64"]
    built = run(*command, env=os.environ | {"CARGO_TARGET_DIR": str(TARGET)})
    if built.returncode == UNAVAILABLE:
        skip(f"neither rustup nor Debian has a Rust toolchain for arm64 here: {built.stderr.strip()[-300:]}")
    assert built.returncode == 0, built.stdout + built.stderr
    folder = tmp_path_factory.mktemp("arm64")
    with zipfile.ZipFile(TARGET / "lambda" / "bootstrap" / "bootstrap.zip") as archive:
        archive.extractall(folder)
    (folder / "bootstrap").chmod(0o755)
    return folder / "bootstrap"


@pytest.fixture(scope="module")
def runnable(bootstrap):
    """The program, or a script that runs it under QEMU."""
    if platform.machine() == "aarch64":
        return bootstrap
    if not has_qemu():
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            skip(f"the demo for arm64 needs Debian's packages {' '.join(PACKAGES)}")
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        # A mirror may fail for a moment.
        apt = ["apt-get", "-o", "Acquire::Retries=5", "--quiet=2"]
        install = [*apt, "install", "--yes", "--no-install-recommends", *PACKAGES]
        if run(*apt, "update").returncode or run(*install, env=environment).returncode or not has_qemu():
            skip(f"Debian's packages {' '.join(PACKAGES)} cannot be had: the demo for arm64 was not played")
    script = bootstrap.with_name("run")
    script.write_text(f"#!/bin/sh\nexec {shutil.which(QEMU)} -L {SYSROOT} {bootstrap} \"$@\"\n")
    script.chmod(0o755)
    return script


def has_qemu():
    return shutil.which(QEMU) and os.path.exists(f"{SYSROOT}/lib/libgcc_s.so.1")


def test_program_runs_on_amazon_linux_2023(bootstrap):
    assert_runs_on_amazon_linux_2023(bootstrap, "AArch64")


def test_demo_passes(runnable):
    played = run("make", "demo", env=os.environ | {"BOOTSTRAP": str(runnable)}, timeout=1800)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "5 scenes, and every one ended as it should" in played.stdout, played.stdout
    # It was that program, and not the one for this machine.
    with subprocess.Popen([runnable], stderr=subprocess.PIPE, text=True) as alone:
        assert "finds no Runtime API" in alone.stderr.read()
