//! What both binaries do first: parse the environment and build the clients.
//!
//! All of it happens before the first poll of the Runtime API. Lambda gives the init phase whole cores, and an
//! invocation at 128 MB a fourteenth of one.

use aws_config::SdkConfig;

use crate::aws::{client, tls};
use crate::config::Config;
use crate::dns::DnsClient;
use crate::elb::Elb;
use crate::rate_limit::ApiRateLimiter;
use crate::rds::Rds;
use crate::reconcile::Clients;

/// Why a binary does not start, or why it ends.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub struct App {
    pub config: Config,
    pub clients: Clients<DnsClient, Elb, Rds>,
    /// For further clients.
    pub sdk: SdkConfig,
}

pub async fn start(variable: impl Fn(&str) -> Option<String>) -> Result<App, BoxError> {
    let config = Config::parse(&variable)?;
    let dns = DnsClient::new(config.nameservers.as_deref()).map_err(|error| error.explain())?;
    let sdk = client::sdk(&variable, tls::connections(&variable)?).await;
    if sdk.region().is_none() {
        return Err("no Region is set. Fix: set AWS_REGION, or set AWS_PROFILE to a profile that exists and has a region \
                    (`aws configure list-profiles` lists them)"
            .into());
    }
    let groups =
        Elb::new(aws_sdk_elasticloadbalancingv2::Client::new(&sdk), ApiRateLimiter::new(config.elb_calls));
    let rds = Rds::new(aws_sdk_rds::Client::new(&sdk));
    Ok(App { config, clients: Clients { dns, groups, rds }, sdk })
}
