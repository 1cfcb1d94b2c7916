use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// An API that gives every call the same answer.
struct Says {
    status: u16,
    body: String,
}

impl Says {
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

async fn fault(status: u16, code: &str) -> Fault {
    let error = format!("<Error><Code>{code}</Code><Message>some words</Message></Error>");
    let says = Says { status, body: format!("<ErrorResponse>{error}</ErrorResponse>") };
    let groups = LoadBalancing::new(client!(aws_sdk_elasticloadbalancingv2, says), Budget::unlimited());
    groups.describe(GROUP).await.unwrap_err()
}

#[tokio::test]
async fn are_told_in_the_services_own_words_and_tried_again_where_that_may_help() {
    let allow = "allow elasticloadbalancing:DescribeTargetGroups";
    let again = "it is tried again";
    for (status, code, kind, told) in [
        (400, "AccessDenied", Kind::Permanent, allow),
        (400, "AccessDeniedException", Kind::Permanent, allow),
        (400, "UnauthorizedOperation", Kind::Permanent, allow),
        (403, "SignatureDoesNotMatch", Kind::Permanent, allow),
        (400, "Throttling", Kind::Transient, again),
        (400, "ThrottlingException", Kind::Transient, again),
        (400, "RequestLimitExceeded", Kind::Transient, again),
        (400, "TooManyRequestsException", Kind::Transient, again),
        (400, "RequestThrottled", Kind::Transient, again),
        (429, "Slower", Kind::Transient, again),
        (500, "InternalFailure", Kind::Transient, again),
        (503, "ServiceUnavailable", Kind::Transient, again),
        (400, "ValidationError", Kind::Permanent, ""),
        (404, "NotFound", Kind::Permanent, ""),
    ] {
        let fault = fault(status, code).await;
        assert_eq!(fault.kind(), kind, "{status} {code}: {}", fault.explain());
        let cure = if told.is_empty() { String::new() } else { format!(". Cure: {told}") };
        let start = format!("could not describe the target group {GROUP}: {code}: some words{cure}");
        assert!(fault.explain().starts_with(&start), "{}", fault.explain());
        assert_eq!(fault.explain().contains("Cure"), !told.is_empty(), "{}", fault.explain());
    }
}

#[tokio::test]
async fn without_a_code_go_by_the_status_and_say_what_was_not_understood() {
    for (status, kind) in
        [(403, Kind::Permanent), (404, Kind::Permanent), (500, Kind::Transient), (200, Kind::Transient)]
    {
        let says = Says { status, body: "<html/>".to_owned() };
        let groups = LoadBalancing::new(client!(aws_sdk_elasticloadbalancingv2, says), Budget::unlimited());
        let fault = groups.describe(GROUP).await.unwrap_err();
        assert_eq!(fault.kind(), kind, "{status}: {}", fault.explain());
        let told = format!("could not understand the answer, of HTTP status {status}");
        assert!(fault.explain().contains(&told), "{status}: {}", fault.explain());
        assert_eq!(fault.explain().contains("allow"), status == 403, "{status}: {}", fault.explain());
    }
}

#[tokio::test]
async fn of_a_group_called_credentials_are_not_about_credentials() {
    let says = Says { status: 500, body: "<html/>".to_owned() };
    let groups = LoadBalancing::new(client!(aws_sdk_elasticloadbalancingv2, says), Budget::unlimited());
    let fault = groups.describe(&GROUP.replace("orders", "credentials")).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Transient, "{}", fault.explain());
}

#[tokio::test]
async fn for_want_of_credentials_are_permanent_and_say_so() {
    let configuration = aws_sdk_elasticloadbalancingv2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url("http://127.0.0.1:9");
    let client = aws_sdk_elasticloadbalancingv2::Client::from_conf(configuration.build());
    let fault = LoadBalancing::new(client, Budget::unlimited()).describe(GROUP).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Permanent, "{}", fault.explain());
    assert!(fault.explain().contains("give the function a role"), "{}", fault.explain());
}
