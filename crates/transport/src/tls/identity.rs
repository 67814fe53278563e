//! A certificate of ours, and the key that belongs to it.

use super::certificate::Certificate;
use super::error::{CERT, KEY, TlsError};
use super::pem;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::sync::Arc;

pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Our chain and key, if they belong together.
pub(super) fn identity(
    cert: &Path,
    key: &Path,
    password: Option<&[u8]>,
    provider: &Arc<CryptoProvider>,
) -> Result<Identity, Vec<TlsError>> {
    let (chain, private) = match (pem::certificates(CERT, cert), pem::private_key(key, password)) {
        (Ok(chain), Ok(private)) => (chain, private),
        (chain, private) => return Err([chain.err(), private.err()].into_iter().flatten().collect()),
    };
    let signing = provider.key_provider.load_private_key(private.clone_key()).map_err(|error| {
        vec![TlsError::explained(KEY, key, error, "; RSA from 2048 bits, P-256, P-384 and Ed25519 are known here")]
    })?;
    let matches = |at: usize| CertifiedKey::new(vec![chain[at].clone()], signing.clone()).keys_match();
    let unknown = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown);
    match matches(0) {
        // A key that does not say what its public half is may fit.
        Err(error) if error == unknown => return Ok((chain, private)),
        Err(error @ rustls::Error::InvalidCertificate(_)) => {
            let version1 = Certificate::read(&chain[0]).is_some_and(|certificate| certificate.version < 3);
            let hint = if version1 { "; it is of version 1: make it anew with an `-extfile`" } else { "" };
            return Err(vec![TlsError::explained(CERT, cert, error, hint)]);
        }
        _ => {}
    }
    match (0..chain.len()).find(|at| matches(*at).is_ok()) {
        Some(0) => Ok((chain, private)),
        Some(at) => Err(vec![TlsError::ClientAuth(format!(
            "the first certificate in {} must be the gateway's own, and the key in {} belongs to number {}; put that one \
             first, and its issuers behind it",
            cert.display(),
            key.display(),
            at + 1
        ))]),
        None => Err(vec![TlsError::ClientAuth(format!(
            "the key in {} does not belong to the certificate in {}; name the two that were made together",
            key.display(),
            cert.display()
        ))]),
    }
}
