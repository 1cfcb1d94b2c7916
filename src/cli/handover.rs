//! The command `handover`: it prints the answers to a vendor's form about the private connection.
//!
//! Only the EC2 API knows the endpoint service. Without the feature `network`, or the permissions, the text has the
//! commands that print those fields.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tokio::time::Instant;

use super::common::{Common, FAILED, IN_SYNC, bindings as described};
use crate::binding::Binding;
use crate::discovery::{self, BindingSet, TagAge};
use crate::doctor::network::{self, ServicesAndSubnets};
use crate::doctor::{Fact, Facts, LoadBalancerFacts, Unread, is_tls_required, line, read_facts};
#[cfg(feature = "network")]
use crate::ec2::Ec2;
use crate::rate_limit::Priority;
use crate::startup::{App, BoxError};
use crate::text::Joined as _;

const SERVICE: &str = "service name, service id, acceptance required";
const ALLOWED: &str = "allowed principals";
const ZONE_IDS: &str = "zone ids";

/// The fields of one binding. A field that could not be read is `None`.
#[derive(Debug, Serialize)]
pub struct Handover {
    endpoint: String,
    region: String,
    engine: Option<String>,
    engine_version: Option<String>,
    iam_login: Option<bool>,
    port: Option<u16>,
    load_balancer: Option<String>,
    /// The zones' names in this account. In the vendor's account the same name can be another zone.
    zones: Vec<String>,
    /// The zones' ids, which mean the same in every account.
    zone_ids: Vec<String>,
    /// Whether the database refuses clients without TLS, where its parameter group says so.
    tls_required: Option<bool>,
    /// Empty where the load balancer has none.
    services: Option<Vec<HandoverService>>,
    /// Why fields could not be read, each with its fix.
    unread: Vec<String>,
    /// The fields that could not be read from the EC2 API, each with the command that prints it.
    commands: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct HandoverService {
    name: String,
    id: String,
    acceptance_required: bool,
    /// `None` where they could not be read.
    allowed_principals: Option<Vec<String>>,
}

pub async fn run(common: &Common, variable: impl Fn(&str) -> Option<String>) -> Result<u8, BoxError> {
    let app = common.start(variable).await?;
    let App { config, clients, .. } = &app;
    let spinner = common.spinner(format!("reading {}", described(config)));
    let deadline = Instant::now() + common.time();
    let (groups, priority) = (&clients.groups, Priority::Routine);
    let listing = discovery::binding_set(groups, config, TagAge::New, priority, deadline);
    let BindingSet { bindings, unbound, .. } = listing.await;
    #[cfg(feature = "network")]
    let ec2 = Ec2::new(&aws_sdk_ec2::Client::new(&app.sdk));
    let mut handovers = Vec::new();
    for binding in &bindings {
        let facts = read_facts(clients, binding, deadline).await;
        let attached = facts.load_balancers.as_ref().ok().and_then(|list| list.first());
        #[cfg(feature = "network")]
        let network = match attached {
            Some(attached) => {
                Some(network::read_services_and_subnets(&ec2, &attached.load_balancer, deadline).await)
            }
            None => None,
        };
        #[cfg(not(feature = "network"))]
        let network = None;
        handovers.push(handover(binding, &facts, attached, network.as_ref()));
    }
    spinner.finish_and_clear();
    common.print(&handovers, |report| handovers.iter().for_each(|handover| report.text(&text(handover))))?;
    if !unbound.is_empty() {
        let reasons = unbound.iter().map(|unbound| format!("{unbound}: {}", unbound.error()));
        return Err(reasons.joined("\n").into());
    }
    let is_complete = !handovers.is_empty() && handovers.iter().all(Handover::is_complete);
    Ok(if is_complete { IN_SYNC } else { FAILED })
}

impl Handover {
    /// Whether a vendor can connect: there is a load balancer, and as far as the EC2 API was read a service on it.
    fn is_complete(&self) -> bool {
        self.load_balancer.is_some() && self.services.as_ref().is_none_or(|services| !services.is_empty())
    }
}

fn reasons(
    facts: &Facts,
    attached: Option<&LoadBalancerFacts>,
    network: Option<&ServicesAndSubnets>,
) -> Vec<String> {
    fn unread<T>(fact: Option<&Fact<T>>) -> Option<&Unread> {
        fact?.as_ref().err()
    }
    let of_facts = [
        unread(Some(&facts.group)),
        unread(Some(&facts.load_balancers)),
        unread(attached.map(|attached| &attached.listeners)),
        unread(Some(&facts.database)),
        unread(facts.tls_parameters.as_ref()),
        unread(network.map(|network| &network.services)),
        unread(network.map(|network| &network.subnets)),
    ];
    let services = network.into_iter().flat_map(|network| network.services.iter().flatten());
    let of_services = services.map(|service| unread(service.principals.as_ref()));
    let explain = |Unread { reason, fix, .. }: &Unread| match fix {
        Some(fix) => format!("{reason}. Fix: {fix}"),
        None => reason.clone(),
    };
    let mut reasons: Vec<String> = of_facts.into_iter().chain(of_services).flatten().map(explain).collect();
    reasons.dedup();
    reasons
}

fn handover(
    binding: &Binding,
    facts: &Facts,
    attached: Option<&LoadBalancerFacts>,
    network: Option<&ServicesAndSubnets>,
) -> Handover {
    let region = binding.target_group.region();
    let database = facts.database();
    let parameters = facts.tls_parameters.as_ref().and_then(|read| read.as_ref().ok());
    let of_group = |attached: &LoadBalancerFacts| {
        attached.serving(binding.target_group.as_str(), facts.port(binding)).map(|listener| listener.port)
    };
    let load_balancer = attached.map(|attached| &attached.load_balancer);
    let (zones, subnets): (Vec<String>, Vec<&String>) =
        load_balancer.iter().flat_map(|one| &one.zones).map(|(zone, subnet)| (zone.clone(), subnet)).unzip();
    let known_subnets = network.and_then(|network| network.subnets.as_ref().ok());
    let subnets = subnets.into_iter().filter_map(|id| known_subnets?.get(id));
    let zone_ids: Vec<String> = subnets.map(|subnet| subnet.zone_id.clone()).collect();
    let services = network.and_then(|network| network.services.as_ref().ok());
    let service = |service: &network::Service| HandoverService {
        name: service.name.clone(),
        id: service.id.clone(),
        acceptance_required: service.requires_acceptance,
        allowed_principals: service.principals.clone().and_then(Result::ok),
    };
    let services: Option<Vec<_>> = services.map(|services| services.iter().map(service).collect());
    let is_allowed_known = |service: &HandoverService| service.allowed_principals.is_some();
    let mut commands = load_balancer.map(|one| commands(region, &one.arn, &zones)).unwrap_or_default();
    commands.retain(|field, _| match *field {
        ZONE_IDS => zone_ids.is_empty(),
        ALLOWED => !services.as_ref().is_some_and(|services| services.iter().all(is_allowed_known)),
        _ => services.is_none(),
    });
    Handover {
        endpoint: binding.endpoint.clone(),
        region: region.to_owned(),
        engine: database.map(|database| database.engine.clone()).filter(|engine| !engine.is_empty()),
        engine_version: database.and_then(|database| database.engine_version.clone()),
        iam_login: database.and_then(|database| database.allows_iam_login),
        port: attached.and_then(of_group),
        load_balancer: load_balancer.map(|one| one.arn.clone()),
        zones,
        zone_ids,
        tls_required: database.zip(parameters).and_then(|(database, read)| is_tls_required(database, read)),
        services,
        unread: reasons(facts, attached, network),
        commands,
    }
}

fn commands(region: &str, load_balancer: &str, zones: &[String]) -> BTreeMap<&'static str, String> {
    let on_this = format!(
        "ServiceConfigurations[?NetworkLoadBalancerArns && contains(NetworkLoadBalancerArns, '{load_balancer}')]"
    );
    let service = |query: &str| {
        let describe =
            "aws ec2 describe-vpc-endpoint-service-configurations --region {} --query {} --output text";
        line(describe, &[region, query])
    };
    let fields = format!("{on_this}.[ServiceName,ServiceId,AcceptanceRequired]");
    let id = service(&format!("{on_this}.ServiceId"));
    let allowed = line(
        "aws ec2 describe-vpc-endpoint-service-permissions --region {} --query {} --output text --service-id",
        &[region, "AllowedPrincipals[].Principal"],
    );
    let mut values = vec![region];
    values.extend(zones.iter().map(String::as_str));
    values.extend(["--query", "AvailabilityZones[].[ZoneName,ZoneId]", "--output", "text"]);
    BTreeMap::from([
        (SERVICE, service(&fields)),
        (ALLOWED, format!("{allowed} \"$({id})\"")),
        (ZONE_IDS, line("aws ec2 describe-availability-zones --region {} --zone-names", &values)),
    ])
}

