//! The target groups, by `aws-sdk-elasticloadbalancingv2`. The only module that knows it.
//!
//! But for the doctor's, calls are boxed: a call's future takes five kilobytes, which every layer above would
//! carry once or twice for each of its calls, whether it makes them or not.

mod discover;
mod inspect;
mod retry_observer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::http::HttpResponse;
use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::operation::register_targets::RegisterTargetsError;
use aws_sdk_elasticloadbalancingv2::types::{
    ProtocolEnum, TargetDescription, TargetGroup, TargetGroupIpAddressTypeEnum, TargetHealthDescription,
    TargetHealthStateEnum, TargetTypeEnum,
};

use crate::aws::{self, Bounded};
use crate::error::{Error, ErrorKind};
use crate::plan::{Family, TargetState, Targets};
use crate::rate_limit::ApiRateLimiter;
use crate::reconcile::{Call, Priority, TargetGroupApi, TargetGroupInfo};

/// Targets in one call. The API states no limit; the Kubernetes cloud provider sends as many.
const BATCH: usize = 100;
/// The first pause before a call is made again, before jitter. The SDK's default of a second is for services
/// whose limits take longer to come back; here a tenth of it brings the next token.
const BACKOFF: Duration = Duration::from_millis(250);
/// The zone of a target outside the group's VPC (ELBv2 API, `TargetDescription.AvailabilityZone`).
const ALL_ZONES: &str = "all";

/// The account's target groups.
pub struct Elb {
    client: Client,
    rate_limiter: Arc<ApiRateLimiter>,
    /// What was learnt of a group stays true while the group exists: once per cold start will do.
    groups: Mutex<BTreeMap<String, TargetGroupInfo>>,
    /// The groups that carry the discovery tag, as last listed.
    tagged: Mutex<Option<discover::Listed>>,
    /// The listing of them that is under way.
    scan: tokio::sync::Mutex<Option<discover::TagScan>>,
}

