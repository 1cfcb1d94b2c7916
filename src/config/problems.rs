//! What is wrong with the configuration, as values.

use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    pub variable: &'static str,
    pub index: Option<usize>,
    pub field: Option<String>,
    pub is_missing: bool,
    pub message: String,
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub(super) Vec<Problem>);

impl ConfigErrors {
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }

    /// Adds what else is wrong with the environment.
    #[must_use]
    pub fn with(mut self, variables: &'static str, message: String) -> Self {
        self.0.push(Problem { variable: variables, message, ..Problem::default() });
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

/// Collects the problems while the environment is parsed.
#[derive(Default)]
pub(super) struct Problems(pub Vec<Problem>);

impl Problems {
    pub fn add(&mut self, variable: &'static str, message: impl fmt::Display) {
        self.0.push(Problem { variable, message: message.to_string(), ..Problem::default() });
    }

    pub fn add_missing(&mut self, variable: &'static str, example: &str) {
        let message = format!("is not set. Fix: give {example}");
        self.0.push(Problem { variable, is_missing: true, message, ..Problem::default() });
    }

    pub fn add_at(&mut self, variable: &'static str, index: usize, message: impl fmt::Display) {
        let message = message.to_string();
        self.0.push(Problem { variable, index: Some(index), message, ..Problem::default() });
    }

    pub fn add_field(&mut self, variable: &'static str, index: usize, problem: FieldProblem) {
        let FieldProblem { field, message } = problem;
        let (index, field) = (Some(index), Some(field));
        self.0.push(Problem { variable, index, field, message, ..Problem::default() });
    }
}
