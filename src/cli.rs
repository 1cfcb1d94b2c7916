//! The command line, behind the feature `cli`: the function's service, for people and scripts.
//!
//! It takes one binding from its arguments, or all bindings from the environment, and shares everything else with the
//! function. This module makes no decision about a target group.

mod common;
mod doctor;
mod handover;
#[cfg(feature = "network")]
mod network;
mod path;
mod probe;
mod render;
mod shutdown;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::event::{self, Event};
use crate::fleet::Fleet;
use crate::reconcile::Status;
use crate::service::{Answer, InvocationError, InvocationResult, Program, Service};
use crate::startup::{App, BoxError};
use common::{Common, FAILED, IN_SYNC, OUT_OF_SYNC, bindings, print, seconds};

/// Lines of 80 columns at most: clap breaks a longer line and does not indent the rest.
const EXAMPLES: &str = "\
Examples:
  What would change, for one database:
    rds-nlb-sync plan --target-group \"$TARGET_GROUP_ARN\" \\
      --endpoint orders.cluster-abc123.eu-west-1.rds.amazonaws.com

  Why are the clients cut off? With the bindings of the environment:
    export BINDINGS='[{\"endpoint\": \"orders…\", \"target_group\": \"arn:aws:…\"}]'
    rds-nlb-sync doctor

  The same, by the deployed function, with its role and network:
    rds-nlb-sync doctor --function rds-nlb-sync

  And what does a client see? On a host of the load balancer's VPC:
    rds-nlb-sync doctor --through

  In a script, with the exit code or with jq:
    rds-nlb-sync plan --output json | jq '.bindings[] | .status'

  As a service, instead of the Lambda function:
    rds-nlb-sync watch --interval 10

Exit codes:
  0  in sync, or brought into sync; the doctor found no problem
  1  failed, or the doctor found a problem, or handover found no path
  2  would change, or waits for something

Environment, as the Lambda function's:
  BINDINGS              the bindings, as a JSON array
  DISCOVERY_TAG         the key of the tag whose value is a group's endpoint
  DISCOVERY_ENDPOINTS   the endpoints that a tag may bind (RDS's own)
  WATCH_SECONDS         how long a failover is watched (180)
  POLL_MILLIS           the pause between two lookups (500)
  CONFIRM_SECONDS       how long DNS must give the same answer (6)
  NAMESERVERS           the name servers, instead of the system's
  PREREGISTER           register the next writer before DNS names it (true)
  VERIFY_SECONDS        within this time every group is listed (900)
  ELB_CALLS_PER_SECOND  routine calls of the load balancing API (5)
  DRY_RUN               report changes instead of making them (false)
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY, AWS_REGION, AWS_PROFILE and the AWS SDKs'
  others; NO_COLOR";

/// Keeps NLB target groups in sync with the address of an RDS or Aurora writer.
#[derive(Debug, Parser)]
#[command(name = "rds-nlb-sync", version, after_help = "See --help for examples.", after_long_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings the target groups into sync, once
    Check(Common),
    /// Shows what a check would change, and changes nothing
    Plan(Common),
    /// Finds what cuts clients off, now or in the next failover, says how to fix it, and changes nothing
    Doctor(doctor::DoctorArguments),
    /// Prints what a vendor's form asks about the private connection, as text to send
    Handover(Common),
    /// Checks again and again, until SIGTERM or Ctrl-C ends it
    Watch {
        #[command(flatten)]
        common: Common,
        /// Seconds from the start of one check to the next. Up to 20 bindings cost two lookups and one ELB
        /// call each, and clusters one RDS call; more bindings cost fewer ELB calls
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds())]
        interval: u64,
    },
    /// Prints a script that completes commands and arguments
    Completions {
        /// The shell to complete in
        shell: Shell,
    },
}

/// Runs the command that the process was started with. The environment is read through `variable`, and
/// the wall clock through `now`.
pub async fn run(variable: impl Fn(&str) -> Option<String>, now: fn() -> SystemTime) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // Clap's own code for a usage error is 2, which here has another meaning.
            return ExitCode::from(if error.use_stderr() { FAILED } else { IN_SYNC });
        }
    };
    let done = match arguments.command {
        Command::Completions { shell } => complete(shell),
        Command::Check(common) => once(&common, variable, now(), event::Action::Check).await,
        Command::Plan(common) => once(&common, variable, now(), event::Action::Plan).await,
        Command::Doctor(arguments) => arguments.run(variable, now()).await,
        Command::Handover(common) => handover::run(&common, variable).await,
        Command::Watch { common, interval } => watch(&common, variable, interval, now).await,
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        let _ = writeln!(anstream::stderr(), "error: {error}");
        FAILED
    }))
}

fn complete(shell: Shell) -> Result<u8, BoxError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "rds-nlb-sync", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(IN_SYNC)
}

async fn once(
    common: &Common,
    variable: impl Fn(&str) -> Option<String>,
    now: SystemTime,
    action: event::Action,
) -> Result<u8, BoxError> {
    let App { config, clients, .. } = common.start(variable).await?;
    let doing = if action == event::Action::Plan { "comparing" } else { "checking" };
    let spinner = common.spinner(format!("{doing} {}", bindings(&config)));
    let fleet = Fleet::new(&config);
    let service = Service::new(&config, &clients, &fleet, Program::CommandLine);
    let command = event::Command::new(action);
    let result = service.invoke(&Event::Command(command), now, common.time()).await;
    spinner.finish_and_clear();
    let result = match result {
        Ok(Answer::InvocationResult(result)) | Err(InvocationError::Bindings(result)) => result,
        Ok(Answer::DoctorReport { .. }) => return Err("the doctor has a command of its own".into()),
        Err(error) => return Err(error.to_string().into()),
    };
    common.print(&result, |text| text.invocation_result(&result))?;
    Ok(code(&result))
}

fn code(result: &InvocationResult) -> u8 {
    let any = |statuses: &[Status]| result.bindings.iter().any(|report| statuses.contains(&report.status));
    if any(&[Status::Failed]) {
        FAILED
    } else if any(&[Status::Pending, Status::Deferred, Status::Planned]) {
        OUT_OF_SYNC
    } else {
        IN_SYNC
    }
}

async fn watch(
    common: &Common,
    variable: impl Fn(&str) -> Option<String>,
    interval: u64,
    now: fn() -> SystemTime,
) -> Result<u8, BoxError> {
    let app = common.start(variable).await?;
    let spinner = common.spinner(format!("{}, every {interval} s; Ctrl-C ends it", bindings(&app.config)));
    let screen = watch::Screen { spinner, output: common.output, now };
    watch::watch(app, Duration::from_secs(interval), common.time(), &screen).await?;
    screen.spinner.finish_and_clear();
    Ok(IN_SYNC)
}

#[cfg(test)]
mod tests;
