//! `doctor --through`: the command line shakes hands with servers on loopback, false ones and real ones.

use std::io::Write as _;
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::FakeAws;
use testkit::estate::listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::cli::{Done, run};
use testkit::GROUP;

/// A server that greets every client with these bytes, and answers once.
async fn server(greeting: &'static [u8], answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(greeting).await;
            let _ = stream.read(&mut [0; 64]).await;
            let _ = stream.write_all(answer).await;
        }
    });
    port
}

/// An AWS whose load balancer is this computer, with a listener on this port before a database of this engine.
fn before(port: u16, engine: &'static str) -> FakeAws {
    let aws = FakeAws::new();
    {
        let mut state = aws.state();
        let (load_balancer, listeners, _) = &mut state.estate.load_balancers[0];
        load_balancer.dns_name = Some("127.0.0.1".into());
        *listeners = vec![listener(port, &[(GROUP, 1)])];
        state.estate.engine = engine;
        state.estate.parameter_group = "orders";
        state.estate.parameters = testkit::estate::attributes(&[("max_connect_errors", "1000000000")]);
    }
    aws
}

fn finding(done: &Done, check: &str) -> Value {
    let result = done.json();
    let binding = &result["bindings"][0];
    let all = [&binding["findings"], &binding["not_examined"]];
    let mut all = all.into_iter().flat_map(|findings| findings.as_array().expect("findings"));
    all.find(|finding| finding["check"] == check).cloned().unwrap_or_else(|| panic!("no {check}: {done:?}"))
}

async fn through(aws: &FakeAws) -> Done {
    run(aws, &["doctor", "--through", "--output", "json"]).await
}

#[tokio::test]
async fn load_balancer_that_leads_to_the_database_is_ok() {
    let done = through(&before(server(b"", b"S").await, "aurora-postgresql")).await;
    assert_eq!(done.code, 0, "{done:?}");
    let handshake = finding(&done, "handshake");
    assert_eq!(handshake["level"], "ok");
    assert!(
        handshake["observed"].as_str().unwrap().ends_with("PostgreSQL answers and offers TLS"),
        "{handshake}"
    );
    assert_eq!(finding(&done, "read_only")["level"], "not_examined");
}

#[tokio::test]
async fn blocked_load_balancer_is_a_problem() {
    let blocked = b"\x1b\0\0\0\xff\x69\x04Host '10.0.1.5' is blocked";
    let done = through(&before(server(blocked, b"").await, "aurora-mysql")).await;
    assert_eq!(done.code, 1, "{done:?}");
    let handshake = finding(&done, "handshake");
    assert!(
        handshake["observed"].as_str().unwrap().contains("error 1129: Host '10.0.1.5' is blocked"),
        "{handshake}"
    );
}

#[tokio::test]
async fn place_of_the_argument_replaces_the_load_balancers() {
    let (good, bad) = (server(b"", b"S").await, server(b"", b"SSH-2.0-x\r\n").await);
    let aws = before(good, "aurora-postgresql");
    let done = run(&aws, &["doctor", "--output", "json", "--through", &format!("localhost:{bad}")]).await;
    assert_eq!(done.code, 1, "{done:?}");
    let handshake = finding(&done, "handshake");
    assert!(handshake["observed"].as_str().unwrap().contains(&format!("localhost:{bad}")), "{handshake}");
}

#[tokio::test]
async fn without_the_option_nothing_connects() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let aws = before(listener.local_addr().unwrap().port(), "aurora-postgresql");
    let done = run(&aws, &["doctor", "--output", "json"]).await;
    assert!(!done.stdout.contains("handshake"), "{done:?}");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn handshake_without_a_load_balancer_is_not_examined() {
    let aws = before(1, "aurora-postgresql");
    aws.state().estate.load_balancers.clear();
    assert_eq!(finding(&through(&aws).await, "handshake")["level"], "not_examined");
}

