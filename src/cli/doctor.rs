//! The command `doctor`: it runs the doctor here or in the deployed function, or prints a saved answer.

use std::io::{Read as _, Write as _};
use std::path::{self, PathBuf};
use std::process::{self, Stdio};
use std::time::SystemTime;

use clap::Args;
use serde_json::Value;

use super::common::{Common, FAILED, IN_SYNC, bindings};
#[cfg(feature = "network")]
use super::network::NetworkApis;
use super::path::{ClientPath, HostAndPort, parse_host_and_port};
use crate::arn;
use crate::doctor::DoctorReport;
use crate::fleet::Fleet;
use crate::service::{Answer, Program, Service, Trigger};
use crate::startup::{App, BoxError};

const COMMAND: &str = r#"{"command": "doctor"}"#;
/// The AWS CLI reads the payload from a file and writes the answer to a file: these are its own standard input and
/// output. Its versions 1 and 2 read a payload of `fileb://` in the same way.
const PAYLOAD: &str = "fileb:///dev/stdin";
const ANSWER: &str = "/dev/stdout";
/// How the AWS CLI says that the function took longer than `--cli-read-timeout`.
const READ_TIMEOUT: &str = "Read timeout on endpoint URL";

#[derive(Debug, Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    common: Common,
    /// Invokes the deployed function, by the AWS CLI, and shows its answer: its bindings, role and network
    #[arg(long, value_name = "NAME", conflicts_with_all = ["endpoint", "answer"])]
    function: Option<String>,
    /// Shows an answer of the function that is in a file, or on standard input for `-`
    #[arg(long, value_name = "FILE", conflicts_with = "endpoint")]
    answer: Option<PathBuf>,
    /// Connects to the load balancer as a client does, from here, and shakes hands without a login; with a
    /// value, to that name and port instead, for one binding
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, value_parser = parse_host_and_port)]
    #[arg(conflicts_with_all = ["function", "answer"])]
    through: Option<Option<HostAndPort>>,
    /// Checks whether this principal may connect to the endpoint service. A path by VPC Lattice that is shared with
    /// nobody gets the command that shares it with this account
    #[cfg(feature = "network")]
    #[arg(long, value_name = "ARN", value_parser = principal, conflicts_with_all = ["function", "answer"])]
    principal: Option<String>,
}

impl DoctorArguments {
    pub async fn run(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        now: SystemTime,
    ) -> Result<u8, BoxError> {
        match (&self.function, &self.answer) {
            (Some(function), _) => self.print(parse(&self.invoke(function, variable("AWS_REGION"))?)?),
            (None, Some(file)) => self.print(parse(&read(file)?)?),
            (None, None) => self.here(variable, now).await,
        }
    }

    /// Examines from here, and the path as well.
    async fn here(&self, variable: impl Fn(&str) -> Option<String>, now: SystemTime) -> Result<u8, BoxError> {
        let app = self.common.start(variable).await?;
        let App { config, clients, .. } = &app;
        if matches!(self.through, Some(Some(_))) && (config.discovery.is_some() || config.bindings.len() > 1)
        {
            let fix = "give --endpoint and --target-group, or --through without a value";
            return Err(format!("--through HOST:PORT is for one binding. Fix: {fix}").into());
        }
        let spinner = self.common.spinner(format!("examining {}", bindings(config)));
        let fleet = Fleet::new(config);
        let service = Service::new(config, clients, &fleet, Program::CommandLine);
        let path = ClientPath {
            through: self.through.clone(),
            #[cfg(feature = "network")]
            network: NetworkApis::new(&app.sdk, now, self.principal.clone()),
        };
        let report = service.examine(&path, now, self.common.time()).await;
        spinner.finish_and_clear();
        self.print(report)
    }

    /// Invokes the function, and returns its answer or its error. The AWS CLI makes the call, because the Lambda SDK
    /// would double the code that a build of the command line compiles.
    fn invoke(&self, function: &str, region: Option<String>) -> Result<String, BoxError> {
        let spinner = self.common.spinner(format!("invoking {function}"));
        let timeout = self.common.time().as_secs().to_string();
        let mut command = process::Command::new("aws");
        command.args(["lambda", "invoke", "--function-name", function, "--cli-read-timeout", &timeout]);
        // Version 1 of the AWS CLI does not read AWS_REGION. An ARN names the function's own Region.
        let of_arn = arn::region(function).map(str::to_owned);
        if let Some(region) = of_arn.or(region).filter(|region| !region.is_empty()) {
            command.args(["--region", &region]);
        }
        command.args(["--payload", PAYLOAD, ANSWER]);
        // After its time-out the AWS CLI would invoke the function again, while the first invocation goes on.
        command.env("AWS_MAX_ATTEMPTS", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let not_started =
            |error| format!("could not run the AWS CLI: {error}. Fix: install it, or use --answer");
        let mut running = command.spawn().map_err(not_started)?;
        if let Some(mut stdin) = running.stdin.take() {
            stdin.write_all(COMMAND.as_bytes())?;
        }
        let output = running.wait_with_output()?;
        spinner.finish_and_clear();
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            let reason = reason.trim();
            let fix = if reason.contains(READ_TIMEOUT) { ". Fix: raise --timeout" } else { "" };
            return Err(format!("could not invoke {function}: {reason}{fix}").into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn print(&self, doctor_report: DoctorReport) -> Result<u8, BoxError> {
        let code = if doctor_report.counts.problems > 0 { FAILED } else { IN_SYNC };
        let report = doctor_report.clone();
        let answer = Answer::DoctorReport { trigger: Trigger::Doctor, doctor_report };
        self.common.print(&answer, |text| text.doctor_report(&report, self.common.verbose > 0))?;
        Ok(code)
    }
}

/// A principal as an endpoint service lists it: an ARN, or `*`.
#[cfg(feature = "network")]
fn principal(text: &str) -> Result<String, String> {
    if text == "*" || arn::account(text).is_some() {
        return Ok(text.to_owned());
    }
    Err(format!("{text} is not an ARN. Fix: give one such as arn:aws:iam::123456789012:root"))
}

fn read(file: &path::Path) -> Result<String, BoxError> {
    if file != path::Path::new("-") {
        return std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()).into());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Reads the function's answer. The AWS CLI prints a summary of its own after it.
fn parse(text: &str) -> Result<DoctorReport, BoxError> {
    let answer = serde_json::Deserializer::from_str(text).into_iter::<Value>().next();
    let answer = answer.ok_or("the answer is empty")?.map_err(|error| format!("not an answer: {error}"))?;
    if let Some(message) = answer.get("errorMessage").and_then(Value::as_str) {
        return Err(format!("the function failed: {message}").into());
    }
    serde_json::from_value(answer).map_err(|error| format!("not an answer of the doctor: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_read_before_the_summary_of_the_aws_cli() {
        let report = DoctorReport::new(Vec::new(), Vec::new(), &[]);
        let answer = Answer::DoctorReport { trigger: Trigger::Doctor, doctor_report: report.clone() };
        let text = serde_json::to_string(&answer).unwrap() + "\n{\"StatusCode\": 200}\n";
        assert_eq!(parse(&text).unwrap(), report);
    }

    #[test]
    fn other_answers_are_errors() {
        for (text, expected) in [
            ("", "empty"),
            ("{", "not an answer"),
            (r#"{"errorMessage": "DNS failed"}"#, "the function failed: DNS failed"),
            (r#"{"trigger": "check", "bindings": []}"#, "not an answer of the doctor"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(expected), "{text}");
        }
    }
}
