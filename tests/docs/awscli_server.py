"""Runs commands of the AWS CLI, version 1, each in a fork of one process: starting one takes seconds.

Reads one JSON object per line, {"arguments", "stdin", "folder"}, and writes one per line, {"code", "output"}.
"""

import json
import os
import sys
import tempfile

import awscli.clidriver


def main():
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
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
                    code = awscli.clidriver.create_clidriver().main(request["arguments"])
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code or 0)
            status = os.waitpid(child, 0)[1]
            output.seek(0)
            answer = {"code": os.waitstatus_to_exitcode(status), "output": output.read().decode(errors="replace")}
        print(json.dumps(answer), flush=True)


main()
