//! What went wrong with the outside world, in terms of what the loop does about it.

use std::error::Error;
use std::fmt;

type Source = Box<dyn Error + Send + Sync>;

/// What kind of failure it is, which decides whether it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// DNS gave no usable answer. A watch asks again; a check does not.
    NoAnswer,
    /// Throttled, timed out, reset, or an error of the server: it may work in a moment.
    Transient,
    /// Denied, not found, refused: it fails again until somebody changes something.
    Permanent,
    /// The invocation's time is over.
    OutOfTime,
}

/// A failed call or lookup: what was being done, why it failed, and what cures it.
///
/// `Display` leaves the source out; [`Fault::explain`] prints the whole chain with the cure, once, at
/// the edge.
#[derive(Debug)]
pub struct Fault {
    doing: String,
    kind: Kind,
    cure: Option<String>,
    source: Option<Source>,
}

impl Fault {
    /// A failure to do what `doing` says, as in "list the targets of arn:…".
    pub fn new(kind: Kind, doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), kind, cure: None, source: None }
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what the operator can do about it.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// Turns it into one that trying again does not mend.
    #[must_use]
    pub fn permanent(self) -> Self {
        Self { kind: Kind::Permanent, ..self }
    }

    /// Turns it into one that another look may mend.
    #[must_use]
    pub fn transient(self) -> Self {
        Self { kind: Kind::Transient, ..self }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> Option<&str> {
        self.cure.as_deref()
    }

    /// What failed, and every reason down the chain, in one line.
    pub fn story(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            let reason = error.to_string();
            // Wrappers in the SDKs repeat their source's text; once is enough.
            if !reason.is_empty() && !text.contains(&reason) {
                text = format!("{text}: {reason}");
            }
            next = error.source();
        }
        text
    }

    /// The story with the cure at its end.
    pub fn explain(&self) -> String {
        let story = self.story();
        match &self.cure {
            Some(cure) => format!("{story}. Cure: {cure}"),
            None => story,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.doing)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_printed_once_with_the_cure_at_its_end() {
        let inner = Fault::new(Kind::Permanent, "sign").because("no credentials");
        let outer = Fault::new(Kind::Permanent, "list").because(inner).cure("set a role");
        assert_eq!(outer.to_string(), "could not list");
        assert_eq!(outer.explain(), "could not list: could not sign: no credentials. Cure: set a role");
    }

    #[test]
    fn a_reason_that_repeats_its_source_is_printed_once() {
        let fault = Fault::new(Kind::Transient, "list").because("could not list");
        assert_eq!(fault.explain(), "could not list");
    }
}
