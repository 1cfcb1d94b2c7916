//! Plays random schedules of faults through the real loop, on a paused clock.
//!
//! A seed determines a schedule ([`schedule`]): one to four invocations (watches, checks and dry runs; at the
//! same time or one after another; with deadlines from nothing to minutes; some killed at a time or at the
//! nth await) meet these faults:
//! - DNS moves, moves back, and fails in every way. Up to three name servers follow at their own pace, so
//!   that lookups flicker between old and new, or one invocation reaches only the stale server.
//! - Calls are throttled (burst and refill, shared with other callers), refused, denied, reset, slow or
//!   hanging. A call may time out with or without its effect, lose its answer after it, or fail and take
//!   effect some seconds later. A call that a killed invocation has sent still takes effect.
//! - Listings show the group as it was up to nine seconds ago, and other processes change it.
//! - The RDS API is right, late, wrong, slow or down, does not know the cluster, or reports failovers that
//!   do not happen.
//! - Events name the next writer, another member, or an instance that is not a member. Other members get
//!   addresses that were used before. A standby is kept, wakes up, or falls asleep.
//!
//! Then all faults stop, every call on its way has arrived, and undisturbed checks run.
//!
//! [`play`] runs [`reconcile`](rds_nlb_sync::reconcile::reconcile) on [`ports`] over the model of the group.
//! Each step is an [`Event`](history::Event). The [`checker`] sees all events and nothing else, and shares no
//! code with the planner. A seed plays the same way every time. To replay one with its schedule and events:
//! `SEED=n cargo test random_schedules`, or `make soak START=n SEEDS=1`.
//!
//! # The invariants
//!
//! An *active* target is registered and not draining. The checker judges a call when it is sent, by the
//! knowledge of its invocation, and when it takes effect, by its effect. No client of an API without
//! transactions knows more than its last observation. The invariants therefore name their exceptions, and
//! the soak counts them.
//!
//! 1. **Never empty through us.** No deregistration of ours removes a group's last active target. The
//!    exception is a call that leaves another active target by the listing that it was sent by. That listing
//!    was asked for at most [`MAX_OBSERVATION_AGE`](rds_nlb_sync::reconcile::MAX_OBSERVATION_AGE) before (by
//!    invariant 2), and may be older than it looks, but shows this invocation's own deregistrations. Since
//!    that listing, the other target was removed
//!    - by another process; or
//!    - by another call of ours, while the name servers did not all give one and the same address from
//!      `MAX_OBSERVATION_AGE` before the earlier of the two calls was sent until the later one took effect. A
//!      call of the same invocation counts only if it took effect after this one was sent, as a call may
//!      that seemed to have failed. While DNS is stable, any number of invocations leaves a target.
//! 2. **A stable address is never deregistered.** No deregistration is sent for an address that every name
//!    server has given for the last `MAX_OBSERVATION_AGE` and the time that the last lookup took: its answer
//!    counts from its arrival, so that slow name servers delay no deregistration. **Nothing is deregistered on
//!    less than the evidence**: the last lookup succeeded and was answered at most `MAX_OBSERVATION_AGE` before.
//!    It ends a row of at least two equal answers, from the end of whose first lookup to the start of whose
//!    last the confirmation time has passed, without a gap of more than half that time or two polls (for a
//!    confirmation time of zero, one lookup). The last listing, asked at most `MAX_OBSERVATION_AGE` before,
//!    shows that address and every deregistered target as active. Where the answer names a cluster member,
//!    the RDS API was asked, and has not named another writer.
//! 3. **Only addresses that DNS gave or that are candidates' are registered.** A registered target is the
//!    address of this invocation's last lookup. Or the invocation is a watch whose DNS has not settled on an
//!    address that was not in the group at first, and the target is the address of a candidate's own name.
//!    A candidate is an instance that the event or the RDS API names, and that the RDS API, if it has
//!    answered, lists as a member. The target has the binding's port and is private (or shared, or IPv6
//!    global or unique local). A target that the last listing shows draining needs the confirmation of
//!    invariant 2, and is not registered as a candidate. A dry run sends no change. A watch does not
//!    deregister its own event's candidate before DNS has moved.
//! 4. **It settles.** After the faults have stopped, [`CHECKS`](checker::CHECKS) check makes the active
//!    targets equal to the writer; every later one says in sync and sends no change. Where a standby is kept,
//!    this counts from the check after which the writer's own target is healthy, and one target that the last
//!    listing shows unhealthy may remain.
//! 5. **On time and true.** No invocation ends after its deadline. A failed one names the binding, and a
//!    failure that its calls met, or that time ran out, at the deadline; no other has an error. A report says
//!    in sync or updated only where the last lookup and the last listing agree.
//! 6. **Within bounds.** The numbers of lookups and calls stay within the formulas in [`bounds`].
//!
//! `tests/simulation/checker_selftest.rs` shows that the checker finds each of them broken;
//! `tests/simulation/cancellation.rs` kills the loop at every await.

pub mod bounds;
pub mod checker;
pub mod exhaust;
pub mod hazard;
pub mod history;
pub mod outside;
pub mod phase;
pub mod play;
pub mod ports;
pub mod schedule;
pub mod verdict;
