//! How an SDK's error becomes an [`Error`], and how long an answer may be. The SDKs of all APIs share these types; they are
//! imported from one of them.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_elasticloadbalancingv2::config::http::HttpResponse;
use aws_sdk_elasticloadbalancingv2::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_elasticloadbalancingv2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_elasticloadbalancingv2::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;
use rustls::CertificateError;

use super::tls;
use crate::error::{Error, ErrorKind};

/// The longest answer that is read, in bytes. A full group's thousand targets take half a megabyte. The
/// function has 128 MB, and the SDK by itself reads for as long as bytes arrive.
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

/// Makes a call. `doing` is the action for the error, and `action` the IAM action that the call needs. The call is boxed,
/// because its future takes five kilobytes: without the box, every future above would contain the futures of all its
/// calls.
pub fn call<O, E>(
    doing: String,
    action: &'static str,
    call: impl Future<Output = Result<O, SdkError<E, HttpResponse>>>,
) -> impl Future<Output = Result<O, Error>>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let call = Box::pin(call);
    async move { call.await.map_err(|error| call_error(doing, action, error)) }
}

/// Makes a call, and returns `None` if the API knows nothing of that name.
pub fn find<O, E>(
    doing: String,
    action: &'static str,
    is_not_found: fn(&E) -> bool,
    request: impl Future<Output = Result<O, SdkError<E, HttpResponse>>>,
) -> impl Future<Output = Result<Option<O>, Error>>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let request = Box::pin(request);
    async move {
        match request.await {
            Err(error) if error.as_service_error().is_some_and(is_not_found) => Ok(None),
            answer => answer.map(Some).map_err(|error| call_error(doing, action, error)),
        }
    }
}

pub fn call_error<E>(doing: String, action: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    let kind = kind(&error, &code, status);
    let fix = match known_fix(&code, action).or_else(|| unanswered(&error)) {
        Some(fix) => Some(fix.to_owned()),
        None if is_denied(&code, status) => {
            let allow = format!(
                "allow {action} in the role that makes the call (the function's; at a command line, yours), and check its credentials"
            );
            Some(match code.is_empty() {
                true => format!(
                    "if a proxy or firewall answered instead of the API, let it pass the call; otherwise {allow}"
                ),
                false => allow,
            })
        }
        None if kind == ErrorKind::Transient => {
            Some("if it persists, check the network and the API's limits".to_owned())
        }
        None => None,
    };
    let failure = Error::new(kind, doing);
    let failure = match error {
        // The service's own words say more than the SDK's "service error".
        SdkError::ServiceError(context) if !code.is_empty() => {
            let message = context.err().message().unwrap_or("no message").to_owned();
            failure.with_source(format!("{code}: {message}"))
        }
        SdkError::ServiceError(_) => {
            // The answer may be a proxy's page: only the status is known.
            let status = status.unwrap_or_default();
            let understand = format!("understand the answer, of HTTP status {status}");
            failure.with_source(Error::new(kind, understand).with_source(error))
        }
        SdkError::TimeoutError(_) => failure.with_source("no answer in time"),
        other => failure.with_source(other),
    };
    match fix {
        Some(fix) => failure.with_fix(fix),
        None => failure,
    }
}

fn is_denied(code: &str, status: Option<u16>) -> bool {
    matches!(code, "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation") || status == Some(403)
}

/// The fix for an error code with which AWS refuses the credentials, or the load balancing API a group or a target.
fn known_fix(code: &str, action: &str) -> Option<&'static str> {
    Some(match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired" => {
            "the credentials have expired. At a command line, sign in again (`aws sso login`) or renew AWS_SESSION_TOKEN; \
             in a function, remove AWS_… credentials from its variables, so that its role's are used"
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" | "InvalidAccessKeyId" | "AuthFailure" => {
            "AWS does not know the access key. At a command line, check AWS_PROFILE or AWS_ACCESS_KEY_ID, and that it is of \
             this partition; in a function, check that its role exists, and deploy the function again"
        }
        "SignatureDoesNotMatch" | "IncompleteSignature" | "InvalidSignatureException" => {
            "the signature is wrong. At a command line, check AWS_SECRET_ACCESS_KEY, which must belong to the access key, and \
             the clock; in a function, check that no proxy changes requests, and remove AWS_… credentials from its variables"
        }
        "TargetGroupNotFound" | "TargetGroupNotFoundException" => {
            "no target group of this account and Region has that ARN, or the group was deleted; correct what binds it, with an \
             ARN that `aws elbv2 describe-target-groups` lists"
        }
        // A target that the group cannot take has one of these codes, with AWS's reason in the message.
        "InvalidTarget" | "InvalidTargetException" | "ValidationError"
            if action == "elasticloadbalancing:RegisterTargets" =>
        {
            "the group does not take this address: it must be of the group's address type, and in the group's VPC or a \
             network that is connected to it"
        }
        "TooManyTargets" | "TooManyTargetsException" => {
            "the group or its load balancer has as many targets as it may have: deregister some, or have the quota raised"
        }
        "TooManyRegistrationsForTargetId" | "TooManyRegistrationsForTargetIdException" => {
            "the address is a target as often as it may be: deregister it elsewhere, or have the quota raised"
        }
        _ => return None,
    })
}

