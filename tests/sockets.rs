//! The adapters, over loopback sockets, with what name servers and the AWS APIs send on a bad day.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::timeout::TimeoutConfig;
use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Credentials, Region};
use rds_nlb_sync::dns::DnsClient;
use rds_nlb_sync::elb::Elb;
use rds_nlb_sync::error::{Error, ErrorKind};
use rds_nlb_sync::plan::{Family, TargetState};
use rds_nlb_sync::rate_limit::{ApiRateLimiter, Call, Priority};
use rds_nlb_sync::rds::Rds;
use rds_nlb_sync::reconcile::{Attempts, Instance, RdsApi, Resolution, Resolve, TargetGroupApi};
use tokio::time::{Instant, timeout};

use testkit::ports::permit;
use testkit::{
    Action, ApiFault, ENDPOINT, FakeAws, GROUP, ONE, Record, THREE, TWO, addresses, undisturbed,
    undisturbed_within,
};

async fn resolve(aws: &FakeAws) -> Result<Resolution, Error> {
    let servers = [aws.serve_dns().await];
    DnsClient::new(Some(&servers)).unwrap().resolve(ENDPOINT, Family::V4).await
}

/// What each lookup came over.
fn transports(aws: &FakeAws) -> Vec<String> {
    let calls = aws.calls(Action::Lookup).into_iter();
    calls.filter_map(|call| call.detail.split(' ').nth(1).map(str::to_owned)).collect()
}

/// The settings of the SDK's clients: those of the function.
macro_rules! client {
    ($sdk:ident, $aws:expr) => {
        client!($sdk, $aws, ATTEMPT)
    };
    ($sdk:ident, $aws:expr, $attempt:expr) => {
        $sdk::Client::from_conf(
            $sdk::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests"))
                .endpoint_url(format!("http://{}", $aws.serve_aws().await))
                .timeout_config(TimeoutConfig::builder().operation_attempt_timeout($attempt).build())
                .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
                .build(),
        )
    };
}

const ATTEMPT: Duration = Duration::from_secs(3);

async fn groups(aws: &FakeAws) -> Elb {
    Elb::new(client!(aws_sdk_elasticloadbalancingv2, aws), ApiRateLimiter::unlimited())
}

/// The same for a call with this fault: with a shorter time-out where it is waited for.
async fn groups_with(aws: &FakeAws, fault: ApiFault) -> Elb {
    let attempt = if fault == ApiFault::Hangs { Duration::from_secs(1) } else { ATTEMPT };
    Elb::new(client!(aws_sdk_elasticloadbalancingv2, aws, attempt), ApiRateLimiter::unlimited())
}

fn targets(list: &[&str]) -> BTreeSet<SocketAddr> {
    list.iter().map(|target| target.parse().unwrap()).collect()
}

mod api_failures;
mod clusters;
mod dns;
mod refusals;
mod target_groups;
