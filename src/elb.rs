//! Reads and changes target groups with `aws-sdk-elasticloadbalancingv2`. Only this module and its children make
//! calls with that library.
//!
//! The invariant kept here: every call takes a [`Permit`].

mod discover;
mod inspect;
mod interceptors;
mod tag_list;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::http::HttpResponse;
use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::{Config, Region};
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::operation::describe_target_health::DescribeTargetHealthError;
use aws_sdk_elasticloadbalancingv2::operation::register_targets::RegisterTargetsError;
use aws_sdk_elasticloadbalancingv2::types::builders::TargetDescriptionBuilder;
use aws_sdk_elasticloadbalancingv2::types::{
    ProtocolEnum, TargetDescription, TargetGroup, TargetGroupIpAddressTypeEnum, TargetHealthDescription,
    TargetTypeEnum,
};
use tokio::time::timeout;

use crate::arn;
use crate::aws::{self, Bounded};
use crate::doctor::ALL_ZONES;
use crate::error::{Error, ErrorKind};
use crate::plan::{Family, TargetState, Targets};
use crate::rate_limit::{ApiRateLimiter, Call, Permit, Priority};
use crate::reconcile::{Attempts, TargetGroupApi, TargetGroupInfo};
use crate::text::Joined as _;
use interceptors::{OutcomeObserver, ResponseCheck, RetryObserver};
use tag_list::{TagList, TagScan};

/// Targets in one call. The API states no limit; the Kubernetes cloud provider sends as many.
const BATCH: usize = 100;
/// The SDK's first pause before it repeats a call, without jitter. The SDK's default is a second. That is too long
/// here: the API's limits allow the next call after a tenth of a second.
const BACKOFF: Duration = Duration::from_millis(250);
/// How long the deregistration of a further batch waits for its permit. After that the observation is too old.
const FURTHER_BATCH_PERMIT_TIMEOUT: Duration = Duration::from_secs(1);

pub struct Elb {
    client: LimitedClient,
    rate_limiter: Arc<ApiRateLimiter>,
    /// By ARN. This information does not change while a group exists, so each group that can be used is described once
    /// per process.
    groups: RefCell<BTreeMap<String, TargetGroupInfo>>,
    /// The groups that carry the discovery tag, as last listed.
    tagged: RefCell<Option<TagList>>,
    /// The listing of tagged groups that is not finished yet.
    scan: tokio::sync::Mutex<Option<TagScan>>,
}

impl Elb {
    pub fn new(client: Client, rate_limiter: ApiRateLimiter) -> Self {
        let rate_limiter = Arc::new(rate_limiter);
        let retries = client.config().retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let config = client
            .config()
            .to_builder()
            .interceptor(Bounded)
            .interceptor(ResponseCheck)
            .interceptor(RetryObserver(Arc::clone(&rate_limiter)))
            .retry_config(retries.with_initial_backoff(BACKOFF));
        Self {
            client: LimitedClient(Client::from_conf(config.build())),
            rate_limiter,
            groups: RefCell::default(),
            tagged: RefCell::default(),
            scan: tokio::sync::Mutex::default(),
        }
    }

    async fn describe_group(&self, permit: Permit, group: &str) -> Result<TargetGroup, Error> {
        let doing = format!("describe the target group {group}");
        let request = self.client.with(permit).describe_target_groups().target_group_arns(group);
        let action = "elasticloadbalancing:DescribeTargetGroups";
        let found = aws::call(doing.clone(), action, request.send()).await.and_then(|described| {
            let mut groups = described.target_groups.unwrap_or_default().into_iter();
            groups.find(|found| found.target_group_arn() == Some(group)).ok_or_else(|| {
                Error::new(ErrorKind::Permanent, doing.clone()).with_source("the API does not list it")
            })
        });
        found.map_err(|error| self.explain_region(group, doing, error))
    }

    /// Adds to a permanent error that the group is in another Region. Without an error the Region is not checked: a
    /// custom endpoint (AWS_ENDPOINT_URL) may serve groups of any Region.
    fn explain_region(&self, group: &str, doing: String, error: Error) -> Error {
        let of_group = arn::region(group).unwrap_or_default();
        let Some(region) = self.client.region() else { return error };
        if error.kind() != ErrorKind::Permanent || of_group == region {
            return error;
        }
        let answer = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Error::new(ErrorKind::Permanent, doing)
            .with_source(format!(
                "the target group is in {of_group}, this function calls {region} ({answer})"
            ))
            .with_fix(format!("run the function in {of_group}, or bind a target group of {region}"))
    }

