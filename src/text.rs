//! Lists in messages.

use std::fmt::Display;

pub(crate) trait Joined: Iterator<Item: Display> + Sized {
    fn joined(self, separator: &str) -> String {
        self.map(|item| item.to_string()).collect::<Vec<_>>().join(separator)
    }

    /// The items with commas between them, or `none` if there is no item.
    fn listed_or(self, none: &str) -> String {
        let mut items = self.peekable();
        if items.peek().is_none() { none.to_owned() } else { items.joined(", ") }
    }
}

impl<I: Iterator<Item: Display>> Joined for I {}
