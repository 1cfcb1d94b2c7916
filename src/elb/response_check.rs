//! Checks that a successful answer comes from the API.
//!
//! RegisterTargets and DeregisterTargets return no data, so the SDK does not read their answers. It would accept a
//! proxy's page with status 200, or an empty body. The SDK parses the answers to all other calls, and fails there.

use aws_sdk_elasticloadbalancingv2::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_elasticloadbalancingv2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_elasticloadbalancingv2::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_xml::decode::Document;

/// Fails a call whose answer does not have the root element of its operation.
#[derive(Debug)]
pub(super) struct ResponseCheck;

impl Intercept for ResponseCheck {
    fn name(&self) -> &'static str {
        "ResponseCheck"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.output_or_error().is_err() {
            return Ok(());
        }
        let operation = bag.load::<Metadata>().map(Metadata::name).unwrap_or_default();
        let expected = format!("{operation}Response");
        let body = context.response().body().bytes().unwrap_or_default();
        if has_root(body, &expected) {
            return Ok(());
        }
        let status = context.response().status().as_u16();
        Err(format!("the answer, of HTTP status {status}, is no {expected} of the load balancing API").into())
    }
}

fn has_root(body: &[u8], name: &str) -> bool {
    Document::try_from(body)
        .is_ok_and(|mut document| document.root_element().is_ok_and(|root| root.start_el().matches(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_element_is_compared_with_the_operation() {
        for (body, expected) in [
            ("<RegisterTargetsResponse/>", true),
            (
                "<RegisterTargetsResponse xmlns=\"http://x/\"><RegisterTargetsResult/></RegisterTargetsResponse>",
                true,
            ),
            ("<?xml version=\"1.0\"?>\n<!-- a --><RegisterTargetsResponse></RegisterTargetsResponse>", true),
            ("<DeregisterTargetsResponse/>", false),
            ("<html><RegisterTargetsResponse/></html>", false),
            ("<!DOCTYPE html><html/>", false),
            ("RegisterTargetsResponse", false),
            ("{}", false),
            ("", false),
        ] {
            assert_eq!(has_root(body.as_bytes(), "RegisterTargetsResponse"), expected, "{body}");
        }
        assert!(!has_root(b"<RegisterTargetsResponse\xff/>", "RegisterTargetsResponse"));
    }
}
