//! An HTTP server that answers the AWS APIs' calls with anything.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::timeout::TimeoutConfig;
use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Credentials, Region};
use rds_nlb_sync::elb::Elb;
use rds_nlb_sync::rate_limit::ApiRateLimiter;
use rds_nlb_sync::rds::Rds;
use rds_nlb_sync::reconcile::{RdsApi, TargetGroupApi};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use testkit::GROUP;
use testkit::ports::permit;

const ATTEMPT: Duration = Duration::from_secs(1);

macro_rules! client {
    ($sdk:ident, $address:expr) => {
        $sdk::Client::from_conf(
            $sdk::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests"))
                .endpoint_url(format!("http://{}", $address))
                .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build())
                .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
                .build(),
        )
    };
}

#[tokio::test]
async fn hostile_api_answers_cause_no_panic_or_hang() {
    let late = &Lateness::measure();
    every_case(|case, rng| async move {
        let mut server = JoinSet::new();
        let address = serve(&mut server, rng).await;
        let groups = Elb::new(client!(aws_sdk_elasticloadbalancingv2, address), ApiRateLimiter::unlimited());
        let clusters = Rds::new(client!(aws_sdk_rds, address));
        let target = ["10.0.1.10:5432".parse().unwrap()].into();
        let asked = Instant::now();
        let faults = [
            (groups.describe(GROUP).await.err(), GROUP),
            (groups.targets(permit().await, GROUP).await.err(), GROUP),
            (groups.register(permit().await, GROUP, &target).await.err(), GROUP),
            (groups.deregister(permit().await, GROUP, &target).await.err(), GROUP),
            (clusters.cluster("orders").await.err(), "orders"),
        ];
        for (error, about) in &faults {
            if let Some(error) = error {
                is_well_formed(case, error, about);
            }
        }
        // Every call but one may be tried three times, and one describes the group once more.
        let limit = 16 * ATTEMPT + late.since(asked) + SLACK;
        assert!(asked.elapsed() < limit, "CASE={case} took {:?}", asked.elapsed());
        // Whether the group and its targets were understood.
        faults[..2].iter().all(|(error, _)| error.is_none())
    })
    .await;
}

/// How late the machine wakes a thread that does nothing else: what blocks the runtime's thread does not count.
#[derive(Default)]
struct Lateness(Arc<Mutex<Vec<(Instant, Duration)>>>);

impl Lateness {
    /// Measures until it is dropped.
    fn measure() -> Self {
        const TICK: Duration = Duration::from_millis(50);
        let lateness = Self::default();
        let measured = Arc::downgrade(&lateness.0);
        std::thread::spawn(move || {
            loop {
                let began = Instant::now();
                std::thread::sleep(TICK);
                let late = began.elapsed().saturating_sub(TICK);
                let Some(measured) = measured.upgrade() else { return };
                measured.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), late));
            }
        });
        lateness
    }

    /// All since then.
    fn since(&self, began: Instant) -> Duration {
        let measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        measured.iter().rev().take_while(|(at, _)| *at >= began).map(|(_, late)| *late).sum()
    }
}

/// Serves until the set is dropped.
async fn serve(tasks: &mut JoinSet<()>, mut rng: Rng) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback socket");
    let address = listener.local_addr().expect("a bound socket");
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        // Without the group nothing else is asked for: more often than not, that call goes well.
        let describes = rng.u8(..3) > 0;
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(answer(stream, rng.fork(), describes));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, mut rng: Rng, describes: bool) {
    loop {
        let mut request = Vec::new();
        let action = b"Action=";
        while !request.windows(action.len()).any(|bytes| bytes == action) {
            if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                return;
            }
        }
        let asked = String::from_utf8_lossy(&request);
        if describes && asked.contains("Action=DescribeTargetGroups") {
            let body = group(["5432", "TCP", "ip", "ipv4"].map(str::to_owned), GROUP);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head, body].concat().into_bytes()).await;
            continue;
        }
        let body = body(&mut rng, &asked);
        if stream.write_all(&head(&mut rng, body.len())).await.is_err()
            || stream.write_all(&body).await.is_err()
        {
            return;
        }
        match rng.u8(..20) {
            0 => return,
            1 => std::future::pending().await,
            _ => {}
        }
    }
}

fn head(rng: &mut Rng, length: usize) -> Vec<u8> {
    let usual = [200, 200, 200, 200, 200, 200, 200, 400, 403, 404, 429, 500, 503];
    let odd = [100, 101, 204, 206, 301, 304, 307, 418, 599, 600, 999];
    let statuses = if rng.u8(..8) == 0 { &odd[..] } else { &usual[..] };
    let status = *rng.choice(statuses).expect("one");
    let length = match rng.u8(..40) {
        0 => format!("Content-Length: {}", length + rng.usize(..1000)),
        1 => format!("Content-Length: {}", rng.usize(..=length)),
        2 => format!("Content-Length: {}", u64::MAX),
        3 => "Content-Length: -1".to_owned(),
        4 => "Transfer-Encoding: chunked".to_owned(),
        5 => "X-Nothing: 0".to_owned(),
        6 => format!("Content-Length: {length}\r\nX-Many: {}", "x".repeat(rng.usize(..100_000))),
        _ => format!("Content-Length: {length}"),
    };
    let mut head =
        format!("HTTP/1.1 {status} Whatever\r\nContent-Type: text/xml\r\n{length}\r\n\r\n").into_bytes();
    if rng.u8(..40) == 0 {
        mutate(rng, &mut head, 0);
    }
    head
}

