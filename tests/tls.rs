//! Which certificates the function accepts from an AWS API, with authorities made for the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_elasticloadbalancingv2::{Client, Config};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rds_nlb_sync::aws::tls;
use rds_nlb_sync::elb::Elb;
use rds_nlb_sync::error::Error;
use rds_nlb_sync::plan::Targets;
use rds_nlb_sync::rate_limit::ApiRateLimiter;
use rds_nlb_sync::reconcile::TargetGroupApi;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use testkit::lambda::Function;
use testkit::ports::permit;
use testkit::{FakeAws, GROUP};

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(Self::called(name), KeyPair::generate().unwrap()).unwrap())
    }

    fn called(name: &str) -> CertificateParams {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
    }

    /// A certificate for that name, and its key.
    fn certify(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.into(), key)
    }
}

/// Another run of the tests may use the same target folder.
fn own_folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A bundle on disk, as an operator would name it.
fn bundle(name: &str, authorities: &[&Authority]) -> PathBuf {
    let path = own_folder().join(name);
    let pem: Vec<String> = authorities.iter().map(|authority| authority.0.pem()).collect();
    std::fs::write(&path, pem.concat()).unwrap();
    path
}

/// Handshakes, as the server saw them, and the connections that came of them.
#[derive(Default)]
struct Handshakes {
    done: AtomicUsize,
    refused: AtomicUsize,
    closed: AtomicUsize,
}

impl Handshakes {
    /// The server learns of a refusal, and of an end, a moment after the client.
    async fn become_exactly(&self, expected: [usize; 3]) {
        let count = || [&self.done, &self.refused, &self.closed].map(|count| count.load(Ordering::SeqCst));
        let reached = async {
            while count() != expected {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = timeout(Duration::from_secs(5), reached).await;
        assert!(reached.is_ok(), "{:?} handshakes done, refused and closed, not {expected:?}", count());
    }
}

/// Serves the world's APIs over TLS, with a certificate for that name by that authority.
async fn serve(aws: &FakeAws, authority: &Authority, name: &str) -> (SocketAddr, Arc<Handshakes>) {
    let (certificate, key) = authority.certify(name);
    serve_with(aws, vec![certificate], &key).await
}

async fn serve_with(
    aws: &FakeAws,
    certificates: Vec<CertificateDer<'static>>,
    key: &KeyPair,
) -> (SocketAddr, Arc<Handshakes>) {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(certificates, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let behind = aws.serve_aws().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handshakes = Arc::<Handshakes>::default();
    let seen = Arc::clone(&handshakes);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                match acceptor.accept(stream).await {
                    Ok(mut stream) => {
                        seen.done.fetch_add(1, Ordering::SeqCst);
                        let mut api = TcpStream::connect(behind).await.unwrap();
                        let _ = copy_bidirectional(&mut stream, &mut api).await;
                        seen.closed.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(_) => _ = seen.refused.fetch_add(1, Ordering::SeqCst),
                }
            });
        }
    });
    (address, handshakes)
}

/// The target groups behind that address.
fn groups(address: SocketAddr, client: &SharedHttpClient) -> Elb {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests"))
        .endpoint_url(format!("https://{address}"))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(3)).build())
        .retry_config(RetryConfig::disabled())
        .http_client(client.clone())
        .build();
    Elb::new(Client::from_conf(config), ApiRateLimiter::unlimited())
}

/// A client that trusts these authorities, by a bundle of this name.
fn trusting(name: &str, authorities: &[&Authority]) -> SharedHttpClient {
    let bundle = bundle(name, authorities);
    tls::connections(|variable| (variable == "AWS_CA_BUNDLE").then(|| bundle.display().to_string())).unwrap()
}

/// Two calls: one describes the group, one lists its targets.
async fn targets(groups: &Elb) -> Result<Targets, Error> {
    groups.targets(permit().await, GROUP).await
}

