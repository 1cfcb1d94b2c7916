//! Lambda from a function's side: the Runtime API on a loopback socket, and the process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, Full};
pub use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::api::Broken;
use super::{ENDPOINT, FakeAws, GROUP};

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:rds-nlb-sync";

/// The samples' moment, as EventBridge writes it and as RDS does.
const SAMPLE_TIMES: [&str; 2] = ["2026-11-20T10:00:00Z", "2026-11-20 10:00:00"];

/// For checks that have to deregister something. With the usual one second, a check waits two seconds for its
/// confirmation, which a pause of half a second breaks.
pub const SLOWLY: (&str, &str) = ("CONFIRM_SECONDS", "3");

/// A sample event, dated an hour ahead: the function takes it for one that was made just now, however long the machine
/// takes until it is read. An old event is not watched.
pub fn sent_now(sample: &str) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 3600;
    let now = aws_smithy_types::DateTime::from_secs(i64::try_from(seconds).expect("this century"));
    let now = now.fmt(aws_smithy_types::date_time::Format::DateTime).expect("a date");
    let of_rds = now.replace('T', " ").replace('Z', "");
    let [of_event_bridge, in_message] = SAMPLE_TIMES;
    sample.replace(of_event_bridge, &now).replace(in_message, &of_rds)
}

/// What an invocation came to: the function's answer, or its error document.
pub type Result = std::result::Result<Value, Value>;

struct Invocation {
    payload: Bytes,
    time: Duration,
    /// Further headers. One without a value is left out of the response.
    headers: Vec<(&'static str, Option<String>)>,
    /// Called when the function takes it.
    began: Box<dyn FnOnce() + Send>,
    done: oneshot::Sender<Result>,
}

struct Api {
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    running: Mutex<HashMap<String, oneshot::Sender<Result>>>,
    init_error: Mutex<Option<Value>>,
    /// How often the function has asked for its next event, and when it first did.
    polls: watch::Sender<(usize, Option<Instant>)>,
}

/// The function: its process, and the queue of its invocations.
pub struct Function {
    api: Arc<Api>,
    queue: mpsc::UnboundedSender<Invocation>,
    process: Mutex<Child>,
    started: Instant,
    /// What reads the function's log, until its end.
    readers: [JoinHandle<()>; 2],
    /// Every line that the function wrote.
    pub log: Arc<Mutex<Vec<String>>>,
}

impl Function {
    /// Starts the binary against this AWS. The variables add to the usual ones or replace them; an empty one is
    /// removed.
    pub async fn start(aws: &FakeAws, binary: &Path, variables: &[(&str, &str)]) -> Self {
        Self::launch(aws, Command::new(binary), variables).await
    }

    /// Starts whatever serves the Runtime API by this command.
    pub async fn launch(aws: &FakeAws, mut command: Command, variables: &[(&str, &str)]) -> Self {
        let (queue, receiver) = mpsc::unbounded_channel();
        let api = Arc::new(Api {
            queue: tokio::sync::Mutex::new(receiver),
            running: Mutex::default(),
            init_error: Mutex::default(),
            polls: watch::Sender::default(),
        });
        let runtime = serve(api.clone()).await;
        let endpoint_url = format!("http://{}", aws.serve_aws().await);
        let dns = aws.serve_dns().await.to_string();
        let bindings = serde_json::json!([{"endpoint": ENDPOINT, "target_group": GROUP}]).to_string();
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", runtime.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "rds-nlb-sync")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_ENDPOINT_URL", endpoint_url)
            .env("NAMESERVERS", dns)
            .env("BINDINGS", bindings)
            .env("CONFIRM_SECONDS", "1")
            .env("POLL_MILLIS", "50")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (name, value) in variables {
            if value.is_empty() {
                command.env_remove(name);
            }
        }
        let started = Instant::now();
        let mut process = command.spawn().unwrap_or_else(|error| {
            let program = command.as_std().get_program().display();
            panic!("{program} does not start ({error}); run `cargo build --bin bootstrap` first")
        });
        let log = Arc::<Mutex<Vec<String>>>::default();
        let readers = [
            collect(process.stdout.take().expect("piped"), log.clone()),
            collect(process.stderr.take().expect("piped"), log.clone()),
        ];
        Self { api, queue, process: Mutex::new(process), started, readers, log }
    }

    /// Invokes the function with this payload and time-out.
    pub async fn invoke(&self, payload: impl ToString, time: Duration) -> Result {
        self.invoke_with(payload, time, &[]).await
    }

