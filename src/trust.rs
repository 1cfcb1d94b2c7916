//! Whom the function believes to be an AWS API: the certificate authorities behind its TLS connections.
//!
//! To parse all that a system trusts, some 140 authorities, takes most of a start. AWS has authorities of its
//! own, and five of them (`trust/amazon.pem`) stand behind its public APIs. Those are compiled in and vouch
//! first; an API that they do not know is put before the system's, as the SDK would do with every API. So
//! another partition, a proxy that inspects TLS and an authority that AWS takes up one day all work, each a
//! handshake later, and no certificate is refused that the SDK would accept.
//!
//! `AWS_CA_BUNDLE`, and what `SSL_CERT_FILE` and `SSL_CERT_DIR` name, are trusted instead, and nobody else.

use std::error::Error;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};

/// A connection to an API in the same region stands within milliseconds.
pub const CONNECT: Duration = Duration::from_secs(1);

/// Amazon Trust Services advises custom trust stores to hold all five.
const AMAZON: &str = include_str!("trust/amazon.pem");

/// The connections to the AWS APIs, kept over invocations and shared by the services: the SDK's own client
/// would parse its certificates once per service at the start, and again at the first call.
pub fn connections(variable: impl Fn(&str) -> Option<String>) -> Result<SharedHttpClient, BoxError> {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let system = TrustStore::default();
    if let Some(path) = set("AWS_CA_BUNDLE") {
        only(bundle(path.trim())?)
    } else if set("SSL_CERT_FILE").or(set("SSL_CERT_DIR")).is_some() {
        only(system)
    } else {
        in_turn(TrustStore::empty().with_pem_certificate(AMAZON), system)
    }
}

/// Connections to those for whom these vouch.
fn only(trusted: TrustStore) -> Result<SharedHttpClient, BoxError> {
    let connector = connector(context(trusted)?);
    Ok(http_client_fn(move |_, _| connector.clone()))
}

/// Connections to those for whom the first or the second vouch. The second are not parsed before they are
/// needed.
pub fn in_turn(first: TrustStore, second: TrustStore) -> Result<SharedHttpClient, BoxError> {
    let (first, second) = (connector(context(first)?), context(second)?);
    let connector = SharedHttpConnector::new(Vouched { first, second, turned: Arc::default() });
    Ok(http_client_fn(move |_, _| connector.clone()))
}

/// Reads the authorities in a PEM file, with an error for what the SDK would panic at.
fn bundle(path: &str) -> Result<TrustStore, String> {
    let unusable = |reason: &dyn Error| {
        format!(
            "AWS_CA_BUNDLE={path} is not usable ({reason}); name a file of certificates in PEM, or unset it to trust \
             AWS's and the system's"
        )
    };
    let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&io::Error::other("it holds no certificate")));
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

/// Turns to the second authorities for good when the first do not know an API's.
#[derive(Clone, Debug)]
struct Vouched {
    first: SharedHttpConnector,
    second: TlsContext,
    turned: Arc<OnceLock<SharedHttpConnector>>,
}

impl HttpConnector for Vouched {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if let Some(second) = self.turned.get() {
            return second.call(request);
        }
        // Refused in the handshake, before any of it was sent.
        let again = request.try_clone();
        let first = self.first.call(request);
        let Self { second, turned, .. } = self.clone();
        HttpConnectorFuture::new(async move {
            match (first.await, again) {
                (Err(error), Some(request)) if is_unknown(&error) => {
                    tracing::info!(decision = "trust", reason = %error, "asks the system's authorities");
                    turned.get_or_init(|| connector(second)).call(request).await
                }
                (result, _) => result,
            }
        })
    }
}

/// Whether a certificate was refused for want of an authority that signed it; one of the same name may have
/// another key.
fn is_unknown(error: &(dyn Error + 'static)) -> bool {
    use CertificateError::{BadSignature, UnknownIssuer};
    // An I/O error's cause is its payload, which `source` skips.
    let payload = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let cause = payload.map(|payload| payload as &(dyn Error + 'static)).or_else(|| error.source());
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature)))
        || cause.is_some_and(is_unknown)
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
}