#[tokio::test]
async fn services_share_one_connection() {
    let (aws, private) = (FakeAws::new(), Authority::new("private"));
    let (address, handshakes) = serve(&aws, &private, "127.0.0.1").await;
    let client = trusting("shared.pem", &[&private]);
    for groups in [groups(address, &client), groups(address, &client)] {
        assert_eq!(targets(&groups).await.unwrap().len(), 1);
    }
    handshakes.become_exactly([1, 0, 0]).await;
}

#[tokio::test]
async fn every_authority_of_a_bundle_is_trusted() {
    let [first, second] = ["first", "second"].map(Authority::new);
    let client = trusting("both.pem", &[&first, &second]);
    for authority in [&first, &second] {
        let aws = FakeAws::new();
        let (address, handshakes) = serve(&aws, authority, "127.0.0.1").await;
        assert_eq!(targets(&groups(address, &client)).await.unwrap().len(), 1);
        handshakes.become_exactly([1, 0, 0]).await;
    }
}

/// As when an authority gets another key.
#[tokio::test]
async fn authority_of_the_same_name_with_another_key_is_refused() {
    let (aws, old, new) = (FakeAws::new(), Authority::new("private"), Authority::new("private"));
    let (address, handshakes) = serve(&aws, &new, "127.0.0.1").await;
    assert!(targets(&groups(address, &trusting("old.pem", &[&old]))).await.is_err());
    handshakes.become_exactly([0, 1, 0]).await;
    assert_eq!(targets(&groups(address, &trusting("new.pem", &[&old, &new]))).await.unwrap().len(), 1);
}

