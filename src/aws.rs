//! The configuration, connections and errors that the adapters of the AWS APIs share.

pub mod client;
mod error;
pub mod tls;

pub(crate) use error::{Bounded, call, call_error, find};

/// All items that a call lists. The SDK's own paginator repeats the call until there are no more pages.
macro_rules! all {
    ($call:expr, $doing:expr, $action:literal) => {
        $crate::aws::all!(of $call.into_paginator().items(), $doing, $action)
    };
    (of $paginator:expr, $doing:expr, $action:literal) => {{
        let mut pages = $paginator.send();
        let mut all = Vec::new();
        while let Some(one) = Box::pin(pages.next()).await {
            all.push(one.map_err(|error| $crate::aws::call_error($doing.into(), $action, error))?);
        }
        all
    }};
}
pub(crate) use all;

/// The API's word for a value, or nothing.
#[cfg(feature = "network")]
pub(crate) fn text(value: Option<impl AsRef<str>>) -> String {
    value.map(|value| value.as_ref().to_owned()).unwrap_or_default()
}
