//! One conversation: commands in, replies or faults out, violations noted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use super::wire::Wire;
use super::{Copy, Fault, Faulty, Opening, Phase, Said};

pub(super) struct Conversation<'a> {
    server: &'a Faulty,
    wire: Wire,
    opening: Option<Opening>,
    encrypted: bool,
    from: String,
    to: Option<String>,
    /// The last envelope did not end in a body: RSET is owed.
    dirty: bool,
}

/// Whether the conversation goes on.
type Goes = std::io::Result<bool>;

impl<'a> Conversation<'a> {
    pub(super) fn new(server: &'a Faulty, wire: Wire, opening: Option<Opening>) -> Self {
        Self { server, wire, opening, encrypted: false, from: String::new(), to: None, dirty: false }
    }

    pub(super) async fn go(mut self) -> std::io::Result<()> {
        while let Some(line) = self.wire.line().await? {
            if !line.ends_with("\r\n") {
                self.server.violation(&format!("a line ends without CRLF: {line:?}"));
            }
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let path = line.split('<').nth(1).and_then(|rest| rest.split('>').next()).unwrap_or_default();
            if self.wire.early() && !(self.server.offer.pipelining && verb != "EHLO" && verb != "STAR") {
                self.server.violation(&format!("{verb} was followed before it was answered"));
            }
            let goes = match verb.as_str() {
                "EHLO" => self.ehlo().await?,
                "HELO" => self.answer("250 faulty\r\n").await?,
                "STAR" => self.starttls().await?,
                "MAIL" => self.mail(path).await?,
                "RCPT" => self.rcpt(path).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.from.clear();
                    (self.to, self.dirty) = (None, false);
                    self.or_stray("RSET", "250 2.0.0 ok\r\n").await?
                }
                "QUIT" => {
                    self.or_stray("QUIT", "221 2.0.0 bye\r\n").await?;
                    false
                }
                _ => {
                    self.server.violation(&format!("{verb} is no command"));
                    self.answer("500 5.5.2 what\r\n").await?
                }
            };
            if !goes {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn answer(&mut self, text: &str) -> Goes {
        self.wire.say(text).await.map(|()| true)
    }

    /// This answer, or the fault that is due at this command.
    async fn or_stray(&mut self, verb: &'static str, good: &str) -> Goes {
        match self.stray(verb) {
            Some(fault) => self.fail(&fault, good).await,
            None => self.answer(good).await,
        }
    }

    fn stray(&self, verb: &'static str) -> Option<Fault> {
        let mut record = self.server.record();
        let count = record.counts.entry(verb).or_default();
        *count += 1;
        let now = *count;
        let at = record.strays.iter().position(|stray| stray.verb == verb && stray.nth == now)?;
        Some(record.strays.swap_remove(at).fault)
    }

    async fn ehlo(&mut self) -> Goes {
        match self.opening {
            Some(Opening::CloseAtEhlo) => return Ok(false),
            Some(Opening::HangAtEhlo) => return self.wire.hang().await.map(|()| false),
            Some(Opening::NoEhlo) => return self.answer("502 5.5.1 what\r\n").await,
            _ => {}
        }
        let mut text = "250-faulty\r\n".to_owned();
        if self.server.offer.pipelining {
            text.push_str("250-PIPELINING\r\n");
        }
        if self.server.offer.starttls && !self.encrypted {
            text.push_str("250-STARTTLS\r\n");
        }
        let size = self.server.offer.size.unwrap_or(10_000_000);
        self.answer(&format!("{text}250 SIZE {size}\r\n")).await
    }

    async fn starttls(&mut self) -> Goes {
        if self.opening == Some(Opening::CloseAtStarttls) {
            return Ok(false);
        }
        self.wire.say("220 2.0.0 go on\r\n").await?;
        if self.opening == Some(Opening::HangAtHandshake) {
            return self.wire.hang().await.map(|()| false);
        }
        if self.opening == Some(Opening::NoHandshake) {
            self.wire.say("this is no handshake, and it never will be\r\n").await?;
            return Ok(false);
        }
        let Some(tls) = self.server.tls.clone() else { return Ok(false) };
        let plain = self.wire.take();
        self.wire.lay_over(Box::new(tls.accept(plain).await?));
        self.encrypted = true;
        Ok(true)
    }

    async fn mail(&mut self, path: &str) -> Goes {
        if self.dirty {
            self.server.violation("MAIL after a refused envelope, without RSET");
        }
        if !self.from.is_empty() {
            return self.answer("503 5.5.1 nested MAIL\r\n").await;
        }
        path.clone_into(&mut self.from);
        self.server.record().began = Some(Instant::now());
        let fault = self.stray("MAIL");
        let Some(fault) = fault else { return self.answer("250 2.1.0 ok\r\n").await };
        if let Fault::Reply(_) = fault {
            self.from.clear();
            self.dirty = true;
        }
        self.fail(&fault, "250 2.1.0 ok\r\n").await
    }

    async fn rcpt(&mut self, to: &str) -> Goes {
        if self.from.is_empty() {
            return self.answer("503 5.5.1 MAIL first\r\n").await;
        }
        let step = self.server.record().scripts.get(to).and_then(|steps| steps.front().cloned());
        let Some(mut step) = step.filter(|step| step.phase == Phase::Rcpt) else {
            self.to = Some(to.to_owned());
            return self.answer("250 2.1.5 ok\r\n").await;
        };
        self.pop(to);
        if let Fault::Reply(text) = &mut step.fault {
            *text = text.replace("{from}", &self.from);
        }
        if step.fault.is_good() {
            self.to = Some(to.to_owned());
        } else {
            self.dirty = true;
            self.note(to, &step.fault, false, false);
        }
        self.fail(&step.fault, "250 2.1.5 ok\r\n").await
    }

    fn pop(&self, to: &str) {
        self.server.record().scripts.get_mut(to).map(VecDeque::pop_front);
    }

    async fn data(&mut self) -> Goes {
        let Some(to) = self.to.take() else {
            return self.answer("554 5.5.1 no valid recipients\r\n").await;
        };
        if self.wire.early() {
            self.server.violation("a body came before it was asked for");
        }
        let step = self.server.record().scripts.get_mut(&to).and_then(VecDeque::pop_front);
        match &step {
            Some(step) if step.phase == Phase::Data => {
                if !step.fault.is_good() {
                    self.dirty = true;
                    self.note(&to, &step.fault, false, false);
                    return self.fail(&step.fault, "").await;
                }
                self.fail(&step.fault, "354 go on\r\n").await?;
            }
            _ => self.wire.say("354 go on\r\n").await?,
        }
        if step.as_ref().is_some_and(|step| step.phase == Phase::Body) {
            let mut some = [0; 700];
            let came = self.wire.lines.read_exact(&mut some).await;
            self.note(&to, &Fault::Close, false, false);
            if step.is_some_and(|step| step.fault == Fault::Hang) {
                // Nothing more is read, so what is written waits wherever there is room for it.
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            return came.map(|_| false);
        }
        let Some(bytes) = self.body().await? else {
            // Nothing more may come of it, unless the sender gave up in the middle of it by itself.
            self.note(&to, &Fault::Close, false, false);
            return Ok(false);
        };
        if bytes.is_empty() {
            self.server.violation("a lone dot: an empty mail to somebody");
        }
        self.server.record().ended = Some(Instant::now());
        let from = std::mem::take(&mut self.from);
        let dot = step.filter(|step| step.phase == Phase::Dot);
        let taken = dot.as_ref().is_none_or(|step| step.taken);
        if taken {
            self.server.record().taken.entry(to.clone()).or_default().push(Copy { from, bytes });
        }
        if !self.server.offer.pace.is_zero() {
            tokio::time::sleep(self.server.offer.pace).await;
        }
        let good = "250 2.0.0 queued\r\n";
        let Some(step) = dot else {
            self.note(&to, &Fault::Reply(good.to_owned()), true, true);
            return self.answer(good).await;
        };
        let fault = match step.fault.bare() {
            Fault::Drip => Fault::Reply(good.to_owned()),
            Fault::Lines => Fault::Reply(format!("250-one\r\n250-two\r\n{good}")),
            other => other.clone(),
        };
        self.note(&to, &fault, taken, true);
        self.fail(&step.fault, good).await
    }

    fn note(&self, to: &str, fault: &Fault, taken: bool, dot: bool) {
        let reply = match fault.bare() {
            Fault::Reply(text) => Some(text.as_str()),
            Fault::Goodbye => Some(GOODBYE),
            _ => None,
        };
        let code = reply.and_then(|text| text.get(..3)).and_then(|code| code.parse().ok());
        let words = |text: &str| {
            let lines: Vec<&str> = text.lines().map(|line| line.get(4..).unwrap_or_default()).collect();
            lines.join("\n")
        };
        let text = reply.map(words).unwrap_or_default();
        self.server.said(to, Said { code, text, taken, dot });
    }

    async fn fail(&mut self, fault: &Fault, good: &str) -> Goes {
        match fault {
            Fault::After(number, fault) => {
                self.server.let_go_of(*number).await;
                Box::pin(self.fail(fault, good)).await
            }
            Fault::Hang => self.wire.hang().await.map(|()| false),
            Fault::Close => Ok(false),
            Fault::Half => self
                .wire
                .say(good.get(..2).filter(|_| !good.is_empty()).unwrap_or("45"))
                .await
                .map(|()| false),
            Fault::Junk => self.wire.say("hello there\r\n").await.map(|()| false),
            Fault::Goodbye => self.wire.say(GOODBYE).await.map(|()| false),
            // Whoever says 421 goes.
            Fault::Reply(text) => self.answer(text).await.map(|goes| goes && !text.starts_with("421")),
            Fault::Drip => {
                for byte in good.chars() {
                    self.wire.say(&byte.to_string()).await?;
                    tokio::task::yield_now().await;
                }
                Ok(true)
            }
            Fault::Garble => {
                self.wire.garble();
                let reply = if good.is_empty() { "451 4.3.0 unheard\r\n" } else { good };
                self.wire.say(reply).await.map(|()| false)
            }
            Fault::Lines => {
                let code = good.get(..3).unwrap_or_default();
                self.answer(&format!("{code}-one\r\n{code}-two\r\n{good}")).await
            }
        }
    }

    /// The body, unstuffed; `None` when it breaks off.
    async fn body(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.wire.lines.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                return Ok(None);
            }
            if line == b".\r\n" {
                return Ok(Some(bytes));
            }
            bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

const GOODBYE: &str = "421 4.3.2 closing\r\n";
