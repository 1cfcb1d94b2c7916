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

use crate::aws::tls;
use crate::config::Config;
use crate::dns::DnsClient;
use crate::elb::Elb;
use crate::rate_limit::ApiRateLimiter;
use crate::rds::Rds;
use crate::reconcile::Clients;

/// Why a binary does not start, or ends.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The configuration, and everything outside that it reaches.
pub struct App {
    /// The environment, parsed.
    pub config: Config,
    /// Name servers and AWS APIs.
    pub clients: Clients<DnsClient, Elb, Rds>,
}

/// One attempt of an API call.
const ATTEMPT: Duration = Duration::from_secs(3);
/// An API call with all its retries: three attempts, and the backoff between them.
const CALL: Duration = Duration::from_secs(12);

/// Reads the environment through `variable`, and builds the clients.
pub async fn start(variable: impl Fn(&str) -> Option<String>) -> Result<App, BoxError> {
    let config = Config::parse(&variable)?;
    let dns = DnsClient::new(config.nameservers.as_deref()).map_err(|error| error.explain())?;
    let sdk = sdk(&variable, tls::connections(&variable)?).await;
    if sdk.region().is_none() {
        return Err("no region is set; set AWS_REGION".into());
    }
    let groups =
        Elb::new(aws_sdk_elasticloadbalancingv2::Client::new(&sdk), ApiRateLimiter::new(config.elb_calls));
    let rds = Rds::new(aws_sdk_rds::Client::new(&sdk));
    Ok(App { config, clients: Clients { dns, groups, rds } })
}

/// The SDK's own variables decide on region, credentials, endpoints and retries; the time-outs are ours.
///
/// Lambda sets region and credentials. Where they are set, the providers behind them, such as instance
/// metadata and SSO, are not built: the SDK would not ask them either.
async fn sdk(variable: impl Fn(&str) -> Option<String>, connections: SharedHttpClient) -> SdkConfig {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(tls::CONNECT)
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
