//! The `bootstrap` binary: serves the Lambda Runtime API. It reads the environment and the wall clock;
//! everything else is in the library.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "one of the two places that read the environment and the clock"
)]

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use rds_nlb_sync::fleet::Fleet;
use rds_nlb_sync::lambda::handle;
use rds_nlb_sync::logging;
use rds_nlb_sync::metrics;
use rds_nlb_sync::service::{Answer, Host, InvocationError, Service};
use rds_nlb_sync::startup::{self, App, BoxError};
use serde_json::value::RawValue;

#[tokio::main(flavor = "local")]
async fn main() -> ExitCode {
    // As a task, for which a wake-up is an entry in a queue: the main future's is a system call.
    tokio::task::spawn_local(serve()).await.unwrap_or_else(|error| {
        tracing::error!(decision = "exit", reason = %error, "the function ended");
        ExitCode::FAILURE
    })
}

async fn serve() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    logging::log(variable);
    if variable("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!(
            "This program runs as an AWS Lambda function and finds no Runtime API (AWS_LAMBDA_RUNTIME_API is not \
             set). Deploy it, or see it work with `make demo`."
        );
        return ExitCode::FAILURE;
    }
    let App { config, clients } = match startup::start(variable).await {
        Ok(app) => app,
        Err(error) => {
            report_init_error(&error).await;
            return ExitCode::FAILURE;
        }
    };
    let function = variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let fleet = Fleet::new(&config);
    let service = Service { config: &config, clients: &clients, fleet: &fleet, host: Host::Lambda };
    let (service, function) = (&service, &function);
    let handler = service_fn(async |invocation: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = invocation;
        let remaining = Duration::from_millis(context.deadline).saturating_sub(since_1970());
        let result = handle(service, payload.get(), SystemTime::now(), remaining).await;
        if let Ok(Answer::InvocationResult(bindings)) | Err(InvocationError::Bindings(bindings)) = &result {
            let now = u64::try_from(since_1970().as_millis()).unwrap_or_default();
            metrics::lines(bindings, function, now).iter().for_each(|line| println!("{line}"));
        }
        result
    });
    match Runtime::new(handler).layer(TracingLayer::new()).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(decision = "exit", reason = %error, "the Runtime API is gone");
            ExitCode::FAILURE
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Tells Lambda why the function does not start, so that the reason stands in the failed invocation.
async fn report_init_error(error: &BoxError) {
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
