"""What the emulators cannot do, and what the tests do instead: the one list of it. `make emulate` prints it."""

LIMITS = [
    # The stack.
    ("MiniStack refuses alarms with metric math", "the stack has the first of their metrics; alarms.py computes the whole alarm"),
    ("MiniStack has other ids for load balancers, of all letters", "the templates' patterns are changed to admit them"),
    ("MiniStack does not know AWS::IAM::RolePolicy", "it is an AWS::IAM::Policy; MiniStack enforces neither"),
    ("MiniStack has no rules of security groups as resources and no endpoint services",
     "they are left out; moto has endpoint services"),
    ("no emulator has VPC Lattice, and none the whole of RAM", "deploy/lattice.yaml is linted only"),
    ("MiniStack ends Terraform's provider at a code signing configuration and fails at the health check of a target group",
     "tests/terraform creates neither there"),
    ("MiniStack does not return every setting of an alarm", "tests/terraform compares plans without alarms"),
    ("moto does not return a function's logging configuration, descriptions of security group rules, a load balancer's rules for "
     "PrivateLink and an endpoint service's IP types", "tests/terraform compares plans of the path without them"),
    ("moto's CloudFormation has no alarms, dashboards, asynchronous invocations and policies of queues, topics and roles, and takes "
     "every function for x86_64", "they are left out of its stacks; MiniStack has them"),
    # Events and invocations.
    ("MiniStack sends no events of RDS, and refuses those of others", "launcher.py lets the tests put them"),
    ("MiniStack's EventBridge does not retry, and writes nothing to the queue of undelivered events",
     "LostEventsAlarm and that queue's half of DeadLettersAlarm are computed from made-up metrics"),
    ("MiniStack retries a failed asynchronous invocation after 1 and 2 s, where Lambda waits for 1 and 2 minutes",
     "the tests count the attempts"),
    # Monitoring.
    ("MiniStack takes no metrics from the log, and has none of queues", "alarms.py reads them from the log and the queue"),
    ("MiniStack evaluates an alarm without M of N and without missing data",
     "alarms.py evaluates it; MiniStack's own evaluation shows that the message reaches the topic"),
    ("MiniStack's filter-log-events takes a JSON pattern for every line", "the runbook's commands filter with jq"),
    # Load balancers and databases.
    ("no emulator has health checks: a target is healthy at once, and never initial, unhealthy, draining or unused",
     "a proxy before the API of load balancing reports it as unhealthy"),
    ("MiniStack has every load balancer in one zone", "the doctor's checks of zones are tested elsewhere"),
    ("MiniStack names every database localhost", "the tests' name server answers for the endpoint"),
]
