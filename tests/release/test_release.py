"""scripts/release: what it refuses, and that its files depend on their content and the commit alone."""

import json
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

import checks
from checks import ROOT, release_script, run

release = release_script()
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
EPOCH = 1_700_000_001


def test_version_of_this_commit_is_accepted():
    release.check_version(VERSION)


@pytest.mark.parametrize("version", ["9.9.9", ""])
def test_make_release_refuses_another_version(version):
    done = run("scripts/release", version)
    assert done.returncode == 1
    assert f"Cargo.toml has {VERSION}" in done.stderr and "Fix: make release VERSION=" in done.stderr


@pytest.mark.parametrize("arguments", [[], [VERSION, "riscv64"], [VERSION, "--sums", "arm64"]])
def test_wrong_arguments_show_the_usage(arguments):
    done = run("scripts/release", *arguments)
    assert done.returncode == 1 and "usage: scripts/release" in done.stderr


@pytest.mark.parametrize("file,old,new,message", [
    ("template.yaml", f"SemanticVersion: {VERSION}", "SemanticVersion: 9.9.9", "SemanticVersion 9.9.9"),
    ("CHANGELOG.md", f"## {VERSION} ", "## 9.9.9 ", "no section"),
    ("Cargo.toml", f'version = "{VERSION}"', 'version = "9.9.9"', "Cargo.toml has 9.9.9"),
])
def test_place_with_another_version_is_refused(tmp_path, file, old, new, message):
    for name in ("Cargo.toml", "template.yaml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    release.check_version(VERSION, tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(release.Refused, match=message):
        release.check_version(VERSION, tmp_path)


def test_notes_are_the_section_of_the_version():
    changelog = "# Changelog\n\n## 1.1.0 - 2026-02-01\n\n- B.\n- C\n  ## c.\n\n## 1.0.0 - 2026-01-01\n\n- A.\n"
    assert release.notes("1.1.0", changelog) == "- B.\n- C\n  ## c.\n"
    assert release.notes("1.0.0", changelog) == "- A.\n"


@pytest.mark.parametrize("heading", ["1.0.0 - Unreleased", "1.0.0", "1.0.0.1 - 2026-01-01", "1-0-0 - 2026-01-01"])
def test_notes_need_a_date(heading):
    with pytest.raises(release.Refused, match="no date for 1.0.0"):
        release.notes("1.0.0", f"## {heading}\n\n- A.\n")


def test_zip_holds_an_executable_and_no_time_of_the_build(tmp_path):
    release.write_zip(tmp_path / "a.zip", [("bootstrap", b"program")], EPOCH)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        [entry] = archive.infolist()
    assert (entry.filename, entry.date_time) == ("bootstrap", (2023, 11, 14, 22, 13, 20))
    assert stat.filemode(entry.external_attr >> 16) == "-rwxr-xr-x" and entry.create_system == 3
    # Before the first time that the format knows.
    release.write_zip(tmp_path / "b.zip", [("bootstrap", b"program")], 0)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_tar_has_one_folder_and_no_user(tmp_path):
    release.write_tar(tmp_path / "a.tar.gz", "name-1.0.0", [("program", 0o755, b"x"), ("LICENSE", 0o644, b"y")], EPOCH)
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        entries = archive.getmembers()
    assert [(e.name, oct(e.mode), e.mtime, e.uid, e.gid, e.uname, e.gname) for e in entries] == [
        ("name-1.0.0/program", "0o755", EPOCH, 0, 0, "", ""), ("name-1.0.0/LICENSE", "0o644", EPOCH, 0, 0, "", ""),
    ]


# Stand for the builds, which take minutes. The time of a file that they write must get into no archive.
MAKE = """#!/bin/sh
echo "$SOURCE_DATE_EPOCH $CARGO_BUILD_RUSTFLAGS" >> "$CARGO_TARGET_DIR/builds"
case $1 in
    build) name=bootstrap ;;
    build-cli) name=rds-nlb-sync ;;
esac
mkdir -p "$CARGO_TARGET_DIR/lambda/$name" && cd "$CARGO_TARGET_DIR/lambda/$name"
printf 'program %s\\n\\0GLIBC_2.2.5\\0GLIBC_%s\\0' $2 "$(cat "$CARGO_TARGET_DIR/glibc-$name" 2>/dev/null || echo 2.34)" > bootstrap
[ $1 = build-cli ] || python3 -m zipfile -c bootstrap.zip bootstrap
"""
CARGO = """#!/bin/sh
case $1 in
    cyclonedx) printf '{"bomFormat": "CycloneDX", "components": [], "dependencies": [{"ref": "path+file://%s#rds-nlb-sync@1.0.0"}]}' "$PWD" > sbom.json ;;
    tree) echo "rds-nlb-sync v1.0.0 ($PWD)" ;;
esac
"""


def built(tmp_path, monkeypatch, **glibc):
    """What `make release` makes, with stand-ins for cargo and cargo-lambda, whose programs need these versions of glibc."""
    tools, target = tmp_path / "bin", tmp_path / "target"
    for folder in (tools, target):
        folder.mkdir(parents=True)
    for program, version in glibc.items():
        (target / f"glibc-{program.replace('_', '-')}").write_text(version)
    for name, text in (("make", MAKE), ("cargo", CARGO)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setenv("CARGO_TARGET_DIR", str(target))
    # The working copy of a developer is not clean.
    monkeypatch.setattr(release, "check_clean", lambda: None)
    release.main(VERSION, [ARCHITECTURE])
    return target


def test_two_builds_give_the_same_files(tmp_path, monkeypatch):
    first, second = (built(tmp_path / name, monkeypatch) / "dist" / VERSION for name in ("a", "b"))
    names = [f"rds-nlb-sync-{VERSION}-{ARCHITECTURE}.zip", f"rds-nlb-sync-{VERSION}-linux-{ARCHITECTURE}.tar.gz",
             f"rds-nlb-sync-{VERSION}-sam-{ARCHITECTURE}.tar.gz", f"rds-nlb-sync-{VERSION}-{ARCHITECTURE}.cdx.json", "SHA256SUMS"]
    assert sorted(path.name for path in first.iterdir()) == sorted(names)
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=first).returncode == 0
    # Not the folder of this machine.
    assert json.loads((first / names[3]).read_text())["dependencies"] == [{"ref": "path+file:///src#rds-nlb-sync@1.0.0"}]
    with zipfile.ZipFile(first / names[0]) as archive:
        assert archive.read("bootstrap").startswith(f"program ARCH={ARCHITECTURE}\n".encode())
    with tarfile.open(first / names[1]) as archive:
        assert archive.getmember(f"rds-nlb-sync-{VERSION}-linux-{ARCHITECTURE}/rds-nlb-sync").mode == 0o755


def test_builds_get_the_time_of_the_commit_and_no_folder_of_this_machine(tmp_path, monkeypatch):
    target = built(tmp_path, monkeypatch)
    lines = (target / "builds").read_text().splitlines()
    assert len(lines) == 2, "the function and the command line"
    commit = run("git", "log", "-1", "--format=%ct").stdout.strip()
    for line in lines:
        epoch, *flags = line.split()
        assert epoch == commit
        assert {f"--remap-path-prefix={ROOT}=/src", f"--remap-path-prefix={target}=/target"} <= set(flags)


@pytest.mark.parametrize("program", ["bootstrap", "rds_nlb_sync"])
def test_program_that_needs_a_newer_c_library_is_not_released(tmp_path, monkeypatch, program):
    with pytest.raises(release.Refused, match=f"{program.replace('_', '-')} needs glibc 2.36, and a release promises 2.34"):
        built(tmp_path, monkeypatch, **{program: "2.36"})


def test_c_library_that_is_read_is_the_one_that_the_linker_wrote():
    # Any program of this machine: the interpreter.
    versions = checks.linked(sys.executable)[2]
    newest = max(tuple(map(int, version.removeprefix("GLIBC_").split("."))) for version in versions if version != "GLIBC_PRIVATE")
    program = open(sys.executable, "rb").read()
    release.check_c_library("python", program, newest)
    with pytest.raises(release.Refused, match="python needs glibc " + ".".join(map(str, newest))):
        release.check_c_library("python", program, (*newest[:-1], newest[-1] - 1))
    with pytest.raises(release.Refused, match="names no version"):
        release.check_c_library("script", b"#!/bin/sh\n")
    assert release.GLIBC == checks.GLIBC
    assert f"glibc {'.'.join(map(str, release.GLIBC))} or later" in (ROOT / "docs/releases.md").read_text()


def test_bill_of_materials_lists_only_what_is_linked():
    crate = "registry+https://github.com/rust-lang/crates.io-index#{}@1.0.0".format
    bill = {
        "components": [{"bom-ref": crate("a")}, {"bom-ref": crate("unused")}],
        "dependencies": [{"ref": crate("a"), "dependsOn": [crate("b"), crate("unused")]}, {"ref": crate("b")}, {"ref": crate("unused")}],
    }
    assert release.only({"a@1.0.0", "b@1.0.0"}, bill) == {
        "components": [{"bom-ref": crate("a")}],
        "dependencies": [{"ref": crate("a"), "dependsOn": [crate("b")]}, {"ref": crate("b")}],
    }


def test_sums_cover_the_files_of_another_machine(tmp_path, monkeypatch):
    dist = built(tmp_path, monkeypatch) / "dist" / VERSION
    (dist / "of-another-machine.zip").write_bytes(b"zip")
    release.main(VERSION, ["--sums"])
    assert "of-another-machine.zip" in (dist / "SHA256SUMS").read_text()
    assert subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist).returncode == 0


