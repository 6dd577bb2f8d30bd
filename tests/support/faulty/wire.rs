//! The server's end of a connection: bare, or with TLS laid over it, and a hand that breaks bytes below both.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(super) struct Wire {
    pub(super) lines: BufReader<Box<dyn Duplex>>,
    broken: Arc<AtomicBool>,
}

impl Wire {
    pub(super) fn over(socket: Box<dyn Duplex>) -> Self {
        let broken = Arc::new(AtomicBool::new(false));
        let hand = Box::new(Hand { socket, broken: broken.clone() });
        Self { lines: BufReader::new(hand), broken }
    }

    /// The bare connection, for TLS to be laid over it.
    pub(super) fn take(&mut self) -> Box<dyn Duplex> {
        let nobody: Box<dyn Duplex> = Box::new(tokio::io::empty());
        std::mem::replace(&mut self.lines, BufReader::new(nobody)).into_inner()
    }

    pub(super) fn lay_over(&mut self, stream: Box<dyn Duplex>) {
        self.lines = BufReader::new(stream);
    }

    /// From now on whatever is said is broken on its way.
    pub(super) fn garble(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    pub(super) async fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.lines.write_all(text.as_bytes()).await?;
        self.lines.flush().await
    }

    pub(super) async fn hang(&mut self) -> std::io::Result<()> {
        let mut sunk = [0; 4096];
        while self.lines.read(&mut sunk).await? > 0 {}
        Ok(())
    }

    pub(super) async fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.lines.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }

    /// Whether something came before it was asked for.
    pub(super) fn early(&self) -> bool {
        !self.lines.buffer().is_empty()
    }
}

/// Lies under everything and, once told, turns over some bits of each byte that is written.
struct Hand {
    socket: Box<dyn Duplex>,
    broken: Arc<AtomicBool>,
}

impl AsyncRead for Hand {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Hand {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.broken.load(Ordering::SeqCst) {
            let turned: Vec<u8> = bytes.iter().map(|byte| byte ^ 0xa5).collect();
            return Pin::new(&mut self.socket).poll_write(cx, &turned);
        }
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
