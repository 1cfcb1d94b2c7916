//! The `bootstrap` binary: serves the Lambda Runtime API. It reads the environment and the wall clock;
//! everything else is in the library.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "one of the two places that read the environment and the clock"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::{LambdaEvent, service_fn};
use rds_nlb_sync::lambda::{Event, handle};
use rds_nlb_sync::start::{self, Error, Started};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let variable = |name: &str| std::env::var(name).ok();
    start::log(variable);
    if variable("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err("this program runs as an AWS Lambda function and finds no Runtime API \
                    (AWS_LAMBDA_RUNTIME_API is not set); deploy it, or see it work with `make demo`"
            .into());
    }
    let Started { config, world } = match start::start(variable).await {
        Ok(started) => started,
        Err(error) => return Err(report_init_error(error).await),
    };
    let (config, world) = (&config, &world);
    lambda_runtime::run(service_fn(async |invocation: LambdaEvent<Event>| {
        let LambdaEvent { payload, context } = invocation;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        handle(config, world, payload, Duration::from_millis(context.deadline).saturating_sub(now)).await
    }))
    .await
}

/// Tells Lambda why the function does not start, so that the reason stands in the failed invocation.
async fn report_init_error(error: Error) -> Error {
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
    error
}
