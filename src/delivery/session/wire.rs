//! The socket under a session: no delay, a count of what it took, and replies read line by line as they were said.
//!
//! Reads only replies, and reads them whole: lettre's reader joins the lines of a refusal and takes a code like 571
//! for no reply at all, which at the dot would make an answered mail uncertain. Its writer copies each body twice.

use std::io::{self, IoSlice};

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::delivery::reply::Reply;

/// The longest line of a reply that is read; RFC 5321 4.5.3.1.5 has 512.
const LONGEST_LINE: usize = 4096;
/// The longest reply.
const LONGEST_REPLY: usize = 100 * 1024;

/// The socket, bare or encrypted.
#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    /// How many bytes the socket has taken.
    written: u64,
    /// What came and was not read as a reply yet.
    unread: Vec<u8>,
}

/// Why no reply could be read.
#[derive(Debug)]
pub(super) enum Misread {
    /// The connection ended or broke before a whole reply was there.
    Lost,
    /// What came is no reply.
    NoReply,
}

impl Wire {
    /// A connection to this place.
    pub(super) async fn connect(place: impl ToSocketAddrs) -> io::Result<Self> {
        let socket = TcpStream::connect(place).await?;
        // Without it the last bytes of a body wait for a delayed acknowledgement.
        socket.set_nodelay(true)?;
        Ok(Self { socket: Socket::Plain(socket), written: 0, unread: Vec::new() })
    }

    /// Whether the other end is on this machine, so that nobody is in between.
    pub(super) fn is_local(&self) -> bool {
        let socket = match &self.socket {
            Socket::Plain(socket) => socket,
            Socket::Tls(stream) => stream.get_ref().0,
        };
        socket.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
    }

    /// Encrypts it from here on. Whatever came in clear and was not read is thrown away: it is not to be taken for
    /// something that was said under encryption.
    pub(super) async fn encrypt(
        self,
        connector: &TlsConnector,
        name: rustls_pki_types::ServerName<'static>,
    ) -> io::Result<Self> {
        match self.socket {
            Socket::Plain(socket) => {
                let stream = connector.connect(name, socket).await?;
                Ok(Self { socket: Socket::Tls(Box::new(stream)), written: self.written, unread: Vec::new() })
            }
            Socket::Tls(_) => Err(io::Error::other("encrypted already")),
        }
    }

    /// Who the other end says it is, its own certificate first; `None` in clear.
    pub(super) fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match &self.socket {
            Socket::Plain(_) => None,
            Socket::Tls(stream) => Some(stream.get_ref().1.peer_certificates().unwrap_or_default()),
        }
    }

    /// How many bytes the socket has taken so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes all of it, in as few writes as the socket takes it in.
    pub(super) async fn write(&mut self, pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
        if matches!(self.socket, Socket::Tls(_)) && pieces.len() > 1 {
            // Each write under encryption would be a record of its own.
            let mut together = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
            pieces.iter().for_each(|piece| together.extend_from_slice(piece));
            self.write_out(&mut [IoSlice::new(&together)]).await
        } else {
            self.write_out(pieces).await
        }
    }

    async fn write_out(&mut self, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Takes what is empty off the front, or nothing would seem to have been written.
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let count = match &mut self.socket {
                Socket::Plain(socket) => socket.write_vectored(pieces).await?,
                Socket::Tls(stream) => stream.write_vectored(pieces).await?,
            };
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += count as u64;
            IoSlice::advance_slices(&mut pieces, count);
        }
        match &mut self.socket {
            Socket::Plain(_) => Ok(()),
            Socket::Tls(stream) => stream.flush().await,
        }
    }

    /// The next reply, with all of its lines (RFC 5321 4.2).
    pub(super) async fn reply(&mut self) -> Result<Reply, Misread> {
        loop {
            if let Some((reply, length)) = read(&self.unread)? {
                self.unread.drain(..length);
                return Ok(reply);
            }
            if self.unread.len() > LONGEST_REPLY {
                return Err(Misread::NoReply);
            }
            let read = match &mut self.socket {
                Socket::Plain(socket) => socket.read_buf(&mut self.unread).await,
                Socket::Tls(stream) => stream.read_buf(&mut self.unread).await,
            };
            match read {
                Ok(0) | Err(_) => return Err(Misread::Lost),
                Ok(_) => {}
            }
        }
    }
}

