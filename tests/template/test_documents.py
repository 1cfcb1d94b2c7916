"""The documents' commands of SAM are parsed by SAM itself, and their parameters checked against the template, as are those of
CloudFormation; the documents' policies against the template's. tests/docs has the other commands.
"""

import json
import re
import subprocess

import pytest
from click.testing import CliRunner

import commands
from aws import VERSION_1, VERSION_2, Aws, version
from iam import allows
from stack import ACCOUNT, GROUP, PARTITIONS, ROOT, TEMPLATES, TWO_PARAMETERS, Refused, Stack, expand, listed, policies, source

LINES = commands.everywhere()
NAMED = [("template.yaml", "CheckCommand"), ("template.yaml", "DoctorCommand"), ("deploy/privatelink.yaml", "AvailabilityZoneIdsCommand"),
         ("deploy/lattice.yaml", "AvailabilityZoneIdsCommand")]


def of(program):
    return [pytest.param(line, id=f"{document}: {line[:50]}") for document, line in commands.of(program)]


@pytest.fixture(scope="module", params=[1, 2])
def aws(request, tmp_path_factory):
    python = VERSION_1 if request.param == 1 else VERSION_2
    if (version(python) or [0])[0] != request.param:
        # `make template` installs version 1 itself.
        assert request.param == 2, "the AWS CLI is not in .venv/awscli"
        pytest.skip("version 2 of the AWS CLI (Debian's package awscli) is not installed: it parsed no command of an output")
    cli = Aws(tmp_path_factory.mktemp("documents"), python)
    yield cli
    cli.close()


@pytest.mark.parametrize("template,name", NAMED)
def test_command_in_an_output_reaches_aws(template, name, aws):
    # Only AWS knows the values, so any values do.
    value = expand(template)["Outputs"][name]["Value"]
    if "Fn::Join" in value:
        line = "aws ec2 describe-subnets --region eu-west-1 --subnet-ids subnet-0a subnet-0b" + value["Fn::Join"][1][-1]
    else:
        line = re.sub(r"\$\{[A-Za-z:]+\}", "eu-west-1", value["Fn::Sub"])
    [(seen, output)] = aws.run(line)
    assert seen, output
    if "lambda invoke" in line:
        assert json.loads(seen[0][1])["command"] == name.removesuffix("Command").lower()


def sam(words, monkeypatch, _cache={}):
    """The parameters that a command of SAM gets, from its arguments and from samconfig.toml, by SAM's own parser."""
    if tuple(words) not in _cache:
        _cache[tuple(words)] = parsed_by_sam(words, monkeypatch)
    return _cache[tuple(words)]


def parsed_by_sam(words, monkeypatch, folder=ROOT):
    from samcli.commands.build import command as build
    from samcli.commands.deploy import command as deploy

    module = {"build": build, "deploy": deploy}[words[1]]
    monkeypatch.chdir(folder)
    caught = {}
    monkeypatch.setattr(module, "do_cli", lambda *arguments, **named: caught.update(named, positional=arguments))
    result = CliRunner().invoke(module.cli, words[2:], catch_exceptions=False, obj=None)
    assert caught, result.output
    overrides = caught.get("parameter_overrides")
    if overrides is None:
        overrides = next(a for a in caught["positional"] if isinstance(a, dict) and "Architecture" in a)
    return overrides


SAM_LINES = [p for p in of("sam") if re.search(r"\bsam (build|deploy)", p.values[0]) and "--guided" not in p.values[0]]


@pytest.mark.parametrize("line", SAM_LINES)
def test_sam_commands_have_an_architecture(line, monkeypatch, stubbed):
    # What sam build builds and what sam deploy deploys: an update keeps a value that is not given, and the two would differ.
    for words in commands.simple(line):
        if words[0] == "sam" and words[1] in ("build", "deploy"):
            assert sam(stubbed(words), monkeypatch)["Architecture"] in ("arm64", "x86_64"), words


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory):
    """A command with the files that it needs: of --template, as nothing is built here, and of the documented parameters."""
    parameters = tmp_path_factory.mktemp("sam") / "parameters.yaml"
    [block] = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/deploy.md").read_text(), re.MULTILINE | re.DOTALL)
    parameters.write_text(block)
    files = {".aws-sam/build/template.yaml": str(ROOT / "template.yaml"), "file://parameters.yaml": f"file://{parameters}"}
    return lambda words: [files.get(word, word) for word in words]


