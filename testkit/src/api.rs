//! The ELBv2 and RDS APIs of the fake AWS, on a loopback socket: the AWS query protocol in plain HTTP. Other modules answer
//! for the other APIs on the same socket.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::lattice;
use super::malformed::{self, Malformed};
use super::witness::{Origin, What};
use super::{Action, ApiError, FakeAws, Fault, Instance, State};

type Reply = Result<Response<Full<Bytes>>, Broken>;

/// The version of the EC2 API, which only its requests have.
const EC2: &str = "2016-11-15";
/// When a call takes effect that seemed to have failed.
const LATE: Duration = Duration::from_secs(2);

/// Makes hyper drop the connection without an answer.
#[derive(Debug)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is broken on purpose")
    }
}

impl std::error::Error for Broken {}

/// Marks an answer that is not sent to its end.
#[derive(Clone)]
struct Stalls;

/// Marks an answer that goes on for very long.
#[derive(Clone)]
struct GoesOn;

/// The answer as it is sent: the whole, or a beginning that nothing follows.
fn sent(reply: Response<Full<Bytes>>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let stalls = reply.extensions().get::<Stalls>().is_some();
    let goes_on = reply.extensions().get::<GoesOn>().is_some();
    reply.map(|whole| {
        if goes_on {
            let chunk = Bytes::from(vec![b'<'; 64 << 10]);
            let chunks = stream::iter((0..malformed::CHUNKS).map(move |_| Ok(Frame::data(chunk.clone()))));
            StreamBody::new(chunks).boxed_unsync()
        } else if stalls {
            let beginning = stream::iter([Ok(Frame::data(Bytes::from("<Describe")))]);
            StreamBody::new(beginning.chain(stream::pending())).boxed_unsync()
        } else {
            whole.boxed_unsync()
        }
    })
}

/// Appends a request's body to the file that RECORD_REQUESTS names: `tests/requests` validates them.
#[allow(clippy::disallowed_methods, reason = "an option of the tests")]
fn record(body: &[u8]) {
    let Some(path) = std::env::var_os("RECORD_REQUESTS") else { return };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    // One write for each line: test programs run side by side.
    let written = file.and_then(|mut file| file.write_all(&[body, b"\n"].concat()));
    written.unwrap_or_else(|error| panic!("RECORD_REQUESTS={}: {error}", path.display()));
}

impl FakeAws {
    /// Serves the AWS APIs until the process ends, and returns where.
    pub async fn serve_aws(&self) -> SocketAddr {
        self.serve_aws_to(Origin::default()).await
    }

