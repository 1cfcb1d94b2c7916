"""Runs commands of the AWS CLI of this Python, version 1 or 2, each in a fork of one process: starting one takes seconds.

Reads one JSON object per line, {"arguments", "stdin", "folder"}, and writes one per line, {"code", "output", "operations"}. The calls
of the commands go to the server in AWS_STUB, whatever their service: an old version 2 knows no variable that does this for all.
"""

import json
import os
import sys
import tempfile
import urllib.parse

import awscli.clidriver

STUB = os.environ["AWS_STUB"]


def redirect(request, **_):
    request.url = urllib.parse.urlsplit(request.url)._replace(scheme="http", netloc=STUB).geturl()


def readable(value):
    """A file that is uploaded stays unread."""
    return value.decode(errors="replace") if isinstance(value, (bytes, bytearray)) else "a file"


def run(arguments, operations):
    """Runs a command, and writes down what it asks for: versions 1 and 2 speak other protocols with some services."""
    def note(params, model, **_):
        # A token of a single use differs each time, and S3's checksums are a default of later releases.
        params = {name: value for name, value in params.items() if not name.endswith("Token") and name != "ChecksumAlgorithm"}
        text = json.dumps([model.name, params], sort_keys=True, default=readable)
        operations.write(text.encode() + b"\n")
        operations.flush()

    driver = awscli.clidriver.create_clidriver()
    driver.session.register("before-parameter-build", note)
    driver.session.register("before-send", redirect)
    return driver.main(arguments)


def main():
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as operations:
            given.write(request["stdin"].encode())
            given.seek(0)
            child = os.fork()
            if child == 0:
                os.dup2(given.fileno(), 0)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                os.chdir(request["folder"])
                code = 1
                try:
                    code = run(request["arguments"], operations)
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code or 0)
            status = os.waitpid(child, 0)[1]
            output.seek(0)
            operations.seek(0)
            answer = {
                "code": os.waitstatus_to_exitcode(status), "output": output.read().decode(errors="replace"),
                "operations": [json.loads(line) for line in operations],
            }
        print(json.dumps(answer), flush=True)


main()
