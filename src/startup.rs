//! What both binaries do first: parse the environment and build the clients.
//!
//! All of it happens before the first poll of the Runtime API. Lambda gives the init phase whole cores, and an
//! invocation at 128 MB a fourteenth of one.

use aws_config::SdkConfig;

use crate::aws::{client, tls};
use crate::config::{Config, ConfigErrors};
use crate::dns::DnsClient;
use crate::elb::Elb;
use crate::rate_limit::ApiRateLimiter;
use crate::rds::Rds;
use crate::reconcile::Clients;

const NO_REGION: &str = "no Region is set in the variables or the profile. Fix: set AWS_REGION, or set AWS_PROFILE to a profile that exists and has a \
                         region (`aws configure list-profiles` lists them)";

/// Why a binary does not start, or why it ends.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub struct App {
    pub config: Config,
    pub clients: Clients<DnsClient, Elb, Rds>,
    /// For further clients.
    pub sdk: SdkConfig,
}

pub async fn start(variable: impl Fn(&str) -> Option<String>) -> Result<App, BoxError> {
    let (config, connections) = match (Config::parse(&variable), tls::connections(&variable)) {
        (Ok(config), Ok(connections)) => (config, connections),
        (config, connections) => {
            // Every invalid variable is in one message: a deployment takes minutes.
            let mut errors = config.err().unwrap_or_default();
            if let Err(error) = connections {
                errors = errors.with("TLS", error.to_string());
            }
            if client::configured_region(&variable).await.is_none() {
                errors = errors.with("AWS_REGION", NO_REGION.to_owned());
            }
            return Err(errors.into());
        }
    };
    let sdk = client::sdk(&variable, connections).await;
    if sdk.region().is_none() {
        return Err(ConfigErrors::default().with("AWS_REGION", NO_REGION.to_owned()).into());
    }
    let dns = DnsClient::new(config.nameservers.as_deref()).map_err(|error| error.explain())?;
    let groups =
        Elb::new(aws_sdk_elasticloadbalancingv2::Client::new(&sdk), ApiRateLimiter::new(config.elb_calls));
    let rds = Rds::new(aws_sdk_rds::Client::new(&sdk));
    Ok(App { config, clients: Clients { dns, groups, rds }, sdk })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_that_is_wrong_is_in_one_message() {
        let variable = |name: &str| match name {
            "WATCH_SECONDS" => Some("soon".to_owned()),
            "AWS_CA_BUNDLE" => Some("/nonexistent.pem".to_owned()),
            _ => None,
        };
        let Err(error) = start(variable).await else { panic!("it starts") };
        let message = error.to_string();
        for wrong in ["BINDINGS: is not set", "WATCH_SECONDS: \"soon\"", "AWS_CA_BUNDLE"] {
            assert!(message.contains(wrong), "{wrong} is not in {message}");
        }
    }
}
