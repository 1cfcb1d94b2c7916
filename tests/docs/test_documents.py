"""What the documents say, compared with the files that they speak of: links, names, commands and blocks of code.

`make test` runs it. The AWS CLI is needed for some (tests/install puts version 1 in .venv/awscli, and installs Debian's package of
version 2), jq and Terraform for others; what lacks its program is skipped, loudly.
"""

import concurrent.futures
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import aws  # noqa: E402 (tests/docs is no package)
import commands  # noqa: E402
from commands import ROOT, read  # noqa: E402

# Documents that other documents may link to before they are there.
COMING = set()


def tracked(*patterns):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True,
    )
    # A copy without its history, as cargo-mutants makes one, has no list.
    if listed.returncode:
        return sorted({path for pattern in patterns for path in ROOT.rglob(pattern) if "target" not in path.parts})
    return sorted({ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()})


MARKDOWN = tracked("*.md")


def needs(found, reason, is_installed_by_tests_install=True):
    """Skips a test that lacks a program, and says so; where everything must be installed, it fails."""
    if not found and is_installed_by_tests_install:
        reason += "; run tests/install"
        if os.environ.get("CI") == "true":
            raise AssertionError(reason)
    if not found:
        # unittest prints a number alone.
        print(f"SKIPPED: {reason}", file=sys.stderr)
    return unittest.skipUnless(found, reason)


