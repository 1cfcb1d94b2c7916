import os

# The translator asks for a region; no test asks AWS for anything.
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
