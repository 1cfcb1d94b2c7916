//! One fault at a time, and the finding it must give.

use super::*;

/// A fault in otherwise healthy facts, and the finding of one check.
struct Case {
    check: &'static str,
    level: Severity,
    /// A part of `Finding::observed`.
    observed: &'static str,
    /// A part of `Finding::fix`.
    fix: &'static str,
    fault: fn(&mut Facts),
}

const fn skips(
    check: &'static str,
    observed: &'static str,
    fix: &'static str,
    fault: fn(&mut Facts),
) -> Case {
    Case { check, level: Severity::NotExamined, observed, fix, fault }
}

const fn warns(
    check: &'static str,
    observed: &'static str,
    fix: &'static str,
    fault: fn(&mut Facts),
) -> Case {
    Case { check, level: Severity::Warning, observed, fix, fault }
}

const fn fails(
    check: &'static str,
    observed: &'static str,
    fix: &'static str,
    fault: fn(&mut Facts),
) -> Case {
    Case { check, level: Severity::Problem, observed, fix, fault }
}

/// No listener forwards to the group.
fn detach(facts: &mut Facts) {
    group(facts).load_balancers.clear();
    set_health(facts, "unused", "Target.NotInUse");
}

/// The writer and its target are in this zone.
fn place_writer(facts: &mut Facts, zone: &str) {
    set_health(facts, "unused", "Target.NotInUse");
    let target = facts.targets.as_mut().unwrap().values_mut().next();
    target.unwrap().zone = Some(zone.into());
    host_of(facts, 0).zone = Some(zone.into());
}

