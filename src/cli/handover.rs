//! The command `handover`: it prints the answers to a vendor's form about the private connection.
//!
//! Only the EC2 API knows the endpoint service. Without the feature `network`, or the permissions, the text has the
//! commands that print those fields.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use serde::Serialize;
use tokio::time::Instant;

#[cfg(feature = "network")]
use super::network::NetworkApis;
use super::{Common, FAILED, IN_SYNC, bindings as described};
use crate::binding::Binding;
use crate::discovery::{self, BindingSet, TagAge};
use crate::doctor::{Facts, LoadBalancerFacts, Unread, is_tls_required, line, network, read_facts};
use crate::rate_limit::Priority;
use crate::startup::{App, BoxError};
use crate::text::Joined as _;

const SERVICE: &str = "service name, service id, acceptance required";
const ALLOWED: &str = "allowed principals";
const ZONE_IDS: &str = "zone ids";

/// The fields of one binding. A field that could not be read is `None`.
#[derive(Debug, Default, Serialize)]
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

/// `now` is the time of day, which the network's metrics need.
pub async fn run(
    common: &Common,
    variable: impl Fn(&str) -> Option<String>,
    #[cfg_attr(not(feature = "network"), expect(unused_variables, reason = "only the network needs it"))]
    now: SystemTime,
) -> Result<u8, BoxError> {
    let app = common.start(variable).await?;
    let App { config, clients, .. } = &app;
    let spinner = common.spinner(format!("reading {}", described(config)));
    let deadline = Instant::now() + common.time();
    let (groups, priority) = (&clients.groups, Priority::Routine);
    let listing = discovery::binding_set(groups, config, TagAge::New, priority, deadline);
    let BindingSet { bindings, unbound, .. } = listing.await;
    #[cfg(feature = "network")]
    let network = NetworkApis::new(&app.sdk, now, None);
    let mut handovers = Vec::new();
    for binding in &bindings {
        let facts = read_facts(clients, binding, deadline).await;
        let attached = facts.load_balancers.as_ref().ok().and_then(|list| list.first());
        #[cfg(feature = "network")]
        let network = match attached {
            Some(attached) => Some(network.read(&facts, &attached.load_balancer, deadline).await),
            None => None,
        };
        #[cfg(not(feature = "network"))]
        let network = None;
        handovers.push(handover(binding, &facts, attached, network.as_ref()));
    }
    spinner.finish_and_clear();
    common.print(&handovers, |page| handovers.iter().for_each(|handover| page.text(&text(handover))))?;
    if !unbound.is_empty() {
        let reasons = unbound.iter().map(|unbound| format!("{unbound}: {}", unbound.error()));
        return Err(reasons.joined("\n").into());
    }
    let is_whole = !handovers.is_empty() && handovers.iter().all(Handover::is_whole);
    Ok(if is_whole { IN_SYNC } else { FAILED })
}

impl Handover {
    /// Whether a vendor can connect: there is a load balancer, and as far as the EC2 API was read a service on it.
    fn is_whole(&self) -> bool {
        self.load_balancer.is_some() && self.services.as_ref().is_none_or(|services| !services.is_empty())
    }
}

/// The reasons of the facts that could not be read, each once.
fn reasons(facts: &Facts, network: Option<&network::Network>) -> Vec<String> {
    let attached = facts.load_balancers.as_ref().ok().and_then(|list| list.first());
    let of_facts = [
        facts.group.as_ref().err(),
        facts.load_balancers.as_ref().err(),
        attached.and_then(|attached| attached.listeners.as_ref().err()),
        facts.database.as_ref().err(),
        facts.tls_parameters.as_ref().and_then(|read| read.as_ref().err()),
    ];
    let services = network.map(|network| network.services.as_ref());
    let principals =
        services.and_then(Result::ok).into_iter().flatten().filter_map(|it| it.principals.as_ref());
    let of_network =
        [services.and_then(Result::err), network.and_then(|network| network.subnets.as_ref().err())];
    let unread =
        of_facts.into_iter().chain(of_network).flatten().chain(principals.filter_map(|it| it.as_ref().err()));
    let mut reasons: Vec<String> = unread
        .map(|Unread { reason, fix, .. }| match fix {
            Some(fix) => format!("{reason}. Fix: {fix}"),
            None => reason.clone(),
        })
        .collect();
    reasons.dedup();
    reasons
}

