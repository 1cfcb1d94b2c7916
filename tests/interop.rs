//! The binary against a foreign fake AWS and foreign name servers, `moto`, `unbound` and
//! BIND 9. `tests/install` installs them; without them these tests are skipped, except in CI.
//!
//! Where moto departs from AWS, a comment says how (moto 5.2.5): it never lets a target drain, keys
//! targets by their address alone, refuses to deregister a target that is not registered, and gives a cluster and its
//! instances different hashes.

mod bind;
pub mod moto;
mod unbound;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rds_nlb_sync::dns::DnsClient;
use rds_nlb_sync::error::{Error, ErrorKind};
use rds_nlb_sync::plan::Family;
use rds_nlb_sync::rate_limit::ApiRateLimiter;
use rds_nlb_sync::reconcile::{Resolution, Resolve};
use serde_json::{Value, json};

use self::bind::Bind;
use self::moto::{Database, Moto};
use self::unbound::Unbound;
use testkit::lambda::{Function, SLOWLY};
use testkit::ports::permit;
use testkit::{ENDPOINT, FakeAws, ONE, Record, THREE, TWO, addresses};

/// The function's time-out in these tests.
const TIME: Duration = Duration::from_secs(60);

/// Finds a program that a test needs. Where there is none, says so past the test harness's capture,
/// and fails in CI.
pub fn installed(program: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::var("PATH").unwrap_or_default();
    // Debian keeps servers in a folder of root's PATH.
    let folders = [root.join(".venv/bin")].into_iter().chain(std::env::split_paths(&path));
    let found = folders.chain(["/usr/sbin".into()]).map(|folder| folder.join(program)).find(|p| p.is_file());
    if found.is_none() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "{program} is not installed; run tests/install"
        );
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {test} asks {program} for a second opinion, which is not installed; run tests/install"
        );
    }
    found
}

/// Ends a test that lacks its program.
macro_rules! or_skip {
    ($started:expr) => {
        match $started {
            Some(started) => started,
            None => return,
        }
    };
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bootstrap"))
}

fn check() -> Value {
    json!({"command": "check"})
}

/// The event that RDS sends when a failover of this cluster begins.
fn failover(cluster: &str) -> Value {
    let arn = format!("arn:aws:rds:us-east-1:123456789012:cluster:{cluster}");
    json!({"source": "aws.rds", "detail-type": "RDS DB Cluster Event", "resources": [arn],
        "detail": {"EventCategories": ["failover"], "SourceArn": arn, "EventID": "RDS-EVENT-0073"}})
}

fn status(result: &Value) -> &str {
    result["bindings"][0]["status"].as_str().unwrap_or("no status")
}

async fn soon() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// The function on moto's AWS, with its names in the testkit's zone.
async fn on(moto: &Moto, aws: &FakeAws, database: &Database) -> Function {
    with(moto, aws, database, &[]).await
}

/// The same, where a check has to deregister something.
async fn deregistering(moto: &Moto, aws: &FakeAws, database: &Database) -> Function {
    with(moto, aws, database, &[SLOWLY]).await
}

async fn with(moto: &Moto, aws: &FakeAws, database: &Database, variables: &[(&str, &str)]) -> Function {
    for (address, member) in [ONE, TWO].into_iter().zip(&database.members) {
        aws.state().zone.insert(member.endpoint.clone(), addresses(&[address]));
    }
    points_to(aws, database, 0);
    let bindings = json!([{"endpoint": database.endpoint, "target_group": database.group}]).to_string();
    let own = [("AWS_ENDPOINT_URL", moto.url.as_str()), ("BINDINGS", &bindings)];
    Function::start(aws, binary(), &[&own[..], variables].concat()).await
}

/// The writer endpoint names this member from now on.
fn points_to(aws: &FakeAws, database: &Database, member: usize) {
    let name = database.members[member].endpoint.clone();
    aws.state().zone.insert(database.endpoint.clone(), Record::Cname(name));
}

mod of_moto {
    use super::*;

    #[tokio::test]
    async fn moto_group_in_sync_is_not_changed() {
        let (moto, aws) = (or_skip!(Moto::shared()), FakeAws::new());
        let database = moto.database("calm", &["10.0.1.10"]).await;
        let function = on(&moto, &aws, &database).await;
        for event in [check(), json!({"command": "plan"})] {
            assert_eq!(status(&function.invoke(event, TIME).await.unwrap()), "in_sync");
        }
        assert_eq!(moto.targets(&database).await, "10.0.1.10:5432");
    }