const CASES: &[Case] = &[
    fails("endpoint", "NXDOMAIN", "check the endpoint's name", |facts| {
        let reason = "could not resolve it: the name does not exist (NXDOMAIN)".into();
        let fix = Some("check the endpoint's name".into());
        facts.resolution = Err(Unread { kind: ErrorKind::NoAnswer, reason, fix });
    }),
    fails("endpoint", "ran out", "run the doctor again", |facts| {
        let reason = "could not resolve it before the time ran out".into();
        facts.resolution = Err(Unread { kind: ErrorKind::DeadlineExceeded, reason, fix: None });
    }),
    fails("endpoint_kind", "a reader endpoint", "--db-cluster-identifier orders", |facts| {
        rename_endpoint(facts, "orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com");
    }),
    fails("endpoint_kind", "a custom cluster endpoint", "writer endpoint", |facts| {
        rename_endpoint(facts, "reports.cluster-custom-abc123.us-east-1.rds.amazonaws.com");
    }),
    fails("endpoint_kind", "an instance of the cluster orders", "--db-cluster-identifier orders", |facts| {
        instance_of(facts, Some("orders"));
    }),
    warns("database", "AccessDenied", "allow rds:DescribeDBClusters", |facts| {
        facts.database = Err(denied("rds:DescribeDBClusters"));
    }),
    skips("database", "no cluster or instance called orders", "account and Region", |facts| {
        facts.database = Ok(None);
        facts.hosts = Ok(Vec::new());
    }),
    warns("database", "no cluster or instance called db", "`database`", |facts| {
        facts.resolution = Ok(resolution(&["db.example.com"]));
        facts.identifier = "db".into();
        facts.database = Ok(None);
        facts.hosts = Ok(Vec::new());
    }),
    skips("database", "an RDS Proxy", "describe-db-proxy-targets --db-proxy-name orders", |facts| {
        rename_endpoint(facts, "orders.proxy-abc123.us-east-1.rds.amazonaws.com");
        facts.database = Ok(None);
    }),
    skips("database", "an RDS Proxy", "--db-proxy-endpoint-name reader", |facts| {
        rename_endpoint(facts, "reader.endpoint.proxy-abc123.us-east-1.rds.amazonaws.com");
        facts.database = Ok(None);
    }),
    fails(
        "database",
        "the cluster orders is stopped",
        "start-db-cluster --db-cluster-identifier orders",
        |facts| {
            database(facts).status = "stopped".into();
        },
    ),
    fails("database", "instance orders is stopped", "start-db-instance --db-instance-identifier", |facts| {
        instance_of(facts, None);
        database(facts).status = "stopped".into();
    }),
    fails(
        "database",
        "instance orders is stopped",
        "start-db-cluster --db-cluster-identifier shop",
        |facts| {
            instance_of(facts, Some("shop"));
            database(facts).status = "stopped".into();
        },
    ),
    fails("database", "incompatible-network", "describe-events --source-type db-cluster", |facts| {
        database(facts).status = "incompatible-network".into();
    }),
    warns("database", "failing-over", "wait", |facts| database(facts).status = "failing-over".into()),
    fails("database_port", "listens on 3306", "set the binding's `port` to 3306", |facts| {
        database(facts).port = Some(3306);
    }),
    warns("writer", "DNS names orders-1, and RDS names orders-2", "NAMESERVERS", |facts| {
        database(facts).described.members = [("orders-1".into(), false), ("orders-2".into(), true)].into();
    }),
    fails("target_group", "AccessDenied", "allow elasticloadbalancing:DescribeTargetGroups", |facts| {
        facts.group = Err(denied("elasticloadbalancing:DescribeTargetGroups"));
    }),
    fails("target_type", "instance", "--target-type ip", |facts| {
        group(facts).target_type = "instance".into()
    }),
    fails("protocol", "UDP", "create-target-group", |facts| group(facts).protocol = "UDP".into()),
    fails("protocol", "TLS", "--target-type ip --ip-address-type ipv6", |facts| {
        group(facts).protocol = "TLS".into();
        group(facts).address_type = "ipv6".into();
    }),
    fails("protocol", "TLS", "create-target-group --name orders-tcp", |facts| {
        group(facts).protocol = "TLS".into()
    }),
    warns("health_check", "disabled", "--health-check-enabled", |facts| {
        group(facts).health_check.enabled = false;
    }),
    fails("health_check", "by HTTP", "--health-check-protocol TCP", |facts| {
        group(facts).health_check.protocol = "HTTP".into();
        set_health(facts, "unhealthy", "Target.ResponseCodeMismatch");
    }),
    warns("health_check", "checks port 80", "--health-check-port traffic-port", |facts| {
        group(facts).health_check.port = "80".into();
    }),
    warns(
        "health_check",
        "unhealthy after 60 s",
        "-interval-seconds 10 --health-check-timeout-seconds 10",
        |facts| {
            group(facts).health_check.interval = Some(30);
        },
    ),
    skips("health_check", "does not say how often it is checked", "describe-target-groups", |facts| {
        group(facts).health_check.interval = None;
    }),
    warns("attributes", "AccessDenied", "DescribeTargetGroupAttributes", |facts| {
        facts.attributes = Err(denied("elasticloadbalancing:DescribeTargetGroupAttributes"));
    }),
    warns("deregistration", "keeps its connections", "connection_termination.enabled,Value=true", |facts| {
        set_attribute(facts, "deregistration_delay.connection_termination.enabled", "false");
    }),
    warns("deregistration", "after 300 s", "timeout_seconds,Value=60", |facts| {
        set_attribute(facts, "deregistration_delay.timeout_seconds", "300");
    }),
    warns("deregistration", "after 0 s", "timeout_seconds,Value=60", |facts| {
        set_attribute(facts, "deregistration_delay.timeout_seconds", "0");
    }),
    warns("unhealthy_targets", "are kept", "Value=true", |facts| {
        set_attribute(facts, "target_health_state.unhealthy.connection_termination.enabled", "false");
    }),
    warns("client_addresses", "preserved", "preserve_client_ip.enabled,Value=false", |facts| {
        set_attribute(facts, "preserve_client_ip.enabled", "true");
    }),
    fails(
        "proxy_protocol",
        "Proxy Protocol version 2 is on",
        "proxy_protocol_v2.enabled,Value=false",
        |facts| {
            set_attribute(facts, "proxy_protocol_v2.enabled", "true");
        },
    ),
    fails("load_balancer", "attached to no load balancer", "describe-load-balancers", |facts| {
        group(facts).load_balancers.clear();
        facts.load_balancers = Ok(Vec::new());
    }),
    fails("load_balancer", "attached to no load balancer", LISTENER, |facts| {
        detach(facts);
        listener(facts).forwards = vec![(OTHER.into(), 1)];
        facts.load_balancers_of_vpc = std::mem::replace(&mut facts.load_balancers, Ok(Vec::new()));
    }),
    fails(
        "load_balancer",
        "attached to no load balancer",
        "create-listener --load-balancer-arn arn:aws",
        |facts| {
            detach(facts);
            listener(facts).port = 1;
            facts.load_balancers_of_vpc = std::mem::replace(&mut facts.load_balancers, Ok(Vec::new()));
        },
    ),
    skips(
        "load_balancer",
        "which internal load balancer of the VPC could forward to the group: could not ask: AccessDenied",
        "allow elasticloadbalancing:DescribeLoadBalancers",
        |facts| {
            detach(facts);
            facts.load_balancers = Ok(Vec::new());
            facts.load_balancers_of_vpc = Err(denied("elasticloadbalancing:DescribeLoadBalancers"));
        },
    ),
    skips(
        "load_balancer",
        "which internal load balancer",
        "elasticloadbalancing:DescribeListeners",
        |facts| {
            detach(facts);
            attached(facts).listeners = Err(denied("elasticloadbalancing:DescribeListeners"));
            facts.load_balancers_of_vpc = std::mem::replace(&mut facts.load_balancers, Ok(Vec::new()));
        },
    ),
    warns("load_balancer", "AccessDenied", "allow elasticloadbalancing:DescribeLoadBalancers", |facts| {
        facts.load_balancers = Err(denied("elasticloadbalancing:DescribeLoadBalancers"));
    }),
    fails("load_balancer", "application", "network load balancer", |facts| {
        load_balancer(facts).kind = "application".into();
    }),
    fails("load_balancer", "failed", "create it again", |facts| load_balancer(facts).state = "failed".into()),
    warns("load_balancer", "provisioning", "in some minutes", |facts| {
        load_balancer(facts).state = "provisioning".into();
    }),
    warns("scheme", "internet-facing", "internal", |facts| {
        load_balancer(facts).scheme = "internet-facing".into()
    }),
    warns("zones", "us-east-1a", "describe-subnets", |facts| {
        load_balancer(facts).zones.remove("us-east-1b");
        facts.hosts = Ok(Vec::new());
    }),
    fails("zones", "the writer is in us-east-1c", "--subnets subnet-a subnet-b subnet-c", |facts| {
        place_writer(facts, "us-east-1c");
    }),
    fails("zones", "the writer is in us-east-1c", "Name=availability-zone,Values=us-east-1c", |facts| {
        place_writer(facts, "us-east-1c");
        facts.hosts = Err(denied("rds:DescribeDBInstances"));
    }),
    skips("failover_zones", "AccessDenied", "allow rds:DescribeDBClusters", |facts| {
        facts.database = Err(denied("rds:DescribeDBClusters"));
        facts.hosts = Ok(Vec::new());
    }),
    warns("failover_zones", "orders-2 is in us-east-1c", "subnet-a subnet-b subnet-c", |facts| {
        host_of(facts, 1).zone = Some("us-east-1c".into());
    }),
    warns("failover_zones", "the standby of orders is in us-east-1c", "subnet-c", |facts| {
        instance_of(facts, None);
        host_of(facts, 0).standby_zone = Some("us-east-1c".into());
    }),
    skips("failover_zones", "AccessDenied", "allow rds:DescribeDBInstances", |facts| {
        facts.hosts = Err(denied("rds:DescribeDBInstances"));
    }),
    warns(
        "connect_errors",
        "default.aurora-mysql8.0 of orders-1, orders-2",
        "--db-instance-identifier orders-2",
        |facts| {
            mysql(facts, "default.aurora-mysql8.0");
        },
    ),
    warns("connect_errors", "orders-parameters", "--db-parameter-group-name orders-parameters", |facts| {
        mysql(facts, "orders-parameters");
        set_parameters(facts, "orders-parameters", &[("max_connect_errors", "100")]);
    }),
    // The writer is protected, and the next one is not.
    warns(
        "connect_errors",
        "low in the parameter group default.aurora-mysql8.0 of orders-2",
        "orders-2",
        |facts| {
            mysql(facts, "orders-parameters");
            set_parameters(facts, "orders-parameters", &[("max_connect_errors", "1000000000")]);
            host_of(facts, 1).parameter_group = Some("default.aurora-mysql8.0".into());
            set_parameters(facts, "default.aurora-mysql8.0", &[]);
        },
    ),
    warns(
        "connect_errors",
        "orders-1 may wait for a reboot before it uses max_connect_errors of the parameter group orders-parameters",
        "SHOW GLOBAL VARIABLES LIKE 'max_connect_errors'. Only if it is not the group's, reboot",
        |facts| {
            mysql(facts, "orders-parameters");
            set_parameters(facts, "orders-parameters", &[("max_connect_errors", "1000000000")]);
            host_of(facts, 0).needs_reboot = true;
        },
    ),
    warns("connect_errors", "it uses skip_name_resolve of", "--db-instance-identifier orders-1", |facts| {
        mysql(facts, "orders-parameters");
        set_parameters(facts, "orders-parameters", &[("skip_name_resolve", "1")]);
        host_of(facts, 0).needs_reboot = true;
    }),
    // A Multi-AZ cluster's own group decides, whatever its instances are.
    warns("connect_errors", "low in the parameter group orders-cluster", "orders-cluster", |facts| {
        mysql(facts, "default.mysql8.0");
        database(facts).engine = "mysql".into();
        set_parameters(facts, "orders-cluster", &[("max_connect_errors", "100")]);
        facts.hosts = Err(denied("rds:DescribeDBInstances"));
    }),
    warns(
        "connect_errors",
        "orders may wait for a reboot",
        "reboot-db-cluster --db-cluster-identifier orders",
        |facts| {
            mysql(facts, "default.mysql8.0");
            database(facts).engine = "mysql".into();
            database(facts).needs_reboot = true;
            set_parameters(facts, "orders-cluster", &[("max_connect_errors", "1000000000")]);
        },
    ),
    skips("connect_errors", "AccessDenied", "allow rds:DescribeDBClusters", |facts| {
        facts.database = Err(denied("rds:DescribeDBClusters"));
        facts.hosts = Ok(Vec::new());
    }),
    skips("connect_errors", "the rate is exceeded", "the API's limits", |facts| {
        mysql(facts, "orders-parameters");
        let (reason, fix) =
            ("could not ask: the rate is exceeded".into(), Some("check the API's limits".into()));
        facts.hosts = Err(Unread { kind: ErrorKind::Transient, reason, fix });
    }),
    skips("connect_errors", "AccessDenied", "allow rds:DescribeDBParameters", |facts| {
        mysql(facts, "orders-parameters");
        facts.parameters.insert("orders-parameters".into(), Err(denied("rds:DescribeDBParameters")));
    }),
    warns(
        "health_check",
        "unhealthy after 60 s",
        "its max_connect_errors is low, raise that first",
        |facts| {
            mysql(facts, "orders-parameters");
            facts.parameters.insert("orders-parameters".into(), Err(denied("rds:DescribeDBParameters")));
            group(facts).health_check.interval = Some(30);
        },
    ),
    warns("health_check", "unhealthy after 60 s", "raise max_connect_errors first", |facts| {
        mysql(facts, "default.aurora-mysql8.0");
        group(facts).health_check.interval = Some(30);
    }),
    warns(
        "health_check",
        "unhealthy after 60 s",
        "if the database is MySQL or MariaDB and its max_connect_errors is low, raise",
        |facts| {
            facts.database = Err(denied("rds:DescribeDBClusters"));
            group(facts).health_check.interval = Some(30);
        },
    ),
    warns(
        "cross_zone",
        "AccessDenied",
        "allow elasticloadbalancing:DescribeTargetGroupAttributes",
        |facts| {
            facts.attributes = Err(denied("elasticloadbalancing:DescribeTargetGroupAttributes"));
        },
    ),
    fails("cross_zone", "off, by the load balancer's attribute", "cross_zone.enabled,Value=true", |facts| {
        attached(facts).cross_zone = Ok(false);
    }),
    fails("cross_zone", "off, by the group's attribute", "cross_zone.enabled,Value=true", |facts| {
        set_attribute(facts, "load_balancing.cross_zone.enabled", "false");
    }),
    warns("cross_zone", "AccessDenied", "DescribeLoadBalancerAttributes", |facts| {
        attached(facts).cross_zone = Err(denied("elasticloadbalancing:DescribeLoadBalancerAttributes"));
    }),
    fails(
        "listener",
        "no listener of the load balancer orders forwards",
        "forwards to the group other",
        |facts| {
            listener(facts).forwards = vec![(OTHER.into(), 1)];
        },
    ),
    fails("listener", "the load balancer orders has no listener", "--protocol TCP --port 5432", |facts| {
        attached(facts).listeners = Ok(Vec::new());
    }),
    fails("listener", "with weight 0", "modify-listener --listener-arn arn:aws", |facts| {
        listener(facts).forwards = vec![(GROUP.into(), 0), (OTHER.into(), 10)];
    }),
    warns("listener", "with 25 % of the weight", "modify-listener", |facts| {
        listener(facts).forwards = vec![(GROUP.into(), 1), (OTHER.into(), 3)];
    }),
    warns("listener", "with less than 1 % of the weight", "modify-listener", |facts| {
        listener(facts).forwards = vec![(GROUP.into(), 1), (OTHER.into(), 999)];
    }),
    fails("listener", "TLS 5432", "--protocol TCP --default-actions", |facts| {
        listener(facts).protocol = "TLS".into();
    }),
    warns("listener", "TLS 5432", "modify-listener", |facts| {
        listener(facts).protocol = "TLS".into();
        database(facts).engine = "oracle-ee".into();
    }),
    fails("listener", "UDP 5432", "modify-listener", |facts| listener(facts).protocol = "UDP".into()),
    warns(
        "listener",
        "TCP 15432",
        "the port 15432, or add a listener to the load balancer orders: ",
        |facts| listener(facts).port = 15432,
    ),
    warns(
        "listener",
        "TCP 15432",
        "the port 15432; or the listener on 5432 of orders forwards to the group other; if \
                                    nothing else needs that",
        |facts| {
            let mut second = listener(facts).clone();
            second.forwards = vec![(OTHER.into(), 1)];
            listener(facts).port = 15432;
            attached(facts).listeners.as_mut().unwrap().push(second);
        },
    ),
    warns("listener", "AccessDenied", "allow elasticloadbalancing:DescribeListeners", |facts| {
        attached(facts).listeners = Err(denied("elasticloadbalancing:DescribeListeners"));
    }),
    warns("idle_timeout", "after 60 s", "Key=tcp.idle_timeout.seconds,Value=350", |facts| {
        let attributes = strings([("tcp.idle_timeout.seconds", "60")]);
        attached(facts).listener_attributes = Some(Ok(attributes.into()));
    }),
    skips("idle_timeout", "AccessDenied", "allow elasticloadbalancing:DescribeListenerAttributes", |facts| {
        let denied = denied("elasticloadbalancing:DescribeListenerAttributes");
        attached(facts).listener_attributes = Some(Err(denied));
    }),
    skips("require_tls", "AccessDenied", "allow rds:DescribeDBClusterParameters", |facts| {
        facts.tls_parameters = Some(Err(denied("rds:DescribeDBClusterParameters")));
    }),
    skips("security_groups", "sg-1", "private-link-traffic off", |facts| {
        load_balancer(facts).security_groups = vec!["sg-1".into()];
    }),
    fails("dualstack", "ipv4 alone", "--ip-address-type dualstack", |facts| {
        group(facts).address_type = "ipv6".into();
    }),
    fails("targets", "AccessDenied", "allow elasticloadbalancing:DescribeTargetHealth", |facts| {
        facts.targets = Err(denied("elasticloadbalancing:DescribeTargetHealth"));
    }),
    fails(
        "targets",
        "10.0.1.10:5432 is not in the group, which holds no target",
        "rds-nlb-sync check --endpoint",
        |facts| {
            set_targets(facts, &[]);
        },
    ),
    fails("targets", "which holds 10.0.1.10:5432 (draining)", "rds-nlb-sync check --endpoint", |facts| {
        set_targets(facts, &[("10.0.1.10:5432", "draining")]);
    }),
    warns("targets", "is initial", "wait", |facts| set_targets(facts, &[("10.0.1.10:5432", "initial")])),
    fails("targets", "(Target.FailedHealthChecks)", "--subnet-ids subnet-a subnet-b", |facts| {
        set_health(facts, "unhealthy", "Target.FailedHealthChecks");
    }),
    fails("targets", "(Target.Timeout)", "--port 5432 --source-group sg-1", |facts| {
        set_health(facts, "unhealthy", "Target.Timeout");
        load_balancer(facts).security_groups = vec!["sg-1".into()];
    }),
    // A rule may not name a group of another VPC everywhere.
    fails("targets", "(Target.Timeout)", "--subnet-ids subnet-a subnet-b", |facts| {
        set_health(facts, "unhealthy", "Target.Timeout");
        load_balancer(facts).security_groups = vec!["sg-1".into()];
        (0..2).for_each(|index| host_of(facts, index).vpc = Some("vpc-2".into()));
    }),
    fails("targets", "(Target.Timeout)", "Ipv6Ranges=[{CidrIpv6=CIDR}]", |facts| {
        set_health(facts, "unhealthy", "Target.Timeout");
        group(facts).address_type = "ipv6".into();
    }),
    fails("targets", "(Target.NotInUse)", "check the listeners", |facts| {
        set_health(facts, "unused", "Target.NotInUse");
    }),
    fails("targets", "(Target.IpUnusable)", "the endpoint's name", |facts| {
        set_health(facts, "unused", "Target.IpUnusable");
    }),
    warns("targets", "(Target.HealthCheckDisabled)", "--health-check-enabled", |facts| {
        set_health(facts, "unavailable", "Target.HealthCheckDisabled");
    }),
    warns(
        "targets",
        "it is not known whether the group is right: it holds 10.0.1.10:5432 (healthy)",
        "about the endpoint and the group",
        |facts| {
            facts.resolution = Err(denied("nothing"));
        },
    ),
    fails("stale_targets", "10.0.9.9:5432 (healthy)", "aws_lb_target_group_attachment", |facts| {
        set_targets(facts, &[("10.0.1.10:5432", "healthy"), ("10.0.9.9:5432", "healthy")]);
    }),
    warns("stale_targets", "10.0.2.20:5432 (initial)", "run the doctor again in some minutes", |facts| {
        set_targets(facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "initial")]);
    }),
];