fn body(rng: &mut Rng, request: &str) -> Vec<u8> {
    let mut body = match rng.u8(..15) {
        0..7 => valid(rng, request),
        7 => refusal(rng),
        8 => {
            let mut noise = vec![0; rng.usize(..5000)];
            rng.fill(&mut noise);
            return noise;
        }
        9 => deep(rng),
        10 => LAUGHS.to_owned(),
        11 => "<a ".repeat(rng.usize(..50_000)),
        12 => format!("<DescribeTargetHealthResponse {}>", "x=\"y\" ".repeat(rng.usize(..50_000))),
        13 => String::new(),
        _ => format!("<?xml version=\"1.0\"?><!-- {} --><![CDATA[{}", "-".repeat(5000), "]".repeat(5000)),
    }
    .into_bytes();
    match rng.u8(..6) {
        0 | 1 => {
            mutate(rng, &mut body, 0);
            // Invalid UTF-8 is refused early: mostly, keep it valid.
            if rng.u8(..4) > 0 {
                body.iter_mut().for_each(|byte| *byte &= 0x7f);
            }
        }
        2 => body.truncate(rng.usize(..=body.len())),
        _ => {}
    }
    body
}

/// Elements within elements, where the answer's own begin or where it ends.
fn deep(rng: &mut Rng) -> String {
    let depth = rng.usize(..200_000);
    let name = *rng.choice(&["a", "member", "TargetHealthDescriptions"]).expect("one");
    let (open, close) = (format!("<{name}>").repeat(depth), format!("</{name}>").repeat(depth));
    format!("<DescribeTargetHealthResponse><DescribeTargetHealthResult>{open}{close}")
}

/// An entity that stands for ten to the power of nine others.
const LAUGHS: &str = "<?xml version=\"1.0\"?><!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">\
    <!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\">\
    <!ENTITY e SYSTEM \"file:///etc/passwd\">]>\
    <DescribeTargetHealthResponse><DescribeTargetHealthResult><TargetHealthDescriptions><member><Target>\
    <Id>&d;&e;</Id></Target></member></TargetHealthDescriptions></DescribeTargetHealthResult>\
    </DescribeTargetHealthResponse>";

/// A text for a field: right, nearly right, or long.
fn text(rng: &mut Rng) -> String {
    let usual = ["10.0.1.10", "5432", "draining", "ip", "TCP", "ipv4", "true", "orders-1", GROUP];
    let odd = [
        "",
        " ",
        "-1",
        "0",
        "65536",
        "99999999999999999999",
        "::1",
        "10.0.1.10/32",
        "&#x0;",
        "&lt;",
        "ä\n\u{7f}",
    ];
    match rng.u8(..20) {
        0..16 => (*rng.choice(&usual).expect("one")).to_owned(),
        16 => "x".repeat(rng.usize(..200_000)),
        _ => (*rng.choice(&odd).expect("one")).to_owned(),
    }
}

fn refusal(rng: &mut Rng) -> String {
    let codes =
        ["ValidationError", "InvalidTarget", "TargetGroupNotFound", "ThrottlingException", "AccessDenied"];
    let code = if rng.bool() { (*rng.choice(&codes).expect("one")).to_owned() } else { text(rng) };
    let messages = ["the IP address '10.0.1.10' is outside the VPC", "denied"];
    let message = if rng.bool() { (*rng.choice(&messages).expect("one")).to_owned() } else { text(rng) };
    format!("<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>")
}

fn group([port, protocol, kind, family]: [String; 4], arn: &str) -> String {
    format!(
        "<DescribeTargetGroupsResponse><DescribeTargetGroupsResult><TargetGroups><member>\
         <TargetGroupArn>{arn}</TargetGroupArn><Port>{port}</Port><Protocol>{protocol}</Protocol>\
         <TargetType>{kind}</TargetType><IpAddressType>{family}</IpAddressType></member></TargetGroups>\
         </DescribeTargetGroupsResult></DescribeTargetGroupsResponse>"
    )
}

/// An answer of the right form to the call, with any values in it.
fn valid(rng: &mut Rng, request: &str) -> String {
    let action = request.split("Action=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or("Nothing");
    let mut result = String::new();
    let count = *rng.choice(&[0, 1, 1, 2, 1000]).expect("one");
    let long = rng.usize(..3);
    // One text in a thousand members is enough to be long.
    let value = |rng: &mut Rng, index: usize, usual: &str| {
        if index <= long && rng.u8(..3) == 0 { text(rng) } else { usual.to_owned() }
    };
    match action {
        "DescribeTargetGroups" => {
            let arn = if rng.bool() { GROUP.to_owned() } else { text(rng) };
            let fields = ["5432", "TCP", "ip", "ipv4"];
            return group(fields.map(|field| if rng.bool() { field.to_owned() } else { text(rng) }), &arn);
        }
        "DescribeTargetHealth" => {
            result += "<TargetHealthDescriptions>";
            for index in 0..count {
                let _ = write!(
                    result,
                    "<member><Target><Id>{}</Id><Port>{}</Port></Target><TargetHealth><State>{}</State>\
                     </TargetHealth></member>",
                    value(rng, index, "10.0.1.10"),
                    value(rng, index, "5432"),
                    value(rng, index, "healthy")
                );
            }
            result += "</TargetHealthDescriptions>";
        }
        "DescribeDBClusters" => {
            result += "<DBClusters><DBCluster><DBClusterMembers>";
            for index in 0..count {
                let _ = write!(
                    result,
                    "<DBClusterMember><DBInstanceIdentifier>{}</DBInstanceIdentifier><IsClusterWriter>{}\
                     </IsClusterWriter></DBClusterMember>",
                    value(rng, index, "orders-1"),
                    value(rng, index, "true")
                );
            }
            result += "</DBClusterMembers></DBCluster></DBClusters>";
        }
        _ => {}
    }
    format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>")
}
