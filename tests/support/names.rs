//! A name server of a test's own: what it is told, and that nothing else exists.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, MX, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;

/// Starts one; each entry is a name and what it has, such as `("example.org", "MX 10 mx.example.org")` or
/// `("mx.example.org", "A 127.0.0.1")`; `TXT` and `PTR` too. Of a name with `SERVFAIL` nothing is found out.
pub async fn start(entries: &[(&str, &str)]) -> SocketAddr {
    let mut known: HashMap<String, Vec<RData>> = HashMap::new();
    let mut lost = HashSet::new();
    for (name, value) in entries {
        if *value == "SERVFAIL" {
            lost.insert((*name).to_owned());
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
            match known.get(&name) {
                _ if lost.contains(&name) => answer.metadata.response_code = ResponseCode::ServFail,
                None => answer.metadata.response_code = ResponseCode::NXDomain,
                Some(all) => {
                    let fitting = all.iter().filter(|data| data.record_type() == query.query_type());
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
