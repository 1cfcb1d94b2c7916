//! An operator's command.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::unsupported::{UnsupportedEvent, brief, text};

/// An operator's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub action: Action,
    /// The name of the only target group that it is for.
    pub binding: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Arguments {
            #[serde(rename = "command")]
            _command: serde::de::IgnoredAny,
            binding: Option<String>,
        }
        let action = text(command).as_deref().and_then(Action::named);
        let Some(action) = action else {
            return Err(UnsupportedEvent(format!("the command {} is unknown", brief(command.get()))));
        };
        let Arguments { _command, binding } = serde_json::from_str(json).map_err(|error| {
            let name = command.get();
            UnsupportedEvent(format!("the command {name} cannot be read ({})", brief(&error.to_string())))
        })?;
        Ok(Self { action, binding })
    }
}

impl Action {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "check" => Some(Self::Check),
            "plan" => Some(Self::Plan),
            "doctor" => Some(Self::Doctor),
            _ => None,
        }
    }
}
