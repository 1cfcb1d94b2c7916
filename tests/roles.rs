//! Groups of readers, and of every address of a name, through the real loop on a paused clock.

use std::time::Duration;

use rds_nlb_sync::binding::{Binding, Role};
use rds_nlb_sync::reconcile::{Mode, Preregistration, RDS_RECHECK_INTERVAL, Report, Status};
use tokio::time::{Instant, sleep};

use testkit::ports::TIMING;
use testkit::ports::addresses as addresses_of;
use testkit::{
    Action, ApiFault, Call, ENDPOINT, FakeAws, GROUP, Instance, ONE, Record, THREE, TWO, addresses,
};

/// The cluster `orders` of `orders-1`, the writer, and of `orders-2` and `orders-3`, and a group that
/// holds these two.
fn cluster() -> FakeAws {
    let aws = FakeAws::new();
    aws.state().zone.insert(own("orders-3"), addresses(&[THREE]));
    let three = Instance { endpoint: Some(own("orders-3")), cluster: Some("orders"), ..Instance::default() };
    aws.state().instances.insert("orders-3".into(), three);
    writes(&aws, "orders-1");
    aws.holds(&[TWO, THREE]);
    aws
}

fn own(member: &str) -> String {
    format!("{member}.abc123.us-east-1.rds.amazonaws.com")
}

/// The RDS API and DNS call this member of the three the writer.
fn writes(aws: &FakeAws, writer: &str) {
    aws.promote(writer);
    let members = ["orders-1", "orders-2", "orders-3"].map(|name| (name.to_owned(), name == writer));
    aws.state().clusters.insert("orders".into(), members.into());
}

fn becomes(aws: &FakeAws, member: &str, status: &'static str) {
    aws.state().instances.get_mut(member).expect("a member").status = status;
}

async fn reconcile(aws: &FakeAws, role: Role, mode: Mode) -> Report {
    let binding = Binding { role, ..Binding::new(ENDPOINT, GROUP.parse().unwrap()) };
    let preregistration = Preregistration::On { promoted_instance: Some("orders-2".to_owned()) };
    aws.reconcile_binding(&binding, TIMING, mode, &preregistration, Duration::from_secs(240)).await
}

mod readers {
    use super::*;

    async fn check(aws: &FakeAws) -> Report {
        reconcile(aws, Role::Readers, Mode::Check).await
    }

    #[tokio::test(start_paused = true)]
    async fn readers_group_holds_every_reader_but_not_the_writer() {
        let aws = cluster();
        let report = check(&aws).await;
        assert_eq!(
            (report.status, addresses_of(&report)),
            (Status::InSync, vec![TWO.to_owned(), THREE.to_owned()])
        );
        aws.holds(&[ONE, TWO]);
        let report = check(&aws).await;
        assert_eq!(report.status, Status::Updated, "{report:?}");
        assert_eq!(aws.writes(), ["RegisterTargets 10.0.3.30:5432", "DeregisterTargets 10.0.1.10:5432"]);
    }

