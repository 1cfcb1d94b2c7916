"""The commands of docs/terraform.md, copied and run as they are, but for the ports and where the provider comes from."""

import os
import re
import shutil
import subprocess

import runner
from test_emulate_sync import package  # noqa: F401 (a fixture)


def test_documented_commands_follow_a_failover(provider, package, tmp_path):  # noqa: F811
    text = (runner.ROOT / "docs" / "terraform.md").read_text()
    emulator = text.split("## On an emulator", 1)[1]
    commands = re.findall(r"^```sh\n(.*?)^```$", emulator, re.M | re.S)
    assert len(commands) == 4
    script = "\n".join(["set -e", *commands])
    for port in ("4566", "5300"):
        script = script.replace(port, str(runner.free_port()))

    (tmp_path / "deploy").mkdir()
    runner.copy(tmp_path / "deploy")
    shutil.copytree(runner.ROOT / "events", tmp_path / "events")
    shutil.copy(package[0], tmp_path / "rds-nlb-sync.zip")
    plugins = os.environ.get("TF_PLUGIN_DIR")
    choices = {"TF_CLI_ARGS": "-no-color"} | ({"TF_CLI_ARGS_init": f"-plugin-dir={plugins}"} if plugins else {})
    done = subprocess.run(
        # A session of its own, whose processes end with it whatever happens.
        ["bash", "-c", f"trap 'kill $(jobs -p) 2>/dev/null' EXIT\n{script}"], cwd=tmp_path,
        env=runner.environment(**choices), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=480,
    )
    assert done.returncode == 0, done.stdout
    output = done.stdout.replace('\\"', '"').replace('": "', '":"').replace('": [', '":[')
    assert '"registered":["10.0.1.10:5432"]' in output, done.stdout
    assert '"registered":["10.0.2.20:5432"]' in output, done.stdout
    # The last plan changes alarms alone.
    changes = re.findall(r"# (\S+) will be", done.stdout.split("10.0.2.20:5432", 1)[1].split("destroyed", 1)[0])
    assert changes and all("aws_cloudwatch_metric_alarm" in change for change in changes), done.stdout
    assert re.search(r"Destroy complete! Resources: [1-9]\d* destroyed", done.stdout), done.stdout
