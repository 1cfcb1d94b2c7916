//! What the first bytes of a server say, and the finding that they give.

use std::net::IpAddr;

use super::*;

#[test]
fn first_bytes_are_understood() {
    let other = |text: &str| Outcome::Other(text.into());
    for (answer, expected) in [
        (b"".as_slice(), Outcome::Closed),
        (b"S", Outcome::Postgres { offers_tls: true }),
        (b"N", Outcome::Postgres { offers_tls: false }),
        (b"Ecould not fork\n\0", Outcome::PostgresError("could not fork".into())),
        (b"E\0\0\0\x1aSFATAL\0C53300\0Mtoo many\0\0", Outcome::PostgresError("too many".into())),
        // Their first byte is a letter of PostgreSQL, too.
        (b"S\0\0\0\x0a5.7.44-log\0", Outcome::Mysql { version: "5.7.44-log".into() }),
        (b"N\0\0\0\x0a11.4.2-MariaDB\0", Outcome::Mysql { version: "11.4.2-MariaDB".into() }),
        (b"\x0c\0\0\0\xff\x6a\x04#HY000no", Outcome::MysqlError { code: 1130, message: "no".into() }),
        (b"\x05\0\0\0\xff\x6a\x04no", Outcome::MysqlError { code: 1130, message: "no".into() }),
        (b"\x15\x03\x01\0\x02\x02\x28", Outcome::Tls),
        (b"\x16\x03\x03", Outcome::Tls),
        (b"HTTP/1.1 400\r\n", other("HTTP/1.1 400")),
        (b"X", other("X")),
        (b"\x16", other("")),
    ] {
        assert_eq!(parse_answer(answer, Protocol::Unknown), expected, "{answer:?}");
    }
}

#[test]
fn answer_is_read_until_it_is_whole() {
    let is_complete = |answer: &[u8]| is_complete(answer, Protocol::Unknown);
    let greeting = b"\x0e\0\0\0\x0a8.0.36\0rest..";
    assert_eq!(greeting.len(), 18);
    for length in 0..18 {
        assert!(!is_complete(&greeting[..length]), "{length}");
    }
    assert!(is_complete(greeting));
    assert!(!is_complete(b"") && !is_complete(b"Etoo ma") && is_complete(b"Etoo many\0"));
    assert!(is_complete(b"S") && is_complete(b"N") && is_complete(b"HTTP"));
}

/// Its length makes a PostgreSQL error look like a packet of MySQL.
#[test]
fn postgres_error_is_none_of_mysql_where_postgres_is_expected() {
    // The second byte after the length of a MySQL packet, 0xff or 10, marks an error or a greeting.
    for length in [0xff_u8, 10] {
        let mut answer = vec![b'E', 0, 0, 0, length];
        answer.extend(b"Mno\0");
        answer.resize(usize::from(length) + 1, 0);
        let expected = Protocol::Postgres;
        assert_eq!(parse_answer(&answer, expected), Outcome::PostgresError("no".into()));
        assert!(matches!(
            parse_answer(&answer, Protocol::Mysql),
            Outcome::Mysql { .. } | Outcome::MysqlError { .. }
        ));
        for partial in 0..answer.len() {
            assert!(!is_complete(&answer[..partial], expected), "{partial} of {}", answer.len());
        }
        assert!(is_complete(&answer, expected));
    }
    assert!(is_complete(b"Ecould not fork\n\0", Protocol::Postgres));
    let mysql = b"\x05\0\0\0\xff\x6a\x04no";
    assert!(matches!(parse_answer(mysql, Protocol::Postgres), Outcome::MysqlError { .. }));
}

fn replies(outcomes: &[(&str, Outcome)]) -> Handshake {
    let reply = |(address, outcome): &(&str, Outcome)| Reply {
        address: address.parse().unwrap(),
        from: Some("10.0.77.7".parse().unwrap()),
        outcome: outcome.clone(),
    };
    let replies = Ok(outcomes.iter().map(reply).collect());
    Handshake { host: "orders.elb.amazonaws.com".into(), port: 5432, replies }
}

