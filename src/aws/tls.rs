//! The HTTPS connections to the AWS APIs, and the certificate authorities that they trust.
//!
//! By default the system's authorities are trusted. `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them: the SDK's library
//! reads these two itself. If `AWS_CA_BUNDLE` is set, only its authorities are trusted.

use std::error::Error;
use std::time::Duration;
use std::{env, fmt, fs, io};

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};

/// The time limit of a connection. A connection to an API in the same Region takes milliseconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// One connector for all services and for the whole life of the process. The SDK's own client would parse
/// the certificates once per service at the start, and again at the first call. If a variable names no usable
/// certificates, it would panic, or refuse every certificate.
pub fn connections(variable: impl Fn(&str) -> Option<String>) -> Result<SharedHttpClient, BoxError> {
    let context = TlsContext::builder().with_trust_store(trusted(variable)?).build()?;
    // Built as the SDK builds its own connector, but with the time-out: the SDK takes that from its configuration.
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let connector = Connector::builder()
        .connector_settings(settings)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .proxy_config(ProxyConfig::from_env())
        .build();
    let connector = SharedHttpConnector::new(connector);
    Ok(http_client_fn(move |_, _| connector.clone()))
}

fn trusted(variable: impl Fn(&str) -> Option<String>) -> Result<TrustStore, String> {
    let set = |name: &'static str| {
        variable(name).filter(|value| !value.trim().is_empty()).map(|path| PathVariable { name, path })
    };
    if let Some(bundle) = set("AWS_CA_BUNDLE") {
        let pem = bundle.read()?;
        bundle.check_certificates(&pem)?;
        return Ok(TrustStore::empty().with_pem_certificate(pem));
    }
    if let Some(file) = set("SSL_CERT_FILE") {
        let pem = file.read()?;
        // The library skips what it cannot parse.
        let readable = CertificateDer::pem_slice_iter(&pem).flatten();
        let (usable, _) = RootCertStore::empty().add_parsable_certificates(readable);
        if usable == 0 {
            file.check_certificates(&pem)?;
        }
    } else if let Some(folders) = set("SSL_CERT_DIR") {
        folders.check_folders()?;
    }
    Ok(TrustStore::default())
}

struct PathVariable {
    name: &'static str,
    path: String,
}

impl PathVariable {
    fn read(&self) -> Result<Vec<u8>, String> {
        fs::read(self.path.trim()).map_err(|error| self.unusable(error, "a file"))
    }

    /// Checks that the file holds at least one certificate, and that each is valid.
    fn check_certificates(&self, pem: &[u8]) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
            let wrong = |error: &dyn fmt::Display| {
                self.unusable(format_args!("certificate {number}: {error}"), "a file")
            };
            roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() { Err(self.unusable("it holds no certificate", "a file")) } else { Ok(()) }
    }

    /// Checks that at least one of the folders can be read.
    fn check_folders(&self) -> Result<(), String> {
        let mut read = env::split_paths(self.path.trim()).map(fs::read_dir);
        let first = read.next().unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
        match first {
            Err(error) if !read.any(|folder| folder.is_ok()) => Err(self.unusable(error, "a folder")),
            _ => Ok(()),
        }
    }

    fn unusable(&self, reason: impl fmt::Display, kind: &str) -> String {
        let (name, path) = (self.name, self.path.trim());
        format!(
            "{name}={path} is not usable ({reason}). Fix: name {kind} of certificates in PEM, or unset it to trust the \
             system's"
        )
    }
}

pub fn refused_certificate<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
        return Some(reason);
    }
    // An I/O error's cause is its payload, which `source` skips.
    let payload = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let cause = payload.map(|payload| payload as &(dyn Error + 'static)).or_else(|| error.source());
    cause.and_then(refused_certificate)
}
