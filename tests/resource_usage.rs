//! The cost of a check, in units that are the same on every machine: calls and allocations.
//!
//! A test program of its own, because it counts every allocation; and one test that reads the
//! environment, because it sets what the SDK reads. Allocations are counted by thread.
#![allow(clippy::disallowed_methods, reason = "the tests stand for everything around the function")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

use rds_nlb_sync::event::Event;
use rds_nlb_sync::fleet::Fleet;
use rds_nlb_sync::lambda::handle;
use rds_nlb_sync::metrics;
use rds_nlb_sync::reconcile::Status;
use rds_nlb_sync::service::{Answer, Program, Service};
use rds_nlb_sync::startup::{App, start};
use serde_json::json;

use testkit::{ENDPOINT, FakeAws, GROUP};

/// A sixth to a fifth above the counted numbers: 560, 103,000 and 208,000. Where a change needs more for
/// a reason, raise them.
const ALLOCATIONS_PER_CHECK: u64 = 650;
const BYTES_PER_CHECK: u64 = 120_000;
const BYTES_OF_THE_FIRST_CHECK: u64 = 250_000;
/// The start parses the certificate authorities of the system, some 9,000 bytes each.
const BYTES_OF_THE_START: u64 = 4_000_000;
/// The bytes that may stay allocated after hundreds of checks: buffers that grew, but nothing for every check.
const KEPT: i64 = 1600;
/// The checks that are counted. The rate limit makes ten per second of them.
const CHECKS: u64 = 200;

/// The allocations of one thread.
#[derive(Clone, Copy, Debug, Default)]
struct Allocated {
    count: u64,
    bytes: u64,
    live: i64,
    most: i64,
}

thread_local! {
    static ALLOCATED: Cell<Allocated> = const { Cell::new(Allocated { count: 0, bytes: 0, live: 0, most: 0 }) };
}

fn allocated() -> Allocated {
    ALLOCATED.get()
}

struct Counting;

