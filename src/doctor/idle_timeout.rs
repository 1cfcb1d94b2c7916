//! The listener's idle time-out: a connection without a packet for so long is forgotten, and the next packet is
//! answered with a reset.

use super::facts::{Attributes, Read};
use super::finding::Finding;

const CHECK: &str = "idle_timeout";
const ATTRIBUTE: &str = "tcp.idle_timeout.seconds";
/// The default in seconds (NLB guide, "Listener attributes").
const DEFAULT: u32 = 350;

pub fn check_idle_timeout(attributes: &Read<Attributes>) -> Finding {
    let attributes = match attributes {
        Err(unread) => {
            return Finding::unread_optional(CHECK, unread, "after how long an idle connection is cut");
        }
        Ok(attributes) => attributes,
    };
    let seconds = attributes.get(ATTRIBUTE).and_then(|value| value.parse().ok()).unwrap_or(DEFAULT);
    let observed = format!("a connection is cut after {seconds} s without a packet");
    if seconds >= DEFAULT {
        return Finding::ok(CHECK, observed);
    }
    let impact = "pools of the clients hold connections for longer than that, and find them reset";
    let fix = format!(
        "let the clients send TCP keepalives more often than every {seconds} s, or raise {ATTRIBUTE} of the listener to \
         {DEFAULT} or more"
    );
    Finding::warning(CHECK, observed, impact, fix)
}