    #[tokio::test]
    async fn moto_empty_group_gets_the_writer() {
        let (moto, aws) = (or_skip!(Moto::shared()), FakeAws::new());
        let database = moto.database("empty", &[]).await;
        let function = on(&moto, &aws, &database).await;
        assert_eq!(status(&function.invoke(check(), TIME).await.unwrap()), "updated");
        assert_eq!(moto.targets(&database).await, "10.0.1.10:5432");
    }

    #[tokio::test]
    async fn moto_failover_and_failback_are_followed() {
        let (moto, aws) = (or_skip!(Moto::shared()), FakeAws::new());
        let database = moto.database("orders", &["10.0.1.10"]).await;
        let function = on(&moto, &aws, &database).await;
        for (member, targets) in [(1, "10.0.2.20:5432"), (0, "10.0.1.10:5432")] {
            let moving = async {
                soon().await;
                moto.fail_over(&database, member).await;
                soon().await;
                points_to(&aws, &database, member);
            };
            let (result, ()) = tokio::join!(function.invoke(failover("orders"), TIME), moving);
            let result = result.unwrap();
            assert_eq!((&result["trigger"], status(&result)), (&json!("watch"), "updated"), "{result}");
            // On AWS the other one would drain; moto forgets it at once.
            assert_eq!(moto.targets(&database).await, targets);
        }
        assert_eq!(status(&function.invoke(check(), TIME).await.unwrap()), "in_sync");
    }

    #[tokio::test]
    async fn moto_stale_targets_are_deregistered() {
        let (moto, aws) = (or_skip!(Moto::shared()), FakeAws::new());
        let database = moto.database("stale", &["10.0.1.10", "10.0.2.20", THREE]).await;
        let function = deregistering(&moto, &aws, &database).await;
        let result = function.invoke(check(), TIME).await.unwrap();
        assert_eq!(result["bindings"][0]["deregistered"], json!(["10.0.2.20:5432", "10.0.3.30:5432"]));
        assert_eq!(moto.targets(&database).await, "10.0.1.10:5432");
    }

    #[tokio::test]
    async fn moto_replaced_target_is_not_deregistered() {
        let (moto, aws) = (or_skip!(Moto::shared()), FakeAws::new());
        let database = moto.database("port", &[]).await;
        moto.register(&database, "10.0.1.10:6432").await;
        let function = on(&moto, &aws, &database).await;
        let result = function.invoke(check(), TIME).await.unwrap();
        // AWS would list both ports. moto keys targets by address: deregistering the old port, without a
        // fresh observation after the registration, would remove the new one.
        assert_eq!(result["bindings"][0]["deregistered"], json!([]));
        assert_eq!(moto.targets(&database).await, "10.0.1.10:5432");
    }

    #[tokio::test]
    async fn moto_rds_naming_another_writer_vetoes_deregistration() {
        let (moto, aws) = (or_skip!(Moto::shared()), FakeAws::new());
        let database = moto.database("vetoed", &["10.0.1.10"]).await;
        let function = deregistering(&moto, &aws, &database).await;
        points_to(&aws, &database, 1);
        let result = function.invoke(check(), TIME).await.unwrap();
        assert_eq!(status(&result), "pending");
        let waiting = result["bindings"][0]["waiting"][0].as_str().unwrap();
        assert!(waiting.starts_with("10.0.1.10:5432") && waiting.contains("the RDS API"), "{waiting}");
        assert_eq!(moto.targets(&database).await, "10.0.1.10:5432 10.0.2.20:5432");

        moto.fail_over(&database, 1).await;
        assert_eq!(status(&function.invoke(check(), TIME).await.unwrap()), "updated");
        assert_eq!(moto.targets(&database).await, "10.0.2.20:5432");
    }

