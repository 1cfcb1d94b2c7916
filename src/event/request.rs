//! What an event asks for: to watch the bindings that it is about, or to check all.

use super::{Command, Event, RdsEvent};
use crate::binding::Binding;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Watch these bindings: a failover may be under way.
    Watch(Vec<WatchedBinding>),
    /// Check every binding.
    Check,
    /// Check every binding, and list every group: an operator asks.
    CheckAll,
    /// Report what a check would do.
    Plan,
    /// Examine every binding, and change nothing.
    Doctor,
}

/// A binding to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedBinding {
    /// The binding, by index.
    pub binding: usize,
    /// The cluster member that the event names as the one being promoted, in lower case.
    pub promoted_instance: Option<String>,
}

/// Decides what the event asks for, given the bindings that it may be about.
pub fn request(event: &Event, bindings: &[Binding]) -> Request {
    match event {
        Event::Command(Command::Check) => Request::CheckAll,
        Event::Command(Command::Plan) => Request::Plan,
        Event::Command(Command::Doctor) => Request::Doctor,
        Event::Schedule => Request::Check,
        Event::Rds(event) => {
            let about = watched_bindings(event, bindings);
            if about.is_empty() { Request::Check } else { Request::Watch(about) }
        }
    }
}

fn watched_bindings(event: &RdsEvent, bindings: &[Binding]) -> Vec<WatchedBinding> {
    let Some(identifier) = event.watched() else { return Vec::new() };
    let about = bindings.iter().enumerate().filter(|(_, binding)| binding.is_about(identifier));
    about
        .map(|(binding, _)| WatchedBinding { binding, promoted_instance: event.promoted_instance.clone() })
        .collect()
}

/// True if the event would start a watch but its database has no binding.
pub fn is_about_unbound_database(event: &Event, bindings: &[Binding]) -> bool {
    let Event::Rds(event) = event else { return false };
    event.watched().is_some() && watched_bindings(event, bindings).is_empty()
}
