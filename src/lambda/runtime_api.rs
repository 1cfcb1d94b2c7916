//! Lambda's Runtime API ("Using the Lambda runtime API", Lambda guide).
//!
//! `lambda_runtime` 1.5 parses the client context before it calls the handler, and ends the process if that context has
//! nested values. This module reads only the headers that the function needs.

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use lambda_runtime_api_client::PooledClient;
use lambda_runtime_api_client::body::Body;
use serde::Serialize;
use tracing::Instrument as _;

use crate::service::InvocationError;
use crate::startup::BoxError;

const BASE: &str = "/2018-06-01/runtime";
const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
const DEADLINE: &str = "lambda-runtime-deadline-ms";
const TRACE_ID: &str = "lambda-runtime-trace-id";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// The Runtime API that `AWS_LAMBDA_RUNTIME_API` names.
pub struct RuntimeApi {
    client: PooledClient,
}

pub struct Invocation {
    id: String,
    trace_id: Option<String>,
    /// In milliseconds since 1970.
    pub deadline: Option<u64>,
    pub body: Vec<u8>,
}

impl RuntimeApi {
    /// Makes the client. Panics if the variable is missing or is no address: without the API there is no place to
    /// report the error.
    pub fn from_environment() -> Self {
        Self { client: PooledClient::builder().build() }
    }

    pub async fn serve<R: Serialize>(
        &self,
        handler: impl AsyncFn(&Invocation) -> Result<R, Failure>,
    ) -> Result<(), BoxError> {
        loop {
            let invocation = self.next().await?;
            let Invocation { id, trace_id, .. } = &invocation;
            let span = tracing::info_span!("invocation", requestId = id, xrayTraceId = trace_id.as_deref());
            async {
                let result = handler(&invocation).await;
                if let Err(Failure { error_type, error_message }) = &result {
                    tracing::error!(
                        decision = "fail",
                        error_type,
                        reason = error_message,
                        "invocation failed"
                    );
                }
                self.report(&invocation, &result).await
            }
            .instrument(span)
            .await?;
        }
    }

    async fn next(&self) -> Result<Invocation, BoxError> {
        let request = Request::get(format!("{BASE}/invocation/next")).body(Body::empty())?;
        let (parts, body) = self.client.call(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let header = |name: &str| parts.headers.get(name)?.to_str().ok().map(str::to_owned);
        let Some(id) = header(REQUEST_ID) else {
            return Err(format!("the Runtime API gave {} and no request id", parts.status).into());
        };
        let deadline = header(DEADLINE).and_then(|deadline| deadline.trim().parse().ok());
        Ok(Invocation { id, trace_id: header(TRACE_ID), deadline, body: body.to_vec() })
    }

    async fn report<R: Serialize>(
        &self,
        invocation: &Invocation,
        result: &Result<R, Failure>,
    ) -> Result<(), BoxError> {
        let id = &invocation.id;
        let status = match result {
            Ok(answer) => self.post(&format!("invocation/{id}/response"), None, answer).await?,
            Err(failure) => self.post(&format!("invocation/{id}/error"), Some("unhandled"), failure).await?,
        };
        if !status.is_success() {
            // For example, the answer has more than 6 MB. The process continues with the next invocation.
            tracing::error!(
                decision = "fail",
                status = status.as_u16(),
                "the Runtime API refused the result"
            );
        }
        Ok(())
    }

    pub async fn report_init_error(&self, failure: &Failure) -> Result<(), BoxError> {
        let error_type = format!("Runtime.{}", failure.error_type);
        self.post("init/error", Some(&error_type), failure).await.map(|_| ())
    }

    async fn post(
        &self,
        path: &str,
        error_type: Option<&str>,
        body: &impl Serialize,
    ) -> Result<StatusCode, BoxError> {
        let mut request = Request::post(format!("{BASE}/{path}")).header("content-type", "application/json");
        if let Some(error_type) = error_type {
            request = request.header(ERROR_TYPE, error_type);
        }
        let request = request.body(Body::from(serde_json::to_string(body)?))?;
        let response = self.client.call(request).await?;
        let status = response.status();
        // The connection can serve the next call only after the answer is read.
        response.into_body().collect().await?;
        Ok(status)
    }
}

/// A failed invocation, as Lambda shows it to the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub error_type: &'static str,
    pub error_message: String,
}

impl From<&InvocationError> for Failure {
    fn from(error: &InvocationError) -> Self {
        let error_type = match error {
            InvocationError::UnsupportedEvent(_) | InvocationError::UnknownBinding { .. } => "EventRefused",
            InvocationError::Bindings(_) => "BindingsFailed",
        };
        Self { error_type, error_message: error.to_string() }
    }
}
