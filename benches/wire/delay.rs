//! A relay that holds every byte back for a while, each way: a distance without a network.
//!
//! Bytes that came in together leave together; bandwidth, loss and slow start are not modelled. A process of its own.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

use super::sinks::{free_port, until_it_listens};

/// The way to a receiver, as long as it lives.
pub(crate) struct Delay {
    address: SocketAddr,
    child: Option<Child>,
}

impl Delay {
    pub(crate) fn before(target: SocketAddr, one_way: Duration) -> Result<Self, String> {
        if one_way.is_zero() {
            return Ok(Self { address: target, child: None });
        }
        let address = free_port()?;
        let me = std::env::current_exe().map_err(|error| error.to_string())?;
        let child = Command::new(me)
            .args(["delay", &address.to_string(), &target.to_string(), &one_way.as_millis().to_string()])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        until_it_listens(address)?;
        Ok(Self { address, child: Some(child) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may be gone already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// `delay LISTEN TARGET MILLISECONDS`.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<(), String> {
    let mut next = || args.next().ok_or("delay LISTEN TARGET MILLISECONDS");
    let (listen, target) = (next()?, next()?);
    let delay = Duration::from_millis(next()?.parse().map_err(|_| "no number of milliseconds")?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(&listen).await.map_err(|error| error.to_string())?;
        loop {
            let (near, _) = listener.accept().await.map_err(|error| error.to_string())?;
            let target = target.clone();
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(&target).await else { return };
                if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
                    return;
                }
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::join!(hold_back(near_in, far_out, delay), hold_back(far_in, near_out, delay));
            });
        }
    })
}

/// Reads on while earlier pieces wait for their moment.
async fn hold_back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        let due = waiting.front().map(|(due, _)| *due);
        let mut piece = Vec::with_capacity(64 << 10);
        tokio::select! {
            read = from.read_buf(&mut piece), if open => match read {
                Ok(count) if count > 0 => waiting.push_back((Instant::now() + delay, piece)),
                _ => open = false,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some((_, piece)) = waiting.pop_front() else { return };
                if to.write_all(&piece).await.is_err() {
                    return;
                }
            }
        }
    }
    // The other end may be gone already.
    drop(to.shutdown().await);
}
