"""What scripts/release packs for SAM: the templates with the zip beside them, which `sam package` takes as they are."""

import importlib.machinery
import importlib.util
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from pathlib import Path

import boto3
import pytest
from samtranslator.yaml_helper import yaml_parse

from stack import ROOT, source

SCRIPT = ROOT / "scripts" / "release"
loader = importlib.machinery.SourceFileLoader("release", str(SCRIPT))
release = importlib.util.module_from_spec(importlib.util.spec_from_loader("release", loader))
loader.exec_module(release)

TEMPLATES = ["template.yaml", "privatelink.yaml"]


@pytest.fixture(scope="module", params=["arm64", "x86_64"])
def package(request, tmp_path_factory):
    """The folder that a user unpacks, and its architecture."""
    folder = tmp_path_factory.mktemp(request.param)
    archive = folder / f"rds-nlb-sync-1.2.3-{request.param}.zip"
    release.write_zip(archive, [("bootstrap", b"program")], 1_700_000_000)
    release.write_tar(folder / "sam.tar.gz", "sam", release.sam_files(archive, request.param), 1_700_000_000)
    with tarfile.open(folder / "sam.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder / "sam", request.param


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """An S3 of moto's, on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with open(tmp_path_factory.mktemp("moto") / "log", "w") as log:
        command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT"), timeout=2)
                break
            except OSError:
                assert server.poll() is None, "moto ended"
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def test_templates_are_for_one_architecture_with_the_zip_beside_them(package):
    folder, architecture = package
    function = yaml_parse((folder / "template.yaml").read_text())["Resources"]["Function"]["Properties"]
    assert function["CodeUri"] == f"rds-nlb-sync-1.2.3-{architecture}.zip" and (folder / function["CodeUri"]).is_file()
    for name in TEMPLATES:
        parameter = yaml_parse((folder / name).read_text())["Parameters"]["Architecture"]
        assert (parameter["Default"], parameter["AllowedValues"]) == (architecture, [architecture])


def test_templates_are_otherwise_those_of_the_repository(package):
    folder, _ = package
    for name, path in (("template.yaml", "template.yaml"), ("privatelink.yaml", "deploy/privatelink.yaml")):
        packed, ours = yaml_parse((folder / name).read_text()), source(path)
        for template in (packed, ours):
            for key in ("Default", "AllowedValues"):
                del template["Parameters"]["Architecture"][key]
            template["Resources"].get("Function", {"Properties": {}})["Properties"].pop("CodeUri", None)
            template["Resources"].get("Sync", {"Properties": {}})["Properties"].pop("Location", None)
        assert packed == ours
    for name in ("database.yaml", "lattice.yaml"):
        assert (folder / name).read_bytes() == (ROOT / "deploy" / name).read_bytes()


@pytest.mark.parametrize("name", TEMPLATES)
def test_sam_packages_without_a_build(package, s3, name, tmp_path):
    folder, _ = package
    variables = {"PATH": "/usr/bin:/bin", "AWS_ENDPOINT_URL": s3, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                 "AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0", "HOME": str(tmp_path)}
    command = [Path(sys.executable).with_name("sam"), "package", "--template-file", name, "--s3-bucket", "bucket",
               "--output-template-file", str(tmp_path / "packaged.yaml")]
    done = subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    packaged = yaml_parse((tmp_path / "packaged.yaml").read_text())
    if name == "template.yaml":
        assert packaged["Resources"]["Function"]["Properties"]["CodeUri"].startswith("s3://bucket/")
        metadata = packaged["Metadata"]["AWS::ServerlessRepo::Application"]
        assert metadata["LicenseUrl"].startswith("s3://bucket/") and metadata["ReadmeUrl"].startswith("s3://bucket/")
    else:
        location = packaged["Resources"]["Sync"]["Properties"]["Location"]
        assert location.startswith(f"{s3}/bucket/")
        client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        nested = yaml_parse(client.get_object(Bucket="bucket", Key=location.rsplit("/", 1)[1])["Body"].read())
        assert nested["Resources"]["Function"]["Properties"]["CodeUri"].startswith("s3://bucket/")


def test_template_without_its_place_is_refused(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"zip")
    for name in ("template.yaml", "deploy/privatelink.yaml", "deploy/database.yaml", "deploy/lattice.yaml", "LICENSE", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text().replace("      CodeUri: .\n", "      CodeUri: code\n"))
    with pytest.raises(release.Refused, match="CodeUri"):
        release.sam_files(archive, "arm64", tmp_path)