#[test]
fn every_fault_has_its_finding_and_fix() {
    for Case { check, level, observed, fix, fault } in CASES {
        let mut facts = healthy_facts();
        fault(&mut facts);
        let findings = findings(&binding(), &facts);
        let found = findings.iter().find(|finding| finding.check == *check && finding.level == *level);
        let found = found.unwrap_or_else(|| panic!("{check}, {observed}: not among {findings:#?}"));
        assert_eq!(found.level, *level, "{found:?}");
        assert!(found.observed.contains(observed), "{observed:?} is not in {found:?}");
        let has_impact = found.impact.as_ref().is_some_and(|impact| !impact.is_empty());
        assert_eq!(has_impact, *level > Severity::Ok, "{found:?}");
        assert!(
            found.fix.as_ref().is_some_and(|message| message.contains(fix)),
            "{fix:?} is not in {found:?}"
        );
    }
}

#[test]
fn every_check_has_a_fault() {
    let findings = findings(&binding(), &healthy_facts());
    let checks = findings.iter().map(|finding| finding.check.as_ref());
    let with_faults: BTreeSet<&str> = CASES.iter().map(|case| case.check).collect();
    // The engine is shown, and both address types are ok: a mismatch shows in the findings `endpoint` or `dualstack`.
    let without: Vec<&str> = checks.filter(|check| !with_faults.contains(check)).collect();
    assert_eq!(without, ["engine", "address_type"]);
}

