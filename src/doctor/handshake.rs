//! A handshake through the load balancer, as far as it goes without a login.
//!
//! PostgreSQL waits for the client, which may ask for TLS first (`SSLRequest`). MySQL and MariaDB speak first. A TLS
//! listener waits for a `ClientHello`, and understands nothing else.

use std::fmt;
use std::net::IpAddr;

use super::connect_errors::{Protection, protection};
use super::context::CheckContext;
use super::facts::{Database, Fact, Unread};
use super::finding::{Checked, FactOr as _, Finding, FindingKind, Severity};
use super::shell::line;
use crate::error::ErrorKind;
use crate::text::Joined as _;

const CHECK: &str = "handshake";
/// `SSLRequest`: its length, and 1234 and 5679 as 16-bit numbers (PostgreSQL, "Message Formats").
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The version of the MySQL protocol that all servers since 3.21 speak.
const MYSQL_PROTOCOL: u8 = 10;
const MYSQL_ERROR: u8 = 0xff;
/// MySQL packets start with a length of three bytes and a sequence number.
const MYSQL_HEADER: usize = 4;

const RAISE_TIMEOUT: &str = "raise --timeout, then run the doctor again";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    pub host: String,
    pub port: u16,
    /// `Err` where the name did not resolve.
    pub replies: Fact<Vec<Reply>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub address: IpAddr,
    /// The address that this computer uses towards it.
    pub from: Option<IpAddr>,
    pub outcome: Outcome,
}

/// The protocol that the server behind the load balancer should speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Postgres,
    Mysql,
    Unknown,
    /// Oracle's or SQL Server's, which the doctor does not speak.
    Other,
}

