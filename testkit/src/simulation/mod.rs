//! Every schedule of harm that dice can think of, through the real loop on a paused clock.
//!
//! A schedule is drawn from one seed ([`schedule`]): how one to four invocations (watches, checks, dry
//! runs; side by side or one after another; with deadlines from nothing to minutes; some killed at a
//! time or at the nth await) meet a world in which
//! - DNS moves, moves back, and fails in every way; up to three name servers follow at their own pace,
//!   so that lookups flicker between old and new, or one invocation sees only the stale one;
//! - calls are throttled (burst and refill, shared with others), refused, denied, reset, slow or hang;
//!   they time out with or without their effect, lose their answer after it, or fail and take effect
//!   some seconds later; what a killed invocation had sent still arrives;
//! - listings show the group as it was up to nine seconds ago, and somebody else changes it;
//! - the RDS API is right, late, wrong, slow, down or has never heard of the cluster, and reports failovers
//!   that are none;
//! - events nominate the next writer, another member, or somebody who is none; addresses are used again by
//!   other members; a standby is kept, wakes up, or falls asleep.
//!
//! Then all harm stops, everything on its way has arrived, and undisturbed checks run.
//!
//! [`play`] runs the real [`reconcile`](rds_nlb_sync::reconcile::reconcile) on [`ports`] over the
//! world's model of the group. Everything that happens is an [`Event`](history::Event), and the
//! [`checker`], which shares nothing with the planner, sees every event and nothing else. The same seed
//! plays the same way. To replay a broken seed with its schedule and events: `SEED=n cargo test
//! random_schedules`, or `make soak START=n SEEDS=1`.
//!
//! # The invariants
//!
//! An *active* target is registered and not draining. A call is judged when it is sent by what could be
//! known then, and when it takes effect by what it did. No client of an API without transactions can
//! know more than its last look, so the invariants name exactly what is excused, and the soak counts it.
//!
//! 1. **Never empty through us.** No deregistration of ours takes a group's last active target. Excused
//!    is only the call that leaves another active target by the listing that it was sent by (which by
//!    invariant 2 was asked for at most [`MAX_OBSERVATION_AGE`](rds_nlb_sync::reconcile::FRESH) before, and may itself
//!    be older than it looks, but for this invocation's own deregistrations), where since that listing that
//!    target was taken
//!    - by somebody else; or
//!    - by another call of ours (of the same invocation, only if it took effect after this one was sent,
//!      as a call may that seemed to have failed), while the name
//!      servers did not all give one and the same address from `MAX_OBSERVATION_AGE` before the earlier of the two
//!      calls was sent until the later one landed. While DNS is steady, no number of invocations
//!      together empties a group.
//! 2. **What DNS steadily names is never deregistered.** No deregistration is sent for an address that every
//!    name server has given for the last `MAX_OBSERVATION_AGE`. As `MAX_OBSERVATION_AGE` is the shorter, this covers the
//!    confirmation time, and for calls that take effect late: an address that is named steadily for the
//!    confirmation time before the effect is not deregistered, if the call was under way for no longer than
//!    the confirmation time less `MAX_OBSERVATION_AGE`. And **nothing is deregistered on less than the evidence**: the
//!    invocation's last lookup succeeded, was asked at most `MAX_OBSERVATION_AGE` before, ended a row of at least two
//!    equal answers that spans the confirmation time from the end of its first lookup to the start of its
//!    last, without a gap of more than half that time or two polls (one lookup, for a confirmation time
//!    of zero); its last listing, asked at most `MAX_OBSERVATION_AGE`
//!    before, shows that writer and everything deregistered as active; and the RDS API, where the answer names
//!    a cluster member, was asked and has not called another one the writer.
//! 3. **Nothing is registered that was neither named by DNS nor nominated as a member of the bound cluster**:
//!    each registered target is the address that this invocation's last lookup returned; or, in a watch
//!    whose DNS has not settled on an address that was not in the group at first, an address found under the
//!    own name of a member that its event or the RDS API nominated, where that API, if it has answered at
//!    all, lists it as one. It is registered with the binding's port, private (or shared, or IPv6 global or
//!    unique local); one that the last listing shows draining has the confirmation of invariant 2, and is
//!    no candidate. A dry run sends no change. Nor does a watch deregister whom its own event nominated before DNS
//!    has moved.
//! 4. **It settles.** Once harm has stopped, [`CHECKS`](checker::CHECKS) check makes the active targets
//!    equal to the writer; every later one says in sync and sends no change.
//!    Where a standby is kept, that counts from the check after which the writer's own target is healthy,
//!    and one target that the last listing shows unhealthy may be there besides.
//! 5. **On time and true.** No invocation ends after its deadline. One that fails names the binding, and
//!    a failure that was really told to it, or that time ran out, at the deadline; no other carries an
//!    error. In sync or updated is said only where the last lookup and the last listing agree.
//! 6. **Within bounds**: the numbers of lookups and calls stay within the formulas in [`bounds`].
//!
//! [`notices`] shows that the checker finds each of them broken; [`awaits`] kills the loop at every await.
pub mod bounds;
pub mod checker;
pub mod hazard;
pub mod history;
pub mod outside;
pub mod play;
pub mod ports;
pub mod schedule;
pub mod verdict;
