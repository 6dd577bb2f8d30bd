//! Questions to a resolver, one at a time: what it found, whether it vouches for it, and how long it holds.
//!
//! A stub of our own, because two things matter here that resolvers' libraries hide: whether a name does not exist or
//! only has no such record, and whether the resolver has validated the answer (the AD bit), also when the answer is
//! that there is nothing. Only a resolver on this machine is believed about the latter: on the way from another one
//! anybody could set that bit. And where one on this machine is among those of the system, it alone is asked.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::clock::Random;

/// How long one question to one server may take, and how often each is asked.
const PATIENCE: Duration = Duration::from_secs(4);
const ROUNDS: usize = 2;
/// How long a resolver that has a way out may take for what every one of them can find out.
const ALIVE: Duration = Duration::from_secs(3);
/// What fits into a datagram on any path (RFC 9715).
const PAYLOAD: u16 = 1232;
/// How long an answer is kept, whatever it says itself.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);

/// What a resolver found.
#[derive(Clone, Debug)]
pub(in crate::delivery) enum Found {
    /// These, of the asked type.
    Records(Vec<RData>),
    /// The name exists, and has none.
    Nothing,
    /// The name does not exist.
    NoSuchName,
}

/// An answer.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Answer {
    pub(in crate::delivery) found: Found,
    /// Whether a resolver that we believe has validated it.
    pub(in crate::delivery) secure: bool,
    pub(in crate::delivery) holds: Duration,
    /// The name that this is about, where the asked one is an alias of it.
    pub(in crate::delivery) alias_of: Option<String>,
}

impl Answer {
    /// The addresses in it, where there are any.
    fn addresses(self) -> Option<Addresses> {
        let Found::Records(records) = self.found else { return None };
        let ips = records.iter().filter_map(|record| match record {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        });
        Some(Addresses { ips: ips.collect(), secure: self.secure, alias_of: self.alias_of })
    }
}

/// A host's addresses of one kind.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Addresses {
    pub(in crate::delivery) ips: Vec<IpAddr>,
    /// Whether a resolver that we believe has validated them, and every alias on the way to them.
    pub(in crate::delivery) secure: bool,
    /// The name that they stand at, where the host's is an alias of it.
    pub(in crate::delivery) alias_of: Option<String>,
}

/// Nobody could say; asking later may help.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{name} {kind}: {why}")]
pub(in crate::delivery) struct Unanswered {
    name: String,
    kind: RecordType,
    why: String,
    /// Whether a resolver said so, in place of saying nothing.
    pub(in crate::delivery) heard: bool,
}

/// The resolvers that are asked.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Dns {
    servers: Vec<SocketAddr>,
    random: Random,
}

impl Dns {
    /// This one, or those of the system.
    ///
    /// # Errors
    /// The system names none that can be read.
    pub(in crate::delivery) fn new(resolver: Option<SocketAddr>, random: Random) -> Result<Self, String> {
        let servers = match resolver {
            Some(address) => vec![address],
            None => hickory_resolver::system_conf::read_system_conf()
                .map_err(|error| format!("/etc/resolv.conf: {error}"))?
                .0
                .name_servers()
                .iter()
                .map(|server| SocketAddr::new(server.ip, 53))
                .collect(),
        };
        let servers = asked(servers);
        if servers.is_empty() {
            return Err("/etc/resolv.conf names no server".to_owned());
        }
        Ok(Self { servers, random })
    }

    /// What there is of this type at this name, an alias followed.
    pub(in crate::delivery) async fn ask(&self, name: &str, kind: RecordType) -> Result<Answer, Unanswered> {
        let told = |why: String, heard| Unanswered { name: name.to_owned(), kind, why, heard };
        let asked = Name::from_ascii(format!("{}.", name.trim_end_matches('.')))
            .map_err(|error| told(error.to_string(), true))?;
        let (mut why, mut heard) = (String::new(), false);
        for _ in 0..ROUNDS {
            for server in &self.servers {
                match timeout(PATIENCE, self.ask_one(*server, &asked, kind)).await {
                    Ok(Ok(message)) => match read(&message, kind, server.ip().is_loopback()) {
                        Ok(answer) => return Ok(answer),
                        Err(code) => (why, heard) = (format!("the resolver says {code}"), true),
                    },
                    Ok(Err(error)) => why = error.to_string(),
                    Err(_) => "no answer in time".clone_into(&mut why),
                }
            }
        }
        Err(told(why, heard))
    }

