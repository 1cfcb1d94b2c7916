"""A stack with a fault, on a MiniStack of its own: what its runs put into the log, and what the runbook's commands print."""

import http.server
import json
import os
import re
import subprocess
import threading
import time
import urllib.request

import emulator
from alarms import Sample, samples
from emulator import MACHINE, Deployed, client, wait_for
from names import Names
from stack import ENDPOINT, ROOT, TWO_PARAMETERS, Stack

CHECK = {"command": "check"}


class Rehearsal:
    """One stack that is in sync, with its group `orders` and its name server. Its schedule is off: the test makes every run."""

    def __init__(self, ministack, code, folder, tag=None, environment=None, **parameters):
        self.endpoint, self.folder = ministack, folder
        self.elb, self.lambdas, self.logs, self.sqs, self.cloudwatch = (
            client(service, ministack) for service in ("elbv2", "lambda", "logs", "sqs", "cloudwatch"))
        self.patient = client("lambda", ministack, config=emulator.PATIENT)
        self.names = Names({ENDPOINT: "10.0.2.20"})
        made = self.elb.create_target_group(Name="orders", Protocol="TCP", Port=5432, TargetType="ip", VpcId="vpc-0a")
        self.group = made["TargetGroups"][0]["TargetGroupArn"]
        self.elb.register_targets(TargetGroupArn=self.group, Targets=[{"Id": "10.0.2.20", "Port": 5432}])
        client("s3", ministack).create_bucket(Bucket=emulator.BUCKET)
        client("s3", ministack).put_object(Bucket=emulator.BUCKET, Key="code.zip", Body=code)
        bound = {"DiscoveryTag": tag, "ReservedConcurrency": "none"} if tag else {"Endpoint": ENDPOINT, "TargetGroupArn": self.group}
        self.stack = Deployed(ministack, "rds-nlb-sync").deploy(
            **bound, Architecture=MACHINE, Nameservers=self.names.address, WatchSeconds=60, **parameters)
        self.outputs, self.resources = self.stack.outputs(), self.stack.resources()
        self.function = self.outputs["FunctionName"]
        client("events", ministack).disable_rule(Name=self.outputs["ScheduleRule"])
        # An alarm as the template has it, which the stack on MiniStack has not.
        own = {"DiscoveryTag": tag} if tag else TWO_PARAMETERS
        self.template = Stack(own | {"WatchSeconds": "60"} | parameters)
        if environment:
            self.set(**environment)

    def set(self, **variables):
        """Changes variables of the function, which its next run has."""
        known = self.lambdas.get_function_configuration(FunctionName=self.function)["Environment"]["Variables"]
        self.lambdas.update_function_configuration(FunctionName=self.function, Environment={"Variables": known | variables})

    def alarm(self, name):
        """The template's alarm, with the names of this stack's function and queues."""

        def physical(value):
            found = self.resources.get(value.removesuffix(".QueueName"), value)
            return found.rpartition("/")[2] if value.endswith(".QueueName") else found

        def walk(value):
            if isinstance(value, list):
                return [walk(item) for item in value]
            if not isinstance(value, dict):
                return value
            if value.keys() == {"Name", "Value"}:
                return {"Name": value["Name"], "Value": physical(value["Value"])}
            return {key: walk(item) for key, item in value.items()}

        return walk(self.template.resources[name])

    def messages(self):
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=self.outputs["LogGroup"])
        return [event["message"] for page in pages for event in page["events"]]

    def invoke(self, event):
        answer = self.patient.invoke(FunctionName=self.function, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read()), "FunctionError" in answer

    def run(self, event=CHECK):
        """One run: its answer, and what CloudWatch would have of it."""
        began = time.time() * 1000
        body, has_failed = self.invoke(event)
        changes = sum(bool(binding["registered"] or binding["deregistered"]) and binding["status"] != "planned"
                      for binding in body.get("bindings", []))
        # A line that came too late is in the log of the next run. A plan writes no metrics.
        for _ in range(10):
            lines = [message for message in self.messages() if "_aws" in message and json.loads(message)["_aws"]["Timestamp"] >= began]
            if len(lines) == 1 + changes:
                break
            self.invoke({"command": "plan"})
        else:
            raise AssertionError(f"{lines} are not the metrics of {body}")
        # Lambda counts these itself; `of_lambda` reads what MiniStack counted.
        return body, [*samples(lines), Sample("AWS/Lambda", "Errors", (("FunctionName", self.function),), float(has_failed))]

    def of_lambda(self, metric, statistic):
        """A metric that MiniStack itself has of the function, over the last hour."""
        now = time.time()
        points = self.cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda", MetricName=metric, Dimensions=[{"Name": "FunctionName", "Value": self.function}],
            StartTime=now - 3600, EndTime=now + 60, Period=7200, Statistics=[statistic])["Datapoints"]
        # Two, where a full period of the clock ended between two runs.
        assert points, f"MiniStack has no {metric}"
        return {"Sum": sum, "Maximum": max, "Minimum": min}[statistic](point[statistic] for point in points)

    def queued(self, output):
        """The metric of a queue's length, which MiniStack does not have."""
        url = self.outputs[output]
        number = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return Sample("AWS/SQS", "ApproximateNumberOfMessagesVisible", (("QueueName", url.rpartition("/")[2]),),
                      int(number["Attributes"]["ApproximateNumberOfMessages"]))

    def notice(self, alarm, period):
        """The message that MiniStack's own alarm sends to the topic when CloudWatch gets the metrics of this period."""
        queue = self.sqs.create_queue(QueueName="pager")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        client("sns", self.endpoint).subscribe(TopicArn=self.outputs["AlarmTopic"], Protocol="sqs", Endpoint=arn)
        for sample in period:
            if sample.namespace == "rds-nlb-sync":
                self.cloudwatch.put_metric_data(Namespace=sample.namespace, MetricData=[{
                    "MetricName": sample.name, "Value": sample.value,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in sample.dimensions]}])

        def message():
            for found in self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
                notice = json.loads(json.loads(found["Body"])["Message"])
                if notice["AlarmName"] == self.resources[alarm]:
                    return notice

        return wait_for(message)

    def shell(self, script, output="json"):
        """Runs the runbook's commands in one folder, with this stack's names in place of the placeholders. A user's AWS CLI may have
        another output than JSON."""
        placeholders = {"FUNCTION": self.function, "LOG_GROUP": self.outputs["LogGroup"],
                        "SCHEDULE_RULE": self.outputs["ScheduleRule"], "QUEUE_URL": self.outputs["FailedRunsUrl"]}
        # Version 1 of the AWS CLI has an endpoint of its own for queues.
        own_endpoint = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }\n'
        script = own_endpoint + re.sub(r"\b(" + "|".join(placeholders) + r")\b", lambda found: placeholders[found[0]], script)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, text=True, capture_output=True, timeout=120,
            env=inherited | {"PATH": f"{ROOT / '.venv/awscli/bin'}:{os.environ['PATH']}", "AWS_ENDPOINT_URL": self.endpoint,
                             "AWS_DEFAULT_REGION": "us-east-1", "AWS_DEFAULT_OUTPUT": output, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                             "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull})
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def close(self):
        self.names.close()


class LoadBalancing(http.server.ThreadingHTTPServer):
    """A proxy before MiniStack's API of load balancing: it reports the targets as unhealthy, or lists them late."""

    daemon_threads = True

    def __init__(self, ministack, state="healthy", delay=0):
        super().__init__(("127.0.0.1", 0), Forward)
        self.ministack, self.state, self.delay = ministack, state, delay
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Forward(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")}
        lists = b"Action=DescribeTargetHealth" in body
        if lists:
            time.sleep(self.server.delay)
        with urllib.request.urlopen(urllib.request.Request(self.server.ministack + self.path, body, headers)) as answer:
            text, kind = answer.read(), answer.headers["Content-Type"]
        if lists:
            text = text.replace(b"<State>healthy</State>", f"<State>{self.server.state}</State>".encode())
        try:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
        except ConnectionError:
            # The function has given the call up.
            self.close_connection = True

    def log_message(self, *arguments):
        pass


RUNBOOK = (ROOT / "docs/runbook.md").read_text()


def blocks(heading):
    """The blocks of code below a heading of the runbook, each as its kind and its text."""
    text = re.split(r"^#", RUNBOOK.split(f"\n### {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# What differs from run to run.
VARYING = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
    (r":\d{12}:", ":ACCOUNT:"),
    (r"(targetgroup/\w+/)[0-9a-z]{16}", r"\1ID"),
]


def alike(output, *varying):
    """An output without what differs from run to run."""
    for pattern, name in [*VARYING, *varying]:
        output = re.sub(pattern, name, output, flags=re.MULTILINE)
    return "\n".join(" ".join(line.split()) for line in output.strip().splitlines())
