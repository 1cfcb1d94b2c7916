"""What runs the command line without Lambda: its files checked by the tools and models of those who read them."""

import json
import os
import re
import shutil
import subprocess

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from checks import LIBRARIES, ROOT, linked, run, skip, tool

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "container" / "Dockerfile"
KUBERNETES = DEPLOY / "kubernetes" / "rds-nlb-sync.yaml"
TASK = json.loads((DEPLOY / "ecs" / "task-definition.json").read_text())
UNIT = DEPLOY / "systemd" / "rds-nlb-sync.service"
# The user of distroless images, by number.
USER = 65532
WATCH = ["watch", "--output", "json"]
VERSION = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]


def documents():
    return {document["kind"]: document for document in yaml.safe_load_all(KUBERNETES.read_text())}


def deployment():
    return documents()["Deployment"]["spec"]["template"]["spec"]


def dockerfile(instruction):
    return re.findall(rf"^{instruction} (.*)$", DOCKERFILE.read_text(), re.MULTILINE)


# --- The image ---


def test_hadolint_finds_nothing():
    done = run(tool("hadolint"), DOCKERFILE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_image_runs_the_watch_without_root():
    assert dockerfile("USER") == [f"{USER}:{USER}"]
    assert json.loads(dockerfile("CMD")[0]) == WATCH
    assert dockerfile("FROM")[-1].startswith("gcr.io/distroless/cc-debian12")


def test_image_has_the_c_library_of_its_build():
    build, image = dockerfile("FROM")
    assert "bookworm" in build and "debian12" in image, "Debian 12 is bookworm"


def test_build_context_has_every_file_that_cargo_needs(tmp_path):
    lines = (DEPLOY / "container" / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*" and all(rule.startswith("!") for rule in rules[1:])
    for name in (rule[1:] for rule in rules[1:]):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    # What cargo would compile, without compiling it.
    command = ["cargo", "check", "--locked", "--features", "cli", "--bin", "rds-nlb-sync", "--unit-graph", "-Zunstable-options"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, env=os.environ | {"RUSTC_BOOTSTRAP": "1"})
    assert done.returncode == 0, done.stderr
    sources = {unit["target"]["src_path"] for unit in json.loads(done.stdout)["units"]}
    assert f"{tmp_path}/src/bin/rds-nlb-sync.rs" in sources
    # A source that reads a file at compile time would need that file as well.
    text = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    assert "include_str!" not in text and "include_bytes!" not in text


@pytest.fixture
def image(tmp_path):
    """A folder with the program of the tests and only the files of a distroless image that it uses."""
    program = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "rds-nlb-sync"
    if os.geteuid() != 0 or not shutil.which("chroot"):
        skip("only root can change the root folder: the command line was not run as in its image")
    if not program.exists():
        skip("the command line is not built (cargo build --features cli): it was not run as in its image")
    _, libraries, _ = linked(program)
    assert libraries <= LIBRARIES
    found = re.findall(r"(/\S+) \(0x", run("ldd", program).stdout)
    for path in [*found, "/etc/ssl/certs/ca-certificates.crt"]:
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path[1:])
    shutil.copy(program, tmp_path / "rds-nlb-sync")
    tmp_path.chmod(0o755)
    return tmp_path


def test_watch_runs_in_its_image_and_ends_at_sigterm(image):
    bindings = documents()["ConfigMap"]["data"]["BINDINGS"]
    # Nothing listens on port 9 of loopback: what the watch reports is that, and not a file that it misses.
    variables = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "BINDINGS": bindings,
                 "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "NAMESERVERS": "127.0.0.1:9", "CONFIRM_SECONDS": "1"}
    command = [shutil.which("chroot"), f"--userspec={USER}:{USER}", image, "/rds-nlb-sync", *WATCH]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        first = watch.stdout.readline()
        assert first, watch.stderr.read()
        [binding] = json.loads(first)["bindings"]
        assert binding["status"] == "failed" and "Connection refused" in binding["error"]
        watch.terminate()
        assert watch.wait(30) == 0


# --- Kubernetes ---


def test_manifests_follow_kubernetes_schemas():
    done = run(tool("kubernetes-validate"), "--strict", KUBERNETES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_validation_finds_an_unknown_field(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text(KUBERNETES.read_text().replace("readOnlyRootFilesystem:", "readOnlyRootFileSystem:"))
    assert run(tool("kubernetes-validate"), "--strict", broken).returncode != 0


def test_pod_is_restricted():
    # The profile that the namespace enforces (Kubernetes, Pod Security Standards).
    assert documents()["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = deployment()
    [container] = pod["containers"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }


def test_pod_gets_its_configuration_and_the_watch():
    [container] = deployment()["containers"]
    assert container["args"] == WATCH
    assert container["envFrom"] == [{"configMapRef": {"name": documents()["ConfigMap"]["metadata"]["name"]}}]
    assert container["image"].endswith(f":{VERSION}")
    bindings = json.loads(documents()["ConfigMap"]["data"]["BINDINGS"])
    assert [sorted(binding) for binding in bindings] == [["endpoint", "target_group"]]
    account = documents()["ServiceAccount"]["metadata"]
    assert (account["name"], account["namespace"]) == (deployment()["serviceAccountName"], "rds-nlb-sync")
    labels = documents()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert documents()["Deployment"]["spec"]["selector"]["matchLabels"] == labels


# --- ECS ---


@pytest.fixture(scope="module")
def task_shape():
    return botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape


def test_task_definition_is_what_the_ecs_api_takes(task_shape):
    report = ParamValidator().validate(TASK, task_shape)
    assert not report.has_errors(), report.generate_report()


def test_validation_finds_an_unknown_key(task_shape):
    assert ParamValidator().validate(TASK | {"networkmode": "awsvpc"}, task_shape).has_errors()


def test_task_runs_the_watch_without_root():
    [container] = TASK["containerDefinitions"]
    assert container["command"] == WATCH and container["user"] == f"{USER}:{USER}"
    assert container["image"].endswith(f":{VERSION}") and container["readonlyRootFilesystem"] is True
    variables = {variable["name"]: variable["value"] for variable in container["environment"]}
    assert variables.keys() == documents()["ConfigMap"]["data"].keys()
    assert [sorted(binding) for binding in json.loads(variables["BINDINGS"])] == [["endpoint", "target_group"]]
    assert variables["AWS_REGION"] == container["logConfiguration"]["options"]["awslogs-region"]


# --- The role ---


def test_policy_allows_the_calls_of_the_program_and_no_other():
    policy = json.loads((DEPLOY / "container" / "policy.json").read_text())
    allowed = [action for statement in policy["Statement"] for action in statement["Action"]]
    # What the tests of the program recorded, which the template's role is compared with as well.
    recorded = json.loads((ROOT / "tests/template/recorded-actions.json").read_text())["actions"]
    assert sorted(allowed) == sorted(recorded)
    for statement in policy["Statement"]:
        writes = {"elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"} & set(statement["Action"])
        assert not writes or (statement["Resource"] != "*" and len(statement["Action"]) == 2)


# --- systemd ---


@pytest.fixture
def unit(tmp_path):
    """The unit, with a program that exists here in place of ours."""
    text = UNIT.read_text()
    assert text.count("ExecStart=/usr/local/bin/rds-nlb-sync watch") == 1
    path = tmp_path / UNIT.name
    path.write_text(text.replace("/usr/local/bin/rds-nlb-sync", shutil.which("true")))
    return path


def analyze(*arguments):
    if not shutil.which("systemd-analyze"):
        skip("systemd-analyze is not installed: the unit was not verified")
    return run("systemd-analyze", *arguments)


def test_systemd_accepts_the_unit(unit):
    done = analyze("verify", "--man=no", unit)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_systemd_finds_an_unknown_setting(unit):
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHomes="))
    assert "ProtectHomes" in analyze("verify", "--man=no", unit).stderr


def test_unit_is_confined(unit):
    # systemd's own figure: 0 is confined, 10 is not at all.
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=15", unit)
    assert done.returncode == 0, done.stdout[-300:]
