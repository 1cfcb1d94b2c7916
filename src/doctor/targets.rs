//! The targets: the endpoint's addresses are registered, healthy, and alone.

use std::collections::{BTreeMap, BTreeSet};

use super::context::CheckContext;
use super::facts::{ALL_ZONES, DatabaseKind, Health};
use super::finding::{Checked, FactOr as _, Finding, FindingKind, Severity};
use super::shell::line;
use crate::binding::{Binding, Role};
use crate::plan::{AllowedExtras, Confirmation, StandbyPolicy, TargetState, Targets, plan};
use crate::text::Joined as _;

/// `is_admitted` says that the security groups let the load balancer through, as the checks of the network saw.
pub fn findings(context: CheckContext<'_>, is_admitted: bool) -> Checked<Vec<Finding>> {
    let not_checked = "whether the endpoint's addresses are registered, healthy and alone";
    let targets = context.facts.targets.or_problem("targets", not_checked)?;
    let Some(wanted) = context.wanted() else {
        let observed =
            format!("it is not known whether the group is right: it holds {}", describe(targets.iter()));
        let impact = "not checked: whether these are the endpoint's addresses, since the addresses or the port are not known";
        let fix = "see the findings about the endpoint and the group";
        let finding = Finding::warning("targets", observed, impact, fix);
        return Ok(vec![finding.of_kind(FindingKind::Unknown)]);
    };
    let group = HeldTargets { context, wanted, targets };
    let registered = group.wanted.iter().map(|address| group.check_registered(address, is_admitted));
    let others = match context.binding.standby {
        StandbyPolicy::Deregister => vec![group.check_stale_targets(None)],
        StandbyPolicy::Keep => group.check_standby(),
    };
    Ok(registered.chain(others).collect())
}

fn describe<'a>(targets: impl Iterator<Item = (&'a String, &'a Health)>) -> String {
    targets.map(|(target, health)| format!("{target} ({})", health.state)).listed_or("no target")
}

struct HeldTargets<'a> {
    context: CheckContext<'a>,
    /// The targets that belong in the group.
    wanted: BTreeSet<String>,
    targets: &'a BTreeMap<String, Health>,
}

impl<'a> HeldTargets<'a> {
    fn check_registered(&self, address: &str, is_admitted: bool) -> Finding {
        let context = self.context;
        let what = context.target_noun();
        let Some(Health { state, reason, .. }) =
            self.targets.get(address).filter(|health| !health.is_draining())
        else {
            let observed = format!(
                "the {what} {address} is not in the group, which holds {}",
                describe(self.targets.iter())
            );
            let impact = "clients are cut off, or reach another database";
            return Finding::problem("targets", observed, impact, sync_now(context))
                .of_kind(FindingKind::OutOfSync);
        };
        let explanation = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let observed = format!("the {what} {address} is {state}{explanation}");
        let (impact, fix) = match (state.as_str(), reason.as_deref().unwrap_or_default()) {
            ("healthy", _) => return Finding::ok("targets", observed),
            ("initial", _) => {
                let impact = "clients do not reach it yet: a new target takes one to five minutes";
                return Finding::warning("targets", observed, impact, "wait, then run the doctor again");
            }
            ("unavailable" | "unused", reason)
                if !["Target.NotInUse", "Target.IpUnusable"].contains(&reason) =>
            {
                let impact = "it is not known whether clients reach it";
                let enable = "elbv2 modify-target-group --target-group-arn {} --health-check-enabled";
                let enable = context.aws(enable, &[context.group_arn()]);
                let fix = match reason {
                    "Target.HealthCheckDisabled" => format!("turn the health check on: {enable}"),
                    _ => "check the group's listener and its health check".to_owned(),
                };
                return Finding::warning("targets", observed, impact, fix).of_kind(FindingKind::NoTraffic);
            }
            (_, "Target.NotInUse") => (
                "the load balancer does not use it: no listener forwards to the group, or the target's zone is not \
             one of the load balancer's",
                "check the listeners and the zones of the load balancer".to_owned(),
            ),
            (_, "Target.IpUnusable") => {
                ("a load balancer uses this address", "check what the endpoint's name resolves to".to_owned())
            }
            _ => {
                let fix = match is_admitted {
                true => "the security groups admit the load balancer: see network_acls and routes, and whether the \
                         database is available and listens on its port"
                    .to_owned(),
                false => format!("if the database is available, {}", admit(context)),
            };
                ("clients are cut off: the health check does not reach the database", fix)
            }
        };
        Finding::problem("targets", observed, impact, fix).of_kind(FindingKind::NoTraffic)
    }