fn judge(facts: &Facts, handshake: &Handshake) -> Finding {
    handshake_findings(CheckContext::new(&binding(), facts), handshake).remove(0)
}

#[test]
fn good_answer_is_ok_and_read_only_is_not_examined() {
    let answers = Outcome::Postgres { offers_tls: true };
    let handshake = replies(&[("10.0.1.5", answers.clone()), ("10.0.2.5", answers)]);
    let findings = handshake_findings(CheckContext::new(&binding(), &healthy_facts()), &handshake);
    assert_eq!(findings[0].level, Severity::Ok);
    assert_eq!(findings[0].observed, "orders.elb.amazonaws.com:5432: PostgreSQL answers and offers TLS");
    assert_eq!((findings[1].check.as_ref(), findings[1].level), ("read_only", Severity::NotExamined));
    let fix = findings[1].fix.as_deref().unwrap();
    assert!(fix.contains("`psql --host orders.elb.amazonaws.com --port 5432"), "{fix}");
    assert!(fix.contains("--command 'select pg_is_in_recovery()'"), "{fix}");

    let mut facts = healthy_facts();
    mysql(&mut facts, "orders");
    let greets = Outcome::Mysql { version: "8.0.36".into() };
    let findings =
        handshake_findings(CheckContext::new(&binding(), &facts), &replies(&[("10.0.1.5", greets.clone())]));
    assert_eq!(findings[0].level, Severity::Ok);
    assert!(findings[1].fix.as_deref().unwrap().contains("select @@read_only, @@innodb_read_only"));
    facts.database = Ok(None);
    assert_eq!(
        judge(&facts, &replies(&[("10.0.1.5", greets)])).level,
        Severity::Ok,
        "any engine may be there"
    );
    let mut oracle = healthy_facts();
    database(&mut oracle).engine = "oracle-ee".into();
    let connected = handshake_findings(
        CheckContext::new(&binding(), &oracle),
        &replies(&[("10.0.1.5", Outcome::Connected)]),
    );
    assert_eq!((connected.len(), connected[0].level), (1, Severity::Ok));
}

#[test]
fn every_bad_answer_is_a_problem_with_a_fix() {
    let error = |code, message: &str| Outcome::MysqlError { code, message: message.into() };
    for (outcome, observed, fix) in [
        (Outcome::TimedOut, "time-out", "security groups"),
        (Outcome::Refused, "refuses", "the listener's port"),
        (Outcome::Unreachable("no route".into()), "no route", "security groups"),
        (Outcome::Closed, "closes it", "the targets' health"),
        (Outcome::Silent, "says nothing", "proxy protocol"),
        (Outcome::Tls, "TLS from the first byte", "TCP"),
        (Outcome::PostgresError("too many".into()), "too many", "error log"),
        (Outcome::Mysql { version: "8".into() }, "MySQL answers", "the listener on this port"),
        (Outcome::Other("SSH-2.0".into()), "SSH-2.0", "the listener on this port"),
        (error(1129, "Host '10.0.1.5' is blocked"), "error 1129: Host '10.0.1.5' is blocked", "FLUSH HOSTS"),
        (error(1040, "Too many connections"), "error 1040", "max_connections"),
        (error(1130, "not allowed"), "error 1130", "for '%'"),
        (error(1105, "unknown"), "error 1105", "error log"),
    ] {
        let finding = judge(&healthy_facts(), &replies(&[("10.0.1.5", outcome)]));
        assert_eq!(finding.level, Severity::Problem, "{finding:?}");
        assert!(finding.observed.contains(observed), "{observed}: {finding:?}");
        assert!(finding.fix.as_ref().unwrap().contains(fix), "{fix}: {finding:?}");
    }
}

