//! What the adapters of AWS APIs share: how an SDK's error becomes a [`Fault`], and how long an answer may
//! be. The types are one and the same in all SDKs; they are imported from one of them.

use std::error::Error;

use aws_sdk_elasticloadbalancingv2::config::http::HttpResponse;
use aws_sdk_elasticloadbalancingv2::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_elasticloadbalancingv2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_elasticloadbalancingv2::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;
use rustls::CertificateError;

use crate::fault::{Fault, Kind};
use crate::trust;

/// The longest answer that is read, in bytes. A full group's thousand targets take half a megabyte; the
/// function has 128, and the SDK by itself reads for as long as bytes arrive.
pub const LONGEST: usize = 4 << 20;

/// Ends an answer that is longer than [`LONGEST`] with an error.
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
        *body = SdkBody::from_body_1_x(Limited::new(whole, LONGEST));
        Ok(())
    }
}

/// Turns a failed call into a fault. `action` is the IAM action that the call needs.
pub fn fault<E>(doing: String, action: &str, error: SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    let kind = kind(&error, &code, status);
    let denied = code.starts_with("AccessDenied") || code == "UnauthorizedOperation" || status == Some(403);
    let fault = Fault::new(kind, doing);
    let fault = match error {
        // The service's own words say more than the SDK's "service error".
        SdkError::ServiceError(context) if !code.is_empty() => {
            let message = context.err().message().unwrap_or("no message").to_owned();
            fault.because(format!("{code}: {message}"))
        }
        SdkError::ServiceError(_) => {
            // A proxy's page, perhaps: the status is all that can be told by.
            let status = status.unwrap_or_default();
            let understand = format!("understand the answer, of HTTP status {status}");
            fault.because(Fault::new(kind, understand).because(error))
        }
        SdkError::TimeoutError(_) => fault.because("no answer in time"),
        other => {
            let refusal = trust::refusal(&other).map(untrusted);
            let fault = fault.because(other);
            if let Some(cure) = refusal {
                return fault.cure(cure);
            }
            // Only the reasons count: a group may be called credentials.
            if fault.explain().trim_start_matches(&fault.to_string()).contains("credential") {
                // The chain of providers has none: nothing was sent, and nothing will be.
                return fault
                    .permanent()
                    .cure("give the function a role, or the process credentials that the AWS SDK finds");
            }
            fault
        }
    };
    if denied {
        return fault.cure(format!("allow {action} in the function's role, and look at its credentials"));
    }
    match kind {
        Kind::Transient => {
            fault.cure("it is tried again; if it stays, look into the network and the API's limits")
        }
        _ => fault,
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

fn kind<E>(error: &SdkError<E, HttpResponse>, code: &str, status: Option<u16>) -> Kind {
    const THROTTLED: [&str; 4] = ["Throttl", "RequestLimitExceeded", "TooManyRequests", "RequestThrottled"];
    match error {
        SdkError::ConstructionFailure(_) => Kind::Permanent,
        // Timeouts, connections that broke, and answers that make no sense.
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            Kind::Transient
        }
        _ if THROTTLED.iter().any(|prefix| code.starts_with(prefix)) => Kind::Transient,
        _ => match status {
            Some(429 | 500..) => Kind::Transient,
            // An answer that is neither an error nor what was asked for.
            Some(200..300) | None => Kind::Transient,
            Some(_) => Kind::Permanent,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_permanent_and_what_got_no_answer_is_not() {
        let refused = || HttpResponse::new(400.try_into().unwrap(), SdkBody::empty());
        let cases: [(SdkError<(), HttpResponse>, Kind); 4] = [
            (SdkError::construction_failure("no region"), Kind::Permanent),
            (SdkError::timeout_error("after 3 s"), Kind::Transient),
            (SdkError::response_error("no XML", refused()), Kind::Transient),
            (SdkError::service_error((), refused()), Kind::Permanent),
        ];
        for (error, expected) in cases {
            let status = error.raw_response().map(|response| response.status().as_u16());
            assert_eq!(kind(&error, "", status), expected, "{error:?}");
        }
    }
}
