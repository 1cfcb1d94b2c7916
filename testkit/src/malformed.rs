//! Answers that no service and no name server gives, by number.

use std::net::Ipv4Addr;

use hickory_resolver::proto::op::Message;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;

/// How many pieces of 64 KiB an answer has that goes on for very long.
pub const CHUNKS: u32 = 2048;
/// The address in DNS answers that nothing may follow.
const PLANTED: [u8; 4] = [10, 0, 66, 66];

/// A malformed answer of an API.
pub enum Malformed {
    Whole(Response<Full<Bytes>>),
    /// An answer of many megabytes.
    GoesOn,
}

impl Malformed {
    /// Whether the call takes effect before its malformed answer.
    pub fn takes_effect(number: u8) -> bool {
        number >= 128
    }
}

pub fn of_api(number: u8) -> Malformed {
    let namespace = "xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"";
    let listed = |inner: &str| {
        format!(
            "<DescribeTargetHealthResponse {namespace}><DescribeTargetHealthResult><TargetHealthDescriptions>{inner}\
             </TargetHealthDescriptions></DescribeTargetHealthResult></DescribeTargetHealthResponse>"
        )
    };
    let (status, body): (u16, Vec<u8>) = match number % 14 {
        0 => (200, Vec::new()),
        1 => (200, b"<DescribeAlarmsResponse><A/></DescribeAlarmsResponse>".to_vec()),
        2 => (200, "<a>".repeat(50_000).into_bytes()),
        3 => (200, listed(&" ".repeat(6 << 20)).into_bytes()),
        4 => return Malformed::GoesOn,
        5 => (200, vec![0xff; 300]),
        6 => (200, b"<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>".to_vec()),
        7 => (302, Vec::new()),
        8 => (204, Vec::new()),
        9 => {
            let entities =
                "<!DOCTYPE a [<!ENTITY b \"bbbbbbbbbb\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]>";
            (200, format!("{entities}<a>&c;</a>").into_bytes())
        }
        10 => {
            (200, listed("<member><Target><Id>i-0123456789</Id><Port>99999</Port></Target></member>").into())
        }
        11 => (200, listed("<member></member><member><Target/></member>").into()),
        12 => (500, vec![b'x'; 1 << 20]),
        _ => (599, b"<html>a proxy's page</html>".to_vec()),
    };
    let reply = Response::builder().status(status).body(Full::from(body));
    Malformed::Whole(reply.expect("a valid response"))
}

/// A malformed answer to this query.
pub fn of_dns(number: u8, query: &Message) -> Vec<u8> {
    let whole = query.to_vec().expect("an encodable query");
    let question = whole.get(12..).unwrap_or_default();
    let header = |id: u16, flags: u16, answers: u16| -> Vec<u8> {
        [id, flags, 1, answers, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect()
    };
    const ANSWER: u16 = 0x8180;
    /// The owner is the question's name.
    const OWNER: [u8; 2] = [0xc0, 12];
    let address = |owner: &[u8], class: u8, octets: [u8; 4]| {
        [owner, &[0, 1, 0, class, 0, 0, 0, 5, 0, 4], &octets].concat()
    };
    let alias = |owner: &[u8], target: &[u8]| {
        let length = u8::try_from(target.len()).expect("a short name");
        [owner, &[0, 5, 0, 1, 0, 0, 0, 5, 0, length], target].concat()
    };
    let of =
        |count: u16, records: Vec<u8>| [header(query.id, ANSWER, count), question.to_vec(), records].concat();
    match number % 14 {
        0 => query.id.to_be_bytes().to_vec(),
        1 => [query.id, ANSWER, 0xffff, 0xffff, 0xffff, 0xffff]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect(),
        // The query itself.
        2 => whole,
        // Another query's answer.
        3 => [header(query.id ^ 1, ANSWER, 1), question.to_vec(), address(&OWNER, 1, PLANTED)].concat(),
        // The answer to another question.
        4 => {
            let other = b"\x05other\x04test\x00\x00\x01\x00\x01".to_vec();
            [header(query.id, ANSWER, 1), other, address(&OWNER, 1, PLANTED)].concat()
        }
        // Another name's address.
        5 => of(1, address(b"\x05other\x04test\x00", 1, PLANTED)),
        // Aliases without an end.
        6 => of(1, alias(&OWNER, &OWNER)),
        // A name that refers to itself.
        7 => {
            let here = u16::try_from(12 + question.len()).expect("a short query") | 0xc000;
            of(1, address(&here.to_be_bytes(), 1, PLANTED))
        }
        // More aliases than are followed.
        8 => {
            let name = |index: u8| vec![1, b'a' + index, 0];
            let chain = (0..19).flat_map(|index| alias(&name(index), &name(index + 1)));
            let records = [alias(&OWNER, &name(0)), chain.collect(), address(&name(19), 1, PLANTED)].concat();
            of(21, records)
        }
        // Of class CH.
        9 => of(1, address(&OWNER, 3, PLANTED)),
        // An address of six bytes.
        10 => of(1, [&OWNER[..], &[0, 1, 0, 1, 0, 0, 0, 5, 0, 6, 10, 0, 66, 66, 1, 1]].concat()),
        // Fewer records than announced.
        11 => of(9, address(&OWNER, 1, PLANTED)),
        // Addresses that no target group can hold.
        12 => {
            let number = usize::from(number / 14);
            let impossible: [[u8; 4]; 5] =
                [[0, 0, 0, 0], [224, 0, 0, 1], [192, 0, 2, 1], [255, 255, 255, 255], [8, 8, 8, 8]];
            of(1, address(&OWNER, 1, impossible[number % impossible.len()]))
        }
        _ => [query.id.to_be_bytes().to_vec(), Ipv4Addr::from(PLANTED).octets().repeat(100)].concat(),
    }
}
