//! What the adapters of AWS APIs share: how an SDK's error becomes a [`Error`], and how long an answer may
//! be. The types are one and the same in all SDKs; they are imported from one of them.

use std::error::Error as StdError;

use aws_sdk_elasticloadbalancingv2::config::http::HttpResponse;
use aws_sdk_elasticloadbalancingv2::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_elasticloadbalancingv2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_elasticloadbalancingv2::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;
use rustls::CertificateError;

use super::tls;
use crate::error::{Error, ErrorKind};

/// The longest answer that is read, in bytes. A full group's thousand targets take half a megabyte; the
/// function has 128, and the SDK by itself reads for as long as bytes arrive.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Ends an answer that is longer than [`MAX_ANSWER_BYTES`] with an error.
#[derive(Debug)]
pub struct Bounded;

impl Intercept for Bounded {
    fn name(&self) -> &'static str {
        "Bounded"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let whole = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(whole, MAX_ANSWER_BYTES));
        Ok(())
    }
}

/// Turns a failed call into a fault. `action` is the IAM action that the call needs.
pub fn call_error<E>(doing: String, action: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    let kind = kind(&error, &code, status);
    let denied = code.starts_with("AccessDenied") || code == "UnauthorizedOperation" || status == Some(403);
    let failure = Error::new(kind, doing);
    let failure = match error {
        // The service's own words say more than the SDK's "service error".
        SdkError::ServiceError(context) if !code.is_empty() => {
            let message = context.err().message().unwrap_or("no message").to_owned();
            failure.with_source(format!("{code}: {message}"))
        }
        SdkError::ServiceError(_) => {
            // A proxy's page, perhaps: the status is all that can be told by.
            let status = status.unwrap_or_default();
            let understand = format!("understand the answer, of HTTP status {status}");
            failure.with_source(Error::new(kind, understand).with_source(error))
        }
        SdkError::TimeoutError(_) => failure.with_source("no answer in time"),
        other => {
            let refusal = tls::refusal(&other).map(untrusted);
            let failure = failure.with_source(other);
            if let Some(fix) = refusal {
                return failure.with_fix(fix);
            }
            // Only the reasons count: a group may be called credentials.
            if failure.explain().trim_start_matches(&failure.to_string()).contains("credential") {
                // The chain of providers has none: nothing was sent, and nothing will be.
                return failure
                    .permanent()
                    .with_fix("give the function a role, or the process credentials that the AWS SDK finds");
            }
            failure
        }
    };
    if denied {
        return failure
            .with_fix(format!("allow {action} in the function's role, and look at its credentials"));
    }
    match kind {
        ErrorKind::Transient => {
            failure.with_fix("it is tried again; if it stays, look into the network and the API's limits")
        }
        _ => failure,
    }
}

/// What cures a certificate that was refused.
fn untrusted(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "nobody whom the function trusts vouches for this API; if a proxy or a private authority stands before \
             it, name its certificates in AWS_CA_BUNDLE"
        }
        _ => {
            "the API's certificate does not hold for this name at this time; look at the endpoint (AWS_ENDPOINT_URL), at \
             what stands before it, and at the clock"
        }
    }
}

fn kind<E>(error: &SdkError<E, HttpResponse>, code: &str, status: Option<u16>) -> ErrorKind {
    const THROTTLED: [&str; 4] = ["Throttl", "RequestLimitExceeded", "TooManyRequests", "RequestThrottled"];
    match error {
        SdkError::ConstructionFailure(_) => ErrorKind::Permanent,
        // Timeouts, connections that broke, and answers that make no sense.
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            ErrorKind::Transient
        }
        _ if THROTTLED.iter().any(|prefix| code.starts_with(prefix)) => ErrorKind::Transient,
        _ => match status {
            Some(429 | 500..) => ErrorKind::Transient,
            // An answer that is neither an error nor what was asked for.
            Some(200..300) | None => ErrorKind::Transient,
            Some(_) => ErrorKind::Permanent,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_permanent_and_what_got_no_answer_is_not() {
        let refused = || HttpResponse::new(400.try_into().unwrap(), SdkBody::empty());
        let cases: [(SdkError<(), HttpResponse>, ErrorKind); 4] = [
            (SdkError::construction_failure("no region"), ErrorKind::Permanent),
            (SdkError::timeout_error("after 3 s"), ErrorKind::Transient),
            (SdkError::response_error("no XML", refused()), ErrorKind::Transient),
            (SdkError::service_error((), refused()), ErrorKind::Permanent),
        ];
        for (error, expected) in cases {
            let status = error.raw_response().map(|response| response.status().as_u16());
            assert_eq!(kind(&error, "", status), expected, "{error:?}");
        }
    }
}
