"""The AWS CLI, versions 1 and 2, against a server of ours that refuses every call: a command that the server sees was parsed, and
its parameters were valid."""

import http.server
import functools
import json
import os
import pathlib
import subprocess
import threading
import zipfile

import commands

VERSION_1 = commands.ROOT / ".venv/awscli/bin/python"
# Debian's package of version 2 runs under Debian's Python. Version 2 is in no other index of packages.
VERSION_2 = pathlib.Path("/usr/bin/python3")
# Commands and options that an old version 2 does not know (Debian 12 has 2.9, of January 2023), each with the first version that
# does, from the changelog of the AWS CLI, and the reason. The test of the doctor's commands reads the same list.
LATER = json.loads((commands.ROOT / "tests/docs/awscli-later.json").read_text())


@functools.cache
def version(python):
    """The version of the AWS CLI that a Python has, such as (2, 9, 19), or None."""
    try:
        said = subprocess.run([python, "-c", "import awscli; print(awscli.__version__)"], text=True, capture_output=True)
    except OSError:
        return None
    return tuple(map(int, said.stdout.strip().split("."))) if said.returncode == 0 else None


def knows(python, line):
    """Whether this version is late enough for the commands of a line. Version 1 here is a late one."""
    later = [tuple(map(int, entry["since"].split("."))) for words, entry in LATER.items() if f" {words} " in f"{line} "]
    return version(python)[0] == 1 or all(version(python) >= first for first in later)


class Refusing(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.server.seen.append((self.path, self.rfile.read(length)))
        body = b"<ErrorResponse><Error><Code>Stub</Code><Message>refused</Message></Error></ErrorResponse>"
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *arguments):
        pass


class Aws:
    """The AWS CLI in a folder with copies of what the commands read."""

    def __init__(self, folder, python):
        self.folder = folder
        for name in ("template.yaml", "deploy", "samconfig.toml", "README.md", "LICENSE"):
            (folder / name).symlink_to(commands.ROOT / name)
        # As large as the real ones: the AWS CLI refuses a template of more than 51,200 bytes without a bucket.
        template = (commands.ROOT / "template.yaml").read_text()
        (folder / "packaged.yaml").write_text(template)
        (folder / "with-zip.yaml").write_text(template.replace("CodeUri: .\n", "CodeUri: rds-nlb-sync.zip\n"))
        (folder / "expanded.json").write_text('{"Resources": {}}')
        with zipfile.ZipFile(folder / "rds-nlb-sync.zip", "w") as package:
            # Of no time, so that two folders have the same.
            package.writestr(zipfile.ZipInfo("bootstrap"), "")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        self.serving = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.serving.start()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        self.cli = subprocess.Popen(
            [python, commands.ROOT / "tests/docs/awscli_server.py"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=inherited | {
                "AWS_STUB": f"127.0.0.1:{self.server.server_port}", "AWS_DEFAULT_REGION": "eu-west-1",
                "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_MAX_ATTEMPTS": "1",
                "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
            },
        )

    def run(self, line):
        """Runs the commands of a line, and returns the calls that each made and its output."""
        return [(calls, output) for calls, output, _ in self.understood(line)]

    def understood(self, line):
        """As run, and with each call before it is serialized: the name of the operation and its parameters."""
        given, results = "", []
        for words in commands.simple(line):
            if words[0] == "printf":
                given = subprocess.run(words, text=True, capture_output=True, check=True).stdout
            if words[0] == "aws":
                self.server.seen = []
                # The one variable in a command is a time.
                arguments = ["1" if word.startswith("$") else word for word in words[1:]]
                self.cli.stdin.write(json.dumps({"arguments": arguments, "stdin": given, "folder": str(self.folder)}) + "\n")
                self.cli.stdin.flush()
                answer = json.loads(self.cli.stdout.readline())
                results.append((self.server.seen, answer["output"], answer["operations"]))
        return results

    def close(self):
        self.cli.stdin.close()
        self.cli.wait(10)
        self.cli.stdout.close()
        self.server.shutdown()
        self.server.server_close()
        self.serving.join(10)
