"""The commands of README.md and of docs/terraform.md, copied and run as they are, but for the ports and where the provider comes
from. `pytest -s` prints the seconds that each command takes: what a newcomer waits for."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import boto3

import runner
from test_emulate_sync import names, package  # noqa: F401 (fixtures)

AWS = runner.ROOT / ".venv/awscli/bin"


def play(script, folder, **variables):
    """Runs a script as a newcomer's shell would, and returns its output and its commands with their seconds."""
    plugins = os.environ.get("TF_PLUGIN_DIR")
    choices = {"TF_CLI_ARGS": "-no-color"} | ({"TF_CLI_ARGS_init": f"-plugin-dir={plugins}"} if plugins else {})
    trace = folder / "trace"
    script = f"exec 9>{trace}; BASH_XTRACEFD=9; PS4='@$EPOCHREALTIME '; set -ex\n{script}\n: the end"
    # A session of its own: what it starts ends with it, whatever happens.
    shell = subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=runner.environment(**choices) | variables | {"LC_ALL": "C"}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    watchdog = threading.Timer(1200, os.killpg, (shell.pid, signal.SIGKILL))
    watchdog.start()
    try:
        said, _ = shell.communicate()
    finally:
        watchdog.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
    assert shell.returncode == 0, said
    started = [(float(at), command) for at, command in re.findall(r"^@+(\d+\.\d+) (.*)$", trace.read_text(), re.M)]
    return said, [(command, until - at) for (at, command), (until, _) in zip(started, started[1:])]


def show(title, taken, followed):
    """Prints the seconds of the commands up to the one that a followed failover ends."""
    [end] = [number for number, (command, _) in enumerate(taken) if followed in command]
    print(f"\n{title}")
    for command, seconds in taken[: end + 1]:
        if seconds >= 0.1:
            print(f"{seconds:7.1f} s  {command[:100]}")
    print(f"{sum(seconds for _, seconds in taken[: end + 1]):7.1f} s  together")


def set_up(folder, package):  # noqa: F811
    """What a newcomer has: the clone and the zip."""
    (folder / "deploy").mkdir()
    runner.copy(folder / "deploy")
    shutil.copytree(runner.ROOT / "events", folder / "events")
    shutil.copy(package[0], folder / "rds-nlb-sync.zip")


def test_documented_commands_follow_a_failover(provider, package, tmp_path):  # noqa: F811
    text = (runner.ROOT / "docs" / "terraform.md").read_text()
    emulator = text.split("## On an emulator", 1)[1]
    commands = re.findall(r"^```sh\n(.*?)^```$", emulator, re.M | re.S)
    assert len(commands) == 4
    script = "\n".join(commands)
    for port in ("4566", "5300"):
        script = script.replace(port, str(runner.free_port()))
    set_up(tmp_path, package)
    said, taken = play(script, tmp_path)
    show("A newcomer with Terraform, docs/terraform.md on an emulator", taken, "curl --silent --data")
    # Terraform prints lists over several lines.
    output = re.sub(r'" ?[=:] \[\s*', '":[', said.replace('\\"', '"'))
    output = re.sub(r',?\s*\]', ']', output).replace('": "', '":"')
    assert '"registered":["10.0.1.10:5432"]' in output, said
    # A drift check may come between the move and the event, whose answer is then in_sync.
    after = output.split("Apply complete!", 1)[1]
    assert '"registered":["10.0.2.20:5432"]' in after or '"addresses":["10.0.2.20"]' in after, said
    # The plan after the failover changes alarms alone.
    assert re.findall(r"# \S+ will be (?:created|replaced)", after) == [], said
    updated = re.findall(r"# (\S+) will be updated", after)
    assert updated and all("aws_cloudwatch_metric_alarm" in address for address in updated), said
    assert re.search(r"Destroy complete! Resources: [1-9]\d* destroyed", after), said


def test_readme_s_module_goes_from_a_dry_run_to_a_followed_failover(provider, package, ministack, names, tmp_path):  # noqa: F811
    text = (runner.ROOT / "README.md").read_text()
    [module] = re.findall(r"^```hcl\n(.*?)^```$", text, re.M | re.S)
    commands = re.findall(r"^\$ (terraform .*|printf .*)$", text, re.M)
    [apply, doctor] = commands
    # A group of the Region that the example names. The emulator's names are ours, and the example's database is nowhere.
    region, endpoint = "eu-west-1", re.search(r'endpoint += "(.+?)"', module)[1]
    elb, lambdas = (boto3.client(service, endpoint_url=ministack, region_name=region, aws_access_key_id="test",
                                 aws_secret_access_key="test") for service in ("elbv2", "lambda"))
    group = elb.create_target_group(Name="readme", Protocol="TCP", Port=5432, TargetType="ip", VpcId="vpc-0a")["TargetGroups"][0]["TargetGroupArn"]
    here = re.sub(r'(target_group_arn += )".+?"', rf'\1"{group}"', module)
    here = here.replace('architecture = "arm64"', f'architecture = "{package[1]}"')
    dry = here.replace("settings = { dry_run = true } # then false", f'settings = {{ dry_run = true, nameservers = ["{names.address}"] }}')
    assert module != here != dry

    def targets():
        health = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {entry["Target"]["Id"] for entry in health if entry["TargetHealth"]["State"] != "draining"}

    set_up(tmp_path, package)
    variables = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_ENDPOINT_URL": ministack, "PATH": f"{AWS}:{os.environ['PATH']}"}
    names.addresses[endpoint] = "10.0.1.10"
    (tmp_path / "main.tf").write_text(dry)
    ask = doctor.replace("FUNCTION", "rds-nlb-sync")
    if not (AWS / "aws").is_file():
        ask = ": the doctor, without the AWS CLI"
        runner.skipped.add("the AWS CLI is not in .venv/awscli: the doctor was not asked by the README's command")
    said, taken = play(f"{apply}\n{ask}", tmp_path, **variables)
    assert "Apply complete!" in said and targets() == set(), said
    assert '"problems"' in said or ask.startswith(":"), said

    (tmp_path / "main.tf").write_text(dry.replace("dry_run = true", "dry_run = false"))
    said, real = play(apply, tmp_path, **variables)
    assert "Apply complete!" in said and targets() == {"10.0.1.10"}, said

    names.addresses[endpoint] = "10.0.2.20"
    start = time.monotonic()
    answer = lambdas.invoke(FunctionName="rds-nlb-sync", Payload=(runner.ROOT / "events/cluster-failover-completed.json").read_bytes())
    assert targets() == {"10.0.2.20"}, answer["Payload"].read()
    failover = ("a failover's event, followed", time.monotonic() - start)
    show("A newcomer with Terraform, the README's module", [*taken, *real, failover], failover[0])
    play("terraform destroy -auto-approve", tmp_path, **variables)
    assert targets() == {"10.0.2.20"}
