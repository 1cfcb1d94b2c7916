//! What the commands share: arguments, exit codes, and how a result is printed.

use std::io::Write as _;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use super::render::{self, TextReport};
use crate::config::{BINDINGS, BINDINGS_EXAMPLE, Config, ConfigErrors, DISCOVERY_TAG};
use crate::logging;
use crate::startup::{self, App, BoxError};

/// The groups are in sync, or were brought into sync, or the doctor found no problem.
pub(super) const IN_SYNC: u8 = 0;
/// A binding failed, or the doctor found a problem, or the arguments are invalid.
pub(super) const FAILED: u8 = 1;
/// A plan would change a group, or a change waits.
pub(super) const OUT_OF_SYNC: u8 = 2;

const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Common {
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
    pub(super) output: Output,
    /// Seconds that a check, a plan or the doctor may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds())]
    timeout: u64,
    /// Logs every decision to standard error; -vv logs more
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Table,
    /// For programs; what the Lambda function returns
    Json,
}

pub(super) fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=3600)
}

/// A text such as `3 bindings`. The number of bindings by tag is not known before the tags are read.
pub(super) fn bindings(config: &Config) -> String {
    if config.discovery.is_some() {
        return "the tagged target groups".to_owned();
    }
    render::count(config.bindings.len(), "binding")
}

impl Common {
    /// Parses the environment, in which the binding of the arguments replaces `BINDINGS`, and builds the clients.
    pub(super) async fn start(&self, variable: impl Fn(&str) -> Option<String>) -> Result<App, BoxError> {
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
        logging::init_text(level, AutoStream::choice(&std::io::stderr()) != ColorChoice::Never);
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

    pub(super) fn time(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// Shows the progress on a terminal. With -v the log shows it instead.
    pub(super) fn spinner(&self, doing: String) -> ProgressBar {
        if self.verbose > 0 {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(doing);
        spinner.enable_steady_tick(TICK);
        spinner
    }

    pub(super) fn print(
        &self,
        result: &impl Serialize,
        write: impl FnOnce(&mut TextReport),
    ) -> Result<(), BoxError> {
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
pub(super) fn in_arguments(errors: &ConfigErrors, are_given: bool) -> String {
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
pub(super) fn print(text: &str) -> Result<(), BoxError> {
    let mut stdout = anstream::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