    #[tokio::test(start_paused = true)]
    async fn readers_failover_swaps_old_and_new_writer() {
        let aws = cluster();
        let at_work = aws.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(20)).await;
            writes(&at_work, "orders-2");
        });
        let report = reconcile(&aws, Role::Readers, Mode::Watch).await;
        assert_eq!(report.status, Status::Updated, "{report:?}");
        assert_eq!(aws.writes(), ["RegisterTargets 10.0.1.10:5432", "DeregisterTargets 10.0.2.20:5432"]);
    }

    #[tokio::test(start_paused = true)]
    async fn reader_being_created_or_deleted_is_left_out() {
        for status in ["creating", "deleting"] {
            let aws = cluster();
            becomes(&aws, "orders-3", status);
            assert_eq!(addresses_of(&check(&aws).await), [TWO], "{status}");
            assert_eq!(aws.targets(), "10.0.2.20:5432 10.0.3.30:5432~", "{status}");
            becomes(&aws, "orders-3", "available");
            assert_eq!(addresses_of(&check(&aws).await), [TWO, THREE]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rebooting_reader_stays_and_missing_one_is_left_out() {
        let aws = cluster();
        becomes(&aws, "orders-3", "rebooting");
        assert_eq!(check(&aws).await.status, Status::InSync);
        aws.state().instances.remove("orders-3");
        assert_eq!(addresses_of(&check(&aws).await), [TWO]);
    }

    #[tokio::test(start_paused = true)]
    async fn cluster_without_readers_falls_back_to_its_writer() {
        let aws = cluster();
        aws.state().clusters.insert("orders".into(), [("orders-1".to_owned(), true)].into());
        let report = check(&aws).await;
        assert_eq!((report.status, addresses_of(&report)), (Status::Updated, vec![ONE.to_owned()]));
        assert_eq!(
            aws.writes(),
            ["RegisterTargets 10.0.1.10:5432", "DeregisterTargets 10.0.2.20:5432 10.0.3.30:5432"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn reader_is_deregistered_after_its_absence_is_confirmed() {
        let aws = cluster();
        let at_work = aws.clone();
        becomes(&aws, "orders-3", "deleting");
        tokio::spawn(async move {
            // Back before the confirmation, and gone again: never confirmed.
            for status in ["available", "deleting"].into_iter().cycle() {
                sleep(Duration::from_secs(4)).await;
                becomes(&at_work, "orders-3", status);
            }
        });
        assert_ne!(check(&aws).await.status, Status::Failed);
        assert_eq!(aws.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn readers_without_an_answer_change_nothing() {
        type Breaks = fn(&FakeAws);
        let breaks: [(&str, Breaks, &str); 5] = [
            ("the API is down", |w| w.always(Action::DescribeDBClusters, Some(ApiFault::ServerError)), "500"),
            (
                "an instance is hidden",
                |w| w.always(Action::DescribeDBInstances, Some(ApiFault::Denied)),
                "Denied",
            ),
            ("one name is gone", |w| drop(w.state().zone.remove(&own("orders-3"))), "NXDOMAIN"),
            ("no such cluster", |w| w.state().clusters.clear(), "as \"database\""),
            (
                "no members",
                |w| w.state().clusters.values_mut().for_each(std::collections::BTreeMap::clear),
                "neither",
            ),
        ];
        for (what, break_it, message_text) in breaks {
            let aws = cluster();
            break_it(&aws);
            let report = check(&aws).await;
            assert_eq!(report.status, Status::Failed, "{what}");
            let error = report.error.unwrap_or_default();
            assert!(message_text == "500" || error.contains(message_text), "{what}: {error}");
            assert_eq!(aws.writes(), Vec::<String>::new(), "{what}");
        }
    }

    /// Without a limit of its own, the first question would last until the deadline.
    #[tokio::test(start_paused = true)]
    async fn silent_rds_api_is_asked_again_about_the_readers() {
        for action in [Action::DescribeDBClusters, Action::DescribeDBInstances] {
            let aws = cluster();
            aws.always(action, Some(ApiFault::Hangs));
            let report = check(&aws).await;
            assert_eq!(report.status, Status::Failed, "{action:?}");
            assert!(report.error.is_some_and(|error| error.contains("by a NAT gateway")), "{action:?}");
            assert_eq!(aws.count(Action::DescribeDBClusters), 3, "{action:?}: a check tries three times");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn readers_of_an_alias_without_a_name_of_rds_are_not_listed() {
        let aws = cluster();
        aws.state().zone.insert("orders.example.com".into(), testkit::addresses(&[ONE]));
        let binding = Binding {
            role: Role::Readers,
            databases: vec!["orders".to_owned()],
            ..Binding::new("orders.example.com", GROUP.parse().unwrap())
        };
        let report = aws
            .reconcile_binding(&binding, TIMING, Mode::Check, &Preregistration::Off, Duration::from_secs(60))
            .await;
        assert!(
            report.error.as_ref().is_some_and(|error| error.contains("may be another one")),
            "{report:?}"
        );
        assert_eq!(aws.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn readers_watch_asks_rds_every_recheck_interval() {
        let aws = cluster();
        reconcile(&aws, Role::Readers, Mode::Watch).await;
        assert!(aws.count(Action::Lookup) > 300);
        let asked = aws.calls(Action::DescribeDBClusters);
        assert!(asked.len() <= 180 / 5 + 1);
        assert_eq!(asked[1].at - asked[0].at, RDS_RECHECK_INTERVAL);
    }

    /// With the default poll interval, a watch has some 300 lookups in the time in which the API fails.
    #[tokio::test(start_paused = true)]
    async fn readers_watch_asks_a_failing_rds_api_about_as_seldom() {
        for fault in [ApiFault::Throttled, ApiFault::ServerError, ApiFault::Hangs] {
            let aws = cluster();
            let at_work = aws.clone();
            tokio::spawn(async move {
                sleep(Duration::from_secs(20)).await;
                at_work.always(Action::DescribeDBClusters, Some(fault));
            });
            assert_eq!(reconcile(&aws, Role::Readers, Mode::Watch).await.status, Status::Failed);
            let asked = aws.count(Action::DescribeDBClusters);
            assert!((20..=70).contains(&asked), "{fault:?}: {asked}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn readers_watch_asks_about_a_missing_cluster_every_five_seconds() {
        let aws = cluster();
        aws.state().clusters.clear();
        assert_eq!(reconcile(&aws, Role::Readers, Mode::Watch).await.status, Status::Failed);
        let asked = aws.calls(Action::DescribeDBClusters);
        let is_rare = |pair: &[Call]| pair[1].at - pair[0].at >= RDS_RECHECK_INTERVAL;
        assert!(asked.len() > 30 && asked.windows(2).all(is_rare), "{asked:?}");
    }

    /// The backoff after a first error is a second at most.
    #[tokio::test(start_paused = true)]
    async fn one_error_of_the_rds_api_delays_a_watch_of_readers_by_its_backoff() {
        let aws = cluster();
        let at_work = aws.clone();
        let failover = tokio::spawn(async move {
            sleep(Duration::from_secs(20)).await;
            at_work.next(Action::DescribeDBClusters, &[ApiFault::Throttled]);
            writes(&at_work, "orders-2");
            Instant::now()
        });
        assert_eq!(reconcile(&aws, Role::Readers, Mode::Watch).await.status, Status::Updated);
        let registered = aws.calls(Action::RegisterTargets)[0].at;
        let latency = registered - failover.await.expect("the failover");
        assert!(latency < Duration::from_secs(3), "{latency:?}");
    }

    /// RDS's reader and custom endpoints give one instance after the other.
    #[tokio::test(start_paused = true)]
    async fn readers_by_an_alternating_endpoint_are_not_listed_at_every_lookup() {
        for kind in ["cluster-ro", "cluster-custom"] {
            let endpoint = format!("orders.{kind}-abc123.us-east-1.rds.amazonaws.com");
            let aws = cluster();
            let (at_work, name) = (aws.clone(), endpoint.clone());
            tokio::spawn(async move {
                for member in ["orders-2", "orders-3"].into_iter().cycle() {
                    at_work.state().zone.insert(name.clone(), Record::Cname(own(member)));
                    sleep(Duration::from_secs(1)).await;
                }
            });
            tokio::task::yield_now().await;
            let binding = Binding {
                role: Role::Readers,
                databases: vec!["orders".to_owned()],
                ..Binding::new(&endpoint, GROUP.parse().unwrap())
            };
            let time = Duration::from_secs(240);
            let report =
                aws.reconcile_binding(&binding, TIMING, Mode::Watch, &Preregistration::Off, time).await;
            assert_eq!((report.status, aws.writes()), (Status::InSync, vec![]), "{report:?}");
            let asked = aws.count(Action::DescribeDBClusters);
            assert!(asked <= 180 / 5 + 1, "{kind}: {asked} questions in 180 s");
        }
    }

    /// In a blue/green switchover the name belongs to no cluster for a moment.
    #[tokio::test(start_paused = true)]
    async fn missing_cluster_does_not_end_a_watch_of_readers() {
        let aws = cluster();
        let at_work = aws.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(5)).await;
            at_work.state().clusters.clear();
            sleep(Duration::from_secs(15)).await;
            writes(&at_work, "orders-2");
        });
        let report = reconcile(&aws, Role::Readers, Mode::Watch).await;
        assert_eq!(report.status, Status::Updated, "{report:?}");
        assert_eq!(aws.writes(), ["RegisterTargets 10.0.1.10:5432", "DeregisterTargets 10.0.2.20:5432"]);
    }

    #[tokio::test(start_paused = true)]
    async fn readers_of_a_cluster_of_the_same_name_elsewhere_are_not_registered() {
        let aws = cluster();
        aws.state().is_namesake = true;
        let report = check(&aws).await;
        let error = report.error.expect("a failure");
        assert!(error.contains("run the function in the account and Region of the cluster"), "{error}");
        assert_eq!(aws.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn readers_have_no_candidates_and_no_veto() {
        let aws = cluster();
        aws.writer_per_rds("orders-1");
        aws.promote("orders-2");
        aws.holds(&[TWO, THREE]);
        let report = check(&aws).await;
        assert_eq!(report.status, Status::Updated, "the API alone says who reads: {report:?}");
        assert_eq!(aws.writes(), ["DeregisterTargets 10.0.3.30:5432"]);
    }
}

mod all {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn role_all_registers_every_address() {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO, THREE]);
        let report = reconcile(&aws, Role::All, Mode::Check).await;
        assert_eq!(report.status, Status::Updated, "{report:?}");
        assert_eq!(
            aws.writes(),
            ["RegisterTargets 10.0.2.20:5432 10.0.3.30:5432", "DeregisterTargets 10.0.1.10:5432"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn role_all_with_flickering_set_deregisters_nothing() {
        let aws = FakeAws::new();
        aws.holds(&[ONE, TWO]);
        aws.flickers(&[ONE, TWO]);
        let report = reconcile(&aws, Role::All, Mode::Check).await;
        assert_eq!(report.status, Status::Pending, "{report:?}");
        assert_eq!(aws.writes(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn role_all_with_an_impossible_address_fails() {
        let aws = FakeAws::new();
        aws.resolves_to(&[TWO, "54.1.2.3"]);
        let report = reconcile(&aws, Role::All, Mode::Check).await;
        assert_eq!(report.status, Status::Failed);
        assert_eq!(aws.writes(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn writer_with_several_addresses_is_refused_with_the_fix() {
    let aws = FakeAws::new();
    aws.resolves_to(&[ONE, TWO]);
    let error = reconcile(&aws, Role::Writer, Mode::Check).await.error.expect("a failure");
    assert!(
        error.contains("2 addresses (10.0.1.10, 10.0.2.20)") && error.contains("role \"all\""),
        "{error}"
    );
    assert_eq!(aws.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn writer_behind_an_alias_to_a_reader_endpoint_is_refused() {
    const ALIAS: &str = "db.example.com";
    let reader = "orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com";
    for mode in [Mode::Check, Mode::Watch] {
        let aws = cluster();
        aws.holds(&[ONE]);
        aws.state().zone.insert(ALIAS.into(), Record::Cname(reader.to_owned()));
        aws.state().zone.insert(reader.into(), Record::Cname(own("orders-2")));
        let binding = Binding::new(ALIAS, GROUP.parse().unwrap());
        let preregistration = Preregistration::On { promoted_instance: None };
        let report =
            aws.reconcile_binding(&binding, TIMING, mode, &preregistration, Duration::from_secs(240)).await;
        let error = report.error.expect("a failure");
        assert_eq!(report.status, Status::Failed);
        assert!(error.contains(reader) && error.contains("role \"readers\""), "{error}");
        assert_eq!(aws.writes(), Vec::<String>::new());
    }
}
