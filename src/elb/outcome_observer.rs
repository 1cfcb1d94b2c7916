//! Records whether every attempt of a change was clearly accepted or refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_elasticloadbalancingv2::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_elasticloadbalancingv2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_elasticloadbalancingv2::error::BoxError;

use crate::error::Error;
use crate::reconcile::Attempts;

/// Remembers whether an attempt timed out, broke off, or got an answer that is neither an acceptance nor a refusal
/// (HTTP status 4xx, which includes throttling). The API may have applied such an attempt, or may apply it later, even
/// if it accepted a retry.
#[derive(Clone, Debug, Default)]
pub(super) struct OutcomeObserver {
    is_unknown: Arc<AtomicBool>,
}

impl OutcomeObserver {
    pub fn attempts(&self) -> Attempts {
        if self.is_unknown.load(Ordering::Relaxed) { Attempts::SomeUnknown } else { Attempts::AllKnown }
    }

    pub fn mark(&self, error: Error) -> Error {
        match self.attempts() {
            Attempts::AllKnown => error,
            Attempts::SomeUnknown => error.with_unknown_outcome(),
        }
    }
}

impl Intercept for OutcomeObserver {
    fn name(&self) -> &'static str {
        "OutcomeObserver"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_accepted = context.output_or_error().is_some_and(|result| result.is_ok());
        let is_refused = context.response().is_some_and(|response| response.status().is_client_error());
        if !is_accepted && !is_refused {
            self.is_unknown.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
