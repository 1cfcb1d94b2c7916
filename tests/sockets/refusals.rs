use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as ProvidedCredentials;
use aws_sdk_elasticloadbalancingv2::config::ProvideCredentials;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// An API that gives every call the same answer.
struct FixedAnswer {
    status: u16,
    body: String,
}

impl FixedAnswer {
    async fn serve_aws(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let Self { status, body } = self;
        let length = body.len();
        let reply = format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n{body}");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let reply = reply.clone();
                tokio::spawn(async move {
                    while matches!(stream.read(&mut [0; 8192]).await, Ok(1..)) {
                        stream.write_all(reply.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        address
    }
}

async fn error(status: u16, code: &str) -> Error {
    error_of(GROUP, status, code).await
}

async fn error_of(group: &str, status: u16, code: &str) -> Error {
    let error = format!("<Error><Code>{code}</Code><Message>some words</Message></Error>");
    let answer = FixedAnswer { status, body: format!("<ErrorResponse>{error}</ErrorResponse>") };
    let groups = Elb::new(client!(aws_sdk_elasticloadbalancingv2, answer), ApiRateLimiter::unlimited());
    groups.describe(group).await.unwrap_err()
}

#[tokio::test]
async fn refusal_is_classified_and_quoted() {
    let allow = "allow elasticloadbalancing:DescribeTargetGroups";
    let again = "if it persists";
    for (status, code, kind, message_text) in [
        (400, "AccessDenied", ErrorKind::Permanent, allow),
        (400, "AccessDeniedException", ErrorKind::Permanent, allow),
        (400, "UnauthorizedOperation", ErrorKind::Permanent, allow),
        (403, "ExpiredToken", ErrorKind::Permanent, "the credentials have expired"),
        (400, "ExpiredTokenException", ErrorKind::Permanent, "the credentials have expired"),
        (400, "RequestExpired", ErrorKind::Permanent, "the credentials have expired"),
        (403, "InvalidClientTokenId", ErrorKind::Permanent, "AWS does not know the access key"),
        (400, "UnrecognizedClientException", ErrorKind::Permanent, "AWS does not know the access key"),
        (403, "SignatureDoesNotMatch", ErrorKind::Permanent, "the signature is wrong"),
        (400, "IncompleteSignature", ErrorKind::Permanent, "the signature is wrong"),
        (400, "Throttling", ErrorKind::Transient, again),
        (400, "ThrottlingException", ErrorKind::Transient, again),
        (400, "RequestLimitExceeded", ErrorKind::Transient, again),
        (400, "TooManyRequestsException", ErrorKind::Transient, again),
        (400, "RequestThrottled", ErrorKind::Transient, again),
        (429, "Slower", ErrorKind::Transient, again),
        (500, "InternalFailure", ErrorKind::Transient, again),
        (503, "ServiceUnavailable", ErrorKind::Transient, again),
        (400, "ValidationError", ErrorKind::Permanent, ""),
        (404, "NotFound", ErrorKind::Permanent, ""),
    ] {
        let error = error(status, code).await;
        assert_eq!(error.kind(), kind, "{status} {code}: {}", error.explain());
        let fix = if message_text.is_empty() { String::new() } else { format!(". Fix: {message_text}") };
        let start = format!("could not describe the target group {GROUP}: {code}: some words{fix}");
        assert!(error.explain().starts_with(&start), "{}", error.explain());
        assert_eq!(error.explain().contains("Fix"), !message_text.is_empty(), "{}", error.explain());
    }
}

#[tokio::test]
async fn refusal_without_a_code_is_classified_by_status() {
    for (status, kind) in [
        (403, ErrorKind::Permanent),
        (404, ErrorKind::Permanent),
        (500, ErrorKind::Transient),
        (200, ErrorKind::Transient),
    ] {
        let answer = FixedAnswer { status, body: "<html/>".to_owned() };
        let groups = Elb::new(client!(aws_sdk_elasticloadbalancingv2, answer), ApiRateLimiter::unlimited());
        let error = groups.describe(GROUP).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {}", error.explain());
        let message_text = format!("could not understand the answer, of HTTP status {status}");
        assert!(error.explain().contains(&message_text), "{status}: {}", error.explain());
        assert_eq!(error.explain().contains("allow"), status == 403, "{status}: {}", error.explain());
        assert_eq!(
            error.explain().contains("proxy or firewall"),
            status == 403,
            "{status}: {}",
            error.explain()
        );
    }
}

#[tokio::test]
async fn group_named_credentials_is_no_credentials_error() {
    let answer = FixedAnswer { status: 500, body: "<html/>".to_owned() };
    let groups = Elb::new(client!(aws_sdk_elasticloadbalancingv2, answer), ApiRateLimiter::unlimited());
    let error = groups.describe(&GROUP.replace("orders", "credentials")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{}", error.explain());
}

/// Credentials that cannot be loaded, for this reason.
#[derive(Debug)]
struct NoCredentials(fn() -> CredentialsError);

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> ProvidedCredentials<'a>
    where
        Self: 'a,
    {
        ProvidedCredentials::ready(Err(self.0()))
    }
}

#[tokio::test]
async fn missing_credentials_are_permanent_and_name_the_fix() {
    type Case = (fn() -> CredentialsError, ErrorKind, &'static [&'static str]);
    let cases: [Case; 4] = [
        (
            || CredentialsError::not_loaded("no provider has them"),
            ErrorKind::Permanent,
            &["no provider has them", "give the function a role", "set AWS_PROFILE to a profile that exists"],
        ),
        (
            || CredentialsError::invalid_configuration("profile `x` is not defined"),
            ErrorKind::Permanent,
            &["profile `x` is not defined", "AWS_PROFILE", "give the function a role"],
        ),
        (
            || CredentialsError::provider_error("the SSO session has expired"),
            ErrorKind::Permanent,
            &["the SSO session has expired", "aws sso login", "give the function a role"],
        ),
        (
            || CredentialsError::provider_timed_out(Duration::from_secs(5)),
            ErrorKind::Transient,
            &["aws sso login", "give the function a role"],
        ),
    ];
    for (reason, kind, parts) in cases {
        let configuration = aws_sdk_elasticloadbalancingv2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:9")
            .retry_config(RetryConfig::disabled())
            .credentials_provider(NoCredentials(reason));
        let client = aws_sdk_elasticloadbalancingv2::Client::from_conf(configuration.build());
        let error = Elb::new(client, ApiRateLimiter::unlimited()).describe(GROUP).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.explain());
        for part in parts {
            assert!(error.explain().contains(part), "{part}: {}", error.explain());
        }
    }
}

#[tokio::test]
async fn foreign_answer_of_status_200_is_no_success() {
    let one = targets(&["10.0.2.20:5432"]);
    for body in ["", "<html><body>Sign in</body></html>", "{}", "<DescribeTagsResponse/>"] {
        let answer = FixedAnswer { status: 200, body: body.to_owned() };
        let groups = Elb::new(client!(aws_sdk_elasticloadbalancingv2, answer), ApiRateLimiter::unlimited());
        let registered = groups.register(permit().await, GROUP, &one).await.map(drop);
        let deregistered = groups.deregister(permit().await, GROUP, &one).await;
        for (operation, result) in [("RegisterTargets", registered), ("DeregisterTargets", deregistered)] {
            let error = result.expect_err(body);
            let expected = format!(
                "the answer, of HTTP status 200, is no {operation}Response of the load balancing API"
            );
            assert_eq!(error.kind(), ErrorKind::Transient, "{body}: {}", error.explain());
            assert!(error.explain().contains(&expected), "{body}: {}", error.explain());
        }
        let error = groups.describe(GROUP).await.expect_err(body);
        assert_eq!(error.kind(), ErrorKind::Transient, "{body}: {}", error.explain());
    }
}

#[tokio::test]
async fn shortest_answer_of_the_api_is_a_success() {
    for operation in ["RegisterTargets", "DeregisterTargets"] {
        let answer = FixedAnswer { status: 200, body: format!("<{operation}Response/>") };
        let groups = Elb::new(client!(aws_sdk_elasticloadbalancingv2, answer), ApiRateLimiter::unlimited());
        let one = targets(&["10.0.2.20:5432"]);
        match operation {
            "RegisterTargets" => drop(groups.register(permit().await, GROUP, &one).await.unwrap()),
            _ => groups.deregister(permit().await, GROUP, &one).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn group_of_another_region_is_named_in_the_error() {
    let elsewhere = GROUP.replace("us-east-1", "eu-west-1");
    let explanation = "the target group is in eu-west-1, this function calls us-east-1";
    let fix = "Fix: run the function in eu-west-1, or bind a target group of us-east-1";
    for (status, code, is_permanent) in [
        (400, "TargetGroupNotFound", true),
        (400, "ValidationError", true),
        (403, "AccessDenied", true),
        (400, "Throttling", false),
        (500, "InternalFailure", false),
    ] {
        let error = error_of(&elsewhere, status, code).await.explain();
        assert_eq!(error.contains(explanation) && error.ends_with(fix), is_permanent, "{code}: {error}");
        assert!(error.contains(code), "{error}");
        let error = error_of(GROUP, status, code).await.explain();
        assert!(!error.contains("the target group is in"), "{code}: {error}");
    }
    let aws = FakeAws::new();
    let error = groups(&aws).await.describe(&elsewhere).await.unwrap_err().explain();
    assert!(error.contains(explanation) && error.ends_with(fix), "{error}");
}
