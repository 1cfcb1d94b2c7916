"""The command line's doctor against MiniStack: a healthy path, and faults whose fix is the command that the doctor prints."""

import json
import os
import subprocess

import pytest

import emulator
from emulator import client, skipped
from names import Names
from stack import ENDPOINT, REGION, ROOT

ONE = "10.0.1.10"


class Path:
    """A load balancer, its listener and its group before a cluster of two members, and the command line."""

    def __init__(self, ministack, cli):
        self.ministack, self.cli = ministack, cli
        self.names = Names({ENDPOINT: ONE})
        ec2, self.rds = client("ec2", ministack), client("rds", ministack)
        self.elb = client("elbv2", ministack)
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")
                   ["Subnet"]["SubnetId"] for number, zone in [(1, "a"), (2, "b")]]
        self.rds.create_db_cluster(DBClusterIdentifier="orders", Engine="aurora-postgresql", MasterUsername="root",
                                   MasterUserPassword="password")
        for member in ("orders-1", "orders-2"):
            self.rds.create_db_instance(DBInstanceIdentifier=member, DBInstanceClass="db.r6g.large", Engine="aurora-postgresql",
                                        DBClusterIdentifier="orders")
        self.group, self.other = self.make_group("doctor"), self.make_group("doctor-other")
        self.elb.modify_target_group_attributes(TargetGroupArn=self.group, Attributes=[
            {"Key": "deregistration_delay.timeout_seconds", "Value": "60"},
            {"Key": "deregistration_delay.connection_termination.enabled", "Value": "true"}])
        balancer = self.elb.create_load_balancer(Name="doctor", Type="network", Scheme="internal", Subnets=subnets)
        self.balancer = balancer["LoadBalancers"][0]["LoadBalancerArn"]
        listener = self.elb.create_listener(LoadBalancerArn=self.balancer, Protocol="TCP", Port=5432, DefaultActions=self.forward(self.group))
        self.listener = listener["Listeners"][0]["ListenerArn"]
        self.elb.register_targets(TargetGroupArn=self.group, Targets=[{"Id": ONE, "Port": 5432}])

    def make_group(self, name):
        made = self.elb.create_target_group(Name=name, Protocol="TCP", Port=5432, TargetType="ip", VpcId=self.vpc,
                                            HealthCheckProtocol="TCP", HealthCheckIntervalSeconds=10)
        return made["TargetGroups"][0]["TargetGroupArn"]

    def forward(self, group):
        return [{"Type": "forward", "TargetGroupArn": group}]

    def environment(self):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return inherited | {
            "AWS_ENDPOINT_URL": self.ministack, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "NAMESERVERS": self.names.address,
            "BINDINGS": json.dumps([{"endpoint": ENDPOINT, "target_group": self.group}]),
            "PATH": f"{ROOT / '.venv/awscli/bin'}:{self.cli.rpartition('/')[0]}:{os.environ['PATH']}",
        }

    def doctor(self, *arguments):
        done = subprocess.run([self.cli, "doctor", *arguments], env=self.environment(), text=True, capture_output=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def findings(self):
        """Its exit code, and the findings about the binding by their names."""
        code, output = self.doctor("--output", "json")
        report = json.loads(output)
        [binding] = report["bindings"]
        return code, {finding["check"]: finding for finding in [*report["general"], *binding["findings"]]}

    def follow(self, fix):
        """Runs the command of a fix, as somebody would who copies it."""
        command = fix.split("`")[1]
        done = subprocess.run(["bash", "-c", command], env=self.environment(), text=True, capture_output=True, timeout=120)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def close(self):
        self.elb.delete_load_balancer(LoadBalancerArn=self.balancer)
        for member in ("orders-1", "orders-2"):
            self.rds.delete_db_instance(DBInstanceIdentifier=member, SkipFinalSnapshot=True)
        self.rds.delete_db_cluster(DBClusterIdentifier="orders", SkipFinalSnapshot=True)
        self.names.close()


@pytest.fixture(scope="module")
def path(ministack):
    cli = os.path.abspath(emulator.program("rds-nlb-sync", "RDS_NLB_SYNC"))
    for needed, fix in [(cli, "cargo build --features cli --bin rds-nlb-sync"), (ROOT / ".venv/awscli/bin/aws", "tests/install")]:
        if not os.path.exists(needed):
            skipped.add(f"no {needed}; {fix} makes it: the doctor examined nothing on MiniStack")
            pytest.skip(f"no {needed}")
    made = Path(ministack, cli)
    yield made
    made.close()


def levels(findings):
    return {name: finding["level"] for name, finding in findings.items() if finding["level"] != "ok"}


def test_doctor_finds_a_healthy_path_healthy(path):
    code, findings = path.findings()
    assert (code, levels(findings)) == (0, {})
    for check, observed in [("endpoint", f"resolves to {ONE}"), ("database", "the cluster orders is available"),
                            ("load_balancer", "doctor, network, active"), ("listener", "TCP 5432 forwards to the group"),
                            ("targets", f"the writer {ONE}:5432 is healthy"), ("stale_targets", "none")]:
        assert findings[check]["observed"] == observed
    code, text = path.doctor()
    assert code == 0 and "PROBLEM" not in text and "WARNING" not in text, text


def test_doctor_finds_a_listener_that_forwards_elsewhere(path):
    path.elb.modify_listener(ListenerArn=path.listener, DefaultActions=path.forward(path.other))
    code, findings = path.findings()
    assert (code, levels(findings)) == (1, {"listener": "problem"})
    assert "forwards to the group" in findings["listener"]["observed"]
    assert "PROBLEM listener:" in path.doctor()[1]
    path.follow(findings["listener"]["fix"])
    assert path.findings()[0] == 0


def test_doctor_finds_a_group_without_the_writer(path):
    path.elb.deregister_targets(TargetGroupArn=path.group, Targets=[{"Id": ONE}])
    code, findings = path.findings()
    assert (code, levels(findings)) == (1, {"targets": "problem"})
    assert f"the writer {ONE}:5432 is not in the group" in findings["targets"]["observed"]
    assert "PROBLEM targets:" in path.doctor()[1]
    # Its last command: the command line's own check.
    command = findings["targets"]["fix"].rsplit("`", 2)[1]
    path.follow(f"`{command}`")
    assert path.findings()[0] == 0


def test_doctor_finds_an_attribute_that_keeps_clients_on_the_old_writer(path):
    path.elb.modify_target_group_attributes(TargetGroupArn=path.group, Attributes=[
        {"Key": "deregistration_delay.timeout_seconds", "Value": "300"},
        {"Key": "deregistration_delay.connection_termination.enabled", "Value": "false"}])
    code, findings = path.findings()
    assert (code, levels(findings)) == (0, {"deregistration": "warning"})
    path.follow(findings["deregistration"]["fix"])
    assert levels(path.findings()[1]) == {}
