//! Hostile answers: name servers and APIs that send anything at all. Whatever arrives, there is no
//! panic and no hang, memory and messages stay bounded, and an error names its subject.
//!
//! Every case has a fixed seed; a failure names it, and `CASE=seed` repeats that case alone. `CASES`
//! sets how many there are (`make fuzz CASES=100000`).

mod apis;
mod name_servers;

use std::cell::Cell;
use std::future::Future;
use std::ops::Range;
use std::sync::Once;
use std::time::Duration;

use fastrand::Rng;
use futures_util::StreamExt as _;
use rds_nlb_sync::error::Error;

/// How many cases `make test` takes.
const CASES: u64 = 300;
/// The cases at work at the same time: most of one's time is a time-out.
const AT_ONCE: usize = 30;
/// The longest that an error may be, in bytes: the attempted action, a few reasons, and the fix.
const LONGEST: usize = 8000;

fn cases() -> Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a whole number"));
    match number("CASE") {
        Some(case) => case..case + 1,
        None => 0..number("CASES").unwrap_or(CASES),
    }
}

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Counts the panics of this thread, for those in spawned tasks end nothing but the task.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}

/// Runs every case with its own dice, some at the same time. A case says whether it made any sense of
/// the answer; of many cases, some do and some do not, or the dice are loaded.
async fn every_case<F: Future<Output = bool>>(run: impl Fn(u64, Rng) -> F) {
    count_panics();
    let run = |case| {
        let running = run(case, Rng::with_seed(case));
        async move {
            let made_sense = running.await;
            assert_eq!(PANICS.get(), 0, "CASE={case}, or one at the same time, panicked in a task");
            made_sense
        }
    };
    let cases = futures_util::stream::iter(cases()).map(run).buffer_unordered(AT_ONCE);
    let sense: Vec<bool> = cases.collect().await;
    let made = sense.iter().filter(|made| **made).count();
    assert!(sense.len() < 100 || (10..sense.len() - 10).contains(&made), "{made} of {}", sense.len());
}

/// Every error is short, on one line, and names its subject.
fn is_well_formed(case: u64, error: &Error, about: &str) {
    let message_text = error.explain();
    assert!(message_text.len() <= LONGEST, "CASE={case}: {} bytes: {message_text:.200}…", message_text.len());
    assert!(!message_text.contains(char::is_control), "CASE={case} breaks the line: {message_text}");
    assert!(message_text.contains(about), "CASE={case} names no {about}: {message_text}");
}

/// Changes some bytes from `from` on.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, from: usize) {
    for _ in 0..rng.usize(1..8) {
        if bytes.len() <= from {
            return;
        }
        let at = rng.usize(from..bytes.len());
        match rng.u8(..5) {
            0 => bytes[at] ^= 1 << rng.u8(..8),
            1 => bytes[at] = rng.u8(..),
            2 => bytes[at] = *rng.choice(&[0, 0xff, 0x7f, 0x80, 0xc0]).expect("a choice"),
            3 => {
                bytes.remove(at);
            }
            _ => bytes.insert(at, rng.u8(..)),
        }
    }
}

/// Room for a slow machine on which many cases run side by side.
const SLACK: Duration = Duration::from_secs(5);
