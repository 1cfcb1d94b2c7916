use super::common::in_arguments;
use super::render::TextReport;
use super::*;
use crate::config::{BINDINGS, Config};
use crate::doctor::{BindingFindings, DoctorReport, Finding, Severity};
use crate::service::Trigger;

const ENDPOINT: &str = "orders-of-all-the-shops.cluster-abc123def456.ap-southeast-1.rds.amazonaws.com";
const GROUP: &str =
    "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/thirty-two-characters-are-a-name/0";

#[test]
fn arguments_are_consistent() {
    Arguments::command().debug_assert();
}

fn report(status: Status) -> crate::reconcile::Report {
    crate::reconcile::Report {
        endpoint: ENDPOINT.to_owned(),
        target_group: GROUP.to_owned(),
        status,
        addresses: crate::plan::Addresses::parse(["fd00:1234:5678:9abc:def0:1234:5678:9abc"
            .parse()
            .unwrap()])
        .ok(),
        registered: ["[fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535".parse().unwrap()].into(),
        deregistered: ["10.0.1.10:5432".parse().unwrap()].into(),
        health: std::collections::BTreeMap::new(),
        may_apply_late: false,
        waiting: vec![
            "10.0.9.9:5432 is deregistered once DNS has confirmed the endpoint's addresses".to_owned(),
        ],
        error: Some(format!("could not describe {GROUP}: AccessDenied: no. Fix: allow it in the role")),
        elapsed_ms: 7,
        registration_latency_ms: None,
    }
}

fn outcome(statuses: &[Status]) -> InvocationResult {
    InvocationResult {
        trigger: Trigger::Check,
        bindings: statuses.iter().map(|status| report(*status)).collect(),
        bound: statuses.len(),
        unbound: 0,
    }
}

#[test]
fn exit_code_is_that_of_the_worst_binding() {
    use Status::{Failed, InSync, Pending, Planned, Updated};
    for (statuses, expected) in [
        (&[InSync, Updated][..], 0),
        (&[InSync, Pending], 2),
        (&[Planned, Updated], 2),
        (&[Planned, Failed, Pending], 1),
        (&[Failed], 1),
    ] {
        assert_eq!(code(&outcome(statuses)), expected, "{statuses:?}");
    }
}

/// A report with this many problems, warnings and ok findings of one binding.
fn doctor_report(problems: usize) -> DoctorReport {
    let impact = "a reason of as many words as it takes to need a second line or even two of them".to_owned();
    let finding = |level, check: &'static str, fix: &str| Finding {
        level,
        check: check.into(),
        observed: format!("the state of {GROUP}, and some more words to make it a long line"),
        impact: Some(impact.clone()),
        fix: Some(fix.to_owned()),
        ..Finding::default()
    };
    let mut findings = vec![
        finding(Severity::Ok, "endpoint", ""),
        finding(Severity::NotExamined, "failover_zones", "allow it"),
        finding(Severity::Warning, "scheme", "set the binding's `port`, or run `aws elbv2 this --and that`"),
    ];
    findings.extend((0..problems).map(|_| finding(Severity::Problem, "unhealthy_targets", "look at it")));
    DoctorReport::new(Vec::new(), vec![BindingFindings::new(ENDPOINT, GROUP, findings)], &[])
}

fn page(width: u16, colours: bool, write: impl FnOnce(&mut TextReport)) -> String {
    let mut page = TextReport::new(width, colours);
    write(&mut page);
    let text = page.finish();
    if colours { text } else { anstream::adapter::strip_str(&text).to_string() }
}

#[test]
fn only_commands_may_be_wider_than_the_page() {
    for width in [60, 80, 120] {
        let result = outcome(&[Status::InSync, Status::Updated, Status::Planned, Status::Failed]);
        let text = page(width, false, |page| page.invocation_result(&result))
            + &page(width, false, |page| page.doctor_report(&doctor_report(1), true));
        let may_be_wider = |line: &str| {
            line.starts_with("    ") || line.starts_with(ENDPOINT) || line.trim_start().starts_with("arn:")
        };
        for line in text.lines().filter(|line| !may_be_wider(line)) {
            assert!(line.chars().count() <= usize::from(width), "wider than {width}: {line}");
        }
    }
}

#[test]
fn problems_come_first_and_commands_can_be_copied() {
    let text = page(100, false, |page| page.doctor_report(&doctor_report(1), false));
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in\n{text}"));
    assert!(at("PROBLEM unhealthy_targets:") < at("WARNING scheme:"));
    at("  Fix: set the binding's `port`, or run\n    aws elbv2 this --and that\n");
    at("Not examined: failover_zones (-v says why)\n");
    assert!(!text.contains("OK endpoint"), "{text}");
    assert!(text.ends_with("1 problem: thirty-two-characters-are-a-name: unhealthy_targets\n"), "{text}");
    let verbose = page(100, false, |page| page.doctor_report(&doctor_report(1), true));
    assert!(verbose.contains("OK endpoint:"), "{verbose}");
}

