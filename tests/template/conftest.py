import os
import pathlib
import sys

# The translator asks for a region; no test asks AWS for anything.
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
# The SAM CLI reports its commands to AWS otherwise.
os.environ["SAM_CLI_TELEMETRY"] = "0"
# The documents' commands, and the AWS CLI that runs them.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "docs"))
