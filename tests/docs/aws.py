"""The AWS CLI, against a server of ours that refuses every call: a command that the server sees was parsed, and its parameters
were valid."""

import http.server
import json
import os
import subprocess
import threading
import zipfile

import commands

PYTHON = commands.ROOT / ".venv/awscli/bin/python"


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

    def __init__(self, folder):
        self.folder = folder
        for name in ("template.yaml", "deploy", "samconfig.toml", "README.md", "LICENSE"):
            (folder / name).symlink_to(commands.ROOT / name)
        # As large as the real ones: the AWS CLI refuses a template of more than 51,200 bytes without a bucket.
        template = (commands.ROOT / "template.yaml").read_text()
        (folder / "packaged.yaml").write_text(template)
        (folder / "with-zip.yaml").write_text(template.replace("CodeUri: .\n", "CodeUri: rds-nlb-sync.zip\n"))
        (folder / "expanded.json").write_text('{"Resources": {}}')
        with zipfile.ZipFile(folder / "rds-nlb-sync.zip", "w") as package:
            package.writestr("bootstrap", "")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        self.serving = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.serving.start()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        self.cli = subprocess.Popen(
            [PYTHON, commands.ROOT / "tests/docs/awscli_server.py"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=inherited | {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}", "AWS_DEFAULT_REGION": "eu-west-1",
                "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_MAX_ATTEMPTS": "1",
                "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
            },
        )

    def run(self, line):
        """Runs the commands of a line, and returns the calls that each made and its output."""
        given, results = "", []
        for words in commands.simple(line):
            if words[0] == "printf":
                given = subprocess.run(words, text=True, capture_output=True, check=True).stdout
            if words[0] == "aws":
                self.server.seen = []
                # The one variable in a command is a time.
                arguments = ["1" if word.startswith("$") else word for word in words[1:]]
                if arguments[0] == "sqs":
                    # Version 1 has an endpoint of its own for queues.
                    arguments += ["--endpoint-url", f"http://127.0.0.1:{self.server.server_port}"]
                self.cli.stdin.write(json.dumps({"arguments": arguments, "stdin": given, "folder": str(self.folder)}) + "\n")
                self.cli.stdin.flush()
                output = json.loads(self.cli.stdout.readline())["output"]
                results.append((self.server.seen, output))
        return results

    def close(self):
        self.cli.stdin.close()
        self.cli.wait(10)
        self.cli.stdout.close()
        self.server.shutdown()
        self.server.server_close()
        self.serving.join(10)
