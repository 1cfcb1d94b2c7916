//! The configuration that all clients of AWS APIs share.

use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::tls;

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time limit of an API call with all its retries: three attempts, and the backoff between them.
const CALL_TIMEOUT: Duration = Duration::from_secs(12);

/// Builds the SDK's configuration. The SDK's own variables decide on Region, credentials, endpoints and retries; the
/// time-outs are set here.
///
/// Lambda sets Region and credentials. If they are set, the SDK's other providers, such as instance metadata and SSO,
/// are not built.
pub async fn sdk(variable: impl Fn(&str) -> Option<String>, connections: SharedHttpClient) -> SdkConfig {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(tls::CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .http_client(connections)
        // A stalled answer ends with its attempt, after 3 s. The SDK's own protection would end it after 5 s.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if variable("AWS_MAX_ATTEMPTS").or_else(|| variable("AWS_RETRY_MODE")).is_some() {
        // The SDK itself panics at an empty variable, which counts as unset here. `Config` refuses a wrong one.
        let is_adaptive =
            set("AWS_RETRY_MODE").is_some_and(|mode| mode.trim().eq_ignore_ascii_case("adaptive"));
        let attempts = set("AWS_MAX_ATTEMPTS").and_then(|attempts| attempts.trim().parse().ok());
        let retries = if is_adaptive { RetryConfig::adaptive() } else { RetryConfig::standard() };
        loader = loader.retry_config(match attempts {
            Some(attempts) => retries.with_max_attempts(attempts),
            None => retries,
        });
    }
    if let Some(region) = set("AWS_REGION") {
        loader = loader.region(Region::new(region));
    }
    if set("AWS_ACCESS_KEY_ID").and(set("AWS_SECRET_ACCESS_KEY")).is_some() {
        loader = loader.credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    loader.load().await
}

/// The Region in the variables or in the profile. Unlike [`sdk`], it does not ask the instance metadata, which can take
/// seconds.
pub async fn configured_region(variable: impl Fn(&str) -> Option<String>) -> Option<Region> {
    let set = variable("AWS_REGION").filter(|region| !region.trim().is_empty()).map(Region::new);
    let chain = RegionProviderChain::first_try(set).or_else(EnvironmentVariableRegionProvider::new());
    chain.or_else(ProfileFileRegionProvider::new()).region().await
}
