//! The receiver's side of SMTP (RFC 5321), as much of it as a relay on loopback needs.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::Maildir;

const LONGEST_LINE: u64 = 4096;
const LARGEST_MAIL: usize = 10 << 20;

pub(super) async fn talk(socket: TcpStream, maildir: &Maildir) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (reader, mut writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    writer.write_all(b"220 inbox.localhost ESMTP Matinale\r\n").await?;
    let (mut from, mut to) = (None::<String>, None::<String>);
    loop {
        let mut line = String::new();
        if (&mut reader).take(LONGEST_LINE).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if !line.ends_with('\n') {
            writer.write_all(b"500 5.5.2 line too long\r\n").await?;
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let path =
            line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path.to_owned());
        let answer = match verb.as_str() {
            "EHLO" => {
                "250-inbox.localhost\r\n250-PIPELINING\r\n250-SIZE 10485760\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
            }
            "HELO" => "250 inbox.localhost\r\n",
            "MAIL" if from.is_some() => "503 5.5.1 nested MAIL\r\n",
            "MAIL" if path.is_some() => {
                from = path;
                "250 2.1.0 ok\r\n"
            }
            "RCPT" if from.is_some() && path.is_some() => {
                to = path;
                "250 2.1.5 ok\r\n"
            }
            "DATA" if to.is_some() => {
                writer.write_all(b"354 end with a lone dot\r\n").await?;
                let body = body(&mut reader).await?;
                let return_path = from.take().unwrap_or_default();
                let recipient = to.take().unwrap_or_default();
                match body {
                    Some(body) => {
                        let mut mail =
                            format!("Return-Path: <{return_path}>\r\nDelivered-To: {recipient}\r\n")
                                .into_bytes();
                        mail.extend_from_slice(&body);
                        let maildir = maildir.clone();
                        let kept = tokio::task::spawn_blocking(move || maildir.keep(&mail)).await;
                        match kept {
                            Ok(Ok(())) => "250 2.0.0 kept\r\n",
                            _ => "451 4.3.0 could not be kept\r\n",
                        }
                    }
                    None => "552 5.3.4 too large\r\n",
                }
            }
            "MAIL" | "RCPT" | "DATA" => "503 5.5.1 out of order\r\n",
            "RSET" => {
                (from, to) = (None, None);
                "250 2.0.0 ok\r\n"
            }
            "NOOP" => "250 2.0.0 ok\r\n",
            "QUIT" => {
                writer.write_all(b"221 2.0.0 goodbye\r\n").await?;
                return Ok(());
            }
            _ => "500 5.5.2 unknown\r\n",
        };
        writer.write_all(answer.as_bytes()).await?;
    }
}

/// Reads up to the lone dot and takes the stuffing away; `None` when it was too large, and read all the same.
async fn body(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let mut large = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.take(1 << 20).read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok((!large).then_some(out));
        }
        if out.len() + line.len() > LARGEST_MAIL {
            large = true;
            out.clear();
        }
        if !large {
            out.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}