#[test]
fn blocked_load_balancer_without_protection_refers_to_connect_errors() {
    let blocked = Outcome::MysqlError { code: 1129, message: "blocked".into() };
    let fix = |facts: &Facts| judge(facts, &replies(&[("10.0.1.5", blocked.clone())])).fix.unwrap();
    let mut facts = healthy_facts();
    mysql(&mut facts, "orders");
    assert!(fix(&facts).ends_with("; then raise max_connect_errors, see connect_errors"));
    set_parameters(&mut facts, "orders", &[("max_connect_errors", "1000000000")]);
    assert!(fix(&facts).ends_with("or restart it"));
    host_of(&mut facts, 0).needs_reboot = true;
    assert!(fix(&facts).ends_with("; then raise max_connect_errors if it is low"), "a change may wait");
    set_parameters(&mut facts, "orders", &[]);
    group(&mut facts).health_check.port = "8080".into();
    assert!(fix(&facts).ends_with("; then raise max_connect_errors if it is low"), "no finding to see");
    facts.parameters.insert("orders".into(), Err(denied("rds:DescribeDBParameters")));
    host_of(&mut facts, 0).needs_reboot = false;
    assert!(fix(&facts).ends_with("; then raise max_connect_errors if it is low"), "unread");
}

#[test]
fn one_bad_address_of_several_is_named() {
    let good = Outcome::Postgres { offers_tls: true };
    let finding = judge(&healthy_facts(), &replies(&[("10.0.1.5", good), ("10.0.2.5", Outcome::Refused)]));
    assert_eq!(finding.level, Severity::Problem);
    assert!(finding.observed.contains("10.0.1.5 PostgreSQL answers"), "{finding:?}");
    assert!(finding.observed.contains("10.0.2.5 refuses the connection"), "{finding:?}");
}

#[test]
fn time_out_from_outside_the_network_is_not_examined() {
    let from = |here: &str, there: &str| {
        let address: IpAddr = there.parse().unwrap();
        let reply = Reply { address, from: here.parse().ok(), outcome: Outcome::TimedOut };
        let handshake = Handshake { replies: Ok(vec![reply]), ..replies(&[]) };
        judge(&healthy_facts(), &handshake).level
    };
    assert_eq!(from("192.168.1.7", "10.0.1.5"), Severity::NotExamined);
    assert_eq!(from("10.9.1.7", "10.0.1.5"), Severity::NotExamined);
    assert_eq!(from("", "10.0.1.5"), Severity::NotExamined);
    let mut unreachable = replies(&[("172.31.0.5", Outcome::Unreachable("Network is unreachable".into()))]);
    assert_eq!(judge(&healthy_facts(), &unreachable).level, Severity::NotExamined);
    unreachable
        .replies
        .as_mut()
        .unwrap()
        .extend(replies(&[("172.31.1.5", Outcome::Refused)]).replies.unwrap());
    assert_eq!(judge(&healthy_facts(), &unreachable).level, Severity::Problem, "one address is within reach");
    assert_eq!(from("10.0.200.7", "10.0.1.5"), Severity::Problem, "the same VPC");
    assert_eq!(from("192.168.1.7", "203.0.113.5"), Severity::Problem, "a public address");
    assert_eq!(from("2600:1f14:1::7", "2600:1f14:1::5"), Severity::Problem);
    assert_eq!(from("2600:1f14:1::7", "2600:1f14:2::5"), Severity::NotExamined);
}