    fn check_standby(&self) -> Vec<Finding> {
        let Some((standby, health)) = self.kept_by_the_plan() else {
            let observed =
                "the group holds no standby yet; the previous writer's address is kept at the next failover";
            return vec![Finding::ok("standby", observed), self.check_stale_targets(None)];
        };
        let kept = self.check_kept_target(standby, health);
        let mut stale = self.check_stale_targets(Some(standby));
        if kept.level != Severity::Ok && stale.level == Severity::Ok {
            stale.observed += &format!(" besides {standby}, see the finding standby");
        }
        vec![kept, stale]
    }

    /// The target that the function would keep as the standby, whether it is the standby or not: its plan knows no zones.
    fn kept_by_the_plan(&self) -> Option<(&'a String, &'a Health)> {
        let parsed = self.targets.iter().filter_map(|(target, health)| Some((target.parse().ok()?, health)));
        let mut states: Targets =
            parsed.map(|(target, health)| (target, TargetState::parse(&health.state))).collect();
        let extras = AllowedExtras { standby: StandbyPolicy::Keep, ..AllowedExtras::default() };
        let (addresses, port) =
            (&self.context.facts.resolution.as_ref().ok()?.addresses, self.context.port()?);
        let plan = plan(addresses, port, &states, Confirmation::Confirmed, &extras);
        states.retain(|target, state| {
            state.is_active() && !plan.deregister.contains(target) && !plan.waiting.contains_key(target)
        });
        let mut staying = states.into_keys().map(|target| target.to_string());
        self.targets.get_key_value(&staying.find(|target| !self.wanted.contains(target))?)
    }

    fn check_kept_target(&self, target: &str, health: &Health) -> Finding {
        const CHECK: &str = "standby";
        let whether = format!("whether the unhealthy {target} is the standby");
        let Self { context, wanted, targets } = self;
        let Some(database) = context.database() else {
            let observed = format!("{whether}: the database is not known");
            return Finding::not_examined(CHECK, observed, "see the finding database");
        };
        if database.kind != DatabaseKind::Instance || !database.is_multi_az {
            let observed = format!("{whether}: the database has none");
            return Finding::not_examined(CHECK, observed, "see the finding standby_policy");
        }
        let here = health.zone.as_deref().filter(|zone| *zone != ALL_ZONES);
        let there = context.writer_host().and_then(|host| host.standby_zone.as_deref());
        let Some((here, there)) = here.zip(there).filter(|(here, there)| here != there) else {
            return Finding {
                impact: Some("the group's UnHealthyHostCount is one in normal times".to_owned()),
                fix: Some("alarm on HealthyHostCount below one instead".to_owned()),
                ..Finding::ok(CHECK, format!("{target} is kept as the standby, and is unhealthy as expected"))
            };
        };
        let places = format!("the target is in {here}, and the standby in {there}");
        let is_healthy = |address| targets.get(address).is_some_and(|health| health.state == "healthy");
        if !wanted.iter().all(is_healthy) {
            let fix = "run the doctor again after a minute: in a failover they differ";
            return Finding::not_examined(CHECK, format!("{whether}: {places}"), fix);
        }
        let (address, port) = target.rsplit_once(':').unwrap_or((target, ""));
        let id = format!("Id={},Port={port}", address.trim_matches(['[', ']']));
        let deregister = "elbv2 deregister-targets --target-group-arn {} --targets {}";
        let deregister = context.aws(deregister, &[context.group_arn(), &id]);
        let observed = format!("the unhealthy {target} is kept and is not the standby: {places}");
        let impact = "the function keeps one unhealthy target: while it is this one, the standby's address is not kept";
        let fix = format!(
            "run the doctor again after a minute, since in a failover they differ; if the difference stays, deregister \
             it: {deregister}"
        );
        Finding::warning(CHECK, observed, impact, fix)
    }

    /// `kept` is the target that stays as the standby.
    fn check_stale_targets(&self, kept: Option<&String>) -> Finding {
        const CHECK: &str = "stale_targets";
        let Self { context, wanted, targets } = self;
        let others = targets.iter().filter(|(target, _)| !wanted.contains(*target) && Some(*target) != kept);
        let (draining, stale): (Vec<_>, Vec<_>) = others.partition(|(_, health)| health.is_draining());
        if stale.is_empty() {
            let draining = draining.into_iter();
            let observed = if draining.len() == 0 {
                "none".to_owned()
            } else {
                format!("draining: {}", describe(draining))
            };
            return Finding::ok(CHECK, observed);
        }
        let observed = describe(stale.iter().copied());
        // In a failover the function registers the reader that becomes the writer early.
        let is_cluster = context.database().is_some_and(|database| database.kind == DatabaseKind::Cluster);
        let is_registered = |address| targets.get(address).is_some_and(|health| !health.is_draining());
        let is_early = is_cluster && context.binding.role == Role::Writer && wanted.iter().all(is_registered);
        if is_early && stale.iter().all(|(_, health)| health.state == "initial") {
            let impact = "in a failover, the function registers the next writer early; at another time, the load balancer \
                      will send a part of the clients to them";
            return Finding::warning(CHECK, observed, impact, "run the doctor again in some minutes");
        }
        let impact = "the load balancer sends a part of the clients to them";
        let fix = format!("{}. {}", sync_now(*context), stop_external_changes(*context));
        Finding::problem(CHECK, observed, impact, fix).of_kind(FindingKind::OutOfSync)
    }
}