/// How many bytes these pieces have together.
pub(super) fn length(pieces: &[&[u8]]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

/// The bytes of these pieces from one place to another.
pub(super) fn stretch<'a>(pieces: &[&'a [u8]], from: usize, to: usize) -> Vec<IoSlice<'a>> {
    let mut at = 0;
    let mut stretch = Vec::with_capacity(pieces.len() + 2);
    for piece in pieces {
        let within = |place: usize| place.clamp(at, at + piece.len()) - at;
        let (first, last) = (within(from), within(to));
        if first < last {
            stretch.push(IoSlice::new(&piece[first..last]));
        }
        at += piece.len();
    }
    stretch
}

/// The reply at the beginning of these bytes and its length; `None` while it is not all there.
fn read(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Misread> {
    let mut code = None;
    let mut text = String::new();
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            // What no line of a reply could begin with is junk before its end is here.
            return if rest.len() > LONGEST_LINE || !begins_like_one(rest) {
                Err(Misread::NoReply)
            } else {
                Ok(None)
            };
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        if line.len() > LONGEST_LINE || !begins_like_one(line) || line.len() < 3 {
            return Err(Misread::NoReply);
        }
        let this = line[..3].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        if *code.get_or_insert(this) != this {
            return Err(Misread::NoReply);
        }
        if at > 0 {
            text.push('\n');
        }
        text.push_str(&String::from_utf8_lossy(line.get(4..).unwrap_or_default()));
        at += end + 1;
        if line.get(3) != Some(&b'-') {
            return Ok(Some((Reply::new(this, &text), at)));
        }
    }
}

/// Three digits, the first of them 2 to 5, and a space, a hyphen or nothing; as far as there are bytes.
fn begins_like_one(line: &[u8]) -> bool {
    line.iter().take(4).enumerate().all(|(at, byte)| match at {
        0 => (b'2'..=b'5').contains(byte),
        1 | 2 => byte.is_ascii_digit(),
        _ => matches!(byte, b' ' | b'-' | b'\r'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_a_stretch_of_pieces_is_the_stretch_of_the_whole() {
        let pieces: [&[u8]; 5] = [b"", b"abc", b"", b"d", b"efgh"];
        let whole = pieces.concat();
        assert_eq!(length(&pieces), whole.len());
        for from in 0..=whole.len() {
            for to in from..=whole.len() {
                let written: Vec<u8> =
                    stretch(&pieces, from, to).iter().flat_map(|piece| piece.to_vec()).collect();
                assert_eq!(written, whole[from..to], "{from} to {to}");
            }
        }
    }

    #[test]
    fn p6_a_reply_is_kept_as_it_was_said() {
        let whole = |text: &str| read(text.as_bytes()).unwrap().unwrap();
        let (reply, length) = whole("550-5.7.1 refused\r\n550 see https://x.example\r\n250 next\r\n");
        assert_eq!((reply.code, length), (550, 46));
        assert_eq!(reply.text, "5.7.1 refused\nsee https://x.example");
        assert_eq!(reply.enhanced.as_deref(), Some("5.7.1"));
        assert_eq!(whole("571 5.7.1 Message refused by DMARC policy\r\n").0.code, 571);
        assert_eq!(whole("250\r\n").0.text, "");
        assert_eq!(whole("354 go\n").0.code, 354);
        assert_eq!(whole("450 bo\u{ee}te pleine\r\n").0.text, "bo\u{ee}te pleine");
    }

    #[test]
    fn p6_half_a_reply_is_waited_for_and_junk_is_none() {
        for text in ["", "2", "25", "250", "250 o", "250-first\r\n", "250-first\r\n25", "250-a\r\n250 b\r"] {
            assert!(matches!(read(text.as_bytes()), Ok(None)), "{text:?}");
        }
        for text in ["\r\n", "hello", "99", "2x0 a\r\n", "25\r\n", "250_a\r\n", "250-a\r\n550 b\r\n", "650 a"]
        {
            assert!(matches!(read(text.as_bytes()), Err(Misread::NoReply)), "{text:?}");
        }
        let mut long = b"250 ".to_vec();
        long.resize(LONGEST_LINE + 2, b'a');
        assert!(matches!(read(&long), Err(Misread::NoReply)));
    }

    #[test]
    fn p6_latin_1_in_a_reply_loses_a_letter_and_not_the_reply() {
        let (reply, _) = read(b"250 re\xe7u\r\n").unwrap().unwrap();
        assert_eq!((reply.code, reply.text.as_str()), (250, "re\u{fffd}u"));
    }
}
