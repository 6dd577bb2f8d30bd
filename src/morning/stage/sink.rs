//! A receiver that takes everything and keeps nothing but what its observer notes: fast enough not to be the bound.
//!
//! It offers PIPELINING, answers in the order of the commands, and writes all replies to what came in one piece
//! together. Bodies are found by searching for their end, never byte by byte.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const END: &[u8] = b"\r\n.\r\n";
const LONGEST_COMMAND: usize = 4096;
const LARGEST_BODY: usize = 16 << 20;

/// What came over the wire, as it came: dot-stuffed, with the CRLF before its final dot.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// The return path, without angle brackets.
    pub from: &'a [u8],
    /// The recipient, without angle brackets.
    pub to: &'a [u8],
    /// The message.
    pub bytes: &'a [u8],
}

/// Who is told of every message, and says how long its reply takes.
pub trait Observer: Send + Sync + 'static {
    /// A whole message is here; it counts as taken from now on. Returns how long the reply to its dot is kept back.
    fn taken(&self, taken: Taken<'_>) -> Duration;
}

/// Takes connections until the task that runs it is dropped.
///
/// # Errors
/// When the listener breaks.
pub async fn serve<O: Observer>(listener: TcpListener, observer: Arc<O>) -> io::Result<()> {
    let mut talks = tokio::task::JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        while talks.try_join_next().is_some() {}
        // A sender that was killed in mid-sentence is no fault of the sink.
        let observer = observer.clone();
        talks.spawn(async move { drop(talk(socket, observer.as_ref()).await) });
    }
}

/// Opens a sink on a free port of loopback, in a task of its own that ends with the runtime.
///
/// # Errors
/// When no port can be had.
pub async fn open<O: Observer>(observer: Arc<O>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, observer));
    Ok(address)
}

/// Where a conversation stands.
#[derive(Default)]
struct Talk {
    from: Vec<u8>,
    to: Vec<u8>,
    /// Inside a body; how much of it was searched already.
    body: Option<usize>,
}

async fn talk(mut socket: TcpStream, observer: &impl Observer) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.write_all(b"220 sink.localhost ESMTP\r\n").await?;
    let mut talk = Talk::default();
    let mut input = Vec::with_capacity(256 << 10);
    let mut replies = Vec::with_capacity(512);
    loop {
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let mut from = 0;
        while let Some((used, wait, quit)) = talk.step(&input[from..], observer, &mut replies)? {
            from += used;
            if !wait.is_zero() {
                // What was answered before must not wait for this one.
                let held = replies.split_off(replies.len() - TAKEN.len());
                socket.write_all(&replies).await?;
                tokio::time::sleep(wait).await;
                replies = held;
            }
            if quit {
                return socket.write_all(&replies).await;
            }
        }
        input.drain(..from);
        if !replies.is_empty() {
            socket.write_all(&replies).await?;
            replies.clear();
        }
    }
}

const TAKEN: &[u8] = b"250 2.0.0 taken\r\n";

impl Talk {
    /// One command or one body: how many bytes it used, how long its reply is kept back, whether it was the last.
    fn step(
        &mut self,
        input: &[u8],
        observer: &impl Observer,
        replies: &mut Vec<u8>,
    ) -> io::Result<Option<(usize, Duration, bool)>> {
        if let Some(searched) = self.body {
            return self.end_of_body(input, searched, observer, replies);
        }
        let Some(end) = memchr::memchr(b'\n', input) else {
            return if input.len() > LONGEST_COMMAND {
                Err(io::ErrorKind::InvalidData.into())
            } else {
                Ok(None)
            };
        };
        let line = &input[..end];
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply: &[u8] = match verb.as_slice() {
            b"EHLO" => b"250-sink.localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n",
            b"HELO" | b"NOOP" => b"250 2.0.0 ok\r\n",
            b"MAIL" => {
                self.from = path(line);
                b"250 2.1.0 ok\r\n"
            }
            b"RCPT" => {
                self.to = path(line);
                b"250 2.1.5 ok\r\n"
            }
            b"DATA" if !self.to.is_empty() => {
                self.body = Some(0);
                b"354 go on\r\n"
            }
            b"RSET" => {
                self.from.clear();
                self.to.clear();
                b"250 2.0.0 ok\r\n"
            }
            b"QUIT" => b"221 2.0.0 goodbye\r\n",
            _ => b"503 5.5.1 out of order\r\n",
        };
        replies.extend_from_slice(reply);
        Ok(Some((end + 1, Duration::ZERO, verb == b"QUIT")))
    }

    fn end_of_body(
        &mut self,
        input: &[u8],
        searched: usize,
        observer: &impl Observer,
        replies: &mut Vec<u8>,
    ) -> io::Result<Option<(usize, Duration, bool)>> {
        let Some(found) = memchr::memmem::find(&input[searched..], END) else {
            if input.len() > LARGEST_BODY {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // The end may be cut in two.
            self.body = Some(input.len().saturating_sub(END.len() - 1));
            return Ok(None);
        };
        let end = searched + found;
        let wait = observer.taken(Taken { from: &self.from, to: &self.to, bytes: &input[..end + 2] });
        self.body = None;
        self.to.clear();
        replies.extend_from_slice(TAKEN);
        Ok(Some((end + END.len(), wait, false)))
    }
}

fn path(line: &[u8]) -> Vec<u8> {
    let from = line.iter().position(|byte| *byte == b'<').map_or(line.len(), |at| at + 1);
    let to = line.iter().rposition(|byte| *byte == b'>').unwrap_or(line.len());
    line.get(from..to).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(String, usize)>>);

    impl Observer for Heard {
        fn taken(&self, taken: Taken<'_>) -> Duration {
            let to = String::from_utf8_lossy(taken.to).into_owned();
            self.0.lock().unwrap().push((to, taken.bytes.len()));
            Duration::ZERO
        }
    }

    #[test]
    fn t6_a_body_its_dot_and_the_next_envelope_may_come_in_any_pieces() {
        let all = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nH: 1\r\n\r\n..x\r\n.\r\nMAIL FROM:<a@x>\r\nRCPT TO:<c@y>\r\nDATA\r\n\r\n.\r\n";
        for piece in 1..all.len() {
            let (heard, mut talk, mut input, mut replies) =
                (Heard::default(), Talk::default(), Vec::new(), Vec::new());
            for bytes in all.chunks(piece) {
                input.extend_from_slice(bytes);
                while let Some((used, ..)) = talk.step(&input, &heard, &mut replies).unwrap() {
                    input.drain(..used);
                }
            }
            assert_eq!(*heard.0.lock().unwrap(), [("b@y".to_owned(), 13), ("c@y".to_owned(), 2)], "{piece}");
            let codes: Vec<&str> =
                std::str::from_utf8(&replies).unwrap().lines().map(|line| &line[..3]).collect();
            assert_eq!(codes, ["250", "250", "354", "250", "250", "250", "354", "250"]);
        }
    }
}
