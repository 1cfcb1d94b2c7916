//! What the function is invoked with: events, commands, and bytes that are neither.

use fastrand::Rng;

use testkit::lambda::{Bytes, sent_now};

use crate::schedule::pick;

/// An invocation's body, and what it asks for as far as that is known.
pub struct Payload {
    pub kind: &'static str,
    pub body: Bytes,
    pub headers: Vec<(&'static str, Option<&'static str>)>,
}

const STARTED: &str = include_str!("../../events/cluster-failover-started.json");
const COMPLETED: &str = include_str!("../../events/cluster-failover-completed.json");
const SCHEDULE: &str = include_str!("../../events/schedule.json");
const SAMPLES: [&str; 8] = [
    STARTED,
    COMPLETED,
    SCHEDULE,
    include_str!("../../events/pipe-sqs.json"),
    include_str!("../../events/sqs-sns-eventbridge.json"),
    include_str!("../../events/sns-rds-subscription.json"),
    include_str!("../../events/blue-green-cluster-switched.json"),
    include_str!("../../events/global-failover-completed.json"),
];

fn payload(kind: &'static str, body: impl Into<Bytes>) -> Payload {
    Payload { kind, body: body.into(), headers: Vec::new() }
}

pub fn check() -> Payload {
    payload("check", "{\"command\": \"check\"}")
}

/// An event as AWS or an operator sends it.
pub fn usual(rng: &mut Rng) -> Payload {
    match rng.u32(0..10) {
        0..=3 => {
            // The last is no member.
            let promoted = pick(rng, &["orders-1", "orders-2", "orders-2", "orders-3", "intruder"]);
            payload("watch", sent_now(STARTED).replace("orders-2", promoted))
        }
        4..=5 => payload("watch", sent_now(COMPLETED)),
        6 => payload("check", SCHEDULE),
        7 if rng.u32(0..4) == 0 => payload("doctor", "{\"command\": \"doctor\"}"),
        7 => payload("plan", "{\"command\": \"plan\"}"),
        _ => check(),
    }
}

/// Bytes that nobody means well with.
pub fn hostile(rng: &mut Rng) -> Payload {
    let sample = sent_now(pick(rng, &SAMPLES));
    let body: Vec<u8> = match rng.u32(0..13) {
        0 => Vec::new(),
        1 => vec![0xff; rng.usize(1..2000)],
        2 => "[".repeat(100_000).into_bytes(),
        3 => "{\"a\":".repeat(100_000).into_bytes(),
        4 => format!("{{\"source\": \"{}\"}}", "x".repeat(4 << 20)).into_bytes(),
        5 => b"{\"command\": \"check\", \"binding\": \"../../etc\"}".to_vec(),
        6 => b"{\"command\": \"deregister\", \"target\": \"10.0.1.10\"}".to_vec(),
        7 => sample.replace("orders", "../orders").into_bytes(),
        8 => sample.replace("orders-2", &"orders-2 ".repeat(20_000)).into_bytes(),
        9 => format!("{{\"Records\": [{}]}}", vec![sample.as_str(); 300].join(",")).into_bytes(),
        10 => sample.bytes().take(rng.usize(0..sample.len())).collect(),
        _ => {
            let mut bytes = sample.into_bytes();
            for _ in 0..rng.usize(1..12) {
                let at = rng.usize(0..bytes.len());
                match rng.u32(0..3) {
                    0 => bytes[at] = rng.u8(..),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, pick(rng, b"{}[]\",:\\0-e\n")),
                }
            }
            bytes
        }
    };
    let headers: &[(&'static str, Option<&'static str>)] = match rng.u32(0..8) {
        0 => &[("lambda-runtime-deadline-ms", None)],
        1 => &[("lambda-runtime-deadline-ms", Some("soon"))],
        2 => &[("lambda-runtime-deadline-ms", Some("542000"))],
        3 => &[("lambda-runtime-client-context", Some("{\"custom\": {\"a\": {\"b\": 1}}}"))],
        4 => &[("lambda-runtime-trace-id", None)],
        _ => &[],
    };
    Payload { kind: "hostile", body: body.into(), headers: headers.to_vec() }
}