def without_code(text):
    text = re.sub(r"^( *)```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(text):
    """The anchors that a code host makes of the headings."""
    found = set()
    prose = re.sub(r"^( *)```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} (.+?)\s*$", prose, re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


def spans(text):
    """What stands in `code` in the prose and in tables."""
    prose = re.sub(r"^( *)```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def section(document, heading):
    """The text below a heading, up to the next of the same or a higher level."""
    text = read(document)
    # A comment in a block of code is no heading.
    plain = re.sub(r"^( *)```.*?^ *```$", lambda block: "." * len(block.group()), text, flags=re.MULTILINE | re.DOTALL)
    found = re.search(rf"^(#+) {re.escape(heading)}$", plain, re.MULTILINE)
    end = re.compile(rf"^#{{1,{len(found.group(1))}}} ", re.MULTILINE).search(plain, found.end())
    return text[found.end() : end.start() if end else None]


def rows(text):
    """The rows of all tables of a text, each as its cells."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| ")]


def rust(folder="src"):
    """The program's code without its tests."""
    parts = []
    for path in sorted((ROOT / folder).rglob("*.rs")):
        if "tests" not in path.stem and "tests" not in path.parts:
            parts.append(path.read_text().split("#[cfg(test)]", 1)[0])
    return "\n".join(parts)


def parameters(template):
    text = read(template).split("\nParameters:\n", 1)[1]
    text = re.split(r"^\S", text, maxsplit=1, flags=re.MULTILINE)[0]
    return set(re.findall(r"^  (\w+):$", text, re.MULTILINE))


TEMPLATES = ["template.yaml", "deploy/privatelink.yaml", "deploy/database.yaml", "deploy/lattice.yaml"]
PARAMETERS = {template: parameters(template) for template in TEMPLATES}


class Links(unittest.TestCase):
    def test_every_relative_link_leads_somewhere(self):
        broken = []
        for document in MARKDOWN:
            text = without_code(document.read_text())
            for target in re.findall(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)", text):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = (document.parent / path).resolve() if path else document
                name = f"{document.relative_to(ROOT)}: {target}"
                if not file.exists():
                    if str(file.relative_to(ROOT)) not in COMING:
                        broken.append(name)
                elif anchor and anchor not in anchors(file.read_text()):
                    broken.append(f"{name}: no such heading")
        self.assertEqual(broken, [])

    def test_every_document_is_linked_from_another(self):
        linked = set()
        for document in MARKDOWN:
            for target in re.findall(r"\]\(([^)#\s]+)", without_code(document.read_text())):
                linked.add((document.parent / target).resolve())
        lonely = [str(d.relative_to(ROOT)) for d in MARKDOWN if d not in linked and d.parent == ROOT / "docs"]
        self.assertEqual(lonely, [])

    def test_every_picture_is_whole_and_needs_no_network(self):
        import xml.dom.minidom

        for picture in tracked("docs/*.svg"):
            with self.subTest(picture.name):
                text = picture.read_text()
                xml.dom.minidom.parseString(text)
                # A code host shows a picture without what it would load.
                self.assertEqual(re.findall(r"(?:url\(['\"]?|href=['\"])(?!#)[^'\")]*", text), [])

    def test_readme_is_short(self):
        self.assertLessEqual(len(read("README.md").splitlines()), 122)


# Names of others' in the documents: of the modules and functions that docs/migrating.md replaces, and of AWS.
FOREIGN = set("""
    TARGET_FQDN ELB_TG_ARN DNS_SERVER INVOCATIONS_BEFORE_DEREGISTRATION MAX_LOOKUP_PER_INVOCATION REMOVE_UNTRACKED_TG_IP
    rLambdaNLBUpdate rLambdaPrivsRole rSnsLambdaInvokePermission rEventSubscription rLambdaTriggerSubscription rAttachTopicPolicy
    rLambdaTriggerTopic rNetworkLoadBalancer rNetworkLoadBalancerListener rNetworkLoadBalancerTargetGroup rVPCEndpointService
    rVPCEndpointServicePermission pDBEndPoint oLambdaName oLambdaPrivsRole oLambdaTriggerTopic oLambdaTriggerSubscription
    oEventSubscription oSnsLambdaInvokePermission ElbHostnameAsTargetEventbridgeTrigger ElbHostnameTarget S3ObjectLambda
    target_fqdn dns_servers remove_untracked_tg_ip target_db_instance_ids identifier
    ClusterFirst SOURCE_DATE_EPOCH ERROR_MESSAGE ReceiptHandle HealthyHostCount UnHealthyHostCount TooManyRequestsException Replacement
    keepalives_idle target_session_attrs target_port
    enableDnsSupport enableDnsHostnames VERIFY_IDENTITY ignore_changes lambda_runtime awslambdaric
    mz_rds_target_group aws_lambda_event_source_mapping aws_lb_target_group_attachment aws_lb aws_lb_listener aws_lb_target_group aws_vpc_endpoint_service
""".split())


class Names(unittest.TestCase):
    """Each name in `code` is one of the code, the templates, the modules or the tools."""

    @classmethod
    def setUpClass(cls):
        cls.words = set()
        suffixes = {".rs", ".py", ".yaml", ".tf", ".hcl", ".toml", ".json", ".svg", ".txt"}
        for path in tracked("*"):
            own = path.parent == ROOT / "tests" / "docs"
            if not own and (path.suffix in suffixes or path.name == "Makefile" or path.parent.name == "scripts"):
                cls.words |= set(re.findall(r"\w+", path.read_text(errors="replace")))

    def test_every_name_of_our_own_exists(self):
        unknown = []
        for document in {*commands.DOCUMENTS, "deploy/terraform/README.md"} - {"docs/words.md"}:
            for span in spans(read(document)):
                # UPPER_CASE, CamelCase and snake_case; the value after an equals sign is anything.
                name = re.match(r"[\"']?([A-Za-z][A-Za-z0-9]*_\w+|[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)+)(?=$|=|\[|\"|'|\.| |:)", span)
                if name and name.group(1) not in self.words | FOREIGN:
                    unknown.append(f"{document}: {span}")
        self.assertEqual(unknown, [])

    def test_every_parameter_with_a_value_is_a_template_s(self):
        known = set().union(*PARAMETERS.values())
        for document in commands.DOCUMENTS:
            for span in spans(read(document)):
                for name in re.findall(r"^([A-Z][a-z]\w*)=", span):
                    with self.subTest(f"{document}: {span}"):
                        self.assertIn(name, known)

    def test_every_parameter_in_a_command_is_its_template_s(self):
        for document, line in commands.everywhere():
            given = re.split(r"--parameter-overrides|PARAMETERS=", line)[1:]
            if given:
                file = re.search(r"--template(?:-file)? (deploy/\w+\.yaml)", line)
                template = file.group(1) if file else "deploy/privatelink.yaml" if "orders-path" in line else "template.yaml"
                names = set(re.findall(r"(?:^|[\s\"])([A-Z][a-z]\w*)=", given[0]))
                if "file://" in given[0]:
                    names = set(re.findall(r"^([A-Z]\w*):", "".join(re.findall(r"^```yaml\n(.*?)^```", read(document), re.M | re.S)), re.M))
                self.assertTrue(names, line)
                self.assertEqual(names - PARAMETERS[template], set(), f"{document}: {line}")

    def test_every_template_parameter_is_documented(self):
        text = read("docs/deploy.md") + read("docs/reference.md")
        documented = {re.split(r"[=. ]", span)[0] for span in spans(text)}
        # deploy.md has commands with the parameters of the paths.
        documented |= set(re.findall(r"\b([A-Z]\w+)=", "\n".join(line for _, line in commands.everywhere())))
        for template, names in PARAMETERS.items():
            with self.subTest(template):
                self.assertEqual(names - documented, set())

    def test_every_variable_is_documented_with_its_default_and_range(self):
        code = read("src/config.rs").split("#[cfg(test)]")[0]
        variables = set(re.findall(r'pub(?:\(\w+\))? const ([A-Z_]+): &str = "\1";', code + rust("src/config")))
        table = {row[0].strip("`"): row for row in rows(section("docs/reference.md", "Configuration")) if len(row) == 5}
        table.pop("variable")
        self.assertEqual(set(table), variables)
        for name, default, least, most in re.findall(r"\((\w+), ([\d_]+), ([\d_]+)\.\.=([\d_]+)\)", code):
            with self.subTest(name):
                plain = [number.replace("_", "") for number in (default, least, most)]
                self.assertEqual(table[name][1], plain[0])
                self.assertTrue(table[name][2].startswith(f"{plain[1]} to {plain[2]}"), table[name][2])
        for name, default in re.findall(r"environment\.flag\((\w+), (\w+)\)", code):
            self.assertEqual(table[name][1], f"`{default}`")
        settings = read("deploy/terraform/variables.tf")
        for name, row in table.items():
            with self.subTest(name):
                for parameter in spans(row[3]):
                    self.assertIn(parameter, PARAMETERS["template.yaml"])
                self.assertRegex(settings, rf"\b{spans(row[4])[0].removeprefix('settings.')}\b")
        # The templates' own limits, where the row names them.
        template = read("template.yaml")
        least, most = re.search(r"ConfirmSeconds:.*?MinValue: (\d+)\n\s+MaxValue: (\d+)", template, re.DOTALL).groups()
        self.assertIn(f"templates: {least} to {most}", table["CONFIRM_SECONDS"][2])

    def test_every_field_of_a_binding_is_documented(self):
        fields = re.search(r'const FIELDS: &str = "(.+?)"', read("src/config/bindings.rs")).group(1)
        names = set(re.findall(r"\w+", fields.replace(" and ", " ")))
        documented = {row[0].strip("`") for row in rows(section("docs/reference.md", "Configuration")) if len(row) == 2}
        self.assertEqual(documented - {"field"}, names)

    def test_metrics_are_those_of_the_program(self):
        code = read("src/metrics.rs").split("#[cfg(test)]")[0].split("*/")[-1]
        written = set(re.findall(r'"([A-Z][a-z]+(?:[A-Z][a-z]+)*)"', code)) - {"Count", "Milliseconds", "FunctionName", "CloudWatchMetrics", "PascalCase"}
        text = section("docs/reference.md", "Metrics")
        documented = {name for row in rows(text) for name in spans(row[0])}
        self.assertEqual(documented, written)
        # The metrics of our namespace that the templates read.
        read_by_templates = set(re.findall(r"Namespace: rds-nlb-sync\n\s+MetricName: (\w+)", read("template.yaml")))
        self.assertGreater(len(read_by_templates), 5)
        self.assertLessEqual(read_by_templates, written)

    def test_decisions_are_those_of_the_log(self):
        code = rust()
        logged = set(re.findall(r'log_decision!\(\s*\w+,\s*[\w.]+,\s*"(\w+)"', code)) | set(re.findall(r'decision = "(\w+)"', code))
        text = section("docs/runbook.md", "The log of a failover")
        documented = {name for row in rows(text) for name in spans(row[0])}
        self.assertEqual(documented, logged)
        for names in re.findall(r"decision in \[(.+?)\]", text):
            self.assertLessEqual(set(re.findall(r"\"(\w+)\"", names)), logged)

    def test_queue_is_hidden_for_six_times_the_function_s_timeout(self):
        [default] = re.findall(r"^  WatchSeconds:\n    Type: String\n    Default: '(\d+)'", read("template.yaml"), re.MULTILINE)
        timeouts = {int(watch): int(timeout) for watch, timeout in re.findall(r"'(\d+)': { Timeout: (\d+),", read("template.yaml"))}
        text = section("docs/reference.md", "Through SNS or SQS")
        self.assertEqual({timeout - watch for watch, timeout in timeouts.items()}, {60})
        self.assertIn("60 s more than `WatchSeconds`", text)
        self.assertIn(f"VisibilityTimeout={6 * timeouts[int(default)]}\n", text)

    def test_answer_has_the_program_s_fields_and_words(self):
        text = section("docs/reference.md", "The answer")
        report = read("src/reconcile/report.rs")
        skipped = set(re.findall(r"#\[serde\(skip\)\]\n    pub (\w+):", report))
        fields = set(re.findall(r"^    pub (\w+):", report, re.MULTILINE)) - skipped
        [answer] = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
        self.assertEqual(set(answer["bindings"][0]), fields)
        statuses = re.findall(r"^    (\w+),$", report.split("pub enum Status")[1].split("}")[0], re.MULTILINE)
        states = re.findall(r'Self::\w+ => "(\w+)"', read("src/plan.rs").split("fn name(self)")[1].split("}")[0])
        triggers = re.findall(r'Self::\w+ => "(\w+)"', read("src/service/result.rs").split("fn name(self)")[1].split("}")[0])
        types = re.findall(r'"(EventRefused|BindingsFailed|InvalidConfiguration)"', rust())
        words = spans(text)
        for status in statuses:
            if status != "Deferred":
                self.assertIn(re.sub(r"(?<!^)([A-Z])", r"_\1", status).lower(), words)
        self.assertEqual(len(set(types)), 3)
        for word in states + triggers + types:
            self.assertIn(word, words)

    def test_policy_of_the_doctor_has_every_action_that_it_calls(self):
        services = "elasticloadbalancing|rds|ec2|cloudwatch|vpc-lattice|ram"
        called = set(re.findall(rf'"((?:{services}):(?:Describe|Get|List)\w+)"', rust()))
        policy = json.loads(re.search(r"```json\n(.*?)```", section("docs/doctor.md", "Permissions"), re.DOTALL).group(1))
        allowed = [action for statement in policy["Statement"] for action in statement["Action"]]
        # Only with a tag, as the sentence below the policy says.
        self.assertEqual(set(allowed) | {"elasticloadbalancing:DescribeTags"}, called)

    def test_checks_of_the_doctor_are_those_of_the_program(self):
        code = rust("src/doctor")
        # Constants that name no check.
        named = set(re.findall(r'const \w+: &str = "([a-z]\w+)";', code)) - {"all"}
        named |= set(re.findall(r'(?:Finding::(?:ok|warning|problem|not_examined|unread)|\.or_\w+)\(\s*"(\w+)"', code))
        documented = {name for row in rows(section("docs/doctor.md", "What it checks")) for name in re.findall(r"`(\w+)`", row[0])}
        # In prose, after the tables.
        documented |= set(re.findall(r"`(\w+)`", section("docs/doctor.md", "A handshake")))
        self.assertGreater(len(named), 50)
        self.assertEqual(named - documented, set())
        self.assertEqual({name for name in documented if "_" in name} - named - {"read_only"}, set())

    def test_categories_are_those_that_start_a_watch(self):
        code = re.search(r"const WATCHED_CATEGORIES: .*?= \[(.*?)\];", read("src/event/rds.rs"), re.DOTALL).group(1)
        text = section("docs/reference.md", "Events")
        named = re.search(r"in the category (.+?) \|", text).group(1).replace(" or ", ", ").split(", ")
        self.assertEqual(sorted(named), sorted(re.findall(r'"(.+?)"', code)))

    def test_readme_s_minutes_are_those_of_the_model(self):
        outages = {row[0]: row[2] for row in rows(section("docs/failover-time.md", "Which path is fastest"))}
        text = " ".join(read("README.md").split())
        for path, sentence in (
            ("Aurora, load balancer and this function (the default)", "{} to {} minutes for Aurora"),
            ("Multi-AZ instance, load balancer and this function", "{} to {} for a Multi-AZ instance"),
        ):
            least, _, most = (float(seconds) / 60 for seconds in outages[path].split(" / "))
            # No minute is left off.
            self.assertIn(sentence.format(f"{least:.1f}", f"{math.ceil(most * 10) / 10:.1f}"), text)

    def test_kinds_of_faults_are_those_of_the_simulator(self):
        code = read("testkit/src/simulation/hazard.rs")
        arrays = re.findall(r"^(?:pub )?const (\w+): \[\w+; (\d+)\]", code, re.MULTILINE)
        self.assertEqual({name for name, _ in arrays}, {"CALLS", "LOOKUPS", "ANSWERS", "REST"})
        self.assertIn(f"under {sum(int(number) for _, number in arrays)} kinds of faults", read("docs/proof.md"))

    def test_items_of_exhaust_are_those_of_its_catalogue(self):
        code = read("testkit/src/simulation/exhaust.rs")
        sizes = {name: int(size) for name, size in re.findall(r"^const (\w+): \[Fault; (\d+)\]", code, re.MULTILINE)}
        catalogue = re.search(r"^fn catalogue\(\).*?^}", code, re.MULTILINE | re.DOTALL).group()
        dated = sum(sizes[name] for name in re.findall(r"\(Action::\w+, &(\w+)", catalogue)) + len(re.findall(r"Item::\w+\(at\)", catalogue))
        lasting = len(re.findall(r"Item::\w+[,\]]", catalogue))
        self.assertIn(f"{dated} items with a moment and {lasting} that last", " ".join(read("docs/proof.md").split()))

    def test_durations_are_those_of_the_model(self):
        model = read("examples/outage/model.rs")
        ranges = dict(re.findall(r"pub const (\w+): Range = \((.+?)\);", model))
        table = section("docs/failover-time.md", "The durations")
        for name in ("STARTED", "DELIVERY", "PROMOTED_AURORA", "PROMOTED_MULTI_AZ", "DNS_AURORA", "REGISTRATION", "DEREGISTRATION"):
            with self.subTest(name):
                least, most = (f"{float(number):g}" for number in ranges[name].split(", "))
                self.assertIn(f"{least}–{most} s", table)

    def test_waiting_reasons_are_the_program_s(self):
        code = read("src/plan.rs")
        table = section("docs/runbook.md", "Pending")
        for row in rows(table)[1:]:
            if not row[0].startswith("-"):
                self.assertIn(f"once {row[0]}", code)

    def test_commands_and_options_of_the_command_line_exist(self):
        code = rust("src/cli") + read("src/cli.rs")
        own = [words for _, line in commands.of("rds-nlb-sync") for words in commands.simple(line) if words[0] == "rds-nlb-sync"]
        text = " ".join([*spans(read("docs/cli.md")), *(word for words in own for word in words)])
        for option in set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)):
            self.assertTrue(re.search(rf"\b{option.replace('-', '_')}: ", code), f"no option --{option}")
        named = {row[0].strip("`") for row in rows(read("docs/cli.md")) if len(row) == 2 and "--" not in row[0] and "-v" not in row[0]}
        for command in named - {"command", "option", "exit code", "0", "1", "2", "---"}:
            self.assertTrue(re.search(rf"^    {command.capitalize()}[( ]", code, re.MULTILINE), f"no command {command}")

    def test_functions_are_not_named(self):
        # CloudFormation makes the name up, and Terraform takes it from an input.
        for document in commands.DOCUMENTS:
            text = read(document)
            named = re.findall(r"--function(?:-name)? ([\w-]+)", text)
            self.assertEqual([name for name in named if name not in ("FUNCTION", "OLD_FUNCTION", "NAME")], [], document)
            if "FUNCTION" in named:
                said = r"FUNCTION is (`rds-nlb-sync` with Terraform, and )?the output `FunctionName`|FUNCTION by the function's name"
                self.assertTrue(re.search(said, " ".join(text.split())), document)

    def test_make_targets_exist(self):
        targets = set(re.findall(r"^([a-z0-9-]+):", read("Makefile"), re.MULTILINE))
        for document in commands.DOCUMENTS:
            for span in spans(read(document)):
                named = re.match(r"make ([a-z][a-z0-9-]*)", span)
                if named:
                    self.assertIn(named.group(1), targets, f"{document}: {span}")
        for _, line in commands.of("make"):
            for words in commands.simple(line):
                if words[0] == "make":
                    done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, text=True, capture_output=True)
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_module_is_in_the_architecture(self):
        table = rows(section("docs/architecture.md", "Modules"))
        named = [set(re.findall(r"[\w./-]+", " ".join(spans(" ".join(row))))) for row in table]
        missing = []
        for path in sorted((ROOT / "src").rglob("*.rs")):
            module = path.relative_to(ROOT / "src")
            if "tests" in module.parts or module.name in ("tests.rs", "lib.rs"):
                continue
            is_binary = module.name == "main.rs" or module.parent.name == "bin"
            # A child stands in a row with its parent.
            wanted = {str(module)} if is_binary else {module.stem, *module.parts[-2:-1]}
            if not any(wanted <= words for words in named):
                missing.append(str(module))
        self.assertEqual(missing, [])

    def test_every_module_of_the_architecture_exists(self):
        for row in rows(section("docs/architecture.md", "Modules"))[1:]:
            parent = ""
            for span in spans(row[0]):
                parent, _, name = span.rpartition("::") if "::" in span else (parent, "", span)
                path = pathlib.Path("src", *parent.split("::"), name if name.endswith(".rs") else f"{name}.rs")
                self.assertTrue((ROOT / path).is_file(), path)
            # A name in its description is a child's, another module's with its whole path, or a feature's.
            for span in spans(row[1]):
                if re.fullmatch(r"[a-z_:]+", span) and not re.search(rf"^{span} = \[", read("Cargo.toml"), re.MULTILINE):
                    paths = [pathlib.Path("src", *module.split("::")) for module in (span, f"{spans(row[0])[0]}::{span}")]
                    self.assertTrue(any((ROOT / path).with_suffix(".rs").is_file() for path in paths), f"{row[0]}: {span}")

    def test_files_exist(self):
        for document in commands.DOCUMENTS:
            for span in spans(read(document)):
                if re.fullmatch(r"(?:src|tests|testkit|examples|benches|deploy|scripts|docs|events)/[\w./-]*", span):
                    self.assertTrue((ROOT / span).exists(), f"{document}: {span}")


