//! An operator's command.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::unsupported::{UnsupportedEvent, brief, read, text};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    #[serde(rename = "command")]
    pub action: Action,
    /// The name of the only target group that it is for.
    pub binding: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Check,
    Plan,
    Doctor,
}

impl Command {
    /// A command for all bindings.
    pub fn new(action: Action) -> Self {
        Self { action, binding: None }
    }

    pub(super) fn parse(command: &RawValue, json: &str) -> Result<Self, UnsupportedEvent> {
        let name = command.get();
        match text(command).as_deref().and_then(Action::named) {
            Some(_) => read(json, format_args!("command {name}")),
            None => Err(UnsupportedEvent(format!("the command {} is unknown", brief(name)))),
        }
    }
}

impl Action {
    pub(super) fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}
