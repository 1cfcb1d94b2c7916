//! What both binaries do first: parse the environment, build the clients, set up the log.
//!
//! All of it happens before the first poll of the Runtime API: Lambda gives the init phase whole cores, and an
//! invocation at 128 MB a fourteenth of one.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::budget::Budget;
use crate::config::Config;
use crate::dns::NameServers;
use crate::elb::LoadBalancing;
use crate::rds::Rds;
use crate::reconcile::World;
use crate::trust;

/// Why a binary does not start, or ends.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The configuration, and everything outside that it reaches.
pub struct Started {
    /// The environment, parsed.
    pub config: Config,
    /// Name servers and AWS APIs.
    pub world: World<NameServers, LoadBalancing, Rds>,
}

/// One attempt of an API call.
const ATTEMPT: Duration = Duration::from_secs(3);
/// An API call with all its retries: three attempts, and the backoff between them.
const CALL: Duration = Duration::from_secs(12);

/// Reads the environment through `variable`, and builds the clients.
pub async fn start(variable: impl Fn(&str) -> Option<String>) -> Result<Started, Error> {
    let config = Config::parse(&variable)?;
    let dns = NameServers::new(config.nameservers.as_deref()).map_err(|fault| fault.explain())?;
    let sdk = sdk(&variable, trust::connections(&variable)?).await;
    if sdk.region().is_none() {
        return Err("no region is set; set AWS_REGION".into());
    }
    let groups =
        LoadBalancing::new(aws_sdk_elasticloadbalancingv2::Client::new(&sdk), Budget::new(config.elb_calls));
    let clusters = Rds::new(aws_sdk_rds::Client::new(&sdk));
    Ok(Started { config, world: World { dns, groups, clusters } })
}

/// The SDK's own variables decide on region, credentials, endpoints and retries; the time-outs are ours.
///
/// Lambda sets region and credentials. Where they are set, the providers behind them, such as instance
/// metadata and SSO, are not built: the SDK would not ask them either.
async fn sdk(variable: impl Fn(&str) -> Option<String>, connections: SharedHttpClient) -> SdkConfig {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(trust::CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(CALL)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .http_client(connections)
        // An answer that stalls ends with its attempt, sooner than the five seconds of grace after which the
        // SDK's watch on throughput would end it.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = set("AWS_REGION") {
        loader = loader.region(Region::new(region));
    }
    if set("AWS_ACCESS_KEY_ID").and(set("AWS_SECRET_ACCESS_KEY")).is_some() {
        loader = loader.credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    loader.load().await
}

/// Logs as Lambda's advanced logging controls ask for: JSON unless `AWS_LAMBDA_LOG_FORMAT` says text,
/// from the level in `AWS_LAMBDA_LOG_LEVEL` up. Libraries speak from `WARN` up, or all at `TRACE`.
pub fn log(variable: impl Fn(&str) -> Option<String>) {
    let variable = |name| variable(name).unwrap_or_default().to_ascii_uppercase();
    let level = match variable("AWS_LAMBDA_LOG_LEVEL").as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    let subscriber = tracing_subscriber::registry().with(filter(level));
    if variable("AWS_LAMBDA_LOG_FORMAT") == "TEXT" {
        subscriber.with(lines.with_ansi(false)).init();
    } else {
        subscriber.with(lines.json().flatten_event(true).with_span_list(false)).init();
    }
    // A panic ends the process, which Lambda counts as an error; its reason belongs into the same log.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(decision = "panic", reason = %panic, "a defect of this program; please report it");
    }));
}

/// Logs as text to standard error, for somebody at a command line.
pub fn log_as_text(level: LevelFilter, colours: bool) {
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours);
    tracing_subscriber::registry().with(filter(level)).with(lines.with_writer(std::io::stderr)).init();
}

/// What of the log is written from this level up.
fn filter(level: LevelFilter) -> Targets {
    let libraries = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    Targets::new()
        .with_default(libraries)
        .with_target("rds_nlb_sync", level)
        .with_target("lambda_runtime::layers::trace", level)
}
