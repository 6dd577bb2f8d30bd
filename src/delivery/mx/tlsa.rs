//! DANE for SMTP (RFC 7672): which certificates a host's TLSA records let pass.
//!
//! Usage 3 names the server's own certificate or key: then neither its names nor its dates matter. Usage 2 names who
//! signed it: then the name that the records stand at must stand in it too, or that of the domain whose mail it takes
//! (3.2.2). The other usages are not for SMTP.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hickory_resolver::proto::rr::rdata::TLSA;
use hickory_resolver::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256, Sha512};

use crate::delivery::session::tls::provider;

/// What one record demands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Demand {
    /// The server's own certificate; otherwise who signed it.
    own: bool,
    /// The key alone; otherwise the whole certificate.
    key: bool,
    matching: Match,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Full,
    Sha256,
    Sha512,
}

/// A host's records, those that can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tlsa(Vec<Demand>);

impl Tlsa {
    /// Reads records; what is not for SMTP, or not known here, is left out.
    pub(super) fn usable<'a>(records: impl IntoIterator<Item = &'a TLSA>) -> Self {
        let demand = |record: &TLSA| {
            let own = match record.cert_usage {
                CertUsage::DaneEe => true,
                CertUsage::DaneTa => false,
                _ => return None,
            };
            let key = match record.selector {
                Selector::Full => false,
                Selector::Spki => true,
                _ => return None,
            };
            let (matching, length) = match record.matching {
                Matching::Raw => (Match::Full, None),
                Matching::Sha256 => (Match::Sha256, Some(32)),
                Matching::Sha512 => (Match::Sha512, Some(64)),
                _ => return None,
            };
            let fits = length.map_or(!record.cert_data.is_empty(), |length| record.cert_data.len() == length);
            fits.then(|| Demand { own, key, matching, data: record.cert_data.clone() })
        };
        Self(records.into_iter().filter_map(demand).collect())
    }

    /// Whether nothing of it can be used.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn matches(&self, own: bool, certificate: &CertificateDer<'_>) -> bool {
        let demands = self.0.iter().filter(|demand| demand.own == own);
        demands.into_iter().any(|demand| demand.is_met(certificate))
    }

    /// Certificates of signers that stand in the records themselves.
    fn signers(&self) -> impl Iterator<Item = CertificateDer<'static>> {
        self.0
            .iter()
            .filter(|demand| !demand.own && !demand.key && demand.matching == Match::Full)
            .map(|demand| CertificateDer::from(demand.data.clone()))
    }

    /// Who judges by these records, for a host of this name that takes the mail of a domain of any of those.
    pub(super) fn judge(self, name: &str, domain: &[String]) -> Judge {
        let names = [name].into_iter().chain(domain.iter().map(String::as_str));
        Judge { tlsa: self, names: names.map(str::to_owned).collect(), by_domain: AtomicBool::new(false) }
    }
}

impl Demand {
    fn is_met(&self, certificate: &CertificateDer<'_>) -> bool {
        let key;
        let bytes = if self.key {
            let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
            key = parsed.subject_public_key_info();
            key.as_ref()
        } else {
            certificate.as_ref()
        };
        match self.matching {
            Match::Full => bytes == self.data,
            Match::Sha256 => Sha256::digest(bytes).as_slice() == self.data,
            Match::Sha512 => Sha512::digest(bytes).as_slice() == self.data,
        }
    }
}

/// Judges by a host's records.
pub(super) struct Judge {
    tlsa: Tlsa,
    /// The host's, then those of the domain.
    names: Vec<String>,
    by_domain: AtomicBool,
}

impl Judge {
    /// Whether whom it let pass last had nothing but the domain's name to show: that says nothing to other domains.
    pub(super) fn went_by_domain(&self) -> bool {
        self.by_domain.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.by_domain.store(false, Ordering::SeqCst);
        if self.tlsa.matches(true, own) {
            return Ok(ServerCertVerified::assertion());
        }
        let mut roots = RootCertStore::empty();
        for signer in chain.iter().filter(|signer| self.tlsa.matches(false, signer)) {
            roots.add(signer.clone().into_owned())?;
        }
        for signer in self.tlsa.signers() {
            roots.add(signer)?;
        }
        if roots.is_empty() {
            return Err(Error::General("the certificate fits none of the host's TLSA records".to_owned()));
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::new(provider().clone()))
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        let mut last = None;
        for (at, name) in self.names.iter().enumerate() {
            let Ok(name) = ServerName::try_from(name.as_str()) else { continue };
            match verifier.verify_server_cert(own, chain, &name, ocsp, now) {
                Ok(verified) => {
                    self.by_domain.store(at > 0, Ordering::SeqCst);
                    return Ok(verified);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::General("the host has no name".to_owned())))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _};

    struct Made {
        own: CertificateDer<'static>,
        own_key: Vec<u8>,
        signer: CertificateDer<'static>,
        signer_key: Vec<u8>,
    }

    /// A certificate for mx.example.org, and that of who signed it.
    fn made() -> Made {
        let signer_key = KeyPair::generate().unwrap();
        let mut signer = CertificateParams::new(Vec::new()).unwrap();
        signer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signer_certificate = signer.self_signed(&signer_key).unwrap();
        let issuer = Issuer::from_params(&signer, &signer_key);
        let own_key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["mx.example.org".to_owned()]).unwrap();
        let own = own.signed_by(&own_key, &issuer).unwrap();
        Made {
            own: own.der().clone(),
            own_key: own_key.subject_public_key_info(),
            signer: signer_certificate.der().clone(),
            signer_key: signer_key.subject_public_key_info(),
        }
    }

