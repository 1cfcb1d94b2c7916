//! The kinds of events that invoke the function.

use super::command::Command;
use super::rds::RdsEvent;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operator.
    Command(Command),
    /// An EventBridge rule or EventBridge Scheduler.
    Schedule,
    /// RDS: one event, or those of a batch.
    Rds(Vec<RdsEvent>),
}

impl Event {
    pub fn is_of_rds(&self) -> bool {
        matches!(self, Self::Rds(_))
    }
}
