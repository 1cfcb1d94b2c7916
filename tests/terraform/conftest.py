import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import runner

# The resolver of the SAM template that the modules are compared with.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "template"))
# Its translator asks for a region.
os.environ["AWS_DEFAULT_REGION"] = runner.REGION

def pytest_terminal_summary(terminalreporter):
    # pytest prints one letter for a skipped test; a run that tested nothing must not look like one that passed.
    for reason in sorted(runner.skipped):
        terminalreporter.write_line(f"SKIPPED: {reason}", red=True)


@pytest.fixture(scope="session")
def provider(tmp_path_factory):
    """Skips where there is no Terraform or no provider for it."""
    if not shutil.which("terraform"):
        runner.skip("terraform is not installed: nothing of deploy/terraform was tested")
    try:
        runner.init(runner.copy(tmp_path_factory.mktemp("provider")))
    except runner.Failed as failure:
        # A folder that was named and has no provider is a mistake, not a reason to skip.
        if "TF_PLUGIN_DIR" in os.environ or "provider" not in str(failure):
            raise
        print(failure, file=sys.stderr)
        runner.skip("the registry has no provider hashicorp/aws for this machine, and TF_PLUGIN_DIR is not set: "
                    "nothing of deploy/terraform was tested")


def wait_for(url, process, seconds=60):
    for _ in range(seconds * 10):
        if process.poll() is not None:
            pytest.fail(f"the emulator ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer within {seconds} s")


def serve(command, port, log, **variables):
    with open(log, "w") as output:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=output, stderr=output)
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    port = runner.free_port()
    yield from serve(
        [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)], port,
        tmp_path_factory.mktemp("moto") / "log", MOTO_IAM_LOAD_MANAGED_POLICIES="true",
    )


@pytest.fixture(scope="session")
def ministack(tmp_path_factory):
    port = runner.free_port()
    folder = tmp_path_factory.mktemp("ministack")
    # It listens on every address unless it is given one, and its functions take AWS_ENDPOINT_URL from it.
    yield from serve(
        [sys.executable, runner.ROOT / "tests/template/emulate/launcher.py"], port, folder / "log",
        BIND_HOST="127.0.0.1", GATEWAY_PORT=str(port), AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        IOT_MTLS_ENABLED="0", SFTP_ENABLED="0", AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test",
        TMPDIR=str(folder),
    )
