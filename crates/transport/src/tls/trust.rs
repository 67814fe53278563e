//! Which certificate of a broker is trusted: one that an authority signed, one that is itself in `ca`, or one by its
//! fingerprint.

use super::certificate::{Certificate, Key};
use super::error::Refused;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The least bits of an RSA key that rustls takes with this provider.
const RSA_BITS_MIN: usize = 2048;

/// Decides, and remembers whether there was anything to decide.
#[derive(Debug)]
pub(crate) struct Trust {
    how: How,
    algorithms: WebPkiSupportedAlgorithms,
    /// The broker has shown a certificate since [`Trust::begin`].
    seen: AtomicBool,
}

#[derive(Debug)]
enum How {
    /// Signed by an authority, or byte for byte one of these.
    Signed { by: Arc<WebPkiServerVerifier>, themselves: Vec<CertificateDer<'static>> },
    /// Only this, by the SHA-256 of its DER.
    Pinned([u8; 32]),
}

impl Trust {
    /// Trusts what the roots have signed, and `themselves` without a signature: a broker's own certificate given as its
    /// authority, as other clients take it. Name and time are looked at all the same.
    pub(crate) fn signed(
        roots: RootCertStore,
        themselves: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let by = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
        Ok(Self::new(How::Signed { by, themselves }, provider))
    }

    /// Trusts the certificate whose DER has this SHA-256, whatever its name, time and issuer.
    pub(crate) fn pinned(fingerprint: [u8; 32], provider: &Arc<CryptoProvider>) -> Self {
        Self::new(How::Pinned(fingerprint), provider)
    }

    fn new(how: How, provider: &Arc<CryptoProvider>) -> Self {
        Self { how, algorithms: provider.signature_verification_algorithms, seen: AtomicBool::new(false) }
    }

    /// A handshake begins. A link has one at a time.
    pub(crate) fn begin(&self) {
        self.seen.store(false, Ordering::Relaxed);
    }

    /// Whether the broker has shown a certificate in this handshake: then it speaks TLS.
    pub(crate) fn has_seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.seen.store(true, Ordering::Relaxed);
        match &self.how {
            How::Pinned(wanted) => {
                let found: [u8; 32] = Sha256::digest(leaf).into();
                if found == *wanted {
                    return Ok(ServerCertVerified::assertion());
                }
                Err(refused(format!(
                    "the broker's certificate is not the one that `fingerprint` names; if it is the right broker, write \
                     fingerprint = \"{}\"",
                    hexadecimal(&found)
                )))
            }
            How::Signed { by, themselves } => {
                let verified = by.verify_server_cert(leaf, intermediates, name, ocsp, now);
                match verified {
                    // Its time was right: webpki looks at that before it looks for an issuer.
                    Err(error) if is_of_issuer(&error) && themselves.iter().any(|one| one == leaf) => {
                        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)
                            .map(|()| ServerCertVerified::assertion())
                            .map_err(|error| explained(error, leaf))
                    }
                    other => other.map_err(|error| explained(error, leaf)),
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms).map_err(|error| explained(error, leaf))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = match self.how {
            // Of a certificate that is trusted as it is only the key counts, of whatever version it is.
            How::Pinned(_) => Certificate::read(leaf).map(|leaf| leaf.key_info),
            How::Signed { .. } => None,
        };
        let verified = match key {
            Some(key) => {
                let key = SubjectPublicKeyInfoDer::from(key);
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
            None => verify_tls13_signature(message, leaf, signed, &self.algorithms),
        };
        verified.map_err(|error| explained(error, leaf))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether the certificate itself is right but for who has signed it.
fn is_of_issuer(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => true,
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => is_authority(&**other),
        _ => false,
    }
}

/// The certificate says that it is an authority's. The error has no type here that could be named.
fn is_authority(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    format!("{error:?}") == "CaUsedAsEndEntity"
}

/// What is wrong and what to do, where a look at the certificate can say so.
fn explained(error: Error, leaf: &CertificateDer<'_>) -> Error {
    let Error::InvalidCertificate(why) = &error else { return error };
    let facts = Certificate::read(leaf);
    let has_names = facts.is_none_or(|facts| facts.has_names);
    let of_time = matches!(
        why,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    );
    let of_name = matches!(why, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. });
    let words = match (facts, why) {
        (Some(Certificate { version: 1 | 2, .. }), _) => {
            "the broker's certificate is of version 1, which has no names to compare; make it anew with `openssl x509 \
             -req` and an `-extfile` that says subjectAltName=DNS:<host>, or trust it alone with `fingerprint`"
                .to_owned()
        }
        (_, _) if of_name && !has_names => {
            "the broker's certificate has a common name only, which is not looked at; make it anew with subjectAltName=\
             DNS:<host>, or trust it alone with `fingerprint`"
                .to_owned()
        }
        // What rustls says of these is enough.
        (_, _) if of_name || of_time => return error,
        (Some(Certificate { key: Key::Rsa(bits), .. }), _) if bits < RSA_BITS_MIN => {
            format!("the broker's key has {bits} bits, and {RSA_BITS_MIN} is the least; make it anew, and its certificate")
        }
        (Some(Certificate { key: Key::P521, .. }), _) => {
            "the broker's key is on the curve P-521, which is not spoken here; make it anew on prime256v1, or with RSA"
                .to_owned()
        }
        (Some(Certificate { weak_hash: true, .. }), _) => {
            "the broker's certificate is signed with SHA-1, which can be forged; have it signed anew with SHA-256, or trust \
             it alone with `fingerprint`"
                .to_owned()
        }
        (_, CertificateError::Other(OtherError(other))) if is_authority(&**other) => {
            "the broker's certificate is an authority's (CA:TRUE), as `openssl req -x509` makes it; give this very \
             certificate as `ca`, or make one with basicConstraints=CA:FALSE"
                .to_owned()
        }
        (_, CertificateError::UnknownIssuer) => {
            "`ca` has not signed the broker's certificate; `ca` must be its issuer, or this certificate itself, and the \
             broker must show what is in between"
                .to_owned()
        }
        _ => format!("{error}; `ca` must be the issuer of the broker's certificate"),
    };
    refused(words)
}

fn refused(words: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(words)))))
}

