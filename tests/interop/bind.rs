//! Debian's BIND 9, twice: a server with the authority for a zone that changes while it runs, and a resolver that asks
//! it and caches, as a VPC's does.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rds_nlb_sync::dns::DnsClient;
use rds_nlb_sync::plan::Family;
use rds_nlb_sync::reconcile::Resolve as _;

use super::unbound::{ZONE, free};

pub struct Bind {
    /// The resolver's.
    pub address: SocketAddr,
    authority: Named,
    _resolver: Named,
    serial: Cell<u32>,
}

struct Named {
    address: SocketAddr,
    directory: PathBuf,
    process: Child,
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Bind {
    /// Serves these records of the zone, or `None` where BIND is not installed.
    pub async fn start(records: &str) -> Option<Self> {
        let program = super::installed("named")?;
        let zone = |directory: &Path, _: SocketAddr| {
            write_zone(directory, records, 1);
            // A root of its own: it asks no other server.
            fs::write(directory.join("root"), "$TTL 5\n. SOA . . 1 60 60 600 5\n. NS .\n. A 127.0.0.1\n")
                .unwrap();
            let root = "zone \".\" { type primary; file \"root\"; };";
            format!("recursion no; }};\n{root}\nzone \"{ZONE}\" {{ type primary; file \"zone\"; }};\n")
        };
        let authority = Named::start(&program, zone).await;
        let forward = authority.address;
        let resolver = Named::start(&program, |_, _| {
            let (ip, port) = (forward.ip(), forward.port());
            format!("recursion yes; forward only; forwarders {{ {ip} port {port}; }}; }};\n")
        });
        let resolver = resolver.await;
        let server = Self { address: resolver.address, authority, _resolver: resolver, serial: Cell::new(1) };
        server.wait_for_serial().await;
        Some(server)
    }

    /// Serves these records from now on; cached ones stay until their TTL ends.
    pub async fn serve(&self, records: &str) {
        self.serial.set(self.serial.get() + 1);
        write_zone(&self.authority.directory, records, self.serial.get());
        // Reads the zone again.
        let pid = self.authority.process.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().expect("kill runs").success());
        self.wait_for_serial().await;
    }

    /// Answers SERVFAIL for the databases' names from now on: they are delegated to where no server is.
    pub async fn fail(&self) {
        self.serve("cluster-abc123 NS nowhere\nabc123 NS nowhere\nnowhere A 127.0.0.1\n").await;
    }

    /// Waits until the server has read the zone.
    async fn wait_for_serial(&self) {
        let servers = DnsClient::new(Some(&[self.authority.address])).unwrap();
        let name = format!("serial-{}.{ZONE}", self.serial.get());
        // A minute.
        for _ in 0..1200 {
            if servers.resolve(&name, Family::V4).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the zone is not valid: {}", self.authority.log());
    }
}

impl Named {
    /// Starts a server with the rest of its `options` and what follows them.
    async fn start(program: &Path, rest: impl Fn(&Path, SocketAddr) -> String) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // Another process may take the free port first: try again.
        for _ in 0..5 {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("rds-nlb-sync-bind-{}-{count}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            fs::create_dir_all(&directory).expect("a temporary directory");
            let address = free();
            let configuration = configuration(&directory, address, &rest(&directory, address));
            fs::write(directory.join("named.conf"), configuration).unwrap();
            let process = Command::new(program)
                .args(["-g", "-4", "-n", "1", "-c"])
                .arg(directory.join("named.conf"))
                .stdout(Stdio::null())
                .stderr(fs::File::create(directory.join("log")).unwrap())
                .spawn()
                .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
            let mut server = Self { address, directory, process };
            for _ in 0..1200 {
                if server.log().contains("running") {
                    return server;
                }
                if server.process.try_wait().expect("a child").is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let log = server.log();
            assert!(log.contains("in use"), "BIND does not start: {log}");
        }
        panic!("no port is free");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

/// TTLs as RDS has them.
fn write_zone(directory: &Path, records: &str, serial: u32) {
    let head = format!("@ SOA ns hostmaster {serial} 60 60 600 5\n@ NS ns\nns A 127.0.0.1\n");
    let read = format!("serial-{serial} A 10.0.0.1\n");
    let zone = format!("$ORIGIN {ZONE}.\n$TTL 5\n{head}{records}{read}");
    fs::write(directory.join("zone"), zone).expect("a zone file");
}

fn configuration(directory: &Path, address: SocketAddr, rest: &str) -> String {
    let directory = directory.display();
    format!(
        "controls {{ }};\n\
         options {{ directory \"{directory}\"; pid-file none; session-keyfile \"{directory}/session.key\";\n\
         \x20 managed-keys-directory \"{directory}\"; listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }};\n\
         \x20 allow-query {{ any; }}; dnssec-validation no; empty-zones-enable no; {rest}",
        address.port(),
        address.ip()
    )
}