#[tokio::test]
async fn wrong_values_are_refused() {
    let aws = FakeAws::new();
    let binding = serde_json::json!({"endpoint": testkit::ENDPOINT, "target_group": GROUP});
    let other =
        serde_json::json!({"endpoint": "b.example.com", "target_group": GROUP.replace("orders", "b")});
    let mut command = crate::cli::command(&aws, &["doctor", "--through", "127.0.0.1:1"]).await;
    command.env("BINDINGS", serde_json::json!([binding, other]).to_string());
    let done = crate::cli::finish(command).await;
    assert!(done.code == 1 && done.stderr.contains("is for one binding"), "{done:?}");
    for arguments in [&["--through", "nowhere"][..], &["--through", "--function", "sync"]] {
        let done = run(&aws, &[&["doctor"], arguments].concat()).await;
        assert!(done.code == 1 && done.stderr.contains("--through"), "{done:?}");
    }
}

/// Real servers, each in a folder of its own.
mod real {
    use super::*;

    struct Server {
        process: Child,
        folder: PathBuf,
        port: u16,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    fn find(names: &[&str]) -> Option<PathBuf> {
        let path = std::env::var("PATH").unwrap_or_default();
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.extend(versions.map(|version| version.path().join("bin")));
        folders.push("/usr/sbin".into());
        let mut all = folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
        let found = all.find(|program| program.is_file());
        if found.is_none() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no {names:?}; run tests/install");
            let _ = writeln!(std::io::stderr(), "SKIPPED: a handshake with a real server: no {names:?} here");
        }
        found
    }

    fn free_port() -> u16 {
        StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// The program, as the user of this name where root runs the tests.
    fn unprivileged(program: &Path, user: &str) -> Command {
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        if !is_root {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "--"]);
        command.arg(program);
        command
    }

