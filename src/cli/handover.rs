//! What a vendor's form asks about the connection, as text that is ready to send.
//!
//! The endpoint service is known to the EC2 API alone. Its fields stand as the commands that print them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tokio::time::Instant;

use super::{Common, FAILED, IN_SYNC, bindings as described};
use crate::binding::Binding;
use crate::discovery::{self, BindingSet};
use crate::doctor::{Facts, InspectDatabases, InspectGroups, command, read_facts};
use crate::rate_limit::Priority;
use crate::reconcile::{Clients, RdsApi, Resolve};
use crate::startup::{App, BoxError};

/// The fields of one binding. `None` where it could not be read.
#[derive(Debug, Default, Serialize)]
pub struct Handover {
    endpoint: String,
    region: String,
    engine: Option<String>,
    port: Option<u16>,
    load_balancer: Option<String>,
    /// The zones' names in this account. The same name is another zone in the vendor's account.
    zones: Vec<String>,
    /// What the EC2 API knows, and the command that prints it.
    commands: BTreeMap<&'static str, String>,
}

pub async fn run(common: &Common, variable: impl Fn(&str) -> Option<String>) -> Result<u8, BoxError> {
    let App { config, clients, .. } = common.start(variable).await?;
    let spinner = common.spinner(format!("reading {}", described(&config)));
    let deadline = Instant::now() + common.time();
    let listing = discovery::binding_set(
        &clients.groups,
        &config,
        std::time::Duration::ZERO,
        Priority::Routine,
        deadline,
    );
    let BindingSet { bindings, .. } = listing.await;
    let handovers = read(&clients, &bindings, deadline).await;
    spinner.finish_and_clear();
    common.print(&handovers, |page| handovers.iter().for_each(|handover| page.text(&text(handover))))?;
    let is_whole = !handovers.is_empty() && handovers.iter().all(|it| it.load_balancer.is_some());
    Ok(if is_whole { IN_SYNC } else { FAILED })
}

async fn read<D: Resolve, T: InspectGroups, C: InspectDatabases + RdsApi>(
    clients: &Clients<D, T, C>,
    bindings: &[Binding],
    deadline: Instant,
) -> Vec<Handover> {
    let mut handovers = Vec::new();
    for binding in bindings {
        handovers.push(handover(binding, &read_facts(clients, binding, deadline).await));
    }
    handovers
}

fn handover(binding: &Binding, facts: &Facts) -> Handover {
    let region = binding.target_group.region();
    let database = facts.database.as_ref().ok().and_then(Option::as_ref);
    let engine = database.map(|database| database.engine.clone()).filter(|engine| !engine.is_empty());
    let mut handover = Handover {
        endpoint: binding.endpoint.clone(),
        region: region.to_owned(),
        engine,
        ..Handover::default()
    };
    let Some(attached) = facts.load_balancers.as_ref().ok().and_then(|list| list.first()) else {
        return handover;
    };
    let listeners = attached.listeners.as_deref().unwrap_or_default();
    let mut serving = listeners.iter().filter(|listener| listener.share(binding.target_group.as_str()) > 0);
    handover.port = serving.next().map(|listener| listener.port);
    handover.load_balancer = Some(attached.load_balancer.arn.clone());
    handover.zones = attached.load_balancer.zones.keys().cloned().collect();
    handover.commands = commands(region, &attached.load_balancer.arn, &handover.zones);
    handover
}

fn commands(region: &str, load_balancer: &str, zones: &[String]) -> BTreeMap<&'static str, String> {
    let on_this = format!(
        "ServiceConfigurations[?NetworkLoadBalancerArns && contains(NetworkLoadBalancerArns, '{load_balancer}')]"
    );
    let service = |query: &str| {
        let words = ["aws", "ec2", "describe-vpc-endpoint-service-configurations", "--region", region];
        bare(words.into_iter().chain(["--query", query, "--output", "text"]))
    };
    let fields = format!("{on_this}.[ServiceName,ServiceId,AcceptanceRequired]");
    let id = service(&format!("{on_this}.ServiceId"));
    let words = ["aws", "ec2", "describe-vpc-endpoint-service-permissions", "--region", region];
    let allowed = ["--query", "AllowedPrincipals[].Principal", "--output", "text", "--service-id"];
    let allowed = bare(words.into_iter().chain(allowed));
    let words = ["aws", "ec2", "describe-availability-zones", "--region", region, "--zone-names"];
    let words = words.into_iter().chain(zones.iter().map(String::as_str));
    let query = ["--query", "AvailabilityZones[].[ZoneName,ZoneId]", "--output", "text"];
    let zone_ids = bare(words.chain(query));
    BTreeMap::from([
        ("service name, service id, acceptance required", service(&fields)),
        ("allowed principals", format!("{allowed} \"$({id})\"")),
        ("zone ids", zone_ids),
    ])
}

fn bare<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    command(words).trim_matches('`').to_owned()
}

fn text(handover: &Handover) -> String {
    let Handover { endpoint, region, engine, port, load_balancer, zones, commands } = handover;
    let unknown = || "not known, see `rds-nlb-sync doctor`".to_owned();
    let mut text = format!("Private connection to {endpoint}\n");
    let fields = [
        ("Region", region.clone()),
        ("Port", port.map_or_else(unknown, |port| port.to_string())),
        ("Database engine", engine.clone().unwrap_or_else(unknown)),
        ("Connection", "AWS PrivateLink, interface endpoint".to_owned()),
        ("Availability Zones", if zones.is_empty() { unknown() } else { zones.join(", ") }),
    ];
    for (name, value) in fields {
        let _ = writeln!(text, "  {name:<20}{value}");
    }
    if load_balancer.is_none() {
        let _ = writeln!(text, "  The target group has no load balancer that could be read.");
    }
    for (what, command) in commands {
        let _ = writeln!(text, "  For the {what}:\n    {command}");
    }
    text.push('\n');
    text
}
