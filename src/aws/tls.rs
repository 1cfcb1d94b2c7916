//! Whom the function believes to be an AWS API: the certificate authorities behind its TLS connections.
//!
//! To parse all that a system trusts, some 140 authorities, takes most of a start. AWS has authorities of its
//! own, and five of them (`amazon.pem`) stand behind its public APIs. Those are compiled in and vouch
//! first. Once a certificate is not good enough for them, the system's are parsed and join them for the rest
//! of the process: in another partition, behind a proxy that inspects TLS, or on the day that AWS takes up
//! another authority, the first call takes a second handshake. So no certificate is refused that the SDK
//! would accept.
//!
//! `AWS_CA_BUNDLE`, or else `SSL_CERT_FILE` and `SSL_CERT_DIR`, name whom to trust instead, and nobody else.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, io};

use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::error::display::DisplayErrorContext;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};

/// A connection to an API in the same region stands within milliseconds.
pub const CONNECT: Duration = Duration::from_secs(1);

/// Amazon Trust Services advises custom trust stores to hold all five.
const AMAZON: &str = include_str!("amazon.pem");

/// The connections to the AWS APIs, kept over invocations and shared by the services: the SDK's own client
/// would parse its certificates once per service at the start, and again at the first call.
///
/// # Errors
///
/// If `AWS_CA_BUNDLE` names no file of certificates; the error says why, and what cures it.
pub fn connections(variable: impl Fn(&str) -> Option<String>) -> Result<SharedHttpClient, BoxError> {
    match trusted(variable)? {
        Trusted::Only(store) => {
            let connector = connector(context(store)?);
            Ok(http_client_fn(move |_, _| connector.clone()))
        }
        Trusted::InTurn(first, all) => in_turn(first, all),
    }
}

/// Connections to those for whom the first vouch, or else all, of whom the first should be a part. All are
/// not parsed before they are needed.
///
/// # Panics
///
/// Where a store holds PEM that is none, as the SDK does.
///
/// # Errors
///
/// Where the SDK takes no such store.
pub fn in_turn(first: TrustStore, all: TrustStore) -> Result<SharedHttpClient, BoxError> {
    let (first, all) = (connector(context(first)?), context(all)?);
    let connector =
        SharedHttpConnector::new(InTurn(Arc::new(Stores { first, all, turned: OnceLock::new() })));
    Ok(http_client_fn(move |_, _| connector.clone()))
}

#[derive(Debug)]
enum Trusted {
    Only(TrustStore),
    InTurn(TrustStore, TrustStore),
}

fn trusted(variable: impl Fn(&str) -> Option<String>) -> Result<Trusted, String> {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    // The SDK's library reads SSL_CERT_FILE and SSL_CERT_DIR itself.
    let system = TrustStore::default();
    if let Some(path) = set("AWS_CA_BUNDLE") {
        Ok(Trusted::Only(bundle(path.trim())?))
    } else if set("SSL_CERT_FILE").or(set("SSL_CERT_DIR")).is_some() {
        Ok(Trusted::Only(system))
    } else {
        let amazon = TrustStore::empty().with_pem_certificate(AMAZON);
        Ok(Trusted::InTurn(amazon, system.with_pem_certificate(AMAZON)))
    }
}

/// Reads the authorities in a PEM file, with an error for what the SDK would panic at.
fn bundle(path: &str) -> Result<TrustStore, String> {
    let unusable = |reason: &dyn fmt::Display| {
        format!(
            "AWS_CA_BUNDLE={path} is not usable ({reason}); name a file of certificates in PEM, or unset it to trust \
             AWS's and the system's"
        )
    };
    let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
        let unusable = |error: &dyn fmt::Display| unusable(&format!("certificate {number}: {error}"));
        roots.add(certificate.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"it holds no certificate"));
    }
    Ok(TrustStore::empty().with_pem_certificate(pem))
}