@pytest.mark.parametrize("line", [p for p in SAM_LINES if "&&" in p.values[0]])
def test_build_and_deploy_agree_on_the_architecture(line, monkeypatch):
    found = {sam(words, monkeypatch)["Architecture"] for words in commands.simple(line)}
    assert len(found) == 1


@pytest.mark.parametrize("line", [p for p in SAM_LINES if "Endpoint=" in p.values[0] or "file://" in p.values[0]])
def test_sam_parameters_are_accepted_by_the_template(line, monkeypatch, stubbed):
    [words] = [words for words in commands.simple(line) if words[1] == "deploy"]
    template = "deploy/privatelink.yaml" if "Port=5432" in line else "template.yaml"
    Stack(sam(stubbed(words), monkeypatch), template)


@pytest.mark.parametrize("form", ["Bindings=", "file://"])
def test_json_survives_the_sam_command_line(form, monkeypatch, stubbed):
    [words] = [words for _, line in LINES if form in line and line.startswith("sam") for words in commands.simple(line)]
    given = sam(stubbed(words), monkeypatch)
    # An update keeps what is not given, so the way from Endpoint to Bindings empties the former.
    assert given["Endpoint"] == given["TargetGroupArn"] == ""
    bindings = json.loads(given["Bindings"])
    assert [b["target_group"] for b in bindings] == given["BindingsTargetGroupArns"].split(",")


DEPLOY = ["sam", "deploy", "--parameter-overrides"]


def test_sam_cuts_a_value_at_a_space_and_prints_what_is_left(monkeypatch, capsys):
    from samcli.commands.deploy.utils import print_deploy_args

    given = sam([*DEPLOY, "Architecture=arm64 DiscoveryTag=team data"], monkeypatch)
    # The template takes it, so the documents say where the user sees it.
    Stack(given)
    print_deploy_args("sync", None, None, "us-east-1", [], given, False, None, True, False)
    [line] = [line for line in capsys.readouterr().out.splitlines() if '"DiscoveryTag": "team"' in line]
    assert line.strip().startswith("Parameter overrides ")
    assert "prints what it took in the line `Parameter overrides`" in (ROOT / "docs/deploy.md").read_text()


