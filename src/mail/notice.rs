//! Notices: single mails of ours that are no edition (an alert, a confirmation).

use jiff::ZonedDateTime;

use super::encode;

/// One notice.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Display name of the From.
    pub from_name: &'a str,
    /// Address of the From.
    pub from_address: &'a str,
    /// Who it is for.
    pub to: &'a str,
    /// With its angle brackets.
    pub message_id: &'a str,
    /// When it is sent.
    pub date: &'a ZonedDateTime,
    /// What it is about.
    pub subject: &'a str,
    /// What it says, plain text.
    pub text: &'a str,
}

impl Notice<'_> {
    /// The whole message as the wire wants it: dot-stuffed, ended by CRLF (RFC 3834: generated, not to be answered
    /// by machines).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.message(None)
    }

    /// The same with an HTML part beside the text: a test copy of an edition.
    pub fn to_bytes_with_html(&self, html: &str) -> Vec<u8> {
        self.message(Some(html))
    }

    fn message(&self, html: Option<&str>) -> Vec<u8> {
        let encoded = |text: &str| encode::quoted_printable(text, super::prepared::SLOT);
        let text = format!("{}\n", self.text.trim_end());
        let (kind, body) = match html {
            None => ("text/plain; charset=utf-8".to_owned(), encoded(&text)),
            Some(html) => {
                let boundary = "m-notice-of-two-parts";
                let part = |kind: &str, text: &str| {
                    format!(
                        "--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n",
                        encoded(text)
                    )
                };
                let body = format!("{}{}--{boundary}--\r\n", part("plain", &text), part("html", html));
                (format!("multipart/alternative; boundary=\"{boundary}\""), body)
            }
        };
        let mut headers = vec![
            ("From", encode::mailbox("From", self.from_name, self.from_address)),
            ("To", encode::one_line(self.to)),
            ("Subject", encode::unstructured("Subject", self.subject)),
            ("Date", self.date.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()),
            ("Message-ID", encode::one_line(self.message_id)),
            ("MIME-Version", "1.0".to_owned()),
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("Content-Type", kind),
        ];
        if html.is_none() {
            headers.push(("Content-Transfer-Encoding", "quoted-printable".to_owned()));
        }
        let mut out = String::new();
        for (name, value) in headers {
            out.push_str(name);
            out.push_str(": ");
            out.push_str(&value);
            out.push_str("\r\n");
        }
        out.push_str("\r\n");
        out.push_str(&encode::stuff(&body));
        out.into_bytes()
    }
}
