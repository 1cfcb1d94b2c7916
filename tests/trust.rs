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
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rds_nlb_sync::budget::Budget;
use rds_nlb_sync::elb::LoadBalancing;
use rds_nlb_sync::fault::Fault;
use rds_nlb_sync::plan::Targets;
use rds_nlb_sync::reconcile::TargetGroups;
use rds_nlb_sync::trust;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::world::lambda::Function;
use crate::world::{GROUP, World};

/// Somebody who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap())
    }

    fn alone(&self) -> TrustStore {
        TrustStore::empty().with_pem_certificate(self.0.pem())
    }

    /// A bundle on disk, as an operator would name it.
    fn bundle(&self, name: &str) -> PathBuf {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }
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
async fn serve(world: &World, authority: &Authority, name: &str) -> (SocketAddr, Arc<Handshakes>) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority.0).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.into()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let behind = world.serve_aws().await;
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

/// The target groups behind that address, for who trusts these in turn.
fn groups(address: SocketAddr, first: TrustStore, second: TrustStore) -> LoadBalancing {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests"))
        .endpoint_url(format!("https://{address}"))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(3)).build())
        .retry_config(RetryConfig::disabled())
        .http_client(trust::in_turn(first, second).unwrap())
        .build();
    LoadBalancing::new(Client::from_conf(config), Budget::unlimited())
}

/// Two calls: one describes the group, one lists its targets.
async fn targets(groups: &LoadBalancing) -> Result<Targets, Fault> {
    groups.targets(GROUP).await
}

#[tokio::test]
async fn an_api_that_the_first_authorities_know_takes_one_handshake() {
    let (world, amazon) = (World::new(), Authority::new("Amazon"));
    let (address, handshakes) = serve(&world, &amazon, "127.0.0.1").await;
    let groups = groups(address, amazon.alone(), TrustStore::empty());
    assert_eq!(targets(&groups).await.unwrap().len(), 1);
    handshakes.come_to([1, 0, 0]).await;
}

#[tokio::test]
async fn an_api_that_only_the_second_know_is_reached_by_the_same_call_and_they_are_asked_from_then_on() {
    let (world, amazon, system) = (World::new(), Authority::new("Amazon"), Authority::new("the system's"));
    let (address, handshakes) = serve(&world, &system, "127.0.0.1").await;
    let groups = groups(address, amazon.alone(), system.alone());
    assert_eq!(targets(&groups).await.unwrap().len(), 1, "without a retry");
    handshakes.come_to([1, 1, 0]).await;
    world.hang_up();
    handshakes.come_to([1, 1, 1]).await;
    assert_eq!(targets(&groups).await.unwrap().len(), 1);
    handshakes.come_to([2, 1, 1]).await;
}

/// As when an authority gets another key.
#[tokio::test]
async fn a_name_alone_vouches_for_nothing() {
    let (world, old, new) = (World::new(), Authority::new("Amazon"), Authority::new("Amazon"));
    let (address, handshakes) = serve(&world, &new, "127.0.0.1").await;
    assert!(targets(&groups(address, old.alone(), old.alone())).await.is_err());
    assert_eq!(targets(&groups(address, old.alone(), new.alone())).await.unwrap().len(), 1);
    handshakes.come_to([1, 3, 1]).await;
}

#[tokio::test]
async fn nobody_is_believed_for_whom_none_vouches() {
    let (world, stranger) = (World::new(), Authority::new("a stranger"));
    let (address, handshakes) = serve(&world, &stranger, "127.0.0.1").await;
    let groups = groups(address, Authority::new("Amazon").alone(), Authority::new("the system's").alone());
    let told = targets(&groups).await.unwrap_err().explain();
    assert!(told.contains("UnknownIssuer"), "{told}");
    handshakes.come_to([0, 2, 0]).await;
    assert_eq!(world.state().calls.len(), 0);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_whoever_signed_it() {
    for (first, second) in [(true, false), (false, true), (true, true)] {
        let (world, authority) = (World::new(), Authority::new("an authority"));
        let (address, handshakes) = serve(&world, &authority, "elsewhere.example.com").await;
        let trusted = |knows| if knows { authority.alone() } else { Authority::new("another").alone() };
        let groups = groups(address, trusted(first), trusted(second));
        let told = targets(&groups).await.unwrap_err().explain();
        assert!(told.contains("not valid for name"), "{told}");
        handshakes.come_to([0, 1 + usize::from(!first), 0]).await;
        assert_eq!(world.state().calls.len(), 0);
    }
}

/// The binary, with the world behind TLS and these variables.
async fn function(world: &World, address: SocketAddr, variables: &[(&str, &str)]) -> Function {
    let endpoint = format!("https://{address}");
    let variables: Vec<_> = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_MAX_ATTEMPTS", "1")]
        .into_iter()
        .chain(variables.iter().copied())
        .collect();
    Function::start(world, Path::new(env!("CARGO_BIN_EXE_bootstrap")), &variables).await
}

const CHECK: &str = r#"{"command": "check"}"#;
const TIME: Duration = Duration::from_secs(30);

#[tokio::test]
async fn variables_name_whom_to_trust_instead() {
    let (world, private) = (World::new(), Authority::new("private"));
    let (address, _) = serve(&world, &private, "127.0.0.1").await;
    let bundle = private.bundle("private.pem");
    let other = Authority::new("other").bundle("other.pem");
    let [bundle, other] = [&bundle, &other].map(|path| path.to_str().unwrap());
    for (variables, is_trusted) in [
        (&[("AWS_CA_BUNDLE", bundle)][..], true),
        (&[("SSL_CERT_FILE", bundle)], true),
        (&[("AWS_CA_BUNDLE", bundle), ("SSL_CERT_FILE", other)], true),
        (&[("AWS_CA_BUNDLE", other), ("SSL_CERT_FILE", bundle)], false),
        (&[("AWS_CA_BUNDLE", " "), ("SSL_CERT_FILE", other)], false),
        (&[], false),
    ] {
        let result = function(&world, address, variables).await.invoke(CHECK, TIME).await;
        match result {
            Ok(result) => {
                assert!(is_trusted && result["bindings"][0]["status"] == "in_sync", "{variables:?}: {result}")
            }
            Err(error) => {
                let told = error["errorMessage"].as_str().unwrap();
                assert!(
                    !is_trusted && told.contains("name its certificates in AWS_CA_BUNDLE"),
                    "{variables:?}: {told}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_bundle_that_is_none_is_refused_at_the_start_with_the_cure() {
    let world = World::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, text, reason) in [
        ("missing.pem", None, "No such file"),
        ("empty.pem", Some(""), "it holds no certificate"),
        ("cut.pem", Some("-----BEGIN CERTIFICATE-----\nMIID"), "not usable"),
        ("none.pem", Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "not usable"),
    ] {
        let path = folder.join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let path = path.to_str().unwrap();
        let address = world.serve_aws().await;
        let mut function = function(&world, address, &[("AWS_CA_BUNDLE", path)]).await;
        let (code, error) = function.ended().await;
        let told = error.unwrap()["errorMessage"].to_string();
        assert_eq!(code, Some(1));
        assert!(told.contains(&format!("AWS_CA_BUNDLE={path}")) && told.contains(reason), "{told}");
        assert!(told.contains("unset it"), "{told}");
    }
}