    async fn target_health(
        &self,
        permit: Permit,
        group: &str,
    ) -> Result<Vec<TargetHealthDescription>, Error> {
        let request = self.client.with(permit).describe_target_health().target_group_arn(group);
        let health = Box::pin(request.send()).await.map_err(|error| {
            let is_gone = DescribeTargetHealthError::is_target_group_not_found_exception;
            if error.as_service_error().is_some_and(is_gone) {
                self.mark_tag_list_outdated(group);
            }
            let action = "elasticloadbalancing:DescribeTargetHealth";
            let doing = format!("list the targets of {group}");
            let error = aws::call_error(doing.clone(), action, error);
            self.explain_region(group, doing, error)
        })?;
        Ok(health.target_health_descriptions.unwrap_or_default())
    }

    /// Registers one batch. Targets outside the group's VPC need a zone, and the others must not have one.
    async fn register_batch(
        &self,
        permit: Permit,
        group: &str,
        batch: &[SocketAddr],
        outside: &BTreeSet<IpAddr>,
        outcome: &OutcomeObserver,
    ) -> Result<(), SdkError<RegisterTargetsError, HttpResponse>> {
        let targets = batch.iter().map(|target| {
            let zone = outside.contains(&target.ip()).then(|| ALL_ZONES.to_owned());
            description(target).set_availability_zone(zone).build()
        });
        let request = self.client.with(permit).register_targets().target_group_arn(group);
        let request = request.set_targets(Some(targets.collect())).customize();
        Box::pin(request.interceptor(outcome.clone()).send()).await.map(|_| ())
    }

    async fn deregister_batch(&self, permit: Permit, group: &str, batch: &[SocketAddr]) -> Result<(), Error> {
        // A retry by the SDK would act on an observation that is too old.
        let one_attempt = Config::builder().retry_config(RetryConfig::disabled());
        let targets = batch.iter().map(|target| description(target).build()).collect();
        let client = self.client.with(permit);
        let request = client.deregister_targets().target_group_arn(group).set_targets(Some(targets));
        let outcome = OutcomeObserver::default();
        let call = request.customize().config_override(one_attempt).interceptor(outcome.clone()).send();
        let Err(error) = Box::pin(call).await else { return Ok(()) };
        // AWS accepts the deregistration of a target that is gone. Emulators refuse the whole batch: the next
        // observation leaves the target out.
        let is_gone = error.as_service_error().is_some_and(|error| error.is_invalid_target_exception());
        let doing = format!("deregister {} from {group}", batch.iter().joined(", "));
        let error = aws::call_error(doing, "elasticloadbalancing:DeregisterTargets", error);
        if is_gone {
            return Err(error.transient());
        }
        if error.kind() == ErrorKind::Transient {
            self.rate_limiter.record_failed_attempt();
        }
        Err(outcome.mark(error))
    }
}

/// The SDK's client. A call needs a permit.
struct LimitedClient(Client);

impl LimitedClient {
    fn with(&self, _permit: Permit) -> &Client {
        &self.0
    }

    fn region(&self) -> Option<&str> {
        self.0.config().region().map(Region::as_ref)
    }
}

impl TargetGroupApi for Elb {
    async fn permit(&self, priority: Priority, call: Call) -> Permit {
        self.rate_limiter.permit(priority, call).await
    }

    async fn describe(&self, group: &str) -> Result<TargetGroupInfo, Error> {
        if let Some(known) = self.groups.borrow().get(group).copied() {
            return Ok(known);
        }
        // A process makes this call once for each group that it can use, and a failover may be waiting for it.
        let permit = self.permit(Priority::Failover, Call::Describe).await;
        let found = self.describe_group(permit, group).await?;
        let info = parse_group(&found).map_err(|reason| {
            Error::new(ErrorKind::Permanent, format!("use the target group {group}"))
                .with_source(reason)
                .with_fix("bind a TCP target group of type ip, with a port and IPv4 or IPv6 addresses")
        })?;
        self.groups.borrow_mut().insert(group.to_owned(), info);
        Ok(info)
    }