/// As `openssl` prints it.
fn hexadecimal(fingerprint: &[u8]) -> String {
    fingerprint.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hints::tls_failed;
    use rustls::pki_types::pem::PemObject;
    use std::time::Duration;

    macro_rules! pem {
        ($name:literal) => {
            CertificateDer::from_pem_slice(include_bytes!(concat!("../../tests/pem/", $name, ".pem"))).unwrap()
        };
    }

    /// While all certificates are good.
    const NOW_S: u64 = 1_900_000_000;
    /// When none is any more.
    const LATER_S: u64 = 6_000_000_000;

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::ring::default_provider())
    }

    fn trusting(ca: &CertificateDer<'static>) -> Trust {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).unwrap();
        Trust::signed(roots, vec![ca.clone()], &provider()).unwrap()
    }

    fn verify(trust: &Trust, leaf: &CertificateDer<'_>, name: &'static str, now_s: u64) -> Result<(), String> {
        let (name, now) = (ServerName::try_from(name).unwrap(), UnixTime::since_unix_epoch(Duration::from_secs(now_s)));
        let verified = trust.verify_server_cert(leaf, &[], &name, &[], now);
        verified.map(drop).map_err(|error| tls_failed(std::io::Error::other(error)).to_string())
    }

    #[test]
    fn a_brokers_own_certificate_given_as_ca_is_trusted_for_its_names_and_its_time() {
        let own = pem!("self");
        let trust = trusting(&own);
        assert!(!trust.has_seen());
        assert_eq!(verify(&trust, &own, "localhost", NOW_S), Ok(()));
        assert_eq!(verify(&trust, &own, "127.0.0.1", NOW_S), Ok(()));
        assert!(trust.has_seen(), "there was a certificate");
        let other = verify(&trust, &own, "other", NOW_S).unwrap_err();
        assert!(other.contains("set `server_name`"), "{other}");
        let late = verify(&trust, &own, "localhost", LATER_S).unwrap_err();
        assert!(late.contains("renew"), "{late}");
        let unlike = verify(&trusting(&pem!("ca")), &own, "localhost", NOW_S).unwrap_err();
        assert!(unlike.contains("CA:FALSE") && unlike.contains("as `ca`"), "{unlike}");
    }

    #[test]
    fn a_certificate_that_another_has_signed_is_trusted_by_itself_too() {
        let server = pem!("server");
        assert_eq!(verify(&trusting(&server), &server, "localhost", NOW_S), Ok(()));
        assert_eq!(verify(&trusting(&pem!("ca")), &server, "localhost", NOW_S), Ok(()));
        let unlike = verify(&trusting(&pem!("self")), &server, "localhost", NOW_S).unwrap_err();
        assert!(unlike.contains("must be its issuer"), "{unlike}");
    }

    #[test]
    fn a_fingerprint_trusts_one_certificate_whatever_its_name_and_time() {
        let (own, other) = (pem!("self"), pem!("version1"));
        for leaf in [&own, &other] {
            let trust = Trust::pinned(Sha256::digest(leaf).into(), &provider());
            assert_eq!(verify(&trust, leaf, "other", LATER_S), Ok(()));
        }
        let trust = Trust::pinned(Sha256::digest(&own).into(), &provider());
        let refused = verify(&trust, &other, "localhost", NOW_S).unwrap_err();
        assert!(refused.contains(&hexadecimal(&Sha256::digest(&other))), "{refused}");
    }

    #[test]
    fn what_is_refused_says_what_is_wrong_with_the_certificate() {
        let trust = trusting(&pem!("ca"));
        for (leaf, part) in
            [(pem!("version1"), "version 1"), (pem!("nameless"), "common name only"), (pem!("sha1"), "SHA-1")]
        {
            let words = verify(&trust, &leaf, "localhost", NOW_S).unwrap_err();
            assert!(words.contains(part) && !words.contains("must be the issuer"), "{words}, not {part}");
        }
        // These two show only when the key is used.
        let unusable = || Error::InvalidCertificate(CertificateError::BadSignature);
        for (leaf, part) in [(pem!("rsa1024"), "1024 bits"), (pem!("p521"), "P-521")] {
            let words = explained(unusable(), &leaf).to_string();
            let shown = tls_failed(std::io::Error::other(explained(unusable(), &leaf))).to_string();
            assert!(shown.contains(part), "{shown}, not {part} ({words})");
        }
    }
}