/// A server may send more certificates than its own. An expired one says nothing about the others, but a
/// refusal names it.
#[tokio::test]
async fn expired_extra_certificate_harms_only_its_own_authority() {
    let (aws, other, system) = (FakeAws::new(), Authority::new("other"), Authority::new("the system's"));
    let mut crossed = Authority::called("the system's");
    crossed.not_after = rcgen::date_time_ymd(2021, 9, 30);
    let crossed = crossed.signed_by(system.0.key(), &Authority::new("long gone").0).unwrap();
    let (certificate, key) = system.certify("127.0.0.1");
    let (address, _) = serve_with(&aws, vec![certificate, crossed.into()], &key).await;
    let refused = targets(&groups(address, &trusting("crossed.pem", &[&other]))).await;
    let message_text = refused.unwrap_err().explain();
    assert!(message_text.contains("expired"), "{message_text}");
    let client = trusting("crossing.pem", &[&other, &system]);
    assert_eq!(targets(&groups(address, &client)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn unknown_authority_is_refused_before_any_request() {
    let (aws, elsewhere) = (FakeAws::new(), FakeAws::new());
    let [private, stranger] = ["private", "a stranger"].map(Authority::new);
    let (address, handshakes) = serve(&elsewhere, &stranger, "127.0.0.1").await;
    let client = trusting("known.pem", &[&private]);
    let message_text = targets(&groups(address, &client)).await.unwrap_err().explain();
    assert!(
        message_text.contains("UnknownIssuer") && message_text.contains("AWS_CA_BUNDLE"),
        "{message_text}"
    );
    handshakes.become_exactly([0, 1, 0]).await;
    assert_eq!(elsewhere.state().calls.len(), 0);
    let (address, _) = serve(&aws, &private, "127.0.0.1").await;
    assert_eq!(targets(&groups(address, &client)).await.unwrap().len(), 1, "the client works on");
}

#[tokio::test]
async fn certificate_for_another_name_is_refused() {
    let (aws, private) = (FakeAws::new(), Authority::new("private"));
    let (address, handshakes) = serve(&aws, &private, "elsewhere.example.com").await;
    let client = trusting("name.pem", &[&private]);
    let message_text = targets(&groups(address, &client)).await.unwrap_err().explain();
    assert!(
        message_text.contains("not valid for name") && message_text.contains("AWS_ENDPOINT_URL"),
        "{message_text}"
    );
    handshakes.become_exactly([0, 1, 0]).await;
    assert_eq!(aws.state().calls.len(), 0);
}

/// The binary, with the fake AWS behind TLS and these variables.
async fn function(aws: &FakeAws, address: SocketAddr, variables: &[(&str, &str)]) -> Function {
    let endpoint = format!("https://{address}");
    let variables: Vec<_> = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_MAX_ATTEMPTS", "1")]
        .into_iter()
        .chain(variables.iter().copied())
        .collect();
    Function::start(aws, Path::new(env!("CARGO_BIN_EXE_bootstrap")), &variables).await
}

const CHECK: &str = r#"{"command": "check"}"#;
const TIME: Duration = Duration::from_secs(30);

#[tokio::test]
async fn variables_name_the_trusted_authorities() {
    let (aws, private) = (FakeAws::new(), Authority::new("private"));
    let (address, _) = serve(&aws, &private, "127.0.0.1").await;
    let folder = own_folder().join("authorities");
    std::fs::create_dir_all(&folder).unwrap();
    bundle("authorities/private.pem", &[&private]);
    let folder = folder.to_str().unwrap();
    let bundle_of = bundle;
    let bundle = bundle_of("private.pem", &[&private]);
    let other = bundle_of("other.pem", &[&Authority::new("other")]);
    let [bundle, other] = [&bundle, &other].map(|path| path.to_str().unwrap());
    for (variables, is_trusted) in [
        (&[("AWS_CA_BUNDLE", bundle)][..], true),
        (&[("SSL_CERT_FILE", bundle)], true),
        (&[("SSL_CERT_DIR", folder)], true),
        (&[("AWS_CA_BUNDLE", bundle), ("SSL_CERT_FILE", other)], true),
        (&[("AWS_CA_BUNDLE", other), ("SSL_CERT_FILE", bundle)], false),
        (&[("AWS_CA_BUNDLE", " "), ("SSL_CERT_FILE", other)], false),
    ] {
        let result = function(&aws, address, variables).await.invoke(CHECK, TIME).await;
        match result {
            Ok(result) => {
                assert!(is_trusted && result["bindings"][0]["status"] == "in_sync", "{variables:?}: {result}")
            }
            Err(error) => {
                let message_text = error["errorMessage"].as_str().unwrap();
                assert!(
                    !is_trusted && message_text.contains("certificates in AWS_CA_BUNDLE"),
                    "{variables:?}: {message_text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn unusable_certificates_stop_the_start_and_are_named() {
    let aws = FakeAws::new();
    let address = aws.serve_aws().await;
    let folder = own_folder();
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        for (name, text, reason) in [
            ("missing.pem", None, "No such file"),
            ("empty.pem", Some(""), "it holds no certificate"),
            ("text.pem", Some("not PEM"), "it holds no certificate"),
            ("cut.pem", Some("-----BEGIN CERTIFICATE-----\nMIID"), "certificate 1"),
            (
                "broken.pem",
                Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                "certificate 1",
            ),
        ] {
            let path = folder.join(name);
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            does_not_start(&aws, address, variable, path.to_str().unwrap(), reason).await;
        }
    }
    let missing = folder.join("no-such-folder");
    does_not_start(&aws, address, "SSL_CERT_DIR", missing.to_str().unwrap(), "No such file").await;
}

async fn does_not_start(aws: &FakeAws, address: SocketAddr, variable: &str, path: &str, reason: &str) {
    let mut function = function(aws, address, &[(variable, path)]).await;
    let (code, error) = function.ended().await;
    let message_text = error.unwrap()["errorMessage"].to_string();
    assert_eq!(code, Some(1));
    assert!(
        message_text.contains(&format!("{variable}={path}")) && message_text.contains(reason),
        "{message_text}"
    );
    assert!(message_text.contains("unset it"), "{message_text}");
}