    #[tokio::test]
    async fn moto_deleted_cluster_vetoes_nothing() {
        let (moto, aws) = (or_skip!(Moto::shared()), FakeAws::new());
        let database = moto.database("gone", &["10.0.1.10"]).await;
        let function = deregistering(&moto, &aws, &database).await;
        points_to(&aws, &database, 1);
        moto.delete_cluster(&database).await;
        assert_eq!(status(&function.invoke(check(), TIME).await.unwrap()), "updated");
        assert_eq!(moto.targets(&database).await, "10.0.2.20:5432");
    }

    #[tokio::test]
    async fn moto_missing_target_causes_another_observation() {
        use rds_nlb_sync::reconcile::TargetGroupApi as _;
        let moto = or_skip!(Moto::shared());
        let database = moto.database("twice", &["10.0.1.10", "10.0.2.20"]).await;
        let groups = rds_nlb_sync::elb::Elb::new(moto.load_balancing(), ApiRateLimiter::unlimited());
        let target = ["10.0.2.20:5432".parse().unwrap()].into();
        groups.deregister(permit().await, &database.group, &target).await.unwrap();
        // AWS calls the second one a success; moto answers InvalidTarget.
        let error = groups.deregister(permit().await, &database.group, &target).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient, "{}", error.explain());
        assert_eq!(moto.targets(&database).await, "10.0.1.10:5432");
    }

    #[tokio::test]
    async fn moto_deleted_group_is_named_in_the_error() {
        let (moto, aws) = (or_skip!(Moto::shared()), FakeAws::new());
        let database = moto.database("unbound", &[]).await;
        let function = on(&moto, &aws, &database).await;
        moto.delete_group(&database).await;
        let error = function.invoke(check(), TIME).await.unwrap_err();
        let message_text = error["errorMessage"].as_str().unwrap();
        assert!(
            message_text.contains("TargetGroupNotFound") && message_text.contains(&database.group),
            "{message_text}"
        );
    }

    #[tokio::test]
    async fn moto_unknown_credentials_are_reported_with_the_fix() {
        let aws = FakeAws::new();
        let moto = or_skip!(Moto::start(&[("INITIAL_NO_AUTH_ACTION_COUNT", "0")]));
        let variables = [("AWS_ENDPOINT_URL", moto.url.as_str())];
        let function = Function::start(&aws, binary(), &variables).await;
        let error = function.invoke(check(), TIME).await.unwrap_err();
        let message_text = error["errorMessage"].as_str().unwrap();
        // moto wraps the code such that only the status, 403, remains to judge by.
        assert!(
            message_text.contains("allow elasticloadbalancing:Describe")
                && message_text.contains("credentials"),
            "{message_text}"
        );
    }
}

/// The zone as RDS has it, with this writer.
fn zone(writer: &str) -> String {
    format!(
        "orders.cluster-abc123 CNAME {writer}.abc123\n\
         orders-1.abc123 A {ONE}\n\
         orders-2.abc123 A {TWO}\n\
         db CNAME orders.cluster-abc123\n\
         loop CNAME pool\npool CNAME loop\n\
         text TXT \"no address\"\n\
         public A 52.1.2.3\n"
    )
}

async fn with_server(server: SocketAddr, aws: &FakeAws, variables: &[(&str, &str)]) -> Function {
    let address = server.to_string();
    let mut all = vec![("NAMESERVERS", address.as_str())];
    all.extend(variables);
    Function::start(aws, binary(), &all).await
}

async fn resolve(server: SocketAddr, name: &str) -> Result<Resolution, Error> {
    DnsClient::new(Some(&[server])).unwrap().resolve(name, Family::V4).await
}

mod of_unbound {
    use super::*;

    #[tokio::test]
    async fn unbound_failover_is_followed_after_the_ttl() {
        let (server, aws) = (or_skip!(Unbound::start(&zone("orders-1"))), FakeAws::new());
        let function = with_server(server.address, &aws, &[("CONFIRM_SECONDS", "6")]).await;
        let moving = async {
            soon().await;
            aws.writer_per_rds("orders-2");
            server.serve(&zone("orders-2"));
        };
        let (result, ()) = tokio::join!(function.invoke(failover("orders"), TIME), moving);
        assert_eq!(status(&result.unwrap()), "updated");
        assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
        assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    }

