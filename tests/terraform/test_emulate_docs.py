"""The commands of docs/terraform.md, copied and run as they are, but for the ports and where the provider comes from."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading

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
    # A session of its own: what it starts ends with it, whatever happens.
    shell = subprocess.Popen(
        ["bash", "-c", script], cwd=tmp_path, env=runner.environment(**choices), text=True, start_new_session=True,
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
    output = said.replace('\\"', '"').replace('": "', '":"').replace('": [', '":[')
    assert '"registered":["10.0.1.10:5432"]' in output, said
    # A drift check may come between the move and the event, whose answer is then in_sync.
    after = output.split("Apply complete!", 1)[1]
    assert '"registered":["10.0.2.20:5432"]' in after or '"addresses":["10.0.2.20"]' in after, said
    # The plan after the failover changes alarms alone.
    assert re.findall(r"# \S+ will be (?:created|replaced)", after) == [], said
    updated = re.findall(r"# (\S+) will be updated", after)
    assert updated and all("aws_cloudwatch_metric_alarm" in address for address in updated), said
    assert re.search(r"Destroy complete! Resources: [1-9]\d* destroyed", after), said