    /// Whether no resolver finds anything out, whatever it is asked: then nothing is known of anybody. One that says so
    /// itself (SERVFAIL, REFUSED) lives, and has no way out.
    pub(in crate::delivery) async fn is_silent(&self) -> bool {
        // A name that was never asked for: whatever is kept would be answered without a way out too.
        let Ok(unheard_of) = Name::from_ascii(format!("{}.com.", self.unheard_of())) else { return false };
        for server in &self.servers {
            let asked = timeout(ALIVE, self.ask_one(*server, &unheard_of, RecordType::NS)).await;
            if let Ok(Ok(answer)) = asked
                && matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
            {
                return false;
            }
        }
        true
    }

    /// A label that nobody has.
    pub(in crate::delivery) fn unheard_of(&self) -> String {
        self.random.bytes::<20>().iter().map(|byte| char::from(b'a' + byte % 26)).collect()
    }

    /// The addresses of a host, those that mail reaches most surely first. Each kind is vouched for by itself: who keeps
    /// the answer about one from us makes the other no less sure (RFC 7672 2.1.2).
    pub(in crate::delivery) async fn addresses(&self, host: &str) -> Result<Vec<Addresses>, Unanswered> {
        let (four, six) = tokio::join!(self.ask(host, RecordType::A), self.ask(host, RecordType::AAAA));
        let mut addresses = Vec::new();
        let mut failed = None;
        for answer in [four, six] {
            match answer {
                Ok(answer) => addresses.extend(answer.addresses()),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if addresses.is_empty() => Err(error),
            _ => Ok(addresses),
        }
    }

    async fn ask_one(&self, server: SocketAddr, name: &Name, kind: RecordType) -> std::io::Result<Message> {
        let mut message = Message::query();
        let id = u16::from_be_bytes(self.random.bytes());
        message.metadata.id = id;
        message.metadata.recursion_desired = true;
        // Asks for the same bit in the answer (RFC 6840 5.7).
        message.metadata.authentic_data = true;
        message.add_query(Query::query(name.clone(), kind));
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
        let bytes = message.to_vec().map_err(std::io::Error::other)?;
        let fits = |answer: &Message| {
            answer.metadata.id == id
                && answer
                    .queries
                    .first()
                    .is_some_and(|query| query.name() == name && query.query_type() == kind)
        };
        // A fresh socket each time: its port is as hard to guess as the id.
        let any: SocketAddr =
            if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.send(&bytes).await?;
        let mut buffer = vec![0; 4096];
        loop {
            let length = socket.recv(&mut buffer).await?;
            // What is no answer to this question is somebody else's, or a forger's: the wait goes on.
            match Message::from_vec(&buffer[..length]) {
                Ok(answer) if fits(&answer) && answer.metadata.truncation => break,
                Ok(answer) if fits(&answer) => return Ok(answer),
                _ => {}
            }
        }
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        let answer = Message::from_vec(&buffer).map_err(std::io::Error::other)?;
        if fits(&answer) { Ok(answer) } else { Err(std::io::Error::other("an answer to another question")) }
    }
}

/// Those of the servers that are asked: all, or where one of them is on this machine, the first such alone. What it does
/// not say in time, or refuses because it is forged, nobody says in its place: from others all is taken as it comes, and
/// who can forge their answers could switch off what DNSSEC guards.
fn asked(servers: Vec<SocketAddr>) -> Vec<SocketAddr> {
    match servers.iter().find(|server| server.ip().is_loopback()) {
        Some(own) => vec![*own],
        None => servers,
    }
}

fn read(message: &Message, kind: RecordType, believed: bool) -> Result<Answer, ResponseCode> {
    let secure = believed && message.metadata.authentic_data;
    let records: Vec<_> = message.answers.iter().filter(|record| record.record_type() == kind).collect();
    let found = match message.metadata.response_code {
        ResponseCode::NoError if records.is_empty() => Found::Nothing,
        ResponseCode::NoError => Found::Records(records.iter().map(|record| record.data.clone()).collect()),
        ResponseCode::NXDomain => Found::NoSuchName,
        code => return Err(code),
    };
    let seconds = match &found {
        Found::Records(_) => message.answers.iter().map(|record| record.ttl).min(),
        _ => message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        }),
    };
    let holds = Duration::from_secs(u64::from(seconds.unwrap_or(60))).clamp(SHORTEST, LONGEST);
    Ok(Answer { found, secure, holds, alias_of: alias_of(message) })
}

