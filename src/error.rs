//! Failed calls and lookups. Their kind decides what the loop does.

use std::error::Error as StdError;
use std::iter;
use std::sync::Arc;

type Source = Box<dyn StdError + Send + Sync>;

/// The longest reason that is printed, in characters. A service chooses its own words: a denial that quotes a policy
/// takes half of this length.
const MAX_REASON_CHARS: usize = 1000;

/// The kind of failure decides whether the call is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The name server gave no usable answer, or, for the role `readers`, the RDS API gave none. A watch repeats the lookup; a
    /// check does not.
    NoAnswer,
    /// Throttled, timed out, reset, or failed on the server's side: a retry may succeed.
    Transient,
    /// Denied, not found or invalid: a retry fails until the cause is fixed.
    Permanent,
    DeadlineExceeded,
}

/// A failed call or lookup: the action, the reason and the fix.
///
/// `Display` leaves the source out. [`Error::explain`] gives the whole chain with the fix; a log line or a report
/// calls it once.
#[derive(Clone, Debug, thiserror::Error)]
#[error("could not {doing}")]
pub struct Error {
    doing: String,
    kind: ErrorKind,
    fix: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    is_outcome_unknown: bool,
}

impl Error {
    /// `doing` is the action that failed, such as "list the targets of arn:…".
    pub fn new(kind: ErrorKind, doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), kind, fix: None, source: None, is_outcome_unknown: false }
    }

    /// A call that was cut off. `doing` is the action, such as "list the group's targets".
    pub fn deadline_exceeded(doing: &str) -> Self {
        Self::new(ErrorKind::DeadlineExceeded, format!("{doing} before the time ran out")).with_fix(
            "raise the time-out (the function's, or --timeout), or find out why the call takes so long",
        )
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    #[must_use]
    pub fn transient(self) -> Self {
        Self { kind: ErrorKind::Transient, ..self }
    }

    /// Adds an earlier failure as the reason. Its fix counts, if it has one.
    #[must_use]
    pub fn caused_by(self, earlier: &Self) -> Self {
        Self { fix: earlier.fix.clone().or(self.fix.clone()), ..self.with_source(earlier.message()) }
    }

    /// Marks the error of a change that may have taken effect, or may take effect later.
    #[must_use]
    pub fn with_unknown_outcome(self) -> Self {
        Self { is_outcome_unknown: true, ..self }
    }

    pub fn is_outcome_unknown(&self) -> bool {
        self.is_outcome_unknown
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn fix(&self) -> Option<&str> {
        self.fix.as_deref()
    }

    /// The failure and all reasons in its chain of sources, in one line.
    pub fn message(&self) -> String {
        let mut text = self.to_string();
        for error in iter::successors(self.source(), |&error| error.source()) {
            let reason = one_line(&error.to_string());
            // Wrappers in the SDKs repeat their source's text. It is printed once.
            if !reason.is_empty() && !text.contains(&reason) {
                text = format!("{text}: {reason}");
            }
        }
        text
    }

    /// The failure, all reasons, and the fix at the end.
    pub fn explain(&self) -> String {
        let message = self.message();
        match &self.fix {
            Some(fix) => format!("{message}. Fix: {fix}"),
            None => message,
        }
    }
}

/// Text from outside, without line breaks and no longer than a reader needs.
fn one_line(text: &str) -> String {
    brief(text, MAX_REASON_CHARS).replace(char::is_control, " ")
}

/// As much of a text as a reader needs to recognise it.
pub(crate) fn brief(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_is_printed_once_with_the_fix_at_its_end() {
        let inner = Error::new(ErrorKind::Permanent, "sign").with_source("no credentials");
        let outer = Error::new(ErrorKind::Permanent, "list").with_source(inner).with_fix("set a role");
        assert_eq!(outer.to_string(), "could not list");
        assert_eq!(outer.explain(), "could not list: could not sign: no credentials. Fix: set a role");
    }

    #[test]
    fn reason_that_repeats_its_source_is_printed_once() {
        let error = Error::new(ErrorKind::Transient, "list").with_source("could not list");
        assert_eq!(error.explain(), "could not list");
    }

    #[test]
    fn outside_text_is_one_line_of_at_most_1000_characters() {
        let explained = |words: &str| {
            Error::new(ErrorKind::Transient, "list").with_source(words).with_fix("wait").explain()
        };
        assert_eq!(explained("a\r\nb\u{1b}[31m"), "could not list: a  b [31m. Fix: wait");
        let thousand = "ä".repeat(1000);
        assert_eq!(explained(&thousand), format!("could not list: {thousand}. Fix: wait"));
        assert_eq!(explained(&format!("{thousand}b")), format!("could not list: {thousand}…. Fix: wait"));
    }
}