fn text(handover: &Handover) -> String {
    let Handover {
        endpoint,
        region,
        engine,
        engine_version,
        iam_login,
        port,
        load_balancer,
        zones,
        zone_ids,
        tls_required,
        services,
        unread,
        commands,
    } = handover;
    let unknown = "not known, see `rds-nlb-sync doctor`";
    let word = |is_so: Option<bool>, yes: &str, no: &str| Some(if is_so? { yes } else { no }.to_owned());
    let mut text = format!("Private connection to {endpoint}\n");
    let mut fields = vec![
        ("Region", Some(region.clone())),
        ("Port", Some(port.iter().listed_or(unknown))),
        ("Database engine", Some(engine.iter().listed_or(unknown))),
        ("Connection", Some("AWS PrivateLink, interface endpoint".to_owned())),
        ("Availability Zones", Some(zones.iter().listed_or(unknown))),
        ("Engine version", engine_version.clone()),
        ("IAM login", word(*iam_login, "allowed", "not allowed")),
        ("Zone ids", Some(zone_ids.join(", ")).filter(|list| !list.is_empty())),
        ("TLS", word(*tls_required, "required", "offered, not required")),
        ("Endpoint service", services.as_ref().filter(|list| list.is_empty()).map(|_| "none yet".to_owned())),
    ];
    for HandoverService { name, id, acceptance_required, allowed_principals } in services.iter().flatten() {
        let nobody = "nobody yet: send us the ARN of your principal";
        let allowed = allowed_principals.as_ref().map(|allowed| allowed.iter().listed_or(nobody));
        let acceptance = word(Some(*acceptance_required), "required: we accept your request", "not required");
        fields.extend([
            ("Service name", Some(name.clone())),
            ("Service id", Some(id.clone())),
            ("Acceptance", acceptance),
            ("Allowed", allowed),
        ]);
    }
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let _ = writeln!(text, "  {name:<20}{value}");
    }
    if load_balancer.is_none() && unread.is_empty() {
        let _ = writeln!(text, "  The target group has no load balancer.");
    }
    for reason in unread {
        let _ = writeln!(text, "  Not known: {reason}");
    }
    for (what, command) in commands {
        let _ = writeln!(text, "  For the {what}:\n    {command}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::commands::check_commands;

    #[test]
    fn every_command_parses_in_the_aws_cli() {
        let zones = ["us-east-1a", "us-east-1b"].map(str::to_owned);
        let balancer =
            "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/orders/0123456789abcdef";
        let commands: Vec<String> = commands("us-east-1", balancer, &zones).into_values().collect();
        assert_eq!(commands.len(), 3);
        // The id of the service comes from a command inside another.
        let inner = commands.iter().filter_map(|command| command.split_once("\"$(")?.1.strip_suffix(")\""));
        let inner: Vec<String> = inner.map(str::to_owned).collect();
        assert_eq!(inner.len(), 1, "{commands:#?}");
        check_commands(&[commands, inner].concat());
    }
}
