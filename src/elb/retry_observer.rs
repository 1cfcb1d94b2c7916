//! Records the attempts that the SDK adds to a call.

use std::sync::Arc;

use aws_sdk_elasticloadbalancingv2::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_elasticloadbalancingv2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_elasticloadbalancingv2::error::BoxError;
use aws_smithy_runtime_api::client::retries::RequestAttempts;

use crate::rate_limit::ApiRateLimiter;

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