#[test]
fn consequence_stands_between_its_cause_and_the_fix() {
    let mut report = doctor_report(1);
    let consequence =
        Finding { check: "targets".into(), cause: Some("unhealthy_targets".into()), ..Finding::default() };
    report.bindings[0].findings.push(Finding {
        level: Severity::Warning,
        observed: "not known".into(),
        ..consequence
    });
    let text = page(100, false, |page| page.doctor_report(&report, false));
    let lines = "\n  Consequence: targets: not known\n  Fix: look at it\n";
    assert!(text.contains(lines) && !text.contains("WARNING targets"), "{text}");
    // Two problems of one check have the consequence once.
    let second = report.bindings[0].findings[0].clone();
    report.bindings[0].findings.insert(0, second);
    let text = page(100, false, |page| page.doctor_report(&report, false));
    assert_eq!(text.matches("Consequence: targets").count(), 1, "{text}");
}

/// The cause is a setting of the function: the binding has no problem of its own.
#[test]
fn consequences_of_a_setting_are_shown() {
    let mut report = doctor_report(1);
    let finding = &mut report.bindings[0].findings[0];
    (finding.check, finding.cause) = ("targets".into(), Some("dry_run".into()));
    let text = page(100, false, |page| page.doctor_report(&report, false));
    assert!(text.contains("PROBLEM targets:"), "{text}");
}

#[test]
fn problem_and_verdict_fit_in_80_by_24() {
    let text = page(80, false, |page| page.doctor_report(&doctor_report(1), false));
    let rows = text.lines().map(|line| line.chars().count().div_ceil(80).max(1)).sum::<usize>();
    assert!(rows <= 24, "{rows} rows:\n{text}");
}

#[test]
fn verdict_without_problems_says_so() {
    let text = page(80, false, |page| page.doctor_report(&doctor_report(0), false));
    assert!(text.contains("0 problems, 1 ok (-v lists what is ok)\n"), "{text}");
    assert!(text.ends_with("1 warning: thirty-two-characters-are-a-name: scheme\n"), "{text}");
}

#[test]
fn colours_are_only_for_terminals() {
    let result = outcome(&[Status::Failed]);
    assert!(page(80, true, |page| page.invocation_result(&result)).contains("\u{1b}["));
    assert!(!page(80, false, |page| page.invocation_result(&result)).contains('\u{1b}'));
}

#[test]
fn endpoint_breaks_after_a_dot() {
    let text = page(80, false, |page| page.invocation_result(&outcome(&[Status::InSync])));
    for part in ["orders-of-all-the-shops. ", "cluster-abc123def456. ", "ap-southeast-1.rds.amazonaws. "] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn error_names_the_argument_that_the_user_gave() {
    let errors = |variables: &[(&str, &str)]| {
        let variables = variables.to_vec();
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        Config::parse(variable).unwrap_err()
    };
    let bad = errors(&[(BINDINGS, r#"[{"endpoint": 1, "target_group": 2}]"#), ("POLL_MILLIS", "x")]);
    assert_eq!(
        in_arguments(&bad, true),
        "the configuration is not valid: --endpoint: is a number, not a string; --target-group: is a number, not a \
         string; POLL_MILLIS: \"x\" is not a whole number from 1 to 60000 (default 500)"
    );
    assert!(in_arguments(&bad, false).contains("BINDINGS[0].endpoint: is a number"));
    let missing = in_arguments(&errors(&[]), false);
    let expected = "no binding is given. Fix: give --endpoint and --target-group, or set BINDINGS to a JSON array such as";
    assert!(missing.contains(expected), "{missing}");
}

#[test]
fn help_names_every_variable_of_the_configuration() {
    let read = std::cell::RefCell::new(Vec::new());
    let _ = Config::parse(|name| {
        read.borrow_mut().push(name.to_owned());
        None
    });
    assert!(read.borrow().len() >= 10);
    // Those of the AWS SDKs and of proxies are many, and the help names the best known.
    let is_ours = |name: &String| !name.starts_with("AWS_") && !name.to_uppercase().ends_with("_PROXY");
    for name in read.into_inner().into_iter().filter(is_ours) {
        assert!(EXAMPLES.contains(&format!("\n  {name} ")), "{name}");
    }
}