def test_template_refuses_a_whole_value_with_a_space(monkeypatch, tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text("Architecture: arm64\nDiscoveryTag: team data\n")
    for value in ("Architecture=arm64 DiscoveryTag='team data'", f"file://{file}"):
        given = sam([*DEPLOY, value], monkeypatch)
        assert given["DiscoveryTag"] == "team data"
        with pytest.raises(Refused, match="^DiscoveryTag: .* without spaces"):
            Stack(given)


def test_truth_values_in_a_file_need_quotes(monkeypatch, tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text("Architecture: arm64\nDiscoveryTag: sync\nDryRun: true\nConfirmSeconds: 8\n")
    with pytest.raises(Refused, match="^DryRun: True is not among"):
        Stack(sam([*DEPLOY, f"file://{file}"], monkeypatch))
    file.write_text(file.read_text().replace("true", "'true'"))
    Stack(sam([*DEPLOY, f"file://{file}"], monkeypatch, {}))


@pytest.mark.parametrize("line", [p for p in of("aws") if "cloudformation deploy" in p.values[0] and "packaged" not in p.values[0]])
def test_cloudformation_parameters_are_accepted_by_the_template(line):
    words = next(words for words in commands.simple(line) if words[0] == "aws")
    start = words.index("--parameter-overrides") + 1
    given = dict(word.split("=", 1) for word in words[start:] if "=" in word)
    template = words[words.index("--template-file") + 1]
    imports = {f"{given.get('PathStack')}-{name}": name for name in ("LoadBalancerArn", "LoadBalancerSecurityGroupId", "VpcId", "DiscoveryTag")}
    Stack(given, template, imports=imports)


@pytest.mark.parametrize("line", of("make"))
def test_make_targets_exist(line):
    for words in commands.simple(line):
        if words[0] == "make":
            done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr


def test_no_command_ends_a_dry_run_by_leaving_it_out():
    # sam deploy keeps the value of a parameter that it is not given.
    assert any("DryRun=false" in line for line in commands.lines("docs/deploy.md"))
    for document in commands.DOCUMENTS:
        assert "deploy again without" not in (ROOT / document).read_text(), document


def json_blocks(document):
    text = (ROOT / document).read_text()
    return [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if "Statement" in block or "Effect" in block]


KEY = "arn:aws:kms:us-east-1:123456789012:key/0a"
# What CloudFormation calls the stack of the function inside that of a path, sync.
NESTED = "sync-Sync-1A2B3C4D5E6F7"


def section(heading):
    text = (ROOT / "docs/deploy.md").read_text()
    return text.split(f"### {heading}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]


def filled(block, stack, text):
    """A documented policy with the stack's values in place of the names in capitals. For a path, with what the text says then."""
    if stack.pseudo["AWS::StackName"] == NESTED:
        [(written, instead)] = re.findall(r"for a\s+path, write\s+`(\S+)` in place of `(\S+)`", text, re.IGNORECASE)
        block = re.sub(rf"\b{instead}\b", written, block)
    for name, value in {"PARTITION": stack.partition, "REGION": stack.region, "ACCOUNT": ACCOUNT, "STACK": "sync"}.items():
        block = re.sub(rf"\b{name}\b", value, block)
    return json.loads(block)


def actions(statements):
    return {action for statement in statements for action in listed(statement["Action"])}


def test_documented_role_allows_what_the_template_s_role_allows():
    documented = [block["Statement"] for block in json_blocks("docs/deploy.md")[:2]]
    everything = {"DiscoveryTag": "sync/endpoint", "SubnetIds": "subnet-0a", "SecurityGroupIds": "sg-0b", "Tracing": "Active",
                  "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/0a"}
    ours = [s for statements in policies(Stack(everything)).values() for s in statements]
    # Those of a bound group, as well.
    assert actions(documented[0]) | actions(documented[1]) == actions(ours)
    plain = policies(Stack({"DiscoveryTag": "sync/endpoint"}))
    assert actions(documented[0]) == {a for statements in plain.values() for a in actions(statements)}


@pytest.mark.parametrize("name,log_group", [("sync", None), (NESTED, None), ("sync", "/team/sync")])
def test_documented_role_reaches_the_stack_s_log_and_queue_alone(name, log_group):
    given = {"DiscoveryTag": "sync/endpoint"} | ({"LogGroupName": log_group} if log_group else {})
    stack = Stack(given, stack_name=name)
    text = section("An existing role")
    block = re.search(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1].replace("TARGET_GROUP_ARN", "*")
    if log_group:
        [instead] = re.findall(r"With `LogGroupName`, write that name in place of `(\S+)`", " ".join(text.split()))
        assert instead in block
        block = block.replace(instead, log_group)
    documented = filled(block, stack, text)["Statement"]

    def writes(group):
        stream = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}:log-stream:a"
        return all(allows(documented, action, stream) for action in ("logs:CreateLogStream", "logs:PutLogEvents"))

    def sends(queue):
        return allows(documented, "sqs:SendMessage", f"arn:aws:sqs:us-east-1:{ACCOUNT}:{queue}")

    [function] = stack.of_type("AWS::Lambda::Function").values()
    own = function["LoggingConfig"]["LogGroup"]
    own = stack.resources["LogGroup"]["LogGroupName"] if own == "LogGroup" else own
    assert writes(own) and not writes(own.replace("sync", "other", 1))
    # CloudFormation adds a random part to the name of a stack and of a resource.
    assert sends(f"{name}-FailedRuns-0A1B2C3D4E5F")
    assert not sends(f"{name.replace('sync', 'other')}-FailedRuns-0A1B2C3D4E5F")
    assert not sends(f"{name}-UndeliveredEvents-0A1B2C3D4E5F")


def test_documented_role_of_a_fleet_changes_tagged_groups_alone():
    text = section("An existing role")
    [block, *_] = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    statement = json.loads(block)["Statement"][1]
    assert "the second statement has the resource `*`" in " ".join(text.split())
    [condition] = re.findall(r"`(\"Condition\": .*)`", text)
    fleet = [statement | {"Resource": "*"} | json.loads("{" + condition.replace("KEY", "sync/endpoint") + "}")]
    [own] = [s for s in policies(Stack({"DiscoveryTag": "sync/endpoint"}))["SyncDiscovered"] if s["Sid"] == "ChangeDiscovered"]
    for context, allowed in ({"aws:ResourceTag/sync/endpoint": "a.b"}, True), ({"aws:ResourceTag/team": "data"}, False), ({}, False):
        for action in listed(own["Action"]):
            assert allows(fleet, action, GROUP, context) is allowed


def test_names_that_the_deployer_needs_besides_the_stack_s_are_those_of_sam():
    from samcli.lib.bootstrap.bootstrap import SAM_CLI_STACK_NAME

    text = section("The deployer's permissions")
    assert f"`{SAM_CLI_STACK_NAME}`" in text
    assert f":aws:transform/{source()['Transform'].removeprefix('AWS::')}`" in text


# Actions of features that the templates do not use. Those of KMS and of the bucket have sentences of their own.
UNUSED = re.compile(
    "(elasticfilesystem|s3files|firehose|s3|kms|cognito-idp):.*"
    "|lambda:(PassCapacityProvider|AssociateRuntimeAlias|GetLayerVersion|PublishVersion"
    "|Put(FunctionScalingConfig|FunctionRecursionConfig|RuntimeManagementConfig))|sns:PutDataProtectionPolicy"
    "|logs:(CreateLogDelivery|(Put|Delete)(DataProtectionPolicy|IndexPolicy|ResourcePolicy)"
    "|Put(BearerTokenAuthentication|LogGroupDeletionProtection))"
    "|cloudwatch:(DeleteInsightRules|(List|Put)ManagedInsightRules)|vpc-lattice:(Create|Describe)ServiceNetworkVpcEndpointAssociation"
    "|ec2:(DescribeIpamPools|ModifyVpcEndpointServicePayerResponsibility)"
    # CloudFormation lists them, and IAM has no such actions (Service Authorization Reference).
    "|ec2:(Create|Delete)VpcEndpointServicePermissions"
    # The targets are the function's, not the template's.
    "|elasticloadbalancing:(ModifyCapacityReservation|ModifyIpPools|RegisterTargets|DeregisterTargets)")


def called(template):
    """CloudFormation's own list of what the handlers of a template's types of resources call."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    found = set()
    for kind in {resource["Type"] for resource in expand(template)["Resources"].values()}:
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema["handlers"]
        for handler in ("create", "read", "update", "delete"):
            found |= set(handlers.get(handler, {}).get("permissions", []))
    return found


def deployer():
    """The documented actions by template."""
    text = (ROOT / "docs/deploy.md").read_text().split("### The deployer's permissions\n", 1)[1].split("\n### ", 1)[0]
    blocks = [actions(json.loads(block)["Statement"]) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    assert len(blocks) == len(TEMPLATES)
    found = dict(zip(TEMPLATES, blocks))
    stack = {action for action in found["template.yaml"] if action.startswith("cloudformation:")}
    # As the document says of them.
    found["deploy/privatelink.yaml"] |= found["template.yaml"]
    for template in ("deploy/database.yaml", "deploy/lattice.yaml"):
        found[template] |= stack
    return found, stack


@pytest.mark.parametrize("template", TEMPLATES)
def test_deployer_may_create_update_and_delete_the_stack(template):
    found, stack = deployer()
    # Those of the function's template are in the path's stack too.
    all_called = called(template) | (called("template.yaml") if template == "deploy/privatelink.yaml" else set())
    needed = {action for action in all_called if not UNUSED.fullmatch(action)}
    assert found[template] == needed | stack
    # What IAM takes as one managed policy.
    assert len(json.dumps(sorted(found[template]), separators=(",", ":"))) < 6_144
    text = (ROOT / "docs/deploy.md").read_text()
    assert all(f"`{action}`" in text for action in all_called if action.startswith("kms:"))


def key_policy(stack):
    """The documented statements for a key, filled in as the document says."""
    [(before, block, text)] = re.findall(r"^(.*?)^```json\n(\[.*?)^```\n(.*)", section("Your key"), re.MULTILINE | re.DOTALL)
    if stack.partition == "aws-cn":
        assert "In China the first service is `logs.REGION.amazonaws.com.cn`." in text
        block = block.replace("logs.REGION.amazonaws.com", "logs.REGION.amazonaws.com.cn", 1)
    return filled(block, stack, before)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_key_admits_each_service_that_writes_to_the_stack_s_queues_and_topic(partition):
    stack = Stack({"DiscoveryTag": "sync", "KmsKeyArn": KEY}, partition=partition)
    key = key_policy(stack)
    policies_of = [*stack.of_type("AWS::SQS::QueuePolicy").values(), *stack.of_type("AWS::SNS::TopicPolicy").values()]
    writers = {s["Principal"]["Service"] for p in policies_of for s in p["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"}
    # What each sends along to KMS. EventBridge's calls have neither the account nor the rule (Amazon SNS guide, key management).
    sent = {"events.amazonaws.com": {}, "cloudwatch.amazonaws.com": {"aws:SourceAccount": ACCOUNT}}
    assert writers == sent.keys()
    for service, context in sent.items():
        for action in ("kms:Decrypt", "kms:GenerateDataKey"):
            assert allows(key, action, KEY, context, service), (service, action)
        assert not allows(key, "kms:CreateGrant", KEY, context, service)
    assert not allows(key, "kms:Decrypt", KEY, {"aws:SourceAccount": "210987654321"}, "cloudwatch.amazonaws.com")
    assert not allows(key, "kms:Decrypt", KEY, {"aws:SourceAccount": ACCOUNT}, "sns.amazonaws.com")


@pytest.mark.parametrize("name", ["sync", NESTED])
@pytest.mark.parametrize("partition", PARTITIONS)
def test_key_admits_the_stack_s_log_group_alone(partition, name):
    stack = Stack({"DiscoveryTag": "sync", "KmsKeyArn": KEY}, partition=partition, stack_name=name)
    [group] = stack.of_type("AWS::Logs::LogGroup").values()
    service = f"logs.{stack.region}.{PARTITIONS[partition][1]}"

    def admits(name, service=service, action="kms:GenerateDataKey"):
        arn = f"arn:{partition}:logs:{stack.region}:{ACCOUNT}:log-group:{name}"
        return allows(key_policy(stack), action, KEY, {"kms:EncryptionContext:aws:logs:arn": arn}, service)

    # Those of AWS's own example (CloudWatch Logs guide, encrypting log data).
    for action in ("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"):
        assert admits(group["LogGroupName"], action=action)
    assert not admits(group["LogGroupName"].replace("/sync", "/sync-other"))
    assert not admits(group["LogGroupName"].replace("/sync", "/other"))
    assert (name == NESTED) or not admits(group["LogGroupName"] + "-other")
    assert not admits(group["LogGroupName"], service="logs.eu-west-1.amazonaws.com")
    assert not admits(group["LogGroupName"], action="kms:CreateGrant")


def test_deletions_of_stacks_that_depend_on_each_other_wait():
    # delete-stack returns at once, and a stack that another imports from cannot be deleted.
    assert any("delete-stack" in line for _, line in LINES)
    for document in commands.DOCUMENTS:
        for script in commands.scripts(document):
            lines = [line for line in script.replace("\\\n", "").splitlines() if "cloudformation" in line]
            for first, second in zip(lines, lines[1:]):
                assert not ("delete-stack " in first and "delete-stack " in second), (document, first, second)
    [removal] = [script for script in commands.scripts("docs/deploy.md") if "delete-stack --stack-name billing-path" in script]
    assert removal.splitlines()[-3:] == [
        "aws cloudformation delete-stack --stack-name billing-path",
        "aws cloudformation wait stack-delete-complete --stack-name billing-path",
        "aws cloudformation delete-stack --stack-name orders-path",
    ]


def test_upgrade_of_the_path_is_its_first_deployment_without_new_values():
    found = commands.lines("docs/deploy.md")
    first, again = [line for line in found if line.startswith("sam deploy") and "orders-path" in line]
    assert first.startswith(again + " ") and "VpcId=" in first and "VpcId=" not in again
    assert len([line for line in found if line.startswith("sam build --template deploy/privatelink.yaml")]) == 2
    assert len({line for line in found if line.startswith("sam build --template deploy/privatelink.yaml")}) == 1


def test_stack_set_gets_instances_and_its_model_is_deleted():
    [script] = [script for script in commands.scripts("docs/deploy.md") if "create-stack-set " in script]
    words = [words for line in script.replace("\\\n", "").splitlines() for words in commands.simple(line)]
    steps = [command[2] for command in words if command[:2] == ["aws", "cloudformation"]]
    assert steps == ["deploy", "get-template", "delete-stack", "create-stack-set", "create-stack-instances", "describe-stack-set-operation"]
    named = {option: {command[command.index(option) + 1] for command in words if option in command} for option in ("--stack-name", "--stack-set-name")}
    # The model's name is no stack's that a user may have, and it changes no target meanwhile.
    assert named == {"--stack-name": {"sync-model"}, "--stack-set-name": {"sync"}}
    assert "DryRun=true" in next(command for command in words if command[1:3] == ["cloudformation", "deploy"])


def test_price_is_the_sum_of_its_items():
    text = (ROOT / "docs/deploy.md").read_text().split("## What it costs per month\n", 1)[1].split("\n## ", 1)[0]
    price = {item: (computed, float(usd.strip("*"))) for item, computed, usd in re.findall(r"^\| (.+?) \| (.*?) ?\| ([*\d.]+) \|$", text, re.MULTILINE)}
    [name] = [item for item in price if item.startswith("alarms")]
    alarms = Stack(TWO_PARAMETERS).of_type("AWS::CloudWatch::Alarm").values()
    metrics = sum(len([m for m in alarm.get("Metrics", []) if "MetricStat" in m]) or 1 for alarm in alarms)
    assert price[name][0].startswith(f"{metrics} metrics in {len(alarms)} alarms")
    total = price.pop("**together**")[1]
    with_alarms, with_none = (price.pop(f"with `Monitoring={kind}`")[1] for kind in ("alarms", "none"))
    # Instead of the row above it.
    [smaller] = [item for item in price if item.startswith("…")]
    price.pop(smaller)
    assert round(sum(usd for _, usd in price.values()), 2) == total
    assert round(total - price["dashboard"][1], 2) == with_alarms
    assert round(with_alarms - price[name][1], 2) == with_none
    # Ten custom metrics, ten metrics of alarms and three dashboards are free.
    rest = total - price["custom metrics"][1] - price["dashboard"][1] - 10 * 0.10
    assert f"about USD {round(rest, 1):.2f} remains" in " ".join(text.split())


def test_options_of_the_vendor_s_endpoint_reach_aws(aws, request):
    text = (ROOT / "docs/consumers.md").read_text().split("## Through VPC Lattice\n", 1)[1].split("\n## ", 1)[0]
    [options] = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    line = "aws ec2 create-vpc-endpoint --vpc-id vpc-0a --subnet-ids subnet-0a " + " ".join(options.split())
    [(seen, output)] = aws.run(line)
    if request.node.callspec.params["aws"] == 2 and "required: --service-name" in output:
        # As the document says.
        assert "from before November 2025 do not have" in " ".join(text.split())
        pytest.skip("the installed version 2 of the AWS CLI has no endpoints of type resource: it parsed no option of the vendor's")
    assert seen, output
    sent = str(seen[0])
    for part in ("PrivateDnsEnabled=true", "PrivateDnsPreference=SPECIFIED_DOMAINS_ONLY", "orders.cluster-abc123"):
        assert part in sent, sent
    # As in the service's model, which has them in its description alone.
    import botocore.session

    shape = botocore.session.get_session().get_service_model("ec2").shape_for("DnsOptionsSpecification")
    known = set(re.findall(r"<code>([A-Z_]+)</code>", shape.members["PrivateDnsPreference"].documentation))
    assert known == {"VERIFIED_DOMAINS_ONLY", "ALL_DOMAINS", "VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS", "SPECIFIED_DOMAINS_ONLY"}
    assert set(re.findall(r"\b[A-Z]+_DOMAINS(?:_\w+)?\b", text)) == known


# The rules as AWS Config's guide describes them, each over the resources of its type.
CONFIG_RULES = {
    "lambda-dlq-check": ("AWS::Lambda::Function", lambda function: "DeadLetterConfig" in function),
    "lambda-concurrency-check": ("AWS::Lambda::Function", lambda function: "ReservedConcurrentExecutions" in function),
    "lambda-inside-vpc": ("AWS::Lambda::Function", lambda function: "VpcConfig" in function),
    "sns-encrypted-kms": ("AWS::SNS::Topic", lambda topic: "KmsMasterKeyId" in topic),
    "cloudwatch-log-group-encrypted": ("AWS::Logs::LogGroup", lambda group: "KmsKeyId" in group),
    "iam-no-inline-policy-check": ("AWS::IAM::Role", lambda role: "Policies" not in role),
    "cw-loggroup-retention-period-check": ("AWS::Logs::LogGroup", lambda group: int(group["RetentionInDays"]) > 0),
    "cloudwatch-alarm-action-check": ("AWS::CloudWatch::Alarm", lambda alarm: bool(alarm["AlarmActions"])),
}


def found_by_config(parameters):
    stack = Stack(parameters)
    return {rule for rule, (kind, passes) in CONFIG_RULES.items() if not all(map(passes, stack.of_type(kind).values()))}


def test_rules_of_aws_config_find_what_the_document_says():
    text = (ROOT / "docs/deploy.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \|$", text.split("Some rules of AWS Config", 1)[1].split("\n### ", 1)[0], re.MULTILINE)
    documented = {rule: re.findall(r"`(\w+)(?:=(\w+))?`", passes_with) for rule, passes_with, _ in rows}
    assert all(reason for *_, reason in rows)
    assert found_by_config(TWO_PARAMETERS) == documented.keys()
    values = {"KmsKeyArn": KEY, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/sync", "SubnetIds": "subnet-0a", "SecurityGroupIds": "sg-0b"}
    everything = {}
    for rule, parameters in documented.items():
        given = {name: value or values[name] for name, value in parameters}
        assert (rule in found_by_config(TWO_PARAMETERS | given)) is (not given), rule
        everything |= given
    assert found_by_config(TWO_PARAMETERS | everything) == {"lambda-dlq-check"}


def test_failed_runs_are_kept_without_a_dead_letter_queue():
    # The reason of the one rule that nothing passes.
    stack = Stack(TWO_PARAMETERS)
    [failed] = stack.of_type("AWS::Lambda::EventInvokeConfig").values()
    assert failed["DestinationConfig"]["OnFailure"]["Destination"].endswith(":FailedRuns")
    # checkov asks for the same; each exemption of it in the template has a reason.
    skips = source()["Resources"]["Function"]["Metadata"]["checkov"]["skip"]
    assert all(skip["comment"] for skip in skips) and "CKV_AWS_116" in {skip["id"] for skip in skips}


def test_first_command_asks_no_question():
    [first] = [line for line in commands.lines("docs/deploy.md") if line.startswith("sam")][:1]
    assert "--guided" not in first and {"sam build", "sam deploy"} <= {" ".join(words[:2]) for words in commands.simple(first)}