/// The fix for a call that got no answer.
fn unanswered(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    if let Some(refused) = tls::refused_certificate(error) {
        return Some(match refused {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the certificate is not signed by a trusted authority; behind a proxy that inspects TLS, name the \
                 proxy's certificates in AWS_CA_BUNDLE"
            }
            _ => {
                "the API's certificate is not valid for this name at this time; check the endpoint (AWS_ENDPOINT_URL), \
                 any proxy in front of it, and the clock"
            }
        });
    }
    Some(match source::<CredentialsError>(error)? {
        CredentialsError::InvalidConfiguration(_) => {
            "at a command line, correct the profile that AWS_PROFILE names (`aws configure list-profiles` lists those that \
             exist); in a function, unset AWS_PROFILE, and give the function a role"
        }
        CredentialsError::ProviderError(_)
        | CredentialsError::ProviderTimedOut(_)
        | CredentialsError::Unhandled(_) => {
            "at a command line, sign in again (`aws sso login`, with AWS_PROFILE set), or check the credential process; in \
             a function, give the function a role"
        }
        _ => {
            "give the function a role; at a command line, sign in (`aws sso login` or `aws configure`), and set AWS_PROFILE \
             to a profile that exists (`aws configure list-profiles`)"
        }
    })
}

fn source<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    error.downcast_ref().or_else(|| source(error.source()?))
}

fn kind<E>(error: &SdkError<E, HttpResponse>, code: &str, status: Option<u16>) -> ErrorKind
where
    E: StdError + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => ErrorKind::Permanent,
        SdkError::DispatchFailure(_) => match source::<CredentialsError>(error) {
            None | Some(CredentialsError::ProviderTimedOut(_)) => ErrorKind::Transient,
            // Without credentials nothing was sent, and a retry would send nothing.
            Some(_) => ErrorKind::Permanent,
        },
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => ErrorKind::Transient,
        _ if THROTTLING_ERRORS.contains(&code) || TRANSIENT_ERRORS.contains(&code) => ErrorKind::Transient,
        _ => match status {
            Some(429 | 500..) => ErrorKind::Transient,
            // The answer is neither an error nor the expected one.
            Some(200..300) | None => ErrorKind::Transient,
            Some(_) => ErrorKind::Permanent,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsent_call_is_permanent_and_unanswered_call_is_transient() {
        let refused = || HttpResponse::new(400.try_into().unwrap(), SdkBody::empty());
        let cases: [(SdkError<std::fmt::Error, HttpResponse>, ErrorKind); 4] = [
            (SdkError::construction_failure("no region"), ErrorKind::Permanent),
            (SdkError::timeout_error("after 3 s"), ErrorKind::Transient),
            (SdkError::response_error("no XML", refused()), ErrorKind::Transient),
            (SdkError::service_error(std::fmt::Error, refused()), ErrorKind::Permanent),
        ];
        for (error, expected) in cases {
            let status = error.raw_response().map(|response| response.status().as_u16());
            assert_eq!(kind(&error, "", status), expected, "{error:?}");
        }
    }

    #[test]
    fn refused_target_has_a_fix_and_another_validation_error_has_none() {
        for code in ["InvalidTarget", "ValidationError"] {
            let fix = |action| known_fix(code, action);
            assert!(
                fix("elasticloadbalancing:RegisterTargets").is_some_and(|fix| fix.contains("address type"))
            );
            assert_eq!(fix("elasticloadbalancing:DescribeTargetHealth"), None);
        }
    }
}