#[test]
fn fault_affects_only_its_own_check() {
    let mut facts = healthy_facts();
    load_balancer(&mut facts).scheme = "internet-facing".into();
    assert_eq!(faults(&binding(), &facts), ["warning scheme"]);
}

/// One cause is one finding: its consequences refer to it.
#[test]
fn one_cause_is_reported_once() {
    type World = (&'static [&'static str], fn(&mut Facts));
    let worlds: [World; 16] = [
        // Three in a row: the listener follows from the protocol, and the protocol from the type.
        (&["problem target_type"], |facts| {
            group(facts).target_type = "alb".into();
            group(facts).protocol = "TLS".into();
            listener(facts).protocol = "TLS".into();
        }),
        // The state of a database does not follow from its endpoint.
        (&["problem endpoint_kind", "problem database"], |facts| {
            instance_of(facts, Some("orders"));
            database(facts).status = "stopped".into();
            set_health(facts, "unhealthy", "Target.FailedHealthChecks");
        }),
        (&["problem zones"], |facts| place_writer(facts, "us-east-1c")),
        (&["problem load_balancer"], |facts| {
            detach(facts);
            facts.load_balancers = Ok(Vec::new());
        }),
        (&["problem listener"], |facts| {
            listener(facts).forwards = vec![(GROUP.into(), 0), (OTHER.into(), 1)];
            set_health(facts, "unused", "Target.NotInUse");
        }),
        (&["problem health_check"], |facts| {
            group(facts).health_check.protocol = "HTTP".into();
            set_health(facts, "unhealthy", "Target.ResponseCodeMismatch");
        }),
        (&["problem database"], |facts| {
            database(facts).status = "stopped".into();
            set_health(facts, "unhealthy", "Target.FailedHealthChecks");
        }),
        // Registering what a reader endpoint resolves to would make it worse.
        (&["problem endpoint_kind"], |facts| {
            rename_endpoint(facts, "orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com");
            set_targets(facts, &[("10.0.9.9:5432", "healthy")]);
        }),
        (&["problem targets"], |facts| set_targets(facts, &[("10.0.9.9:5432", "healthy")])),
        (&["problem protocol"], |facts| {
            group(facts).protocol = "TLS".into();
            listener(facts).protocol = "TLS".into();
        }),
        (&["problem target_group"], |facts| {
            let silent = || Unread {
                kind: ErrorKind::DeadlineExceeded,
                reason: "could not ask before the time ran out".into(),
                fix: None,
            };
            facts.group = Err(silent());
            facts.attributes = Err(silent());
            facts.targets = Err(silent());
            facts.load_balancers = Ok(Vec::new());
        }),
        (&["warning attributes"], |facts| {
            facts.attributes = Err(denied("elasticloadbalancing:DescribeTargetGroupAttributes"));
        }),
        (&["problem endpoint_kind"], |facts| {
            rename_endpoint(facts, "reports.cluster-custom-abc123.us-east-1.rds.amazonaws.com");
            facts
                .resolution
                .as_mut()
                .unwrap()
                .chain
                .push("orders-2.abc123.us-east-1.rds.amazonaws.com".into());
        }),
        (&["problem target_type"], |facts| {
            group(facts).target_type = "instance".into();
            set_targets(facts, &[("i-1:5432", "healthy")]);
        }),
        (&["problem protocol"], |facts| {
            group(facts).protocol = "UDP".into();
            listener(facts).protocol = "UDP".into();
            set_targets(facts, &[]);
        }),
        (&["warning connect_errors"], |facts| {
            mysql(facts, "default.aurora-mysql8.0");
            group(facts).health_check.interval = Some(30);
        }),
    ];
    for (expected, fault) in worlds {
        let mut facts = healthy_facts();
        fault(&mut facts);
        assert_eq!(faults(&binding(), &facts), expected);
        // A reader finds every consequence below a cause that is reported.
        let report = BindingFindings::new(ENDPOINT, GROUP, findings(&binding(), &facts));
        let is_reported =
            |check: &str| report.findings.iter().any(|it| it.check == check && it.cause.is_none());
        let mut causes = report.findings.iter().filter_map(|finding| finding.cause.as_deref());
        assert!(causes.all(is_reported), "{:#?}", report.findings);
    }
}

