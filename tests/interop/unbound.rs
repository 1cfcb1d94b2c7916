//! Debian's `unbound`: a resolver that caches for as long as a record's TTL says, as a VPC's does,
//! with a zone of its own that changes while it runs.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub const ZONE: &str = "us-east-1.rds.amazonaws.com";

pub struct Unbound {
    pub address: SocketAddr,
    control: PathBuf,
    directory: PathBuf,
    process: Child,
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Unbound {
    /// Serves these records of the zone, or `None` where unbound is not installed.
    pub fn start(records: &str) -> Option<Self> {
        Self::start_with(records, "")
    }

    /// Serves them with these options of its `server:` section.
    pub fn start_with(records: &str, options: &str) -> Option<Self> {
        let (program, control) = (super::installed("unbound")?, super::installed("unbound-control")?);
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("rds-nlb-sync-{}-{count}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        write_zone(&directory, records);
        // Another process may take the free port first: try again.
        for _ in 0..5 {
            let address = free();
            fs::write(directory.join("unbound.conf"), configuration(&directory, address, options)).unwrap();
            let process = Command::new(&program)
                .args(["-d", "-p", "-c"])
                .arg(directory.join("unbound.conf"))
                .stdout(Stdio::null())
                .stderr(fs::File::create(directory.join("log")).unwrap())
                .spawn()
                .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
            let (directory, control) = (directory.clone(), control.clone());
            let mut server = Self { address, control, directory, process };
            // A minute.
            for _ in 0..1200 {
                if server.control(&["status"]) {
                    return Some(server);
                }
                if server.process.try_wait().expect("a child").is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            let log = fs::read_to_string(server.directory.join("log")).unwrap_or_default();
            assert!(log.contains("in use"), "unbound does not start: {log}");
            std::mem::forget(server);
        }
        panic!("no port is free");
    }

    /// Serves these records from now on; cached ones stay until their TTL ends.
    pub fn serve(&self, records: &str) {
        write_zone(&self.directory, records);
        assert!(self.control(&["auth_zone_reload", ZONE]), "the zone is not valid");
    }

    /// Answers SERVFAIL for the databases' names from now on: they are delegated to where no server is.
    pub fn fail(&self) {
        self.serve("cluster-abc123 NS nowhere\nabc123 NS nowhere\nnowhere A 127.0.0.1\n");
    }

    fn control(&self, command: &[&str]) -> bool {
        let configuration = self.directory.join("unbound.conf");
        let output = Command::new(&self.control).arg("-c").arg(configuration).args(command).output();
        output.expect("unbound-control runs").status.success()
    }
}

/// A port of loopback that is free for UDP and for TCP.
pub fn free() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        let address = udp.local_addr().expect("a bound socket");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// TTLs as RDS has them.
fn write_zone(directory: &Path, records: &str) {
    let head = "@ SOA ns hostmaster 1 60 60 600 5\n@ NS ns\nns A 127.0.0.1\n";
    let zone = format!("$ORIGIN {ZONE}.\n$TTL 5\n{head}{records}");
    fs::write(directory.join("zone"), zone).expect("a zone file");
}

fn configuration(directory: &Path, address: SocketAddr, options: &str) -> String {
    let directory = directory.display();
    format!(
        "server:\n\
         \x20 interface: {}\n  port: {}\n  do-ip6: no\n  num-threads: 1\n\
         \x20 directory: \"{directory}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n\
         \x20 use-syslog: no\n  logfile: \"\"\n\
         \x20 module-config: \"iterator\"\n\
         \x20 local-zone: \"refused.{ZONE}.\" refuse\n{options}\n\
         remote-control:\n\
         \x20 control-enable: yes\n  control-use-cert: no\n  control-interface: \"{directory}/control\"\n\
         auth-zone:\n\
         \x20 name: \"{ZONE}\"\n  zonefile: \"{directory}/zone\"\n\
         \x20 for-upstream: yes\n  for-downstream: no\n  fallback-enabled: no\n",
        address.ip(),
        address.port()
    )
}