impl Protocol {
    pub fn of_database(database: Option<&Database>) -> Self {
        match database {
            Some(database) if database.is_mysql() => Self::Mysql,
            Some(database) if database.begins_in_plain_text() => Self::Postgres,
            Some(database) if !database.engine.is_empty() => Self::Other,
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    TimedOut,
    /// The doctor's own time ran out first.
    Unfinished,
    Refused,
    /// No way to the address, in the system's words.
    Unreachable(String),
    /// Connected, then closed or reset before the first byte.
    Closed,
    /// Connected, and no byte arrived.
    Silent,
    /// Connected; the protocol is not examined.
    Connected,
    Postgres {
        offers_tls: bool,
    },
    PostgresError(String),
    Mysql {
        version: String,
    },
    MysqlError {
        code: u16,
        message: String,
    },
    /// The listener speaks TLS from the first byte.
    Tls,
    /// The first bytes of another protocol, as text.
    Other(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("does not answer (time-out)"),
            Self::Unfinished => f.write_str("was not tried to the end, since the doctor's time ran out"),
            Self::Refused => f.write_str("refuses the connection"),
            Self::Unreachable(reason) => write!(f, "cannot be reached ({reason})"),
            Self::Closed => f.write_str("accepts the connection and closes it"),
            Self::Silent => f.write_str("accepts the connection and says nothing"),
            Self::Connected => f.write_str("accepts the connection"),
            Self::Postgres { offers_tls: true } => f.write_str("PostgreSQL answers and offers TLS"),
            Self::Postgres { offers_tls: false } => f.write_str("PostgreSQL answers, and offers no TLS"),
            Self::PostgresError(message) => write!(f, "PostgreSQL refuses with: {message}"),
            Self::Mysql { version } => write!(f, "MySQL answers, version {version}"),
            Self::MysqlError { code, message } => write!(f, "MySQL refuses with error {code}: {message}"),
            Self::Tls => f.write_str("speaks TLS from the first byte"),
            Self::Other(bytes) => write!(f, "answers in another protocol: {bytes:?}"),
        }
    }
}

/// True if further bytes cannot change the result of [`parse_answer`].
pub fn is_complete(answer: &[u8], expected: Protocol) -> bool {
    match answer {
        [b'S' | b'N'] => true,
        // An error of PostgreSQL: the letter, then a length that counts itself. It looks like a MySQL packet.
        [b'E', a, b, c, d, ..] if expected == Protocol::Postgres && *a == 0 => {
            answer.len() as u64 > u64::from(u32::from_be_bytes([*a, *b, *c, *d]))
        }
        // The start of a MySQL packet, perhaps. A greeting is shorter than 256 bytes.
        [] | [_] | [_, 0] | [_, 0, 0] => false,
        [low, middle, high, 0, ..] => {
            let length = usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16;
            answer.len() >= MYSQL_HEADER + length
        }
        // An error of PostgreSQL ends with a zero.
        [b'E', .., 0] => true,
        [b'E', ..] => false,
        // Neither protocol.
        _ => true,
    }
}

/// What the server's first bytes say. Nothing, where it closed the connection.
pub fn parse_answer(answer: &[u8], expected: Protocol) -> Outcome {
    match answer {
        [] => Outcome::Closed,
        // The length of an error may look like the header of a MySQL packet, and the other way round.
        [b'E', message @ ..] if expected == Protocol::Postgres => {
            Outcome::PostgresError(postgres_message(message))
        }
        // A TLS record: an alert, or a handshake.
        [0x15 | 0x16, 3, ..] => Outcome::Tls,
        [_, _, _, 0, MYSQL_PROTOCOL, version @ ..] => {
            let version = version.split(|byte| *byte == 0).next().unwrap_or_default();
            Outcome::Mysql { version: printable(version) }
        }
        [_, _, _, 0, MYSQL_ERROR, low, high, message @ ..] => {
            // Once the client's version is known, a marker and five characters of SQL state stand first.
            let message = message.strip_prefix(b"#").and_then(|text| text.get(5..)).unwrap_or(message);
            Outcome::MysqlError { code: u16::from_le_bytes([*low, *high]), message: printable(message) }
        }
        [b'S'] => Outcome::Postgres { offers_tls: true },
        [b'N'] => Outcome::Postgres { offers_tls: false },
        [b'E', message @ ..] => Outcome::PostgresError(postgres_message(message)),
        other => Outcome::Other(printable(other)),
    }
}

/// The text of an error before the protocol's version is agreed on, or the message field of one after it.
fn postgres_message(message: &[u8]) -> String {
    let fields = message.get(4..).filter(|_| message.first() == Some(&0)).unwrap_or(message);
    let message = fields.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"M"));
    printable(message.unwrap_or(fields))
}

fn printable(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(120).collect();
    text.trim().to_owned()
}

pub fn handshake_findings(context: CheckContext<'_>, handshake: &Handshake) -> Vec<Finding> {
    let (Ok(finding) | Err(finding)) = check_handshake(context, handshake);
    let read_only = read_only(handshake).filter(|_| finding.level == Severity::Ok);
    [finding].into_iter().chain(read_only).collect()
}

/// The finding where no listener leads to the group, or none could be read.
pub fn handshake_unknown() -> Finding {
    let observed = "a handshake: no load balancer with a name and a listener for the group is known";
    let fix = "fix the findings about the load balancer, or give --through HOST:PORT";
    Finding::not_examined(CHECK, observed, fix)
}

