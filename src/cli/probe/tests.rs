use tokio::net::TcpListener;

use super::*;

const SHORT: Limits =
    Limits { connect: Duration::from_secs(2), answer: Duration::from_secs(2), again: Duration::from_secs(2) };

const GREETING: &[u8] = b"\x0e\0\0\0\x0a8.0.36\0rest..";

/// A server that sends these bytes first, and then one answer to whatever it reads.
async fn server(greeting: &'static [u8], answer: &'static [u8]) -> u16 {
    serve(move |mut stream| async move {
        let mut asked = [0; 1024];
        stream.write_all(greeting).await.unwrap();
        let _ = stream.read(&mut asked).await;
        let _ = stream.write_all(answer).await;
        let _ = stream.read(&mut asked).await;
    })
    .await
}

async fn serve<F: Future<Output = ()> + Send + 'static>(
    behave: impl Fn(TcpStream) -> F + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    port
}

async fn outcome(port: u16, expected: Protocol) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(20);
    let handshake = shake("127.0.0.1", port, expected, SHORT, deadline).await;
    let [reply] = handshake.replies.unwrap().try_into().unwrap();
    assert_eq!(reply.from, Some([127, 0, 0, 1].into()));
    reply.outcome
}

/// Makes all handshakes at the same time: most of the time of each is a wait for a server that is silent.
async fn expect_all(cases: Vec<(String, u16, Protocol, Outcome)>) {
    let made = cases.into_iter().map(async |(name, port, protocol, expected)| {
        assert_eq!(outcome(port, protocol).await, expected, "{name}, {protocol:?}");
    });
    join_all(made).await;
}

#[tokio::test]
async fn postgres_answers_the_ssl_request() {
    let mut cases = Vec::new();
    for (answer, expected) in [
        (b"S".as_slice(), Outcome::Postgres { offers_tls: true }),
        (b"N", Outcome::Postgres { offers_tls: false }),
        (
            b"Esorry, too many clients already\0",
            Outcome::PostgresError("sorry, too many clients already".into()),
        ),
    ] {
        let port = server(b"", answer).await;
        // To MySQL: the wrong server is recognised.
        for protocol in [Protocol::Postgres, Protocol::Unknown, Protocol::Mysql] {
            cases.push((format!("{answer:?}"), port, protocol, expected.clone()));
        }
    }
    expect_all(cases).await;
}

#[tokio::test]
async fn mysql_speaks_first() {
    let blocked = b"\x23\0\0\0\xff\x69\x04Host '10.0.1.5' is blocked, really";
    for (greeting, expected) in [
        (GREETING, Outcome::Mysql { version: "8.0.36".into() }),
        (blocked, Outcome::MysqlError { code: 1129, message: "Host '10.0.1.5' is blocked, really".into() }),
        (
            b"\x19\0\0\0\xff\x10\x04Too many connections!!",
            Outcome::MysqlError { code: 1040, message: "Too many connections!!".into() },
        ),
    ] {
        let port = server(greeting, b"").await;
        for protocol in [Protocol::Mysql, Protocol::Unknown, Protocol::Postgres] {
            assert_eq!(outcome(port, protocol).await, expected, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn greeting_in_pieces_is_read_to_its_end() {
    let port = serve(|mut stream| async move {
        for piece in [&GREETING[..3], &GREETING[3..8], &GREETING[8..]] {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    })
    .await;
    assert_eq!(outcome(port, Protocol::Mysql).await, Outcome::Mysql { version: "8.0.36".into() });
}

/// A TLS listener answers an alert, closes or waits; in each case it then answers a ClientHello.
#[tokio::test]
async fn tls_listener_is_recognised() {
    let mut cases = Vec::new();
    for alert in [b"\x15\x03\x03\0\x02\x02\x46".as_slice(), b""] {
        for waits in [true, false] {
            let port = serve(move |mut stream| async move {
                let mut asked = [0; 2048];
                let length = stream.read(&mut asked).await.unwrap_or_default();
                if length > 100 && asked.starts_with(&[0x16, 3]) {
                    // The start of a ServerHello.
                    stream.write_all(b"\x16\x03\x03\0\x7a\x02").await.unwrap();
                } else if !alert.is_empty() {
                    stream.write_all(alert).await.unwrap();
                } else if waits {
                    let _ = stream.read(&mut asked).await;
                }
            })
            .await;
            for protocol in [Protocol::Postgres, Protocol::Mysql, Protocol::Unknown] {
                cases.push((format!("{alert:?}, {waits}"), port, protocol, Outcome::Tls));
            }
        }
    }
    expect_all(cases).await;
}

#[tokio::test]
async fn silence_closing_and_refusal_differ() {
    assert_eq!(outcome(server(b"", b"").await, Protocol::Postgres).await, Outcome::Silent);
    let closing = serve(|stream| async move { drop(stream) }).await;
    for protocol in [Protocol::Postgres, Protocol::Mysql, Protocol::Unknown] {
        assert_eq!(outcome(closing, protocol).await, Outcome::Closed, "{protocol:?}");
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        assert_eq!(outcome(port, protocol).await, Outcome::Refused, "{protocol:?}");
    }
    let web = server(b"", b"HTTP/1.1 400 Bad Request\r\n").await;
    assert_eq!(outcome(web, Protocol::Postgres).await, Outcome::Other("HTTP/1.1 400 Bad Request".into()));
    assert_eq!(outcome(web, Protocol::Other).await, Outcome::Connected);
}

/// A full backlog drops the packets of further clients, as a security group does.
#[tokio::test]
async fn dropped_packets_are_a_time_out() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    // A slow machine may bring about one time-out, but hardly two in a row.
    let mut timeouts = 0;
    while timeouts < 2 {
        match timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            Ok(stream) => {
                filling.push(stream.unwrap());
                timeouts = 0;
            }
            Err(_) => timeouts += 1,
        }
    }
    assert_eq!(outcome(address.port(), Protocol::Postgres).await, Outcome::TimedOut);
}

#[tokio::test]
async fn unknown_name_and_deadline_are_reasons() {
    let deadline = Instant::now() + Duration::from_secs(20);
    let unknown = shake("no-such-name.invalid", 5432, Protocol::Postgres, SHORT, deadline).await;
    assert!(unknown.replies.unwrap_err().reason.contains("could not resolve no-such-name.invalid"));
    let port = server(b"", b"").await;
    let soon = Instant::now() + Duration::from_millis(50);
    let late = shake("127.0.0.1", port, Protocol::Postgres, SHORT, soon).await;
    assert_eq!(late.replies.unwrap()[0].outcome, Outcome::Unfinished);
}
