//! A resolver for tests, which validates: what it is told, and that nothing else exists.

use std::collections::HashMap;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, TLSA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::dns::Dns;
use crate::clock::Random;

/// What stands at a name.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// Each with whether its zone is signed.
    records: Vec<(RData, bool)>,
    /// What it cannot be asked for.
    fails: Vec<RecordType>,
}

/// Starts one; each entry is a name and what it has: `"A 192.0.2.1"`, `"AAAA 2001:db8::1"`, `"CNAME mx.example"`,
/// `"TLSA 3 1 1 00"`, with `unsigned` before it where its zone is; or `"fails AAAA"`.
pub(super) async fn resolver(entries: &[(&str, &str)]) -> Dns {
    let mut known: HashMap<String, Entry> = HashMap::new();
    for (name, value) in entries {
        let entry = known.entry((*name).to_owned()).or_default();
        if let Some(kind) = value.strip_prefix("fails ") {
            entry.fails.push(kind.parse().unwrap());
            continue;
        }
        let unsigned = value.strip_prefix("unsigned ");
        entry.records.push((data(unsigned.unwrap_or(value)), unsigned.is_none()));
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            socket.send_to(&answer(&known, &asked).to_vec().unwrap(), from).await.unwrap();
        }
    });
    Dns::new(Some(address), Random::seeded(1)).unwrap()
}

fn data(text: &str) -> RData {
    let (kind, rest) = text.split_once(' ').unwrap();
    match kind {
        "A" => RData::A(A(rest.parse().unwrap())),
        "AAAA" => RData::AAAA(AAAA(rest.parse().unwrap())),
        "CNAME" => RData::CNAME(CNAME(Name::from_ascii(format!("{rest}.")).unwrap())),
        "TLSA" => {
            let words: Vec<&str> = rest.split(' ').collect();
            let number = |at: usize| words[at].parse::<u8>().unwrap();
            let bytes = data_encoding::HEXLOWER.decode(words[3].as_bytes()).unwrap();
            let (usage, selector) = (CertUsage::from(number(0)), Selector::from(number(1)));
            RData::TLSA(TLSA::new(usage, selector, Matching::from(number(2)), bytes))
        }
        other => panic!("{other} is no kind of record here"),
    }
}

fn answer(known: &HashMap<String, Entry>, asked: &Message) -> Message {
    let query = asked.queries[0].clone();
    let kind = query.query_type();
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    answer.add_query(query.clone());
    answer.metadata.authentic_data = true;
    let mut at = query.name().clone();
    loop {
        let Some(entry) = known.get(at.to_ascii().trim_end_matches('.')) else {
            answer.metadata.response_code = ResponseCode::NXDomain;
            return answer;
        };
        if entry.fails.contains(&kind) {
            answer.metadata.response_code = ResponseCode::ServFail;
            return answer;
        }
        let mut alias = None;
        for (data, signed) in &entry.records {
            if let RData::CNAME(to) = data {
                alias = Some(to.0.clone());
            } else if data.record_type() != kind {
                continue;
            }
            answer.add_answer(Record::from_rdata(at.clone(), 300, data.clone()));
            answer.metadata.authentic_data &= signed;
        }
        match alias {
            Some(to) if kind != RecordType::CNAME => at = to,
            _ => return answer,
        }
    }
}