    fn judged(
        made: &Made,
        name: &str,
        usage: CertUsage,
        selector: Selector,
        matching: Matching,
        data: &[u8],
    ) -> bool {
        let tlsa = Tlsa::usable([&TLSA::new(usage, selector, matching, data.to_vec())]);
        let judge = tlsa.judge(name, &[]);
        let server = ServerName::try_from("mx.example.org").unwrap();
        let chain = [made.signer.clone()];
        judge.verify_server_cert(&made.own, &chain, &server, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn t8_usage_3_takes_the_servers_own_certificate_or_key_whatever_its_name() {
        let made = made();
        let sha256 = |bytes: &[u8]| Sha256::digest(bytes).to_vec();
        let sha512 = |bytes: &[u8]| Sha512::digest(bytes).to_vec();
        let is = |selector, matching, data: &[u8]| {
            judged(&made, "another.example", CertUsage::DaneEe, selector, matching, data)
        };
        assert!(is(Selector::Spki, Matching::Sha256, &sha256(&made.own_key)));
        assert!(is(Selector::Spki, Matching::Sha512, &sha512(&made.own_key)));
        assert!(is(Selector::Full, Matching::Sha256, &sha256(&made.own)));
        assert!(is(Selector::Full, Matching::Raw, &made.own));
        assert!(!is(Selector::Spki, Matching::Sha256, &[0; 32]), "a mismatch");
        assert!(
            !is(Selector::Full, Matching::Sha256, &sha256(&made.own_key)),
            "the key is not the certificate"
        );
        assert!(!is(Selector::Full, Matching::Sha256, &sha256(&made.signer)), "nor is who signed it");
    }

    #[test]
    fn t8_usage_2_takes_what_its_signer_signed_for_this_name() {
        let made = made();
        let key = Sha256::digest(&made.signer_key).to_vec();
        let is = |name, selector, matching, data: &[u8]| {
            judged(&made, name, CertUsage::DaneTa, selector, matching, data)
        };
        assert!(is("mx.example.org", Selector::Spki, Matching::Sha256, &key));
        assert!(is("mx.example.org", Selector::Full, Matching::Raw, &made.signer));
        assert!(!is("another.example", Selector::Spki, Matching::Sha256, &key), "another host's certificate");
        let own = Sha256::digest(&made.own_key).to_vec();
        assert!(!is("mx.example.org", Selector::Spki, Matching::Sha256, &own), "it has not signed itself");
    }

    #[test]
    fn rfc7672_usage_2_takes_the_name_of_the_domain_too_and_says_that_it_did() {
        let made = made();
        let key = Sha256::digest(&made.signer_key).to_vec();
        let record = TLSA::new(CertUsage::DaneTa, Selector::Spki, Matching::Sha256, key);
        let judge = |name: &str, domain: &[&str]| {
            let domain: Vec<String> = domain.iter().map(|name| (*name).to_owned()).collect();
            let judge = Tlsa::usable([&record]).judge(name, &domain);
            let server = ServerName::try_from("whoever.example").unwrap();
            let chain = [made.signer.clone()];
            let passes = judge.verify_server_cert(&made.own, &chain, &server, &[], UnixTime::now()).is_ok();
            (passes, judge.went_by_domain())
        };
        // The certificate is for mx.example.org.
        assert_eq!(judge("mx.example.org", &["mx.example.org"]), (true, false), "the host's own comes first");
        assert_eq!(judge("mx.host.example", &["example.net", "mx.example.org"]), (true, true));
        assert_eq!(judge("mx.host.example", &["example.net"]), (false, false));
    }

    #[test]
    fn t8_records_that_are_not_for_smtp_are_not_used() {
        let record =
            |usage, selector, matching, length| TLSA::new(usage, selector, matching, vec![0; length]);
        let usable = |record| !Tlsa::usable([&record]).is_empty();
        assert!(usable(record(CertUsage::DaneEe, Selector::Spki, Matching::Sha256, 32)));
        assert!(!usable(record(CertUsage::PkixEe, Selector::Spki, Matching::Sha256, 32)));
        assert!(!usable(record(CertUsage::PkixTa, Selector::Spki, Matching::Sha256, 32)));
        assert!(!usable(record(CertUsage::DaneEe, Selector::Spki, Matching::Sha256, 31)));
        assert!(!usable(record(CertUsage::DaneEe, Selector::Spki, Matching::Raw, 0)));
        assert!(!usable(record(CertUsage::DaneEe, Selector::Unassigned(7), Matching::Sha256, 32)));
    }
}
