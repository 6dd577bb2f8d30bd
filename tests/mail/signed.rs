//! A thousand signed mails with odd subjects, names and bodies, for verifiers that are not ours: `judges/signatures`.

use std::path::PathBuf;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use data_encoding::BASE64;
use matinale::clock::Random;
use matinale::mail::dkim::Signer;
use matinale::mail::{Consent, Content, Language, Personal, Prepared, Rendered, SLOT, render};

const MAILS: u64 = 1000;

/// What mails are made of on bad days: marks of other scripts, of mail itself, of nothing at all.
const ODD: [&str; 26] = [
    "a",
    "Le cacao ",
    " ",
    "  ",
    "\t",
    ".",
    "\n.\n",
    "\nFrom ",
    "=?UTF-8?B?",
    "?=",
    "=",
    "\"",
    "\\",
    "<>",
    "@",
    ",;:",
    "é",
    "’",
    "صباح الخير ",
    "早上好",
    "🌅",
    "\u{202f}",
    "\u{a0}",
    "\u{feff}",
    "\r\n",
    "verylongwordwithoutanyspace",
];

fn odd(random: &Random, most: u64) -> String {
    (0..=random.between(0, most))
        .map(|_| ODD[usize::try_from(random.between(0, ODD.len() as u64)).unwrap()])
        .collect()
}

#[test]
#[ignore = "writes for other verifiers: tests/mail/judges/signatures runs it"]
fn a3_a_thousand_odd_mails_are_signed() {
    let folder = PathBuf::from(std::env::var_os("SIGNED").expect("SIGNED: the folder to write to"));
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(der.as_ref()));
    let signer = Signer::new("news.example", "m1", pem.as_bytes()).unwrap();
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    std::fs::write(folder.join("public"), BASE64.encode(public.as_ref())).unwrap();
    let random = Random::seeded(1000);
    for n in 0..MAILS {
        let content: Content = serde_json::from_value(serde_json::json!({
            "newsletter": {
                "id": "odd", "name": odd(&random, 6), "language": "fr", "list_id": "odd.news.example",
                "from_name": odd(&random, 8), "from_address": "odd@news.example",
                "reply_to": "desk@news.example", "public_url": "https://news.example"
            },
            "date": "2026-11-24",
            "items": []
        }))
        .unwrap();
        // The real thing for the places it has, and oddities behind it.
        let day = render(&content, Language::of("fr").unwrap()).unwrap();
        let rendered = Rendered {
            language: day.language,
            subject: odd(&random, 20),
            preheader: String::new(),
            html: format!(
                "{}<p>{}</p><a href=\"https://news.example/u/{SLOT}\">x</a>{}",
                day.html,
                odd(&random, 200),
                odd(&random, 9)
            ),
            text: format!(
                "{}{}\nhttps://news.example/u/{SLOT}\n{}",
                day.text,
                odd(&random, 200),
                odd(&random, 9)
            ),
        };
        let date = "2026-11-24T06:30:00+00:00[Africa/Abidjan]".parse().unwrap();
        let personal = Personal {
            address: &format!("reader+{n}@xn--bcher-kva.example"),
            message_id: &format!("<m.{n}@news.example>"),
            date: &date,
            subscription_token: &format!("token{n}"),
            consent: &Consent::of(Some("2025-02-01"), None, Some(&odd(&random, 9))),
        };
        let mut bytes = Vec::new();
        Prepared::new(&rendered, &content).fill(&personal, Some(&signer), &mut bytes).unwrap();
        std::fs::write(folder.join(format!("{n:04}.eml")), bytes).unwrap();
    }
}
