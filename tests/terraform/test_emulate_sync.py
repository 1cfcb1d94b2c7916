"""The sync module on MiniStack, with the real binary and a name server whose answer moves.

An apply registers the first target, a failover is followed, a second plan has nothing to do, and a destroy leaves the
targets alone. MiniStack does not return every setting of an alarm, which is why plans are compared without alarms.
"""

import base64
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import boto3
import pytest
from dnslib import QTYPE, RCODE, RR, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer

import runner

ORDERS = "orders.cluster-abc123.us-east-1.rds.amazonaws.com"
BILLING = "billing.abc123.us-east-1.rds.amazonaws.com"

CONFIGURATION = """
variable "bindings" { type = any }
variable "package" { type = any }
variable "nameserver" { type = string }

resource "aws_vpc" "this" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_lb_target_group" "orders" {
  name        = "orders"
  target_type = "ip"
  protocol    = "TCP"
  port        = 5432
  vpc_id      = aws_vpc.this.id
}

module "sync" {
  source = "../terraform"

  bindings = merge(
    { orders = { endpoint = "%s", target_group_arn = aws_lb_target_group.orders.arn } },
    var.bindings,
  )
  package  = var.package
  settings = { nameservers = [var.nameserver], confirm_seconds = 4, watch_seconds = 60 }
}

output "group" { value = aws_lb_target_group.orders.arn }
output "sync" { value = module.sync }
""" % ORDERS


class Names(BaseResolver):
    """A name server whose answers the test changes."""

    def __init__(self):
        self.addresses = {}
        port = runner.free_port()
        self.address = f"127.0.0.1:{port}"
        quiet = DNSLogger("-request,-reply,-truncated,-error")
        self.servers = [DNSServer(self, address="127.0.0.1", port=port, tcp=tcp, logger=quiet) for tcp in (False, True)]
        for server in self.servers:
            server.start_thread()

    def resolve(self, request, handler):
        reply = request.reply()
        address = self.addresses.get(str(request.q.qname).rstrip(".").lower())
        if address is None:
            reply.header.rcode = RCODE.NXDOMAIN
        elif request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, ttl=5, rdata=A(address)))
        return reply


@pytest.fixture
def names():
    names = Names()
    yield names
    for server in names.servers:
        server.stop()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The zip for Lambda of a binary that was built for this machine."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", runner.ROOT / "target"))
    binary = os.environ.get("BOOTSTRAP", target / "debug" / "bootstrap")
    if not os.path.exists(binary):
        runner.skip("no binary; build it by cargo build --bin bootstrap: the module was not played on MiniStack")
    folder = tmp_path_factory.mktemp("package")
    stripped = folder / "bootstrap"
    shutil.copy(binary, stripped)
    if shutil.which("strip"):
        subprocess.run(["strip", stripped], check=True)
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o755 << 16
    architecture = "arm64" if os.uname().machine in ("aarch64", "arm64") else "x86_64"
    path = folder / f"rds-nlb-sync-1.2.3-{architecture}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, stripped.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    return path, architecture


@pytest.fixture
def release(package, tmp_path):
    """The address of a server that has the package as the release 1.2.3."""
    path, _ = package
    (tmp_path / "v1.2.3").mkdir()
    shutil.copy(path, tmp_path / "v1.2.3")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def client(service, endpoint):
    return boto3.client(service, endpoint_url=endpoint, region_name=runner.REGION, aws_access_key_id="test",
                        aws_secret_access_key="test")


