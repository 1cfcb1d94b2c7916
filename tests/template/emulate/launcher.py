"""MiniStack, but for two things.

It takes events of `aws.rds` from a client. On AWS only RDS sends them, and MiniStack refuses them as AWS does. Nothing in it
sends any, so the tests put them.

It waits longer for the lines that a run logs: 50 ms for the first and 5 ms for each further one. A busy machine delays them
to the log of the next run. Every run logs, so that the wait for the first line slows no run.
"""

from functools import partial

from ministack.app import main
from ministack.core.lambda_runtime import Worker
from ministack.services import eventbridge

eventbridge._put_events = partial(eventbridge._put_events, allow_aws_source=True)

FIRST_LINE, IDLE, LIMIT = 5, 0.2, 10
Worker._drain_stderr_bounded.__defaults__ = (FIRST_LINE, IDLE, LIMIT)

if __name__ == "__main__":
    main()