    /// Serves the AWS APIs to one process.
    pub async fn serve_aws_to(&self, origin: Origin) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback socket");
        let address = listener.local_addr().expect("a bound socket");
        let aws = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let serving = aws.clone();
                let service = service_fn(move |request| {
                    let aws = serving.clone();
                    async move { aws.serve_call(origin, request).await.map(sent) }
                });
                let connection = tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
                aws.state().connections.push(connection.abort_handle());
            }
        });
        address
    }

    /// Closes every connection to the AWS APIs, as a server does with one that was idle for too long.
    /// Returns how many were open.
    pub fn hang_up(&self) -> usize {
        let mut connections = std::mem::take(&mut self.state().connections);
        connections.retain(|connection| !connection.is_finished());
        connections.iter().for_each(tokio::task::AbortHandle::abort);
        connections.len()
    }

    /// The answer of a deployed function to the invocation of this path, if there is one.
    fn invocation(&self, path: &str) -> Option<Reply> {
        let name = path.strip_prefix("/2015-03-31/functions/")?.strip_suffix("/invocations")?;
        let state = self.state();
        let Some((answer, is_error)) = state.functions.get(name) else {
            let body = format!(r#"{{"Message": "Function not found: {name}"}}"#);
            let reply =
                Response::builder().status(404).header("X-Amzn-ErrorType", "ResourceNotFoundException");
            return Some(Ok(reply.body(Full::from(body)).expect("a valid response")));
        };
        let mut reply = Response::builder();
        if *is_error {
            reply = reply.header("X-Amz-Function-Error", "Unhandled");
        }
        Some(Ok(reply.body(Full::from(answer.clone())).expect("a valid response")))
    }

    async fn serve_call(&self, origin: Origin, request: Request<Incoming>) -> Reply {
        if let Some(reply) = self.invocation(request.uri().path()) {
            return reply;
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        if head.uri.path().ends_with("/operation/GetMetricData") {
            return Ok(self.state().network.cloudwatch(&body));
        }
        if lattice::is_for(head.uri.path()) {
            return Ok(lattice::answer(
                self.state().network.lattice.as_mut(),
                &head.method,
                &head.uri,
                &body,
            ));
        }
        record(&body);
        let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        if field("Version") == EC2 {
            let form = String::from_utf8_lossy(&body);
            return Ok(self.state().network.ec2(&field("Action"), &form));
        }
        let action = match field("Action").as_str() {
            "DescribeTargetGroups" => Action::DescribeTargetGroups,
            "DescribeTargetHealth" => Action::DescribeTargetHealth,
            "RegisterTargets" => Action::RegisterTargets,
            "DeregisterTargets" => Action::DeregisterTargets,
            "DescribeDBClusters" => Action::DescribeDBClusters,
            "DescribeTargetGroupAttributes" => Action::DescribeTargetGroupAttributes,
            "DescribeLoadBalancers" => Action::DescribeLoadBalancers,
            "DescribeLoadBalancerAttributes" => Action::DescribeLoadBalancerAttributes,
            "DescribeListeners" => Action::DescribeListeners,
            "DescribeTags" => Action::DescribeTags,
            "DescribeDBInstances" => Action::DescribeDBInstances,
            "DescribeDBParameters" => Action::DescribeDBParameters,
            "DescribeDBClusterParameters" => Action::DescribeDBClusterParameters,
            "DescribeListenerAttributes" => Action::DescribeListenerAttributes,
            other => {
                return error(&ApiError {
                    status: 400,
                    code: "InvalidAction",
                    message: format!("the fake AWS does not know {other}"),
                });
            }
        };
        let targets = targets(&form);
        let detail = match action {
            Action::DescribeDBClusters => field("DBClusterIdentifier"),
            Action::DescribeDBInstances => field("DBInstanceIdentifier"),
            _ => targets.iter().map(|(target, _)| target.to_string()).collect::<Vec<_>>().join(" "),
        };
        let (call, fault, latency) = {
            let mut state = self.state();
            let (call, fault) = state.begin_at(origin, action, &detail, 0);
            (call, fault, state.latency)
        };
        // The shortest sleep lasts for a millisecond.
        if !latency.is_zero() {
            sleep(latency).await;
        }
        let served = Served { origin, call, action, fault };
        let reply = self.reply(served, &form, &targets).await;
        let outcome = match (&reply, fault) {
            (Err(Broken), _) => "broken".to_owned(),
            (Ok(_), Some(Fault::Malformed(_) | Fault::Garbage | Fault::Stalls)) => "malformed".to_owned(),
            (Ok(reply), _) if reply.status().is_success() => "ok".to_owned(),
            (Ok(reply), _) => reply.status().as_str().to_owned(),
        };
        self.state().notify(origin, call, action, What::Answered { outcome: &outcome });
        reply
    }

    async fn reply(
        &self,
        served: Served,
        form: &BTreeMap<String, String>,
        targets: &[(SocketAddr, Option<String>)],
    ) -> Reply {
        let Served { action, fault, .. } = served;
        let refuse =
            |status, code, message: &str| error(&ApiError { status, code, message: message.to_owned() });
        match fault {
            Some(Fault::Slow(time)) => sleep(time).await,
            Some(Fault::Hangs | Fault::TimesOut) => std::future::pending().await,
            Some(Fault::Throttled) => return refuse(400, "ThrottlingException", "Rate exceeded"),
            Some(Fault::ServerError) => {
                return refuse(500, "InternalFailure", "An internal error has occurred");
            }
            Some(Fault::Denied) => {
                let message = "User: arn:aws:sts::123456789012:assumed-role/sync is not authorized to perform the action";
                return refuse(403, "AccessDenied", message);
            }
            Some(Fault::Garbage) => return Ok(Response::new(Full::from("<html>no such service</html"))),
            Some(Fault::Reset) => return Err(Broken),
            Some(Fault::Stalls) => {
                let mut reply = Response::new(Full::default());
                reply.extensions_mut().insert(Stalls);
                return Ok(reply);
            }
            Some(Fault::TakesEffectLate) => {
                let (aws, form, targets) = (self.clone(), form.clone(), targets.to_vec());
                tokio::spawn(async move {
                    sleep(LATE).await;
                    let _ = aws.effect(served, &form, &targets);
                });
                return refuse(500, "InternalFailure", "An internal error has occurred");
            }
            Some(Fault::Malformed(number)) => {
                if Malformed::takes_effect(number) {
                    let _ = self.effect(served, form, targets);
                }
                return Ok(match malformed::of_api(number) {
                    Malformed::Whole(reply) => reply,
                    Malformed::GoesOn => {
                        let mut reply = Response::new(Full::default());
                        reply.extensions_mut().insert(GoesOn);
                        reply
                    }
                });
            }
            _ => {}
        }
        let reply = self.effect(served, form, targets);
        if let Some(Fault::AnswerLate(time)) = fault {
            sleep(time).await;
        }
        if fault == Some(Fault::AnswerLost) {
            return Err(Broken);
        }
        match reply {
            Ok(result) => {
                let name = format!("{action:?}");
                Ok(Response::new(Full::from(format!(
                    "<{name}Response xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
                     <{name}Result>{result}</{name}Result>\
                     <ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></{name}Response>"
                ))))
            }
            Err(refusal) => error(&refusal),
        }
    }

    fn effect(
        &self,
        served: Served,
        form: &BTreeMap<String, String>,
        targets: &[(SocketAddr, Option<String>)],
    ) -> Result<String, ApiError> {
        let Served { origin, call, action, .. } = served;
        let group = form.get("TargetGroupArn").map_or("", String::as_str);
        let mut state = self.state();
        match action {
            Action::DescribeTargetGroups => {
                if let Some(arn) = form.get("TargetGroupArns.member.1") {
                    state.described(arn)?;
                    return Ok(format!("<TargetGroups>{}</TargetGroups>", group_xml(&state, arn)));
                }
                // All of them, page by page; a marker is the first group of its page.
                let size = if state.page > 0 { state.page } else { 400 };
                let from = form.get("Marker").cloned().unwrap_or_default();
                let arns: Vec<&String> = state.groups.range(from..).map(|(arn, _)| arn).collect();
                let members: String = arns.iter().take(size).map(|arn| group_xml(&state, arn)).collect();
                let next =
                    arns.get(size).map(|arn| format!("<NextMarker>{arn}</NextMarker>")).unwrap_or_default();
                Ok(format!("<TargetGroups>{members}</TargetGroups>{next}"))
            }
            Action::DescribeTags => {
                let arns: Vec<&String> =
                    (1..).map_while(|index| form.get(&format!("ResourceArns.member.{index}"))).collect();
                if arns.len() > 20 {
                    return Err(ApiError {
                        status: 400,
                        code: "ValidationError",
                        message: "more than 20 resources".into(),
                    });
                }
                if let Some(gone) = arns.iter().find(|arn| !state.groups.contains_key(**arn)) {
                    return Err(ApiError {
                        status: 400,
                        code: "TargetGroupNotFound",
                        message: format!("Target groups '{gone}' not found"),
                    });
                }
                let mut members = String::new();
                for arn in arns {
                    let tags = state.tags.get(arn).into_iter().flatten().fold(
                        String::new(),
                        |text, (key, value)| {
                            text + &format!("<member><Key>{key}</Key><Value>{value}</Value></member>")
                        },
                    );
                    let _ = write!(
                        members,
                        "<member><ResourceArn>{arn}</ResourceArn><Tags>{tags}</Tags></member>"
                    );
                }
                Ok(format!("<TagDescriptions>{members}</TagDescriptions>"))
            }
            Action::DescribeTargetHealth => {
                let mut members = String::new();
                let reason = state.estate.reason.map(|reason| format!("<Reason>{reason}</Reason>"));
                let reason = reason.unwrap_or_default();
                let zones = state.estate.target_zones.clone();
                let listed = state.health(group)?;
                state.notify(origin, call, action, What::Listed(&listed));
                for (target, state) in listed {
                    let zone = zones.get(&target.ip());
                    let zone = zone.map(|zone| format!("<AvailabilityZone>{zone}</AvailabilityZone>"));
                    let _ = write!(
                        members,
                        "<member><Target><Id>{}</Id><Port>{}</Port>{}</Target><HealthCheckPort>{}</HealthCheckPort>\
                         <TargetHealth><State>{state}</State>{reason}</TargetHealth></member>",
                        target.ip(),
                        target.port(),
                        zone.unwrap_or_default(),
                        target.port()
                    );
                }
                Ok(format!("<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"))
            }
            Action::RegisterTargets | Action::DeregisterTargets => {
                let changed: Vec<SocketAddr> = targets.iter().map(|(target, _)| *target).collect();
                match action {
                    Action::RegisterTargets => state.register(group, targets)?,
                    _ => state.deregister(group, &changed)?,
                }
                let active = state.active(group);
                state.notify(origin, call, action, What::Effect { targets: &changed, active: &active });
                Ok(String::new())
            }
            Action::DescribeDBClusters => {
                let identifier = form.get("DBClusterIdentifier").cloned().unwrap_or_default().to_lowercase();
                let members = state.clusters.get(&identifier).ok_or_else(|| ApiError {
                    status: 404,
                    code: "DBClusterNotFoundFault",
                    message: format!("DBCluster {identifier} not found."),
                })?;
                let named: Vec<String> = members.keys().cloned().collect();
                let members = members.clone();
                let endpoint = state.described_endpoint();
                let writer = members.iter().find(|(_, writes)| **writes).map(|(member, _)| member.as_str());
                let described = What::Members { endpoint: &endpoint, members: &named, writer };
                state.notify(origin, call, action, described);
                let status = if state.failing_over { "failing-over" } else { state.estate.status };
                let mut list = String::new();
                for (member, is_writer) in &members {
                    let _ = write!(
                        list,
                        "<DBClusterMember><DBInstanceIdentifier>{member}</DBInstanceIdentifier>\
                         <IsClusterWriter>{is_writer}</IsClusterWriter></DBClusterMember>"
                    );
                }
                Ok(format!(
                    "<DBClusters><DBCluster><DBClusterIdentifier>{identifier}</DBClusterIdentifier>\
                     <Status>{status}</Status><Endpoint>{}</Endpoint><Port>{}</Port>{}\
                     <DBClusterMembers>{list}</DBClusterMembers></DBCluster></DBClusters>",
                    state.described_endpoint(),
                    state.estate.database_port,
                    state.estate.cluster_xml()
                ))
            }
            Action::DescribeDBInstances => {
                let identifier = form.get("DBInstanceIdentifier").cloned().unwrap_or_default().to_lowercase();
                let Instance { endpoint, status, multi_az, cluster } =
                    state.instances.get(&identifier).ok_or_else(|| ApiError {
                        status: 404,
                        code: "DBInstanceNotFound",
                        message: format!("DBInstance {identifier} not found."),
                    })?;
                let address = endpoint.as_ref().map(|address| format!("<Address>{address}</Address>"));
                let cluster =
                    cluster.map(|cluster| format!("<DBClusterIdentifier>{cluster}</DBClusterIdentifier>"));
                Ok(format!(
                    "<DBInstances><DBInstance><DBInstanceIdentifier>{identifier}</DBInstanceIdentifier>\
                     <DBInstanceStatus>{}</DBInstanceStatus><MultiAZ>{multi_az}</MultiAZ>\
                     <Endpoint>{}<Port>{}</Port></Endpoint>{}{}</DBInstance></DBInstances>",
                    if status.is_empty() { state.estate.status } else { status },
                    address.unwrap_or_default(),
                    state.estate.database_port,
                    cluster.unwrap_or_default(),
                    state.estate.instance_xml(&identifier)
                ))
            }
            Action::Lookup => unreachable!("no API call"),
            _ => state.inspect(action, form),
        }
    }
}

/// A call in progress.
#[derive(Clone, Copy)]
struct Served {
    origin: Origin,
    call: u64,
    action: Action,
    fault: Option<Fault>,
}

fn group_xml(state: &State, arn: &str) -> String {
    let group = &state.groups[arn];
    format!(
        "<member><TargetGroupArn>{arn}</TargetGroupArn>\
         <TargetGroupName>{}</TargetGroupName><Protocol>{}</Protocol><Port>{}</Port>\
         <VpcId>vpc-1</VpcId><TargetType>{}</TargetType><IpAddressType>{}</IpAddressType>{}</member>",
        arn.split('/').nth(1).unwrap_or_default(),
        group.protocol,
        group.port,
        group.target_type,
        group.address_type,
        state.group_xml()
    )
}

fn targets(form: &BTreeMap<String, String>) -> Vec<(SocketAddr, Option<String>)> {
    let field = |index: usize, name: &str| form.get(&format!("Targets.member.{index}.{name}")).cloned();
    (1..)
        .map_while(|index| {
            let port = field(index, "Port").and_then(|port| port.parse().ok()).unwrap_or_default();
            Some((SocketAddr::new(field(index, "Id")?.parse().ok()?, port), field(index, "AvailabilityZone")))
        })
        .collect()
}

fn error(refusal: &ApiError) -> Reply {
    let ApiError { status, code, message } = refusal;
    let body = format!(
        "<ErrorResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
         <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>0</RequestId></ErrorResponse>"
    );
    Ok(Response::builder().status(*status).body(Full::from(body)).expect("a valid response"))
}