KINDS = set("""
    aws cargo cd dig docker gh git install journalctl jq kubectl make printf python3 rds-nlb-sync sam scripts/drill sed sha256sum sudo
    systemctl tar terraform
""".split())


class Blocks(unittest.TestCase):
    """The blocks of code."""

    def blocks(self, kind):
        for document in [*commands.DOCUMENTS, "deploy/terraform/README.md"]:
            pattern = rf"^( *)```{kind}\n(.*?)^ *```$"
            for indent, block in re.findall(pattern, read(document), re.MULTILINE | re.DOTALL):
                yield document, "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))

    def test_json_parses(self):
        found = list(self.blocks("json"))
        self.assertGreater(len(found), 5)
        for document, block in found:
            with self.subTest(document):
                json.loads(block)

    def test_shell_parses(self):
        for document in commands.DOCUMENTS:
            for script in commands.scripts(document):
                done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
                self.assertEqual(done.returncode, 0, f"{document}: {done.stderr}\n{script}")

    @needs(shutil.which("terraform"), "terraform is not installed: no block of it was parsed", is_installed_by_tests_install=False)
    def test_terraform_parses_and_is_formatted(self):
        for document, block in self.blocks("hcl"):
            with self.subTest(document):
                # One line for a block is how a short one is written; terraform formats it as it is.
                done = subprocess.run(["terraform", "fmt", "-check", "-diff", "-"], input=block, text=True, capture_output=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_modules_in_blocks_have_inputs_of_the_module(self):
        folders = {"deploy/terraform": "deploy/terraform", "modules/privatelink": "deploy/terraform/modules/privatelink"}
        for document in [*commands.DOCUMENTS, "deploy/terraform/README.md"]:
            for body in re.findall(r'^module "\w+" {\n(.*?)^}', read(document), re.MULTILINE | re.DOTALL):
                source = re.search(r'source\s+= "(.+?)"', body).group(1)
                folder = next(folder for end, folder in folders.items() if source.endswith(end))
                inputs = set(re.findall(r'^variable "(\w+)"', read(f"{folder}/variables.tf"), re.MULTILINE))
                named = set(re.findall(r"^  (\w+)\s+=", body, re.MULTILINE)) - {"source"}
                self.assertLessEqual(named, inputs, document)

    def test_every_command_is_of_a_known_kind(self):
        # tests/terraform plays docs/terraform.md from its first command to its last.
        found = {
            words[0]: document
            for document, line in commands.everywhere() if document != "docs/terraform.md" for words in commands.simple(line)
        }
        self.assertEqual({name: document for name, document in found.items() if name not in KINDS}, {})

    def test_every_invocation_has_the_same_options(self):
        # A user's AWS CLI may be set to another output than JSON, and a check of many bindings outlasts its time-out of 60 s.
        wanted = {"--function-name", "--cli-read-timeout", "--output", "--payload"}
        found = 0
        for document, line in commands.of("aws"):
            for words in commands.simple(line):
                if words[1:3] == ["lambda", "invoke"]:
                    found += 1
                    self.assertEqual({word for word in words if word.startswith("--")}, wanted, f"{document}: {line}")
                    options = dict(zip(words, words[1:]))
                    self.assertEqual((options["--cli-read-timeout"], options["--output"]), ("0", "json"), f"{document}: {line}")
        self.assertGreater(found, 7)

    def test_jq_reads_json_whatever_the_user_s_output_is(self):
        for document, line in commands.of("jq"):
            for words in commands.simple(line):
                if words[0] == "aws":
                    self.assertIn("--output json", " ".join(words), f"{document}: {line}")

    @needs(shutil.which("jq"), "jq is not installed")
    def test_jq_prints_the_reason_of_every_lost_event(self):
        [line] = [line for line in commands.lines("docs/runbook.md") if "sqs receive-message" in line and "jq" in line]
        [jq] = [words for words in commands.simple(line) if words[0] == "jq"]
        event = {"source": "aws.rds"}
        failed = {"requestPayload": event, "responsePayload": {"errorMessage": "could not resolve"}}
        throttled = {"requestPayload": event, "requestContext": {"condition": "RetriesExhausted"}}
        messages = [[json.dumps(failed), None], [json.dumps(throttled), None], [json.dumps(event), "the function is gone"]]
        done = subprocess.run(jq, input=json.dumps(messages), text=True, capture_output=True, check=True)
        printed = done.stdout.splitlines()
        self.assertEqual(printed[::2], ['{"source":"aws.rds"}'] * 3)
        self.assertEqual(printed[1::2], ["could not resolve", "RetriesExhausted", "the function is gone"])

    @needs(shutil.which("jq"), "jq is not installed")
    def test_jq_reads_the_documented_answer(self):
        [answer] = re.findall(r"^```json\n(.*?)^```", section("docs/reference.md", "The answer"), re.MULTILINE | re.DOTALL)
        wanted = json.loads(answer)
        wanted["bindings"][0]["waiting"] = ["10.0.1.10:5432 waits"]
        failed = {"errorType": "BindingsFailed", "errorMessage": "could not resolve"}
        log = [json.dumps({"timestamp": "03:00", "decision": "register", "targets": "10.0.2.20:5432"})]
        outputs = []
        for _, line in commands.of("jq"):
            for words in commands.simple(line):
                if words[0] != "jq":
                    continue
                # A file's name at the end stands for what the file would hold.
                arguments = [word for word in words[1:] if word not in ("answer.json", "log.json")]
                for given in (log if "fromjson" in line else wanted, failed):
                    # After the answer stands the AWS CLI's summary.
                    summary = "" if given is log else '{"StatusCode": 200}' if "-s" in arguments else ""
                    done = subprocess.run(["jq", *arguments], input=json.dumps(given) + summary, text=True, capture_output=True)
                    if given is not failed or "errorMessage" in line:
                        self.assertEqual(done.returncode, 0, f"{line}: {done.stderr}")
                        outputs.append(done.stdout.strip())
        self.assertIn("could not resolve", outputs)
        self.assertTrue(any(output.startswith("updated\torders.cluster-") and "initial" in output for output in outputs), outputs)
        self.assertIn("03:00\tregister\t10.0.2.20:5432", outputs)
        self.assertTrue(any(output.endswith("10.0.1.10:5432 waits") for output in outputs), outputs)


INSTALLED = {number: python for number, python in ((1, aws.VERSION_1), (2, aws.VERSION_2)) if (aws.version(python) or [0])[0] == number}
needs_version_2 = needs(
    2 in INSTALLED, "version 2 of the AWS CLI (Debian's package awscli) is not installed: version 1 alone parsed the documents' commands",
    is_installed_by_tests_install=False,
)


@needs(1 in INSTALLED, "the AWS CLI is not in .venv/awscli")
class AwsCommands(unittest.TestCase):
    """Every command goes through each version of the AWS CLI that is installed."""

    @classmethod
    def setUpClass(cls):
        cls.folders, cls.clis, cls.understood = {}, {}, {}
        for number, python in INSTALLED.items():
            cls.folders[number] = tempfile.TemporaryDirectory()
            cls.clis[number] = aws.Aws(pathlib.Path(cls.folders[number].name), python)

    @classmethod
    def tearDownClass(cls):
        for number, cli in cls.clis.items():
            cli.close()
            cls.folders[number].cleanup()

    def run_in_each(self, line):
        """What each version makes of the line's commands, by its number."""
        if line not in self.understood:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                done = pool.map(lambda cli: cli.understood(line), self.clis.values())
                self.understood[line] = dict(zip(self.clis, done))
        return self.understood[line]

    def reaches(self, document, line):
        for number, results in self.run_in_each(line).items():
            with self.subTest(f"{document}, version {number}: {line}"):
                for seen, output, operations in results:
                    if not aws.knows(INSTALLED[number], line):
                        self.assertEqual(operations, [], "it is known: take it off the list of later ones")
                        continue
                    # generate-db-auth-token makes no call.
                    self.assertTrue(seen or "generate-db-auth-token" in line and "X-Amz-Signature" in output, output)
                    if "lambda invoke" in line:
                        # Version 2 takes a payload for base64, unless an option says otherwise that version 1 does not have.
                        # Both read a file named by fileb:// as it is.
                        self.assertIn("--payload fileb://", line)
                        self.assertIn("command", json.loads(seen[0][1]))

    def test_every_aws_command_reaches_aws(self):
        # tests/terraform plays docs/terraform.md.
        lines = commands.of("aws")
        self.assertGreater(len(lines), 30)
        for document, line in lines:
            self.reaches(document, line)

    @needs_version_2
    def test_versions_1_and_2_ask_for_the_same(self):
        compared = [line for _, line in commands.of("aws") if aws.knows(aws.VERSION_2, line)]
        self.assertGreater(len(compared), 30)
        for line in compared:
            with self.subTest(line):
                first, second = self.run_in_each(line).values()
                self.assertEqual([operations for *_, operations in first], [operations for *_, operations in second])

    def test_documents_say_which_version_a_later_command_needs(self):
        everything = "\n".join(map(read, commands.DOCUMENTS))
        for words, entry in aws.LATER.items():
            self.assertIn(f"({entry['since']})", everything, words)

    def test_release_s_zip_takes_the_place_of_the_source(self):
        [line] = [line for document, line in commands.of("sed") if document == "docs/deploy.md"]
        subprocess.run(["bash", "-c", line], cwd=self.folders[1].name, check=True)
        made = pathlib.Path(self.folders[1].name, "with-zip.yaml").read_text()
        self.assertEqual(made.count("CodeUri: rds-nlb-sync.zip\n"), 1)
        self.assertNotIn("CodeUri: .\n", made)

    def test_commands_in_prose_reach_aws(self):
        for document in commands.DOCUMENTS:
            for span in spans(read(document)):
                # A command's name alone, or with an ellipsis, is a mention.
                if re.match(r"aws \w[\w-]* [a-z][\w-]* -", span) and "…" not in span:
                    self.reaches(document, span)


if __name__ == "__main__":
    unittest.main()
