//! A scripted SMTP server: what the recipient's name asks for, it does, and it keeps its own record.
//!
//! The name before the `@` is a plan: `ok-…` takes the mail, `reject-…` refuses RCPT with 550 5.1.1, `defer-N-…` says
//! 451 to the first N RCPTs, `dotdefer-N-…` and `dotreject-…` answer the dot, `taken-N-…` takes the mail the first N
//! times and closes before it says so, `lost-N-…` closes after the dot without having taken it, `cut-N-…` closes in
//! the middle of the body, `busy-N-…` says 421 to RCPT, `junk-N-…` answers the dot with no SMTP, `multi-…` answers in
//! several lines.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One message that the server took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub from: String,
    pub to: String,
    pub message_id: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Record {
    pub taken: Vec<Taken>,
    pub connections: usize,
    /// How often each plan was met, by recipient.
    tries: HashMap<String, u32>,
}

#[derive(Clone, Debug)]
pub struct Scripted {
    pub address: SocketAddr,
    pub record: Arc<Mutex<Record>>,
}

impl Scripted {
    pub async fn start(pipelining: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), record: Arc::default() };
        let record = server.record.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                record.lock().unwrap().connections += 1;
                let record = record.clone();
                tokio::spawn(async move { drop(talk(socket, record, pipelining).await) });
            }
        });
        server
    }

    /// How many messages each recipient has.
    pub fn by_recipient(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for taken in &self.record.lock().unwrap().taken {
            *counts.entry(taken.to.clone()).or_default() += 1;
        }
        counts
    }
}

/// The plan in a recipient's name, and how often it is to be followed.
fn plan(to: &str) -> (&str, u32) {
    let name = to.split('@').next().unwrap_or_default();
    let mut parts = name.split('-');
    let word = parts.next().unwrap_or_default();
    (word, parts.next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX))
}

async fn talk(socket: TcpStream, record: Arc<Mutex<Record>>, pipelining: bool) -> std::io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    writer.write_all(b"220 scripted ESMTP\r\n").await?;
    let (mut from, mut to) = (String::new(), None::<String>);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let argument =
            || line.split('<').nth(1).and_then(|rest| rest.split('>').next()).unwrap_or_default().to_owned();
        let answer = match verb.as_str() {
            "EHLO" if pipelining => {
                "250-scripted\r\n250-PIPELINING\r\n250-SIZE 10000000\r\n250 ENHANCEDSTATUSCODES\r\n"
                    .to_owned()
            }
            "EHLO" => "250-scripted\r\n250 SIZE 10000000\r\n".to_owned(),
            "MAIL" if !from.is_empty() => "503 5.5.1 nested MAIL\r\n".to_owned(),
            "MAIL" => {
                from = argument();
                "250 2.1.0 ok\r\n".to_owned()
            }
            "RCPT" => {
                let address = argument();
                let tries = {
                    let mut record = record.lock().unwrap();
                    let tries = record.tries.entry(address.clone()).or_default();
                    *tries += 1;
                    *tries
                };
                match plan(&address) {
                    ("reject", _) => "550 5.1.1 no such user\r\n".to_owned(),
                    ("policy", _) => "550 5.7.1 policy\r\n".to_owned(),
                    ("defer", times) if tries <= times => "451 4.7.1 greylisted, come back\r\n".to_owned(),
                    ("multi", times) if tries <= times => {
                        "450-4.2.0 one\r\n450-4.2.0 two\r\n450 4.2.0 three\r\n".to_owned()
                    }
                    ("busy", times) if tries <= times => {
                        writer.write_all(b"421 4.3.2 closing\r\n").await?;
                        return Ok(());
                    }
                    _ => {
                        to = Some(address);
                        "250 2.1.5 ok\r\n".to_owned()
                    }
                }
            }
            "DATA" if to.is_none() => "554 5.5.1 no valid recipients\r\n".to_owned(),
            "DATA" => {
                writer.write_all(b"354 go\r\n").await?;
                let address = to.take().unwrap_or_default();
                let tries = record.lock().unwrap().tries.get(&address).copied().unwrap_or(0);
                let (word, times) = plan(&address);
                if word == "cut" && tries <= times {
                    let mut some = [0; 64];
                    reader.read_exact(&mut some).await?;
                    return Ok(());
                }
                let bytes = body(&mut reader).await?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let message_id = text
                    .lines()
                    .find_map(|line| line.strip_prefix("Message-ID: "))
                    .unwrap_or_default()
                    .to_owned();
                let taken = Taken { from: std::mem::take(&mut from), to: address.clone(), message_id, bytes };
                match word {
                    "dotdefer" if tries <= times => "451 4.3.0 later\r\n".to_owned(),
                    "dotreject" => "554 5.7.1 policy says no\r\n".to_owned(),
                    "lost" if tries <= times => return Ok(()),
                    "taken" if tries <= times => {
                        record.lock().unwrap().taken.push(taken);
                        return Ok(());
                    }
                    "junk" if tries <= times => {
                        writer.write_all(b"hello there\r\n").await?;
                        return Ok(());
                    }
                    _ => {
                        record.lock().unwrap().taken.push(taken);
                        "250 2.0.0 queued\r\n".to_owned()
                    }
                }
            }
            "RSET" => {
                from.clear();
                to = None;
                "250 2.0.0 ok\r\n".to_owned()
            }
            "QUIT" => {
                writer.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "500 5.5.2 what\r\n".to_owned(),
        };
        writer.write_all(answer.as_bytes()).await?;
    }
}

async fn body(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(bytes);
        }
        bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
