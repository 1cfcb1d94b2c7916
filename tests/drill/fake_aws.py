"""Stands for the AWS CLI: changes the file of tests/drill, and takes exactly the commands that the drill may run."""

import fcntl
import json
import os
import sys
import time

FILE, WORDS = sys.argv[1], sys.argv[2:]


def refuse(text):
    print(text, file=sys.stderr)
    sys.exit(254)


def main():
    with open(f"{FILE}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(FILE) as file:
            state = json.load(file)
        state["calls"].append(WORDS)
        save(state)
        if WORDS[:1] != ["elbv2"]:
            refuse(f"only elbv2 is known: {WORDS}")
        action, options = WORDS[1], dict(zip(WORDS[2::2], WORDS[3::2]))
        if state["fail"].get(action, 0) > 0:
            state["fail"][action] -= 1
            save(state)
            refuse(f"\nAn error occurred (AccessDenied) when calling the operation {action}: not authorized")
        time.sleep(state.get("slow", 0))
        arn = options.pop("--target-group-arns" if action == "describe-target-groups" else "--target-group-arn")
        if options.pop("--region") != arn.split(":")[3] or options.pop("--output", "json") != "json":
            refuse("region or output")
        answer = act(state, action, options)
        if options:
            refuse(f"Unknown options: {options}")
        if state.get("ignore") != action:
            save(state)
    if answer is not None:
        print(json.dumps(answer))


def save(state):
    with open(f"{FILE}.new", "w") as file:
        json.dump(state, file)
    os.replace(f"{FILE}.new", FILE)


def act(state, action, options):
    targets = state["targets"]
    if action == "describe-target-health":
        if state.get("comes_back") and "draining" in targets.values():
            # As another process does it, once.
            del state["comes_back"]
            targets.update({name: "healthy" for name, health in targets.items() if health == "draining"})
        return {"TargetHealthDescriptions": [describe(name, health) for name, health in targets.items()]}
    if action == "describe-target-groups":
        check = {"HealthCheckProtocol": "TCP", "HealthCheckIntervalSeconds": 10, "HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2}
        return {"TargetGroups": [check]}
    if action == "describe-target-group-attributes":
        return {"Attributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "300"}]}
    wanted = dict(part.split("=", 1) for part in options.pop("--targets").split(","))
    name = f"{wanted['Id']}:{wanted['Port']}"
    if action == "register-targets":
        targets[name] = "healthy"
    elif action == "deregister-targets":
        # AWS lists it as draining for the deregistration delay.
        if name in targets:
            targets[name] = "draining"
    else:
        refuse(f"Unknown action: {action}")
    return None


def describe(name, health):
    address, _, port = name.rpartition(":")
    zone = "eu-west-1a"
    return {"Target": {"Id": address, "Port": int(port), "AvailabilityZone": zone}, "TargetHealth": {"State": health}}


main()
