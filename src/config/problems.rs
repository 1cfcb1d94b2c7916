//! What is wrong with the configuration, as values.

use std::fmt;

pub const BINDINGS: &str = "BINDINGS";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    pub variable: &'static str,
    pub index: Option<usize>,
    pub field: Option<String>,
    pub is_missing: bool,
    pub message: String,
}

impl Problem {
    pub(super) fn new(variable: &'static str, message: impl fmt::Display) -> Self {
        Self { variable, message: message.to_string(), ..Self::default() }
    }

    pub(super) fn at(self, index: usize) -> Self {
        Self { index: Some(index), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, index, field, is_missing: _, message } = self;
        f.write_str(variable)?;
        if let Some(index) = index {
            write!(f, "[{index}]")?;
        }
        if let Some(field) = field {
            write!(f, ".{field}")?;
        }
        write!(f, ": {message}")
    }
}

/// What is wrong with one field of a binding, wherever the binding is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    pub field: String,
    pub message: String,
}

impl FieldProblem {
    /// The problem of the binding at this place in `BINDINGS`.
    pub(super) fn at(self, index: usize) -> Problem {
        Problem { field: Some(self.field), ..Problem::new(BINDINGS, self.message).at(index) }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub(super) Vec<Problem>);

impl ConfigErrors {
    /// Adds what else is wrong with the environment.
    #[must_use]
    pub fn with(mut self, variables: &'static str, message: String) -> Self {
        self.0.push(Problem::new(variables, message));
        self
    }

    /// One message about all problems. `describe` gives the text for each.
    pub fn describe(&self, describe: impl Fn(&Problem) -> String) -> String {
        let problems: Vec<String> = self.0.iter().map(describe).collect();
        format!("the configuration is not valid: {}", problems.join("; "))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(Problem::to_string))
    }
}