    async fn targets(&self, permit: Permit, group: &str) -> Result<Targets, Error> {
        let TargetGroupInfo { port, .. } = self.describe(group).await?;
        let descriptions = self.target_health(permit, group).await?;
        parse_targets(&descriptions, port).map_err(|reason| {
            let doing = format!("list the targets of {group}");
            Error::new(ErrorKind::Transient, doing).with_source(reason)
        })
    }

    async fn register(
        &self,
        permit: Permit,
        group: &str,
        targets: &BTreeSet<SocketAddr>,
    ) -> Result<Attempts, Error> {
        let targets: Vec<SocketAddr> = targets.iter().copied().collect();
        let (priority, mut first) = (permit.priority(), Some(permit));
        let outcome = OutcomeObserver::default();
        for batch in targets.chunks(BATCH) {
            let mut outside = BTreeSet::new();
            loop {
                let permit = match first.take() {
                    Some(permit) => permit,
                    None => self.permit(priority, Call::Write).await,
                };
                let registered = self.register_batch(permit, group, batch, &outside, &outcome).await;
                let Err(error) = registered else { break };
                let newly_outside = outside_the_vpc(&error, batch, &outside);
                if newly_outside.is_empty() {
                    let doing = format!("register {} in {group}", batch.iter().joined(", "));
                    let error = aws::call_error(doing, "elasticloadbalancing:RegisterTargets", error);
                    return Err(outcome.mark(error));
                }
                outside.extend(newly_outside);
            }
        }
        Ok(outcome.attempts())
    }

    async fn deregister(
        &self,
        permit: Permit,
        group: &str,
        targets: &BTreeSet<SocketAddr>,
    ) -> Result<(), Error> {
        let targets: Vec<SocketAddr> = targets.iter().copied().collect();
        let (priority, mut first) = (permit.priority(), Some(permit));
        for batch in targets.chunks(BATCH) {
            let permit = match first.take() {
                Some(permit) => permit,
                None => timeout(FURTHER_BATCH_PERMIT_TIMEOUT, self.permit(priority, Call::Write))
                    .await
                    .map_err(|_| {
                        let doing = format!("deregister {} from {group}", batch.iter().joined(", "));
                        Error::new(ErrorKind::Transient, doing)
                            .with_source("no permit for a further call in time")
                    })?,
            };
            self.deregister_batch(permit, group, batch).await?;
        }
        Ok(())
    }
}

/// What the group is, or why it cannot serve a database.
fn parse_group(group: &TargetGroup) -> Result<TargetGroupInfo, String> {
    let target_type = group.target_type().map_or("no target type", TargetTypeEnum::as_str);
    if target_type != TargetTypeEnum::Ip.as_str() {
        return Err(format!("its targets are of type {target_type}, not ip"));
    }
    if !matches!(group.protocol(), Some(ProtocolEnum::Tcp | ProtocolEnum::Tls | ProtocolEnum::TcpUdp)) {
        let protocol = group.protocol().map_or("no protocol", ProtocolEnum::as_str);
        return Err(format!("its protocol is {protocol}, which carries no database"));
    }
    let family = match group.ip_address_type() {
        Some(TargetGroupIpAddressTypeEnum::Ipv6) => Family::V6,
        Some(TargetGroupIpAddressTypeEnum::Ipv4) | None => Family::V4,
        Some(other) => return Err(format!("its address type {:?} is unknown", other.as_str())),
    };
    let port = group.port().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    Ok(TargetGroupInfo { family, port: port.ok_or("it has no port")? })
}

/// The targets and their states. A target that is listed twice has the worse of its states.
fn parse_targets(descriptions: &[TargetHealthDescription], group_port: u16) -> Result<Targets, String> {
    let mut targets = Targets::new();
    for description in descriptions {
        let (target, state) = parse_target(description, group_port)?;
        targets.entry(target).and_modify(|known| *known = state.max(*known)).or_insert(state);
    }
    Ok(targets)
}

/// A target and its state. A target without a port has the group's.
fn parse_target(
    description: &TargetHealthDescription,
    group_port: u16,
) -> Result<(SocketAddr, TargetState), String> {
    let target = description.target().ok_or("a target has no description")?;
    let id = target.id().unwrap_or_default();
    let address: IpAddr = id.parse().map_err(|_| format!("the target {id:?} is not an address"))?;
    let port = match target.port() {
        None => group_port,
        Some(port) => u16::try_from(port).map_err(|_| format!("the target {id} has the port {port}"))?,
    };
    let state = description.target_health().and_then(|health| health.state());
    let state = state.map_or(TargetState::Unknown, |state| TargetState::parse(state.as_str()));
    Ok((SocketAddr::new(address, port), state))
}