/// The health checks of another port never reach the server.
#[test]
fn connect_errors_are_those_of_checks_of_the_databases_port() {
    let with = |port: &str| {
        let mut facts = healthy_facts();
        mysql(&mut facts, "default.aurora-mysql8.0");
        group(&mut facts).health_check.port = port.into();
        faults(&binding(), &facts)
    };
    for port in ["traffic-port", "5432"] {
        assert_eq!(with(port), ["warning connect_errors"], "{port}");
    }
    assert_eq!(with("8080"), ["warning health_check"]);
    let mut facts = healthy_facts();
    mysql(&mut facts, "default.aurora-mysql8.0");
    let check = &mut group(&mut facts).health_check;
    (check.port, check.protocol, check.interval) = ("8080".into(), "HTTP".into(), Some(30));
    let findings = findings(&binding(), &facts);
    let fix = findings.into_iter().find(|it| it.check == "health_check").unwrap().fix.unwrap();
    assert!(fix.starts_with("`aws elbv2 modify-target-group "), "{fix}");
}

/// A check by HTTP of another port that shows a healthy database stays one.
#[test]
fn faster_health_check_keeps_its_protocol_and_port() {
    let mut facts = healthy_facts();
    let check = &mut group(&mut facts).health_check;
    (check.port, check.protocol, check.interval) = ("8080".into(), "HTTP".into(), Some(30));
    let findings = findings(&binding(), &facts);
    let fix = findings.into_iter().find(|it| it.check == "health_check").unwrap().fix.unwrap();
    let pace =
        "--health-check-interval-seconds 10 --health-check-timeout-seconds 10 --unhealthy-threshold-count 2";
    let modify =
        format!("`aws elbv2 modify-target-group --target-group-arn {GROUP} {pace} --region us-east-1`");
    assert_eq!(fix, modify);
}

