//! What went wrong with the outside world, in terms of what the loop does about it.

use std::error::Error as StdError;
use std::fmt;

type Source = Box<dyn StdError + Send + Sync>;

/// The longest reason that is printed, in characters. Services choose their own words, and a refusal
/// that quotes a policy takes half of it.
const MAX_REASON_CHARS: usize = 1000;

/// What kind of failure it is, which decides whether it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// DNS gave no usable answer. A watch asks again; a check does not.
    NoAnswer,
    /// Throttled, timed out, reset, or an error of the server: it may work in a moment.
    Transient,
    /// Denied, not found, refused: it fails again until somebody changes something.
    Permanent,
    /// The invocation's time is over.
    DeadlineExceeded,
}

/// A failed call or lookup: what was being done, why it failed, and what cures it.
///
/// `Display` leaves the source out; [`Error::explain`] prints the whole chain with the cure, once, at
/// the edge.
#[derive(Debug)]
pub struct Error {
    doing: String,
    kind: ErrorKind,
    fix: Option<String>,
    source: Option<Source>,
}

impl Error {
    /// A failure to do what `doing` says, as in "list the targets of arn:…".
    pub fn new(kind: ErrorKind, doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), kind, fix: None, source: None }
    }

    /// Adds the reason.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what the operator can do about it.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Turns it into one that trying again does not mend.
    #[must_use]
    pub fn permanent(self) -> Self {
        Self { kind: ErrorKind::Permanent, ..self }
    }

    /// Turns it into one that another look may mend.
    #[must_use]
    pub fn transient(self) -> Self {
        Self { kind: ErrorKind::Transient, ..self }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the operator can do about it.
    pub fn fix(&self) -> Option<&str> {
        self.fix.as_deref()
    }

    /// What failed, and every reason down the chain, in one line.
    pub fn story(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            let reason = one_line(&error.to_string());
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
        match &self.fix {
            Some(fix) => format!("{story}. Fix: {fix}"),
            None => story,
        }
    }
}

/// What a stranger wrote, without line breaks and no longer than a reader needs.
fn one_line(text: &str) -> String {
    brief(text, MAX_REASON_CHARS).replace(char::is_control, " ")
}

/// Enough of a text to recognise it by in a message.
pub(crate) fn brief(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.doing)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_printed_once_with_the_cure_at_its_end() {
        let inner = Error::new(ErrorKind::Permanent, "sign").with_source("no credentials");
        let outer = Error::new(ErrorKind::Permanent, "list").with_source(inner).with_fix("set a role");
        assert_eq!(outer.to_string(), "could not list");
        assert_eq!(outer.explain(), "could not list: could not sign: no credentials. Fix: set a role");
    }

    #[test]
    fn a_reason_that_repeats_its_source_is_printed_once() {
        let error = Error::new(ErrorKind::Transient, "list").with_source("could not list");
        assert_eq!(error.explain(), "could not list");
    }

    #[test]
    fn a_strangers_words_come_on_one_line_and_at_most_a_thousand_characters() {
        let explained = |words: &str| {
            Error::new(ErrorKind::Transient, "list").with_source(words).with_fix("wait").explain()
        };
        assert_eq!(explained("a\r\nb\u{1b}[31m"), "could not list: a  b [31m. Fix: wait");
        let thousand = "ä".repeat(1000);
        assert_eq!(explained(&thousand), format!("could not list: {thousand}. Fix: wait"));
        assert_eq!(explained(&format!("{thousand}b")), format!("could not list: {thousand}…. Fix: wait"));
    }
}