fn check_handshake(context: CheckContext<'_>, handshake: &Handshake) -> Checked<Finding> {
    let at = format!("{}:{}", handshake.host, handshake.port);
    // The doctor's own time says nothing about the name.
    if let Err(Unread { kind: ErrorKind::DeadlineExceeded, reason, .. }) = &handshake.replies {
        return Ok(Finding::not_examined(CHECK, format!("{at}: {reason}"), RAISE_TIMEOUT));
    }
    let replies = handshake.replies.or_warning(CHECK, "what a client of the load balancer sees")?;
    if replies.is_empty() {
        return Ok(Finding::not_examined(CHECK, format!("{at}: the name has no address"), "check the name"));
    }
    let observed = format!("{at}: {}", describe(replies));
    let expected = Protocol::of_database(context.database());
    let bad: Vec<&Reply> = replies.iter().filter(|reply| !is_good(&reply.outcome, expected)).collect();
    if bad.is_empty() {
        return Ok(Finding::ok(CHECK, observed));
    }
    if bad.iter().all(|reply| reply.outcome == Outcome::Unfinished) {
        return Ok(Finding::not_examined(CHECK, observed, RAISE_TIMEOUT));
    }
    let Some(fault) = bad.iter().map(|reply| &reply.outcome).find(|it| is_a_fault(it, expected)) else {
        let observed = format!(
            "{observed}. The database's engine is not known, and Oracle and SQL Server may do so, too"
        );
        let fix = "run the doctor where it may ask the RDS API about the database, see the finding database";
        return Ok(Finding::not_examined(CHECK, observed, fix));
    };
    // A good answer from another address shows that the load balancer is within reach.
    if replies.iter().all(|reply| reply.outcome == Outcome::Unfinished || is_out_of_reach(reply)) {
        let observed = format!(
            "{observed}. The addresses are private, and this computer seems to be outside their network"
        );
        let fix =
            "run the doctor on a host of the load balancer's VPC, or of a network that is connected to it";
        return Ok(Finding::not_examined(CHECK, observed, fix));
    }
    let (impact, fix) = explain(context, fault, expected);
    let kind = match fault {
        Outcome::MysqlError { .. } | Outcome::PostgresError(_) => FindingKind::Observed,
        _ => FindingKind::NoTraffic,
    };
    Ok(Finding::problem(CHECK, observed, impact, fix).of_kind(kind))
}

fn is_good(outcome: &Outcome, expected: Protocol) -> bool {
    match outcome {
        Outcome::Postgres { .. } => matches!(expected, Protocol::Postgres | Protocol::Unknown),
        Outcome::Mysql { .. } => matches!(expected, Protocol::Mysql | Protocol::Unknown),
        Outcome::Connected => true,
        _ => false,
    }
}

/// Whether a bad outcome shows a fault. Oracle and SQL Server do not answer PostgreSQL's first message, and SQL Server
/// may speak TLS from the first byte (TDS 8.0).
fn is_a_fault(outcome: &Outcome, expected: Protocol) -> bool {
    match outcome {
        Outcome::Unfinished => false,
        Outcome::Closed | Outcome::Silent | Outcome::Tls => expected != Protocol::Unknown,
        _ => true,
    }
}

/// Whether nothing can be concluded from the time-out: the address is private, and this computer's own address is not
/// in its network, as far as the addresses show. A VPC has at most 2^16 addresses of one range.
fn is_out_of_reach(reply: &Reply) -> bool {
    let is_timeout = matches!(reply.outcome, Outcome::TimedOut | Outcome::Unreachable(_));
    let is_private = match reply.address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(_) => true,
    };
    let is_same_network = match (reply.address, reply.from) {
        (IpAddr::V4(there), Some(IpAddr::V4(here))) => there.octets().get(..2) == here.octets().get(..2),
        // A VPC has a /56 of IPv6 addresses.
        (IpAddr::V6(there), Some(IpAddr::V6(here))) => there.octets().get(..7) == here.octets().get(..7),
        _ => false,
    };
    is_timeout && is_private && !is_same_network
}

/// The outcomes, each with the addresses that gave it where there are several.
fn describe(replies: &[Reply]) -> String {
    let mut outcomes: Vec<&Outcome> = replies.iter().map(|reply| &reply.outcome).collect();
    outcomes.dedup();
    if let [outcome] = outcomes.as_slice() {
        return outcome.to_string();
    }
    replies.iter().map(|reply| format!("{} {}", reply.address, reply.outcome)).joined("; ")
}