/// The addresses that are outside the group's VPC, according to the refusal of a registration. Only AWS knows the
/// VPC's address ranges, and the API has no error code for this refusal: it is a ValidationError with one of these
/// messages (aws-load-balancer-controller, issues 3084 and 3714): "You must specify a valid Availability Zone or
/// select 'all' …, since the IP address '…' is outside the VPC"; "The Availability Zone is required for IP
/// address '…' because it is not in the VPC".
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

fn description(target: &SocketAddr) -> TargetDescriptionBuilder {
    TargetDescription::builder().id(target.ip().to_string()).port(i32::from(target.port()))
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::error::ErrorMetadata;
    use aws_sdk_elasticloadbalancingv2::types::{TargetHealth, TargetHealthStateEnum};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn listed(port: Option<i32>, state: Option<&str>) -> TargetHealthDescription {
        let target = TargetDescription::builder().id("10.0.1.10").set_port(port).build();
        let health = TargetHealth::builder().set_state(state.map(TargetHealthStateEnum::from)).build();
        TargetHealthDescription::builder().target(target).target_health(health).build()
    }

    #[test]
    fn target_listed_twice_has_the_worse_state() {
        let worst = |states: &[&str]| {
            let listed: Vec<_> = states.iter().map(|state| listed(Some(5432), Some(state))).collect();
            parse_targets(&listed, 5432).unwrap().into_values().collect::<Vec<_>>()
        };
        assert_eq!(worst(&["healthy", "initial"]), [TargetState::Initial]);
        assert_eq!(worst(&["unhealthy", "healthy", "initial"]), [TargetState::Unhealthy]);
        assert_eq!(worst(&["new", "unhealthy"]), [TargetState::Unknown]);
        assert_eq!(worst(&["draining", "new", "healthy"]), [TargetState::Draining]);
        let without_port = [listed(None, Some("draining")), listed(Some(5432), Some("healthy"))];
        assert_eq!(
            parse_targets(&without_port, 5432).unwrap().into_values().collect::<Vec<_>>(),
            [TargetState::Draining]
        );
    }

    #[test]
    fn missing_state_is_unknown() {
        let without_health = TargetHealthDescription::builder().set_target(listed(None, None).target).build();
        for description in [listed(None, None), listed(None, Some("")), without_health] {
            let (_, state) = parse_target(&description, 5432).unwrap();
            assert_eq!(state, TargetState::Unknown, "{description:?}");
        }
    }

    #[test]
    fn only_a_refusal_in_known_words_names_addresses_outside_the_vpc() {
        let found = |code: &str, message: &str, known: &[&str]| {
            let metadata = ErrorMetadata::builder().code(code).message(message).build();
            let response = HttpResponse::new(400.try_into().unwrap(), SdkBody::empty());
            let error = SdkError::service_error(RegisterTargetsError::generic(metadata), response);
            let batch = ["10.1.0.1:5432".parse().unwrap(), "10.1.0.10:5432".parse().unwrap()];
            let known = known.iter().map(|address| address.parse().unwrap()).collect();
            let found = outside_the_vpc(&error, &batch, &known);
            found.iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        let outside = "since the IP address '10.1.0.1' is outside the VPC";
        let not_in =
            "The Availability Zone is required for IP address '10.1.0.10' because it is not in the VPC";
        assert_eq!(found("ValidationError", outside, &[]), ["10.1.0.1"]);
        assert_eq!(found("ValidationError", not_in, &[]), ["10.1.0.10"]);
        assert_eq!(found("ValidationError", outside, &["10.1.0.1"]), [""; 0], "it was registered as outside");
        assert_eq!(found("ValidationError", &outside.replace("'10.1.0.1'", "'10.9.9.9'"), &[]), [""; 0]);
        assert_eq!(found("ValidationError", "The IP address '10.1.0.1' is within the VPC", &[]), [""; 0]);
        assert_eq!(found("InvalidTarget", outside, &[]), [""; 0]);
    }
}
