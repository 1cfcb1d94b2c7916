//! What both binaries do first: parse the environment, build the clients, set up the log.
//!
//! All of it happens before the first poll of the Runtime API, the trust store included: Lambda gives the
//! init phase whole cores, and an invocation at 128 MB a fourteenth of one.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::budget::Budget;
use crate::config::Config;
use crate::dns::NameServers;
use crate::elb::LoadBalancing;
use crate::rds::Rds;
use crate::reconcile::World;

/// Why a binary does not start, or ends.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The configuration, and everything outside that it reaches.
pub struct Started {
    /// The environment, parsed.
    pub config: Config,
    /// Name servers and AWS APIs.
    pub world: World<NameServers, LoadBalancing, Rds>,
}

/// A connection to an API in the same region stands within milliseconds.
const CONNECT: Duration = Duration::from_secs(1);
/// One attempt of an API call.
const ATTEMPT: Duration = Duration::from_secs(3);
/// An API call with all its retries: three attempts, and the backoff between them.
const CALL: Duration = Duration::from_secs(12);

/// Reads the environment through `variable`, and builds the clients.
pub async fn start(variable: impl Fn(&str) -> Option<String>) -> Result<Started, Error> {
    let config = Config::parse(&variable)?;
    let dns = NameServers::new(config.nameservers.as_deref()).map_err(|fault| fault.explain())?;
    let sdk = sdk(&variable).await.into_builder().http_client(connections()).build();
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
async fn sdk(variable: impl Fn(&str) -> Option<String>) -> SdkConfig {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(CALL)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
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

/// The connections to the AWS APIs, kept over invocations and shared by the services.
///
/// The SDK's own client would parse the system's trusted certificates for every service at the start,
/// throw the result away, and parse them once more at the first call. Here that happens once. Which
/// certificates are trusted, and how, stays the SDK's and the system's matter. (On a thread of its own it
/// is no faster: that takes more processor time than it hides.)
fn connections() -> SharedHttpClient {
    // As the SDK builds its own, but for the time-out, which it would take from the configuration.
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).build();
    let connector = Connector::builder()
        .connector_settings(settings)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .proxy_config(ProxyConfig::from_env())
        .build();
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
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