fn explain(context: CheckContext<'_>, outcome: &Outcome, expected: Protocol) -> (String, String) {
    let endpoint = context.binding.endpoint.as_str();
    let (impact, fix) = match outcome {
        Outcome::TimedOut | Outcome::Unfinished | Outcome::Unreachable(_) => (
            "no connection comes through: a security group, a network ACL or a route drops the packets",
            "check the security groups of the load balancer and of the database for this port; to leave the load \
             balancer out, connect to the database's own endpoint from the same host"
                .into(),
        ),
        Outcome::Refused => (
            "the load balancer has no listener on this port, or no target that it can use",
            "check the listener's port and the targets' health".into(),
        ),
        Outcome::Closed => (
            "the load balancer does not reach its target, or the listener expects another protocol",
            "check the targets' health and the listener's protocol".into(),
        ),
        Outcome::Silent => (
            "the load balancer accepts connections that do not reach a database",
            "check the targets' health, the targets' port, and whether the proxy protocol is on".into(),
        ),
        Outcome::Tls => (
            "the clients of this database begin in plain text, so a TLS listener breaks every connection",
            "make the listener and the target group TCP; TLS to the database then goes through unchanged".into(),
        ),
        Outcome::MysqlError { code: 1129, .. } => (
            "the server blocks the load balancer's address after too many connections without a login, so it refuses every \
             client",
            unblock(context),
        ),
        Outcome::MysqlError { code: 1040, .. } => (
            "the server has no connection left for anybody",
            "raise max_connections in the parameter group, or find out who holds the connections (SHOW PROCESSLIST)".into(),
        ),
        Outcome::MysqlError { code: 1130, .. } => (
            "no account of the server may connect from the load balancer's address",
            "create the vendor's user for the load balancer's subnets, or for '%'".into(),
        ),
        Outcome::MysqlError { .. } | Outcome::PostgresError(_) => (
            "the server refuses every client before the login",
            "read the message in the database's error log".into(),
        ),
        Outcome::Mysql { .. } | Outcome::Postgres { .. } | Outcome::Other(_) | Outcome::Connected => {
            let wanted = match expected {
                Protocol::Postgres => "PostgreSQL",
                Protocol::Mysql => "MySQL",
                Protocol::Unknown | Protocol::Other => "a database",
            };
            let fix = format!("check that the group holds {endpoint} and that the listener on this port forwards to it");
            return (format!("clients expect {wanted} here, and another server answers"), fix);
        }
    };
    (impact.to_owned(), fix)
}

/// The fix for a server that blocks the load balancer.
fn unblock(context: CheckContext<'_>) -> String {
    let then = match protection(context) {
        Protection::Unprotected => "; then raise max_connect_errors, see connect_errors",
        Protection::Unknown => "; then raise max_connect_errors if it is low",
        Protection::Protected => "",
    };
    format!(
        "log in to the database at its own endpoint, {}, and run FLUSH HOSTS (from MySQL 8.4 on: TRUNCATE TABLE \
         performance_schema.host_cache), or restart it{then}",
        context.binding.endpoint
    )
}

/// Whether the server takes writes shows only after a login.
fn read_only(handshake: &Handshake) -> Option<Finding> {
    let (ask, query) = match &handshake.replies.as_ref().ok()?.first()?.outcome {
        Outcome::Postgres { .. } => {
            ("psql --host {} --port {} --username USER --command {} postgres", "select pg_is_in_recovery()")
        }
        Outcome::Mysql { .. } => (
            "mysql --host {} --port {} --user USER --password --execute {}",
            "select @@read_only, @@innodb_read_only",
        ),
        _ => return None,
    };
    let ask = line(ask, &[&handshake.host, &handshake.port.to_string(), query]);
    let observed = "whether the server behind it takes writes, which shows only after a login";
    let fix = format!("log in with a user of yours in place of USER: `{ask}`");
    Some(Finding::not_examined("read_only", observed, fix))
}