    /// The same, with these headers besides or instead of the usual ones, or without them.
    pub async fn invoke_with(
        &self,
        payload: impl ToString,
        time: Duration,
        headers: &[(&'static str, Option<&str>)],
    ) -> Result {
        let payload = Bytes::from(payload.to_string());
        // As Lambda does, with some room for a slow machine.
        let limit = time + Duration::from_secs(20);
        tokio::time::timeout(limit, self.queue(payload, time, headers, Box::new(|| ())))
            .await
            .unwrap_or_else(|_| panic!("the function outlived its time-out: {:?}", self.log))
    }

    /// Queues an invocation with these bytes, says when the function takes it, and waits for its result without a
    /// limit.
    pub async fn queue(
        &self,
        payload: Bytes,
        time: Duration,
        headers: &[(&'static str, Option<&str>)],
        began: Box<dyn FnOnce() + Send>,
    ) -> Result {
        let (done, result) = oneshot::channel();
        let headers = headers.iter().map(|(name, value)| (*name, value.map(str::to_owned))).collect();
        let invocation = Invocation { payload, time, headers, began, done };
        self.queue.send(invocation).unwrap_or_else(|_| panic!("the Runtime API is gone: {:?}", self.log));
        result.await.expect("a result")
    }

    /// Waits until the function has polled the Runtime API this often. Returns the duration of its init phase:
    /// from the start of the process to the first poll.
    pub async fn polled(&self, times: usize) -> Duration {
        let mut polls = self.api.polls.subscribe();
        let waiting = tokio::time::timeout(Duration::from_secs(20), polls.wait_for(|(n, _)| *n >= times));
        let Ok(Ok(seen)) = waiting.await else { panic!("the function does not poll: {:?}", self.log) };
        seen.1.expect("polled") - self.started
    }

    /// Waits until the function has ended by itself, and returns its exit code and init error.
    pub async fn ended(&mut self) -> (Option<i32>, Option<Value>) {
        let process = self.process.get_mut().unwrap();
        let waiting = tokio::time::timeout(Duration::from_secs(20), process.wait());
        let status = waiting.await.expect("the function still runs").expect("a status");
        // Its last lines may still be in the pipes.
        for reader in self.readers.iter_mut().filter(|reader| !reader.is_finished()) {
            let _ = reader.await;
        }
        (status.code(), self.api.init_error.lock().unwrap().clone())
    }

    /// The log's JSON lines.
    pub fn lines(&self) -> Vec<Value> {
        self.log.lock().unwrap().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub fn process_id(&self) -> Option<u32> {
        self.process.lock().unwrap().id()
    }

    /// Kills the process, without a chance to end by itself.
    pub fn kill(&self) {
        let _ = self.process.lock().unwrap().start_kill();
    }

    /// How the process has ended, if it has.
    pub fn exit_status(&self) -> Option<std::process::ExitStatus> {
        self.process.lock().unwrap().try_wait().expect("a status")
    }
}

fn collect(
    stream: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    log: Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            log.lock().unwrap().push(line);
        }
    })
}

async fn serve(api: Arc<Api>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback socket");
    let address = listener.local_addr().expect("a bound socket");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let api = api.clone();
            let service = service_fn(move |request| {
                let api = api.clone();
                async move { api.answer(request).await }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

impl Api {
    async fn answer(&self, request: Request<Incoming>) -> std::result::Result<Response<Full<Bytes>>, Broken> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.map_err(|_| Broken)?.to_bytes();
        let parts: Vec<&str> = path.trim_start_matches("/2018-06-01/runtime/").split('/').collect();
        match parts.as_slice() {
            ["invocation", "next"] => return self.next().await,
            ["invocation", id, kind @ ("response" | "error")] => {
                let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let result = if *kind == "response" { Ok(value) } else { Err(value) };
                if let Some(done) = self.running.lock().unwrap().remove(*id) {
                    let _ = done.send(result);
                }
            }
            ["init", "error"] => *self.init_error.lock().unwrap() = serde_json::from_slice(&body).ok(),
            _ => return Ok(Response::builder().status(404).body(Full::default()).expect("a response")),
        }
        Ok(Response::builder().status(202).body(Full::from("{}")).expect("a response"))
    }

    async fn next(&self) -> std::result::Result<Response<Full<Bytes>>, Broken> {
        let now = Instant::now();
        self.polls.send_modify(|(count, first)| {
            *count += 1;
            first.get_or_insert(now);
        });
        let (count, _) = *self.polls.borrow();
        let Some(Invocation { payload, time, headers, began, done }) = self.queue.lock().await.recv().await
        else {
            return Err(Broken);
        };
        let id = format!("00000000-0000-4000-8000-{count:012}");
        self.running.lock().unwrap().insert(id.clone(), done);
        began();
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + time;
        let mut response = Response::builder()
            .header("lambda-runtime-aws-request-id", id)
            .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
            .header("lambda-runtime-invoked-function-arn", ARN)
            .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
            .header("content-type", "application/json")
            .body(Full::from(payload))
            .expect("a response");
        for (name, value) in headers {
            match value {
                Some(value) => drop(response.headers_mut().insert(name, value.parse().expect("a header"))),
                None => drop(response.headers_mut().remove(name)),
            }
        }
        Ok(response)
    }
}
