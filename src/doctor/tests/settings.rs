use std::time::Duration;

use super::super::check_settings;
use super::*;
use crate::config::{AllowedEndpoints, Config};
use crate::reconcile::Timing;

fn config() -> Config {
    let timing = Timing {
        watch: Duration::from_secs(180),
        poll: Duration::from_millis(500),
        confirm: Duration::from_secs(6),
    };
    Config {
        bindings: vec![binding()],
        discovery: None,
        discovery_endpoints: AllowedEndpoints::RdsAnd([].into()),
        timing,
        nameservers: None,
        preregister: true,
        verify: Duration::from_secs(900),
        elb_calls: 5,
        dry_run: false,
    }
}

fn levels(config: &Config, seconds: u64) -> Vec<(String, Severity)> {
    let findings = check_settings(config, Some(Duration::from_secs(seconds)));
    findings.into_iter().map(|finding| (finding.check.to_string(), finding.level)).collect()
}

#[test]
fn settings_have_a_finding_each() {
    let mut expected = [
        ("dry_run", Severity::Ok),
        ("confirmation", Severity::Ok),
        ("timeout", Severity::Ok),
        ("write_access", Severity::NotExamined),
        ("delivery", Severity::NotExamined),
    ]
    .map(|(check, level)| (check.to_owned(), level));
    assert_eq!(levels(&config(), 240), expected);

    let mut bad = Config { dry_run: true, ..config() };
    bad.timing.confirm = Duration::from_secs(5);
    expected[0].1 = Severity::Problem;
    expected[1].1 = Severity::Warning;
    expected[2].1 = Severity::Warning;
    assert_eq!(levels(&bad, 60), expected);
}

/// A part of the time-out is for the start and the result, so a little more than WATCH_SECONDS is too short.
#[test]
fn fix_for_the_time_out_is_what_the_templates_set() {
    let of = |seconds: u64| {
        let time = Duration::from_secs(seconds) - crate::service::RESERVE;
        let findings = check_settings(&config(), Some(time));
        findings.into_iter().find(|finding| finding.check == "timeout").unwrap()
    };
    let fix = of(180).fix.unwrap();
    assert!(fix.starts_with("raise the function's time-out to WATCH_SECONDS plus 60 s"), "{fix}");
    assert_eq!(of(240).level, Severity::Ok);
}

#[test]
fn command_line_does_not_judge_the_functions_settings() {
    let findings = check_settings(&config(), None);
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check.as_ref()).collect();
    assert_eq!(checks, ["settings", "write_access", "delivery"], "the local settings are not the function's");
    let mut bad = Config { dry_run: true, ..config() };
    bad.timing.confirm = Duration::from_secs(5);
    let findings = check_settings(&bad, None);
    assert_eq!(
        (findings[0].level, findings[0].observed.as_str()),
        (Severity::Warning, "DRY_RUN is true here")
    );
    assert!(findings[0].fix.as_deref().unwrap().starts_with("unset it here"));
    // What the function does is not known here.
    let mut facts = healthy_facts();
    set_targets(&mut facts, &[]);
    let of_binding = BindingFindings::new(ENDPOINT, GROUP, super::findings(&binding(), &facts));
    let report = DoctorReport::new(findings.clone(), vec![of_binding], &[]);
    let targets = report.findings().find(|it| it.check == "targets").unwrap();
    assert_eq!((targets.level, targets.cause.as_deref()), (Severity::Problem, None));
    assert_eq!((findings[1].level, findings[1].check.as_ref()), (Severity::Warning, "confirmation"));
    let observed = "an address is deregistered after 5 s of the same DNS answer, by the CONFIRM_SECONDS of this computer";
    assert_eq!(findings[1].observed, observed);
}
