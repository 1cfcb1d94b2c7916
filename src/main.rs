//! The `bootstrap` binary: reads the environment and the wall clock, builds the clients, and serves
//! the Lambda Runtime API. Everything else is in the library.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods, reason = "the one place that reads the environment and the clock")]

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::tower::util::MapRequestLayer;
use lambda_runtime::{LambdaEvent, LambdaInvocation, Runtime, service_fn};
use rds_nlb_sync::config::Config;
use rds_nlb_sync::dns::NameServers;
use rds_nlb_sync::elb::LoadBalancing;
use rds_nlb_sync::lambda::{Failed, envelope, handle};
use rds_nlb_sync::metrics;
use rds_nlb_sync::rds::Rds;
use rds_nlb_sync::reconcile::World;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A connection to an API in the same region stands within milliseconds.
const CONNECT: Duration = Duration::from_secs(1);
/// One attempt of an API call.
const ATTEMPT: Duration = Duration::from_secs(3);
/// An API call with all its retries: three attempts, and the backoff between them.
const CALL: Duration = Duration::from_secs(12);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    log();
    let variable = |name: &str| std::env::var(name).ok();
    if variable("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!(
            "This program runs as an AWS Lambda function and finds no Runtime API (AWS_LAMBDA_RUNTIME_API is not \
             set). Deploy it, or see it work with `make demo`."
        );
        return ExitCode::FAILURE;
    }
    let (config, world) = match start(variable).await {
        Ok(started) => started,
        Err(error) => {
            report_init_error(&error).await;
            return ExitCode::FAILURE;
        }
    };
    let function = variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let (config, world, function) = (&config, &world, &function);
    let service = service_fn(async |invocation: LambdaEvent<String>| {
        let LambdaEvent { payload, context } = invocation;
        let remaining = Duration::from_millis(context.deadline).saturating_sub(now());
        let result = handle(config, world, &payload, remaining).await;
        if let Ok(outcome) | Err(Failed::Bindings(outcome)) = &result {
            let now = u64::try_from(now().as_millis()).unwrap_or_default();
            metrics::lines(outcome, function, now).iter().for_each(|line| println!("{line}"));
        }
        result
    });
    let enveloped = MapRequestLayer::new(|invocation: LambdaInvocation| LambdaInvocation {
        body: envelope(&invocation.body).into(),
        ..invocation
    });
    match Runtime::new(service).layer(TracingLayer::new()).layer(enveloped).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(decision = "exit", reason = %error, "the Runtime API is gone");
            ExitCode::FAILURE
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

async fn start(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Config, World<NameServers, LoadBalancing, Rds>), Error> {
    let config = Config::parse(variable)?;
    let dns = NameServers::new(config.nameservers.as_deref()).map_err(|fault| fault.explain())?;
    let sdk = sdk().await;
    if sdk.region().is_none() {
        return Err("no region is set; set AWS_REGION".into());
    }
    let groups = LoadBalancing::new(aws_sdk_elasticloadbalancingv2::Client::new(&sdk));
    let clusters = Rds::new(aws_sdk_rds::Client::new(&sdk));
    Ok((config, World { dns, groups, clusters }))
}

/// The SDK's own variables decide on region, credentials, endpoints and retries; the time-outs are ours.
async fn sdk() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(CALL)
        .build();
    aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await
}

/// Logs as Lambda's advanced logging controls ask for: JSON unless `AWS_LAMBDA_LOG_FORMAT` says text,
/// from the level in `AWS_LAMBDA_LOG_LEVEL` up. Libraries speak from `WARN` up, or all at `TRACE`.
fn log() {
    let variable = |name| std::env::var(name).unwrap_or_default().to_ascii_uppercase();
    let level = match variable("AWS_LAMBDA_LOG_LEVEL").as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let libraries = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    let filter = Targets::new()
        .with_default(libraries)
        .with_target("rds_nlb_sync", level)
        .with_target("lambda_runtime::layers::trace", level);
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    let subscriber = tracing_subscriber::registry().with(filter);
    if variable("AWS_LAMBDA_LOG_FORMAT") == "TEXT" {
        subscriber.with(lines.with_ansi(false)).init();
    } else {
        subscriber.with(lines.json().flatten_event(true).with_span_list(false)).init();
    }
}

/// Tells Lambda why the function does not start, so that the reason stands in the failed invocation.
async fn report_init_error(error: &Error) {
    tracing::error!(decision = "init", reason = %error, "the function does not start");
    let body = serde_json::json!({"errorType": "InvalidConfiguration", "errorMessage": error.to_string()});
    let request = http::Request::post("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", "Runtime.InvalidConfiguration")
        .body(lambda_runtime_api_client::body::Body::from(body.to_string()));
    let sent = match request {
        Ok(request) => {
            lambda_runtime_api_client::PooledClient::builder().build().call(request).await.map(|_| ())
        }
        Err(unbuilt) => Err(unbuilt.into()),
    };
    if let Err(unsent) = sent {
        tracing::error!(decision = "init", reason = %unsent, "the reason could not be reported to Lambda");
    }
}