def test_terraform_module_names_the_same_zip():
    text = (ROOT / "deploy/terraform/main.tf").read_text()
    assert '"rds-nlb-sync-${var.package.release_version}-${var.package.architecture}.zip"' in text


@pytest.mark.parametrize("machine,libraries,versions,message", [
    ("x64", {"libc.so.6", "libssl.so.3"}, {"GLIBC_2.34"}, "a library that the system does not have"),
    ("x64", {"libc.so.6"}, {"GLIBC_2.2.5", "GLIBC_2.36"}, "a newer C library"),
    ("AArch64", {"libc.so.6"}, {"GLIBC_2.34"}, "AArch64"),
    ("x64", set(), set(), "without a version of the C library"),
])
def test_program_that_amazon_linux_cannot_run_is_found(monkeypatch, machine, libraries, versions, message):
    monkeypatch.setattr(checks, "linked", lambda binary: (machine, libraries, versions))
    with pytest.raises(AssertionError, match=message):
        checks.assert_runs_on_amazon_linux_2023("bootstrap", "x64")


def test_changes_that_are_not_committed_are_refused(monkeypatch):
    monkeypatch.setattr(release, "output", lambda *command: " M Cargo.toml")
    with pytest.raises(release.Refused, match="M Cargo.toml"):
        release.check_clean()
