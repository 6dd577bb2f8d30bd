//! The built-in inbox: a small SMTP receiver on loopback, a Maildir, and a page to read it on.
//!
//! For `demo` and `rehearse` alone: nothing that goes in here reaches a reader. It speaks SMTP as servers do
//! (PIPELINING, SIZE, enhanced codes), so that the sender's whole work is seen.

mod maildir;
mod pages;
mod smtp;

use std::io;
use std::path::Path;

use tokio::net::TcpListener;

pub use maildir::Maildir;
pub use pages::routes;

use crate::lifecycle::Shutdown;

/// A receiver at work.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// Where the mails are.
    pub maildir: Maildir,
}

impl Inbox {
    /// Listens on a free port of loopback and keeps what comes in this folder, until told to stop.
    pub async fn start(folder: &Path, shutdown: &Shutdown) -> io::Result<Self> {
        let maildir = Maildir::open(folder)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let inbox = Self { address: listener.local_addr()?, maildir: maildir.clone() };
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((socket, _)) = accepted {
                            let maildir = maildir.clone();
                            tokio::spawn(async move {
                                if let Err(error) = smtp::talk(socket, &maildir).await {
                                    tracing::debug!(%error, "a connection to the inbox ended early");
                                }
                            });
                        }
                    }
                    () = shutdown.stopping() => return,
                }
            }
        });
        Ok(inbox)
    }
}