/// The commands that make the database's security group admit the load balancer.
fn admit(context: CheckContext<'_>) -> String {
    let load_balancer = context.facts.load_balancers.as_ref().ok().and_then(|list| list.first());
    let (Some(group), Some(attached)) = (context.security_groups().first(), load_balancer) else {
        return "admit the load balancer (its security groups, or its subnets' ranges) in the database's \
                security group, and check that the database listens on its port"
            .to_owned();
    };
    let port = context.port().unwrap_or_default().to_string();
    let by_port = "ec2 authorize-security-group-ingress --group-id {} --protocol tcp --port {}";
    // In another VPC, a rule may not name the load balancer's group everywhere.
    let vpc = attached.load_balancer.vpc.as_deref();
    let is_same_vpc = context.writer_host().is_none_or(|host| host.is_in_vpc(vpc));
    if let Some(source) = attached.load_balancer.security_groups.first().filter(|_| is_same_vpc) {
        let ingress = context.aws(by_port, &[group, &port, "--source-group", source]);
        return format!(
            "let the database's security group {group} admit the load balancer's {source}: {ingress} and check that {source} \
             allows this port outbound"
        );
    }
    let (ranges, xargs, each) = if context.is_v6() {
        // The option --cidr takes IPv4 alone. Each range is on a line of its own.
        let permission =
            format!("IpProtocol=tcp,FromPort={port},ToPort={port},Ipv6Ranges=[{{CidrIpv6=CIDR}}]");
        let each = "aws ec2 authorize-security-group-ingress --region {} --group-id {} --ip-permissions {}";
        let each = line(each, &[context.region(), group, &permission]);
        ("Subnets[].Ipv6CidrBlockAssociationSet[].[Ipv6CidrBlock]", "xargs -I CIDR", each)
    } else {
        let each = format!("{} --cidr", context.aws_line(by_port, &[group, &port]));
        ("Subnets[].CidrBlock", "xargs -n 1", each)
    };
    let mut values = vec![context.region()];
    values.extend(attached.load_balancer.zones.values().map(String::as_str));
    values.extend(["--query", ranges, "--output", "text"]);
    let list = line("aws ec2 describe-subnets --region {} --subnet-ids", &values);
    format!("admit the load balancer's subnets in the database's security group: `{list} | {xargs} {each}`")
}

fn sync_now(context: CheckContext<'_>) -> String {
    let Binding { endpoint, target_group, port, databases, role, standby } = context.binding;
    let port = port.map(|port| port.to_string());
    let databases = databases.join(",");
    let role = match role {
        Role::Writer => None,
        Role::Readers => Some("readers"),
        Role::All => Some("all"),
    };
    let options = [
        ("--port", port.as_deref()),
        ("--database", Some(databases.as_str()).filter(|list| !list.is_empty())),
        ("--role", role),
        ("--standby", (*standby == StandbyPolicy::Keep).then_some("keep")),
    ];
    let region = format!("AWS_REGION={}", context.region());
    let mut values = vec![region.as_str(), endpoint, target_group.as_str()];
    values.extend(options.into_iter().filter_map(|(name, value)| Some([name, value?])).flatten());
    format!(
        "the next check does it; to do it now, invoke the function with {{\"command\": \"check\"}}, or run `{}`",
        line("{} rds-nlb-sync check --endpoint {} --target-group {}", &values)
    )
}

/// The fix for a stale target that comes back after every check: another program registers it.
fn stop_external_changes(context: CheckContext<'_>) -> String {
    let events = "cloudtrail lookup-events --lookup-attributes \
                  AttributeKey=EventName,AttributeValue=RegisterTargets --max-items 10 --query \
                  Events[].[EventTime,Username,CloudTrailEvent] --output text";
    let events = context.aws(events, &[]);
    format!(
        "If the address comes back after a check, something else registers it. In Terraform, remove the \
         aws_lb_target_group_attachment of this group. This lists who registers targets: {events}"
    )
}