    #[tokio::test]
    async fn server_over_tcp_alone_answers_fast() {
        let server = or_skip!(Unbound::start_with(&zone("orders-1"), "  do-udp: no"));
        let servers = DnsClient::new(Some(&[server.address])).unwrap();
        let started = std::time::Instant::now();
        for _ in 0..5 {
            let answer = servers.resolve(ENDPOINT, Family::V4).await.unwrap();
            assert_eq!(answer.addresses.to_string(), ONE);
        }
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn missing_target_of_an_alias_is_named() {
        let records = format!("{}gone CNAME nowhere-1\n", zone("orders-1"));
        let server = or_skip!(Unbound::start(&records));
        let message_text =
            resolve(server.address, "gone.us-east-1.rds.amazonaws.com").await.unwrap_err().explain();
        let reason =
            "nowhere-1.us-east-1.rds.amazonaws.com, where its aliases lead, does not exist (NXDOMAIN)";
        assert!(message_text.contains(reason), "{message_text}");
    }

    #[tokio::test]
    async fn unbound_failing_zone_blocks_deregistration() {
        let (server, aws) = (or_skip!(Unbound::start(&zone("orders-1"))), FakeAws::new());
        let function = with_server(server.address, &aws, &[]).await;
        let moving = async {
            soon().await;
            // First: where the member's name still resolves, the function registers the writer that the RDS API names.
            server.fail();
            aws.writer_per_rds("orders-2");
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert_eq!(aws.writes(), Vec::<String>::new());
            server.serve(&zone("orders-2"));
        };
        let (result, ()) = tokio::join!(function.invoke(failover("orders"), TIME), moving);
        assert_eq!(status(&result.unwrap()), "updated");
        assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
        let message_text = function.log.lock().unwrap().join("\n");
        assert!(message_text.contains("SERVFAIL"), "the failure was seen: {message_text}");
    }

    #[tokio::test]
    async fn unbound_failures_have_distinct_errors() {
        let server = or_skip!(Unbound::start(&zone("orders-1")));
        for (name, reason) in [
            ("nobody", "NXDOMAIN"),
            ("text", "an empty answer"),
            ("loop", ""),
            ("public", "52.1.2.3, a public address"),
            ("refused", "REFUSED"),
        ] {
            let name = format!("{name}.us-east-1.rds.amazonaws.com");
            let error = resolve(server.address, &name).await.unwrap_err();
            let message_text = error.explain();
            assert_eq!(error.kind(), ErrorKind::NoAnswer);
            assert!(
                message_text.contains(reason)
                    && message_text.contains(&name)
                    && message_text.contains("Fix:"),
                "{message_text}"
            );
        }
        server.fail();
        let message_text = resolve(server.address, "orders-1.abc123.us-east-1.rds.amazonaws.com")
            .await
            .unwrap_err()
            .explain();
        assert!(message_text.contains("SERVFAIL"), "{message_text}");
    }

    #[tokio::test]
    async fn unbound_answer_includes_the_cname_chain() {
        let server = or_skip!(Unbound::start(&zone("orders-2")));
        let answer = resolve(server.address, "DB.us-east-1.rds.amazonaws.com").await.unwrap();
        assert_eq!(answer.addresses.to_string(), TWO);
        let names =
            ["db.us-east-1.rds.amazonaws.com", ENDPOINT, "orders-2.abc123.us-east-1.rds.amazonaws.com"];
        assert_eq!(answer.chain, names);
    }

    #[tokio::test]
    async fn unbound_answer_too_long_for_udp_comes_over_tcp() {
        let many: Vec<String> = (1..=200).map(|host| format!("many A 10.0.7.{host}\n")).collect();
        let server = or_skip!(Unbound::start(&many.concat()));
        let answer = resolve(server.address, "many.us-east-1.rds.amazonaws.com").await.unwrap();
        assert_eq!(answer.addresses.iter().count(), 200);
    }
}

mod of_bind {
    use super::*;

    #[tokio::test]
    async fn bind_failover_is_followed_after_the_ttl() {
        let (server, aws) = (or_skip!(Bind::start(&zone("orders-1")).await), FakeAws::new());
        let function = with_server(server.address, &aws, &[("CONFIRM_SECONDS", "6")]).await;
        let moving = async {
            soon().await;
            aws.writer_per_rds("orders-2");
            server.serve(&zone("orders-2")).await;
        };
        let (result, ()) = tokio::join!(function.invoke(failover("orders"), TIME), moving);
        assert_eq!(status(&result.unwrap()), "updated");
        assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
        assert_eq!(aws.writes(), ["RegisterTargets 10.0.2.20:5432", "DeregisterTargets 10.0.1.10:5432"]);
    }

