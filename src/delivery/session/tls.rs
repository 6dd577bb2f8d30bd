//! Whom an encrypted session trusts.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

/// Who may be at the other end.
#[derive(Clone, Debug)]
pub(in crate::delivery) enum Trust {
    /// Whoever is there: a wrong certificate is better than none where none would do (RFC 7435).
    Anybody,
    /// Whoever is there, but never in clear.
    Encrypted,
    /// Who has a certificate for the host's name from an authority that the system trusts.
    Named,
    /// Whom this judge lets pass.
    Judged {
        judge: Arc<dyn ServerCertVerifier>,
        /// The name that the server is asked for (SNI): it may have several certificates.
        name: String,
    },
}

/// What makes TLS of a socket. Made once: the system's authorities are many, and sessions can be resumed.
///
/// # Errors
/// Why the system's authorities cannot be had.
pub(super) fn connector(trust: &Trust) -> Result<TlsConnector, String> {
    static ANYBODY: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    static NAMED: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = match trust {
        Trust::Anybody | Trust::Encrypted => {
            ANYBODY.get_or_init(|| judged(Arc::new(Anybody(Arc::new(provider().clone())))))
        }
        Trust::Judged { judge, .. } => return judged(judge.clone()).map(TlsConnector::from),
        Trust::Named => NAMED.get_or_init(|| {
            use rustls_platform_verifier::ConfigVerifierExt as _;
            ClientConfig::with_platform_verifier().map(Arc::new).map_err(|error| error.to_string())
        }),
    };
    config.clone().map(TlsConnector::from)
}

/// TLS as usual, with another judge of certificates.
fn judged(judge: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider().clone()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(judge)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Why these certificates do not show at this moment that the other end is this host, for somebody who asks; `None` where
/// they do.
pub(in crate::delivery) fn doubt(host: &str, chain: &[CertificateDer<'_>], now: UnixTime) -> Option<String> {
    let Some((own, signers)) = chain.split_first() else { return Some("it shows none".to_owned()) };
    let Ok(name) = ServerName::try_from(host) else {
        return Some(format!("{host} is no name that a certificate can have"));
    };
    let judge = match rustls_platform_verifier::Verifier::new(Arc::new(provider().clone())) {
        Ok(judge) => judge,
        Err(error) => return Some(format!("the system's authorities cannot be had: {error}")),
    };
    judge.verify_server_cert(own, signers, &name, &[], now).err().map(|error| error.to_string())
}

/// The cryptography that judges check signatures with.
pub(in crate::delivery) fn provider() -> &'static CryptoProvider {
    static PROVIDER: OnceLock<CryptoProvider> = OnceLock::new();
    PROVIDER.get_or_init(rustls::crypto::aws_lc_rs::default_provider)
}

/// Takes every certificate; that the other end holds its key is still verified.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