impl Elb {
    /// Calls the API through this client, within this budget.
    pub fn new(client: Client, rate_limiter: ApiRateLimiter) -> Self {
        let rate_limiter = Arc::new(rate_limiter);
        let retry_observer = retry_observer::RetryObserver(Arc::clone(&rate_limiter));
        let retries = client.config().retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let config = client.config().to_builder().interceptor(Bounded).interceptor(retry_observer);
        let config = config.retry_config(retries.with_initial_backoff(BACKOFF)).build();
        let client = Client::from_conf(config);
        Self {
            client,
            rate_limiter,
            groups: Mutex::default(),
            tagged: Mutex::default(),
            scan: Default::default(),
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<String, TargetGroupInfo>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn register_once(
        &self,
        group: &str,
        targets: &[SocketAddr],
        outside: &BTreeSet<IpAddr>,
    ) -> Result<(), SdkError<RegisterTargetsError, HttpResponse>> {
        let targets = targets.iter().map(|target| {
            let zone = outside.contains(&target.ip()).then(|| ALL_ZONES.to_owned());
            description(target).set_availability_zone(zone).build()
        });
        let register = self.client.register_targets().target_group_arn(group);
        Box::pin(register.set_targets(Some(targets.collect())).send()).await.map(|_| ())
    }
}

impl TargetGroupApi for Elb {
    async fn permit(&self, priority: Priority, call: Call) {
        self.rate_limiter.permit(priority, call).await;
    }

    async fn describe(&self, group: &str) -> Result<TargetGroupInfo, Error> {
        if let Some(known) = self.groups().get(group).copied() {
            return Ok(known);
        }
        let doing = || format!("describe the target group {group}");
        // Once per group and cold start, and a failover may be waiting for it.
        self.rate_limiter.permit(Priority::Failover, Call::Describe).await;
        let described = Box::pin(self.client.describe_target_groups().target_group_arns(group).send()).await;
        let described = described
            .map_err(|error| aws::call_error(doing(), "elasticloadbalancing:DescribeTargetGroups", error))?;
        let found = described
            .target_groups()
            .iter()
            .find(|found| found.target_group_arn() == Some(group))
            .ok_or_else(|| {
                Error::new(ErrorKind::Permanent, doing()).with_source("the API does not list it")
            })?;
        let group_is = parse_group(found).map_err(|reason| {
            Error::new(ErrorKind::Permanent, format!("use the target group {group}")).with_source(reason)
        })?;
        self.groups().insert(group.to_owned(), group_is);
        Ok(group_is)
    }

    async fn targets(&self, group: &str) -> Result<Targets, Error> {
        let doing = || format!("list the targets of {group}");
        let port = self.describe(group).await?.port;
        let health = Box::pin(self.client.describe_target_health().target_group_arn(group).send()).await;
        let health = health
            .map_err(|error| aws::call_error(doing(), "elasticloadbalancing:DescribeTargetHealth", error))?;
        health
            .target_health_descriptions()
            .iter()
            .map(|description| target(description, port))
            .collect::<Result<_, _>>()
            .map_err(|reason| Error::new(ErrorKind::Transient, doing()).with_source(reason))
    }

    async fn register(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Error> {
        let targets: Vec<SocketAddr> = targets.iter().copied().collect();
        for batch in targets.chunks(BATCH) {
            let mut outside = BTreeSet::new();
            while let Err(error) = self.register_once(group, batch, &outside).await {
                // AWS alone knows what lies inside the VPC, and says so in words (ValidationError).
                let newly_outside = outside_the_vpc(&error, batch, &outside);
                if newly_outside.is_empty() {
                    let doing = format!("register {} in {group}", list(batch));
                    return Err(aws::call_error(doing, "elasticloadbalancing:RegisterTargets", error));
                }
                outside.extend(newly_outside);
                self.rate_limiter.permit(Priority::Failover, Call::Write).await;
            }
        }
        Ok(())
    }

    async fn deregister(&self, group: &str, targets: &BTreeSet<SocketAddr>) -> Result<(), Error> {
        let targets: Vec<SocketAddr> = targets.iter().copied().collect();
        // A retry inside the SDK would act on a look that has grown old.
        let once =
            aws_sdk_elasticloadbalancingv2::config::Config::builder().retry_config(RetryConfig::disabled());
        for batch in targets.chunks(BATCH) {
            let descriptions = batch.iter().map(|target| description(target).build()).collect();
            let deregister = self
                .client
                .deregister_targets()
                .target_group_arn(group)
                .set_targets(Some(descriptions))
                .customize()
                .config_override(once.clone());
            let result = Box::pin(deregister.send()).await;
            if let Err(error) = result {
                // AWS takes a target that is gone already for a success; stand-ins refuse the batch.
                let is_gone = error.as_service_error().is_some_and(|e| e.is_invalid_target_exception());
                let doing = format!("deregister {} from {group}", list(batch));
                let error = aws::call_error(doing, "elasticloadbalancing:DeregisterTargets", error);
                if is_gone {
                    return Err(error.transient());
                }
                if error.kind() == ErrorKind::Transient {
                    self.rate_limiter.record_throttle();
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Refuses a group that cannot carry a database, by what is wrong with it.
fn parse_group(group: &TargetGroup) -> Result<TargetGroupInfo, String> {
    match group.target_type() {
        Some(TargetTypeEnum::Ip) => {}
        other => {
            let found = other.map_or("no target type", TargetTypeEnum::as_str);
            return Err(format!("its targets are of type {found}, not ip; create a group of type ip"));
        }
    }
    match group.protocol() {
        Some(ProtocolEnum::Tcp | ProtocolEnum::Tls | ProtocolEnum::TcpUdp) => {}
        other => {
            let found = other.map_or("no protocol", ProtocolEnum::as_str);
            return Err(format!(
                "its protocol is {found}, which carries no database; create a group with TCP"
            ));
        }
    }
    let family = match group.ip_address_type() {
        Some(TargetGroupIpAddressTypeEnum::Ipv6) => Family::V6,
        Some(TargetGroupIpAddressTypeEnum::Ipv4) | None => Family::V4,
        Some(other) => return Err(format!("its address type {:?} is unknown", other.as_str())),
    };
    let port = group.port().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    Ok(TargetGroupInfo { family, port: port.ok_or("it has no port")? })
}

fn target(description: &TargetHealthDescription, port: u16) -> Result<(SocketAddr, TargetState), String> {
    let target = description.target().ok_or("a target has no description")?;
    let id = target.id().unwrap_or_default();
    let address: IpAddr = id.parse().map_err(|_| format!("the target {id:?} is not an address"))?;
    let port = match target.port() {
        None => port,
        Some(port) => u16::try_from(port).map_err(|_| format!("the target {id} has the port {port}"))?,
    };
    let state = match description.target_health().and_then(|health| health.state()) {
        Some(TargetHealthStateEnum::Draining | TargetHealthStateEnum::UnhealthyDraining) => {
            TargetState::Draining
        }
        Some(TargetHealthStateEnum::Initial) => TargetState::Initial,
        Some(TargetHealthStateEnum::Unhealthy) => TargetState::Unhealthy,
        _ => TargetState::Active,
    };
    Ok((SocketAddr::new(address, port), state))
}

/// The addresses that a refused registration calls outside the group's VPC, in these known words:
/// "You must specify a valid Availability Zone or select 'all' …, since the IP address '…' is outside
/// the VPC"; "The Availability Zone is required for IP address '…' because it is not in the VPC"
/// (aws-load-balancer-controller, issues 3084 and 3714).
fn outside_the_vpc(
    error: &SdkError<RegisterTargetsError, HttpResponse>,
    targets: &[SocketAddr],
    known: &BTreeSet<IpAddr>,
) -> Vec<IpAddr> {
    let message = error.message().unwrap_or_default();
    let says_outside = message.contains("outside the VPC") || message.contains("not in the VPC");
    if error.code() != Some("ValidationError") || !says_outside {
        return Vec::new();
    }
    let addresses = targets.iter().map(SocketAddr::ip).filter(|address| !known.contains(address));
    addresses.filter(|address| message.contains(&format!("'{address}'"))).collect()
}

fn description(
    target: &SocketAddr,
) -> aws_sdk_elasticloadbalancingv2::types::builders::TargetDescriptionBuilder {
    TargetDescription::builder().id(target.ip().to_string()).port(i32::from(target.port()))
}

fn list(targets: &[SocketAddr]) -> String {
    crate::plan::list(&targets.iter().collect())
}