    fn folder(name: &str, user: &str) -> PathBuf {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("rds-nlb-sync-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // Without the user the server does not start, and the test says so.
        let _ = Command::new("chown").arg(user).arg(&folder).stderr(Stdio::null()).status();
        folder
    }

    fn quiet(command: &mut Command) -> &mut Command {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
    }

    async fn start(command: &mut Command, folder: PathBuf, port: u16) -> Server {
        let server = Server { process: quiet(command).spawn().expect("it starts"), folder, port };
        for _ in 0..300 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{command:?} does not listen");
    }

    async fn postgres() -> Option<Server> {
        let (initdb, postgres) = (find(&["initdb"])?, find(&["postgres"])?);
        let (folder, port) = (folder("postgres", "postgres"), free_port());
        let made = quiet(
            unprivileged(&initdb, "postgres").args(["--no-sync", "--auth=trust", "--pgdata"]).arg(&folder),
        )
        .status();
        assert!(made.unwrap().success(), "initdb fails");
        let mut command = unprivileged(&postgres, "postgres");
        command.arg("-D").arg(&folder).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-c", "fsync=off"]);
        command.args(["-c", "unix_socket_directories="]);
        Some(start(&mut command, folder, port).await)
    }

    async fn mariadb(user: Option<&str>) -> Option<Server> {
        let (install, mariadb) = (find(&["mariadb-install-db"])?, find(&["mariadbd"])?);
        let (folder, port) = (folder("mariadb", "root"), free_port());
        let data = format!("--datadir={}", folder.display());
        let of_user = ["--no-defaults", "--user=root", &data];
        let mut command = Command::new(&install);
        let made = command.args(of_user).args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        // Two installations at once must not share their temporary tables.
        let made = made.env("TMPDIR", &folder).stdin(Stdio::null()).output().unwrap();
        assert!(made.status.success(), "{} fails: {made:?}", install.display());
        let mut command = Command::new(&mariadb);
        command.env("TMPDIR", &folder);
        command.args(of_user).arg(format!("--socket={}", folder.join("socket").display()));
        // A user that may come from anywhere, as the vendor's.
        let users = folder.join("users.sql");
        std::fs::write(&users, user.map(|user| format!("create user {user}@'%';\n")).unwrap_or_default())
            .unwrap();
        command.arg(format!("--init-file={}", users.display()));
        command.args(["--bind-address=127.0.0.1", &format!("--port={port}")]);
        command.args(["--max-connections=10", "--max-connect-errors=3"]);
        Some(start(&mut command, folder, port).await)
    }

    /// A load balancer before a server on this port: the server sees its address, 127.0.0.2, and no client's.
    async fn load_balancer(to: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let socket = tokio::net::TcpSocket::new_v4().unwrap();
                    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
                    let mut server = socket.connect(([127, 0, 0, 1], to).into()).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        port
    }

    /// A TLS listener as a load balancer has it, by rustls.
    async fn tls_listener() -> u16 {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate.into()], key);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(acceptor.accept(stream));
            }
        });
        port
    }

    #[tokio::test]
    async fn tls_listener_is_a_problem_before_postgresql_and_mysql() {
        for engine in ["aurora-postgresql", "aurora-mysql"] {
            let done = through(&before(tls_listener().await, engine)).await;
            let handshake = finding(&done, "handshake");
            assert_eq!(handshake["level"], "problem", "{engine}: {handshake}");
            assert!(
                handshake["observed"].as_str().unwrap().contains("TLS from the first byte"),
                "{handshake}"
            );
        }
    }

    #[tokio::test]
    async fn postgres_answers() {
        let Some(server) = postgres().await else { return };
        let port = load_balancer(server.port).await;
        let done = through(&before(port, "aurora-postgresql")).await;
        let handshake = finding(&done, "handshake");
        assert!(handshake["observed"].as_str().unwrap().contains("PostgreSQL answers"), "{handshake}");
        assert_eq!(handshake["level"], "ok");
        // The group holds another server than the database that the API describes.
        let done = through(&before(port, "aurora-mysql")).await;
        let handshake = finding(&done, "handshake");
        assert_eq!(handshake["level"], "problem", "{handshake}");
        assert!(handshake["observed"].as_str().unwrap().contains("PostgreSQL answers"), "{handshake}");
    }

    /// A health check is a connection without a login: after some of them the server refuses the load balancer.
    #[tokio::test]
    async fn mariadb_answers_until_health_checks_have_blocked_the_load_balancer() {
        let Some(server) = mariadb(Some("vendor")).await else { return };
        let port = load_balancer(server.port).await;
        let aws = before(port, "mariadb");
        let done = through(&aws).await;
        let handshake = finding(&done, "handshake");
        assert_eq!(handshake["level"], "ok", "{handshake}");
        assert!(handshake["observed"].as_str().unwrap().contains("MariaDB"), "{handshake}");
        let started = tokio::time::Instant::now();
        let (done, handshake) = loop {
            for _ in 0..6 {
                let mut health_check = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                health_check.read_exact(&mut [0; 5]).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            let done = through(&aws).await;
            let handshake = finding(&done, "handshake");
            if handshake["observed"].as_str().unwrap().contains("error 1129") {
                break (done, handshake);
            }
            // A busy server notices the end of these connections late.
            assert!(started.elapsed() < Duration::from_secs(30), "{handshake}");
        };
        assert_eq!((handshake["level"].as_str(), done.code), (Some("problem"), 1));
        assert!(handshake["fix"].as_str().unwrap().contains("FLUSH HOSTS"), "{handshake}");
    }

    #[tokio::test]
    async fn mariadb_without_a_user_or_a_free_connection_is_a_problem() {
        let Some(server) = mariadb(None).await else { return };
        let done = through(&before(load_balancer(server.port).await, "mariadb")).await;
        let handshake = finding(&done, "handshake");
        assert!(handshake["observed"].as_str().unwrap().contains("error 1130"), "{handshake}");
        // It reserves one for an administrator.
        let held = (0..12).map(|_| std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap());
        let _held: Vec<_> = held.collect();
        let done = through(&before(server.port, "mariadb")).await;
        let handshake = finding(&done, "handshake");
        assert!(handshake["observed"].as_str().unwrap().contains("error 1040"), "{handshake}");
        assert!(handshake["fix"].as_str().unwrap().contains("max_connections"), "{handshake}");
    }
}