#[test]
fn listener_whose_weights_are_all_zero_names_no_other_group() {
    let mut facts = healthy_facts();
    listener(&mut facts).forwards = vec![(GROUP.into(), 0), (OTHER.into(), 0)];
    let found = findings(&binding(), &facts).into_iter().find(|it| it.check == "listener").unwrap();
    assert_eq!(found.impact.unwrap(), "no target group has a weight, so no connection goes anywhere");
}

/// A custom endpoint has no identifier of a database.
#[test]
fn unknown_database_follows_from_a_custom_endpoint() {
    let mut facts = healthy_facts();
    let endpoint = "reports.cluster-custom-abc123.us-east-1.rds.amazonaws.com";
    facts.resolution = Err(denied("nothing"));
    (facts.database, facts.hosts) = (Ok(None), Ok(Vec::new()));
    facts.identifier = "reports".into();
    let binding = Binding::new(endpoint, GROUP.parse().unwrap());
    let report = BindingFindings::new(endpoint, GROUP, findings(&binding, &facts));
    let database = report.findings.iter().find(|it| it.check == "database").unwrap();
    assert_eq!((database.level, database.cause.as_deref()), (Severity::Warning, Some("endpoint_kind")));
}

/// Worlds that once gave a wrong or permanent finding.
#[test]
fn unusual_but_healthy_worlds_have_no_fault() {
    let worlds: [fn(&mut Facts); 16] = [
        // One zone holds the load balancer and the whole database.
        |facts| {
            load_balancer(facts).zones.remove("us-east-1b");
            attached(facts).cross_zone = Ok(false);
            host_of(facts, 1).zone = Some("us-east-1a".into());
        },
        |facts| group(facts).health_check.protocol = "HTTP".into(),
        |facts| {
            let second = Listener { port: 15432, ..listener(facts).clone() };
            attached(facts).listeners.as_mut().unwrap().insert(0, second);
        },
        |facts| listener(facts).forwards.push((OTHER.into(), 0)),
        |facts| load_balancer(facts).security_groups = vec!["sg-1".into()],
        // A database of another account.
        |facts| {
            facts.database = Ok(None);
            facts.hosts = Ok(Vec::new());
        },
        |facts| {
            rename_endpoint(facts, "orders.proxy-abc123.us-east-1.rds.amazonaws.com");
            facts.database = Ok(None);
            facts.hosts = Ok(Vec::new());
        },
        |facts| {
            mysql(facts, "orders-parameters");
            set_parameters(facts, "orders-parameters", &[("max_connect_errors", "1000000000")]);
        },
        |facts| {
            mysql(facts, "orders-parameters");
            set_parameters(facts, "orders-parameters", &[("skip_name_resolve", "1")]);
        },
        |facts| {
            mysql(facts, "orders-parameters");
            set_parameters(facts, "orders-parameters", &[("host_cache_size", "0")]);
        },
        // A name of one's own that looks like one of RDS.
        |facts| facts.resolution.as_mut().unwrap().chain.insert(1, "db.cluster-ro-1.example.com".into()),
        |facts| facts.resolution.as_mut().unwrap().chain.insert(1, "db.proxy-net.example.com".into()),
        // The group's attributes are not needed where every zone has a target. They have a finding of their own.
        |facts| {
            load_balancer(facts).zones.remove("us-east-1b");
            host_of(facts, 1).zone = Some("us-east-1a".into());
            attached(facts).cross_zone = Ok(false);
        },
        // A database in a peered VPC, whose other instance is in a zone that the load balancer lacks.
        |facts| {
            (host_of(facts, 1).vpc, host_of(facts, 1).zone) =
                (Some("vpc-2".into()), Some("us-east-1f".into()));
            host_of(facts, 0).vpc = Some("vpc-2".into());
        },
        |facts| {
            set_zone(facts, "10.0.1.10:5432", "all");
            (host_of(facts, 1).vpc, host_of(facts, 1).zone) = (None, Some("us-east-1f".into()));
        },
        // An address outside the VPC is reached from every zone.
        |facts| {
            attached(facts).cross_zone = Ok(false);
            facts.targets.as_mut().unwrap().values_mut().for_each(|it| it.zone = Some("all".into()));
        },
    ];
    for (index, change) in worlds.into_iter().enumerate() {
        let mut facts = healthy_facts();
        change(&mut facts);
        assert_eq!(faults(&binding(), &facts), Vec::<String>::new(), "world {index}");
    }
}

