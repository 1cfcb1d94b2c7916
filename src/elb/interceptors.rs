//! What the SDK does not tell its caller: repeated attempts, unknown outcomes, and answers that are not the API's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_elasticloadbalancingv2::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_sdk_elasticloadbalancingv2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_elasticloadbalancingv2::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_xml::decode::Document;

use crate::error::Error;
use crate::rate_limit::ApiRateLimiter;
use crate::reconcile::Attempts;

/// Reports every attempt after a call's first to the rate limiter. Such an attempt has no permit. It shows that the
/// attempt before it was refused or failed.
#[derive(Debug)]
pub(super) struct RetryObserver(pub Arc<ApiRateLimiter>);

impl Intercept for RetryObserver {
    fn name(&self) -> &'static str {
        "RetryObserver"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if bag.load::<RequestAttempts>().is_some_and(|made| made.attempts() > 1) {
            self.0.record_failed_attempt();
        }
        Ok(())
    }
}

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

/// Fails a call whose answer does not have the root element of its operation.
///
/// RegisterTargets and DeregisterTargets return no data, so the SDK does not read their answers. It would accept a
/// proxy's page with status 200, or an empty body. The SDK parses the answers to all other calls, and fails there.
#[derive(Debug)]
pub(super) struct ResponseCheck;

impl Intercept for ResponseCheck {
    fn name(&self) -> &'static str {
        "ResponseCheck"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.output_or_error().is_err() {
            return Ok(());
        }
        let operation = bag.load::<Metadata>().map(Metadata::name).unwrap_or_default();
        let expected = format!("{operation}Response");
        let body = context.response().body().bytes().unwrap_or_default();
        if has_root(body, &expected) {
            return Ok(());
        }
        let status = context.response().status().as_u16();
        Err(format!("the answer, of HTTP status {status}, is no {expected} of the load balancing API").into())
    }
}

fn has_root(body: &[u8], name: &str) -> bool {
    Document::try_from(body)
        .is_ok_and(|mut document| document.root_element().is_ok_and(|root| root.start_el().matches(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_element_is_compared_with_the_operation() {
        for (body, expected) in [
            ("<RegisterTargetsResponse/>", true),
            (
                "<RegisterTargetsResponse xmlns=\"http://x/\"><RegisterTargetsResult/></RegisterTargetsResponse>",
                true,
            ),
            ("<?xml version=\"1.0\"?>\n<!-- a --><RegisterTargetsResponse></RegisterTargetsResponse>", true),
            ("<DeregisterTargetsResponse/>", false),
            ("<html><RegisterTargetsResponse/></html>", false),
            ("<!DOCTYPE html><html/>", false),
            ("RegisterTargetsResponse", false),
            ("{}", false),
            ("", false),
        ] {
            assert_eq!(has_root(body.as_bytes(), "RegisterTargetsResponse"), expected, "{body}");
        }
        assert!(!has_root(b"<RegisterTargetsResponse\xff/>", "RegisterTargetsResponse"));
    }
}
