import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

# The resolver of the templates, and SAM's translator, which asks for a region.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"

from emulator import free_port, skipped, timeline  # noqa: E402
from limits import LIMITS  # noqa: E402


def pytest_terminal_summary(terminalreporter):
    for line in timeline:
        terminalreporter.write_line(line)
    terminalreporter.write_line("\nWhat the emulators cannot do, and what was done instead:")
    for lacking, instead in LIMITS:
        terminalreporter.write_line(f"  {lacking}: {instead}")
    for reason in sorted(skipped):
        terminalreporter.write_line(f"SKIPPED: {reason}", red=True)


def serve(command, port, log, **variables):
    with open(log, "w") as output:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=output, stderr=output)
    try:
        for _ in range(600):
            assert process.poll() is None, Path(log).read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def serve_ministack(folder):
    port = free_port()
    # It listens on every address unless it is given one, and its functions take AWS_ENDPOINT_URL from it.
    yield from serve(
        [sys.executable, Path(__file__).with_name("launcher.py")], port, folder / "log",
        BIND_HOST="127.0.0.1", GATEWAY_PORT=str(port), AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        IOT_MTLS_ENABLED="0", SFTP_ENABLED="0", AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", TMPDIR=str(folder),
    )


@pytest.fixture(scope="session")
def ministack(tmp_path_factory):
    yield from serve_ministack(tmp_path_factory.mktemp("ministack"))


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    port = free_port()
    yield from serve([Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)], port,
                     tmp_path_factory.mktemp("moto") / "log")
