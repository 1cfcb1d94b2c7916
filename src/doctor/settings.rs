//! What all bindings share: the settings, and what cannot be told from inside.

use std::time::Duration;

use super::Finding;
use crate::config::Config;
use crate::service::RESERVE;

/// RDS's zones have a TTL of 5 s: a confirmation that is shorter can rest on one cached answer.
const DNS_TTL: Duration = Duration::from_secs(5);

/// Judges the settings. `time` is what an invocation of the function has, and `None` where no Lambda
/// function is at work but somebody at a command line.
pub fn check_settings(config: &Config, time: Option<Duration>) -> Vec<Finding> {
    let mut findings = vec![check_dry_run(config), check_confirmation(config)];
    if let Some(time) = time {
        findings.push(check_timeout(config, time));
        findings.push(check_delivery());
    }
    findings.push(check_write_access());
    findings
}

fn check_dry_run(config: &Config) -> Finding {
    if config.dry_run {
        return Finding::problem(
            "dry_run",
            "DRY_RUN is true",
            "changes are reported and never made: a failover cuts the clients off",
            "set DRY_RUN to false (the template's parameter DryRun)",
        );
    }
    Finding::ok("dry_run", "changes are made, not only reported")
}

fn check_confirmation(config: &Config) -> Finding {
    let confirm = config.timing.confirm;
    let observed = format!("an address is removed after DNS has been steady for {} s", confirm.as_secs());
    if confirm <= DNS_TTL {
        return Finding::warning(
            "confirmation",
            observed,
            "RDS's answers may be cached for 5 s, and DNS goes back and forth after a failover: an address \
             may be removed on one stale answer",
            "set CONFIRM_SECONDS to 6 or more (the template's parameter ConfirmSeconds)",
        );
    }
    Finding::ok("confirmation", observed)
}

fn check_timeout(config: &Config, time: Duration) -> Finding {
    let watch = config.timing.watch;
    let observed = format!(
        "the function's time-out leaves {} s, and a failover is watched for {} s",
        time.as_secs(),
        watch.as_secs()
    );
    if time < watch + RESERVE {
        return Finding::warning(
            "timeout",
            observed,
            "the watch of a failover ends early; what is left is for the next check to do",
            "raise the function's time-out above WATCH_SECONDS, or lower WATCH_SECONDS",
        );
    }
    Finding::ok("timeout", observed)
}

/// The queues and the schedule are known to their own APIs alone, which the function never calls.
fn check_delivery() -> Finding {
    Finding::warning(
        "delivery",
        "not looked at: the function may not read queues, rules and metrics",
        "events that never arrive, or a schedule that is off, leave a change unseen until somebody looks",
        "look at the alarms SilenceAlarm (no check has been completed of late) and DeadLettersAlarm (events \
         lie in a queue) of the function's stack; both must be OK",
    )
}

/// The load balancing API has no dry run: whether a call is allowed shows when it is made.
fn check_write_access() -> Finding {
    Finding::warning(
        "write_access",
        "not tried: there is no way to ask that changes nothing",
        "without elasticloadbalancing:RegisterTargets and elasticloadbalancing:DeregisterTargets on every \
         bound group, nothing follows a failover",
        "simulate it: `aws iam simulate-principal-policy --policy-source-arn ROLE_ARN --action-names \
         elasticloadbalancing:RegisterTargets elasticloadbalancing:DeregisterTargets --resource-arns \
         TARGET_GROUP_ARN`",
    )
}
