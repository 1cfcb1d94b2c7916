//! Every command that the doctor offers, through the real AWS CLI, versions 1 and 2, up to the call: it checks the options,
//! their types, the required ones and the query, and sends nothing. `tests/install` installs both, version 2 on Debian. A
//! missing version is skipped, version 1 except in CI.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::faults::commands;

/// Reads commands, one a line, and prints those that the AWS CLI would not send. Of a version that is too old for a command, as
/// the list in the first argument says, it prints what it would send after all.
const PARSE: &str = r#"
import contextlib, io, json, os, shlex, sys
os.environ.update(AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/dev/null", AWS_PAGER="",
                  AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none")
import awscli
from awscli.clidriver import create_clidriver
number = lambda text: tuple(map(int, text.split(".")))
version = number(awscli.__version__)
with open(sys.argv[1]) as file:
    later = [words for words, entry in json.load(file).items() if version[0] == 2 and version < number(entry["since"])]
driver = create_clidriver()
sent = []
def stop(request, **_):
    sent.append(request.url)
    raise RuntimeError("the command is valid")
driver.session.register("before-send", stop)
for line in sys.stdin:
    for command in line.strip().replace(" xargs -r ", " xargs ").replace(" xargs -I CIDR ", " xargs -n 1 ").split(" | xargs -n 1 "):
        words = shlex.split(command)
        # What `xargs` would add.
        words += {"--cidr": ["10.0.1.0/24"], "--db-proxy-name": ["orders"], "--resource-share-invitation-arn": ["arn:aws:ram"]}.get(words[-1], [])
        sent.clear()
        err = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            try:
                driver.main(words[1:])
            except SystemExit:
                pass
        is_known = not any(f" {of_later} " in f"{command} " for of_later in later)
        if bool(sent) != is_known or words[0] != "aws":
            print(command, err.getvalue().strip().splitlines()[-1:])
"#;

const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/awscli/bin/python");
/// Debian's package of version 2 runs under Debian's Python.
const VERSION_2: &str = "/usr/bin/python3";
const LATER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docs/awscli-later.json");

fn has_version(python: &str, number: &str) -> bool {
    let asked = Command::new(python).args(["-c", "import awscli; print(awscli.__version__)"]).output();
    asked.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).starts_with(number))
}

/// What the AWS CLI of this Python would not send.
fn refused(python: &str, commands: &[String]) -> String {
    let mut parser = Command::new(python)
        .args(["-c", PARSE, LATER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = parser.stdin.take().expect("piped");
    stdin.write_all(commands.join("\n").as_bytes()).expect("it reads");
    drop(stdin);
    let output = parser.wait_with_output().expect("it ends");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn all_commands() -> impl Iterator<Item = String> {
    #[cfg(feature = "cli")]
    let of_network = super::network::commands().into_iter().chain(super::lattice::commands());
    #[cfg(not(feature = "cli"))]
    let of_network = std::iter::empty();
    commands().into_iter().chain(of_network)
}

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
    check_commands(&aws);
}

/// Asserts that the AWS CLI would send each of these commands.
#[allow(clippy::disallowed_methods, reason = "CI must not skip it")]
pub fn check_commands(commands: &[String]) {
    for (python, number) in [(VERSION_1, "1."), (VERSION_2, "2.")] {
        if has_version(python, number) {
            assert_eq!(refused(python, commands), "", "version {number}");
            continue;
        }
        if number == "1." {
            let ci = std::env::var("CI");
            assert_ne!(ci.as_deref(), Ok("true"), "the AWS CLI is not installed; run tests/install");
        }
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: the doctor's commands in version {number} of the AWS CLI; run tests/install"
        );
    }
}
