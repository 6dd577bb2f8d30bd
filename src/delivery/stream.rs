//! The socket under a session: no delay, a count of what was written, and replies that are always text.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// How many bytes the socket has taken; shared with the session above.
#[derive(Clone, Debug, Default)]
pub(super) struct Written(Arc<AtomicU64>);

impl Written {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::AcqRel);
    }
}

/// The socket, bare or with TLS from the first byte.
#[derive(Debug)]
pub(super) enum Stream {
    /// Bare; STARTTLS may be laid over it.
    Plain {
        socket: TcpStream,
        written: Written,
        /// Whether bytes beyond ASCII in replies become `?`: servers speak Latin-1 at times, and a reply that cannot
        /// be read would make an accepted mail uncertain. Not with TLS laid over it, whose bytes are no text.
        text: bool,
    },
    /// TLS from the first byte.
    Tls(Box<TlsStream<TcpStream>>, Written),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let text = match self.get_mut() {
            Self::Plain { socket, text, .. } => {
                ready!(Pin::new(socket).poll_read(cx, buf))?;
                *text
            }
            Self::Tls(stream, _) => {
                ready!(Pin::new(stream.as_mut()).poll_read(cx, buf))?;
                true
            }
        };
        if text {
            for byte in &mut buf.filled_mut()[before..] {
                if !byte.is_ascii() {
                    *byte = b'?';
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (count, written) = match self.get_mut() {
            Self::Plain { socket, written, .. } => (ready!(Pin::new(socket).poll_write(cx, buf))?, written),
            Self::Tls(stream, written) => (ready!(Pin::new(stream.as_mut()).poll_write(cx, buf))?, written),
        };
        written.add(count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { socket, .. } => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream, _) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { socket, .. } => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream, _) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

impl AsyncTokioStream for Stream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain { socket, .. } => socket.peer_addr(),
            Self::Tls(stream, _) => stream.get_ref().0.peer_addr(),
        }
    }
}