/// Without the group's attributes the load balancer's setting decides nothing.
#[test]
fn unread_attributes_leave_cross_zone_balancing_unknown() {
    let level = |is_on: bool, zone: &str| {
        let mut facts = healthy_facts();
        attached(&mut facts).cross_zone = Ok(is_on);
        facts.attributes = Err(denied("elasticloadbalancing:DescribeTargetGroupAttributes"));
        set_zone(&mut facts, "10.0.1.10:5432", zone);
        findings(&binding(), &facts).into_iter().find(|it| it.check == "cross_zone").unwrap().level
    };
    for is_on in [true, false] {
        assert_eq!(level(is_on, "us-east-1a"), Severity::Warning, "{is_on}");
        assert_eq!(level(is_on, "all"), Severity::Ok, "{is_on}");
    }
}

/// Another database's listener is not taken where a port is free.
#[test]
fn group_is_attached_where_the_port_is_free() {
    let mut facts = healthy_facts();
    detach(&mut facts);
    listener(&mut facts).forwards = vec![(OTHER.into(), 1)];
    let taken = attached(&mut facts).clone();
    let mut free = taken.clone();
    (free.load_balancer.arn, free.listeners) = (BALANCER.replace("/orders/", "/free/"), Ok(Vec::new()));
    free.load_balancer.name = "free".into();
    let fix = |facts: &Facts| {
        let found = findings(&binding(), facts).into_iter().find(|it| it.check == "load_balancer").unwrap();
        found.fix.unwrap()
    };
    (facts.load_balancers, facts.load_balancers_of_vpc) = (Ok(Vec::new()), Ok(vec![taken, free]));
    assert!(fix(&facts).contains("create-listener --load-balancer-arn arn:aws"), "{}", fix(&facts));
    assert!(fix(&facts).contains("net/free/"), "{}", fix(&facts));
    let caveat = "if the internal load balancer free is meant for this database, add a listener to the load balancer free: ";
    assert!(fix(&facts).starts_with(caveat), "{}", fix(&facts));
    facts.load_balancers_of_vpc.as_mut().unwrap().pop();
    assert!(fix(&facts).contains("if nothing else needs that, let it forward"), "{}", fix(&facts));
}

/// The zones of another VPC are not those of the load balancer, also before the writer is registered.
#[test]
fn writer_of_a_peered_vpc_is_in_no_zone_of_the_load_balancer() {
    let mut facts = healthy_facts();
    attached(&mut facts).cross_zone = Ok(false);
    set_targets(&mut facts, &[]);
    for index in 0..2 {
        let host = host_of(&mut facts, index);
        (host.vpc, host.zone) = (Some("vpc-2".into()), Some("us-east-1f".into()));
    }
    assert_eq!(faults(&binding(), &facts), ["problem targets"]);
    (0..2).for_each(|index| host_of(&mut facts, index).vpc = Some("vpc-1".into()));
    let expected = ["problem zones", "problem cross_zone", "problem targets"];
    assert_eq!(faults(&binding(), &facts), expected, "in the same VPC the zone counts");
}

/// A new parameter group is for those with the default one. Another would lose its own parameters.
#[test]
fn parameter_group_is_replaced_only_where_it_is_the_default() {
    let mut facts = healthy_facts();
    mysql(&mut facts, "orders-parameters");
    host_of(&mut facts, 1).parameter_group = Some("default.aurora-mysql8.0".into());
    set_parameters(&mut facts, "default.aurora-mysql8.0", &[]);
    let found = findings(&binding(), &facts).into_iter().find(|it| it.check == "connect_errors").unwrap();
    assert!(
        found.observed.ends_with("default.aurora-mysql8.0 of orders-2; orders-parameters of orders-1"),
        "{found:?}"
    );
    let fix = found.fix.unwrap();
    assert!(fix.contains("modify-db-parameter-group --db-parameter-group-name orders-parameters"), "{fix}");
    assert!(
        fix.contains(
            "--db-instance-identifier orders-2 --db-parameter-group-name orders-nlb-aurora-mysql8-0"
        ),
        "{fix}"
    );
    assert!(!fix.contains("--db-instance-identifier orders-1"), "{fix}");
}