impl Counting {
    fn note(taken: usize, freed: usize) {
        // Gone while a thread ends; allocations then belong to no check.
        let _ = ALLOCATED.try_with(|allocated| {
            let Allocated { count, bytes, live, most } = allocated.get();
            // A reallocation may hold both for a moment.
            let most = most.max(live + taken as i64);
            let live = live + taken as i64 - freed as i64;
            allocated.set(Allocated {
                count: count + u64::from(taken > 0),
                bytes: bytes + taken as u64,
                live,
                most,
            });
        });
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::note(0, layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note(size, layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Serves the fake AWS from another thread, so that this one's allocations are the function's alone.
fn serve(aws: &FakeAws) -> [String; 2] {
    let (aws, (send, receive)) = (aws.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let served = [format!("http://{}", aws.serve_aws().await), aws.serve_dns().await.to_string()];
            send.send(served).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receive.recv().unwrap()
}

#[test]
fn check_in_sync_allocates_little_and_keeps_nothing() {
    let aws = FakeAws::new();
    let [api, name_server] = serve(&aws);
    let bindings = json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
    for (name, value) in [
        ("AWS_ENDPOINT_URL", api.as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("NAMESERVERS", &name_server),
        ("BINDINGS", &bindings),
        ("ELB_CALLS_PER_SECOND", "10"),
    ] {
        // SAFETY: the fake AWS's thread, the only other one, reads no environment.
        unsafe { std::env::set_var(name, value) };
    }
    for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        // SAFETY: as above.
        unsafe { std::env::remove_var(name) };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let before = allocated();
        let App { config, clients: ports, .. } = start(|name| std::env::var(name).ok()).await.unwrap();
        let bytes = allocated().bytes - before.bytes;
        println!("the start: {bytes} bytes");
        assert!(bytes <= BYTES_OF_THE_START, "{bytes}: does it parse the certificates more than once?");
        let fleet = Fleet::new(&config);
        let check = async || {
            let before = allocated();
            let event = json!({"command": "check"}).to_string();
            let service = Service::new(&config, &ports, &fleet, Program::Lambda);
            match handle(&service, &event, SystemTime::UNIX_EPOCH, Duration::from_secs(60)).await {
                Ok(Answer::InvocationResult(outcome)) => {
                    assert_eq!(outcome.bindings[0].status, Status::InSync);
                    assert_eq!(metrics::lines(&outcome, "rds-nlb-sync", 0).len(), 1);
                }
                other => panic!("expected an outcome, not {other:?}"),
            }
            let after = allocated();
            (after.count - before.count, after.bytes - before.bytes)
        };

        let (_, bytes) = check().await;
        println!("the first check: {bytes} bytes");
        assert!(bytes <= BYTES_OF_THE_FIRST_CHECK, "{bytes}: does it parse the trusted certificates again?");

        for _ in 0..50 {
            check().await;
        }
        aws.forget_calls();
        let before = allocated();
        let (mut checks, mut count, mut bytes) = (0, 0, 0);
        for _ in 0..CHECKS {
            let (calls, started) = (aws.state().calls.len(), Instant::now());
            let (more, larger) = check().await;
            // The function repeats a lookup after a third of a second: one that the machine slowed does not count.
            if started.elapsed() < Duration::from_millis(250) {
                (checks, count, bytes) = (checks + 1, count + more, bytes + larger);
                assert_eq!(aws.state().calls.len() - calls, 2, "one lookup and one API call");
            }
        }
        let kept = allocated().live - before.live;
        assert!(checks >= CHECKS * 3 / 4, "only {checks} of {CHECKS} checks were fast enough");
        println!(
            "a check: {} allocations, {} bytes; {CHECKS} keep {kept} bytes",
            count / checks,
            bytes / checks
        );
        assert!(count / checks <= ALLOCATIONS_PER_CHECK, "{count} allocations in {checks} checks");
        assert!(bytes / checks <= BYTES_PER_CHECK, "{bytes} bytes in {checks} checks");
        assert!(kept <= KEPT, "{CHECKS} checks keep {kept} bytes");
    });
}

/// What parsing this text takes at most at once, in bytes.
fn parsing(text: &str) -> i64 {
    let before = allocated();
    ALLOCATED.set(Allocated { most: before.live, ..before });
    let event = Event::parse(text);
    drop(event);
    allocated().most - before.live
}

#[test]
fn hostile_json_costs_no_multiple_of_its_size() {
    let fill = |unit: &str, bytes: usize| vec![unit; bytes / (unit.len() + 1)].join(",");
    let event = |field: &str, value: String| {
        let mut event = json!({
            "source": "aws.rds", "detail-type": "RDS DB Cluster Event", "time": "2026-11-20T10:00:00Z",
            "resources": [], "detail": {"EventCategories": ["failover"]},
        })
        .to_string();
        event.truncate(event.len() - 1);
        format!("{event},\"{field}\":{value}}}")
    };
    let mega = 1_000_000;
    let detail = |field: &str, value: String| {
        format!("{{\"source\":\"aws.rds\",\"detail-type\":\"x\",\"detail\":{{\"{field}\":{value}}}}}")
    };
    let switchover = |region: usize, word: &str| {
        let (region, words) = ("r".repeat(region), [word; 64].join(" "));
        format!(
            "{{\"source\":\"aws.rds\",\"detail-type\":\"x\",\"region\":\"{region}\",\"detail\":{{\"SourceType\":\"BLUE_GREEN_DEPLOYMENT\",\
             \"Message\":\"{words}\"}}}}"
        )
    };
    let batch = |record: &str| format!("{{\"Records\":[{}]}}", fill(record, 6 * mega));
    for (name, text) in [
        ("objects", event("x", format!("[{}]", fill("{\"\":1}", mega)))),
        ("deep", event("x", format!("{}{}", "[".repeat(mega / 2), "]".repeat(mega / 2)))),
        (
            "resources",
            format!(
                "{{\"source\":\"aws.rds\",\"detail-type\":\"\",\"resources\":[{}],\"detail\":{{}}}}",
                fill("\"\"", mega)
            ),
        ),
        ("categories", detail("EventCategories", format!("[{}]", fill("\"\"", mega)))),
        ("odd categories", detail("EventCategories", format!("[{}]", fill("{\"\":1}", mega)))),
        ("message", detail("Message", format!("\"{}\"", "\\u0041".repeat(mega / 6)))),
        ("unknown fields", detail("Tags", format!("[{}]", fill("{\"\":{}}", mega)))),
        ("numbers", format!("[{}]", fill("7", 6 * mega))),
        ("empty records", batch("{}")),
        ("records of RDS", batch("{\"source\":\"aws.rds\"}")),
        ("odd records", batch("{\"body\":\"[{},{}]\"}")),
        ("a long Region", switchover(mega - 1000, "orders")),
        ("records of 64 databases", batch(&switchover(9, "o"))),
    ] {
        let most = parsing(&text);
        println!("{name}: {} bytes cost {most}", text.len());
        assert!(most <= 24 * mega as i64, "{name}: {} bytes cost {most}", text.len());
    }
}
