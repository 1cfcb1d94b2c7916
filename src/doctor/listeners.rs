//! The load balancer's listeners: one forwards to the group alone, by TCP and on the database's port.

use super::context::CheckContext;
use super::facts::{Database, Listener, LoadBalancer, LoadBalancerFacts};
use super::finding::{Checked, FactOr as _, Finding};

const CHECK: &str = "listener";

pub fn check_listeners(context: CheckContext<'_>, attached: &LoadBalancerFacts) -> Checked<Finding> {
    let load_balancer = &attached.load_balancer;
    let listeners = attached.listeners.or_warning(CHECK, "whether a listener forwards to the group")?;
    let is_ours = |listener: &&Listener| listener.forwards.iter().any(|(arn, _)| arn == context.group_arn());
    let ours = || listeners.iter().filter(is_ours);
    // Clients use the database's port; a second listener does no harm.
    let on_port = ours().find(|listener| Some(listener.port) == context.port());
    let Some(listener) = on_port.or_else(|| ours().next()) else {
        let name = &load_balancer.name;
        let observed = match listeners.as_slice() {
            [] => format!("the load balancer {name} has no listener"),
            _ => format!("no listener of the load balancer {name} forwards to the group"),
        };
        let fix = forward(context, load_balancer, listeners);
        return Ok(Finding::problem(CHECK, observed, "no client reaches this target group", fix));
    };
    let fault = check_share(context, listener)
        .or_else(|| check_protocol(context, listener))
        .or_else(|| check_port(context, load_balancer, listeners, listener));
    Ok(fault.unwrap_or_else(|| Finding::ok(CHECK, describe(listener))))
}

/// The fix for a group that is attached to no load balancer: the command that attaches it.
pub fn attach(context: CheckContext<'_>) -> String {
    let found = context.facts.load_balancers_of_vpc.iter().flatten();
    let of_vpc: Vec<(&LoadBalancer, &[Listener])> =
        found.filter_map(|it| Some((&it.load_balancer, it.listeners.as_deref().ok()?))).collect();
    // A listener that is there serves another database, perhaps.
    if let Some((free, listeners)) =
        of_vpc.iter().find(|(_, listeners)| on_port(context, listeners).is_none())
    {
        let forward = forward(context, free, listeners);
        return format!("if the internal load balancer {} is meant for this database, {forward}", free.name);
    }
    if let Some((taken, listeners)) = of_vpc.first() {
        return forward(context, taken, listeners);
    }
    let vpc = context.vpc().unwrap_or("VPC");
    let query =
        format!("LoadBalancers[?VpcId=='{vpc}' && Type=='network' && Scheme=='internal'].LoadBalancerArn");
    let list = context.aws("elbv2 describe-load-balancers --query {} --output text", &[&query]);
    format!(
        "give an internal network load balancer of the group's VPC a TCP listener that forwards to it: {list}"
    )
}

fn on_port<'l>(context: CheckContext<'_>, listeners: &'l [Listener]) -> Option<&'l Listener> {
    listeners.iter().find(|listener| Some(listener.port) == context.port())
}

/// The command that changes the listener on the database's port, or creates one if the port is free.
fn forward(context: CheckContext<'_>, load_balancer: &LoadBalancer, listeners: &[Listener]) -> String {
    if let Some(listener) = on_port(context, listeners) {
        let others = listener.others(context.group_arn()).join(", ");
        let others = if others.is_empty() { "no group".to_owned() } else { format!("the group {others}") };
        let (port, name, modify) = (listener.port, &load_balancer.name, modify(context, listener));
        return format!(
            "the listener on {port} of {name} forwards to {others}; if nothing else needs that, let it forward to this \
             group: {modify}"
        );
    }
    let port = context.port().unwrap_or(5432).to_string();
    let create = "elbv2 create-listener --load-balancer-arn {} --protocol TCP --port {} --default-actions {}";
    let create = context.aws(create, &[&load_balancer.arn, &port, &action(context)]);
    format!("add a listener to the load balancer {}: {create}", load_balancer.name)
}

fn action(context: CheckContext<'_>) -> String {
    format!("Type=forward,TargetGroupArn={}", context.group_arn())
}

/// The command that makes this a TCP listener that forwards to the group alone.
fn modify(context: CheckContext<'_>, listener: &Listener) -> String {
    let modify = "elbv2 modify-listener --listener-arn {} --protocol TCP --default-actions {}";
    context.aws(modify, &[&listener.arn, &action(context)])
}