#[test]
fn parameter_that_demands_tls_is_shown() {
    let observed = |engine: &str, parameter: Option<(&str, &str)>| {
        let mut facts = healthy_facts();
        database(&mut facts).engine = engine.into();
        facts.tls_parameters = Some(Ok(strings(parameter.map(|pair| [pair]).unwrap_or([("x", "1")])).into()));
        findings(&binding(), &facts).into_iter().find(|it| it.check == "require_tls").unwrap().observed
    };
    let postgres = "aurora-postgresql";
    assert!(
        observed(postgres, Some(("rds.force_ssl", "1"))).starts_with("clients must use TLS: rds.force_ssl")
    );
    assert!(observed(postgres, Some(("rds.force_ssl", "0"))).starts_with("clients may use TLS"));
    assert!(observed(postgres, Some(("require_secure_transport", "1"))).starts_with("the engine's default"));
    assert!(
        observed("mysql", Some(("require_secure_transport", "ON")))
            .starts_with("clients must use TLS: require")
    );
    assert!(observed("mariadb", None).starts_with("the engine's default"));
}

#[test]
fn readers_in_every_zone_need_no_cross_zone_balancing() {
    let readers = Binding { role: Role::Readers, ..binding() };
    let mut facts = healthy_facts();
    attached(&mut facts).cross_zone = Ok(false);
    assert_eq!(faults(&readers, &facts), ["problem cross_zone"]);
    let addresses = ["10.0.1.10", "10.0.2.20"].map(|address| address.parse().unwrap());
    facts.resolution.as_mut().unwrap().addresses = Addresses::parse(addresses).unwrap();
    set_targets(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "healthy")]);
    let second = facts.targets.as_mut().unwrap().get_mut("10.0.2.20:5432").unwrap();
    second.zone = Some("us-east-1b".into());
    assert_eq!(faults(&readers, &facts), Vec::<String>::new());
}

/// A zone without a known target is not one without a target.
#[test]
fn unknown_zones_of_the_targets_leave_cross_zone_balancing_not_examined() {
    let both = ["10.0.1.10", "10.0.2.20"].map(|address| address.parse().unwrap());
    let with = |role: Role, change: fn(&mut Facts)| {
        let mut facts = healthy_facts();
        attached(&mut facts).cross_zone = Ok(false);
        facts.resolution.as_mut().unwrap().addresses = Addresses::parse(both).unwrap();
        set_targets(&mut facts, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "healthy")]);
        set_zone(&mut facts, "10.0.2.20:5432", "us-east-1b");
        change(&mut facts);
        let findings = findings(&Binding { role, ..binding() }, &facts);
        findings.into_iter().find(|it| it.check == "cross_zone").unwrap().level
    };
    let without_zones: fn(&mut Facts) =
        |facts| facts.targets.as_mut().unwrap().values_mut().for_each(|health| health.zone = None);
    for role in [Role::Readers, Role::All] {
        assert_eq!(with(role, |_| {}), Severity::Ok);
        assert_eq!(with(role, without_zones), Severity::NotExamined);
        let one_of_two: fn(&mut Facts) =
            |facts| facts.targets.as_mut().unwrap().get_mut("10.0.2.20:5432").unwrap().zone = None;
        assert_eq!(with(role, one_of_two), Severity::NotExamined);
        let both_in_one: fn(&mut Facts) = |facts| set_zone(facts, "10.0.2.20:5432", "us-east-1a");
        assert_eq!(with(role, both_in_one), Severity::Problem);
    }
    for role in [Role::Writer, Role::Readers] {
        assert_eq!(with(role, |facts| facts.resolution = Err(denied("nothing"))), Severity::NotExamined);
        assert_eq!(with(role, |facts| facts.targets = Err(denied("nothing"))), Severity::NotExamined);
    }
    assert_eq!(with(Role::Writer, without_zones), Severity::Problem, "the RDS API knows the writer's zone");
}

/// Every command of every fix, for the test of them.
pub fn commands() -> BTreeSet<String> {
    let facts = CASES.iter().map(|case| {
        let mut facts = healthy_facts();
        (case.fault)(&mut facts);
        facts
    });
    let kept = Binding { standby: StandbyPolicy::Keep, ..binding() };
    let mut instance = healthy_facts();
    instance_of(&mut instance, None);
    let mut elsewhere = instance.clone();
    database(&mut elsewhere).is_multi_az = true;
    host_of(&mut elsewhere, 0).standby_zone = Some("us-east-1b".into());
    set_targets(&mut elsewhere, &[("10.0.1.10:5432", "healthy"), ("10.0.2.20:5432", "unhealthy")]);
    let all = facts.flat_map(|facts| findings(&binding(), &facts));
    let all = all.chain([instance, elsewhere].into_iter().flat_map(|facts| findings(&kept, &facts)));
    all.filter_map(|finding| finding.fix).flat_map(|fix| quoted(&fix)).collect()
}

pub fn quoted(fix: &str) -> Vec<String> {
    let parts = fix.split('`').skip(1).step_by(2).map(str::to_owned);
    parts.filter(|part| part.contains(' ')).collect()
}