/// As the SDK builds its own, but for the time-out, which it would take from the configuration.
fn connector(context: TlsContext) -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).build();
    let connector = Connector::builder()
        .connector_settings(settings)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .proxy_config(ProxyConfig::from_env())
        .build();
    SharedHttpConnector::new(connector)
}

fn context(trusted: TrustStore) -> Result<TlsContext, BoxError> {
    Ok(TlsContext::builder().with_trust_store(trusted).build()?)
}

#[derive(Clone, Debug)]
struct InTurn(Arc<Stores>);

#[derive(Debug)]
struct Stores {
    first: SharedHttpConnector,
    all: TlsContext,
    /// Connects to those for whom all vouch, once the first did not suffice.
    turned: OnceLock<SharedHttpConnector>,
}

impl HttpConnector for InTurn {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let stores = Arc::clone(&self.0);
        if let Some(all) = stores.turned.get() {
            return all.call(request);
        }
        // A refusal comes in the handshake, before any of the request is sent.
        let again = request.try_clone();
        let first = stores.first.call(request);
        HttpConnectorFuture::new(async move {
            let (error, request) = match (first.await, again) {
                (Err(error), Some(request)) if refusal(&error).is_some() => (error, request),
                (result, _) => return result,
            };
            tracing::info!(reason = %DisplayErrorContext(&error), "asks the system's authorities");
            stores.turned.get_or_init(|| connector(stores.all.clone())).call(request).await
        })
    }
}

/// Why a server's certificate was refused, where that is what failed.
pub fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
        return Some(reason);
    }
    // An I/O error's cause is its payload, which `source` skips.
    let payload = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let cause = payload.map(|payload| payload as &(dyn Error + 'static)).or_else(|| error.source());
    cause.and_then(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// The public key as the certificate holds it. Of a trust anchor's, the outer tag and length are gone.
    fn public_key(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        let length = match (length, length.to_be_bytes()) {
            (..128, [_, low]) => vec![low],
            (..256, [_, low]) => vec![0x81, low],
            (_, [high, low]) => vec![0x82, high, low],
        };
        [&[0x30], &length[..], content].concat()
    }

    #[test]
    fn the_five_of_amazon_trust_services_are_compiled_in() {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(AMAZON.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        assert_eq!(roots.len(), 5);
        for root in &roots.roots {
            let hash = Sha256::digest(public_key(&root.subject_public_key_info));
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(AMAZON.contains(&hash), "{hash} is not among those that are published");
        }
    }

    /// What is trusted with these variables, as the stores describe themselves.
    fn trust_with(variables: &[(&str, &str)]) -> String {
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        format!("{:?}", trusted(variable).unwrap())
    }

    #[test]
    fn variables_decide_whom_to_trust() {
        let bundle = concat!(env!("CARGO_MANIFEST_DIR"), "/src/aws/amazon.pem");
        let amazon = TrustStore::empty().with_pem_certificate(AMAZON);
        let both = TrustStore::default().with_pem_certificate(AMAZON);
        let in_turn = format!("{:?}", Trusted::InTurn(amazon.clone(), both));
        let system = format!("{:?}", Trusted::Only(TrustStore::default()));
        let only_bundle = format!("{:?}", Trusted::Only(amazon));
        for (variables, expected) in [
            (&[][..], &in_turn),
            (&[("AWS_CA_BUNDLE", ""), ("SSL_CERT_FILE", " "), ("SSL_CERT_DIR", "")], &in_turn),
            (&[("SSL_CERT_FILE", "/f.pem")], &system),
            (&[("SSL_CERT_DIR", "/d")], &system),
            (&[("AWS_CA_BUNDLE", bundle)], &only_bundle),
            (&[("AWS_CA_BUNDLE", bundle), ("SSL_CERT_FILE", "/f.pem"), ("SSL_CERT_DIR", "/d")], &only_bundle),
        ] {
            assert_eq!(trust_with(variables), *expected, "{variables:?}");
        }
    }
}