class Played:
    """One configuration that is applied several times, and clients for the resources it makes."""

    def __init__(self, folder, endpoint, names):
        self.workspace = runner.Workspace(folder, CONFIGURATION, endpoint)
        self.names = names
        self.elb, self.functions, self.logs = (client(service, endpoint) for service in ("elbv2", "lambda", "logs"))

    def apply(self, package, bindings=None, check=True):
        inputs = {"bindings": bindings or {}, "package": package, "nameserver": self.names.address}
        (self.workspace.folder / "terraform.tfvars.json").write_text(json.dumps(inputs))
        return self.workspace.run("apply", "-auto-approve", "-no-color", check=check)

    def nothing_to_do(self):
        changes = runner.changed(self.workspace.plan())
        return {address: what for address, what in changes.items() if "aws_cloudwatch_metric_alarm" not in address} == {}

    def targets(self, group):
        health = self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {(entry["Target"]["Id"], entry["Target"]["Port"]) for entry in health
                if entry["TargetHealth"]["State"] != "draining"}

    def follows(self, group, address, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.targets(group) == {(address, 5432)}:
                return True
            time.sleep(0.2)
        return False

    def ran(self, trigger, seconds):
        """Whether the log has a finished run with this trigger."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            events = self.logs.filter_log_events(logGroupName="/aws/lambda/rds-nlb-sync")["events"]
            lines = [json.loads(event["message"]) for event in events if event["message"].startswith("{")]
            if any(line.get("decision") == "done" and line["trigger"] == trigger for line in lines):
                return True
            time.sleep(0.2)
        return False

    def invoke(self, event):
        answer = self.functions.invoke(FunctionName="rds-nlb-sync", Payload=json.dumps(event))
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, body
        return body


def test_module_from_apply_to_destroy(provider, ministack, names, package, release, tmp_path):
    path, architecture = package
    local = {"filename": str(path), "architecture": architecture}
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    released = {"release_version": "1.2.3", "release_url": release, "sha256": checksum, "architecture": architecture}
    names.addresses = {ORDERS: "10.0.1.10", BILLING: "10.0.5.50"}
    played = Played(tmp_path, ministack, names)

    # The apply registers the first target.
    played.apply(local)
    outputs = played.workspace.outputs()
    orders, sync = outputs["group"], outputs["sync"]
    [checked] = json.loads(sync["initial_check_result"])["bindings"]
    assert (checked["status"], checked["registered"]) == ("updated", ["10.0.1.10:5432"])
    assert played.targets(orders) == {("10.0.1.10", 5432)}
    assert played.nothing_to_do()
    assert [b["status"] for b in played.invoke({"command": "check"})["bindings"]] == ["in_sync"]

    # A failover: its event comes through the rule, then DNS moves.
    event = json.loads((runner.ROOT / "events" / "cluster-failover-started.json").read_text())
    arn = f"arn:aws:rds:{runner.REGION}:000000000000:cluster:orders"
    put = client("events", ministack).put_events(Entries=[{
        "Source": event["source"], "DetailType": event["detail-type"], "Resources": [arn],
        "Detail": json.dumps(event["detail"] | {"SourceArn": arn, "SourceIdentifier": "orders"}),
    }])
    assert put["FailedEntryCount"] == 0, put
    time.sleep(2)
    names.addresses[ORDERS] = "10.0.2.20"
    assert played.follows(orders, "10.0.2.20", 90), played.targets(orders)
    assert played.ran("watch", 100)
    assert played.nothing_to_do(), "Terraform would undo the function's changes"

    # A move without an event: the schedule finds it.
    names.addresses[ORDERS] = "10.0.3.30"
    assert played.follows(orders, "10.0.3.30", 200), played.targets(orders)

    # A second database, and the code from a release. The group of the former is not Terraform's.
    billing = played.elb.create_target_group(Name="billing", Protocol="TCP", Port=5432, TargetType="ip",
                                             VpcId="vpc-0a")["TargetGroups"][0]["TargetGroupArn"]
    both = {"billing": {"endpoint": BILLING, "target_group_arn": billing}}
    played.apply(released, both)
    assert played.targets(billing) == {("10.0.5.50", 5432)}
    assert played.targets(orders) == {("10.0.3.30", 5432)}
    code = played.functions.get_function(FunctionName="rds-nlb-sync")["Configuration"]["CodeSha256"]
    assert bytes.fromhex(checksum) == base64.b64decode(code)
    assert played.nothing_to_do()

    # Another file under the same name changes nothing.
    code, output = played.apply(released | {"sha256": "0" * 64}, both, check=False)
    assert code != 0 and f"has the checksum {checksum} instead of {'0' * 64}" in output.replace("\n", " ").replace("│ ", "")

    played.workspace.destroy()
    assert played.functions.list_functions()["Functions"] == []
    assert client("events", ministack).list_rules()["Rules"] == []
    assert client("sqs", ministack).list_queues().get("QueueUrls", []) == []
    assert played.targets(billing) == {("10.0.5.50", 5432)}
