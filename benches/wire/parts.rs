//! What the parts of one message cost a core: filling in, hashing, signing; one thread, medians.

use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use matinale::mail::dkim::Signer;
use matinale::mail::{Consent, Personal, Prepared};
use matinale::morning::stage::letter;

use super::figures::median;

/// A fresh RSA-2048 key as PEM.
pub(crate) fn key() -> Result<String, String> {
    let told = |error: aws_lc_rs::error::Unspecified| error.to_string();
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(told)?;
    let der: Pkcs8V1Der<'_> = key.as_der().map_err(told)?;
    let text = data_encoding::BASE64.encode(der.as_ref());
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
}

fn fill(prepared: &Prepared, signer: Option<&Signer>, out: &mut Vec<u8>) {
    let date = jiff::Timestamp::UNIX_EPOCH.to_zoned_datetime(jiff::tz::TimeZone::UTC);
    let personal = Personal {
        address: "reader.1@d1.example",
        message_id: "<m.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@news.example>",
        date: &date,
        subscription_token: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        consent: &Consent::default(),
    };
    out.clear();
    prepared.fill(&personal, signer, out).expect("what is personal here is fit for its place");
}

/// One filled-in message of about this size.
pub(crate) fn filled(bytes: usize, signed: bool) -> Result<Vec<u8>, String> {
    let prepared = letter(bytes).map_err(|error| error.to_string())?;
    let signer = if signed { Some(signer()?) } else { None };
    let mut out = Vec::new();
    fill(&prepared, signer.as_ref(), &mut out);
    Ok(out)
}

/// The least that DKIM asks for: a signature and the hash of a body, and nothing else.
pub(crate) struct Bare {
    key: KeyPair,
    random: SystemRandom,
}

impl Bare {
    pub(crate) fn new() -> Result<Self, String> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|error| error.to_string())?;
        Ok(Self { key, random: SystemRandom::new() })
    }

    /// Signs what a header of the usual length has.
    pub(crate) fn sign(&self, body: &[u8]) {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &self.random, &body[..600], &mut signature).unwrap_or_default();
        std::hint::black_box(signature);
    }

    pub(crate) fn hash(body: &[u8]) {
        std::hint::black_box(digest(&SHA256, std::hint::black_box(body)));
    }
}

fn signer() -> Result<Signer, String> {
    Signer::new("news.example", "stage", key()?.as_bytes()).map_err(|error| error.to_string())
}

/// Microseconds of one call, the median of 21 batches.
fn time(mut call: impl FnMut()) -> f64 {
    let batch = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..50 {
            call();
        }
        start.elapsed().as_secs_f64() * 1e6 / 50.0
    };
    batch(&mut call);
    median((0..21).map(|_| batch(&mut call)).collect())
}

/// Microseconds of filling in one message of about this size.
pub(crate) fn filling(bytes: usize) -> Result<f64, String> {
    let prepared = letter(bytes).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    Ok(time(|| fill(&prepared, None, &mut out)))
}

pub(crate) fn print() -> Result<(), String> {
    let prepared = letter(60_000).map_err(|error| error.to_string())?;
    let signer = signer()?;
    let mut out = Vec::new();
    let plain = time(|| fill(&prepared, None, &mut out));
    let body = out.clone();
    let signed = time(|| fill(&prepared, Some(&signer), &mut out));
    let bare = Bare::new()?;
    let rsa = time(|| bare.sign(&body));
    let hash = time(|| Bare::hash(&body));
    println!("\nparts, {} bytes, microseconds of one core", body.len());
    println!("  filling in               {plain:>7.1}");
    println!("  filling in and signing   {signed:>7.1}");
    println!("  bare RSA-2048 signature  {rsa:>7.1}");
    println!("  bare SHA-256 of the body {hash:>7.1}");
    println!(
        "  1.4 of the bare two      {:>7.1}  (what a signed message may cost in all)",
        1.4 * (rsa + hash)
    );
    Ok(())
}
