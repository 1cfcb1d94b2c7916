//! The command line, behind the feature `cli`: the function's service, for people and scripts.
//!
//! It takes one binding from its arguments, or all bindings from the environment, and shares everything else with the
//! function. This module makes no decision about a target group.

mod doctor;
mod handover;
#[cfg(feature = "network")]
mod network;
mod path;
mod probe;
mod render;
mod shutdown;
mod watch;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anstream::{AutoStream, ColorChoice};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{BINDINGS, BINDINGS_EXAMPLE, Config, ConfigErrors, DISCOVERY_TAG};
use crate::event::{self, Event};
use crate::fleet::Fleet;
use crate::logging;
use crate::reconcile::Status;
use crate::service::{Answer, InvocationError, InvocationResult, Program, Service};
use crate::startup::{self, App, BoxError};
use render::TextReport;

/// The groups are in sync, or were brought into sync, or the doctor found no problem.
const IN_SYNC: u8 = 0;
/// A binding failed, or the doctor found a problem, or the arguments are invalid.
const FAILED: u8 = 1;
/// A plan would change a group, or a change waits.
const OUT_OF_SYNC: u8 = 2;

const TICK: Duration = Duration::from_millis(100);

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
  1  failed, or the doctor found a problem
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
        /// Seconds from the start of one check to the next. Each costs two lookups and one call each of the
        /// ELB and the RDS API per binding
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds())]
        interval: u64,
    },
    /// Prints a script that completes commands and arguments
    Completions {
        /// The shell to complete in
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// The DNS name of the database [default: the bindings in BINDINGS]
    #[arg(long, value_name = "NAME", requires = "target_group")]
    endpoint: Option<String>,
    /// The ARN of the target group that holds the address
    #[arg(long, value_name = "ARN", requires = "endpoint")]
    target_group: Option<String>,
    /// The port of the targets [default: the group's]
    #[arg(long, requires = "endpoint", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The cluster or instance, or several with commas, where the endpoint's first label is not its name
    #[arg(long, value_name = "IDENTIFIER", requires = "endpoint", value_delimiter = ',')]
    database: Vec<String>,
    /// Which addresses the group holds: writer, readers or all [default: writer]
    #[arg(long, requires = "endpoint")]
    role: Option<String>,
    /// `keep`: a Multi-AZ instance's previous host stays in the group
    #[arg(long, requires = "endpoint")]
    standby: Option<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Seconds that a check, a plan or the doctor may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds())]
    timeout: u64,
    /// Logs every decision to standard error; -vv logs more
    #[arg(long, short, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// For programs; what the Lambda function returns
    Json,
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
        Command::Handover(common) => handover::run(&common, variable, now()).await,
        Command::Watch { common, interval } => watch(&common, variable, interval, now).await,
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        let _ = writeln!(anstream::stderr(), "error: {error}");
        FAILED
    }))
}

fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=3600)
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
    common.print(&result, |text| text.outcome(&result))?;
    Ok(code(&result))
}

/// A text such as `3 bindings`. The number of bindings by tag is not known before the tags are read.
fn bindings(config: &Config) -> String {
    if config.discovery.is_some() {
        return "the tagged target groups".to_owned();
    }
    render::count(config.bindings.len(), "binding")
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

impl Common {
    /// Parses the environment, in which the binding of the arguments replaces `BINDINGS`, and builds the clients.
    async fn start(&self, variable: impl Fn(&str) -> Option<String>) -> Result<App, BoxError> {
        self.log();
        let binding = self.binding();
        let app = startup::start(|name| match (name, &binding) {
            (BINDINGS, Some(binding)) => Some(binding.clone()),
            (DISCOVERY_TAG, Some(_)) => None,
            _ => variable(name),
        });
        app.await.map_err(|error| match error.downcast_ref() {
            Some(errors) => in_arguments(errors, binding.is_some()).into(),
            None => error,
        })
    }

    fn log(&self) {
        let level = match self.verbose {
            0 => LevelFilter::OFF,
            1 => LevelFilter::INFO,
            _ => LevelFilter::DEBUG,
        };
        logging::log_as_text(level, AutoStream::choice(&std::io::stderr()) != ColorChoice::Never);
    }

    /// The binding that the arguments name, as `BINDINGS` would hold it.
    fn binding(&self) -> Option<String> {
        let Self { endpoint, target_group, port, database, role, standby, output: _, timeout: _, verbose: _ } =
            self;
        let endpoint = endpoint.as_ref()?;
        let database = (!database.is_empty()).then_some(database);
        let binding = json!({
            "endpoint": endpoint, "target_group": target_group, "port": port, "database": database,
            "role": role, "standby": standby,
        });
        Some(json!([binding]).to_string())
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// Shows the progress on a terminal. With -v the log shows it instead.
    fn spinner(&self, doing: String) -> ProgressBar {
        if self.verbose > 0 {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(doing);
        spinner.enable_steady_tick(TICK);
        spinner
    }

    fn print(&self, result: &impl Serialize, write: impl FnOnce(&mut TextReport)) -> Result<(), BoxError> {
        match self.output {
            Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(result)?)),
            Output::Table => {
                let mut text = TextReport::for_stdout();
                write(&mut text);
                print(&text.finish())
            }
        }
    }
}

/// Describes the problems by the arguments instead of by `BINDINGS`, if the arguments gave the binding or no binding is
/// given.
fn in_arguments(errors: &ConfigErrors, are_given: bool) -> String {
    errors.describe(|problem| match &problem.field {
        Some(field) if are_given && problem.variable == BINDINGS => {
            format!("--{}: {}", field.replace('_', "-"), problem.message)
        }
        None if problem.is_missing => {
            format!("no binding is given. Fix: give --endpoint and --target-group, or set {BINDINGS} to {BINDINGS_EXAMPLE}, or set {DISCOVERY_TAG}")
        }
        _ => problem.to_string(),
    })
}

/// Prints to standard output, without colours if it is not a terminal. A closed pipe (`| head`) is no error.
fn print(text: &str) -> Result<(), BoxError> {
    let mut stdout = anstream::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