/// The doctor's own time is no time-out of the load balancer.
#[test]
fn unfinished_handshake_is_not_examined() {
    let good = || ("10.0.1.5", Outcome::Postgres { offers_tls: true });
    let unfinished = || ("10.0.2.5", Outcome::Unfinished);
    for outcomes in [vec![unfinished()], vec![good(), unfinished()]] {
        let finding = judge(&healthy_facts(), &replies(&outcomes));
        assert_eq!(finding.level, Severity::NotExamined, "{finding:?}");
        assert!(finding.fix.unwrap().contains("--timeout"));
    }
    // A computer without IPv6, whose time for IPv4 ended.
    let unreachable = || ("2600:1f14:1::5", Outcome::Unreachable("Network is unreachable".into()));
    let finding = judge(&healthy_facts(), &replies(&[unreachable(), unfinished()]));
    assert_eq!(finding.level, Severity::NotExamined, "{finding:?}");
    let unresolved = Unread {
        kind: ErrorKind::DeadlineExceeded,
        reason: "could not resolve orders.elb.amazonaws.com".into(),
        fix: None,
    };
    let finding = judge(&healthy_facts(), &Handshake { replies: Err(unresolved), ..replies(&[]) });
    assert_eq!(finding.level, Severity::NotExamined, "{finding:?}");
    assert!(finding.fix.unwrap().contains("--timeout"));
    let finding = judge(&healthy_facts(), &replies(&[unfinished(), ("10.0.1.5", Outcome::Refused)]));
    assert_eq!(finding.level, Severity::Problem, "{finding:?}");
    assert!(finding.fix.unwrap().contains("listener's port"), "the known fault is explained");
}

/// Oracle and SQL Server close the connection, say nothing, or speak TLS.
#[test]
fn answer_of_an_unknown_engine_accuses_nobody() {
    let mut facts = healthy_facts();
    let level = |facts: &Facts, outcomes: &[(&str, Outcome)]| judge(facts, &replies(outcomes)).level;
    for outcome in [Outcome::Closed, Outcome::Silent, Outcome::Tls] {
        assert_eq!(level(&facts, &[("10.0.1.5", outcome.clone())]), Severity::Problem, "a known engine");
        for unknown in [Ok(None), Err(denied("rds:DescribeDBClusters"))] {
            facts.database = unknown;
            let finding = judge(&facts, &replies(&[("10.0.1.5", outcome.clone())]));
            assert_eq!(finding.level, Severity::NotExamined, "{finding:?}");
            assert!(finding.observed.contains("engine is not known"), "{finding:?}");
            assert!(finding.fix.unwrap().contains("see the finding database"));
            let refused = [("10.0.1.5", outcome.clone()), ("10.0.2.5", Outcome::Refused)];
            assert_eq!(level(&facts, &refused), Severity::Problem, "no engine is there");
        }
        facts = healthy_facts();
    }
}

#[test]
fn handshake_follows_from_what_the_apis_show() {
    let after = |change: fn(&mut Facts), outcome: Outcome| {
        let mut facts = healthy_facts();
        change(&mut facts);
        let handshake =
            handshake_findings(CheckContext::new(&binding(), &facts), &replies(&[("10.0.1.5", outcome)]));
        let path = PathFindings { handshake, ..PathFindings::default() };
        let report =
            BindingFindings::new(ENDPOINT, GROUP, findings_with(CheckContext::new(&binding(), &facts), path));
        let causes = report.findings.iter().filter(|it| it.level == Severity::Problem && it.cause.is_none());
        causes.map(|it| it.check.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(after(|_| {}, Outcome::Refused), ["handshake"]);
    assert_eq!(after(|facts| listener(facts).protocol = "TLS".into(), Outcome::Tls), ["listener"]);
    let unhealthy: fn(&mut Facts) = |facts| set_health(facts, "unhealthy", "Target.Timeout");
    assert_eq!(after(unhealthy, Outcome::Closed), ["targets"]);
    let blocked = Outcome::MysqlError { code: 1129, message: "blocked".into() };
    assert_eq!(
        after(unhealthy, blocked),
        ["targets", "handshake"],
        "a refusal of the server is no consequence"
    );
}

#[test]
fn unresolved_name_and_unknown_load_balancer() {
    assert_eq!(
        judge(&healthy_facts(), &replies(&[])).level,
        Severity::NotExamined,
        "a name without an address"
    );
    let handshake = Handshake { replies: Err(denied("nothing")), ..replies(&[]) };
    assert_eq!(judge(&healthy_facts(), &handshake).level, Severity::Warning);
    assert_eq!(handshake_unknown().level, Severity::NotExamined);
}