fn handover(
    binding: &Binding,
    facts: &Facts,
    attached: Option<&LoadBalancerFacts>,
    network: Option<&network::Network>,
) -> Handover {
    let region = binding.target_group.region();
    let database = facts.database();
    let engine = database.map(|database| database.engine.clone()).filter(|engine| !engine.is_empty());
    let mut handover = Handover {
        endpoint: binding.endpoint.clone(),
        region: region.to_owned(),
        engine,
        engine_version: database.and_then(|database| database.engine_version.clone()),
        iam_login: database.and_then(|database| database.allows_iam_login),
        unread: reasons(facts, network),
        ..Handover::default()
    };
    let parameters = facts.tls_parameters.as_ref().and_then(|read| read.as_ref().ok());
    handover.tls_required =
        database.zip(parameters).and_then(|(database, parameters)| is_tls_required(database, parameters));
    let Some(attached) = attached else { return handover };
    let serving = attached.serving(binding.target_group.as_str(), facts.port(binding));
    handover.port = serving.map(|listener| listener.port);
    handover.load_balancer = Some(attached.load_balancer.arn.clone());
    handover.zones = attached.load_balancer.zones.keys().cloned().collect();
    handover.commands = commands(region, &attached.load_balancer.arn, &handover.zones);
    if let Some(network) = network {
        fill(&mut handover, attached, network);
    }
    handover
}

/// Fills in what the EC2 API gave, and takes the commands for it out.
fn fill(handover: &mut Handover, attached: &LoadBalancerFacts, network: &network::Network) {
    if let Ok(subnets) = &network.subnets {
        let of_zones = attached.load_balancer.zones.values().filter_map(|subnet| subnets.get(subnet));
        handover.zone_ids = of_zones.map(|subnet| subnet.zone_id.clone()).collect();
    }
    if !handover.zone_ids.is_empty() {
        handover.commands.remove(ZONE_IDS);
    }
    let Ok(services) = &network.services else { return };
    let services = services.iter().map(|service| HandoverService {
        name: service.name.clone(),
        id: service.id.clone(),
        acceptance_required: service.requires_acceptance,
        allowed_principals: service.principals.clone().and_then(Result::ok),
    });
    let services: Vec<HandoverService> = services.collect();
    handover.commands.remove(SERVICE);
    if services.iter().all(|service| service.allowed_principals.is_some()) {
        handover.commands.remove(ALLOWED);
    }
    handover.services = Some(services);
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
    let unknown = || "not known, see `rds-nlb-sync doctor`".to_owned();
    let mut text = format!("Private connection to {endpoint}\n");
    let mut fields = vec![
        ("Region", region.clone()),
        ("Port", port.map_or_else(unknown, |port| port.to_string())),
        ("Database engine", engine.clone().unwrap_or_else(unknown)),
        ("Connection", "AWS PrivateLink, interface endpoint".to_owned()),
        ("Availability Zones", zones.iter().listed_or(&unknown())),
    ];
    fields.extend(engine_version.clone().map(|version| ("Engine version", version)));
    let iam_login = iam_login.map(|is_allowed| if is_allowed { "allowed" } else { "not allowed" });
    fields.extend(iam_login.map(|word| ("IAM login", word.to_owned())));
    if !zone_ids.is_empty() {
        fields.push(("Zone ids", zone_ids.join(", ")));
    }
    let tls = tls_required.map(|required| if required { "required" } else { "offered, not required" });
    fields.extend(tls.map(|word| ("TLS", word.to_owned())));
    if services.as_ref().is_some_and(Vec::is_empty) {
        fields.push(("Endpoint service", "none yet".to_owned()));
    }
    for HandoverService { name, id, acceptance_required, allowed_principals } in services.iter().flatten() {
        fields.push(("Service name", name.clone()));
        fields.push(("Service id", id.clone()));
        let acceptance =
            if *acceptance_required { "required: we accept your request" } else { "not required" };
        fields.push(("Acceptance", acceptance.to_owned()));
        let nobody = "nobody yet: send us the ARN of your principal";
        let allowed = allowed_principals.as_ref();
        fields.extend(allowed.map(|allowed| ("Allowed", allowed.iter().listed_or(nobody))));
    }
    for (name, value) in fields {
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