fn describe(listener: &Listener) -> String {
    format!("{} {} forwards to the group", listener.protocol, listener.port)
}

fn check_share(context: CheckContext<'_>, listener: &Listener) -> Option<Finding> {
    let group = context.group_arn();
    let others = listener.others(group).join(", ");
    let fix =
        || format!("if this weight is not meant, forward to this group alone: {}", modify(context, listener));
    if !listener.serves(group) {
        let observed = format!("{} with weight 0", describe(listener));
        let impact = match others.as_str() {
            "" => "no target group has a weight, so no connection goes anywhere".to_owned(),
            others => format!("all connections go to the target group {others}"),
        };
        return Some(Finding::problem(CHECK, observed, impact, fix()));
    }
    if others.is_empty() {
        return None;
    }
    let share = match listener.share(group) {
        0 => "less than 1".to_owned(),
        share => share.to_string(),
    };
    let observed = format!("{} with {share} % of the weight", describe(listener));
    let impact = format!("the other connections go to the target group {others}");
    Some(Finding::warning(CHECK, observed, impact, fix()))
}

fn check_protocol(context: CheckContext<'_>, listener: &Listener) -> Option<Finding> {
    if ["TCP", "TCP_UDP"].contains(&listener.protocol.as_str()) {
        return None;
    }
    let fix = format!("make it a TCP listener: {}", modify(context, listener));
    if listener.protocol != "TLS" {
        let impact = "this protocol carries no database connection";
        return Some(Finding::problem(CHECK, describe(listener), impact, fix));
    }
    if let Some(Database { engine, .. }) = context.database().filter(|it| it.begins_in_plain_text()) {
        let impact = format!("clients of {engine} begin in plain text, so every connection fails");
        return Some(Finding::problem(CHECK, describe(listener), impact, fix));
    }
    let impact = "clients of most databases begin in plain text and start TLS inside the connection";
    Some(Finding::warning(CHECK, describe(listener), impact, fix))
}

fn check_port(
    context: CheckContext<'_>,
    load_balancer: &LoadBalancer,
    listeners: &[Listener],
    listener: &Listener,
) -> Option<Finding> {
    let port = context.port().filter(|port| *port != listener.port)?;
    let impact = format!("clients that connect to the database's own port, {port}, cannot connect");
    let forward = forward(context, load_balancer, listeners);
    let or = if on_port(context, listeners).is_some() { "; or" } else { ", or" };
    let fix = format!("give the clients the port {}{or} {forward}", listener.port);
    Some(Finding::warning(CHECK, format!("only {}", describe(listener)), impact, fix))
}

/// A connection without a packet for the listener's idle time-out is forgotten, and the next packet is answered with a
/// reset.
pub fn check_idle_timeout(
    context: CheckContext<'_>,
    attached: &LoadBalancerFacts,
) -> Checked<Option<Finding>> {
    const CHECK: &str = "idle_timeout";
    const ATTRIBUTE: &str = "tcp.idle_timeout.seconds";
    // In seconds (NLB guide, "Listener attributes").
    const DEFAULT: u32 = 350;
    let serving = attached.serving(context.group_arn(), context.port());
    let (Some(attributes), Some(listener)) = (&attached.listener_attributes, serving) else {
        return Ok(None);
    };
    let attributes = attributes.or_not_examined(CHECK, "after how long an idle connection is cut")?;
    let seconds = attributes.get(ATTRIBUTE).and_then(|value| value.parse().ok()).unwrap_or(DEFAULT);
    let observed = format!("a connection is cut after {seconds} s without a packet");
    if seconds >= DEFAULT {
        return Ok(Some(Finding::ok(CHECK, observed)));
    }
    let attribute = format!("Key={ATTRIBUTE},Value={DEFAULT}");
    let modify = "elbv2 modify-listener-attributes --listener-arn {} --attributes {}";
    let modify = context.aws(modify, &[&listener.arn, &attribute]);
    let impact =
        "connection pools of clients keep idle connections for longer than that, and then find them reset";
    let fix = format!(
        "let the clients send TCP keepalives more often than every {seconds} s, or raise this time-out to AWS's default of \
         {DEFAULT} s: {modify}"
    );
    Ok(Some(Finding::warning(CHECK, observed, impact, fix)))
}
