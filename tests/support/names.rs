//! A name server of a test's own: what it is told, and that nothing else exists.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

/// Starts one; each entry is a name and what it has, such as `("example.org", "MX 10 mx.example.org")` or
/// `("mx.example.org", "A 127.0.0.1")`; `TXT`, `PTR` and `CNAME` too, and wildcards such as `*.example.org`. Of a
/// name with `SERVFAIL` nothing is found out, with `SERVFAIL AAAA` no address of that kind.
pub async fn start(entries: &[(&str, &str)]) -> SocketAddr {
    let mut known: HashMap<String, Vec<RData>> = HashMap::new();
    let (mut lost, mut half) = (HashSet::new(), HashSet::new());
    for (name, value) in entries {
        if *value == "SERVFAIL" {
            lost.insert((*name).to_owned());
            continue;
        }
        if *value == "SERVFAIL AAAA" {
            half.insert((*name).to_owned());
            continue;
        }
        let mut words = value.split(' ');
        let data = match words.next() {
            Some("MX") => {
                let preference = words.next().unwrap().parse().unwrap();
                let host = format!("{}.", words.next().unwrap().trim_end_matches('.'));
                RData::MX(MX::new(preference, Name::from_ascii(host).unwrap()))
            }
            Some("A") => RData::A(A(words.next().unwrap().parse::<Ipv4Addr>().unwrap())),
            Some("TXT") => {
                let text = &value["TXT ".len()..];
                let strings =
                    text.as_bytes().chunks(255).map(|part| String::from_utf8(part.to_vec()).unwrap());
                RData::TXT(TXT::new(strings.collect()))
            }
            Some("PTR") => RData::PTR(PTR(Name::from_ascii(format!("{}.", words.next().unwrap())).unwrap())),
            Some("CNAME") => {
                RData::CNAME(CNAME(Name::from_ascii(format!("{}.", words.next().unwrap())).unwrap()))
            }
            other => panic!("{other:?} is no kind of record here"),
        };
        known.entry((*name).to_owned()).or_default().push(data);
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let query = asked.queries[0].clone();
            let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
            let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
            answer.add_query(query.clone());
            let is_lost =
                lost.contains(&name) || half.contains(&name) && query.query_type() == RecordType::AAAA;
            match find(&known, &name) {
                _ if is_lost => answer.metadata.response_code = ResponseCode::ServFail,
                None => answer.metadata.response_code = ResponseCode::NXDomain,
                Some(all) => {
                    let fits =
                        |data: &RData| [query.query_type(), RecordType::CNAME].contains(&data.record_type());
                    let fitting = all.iter().filter(|data| fits(data));
                    let records =
                        fitting.map(|data| Record::from_rdata(query.name().clone(), 300, data.clone()));
                    answer.add_answers(records.collect::<Vec<_>>());
                }
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

/// What stands at a name, or at the wildcard that stands in for it (RFC 4592 3.3.1).
fn find<'a>(known: &'a HashMap<String, Vec<RData>>, name: &str) -> Option<&'a Vec<RData>> {
    let exists = |name: &str| known.keys().any(|key| key == name || key.ends_with(&format!(".{name}")));
    if exists(name) {
        return known.get(name);
    }
    let mut above = name;
    while let Some((_, rest)) = above.split_once('.') {
        above = rest;
        if exists(above) {
            return known.get(&format!("*.{above}"));
        }
    }
    None
}