    #[tokio::test]
    async fn bind_failing_zone_blocks_deregistration() {
        let (server, aws) = (or_skip!(Bind::start(&zone("orders-1")).await), FakeAws::new());
        let function = with_server(server.address, &aws, &[]).await;
        let moving = async {
            soon().await;
            server.fail().await;
            aws.writer_per_rds("orders-2");
            // The cached answers end after five seconds.
            tokio::time::sleep(Duration::from_secs(8)).await;
            assert_eq!(aws.writes(), Vec::<String>::new());
            server.serve(&zone("orders-2")).await;
        };
        let (result, ()) = tokio::join!(function.invoke(failover("orders"), TIME), moving);
        assert_eq!(status(&result.unwrap()), "updated");
        assert_eq!(aws.targets(), "10.0.1.10:5432~ 10.0.2.20:5432");
        let message_text = function.log.lock().unwrap().join("\n");
        assert!(message_text.contains("SERVFAIL"), "the failure was seen: {message_text}");
    }

    #[tokio::test]
    async fn bind_failures_have_distinct_errors() {
        let server = or_skip!(Bind::start(&zone("orders-1")).await);
        for (name, reason) in [
            ("nobody", "NXDOMAIN"),
            ("text", "an empty answer"),
            ("loop", ""),
            ("public", "52.1.2.3, a public address"),
        ] {
            let name = format!("{name}.us-east-1.rds.amazonaws.com");
            let error = resolve(server.address, &name).await.unwrap_err();
            let message_text = error.explain();
            assert_eq!(error.kind(), ErrorKind::NoAnswer);
            assert!(
                message_text.contains(reason)
                    && message_text.contains(&name)
                    && message_text.contains("Fix:"),
                "{message_text}"
            );
        }
    }

    #[tokio::test]
    async fn bind_answer_includes_the_cname_chain() {
        let server = or_skip!(Bind::start(&zone("orders-2")).await);
        let answer = resolve(server.address, "DB.us-east-1.rds.amazonaws.com").await.unwrap();
        assert_eq!(answer.addresses.to_string(), TWO);
        let names =
            ["db.us-east-1.rds.amazonaws.com", ENDPOINT, "orders-2.abc123.us-east-1.rds.amazonaws.com"];
        assert_eq!(answer.chain, names);
    }

    #[tokio::test]
    async fn bind_answer_too_long_for_udp_comes_over_tcp() {
        let many: Vec<String> = (1..=60).map(|host| format!("many A 10.0.7.{host}\n")).collect();
        let server = or_skip!(Bind::start(&many.concat()).await);
        let answer = resolve(server.address, "many.us-east-1.rds.amazonaws.com").await.unwrap();
        assert_eq!(answer.addresses.iter().count(), 60);
    }
}

#[tokio::test]
async fn moto_and_unbound_failover_is_followed() {
    let moto = or_skip!(Moto::shared());
    let database = moto.database("both", &["10.0.1.10"]).await;
    let server = or_skip!(Unbound::start(""));
    let zone = |writer: usize| {
        let [one, two] = &database.members;
        let writer = &database.members[writer].endpoint;
        format!(
            "{}. CNAME {writer}.\n{}. A {ONE}\n{}. A {TWO}\n",
            database.endpoint, one.endpoint, two.endpoint
        )
    };
    server.serve(&zone(0));
    let bindings = json!([{"endpoint": database.endpoint, "target_group": database.group}]).to_string();
    let address = server.address.to_string();
    let variables =
        [("AWS_ENDPOINT_URL", moto.url.as_str()), ("BINDINGS", &bindings), ("NAMESERVERS", &address)];
    let function = Function::start(&FakeAws::new(), binary(), &variables).await;
    let moving = async {
        soon().await;
        moto.fail_over(&database, 1).await;
        server.serve(&zone(1));
    };
    let (result, ()) = tokio::join!(function.invoke(failover("both"), TIME), moving);
    assert_eq!(status(&result.unwrap()), "updated");
    assert_eq!(moto.targets(&database).await, "10.0.2.20:5432");
}
