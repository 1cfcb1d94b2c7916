"""The function as the template configures it, against what the program reads and how long it may take."""

import json
import re

import pytest

from stack import ENDPOINT, GROUP, OTHER_GROUP, ROOT, TWO_PARAMETERS, Stack, source

BINDINGS = [{"endpoint": ENDPOINT, "target_group": GROUP}]


def function(**parameters):
    [properties] = Stack(parameters or TWO_PARAMETERS).of_type("AWS::Lambda::Function").values()
    return properties


def variables(**parameters):
    return function(**parameters)["Environment"]["Variables"]


def test_the_program_reads_what_the_template_sets_and_the_template_sets_what_it_reads():
    files = [ROOT / "src" / "config.rs", *(ROOT / "src" / "config").glob("*.rs")]
    text = "".join(file.read_text() for file in files)
    constants = re.findall(r'^pub const [A-Z_]+: &str = "([A-Z_]+)";', text, re.M)
    assert constants, "the program declares its variables in another way now"
    assert set(variables()) == set(constants)


def test_two_parameters_suffice():
    given = variables()
    assert json.loads(given["BINDINGS"]) == BINDINGS
    assert given["DISCOVERY_TAG"] == given["NAMESERVERS"] == ""
    assert given["DRY_RUN"] == "false"


def test_a_database_of_its_own_name():
    given = variables(**TWO_PARAMETERS, Database="orders")
    assert json.loads(given["BINDINGS"]) == [BINDINGS[0] | {"database": "orders"}]


def test_several_databases_become_a_list():
    given = variables(**TWO_PARAMETERS, Database="orders,orders-global")
    assert json.loads(given["BINDINGS"]) == [BINDINGS[0] | {"database": ["orders", "orders-global"]}]


def test_discovery_endpoints_reach_the_program():
    given = variables(DiscoveryTag="sync", DiscoveryEndpoints="*.rds.amazonaws.com,db.corp.example.com")
    assert given["DISCOVERY_ENDPOINTS"] == "*.rds.amazonaws.com,db.corp.example.com"
    assert variables()["DISCOVERY_ENDPOINTS"] == ""


def test_code_signing_reaches_the_function():
    config = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdefg"
    assert function(**TWO_PARAMETERS, CodeSigningConfigArn=config)["CodeSigningConfigArn"] == config
    assert "CodeSigningConfigArn" not in function()


def test_a_standby_that_is_kept():
    given = variables(**TWO_PARAMETERS, Standby="keep", Database="orders")
    assert json.loads(given["BINDINGS"]) == [BINDINGS[0] | {"database": "orders", "standby": "keep"}]
    assert json.loads(variables(**TWO_PARAMETERS, Standby="deregister")["BINDINGS"]) == BINDINGS


@pytest.mark.parametrize("role", ["readers", "all"])
def test_a_group_that_holds_more_than_the_writer(role):
    given = variables(**TWO_PARAMETERS, Targets=role, Database="orders")
    assert json.loads(given["BINDINGS"]) == [BINDINGS[0] | {"database": "orders", "role": role}]
    assert json.loads(variables(**TWO_PARAMETERS, Targets="writer")["BINDINGS"]) == BINDINGS


def test_pre_registration_is_on_unless_it_is_turned_off():
    assert variables()["PREREGISTER"] == "true"
    assert variables(**TWO_PARAMETERS, PreRegister="false")["PREREGISTER"] == "false"


def test_bindings_are_passed_on_as_they_are():
    text = json.dumps(BINDINGS)
    assert variables(Bindings=text, BindingsTargetGroupArns=GROUP)["BINDINGS"] == text


def test_the_defaults_are_the_program_s():
    text = (ROOT / "src/config.rs").read_text()
    declared = source()["Parameters"]
    plain = {"WATCH_SECONDS": "WatchSeconds", "CONFIRM_SECONDS": "ConfirmSeconds", "VERIFY_SECONDS": "VerifySeconds"}
    for variable, parameter in plain.items():
        assert f"{variable}, {declared[parameter]['Default']}, " in text
    default = declared["ElbCallsPerSecond"]["Default"]
    assert re.search(rf"ELB_CALLS_PER_SECOND\)?, {default}, ", text)


@pytest.mark.parametrize("watch", source()["Parameters"]["WatchSeconds"]["AllowedValues"])
def test_the_timeout_leaves_room_after_a_watch(watch):
    stack = Stack(TWO_PARAMETERS | {"WatchSeconds": watch})
    [properties] = stack.of_type("AWS::Lambda::Function").values()
    # The last call with its retries takes 12 s, and one second is kept back for the result (src/main.rs, src/lambda.rs).
    assert int(watch) + 12 + 1 < properties["Timeout"] <= 900
    near = stack.resources["DurationAlarm"]["Threshold"]
    assert int(watch) * 1000 < near < properties["Timeout"] * 1000


def test_a_check_that_waits_for_a_confirmation_ends_before_the_shortest_timeout():
    declared = source()
    shortest = min(row["Timeout"] for row in declared["Mappings"]["Watch"].values())
    assert 2 * declared["Parameters"]["ConfirmSeconds"]["MaxValue"] + 12 + 1 < shortest


def test_metrics_pass_the_log_level():
    assert not {"WARN", "ERROR", "FATAL"} & set(source()["Parameters"]["LogLevel"]["AllowedValues"])
    assert function()["LoggingConfig"]["LogFormat"] == "JSON"


def test_in_a_vpc():
    config = function(**TWO_PARAMETERS, SubnetIds="subnet-0a,subnet-0b", SecurityGroupIds="sg-0c")["VpcConfig"]
    assert config == {"SubnetIds": ["subnet-0a", "subnet-0b"], "SecurityGroupIds": ["sg-0c"]}
    assert "VpcConfig" not in function()


@pytest.mark.parametrize("parameters,reserved", [
    (TWO_PARAMETERS, None),
    (TWO_PARAMETERS | {"ReservedConcurrency": "none"}, None),
    (TWO_PARAMETERS | {"ReservedConcurrency": "0"}, "0"),
    ({"DiscoveryTag": "rds-nlb-sync"}, 1),
    ({"DiscoveryTag": "rds-nlb-sync", "ReservedConcurrency": "none"}, None),
    ({"DiscoveryTag": "rds-nlb-sync", "ReservedConcurrency": "4"}, "4"),
])
def test_fleet_reserves_one_run_by_default(parameters, reserved):
    assert function(**parameters).get("ReservedConcurrentExecutions") == reserved


def test_failed_runs_are_kept():
    [config] = Stack(TWO_PARAMETERS).of_type("AWS::Lambda::EventInvokeConfig").values()
    assert config["DestinationConfig"]["OnFailure"]["Destination"].endswith(":FailedRuns")


def test_outputs_name_what_an_operator_looks_for():
    outputs = Stack(TWO_PARAMETERS).template["Outputs"]
    referenced = {name: output["Value"].get("Ref") for name, output in source()["Outputs"].items() if isinstance(output["Value"], dict)}
    expected = {"UndeliveredEventsUrl": "UndeliveredEvents", "FailedRunsUrl": "FailedRuns", "DatabaseRule": "FunctionDatabase",
                "ScheduleRule": "FunctionDrift"}
    assert expected.items() <= referenced.items()
    assert {"FunctionArn", "RoleArn"} <= outputs.keys()
