//! Whom the function takes for an AWS API: over TLS, against authorities made for the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_elasticloadbalancingv2::{Client, Config};
use aws_smithy_http_client::tls::TrustStore;
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
use testkit::{FakeAws, GROUP};

/// Somebody who signs certificates.
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
    fn vouches_for(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.into(), key)
    }

    /// A bundle on disk, as an operator would name it.
    fn bundle(&self, name: &str) -> PathBuf {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }
}

fn store(authorities: &[&Authority]) -> TrustStore {
    let add = |store: TrustStore, authority: &&Authority| store.with_pem_certificate(authority.0.pem());
    authorities.iter().fold(TrustStore::empty(), add)
}

/// Handshakes, as the server saw them, and the connections that came of them.
#[derive(Default)]
struct Handshakes {
    done: AtomicUsize,
    refused: AtomicUsize,
    closed: AtomicUsize,
}

impl Handshakes {
    /// The server hears of a refusal, and of an end, a moment after the client.
    async fn come_to(&self, expected: [usize; 3]) {
        let count = || [&self.done, &self.refused, &self.closed].map(|count| count.load(Ordering::SeqCst));
        let reached = async {
            while count() != expected {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = timeout(Duration::from_secs(5), reached).await;
        assert!(reached.is_ok(), "{:?} handshakes done, refused and over, not {expected:?}", count());
    }
}

/// Serves the world's APIs over TLS, with a certificate for that name by that authority.
async fn serve(aws: &FakeAws, authority: &Authority, name: &str) -> (SocketAddr, Arc<Handshakes>) {
    let (certificate, key) = authority.vouches_for(name);
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

/// For who trusts the first, or else them all.
fn in_turn(first: &[&Authority], all: &[&Authority]) -> SharedHttpClient {
    tls::in_turn(store(first), store(all)).unwrap()
}

/// Two calls: one describes the group, one lists its targets.
async fn targets(groups: &Elb) -> Result<Targets, Error> {
    groups.targets(groups.immediate_permit(), GROUP).await
}

#[tokio::test]
async fn api_of_a_first_authority_takes_one_handshake() {
    let (aws, amazon) = (FakeAws::new(), Authority::new("Amazon"));
    let (address, handshakes) = serve(&aws, &amazon, "127.0.0.1").await;
    let groups = groups(address, &in_turn(&[&amazon], &[]));
    assert_eq!(targets(&groups).await.unwrap().len(), 1);
    handshakes.come_to([1, 0, 0]).await;
}

#[tokio::test]
async fn api_of_a_system_authority_is_reached_and_remembered() {
    let (aws, amazon, system) = (FakeAws::new(), Authority::new("Amazon"), Authority::new("the system's"));
    let (address, handshakes) = serve(&aws, &system, "127.0.0.1").await;
    let groups = groups(address, &in_turn(&[&amazon], &[&amazon, &system]));
    assert_eq!(targets(&groups).await.unwrap().len(), 1, "without a retry");
    handshakes.come_to([1, 1, 0]).await;
    aws.hang_up();
    handshakes.come_to([1, 1, 1]).await;
    assert_eq!(targets(&groups).await.unwrap().len(), 1);
    handshakes.come_to([2, 1, 1]).await;
}

/// As when an authority gets another key.
#[tokio::test]
async fn authority_with_the_same_name_is_not_trusted() {
    let (aws, old, new) = (FakeAws::new(), Authority::new("Amazon"), Authority::new("Amazon"));
    let (address, handshakes) = serve(&aws, &new, "127.0.0.1").await;
    assert!(targets(&groups(address, &in_turn(&[&old], &[&old]))).await.is_err());
    handshakes.come_to([0, 2, 0]).await;
    assert_eq!(targets(&groups(address, &in_turn(&[&old], &[&old, &new]))).await.unwrap().len(), 1);
}

/// A server may send more certificates than its own. One that has expired says nothing of the others, but it
/// is what a refusal speaks of.
#[tokio::test]
async fn certificate_refused_at_first_is_checked_by_all() {
    let (aws, amazon, system) = (FakeAws::new(), Authority::new("Amazon"), Authority::new("the system's"));
    let mut crossed = Authority::called("the system's");
    crossed.not_after = rcgen::date_time_ymd(2021, 9, 30);
    let crossed = crossed.signed_by(system.0.key(), &Authority::new("long gone").0).unwrap();
    let (certificate, key) = system.vouches_for("127.0.0.1");
    let (address, _) = serve_with(&aws, vec![certificate, crossed.into()], &key).await;
    let message_text =
        targets(&groups(address, &in_turn(&[&amazon], &[&amazon]))).await.unwrap_err().explain();
    assert!(message_text.contains("expired"), "{message_text}");
    assert_eq!(targets(&groups(address, &in_turn(&[&amazon], &[&amazon, &system]))).await.unwrap().len(), 1);
}

#[tokio::test]
async fn api_that_changes_its_authority_is_reached() {
    let (aws, amazon, system) = (FakeAws::new(), Authority::new("Amazon"), Authority::new("the system's"));
    let (before, _) = serve(&aws, &amazon, "127.0.0.1").await;
    let (after, handshakes) = serve(&aws, &system, "127.0.0.1").await;
    let client = in_turn(&[&amazon], &[&amazon, &system]);
    assert_eq!(targets(&groups(before, &client)).await.unwrap().len(), 1);
    assert_eq!(targets(&groups(after, &client)).await.unwrap().len(), 1);
    handshakes.come_to([1, 1, 0]).await;
}

#[tokio::test]
async fn unknown_authority_is_refused_and_affects_no_other() {
    let (aws, elsewhere) = (FakeAws::new(), FakeAws::new());
    let [amazon, system, stranger] = ["Amazon", "the system's", "a stranger"].map(Authority::new);
    let (address, handshakes) = serve(&elsewhere, &stranger, "127.0.0.1").await;
    let client = in_turn(&[&amazon], &[&amazon, &system]);
    let message_text = targets(&groups(address, &client)).await.unwrap_err().explain();
    assert!(
        message_text.contains("UnknownIssuer") && message_text.contains("AWS_CA_BUNDLE"),
        "{message_text}"
    );
    handshakes.come_to([0, 2, 0]).await;
    assert_eq!(elsewhere.state().calls.len(), 0);
    for authority in [&amazon, &system] {
        let (address, _) = serve(&aws, authority, "127.0.0.1").await;
        assert_eq!(targets(&groups(address, &client)).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn certificate_for_another_name_is_refused() {
    let (amazon, system) = (Authority::new("Amazon"), Authority::new("the system's"));
    for authority in [&amazon, &system] {
        let aws = FakeAws::new();
        let (address, handshakes) = serve(&aws, authority, "elsewhere.example.com").await;
        let groups = groups(address, &in_turn(&[&amazon], &[&amazon, &system]));
        let message_text = targets(&groups).await.unwrap_err().explain();
        assert!(
            message_text.contains("not valid for name") && message_text.contains("AWS_ENDPOINT_URL"),
            "{message_text}"
        );
        handshakes.come_to([0, 2, 0]).await;
        assert_eq!(aws.state().calls.len(), 0);
    }
}

/// The binary, with the world behind TLS and these variables.
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
async fn variables_replace_the_trusted_authorities() {
    let (aws, private) = (FakeAws::new(), Authority::new("private"));
    let (address, _) = serve(&aws, &private, "127.0.0.1").await;
    let bundle = private.bundle("private.pem");
    let other = Authority::new("other").bundle("other.pem");
    let [bundle, other] = [&bundle, &other].map(|path| path.to_str().unwrap());
    for (variables, is_trusted) in [
        (&[("AWS_CA_BUNDLE", bundle)][..], true),
        (&[("SSL_CERT_FILE", bundle)], true),
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
                    !is_trusted && message_text.contains("name its certificates in AWS_CA_BUNDLE"),
                    "{variables:?}: {message_text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn unreadable_bundle_fails_init_with_the_fix() {
    let aws = FakeAws::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, text, reason) in [
        ("missing.pem", None, "No such file"),
        ("empty.pem", Some(""), "it holds no certificate"),
        ("cut.pem", Some("-----BEGIN CERTIFICATE-----\nMIID"), "certificate 1"),
        ("none.pem", Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "certificate 1"),
    ] {
        let path = folder.join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let path = path.to_str().unwrap();
        let address = aws.serve_aws().await;
        let mut function = function(&aws, address, &[("AWS_CA_BUNDLE", path)]).await;
        let (code, error) = function.ended().await;
        let message_text = error.unwrap()["errorMessage"].to_string();
        assert_eq!(code, Some(1));
        assert!(
            message_text.contains(&format!("AWS_CA_BUNDLE={path}")) && message_text.contains(reason),
            "{message_text}"
        );
        assert!(message_text.contains("unset it"), "{message_text}");
    }
}