/// Where the aliases in an answer lead.
fn alias_of(message: &Message) -> Option<String> {
    let asked = message.queries.first()?.name();
    let mut at = asked;
    // Each is followed once: they may lead in a circle.
    for _ in &message.answers {
        let next = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(to) if record.name == *at => Some(&to.0),
            _ => None,
        });
        at = next.unwrap_or(at);
    }
    (at != asked).then(|| at.to_ascii().trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::op::OpCode;
    use hickory_resolver::proto::rr::Record;
    use hickory_resolver::proto::rr::rdata::{CNAME, MX};

    fn answer(code: ResponseCode, authentic: bool, records: Vec<Record>) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.authentic_data = authentic;
        message.add_answers(records);
        message
    }

    #[test]
    fn t8_where_a_resolver_of_this_machine_is_asked_nobody_answers_in_its_place() {
        let asked = |list: &[&str]| -> Vec<String> {
            let servers = list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 53)).collect();
            asked(servers).iter().map(|server| server.ip().to_string()).collect()
        };
        assert_eq!(asked(&["127.0.0.1", "1.1.1.1"]), ["127.0.0.1"]);
        assert_eq!(asked(&["1.1.1.1", "::1", "127.0.0.1"]), ["::1"]);
        assert_eq!(asked(&["1.1.1.1", "9.9.9.9"]), ["1.1.1.1", "9.9.9.9"], "one may be away");
    }

    #[test]
    fn an_answer_tells_no_such_name_from_no_such_record_and_whom_it_believes() {
        let name = Name::from_ascii("example.org.").unwrap();
        let mx = RData::MX(MX::new(10, Name::from_ascii("mx.example.org.").unwrap()));
        let alias = RData::CNAME(CNAME(name.clone()));
        let records = vec![Record::from_rdata(name.clone(), 600, alias), Record::from_rdata(name, 300, mx)];
        let good = answer(ResponseCode::NoError, true, records);
        let read_good = read(&good, RecordType::MX, true).unwrap();
        assert!(matches!(&read_good.found, Found::Records(records) if records.len() == 1));
        assert!(read_good.secure);
        assert_eq!(read_good.holds, Duration::from_secs(300));
        assert!(
            !read(&good, RecordType::MX, false).unwrap().secure,
            "t8: an AD bit from afar is nobody's word"
        );
        let nothing = read(&good, RecordType::TLSA, true).unwrap();
        assert!(matches!(nothing.found, Found::Nothing));
        let none = read(&answer(ResponseCode::NXDomain, false, Vec::new()), RecordType::MX, true).unwrap();
        assert!(matches!(none.found, Found::NoSuchName));
        assert!(read(&answer(ResponseCode::ServFail, false, Vec::new()), RecordType::MX, true).is_err());
    }

    #[test]
    fn rfc7672_an_alias_is_followed_to_its_end_and_a_circle_has_none() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let leads = |asked: &str, aliases: &[(&str, &str)]| {
            let to =
                |(from, to): &(&str, &str)| Record::from_rdata(name(from), 60, RData::CNAME(CNAME(name(to))));
            let mut message = answer(ResponseCode::NoError, true, aliases.iter().map(to).collect());
            message.add_query(Query::query(name(asked), RecordType::A));
            read(&message, RecordType::A, true).unwrap().alias_of
        };
        // In whatever order they come.
        let chain = [("b.example.", "C.example."), ("a.example.", "b.example.")];
        assert_eq!(leads("A.example.", &chain), Some("c.example".to_owned()));
        assert_eq!(leads("c.example.", &chain), None);
        assert_eq!(leads("a.example.", &[("a.example.", "b.example."), ("b.example.", "a.example.")]), None);
    }
}
