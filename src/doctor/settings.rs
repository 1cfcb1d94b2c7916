//! The settings, which all bindings share.

use std::time::Duration;

use super::finding::{Finding, Severity};
use crate::config::Config;

/// The TTL of RDS's DNS zones. A shorter confirmation can rest on one cached answer.
const DNS_TTL: Duration = Duration::from_secs(5);

/// Checks the settings. `time` is the time that an invocation of the function has for its work, and `None` at
/// the command line.
pub fn check_settings(config: &Config, time: Option<Duration>) -> Vec<Finding> {
    let mut confirmation = check_confirmation(config);
    let mut findings = Vec::new();
    if let Some(time) = time {
        findings.extend([check_dry_run(config), confirmation, check_timeout(config, time)]);
    } else {
        // Here the settings are those of this computer: a setting that is ok says nothing about the function.
        findings.extend(config.dry_run.then(local_dry_run));
        confirmation.observed += ", by the CONFIRM_SECONDS of this computer";
        findings.extend([confirmation].into_iter().filter(|finding| finding.level > Severity::Ok));
        findings.push(not_of_the_function());
    }
    // These two concern the deployed function, also if the doctor runs at the command line.
    findings.extend([check_write_access(), check_delivery()]);
    findings
}

fn not_of_the_function() -> Finding {
    let observed = "the deployed function's settings, such as DRY_RUN and CONFIRM_SECONDS, and its time-out";
    let fix = "run the doctor with --function and the function's name";
    Finding::not_examined("settings", observed, fix)
}

/// The function has a setting of its own.
fn local_dry_run() -> Finding {
    let observed = "DRY_RUN is true here";
    let impact = "a command that runs here reports changes and makes none";
    let fix = "unset it here, if that is not meant";
    Finding::warning("dry_run", observed, impact, fix)
}

fn check_dry_run(config: &Config) -> Finding {
    if config.dry_run {
        let observed = "DRY_RUN is true";
        let impact = "changes are reported and never made, so a failover cuts the clients off";
        let fix = "set DRY_RUN to false (the template's parameter DryRun; in Terraform, settings.dry_run)";
        return Finding::problem("dry_run", observed, impact, fix);
    }
    Finding::ok("dry_run", "changes are made, not only reported")
}

fn check_confirmation(config: &Config) -> Finding {
    let confirm = config.timing.confirm;
    let observed = format!("an address is deregistered after {} s of the same DNS answer", confirm.as_secs());
    if confirm <= DNS_TTL {
        let impact =
            "RDS's answers may be cached for 5 s, so one stale answer can remove an address after a failover";
        let fix = "set CONFIRM_SECONDS to 6 or more (the template's parameter ConfirmSeconds; in Terraform, settings.confirm_seconds)";
        return Finding::warning("confirmation", observed, impact, fix);
    }
    Finding::ok("confirmation", observed)
}

fn check_timeout(config: &Config, time: Duration) -> Finding {
    let watch = config.timing.watch;
    let observed = format!("an invocation has {} s, and a watch takes {} s", time.as_secs(), watch.as_secs());
    if time < watch {
        let impact = "the watch of a failover ends early, and the next check has to finish its work";
        let fix = "raise the function's time-out to WATCH_SECONDS plus 60 s, as the templates do, or lower WATCH_SECONDS";
        return Finding::warning("timeout", observed, impact, fix);
    }
    Finding::ok("timeout", observed)
}

/// The function has no permission to read its own queues, schedule and metrics.
fn check_delivery() -> Finding {
    let observed = "whether events and the schedule reach the function";
    let fix = "check that the alarms SilenceAlarm (no check has succeeded lately) and DeadLettersAlarm (events lie in \
         a queue) of the function's stack are OK";
    Finding::not_examined("delivery", observed, fix)
}

/// The ELB API has no dry run: only a real call shows whether it is allowed.
fn check_write_access() -> Finding {
    let observed = "whether the role may register and deregister targets";
    let fix = "simulate the role in the IAM console for elasticloadbalancing:RegisterTargets and \
         elasticloadbalancing:DeregisterTargets on every bound group";
    Finding::not_examined("write_access", observed, fix)
}
