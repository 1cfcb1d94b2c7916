//! Every command that the doctor offers, through the real AWS CLI up to the call: it checks the options, their
//! types, the required ones and the query, and sends nothing. `tests/install` installs it; without it this test is skipped,
//! except in CI.
//!
//! This is version 1. Of the commands that a fix offers none needs version 2.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::faults::commands;

/// Reads commands, one a line, and prints those that the AWS CLI would not send.
const PARSE: &str = r#"
import contextlib, io, os, shlex, sys
os.environ.update(AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/dev/null", AWS_PAGER="",
                  AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none")
from awscli.clidriver import create_clidriver
driver = create_clidriver()
sent = []
def stop(request, **_):
    sent.append(request.url)
    raise RuntimeError("the command is valid")
driver.session.register("before-send", stop)
for line in sys.stdin:
    for command in line.strip().split(" | xargs -n 1 "):
        words = shlex.split(command)
        # What `xargs` would add.
        words += {"--cidr": ["10.0.1.0/24"], "--resource-share-invitation-arn": ["arn:aws:ram"]}.get(words[-1], [])
        sent.clear()
        err = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            try:
                driver.main(words[1:])
            except SystemExit:
                pass
        if not sent or words[0] != "aws":
            print(command, err.getvalue().strip().splitlines()[-1:])
"#;

fn all_commands() -> impl Iterator<Item = String> {
    #[cfg(feature = "cli")]
    let of_network = super::network::commands().into_iter().chain(super::lattice::commands());
    #[cfg(not(feature = "cli"))]
    let of_network = std::iter::empty();
    commands().into_iter().chain(of_network)
}

#[allow(clippy::disallowed_methods, reason = "CI must not skip it")]
#[test]
fn every_aws_command_parses_in_the_aws_cli() {
    let (aws, others): (Vec<String>, Vec<String>) =
        all_commands().partition(|command| command.starts_with("aws "));
    assert!(aws.len() >= 25, "{aws:#?}");
    for command in others {
        assert!(command.starts_with("AWS_REGION=us-east-1 rds-nlb-sync check --endpoint "), "{command}");
    }
    for command in &aws {
        assert!(command.contains(" --region us-east-1"), "no Region: {command}");
        assert!(!command.contains("SUBNET") && !command.contains(" ARN"), "a placeholder: {command}");
    }
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/awscli/bin/python");
    if !python.is_file() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "the AWS CLI is not installed; run tests/install"
        );
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: the doctor's commands, without the AWS CLI; run tests/install"
        );
        return;
    }
    let mut parser = Command::new(python)
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = parser.stdin.take().expect("piped");
    stdin.write_all(aws.join("\n").as_bytes()).expect("it reads");
    drop(stdin);
    let output = parser.wait_with_output().expect("it ends");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}
