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
        discovery_endpoints: AllowedEndpoints::default(),
        timing,
        nameservers: None,
        preregister: true,
        verify: Duration::from_secs(900),
        elb_calls: 5,
        dry_run: false,
    }
}

fn levels(config: &Config, seconds: u64) -> Vec<(&'static str, Severity)> {
    let findings = check_settings(config, Some(Duration::from_secs(seconds)));
    findings.into_iter().map(|finding| (finding.check, finding.level)).collect()
}

#[test]
fn the_settings_are_judged_and_what_cannot_be_told_is_said() {
    let mut expected = vec![
        ("dry_run", Severity::Ok),
        ("confirmation", Severity::Ok),
        ("timeout", Severity::Ok),
        ("delivery", Severity::Warning),
        ("write_access", Severity::Warning),
    ];
    assert_eq!(levels(&config(), 240), expected);

    let mut bad = Config { dry_run: true, ..config() };
    bad.timing.confirm = Duration::from_secs(5);
    expected[0].1 = Severity::Problem;
    expected[1].1 = Severity::Warning;
    expected[2].1 = Severity::Warning;
    assert_eq!(levels(&bad, 60), expected);
}

#[test]
fn at_a_command_line_there_is_no_function_to_judge() {
    let findings = check_settings(&config(), None);
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["dry_run", "confirmation", "write_access"]);
}
