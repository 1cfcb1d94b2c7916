//! The configuration, connections and errors that the adapters of the AWS APIs share.

pub mod client;
mod error;
pub mod tls;

pub(crate) use error::{Bounded, call_error};

/// All that a paginator gives. The SDK's own paginator repeats the call until there are no more pages.
#[cfg(feature = "network")]
macro_rules! all {
    ($paginator:expr, $doing:expr, $action:literal) => {{
        let mut pages = $paginator.send();
        let mut all = Vec::new();
        while let Some(one) = Box::pin(pages.next()).await {
            all.push(one.map_err(|error| $crate::aws::call_error($doing.to_owned(), $action, error))?);
        }
        all
    }};
}
#[cfg(feature = "network")]
pub(crate) use all;
