//! Targets in a state that the function does not know, such as one of a later version of the API.

use super::*;

fn set_state(aws: &FakeAws, target: &str, state: &'static str) {
    aws.group(|group| {
        let target = group.targets.get_mut(&format!("{target}:5432").parse().unwrap());
        target.expect("a target").state = Some(state);
    });
}

#[tokio::test(start_paused = true)]
async fn writer_in_an_unknown_state_blocks_the_deregistration() {
    for state in ["of a later version", ""] {
        let aws = FakeAws::new();
        aws.holds(&[ONE, TWO]);
        set_state(&aws, TWO, state);
        aws.promote("orders-2");
        aws.writer_per_rds("orders-2");
        let report = aws.check().await;
        assert_eq!(report.status, Status::Pending, "{report:?}");
        assert_eq!(aws.writes(), Vec::<String>::new(), "it is not registered again either");
        let [waiting] = &report.waiting[..] else { panic!("{report:?}") };
        assert_eq!(
            waiting,
            "10.0.1.10:5432 is deregistered once the state of the endpoint's target is known"
        );
        set_state(&aws, TWO, "healthy");
        assert_eq!(aws.check().await.status, Status::Updated);
        assert_eq!(aws.writes(), ["DeregisterTargets 10.0.1.10:5432"]);
        settled(&aws, "10.0.1.10:5432~ 10.0.2.20:5432").await;
    }
}

#[tokio::test(start_paused = true)]
async fn stale_target_in_an_unknown_state_is_deregistered() {
    let aws = FakeAws::new();
    aws.holds(&[ONE, THREE]);
    set_state(&aws, THREE, "of a later version");
    assert_eq!(aws.check().await.status, Status::Updated);
    settled(&aws, "10.0.1.10:5432 10.0.3.30:5432~").await;
}

#[tokio::test(start_paused = true)]
async fn lone_target_in_an_unknown_state_is_in_sync() {
    let aws = FakeAws::new();
    set_state(&aws, ONE, "of a later version");
    let report = aws.check().await;
    assert_eq!((report.status, aws.writes().len()), (Status::InSync, 0), "{report:?}");
}
