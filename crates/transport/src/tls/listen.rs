//! TLS for those who connect to us: our certificates, and what is asked of theirs.

use super::error::{CA, CRL, TlsError};
use super::identity::identity;
use super::names::PeerNames;
use super::pem;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// A certificate of ours.
#[derive(Debug, Clone, Copy)]
pub struct OwnCertificate<'a> {
    /// The chain, PEM, our own first.
    pub cert: &'a Path,
    /// Its private key, PEM.
    pub key: &'a Path,
    /// The passphrase of that key.
    pub key_password: Option<&'a [u8]>,
}

/// What TLS of a listener is made of.
#[derive(Debug, Clone, Default)]
pub struct ListenTlsFiles<'a> {
    /// At least one. A client that names a host (SNI) gets the first that is for it, everybody else the first.
    pub certificates: Vec<OwnCertificate<'a>>,
    /// Who signs certificates of clients, PEM; `None`: they are asked for none.
    pub client_ca: Option<&'a Path>,
    /// Certificates that are not good any more, PEM.
    pub client_crl: Option<&'a Path>,
    /// A client may also come without a certificate.
    pub client_optional: bool,
}

/// A ready TLS configuration of a listener. All clones are one.
#[derive(Debug, Clone)]
pub struct ListenTls {
    pub(crate) config: Arc<ServerConfig>,
}

impl ListenTls {
    /// Reads the files.
    ///
    /// # Errors
    /// Everything that is wrong, each naming its file.
    pub fn new(files: &ListenTlsFiles<'_>) -> Result<Self, Vec<TlsError>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let setup = |error: rustls::Error| vec![TlsError::Setup(error.into())];
        let (mut wrong, mut certificates) = (Vec::new(), Vec::new());
        for OwnCertificate { cert, key, key_password } in &files.certificates {
            match identity(cert, key, *key_password, &provider) {
                Ok((chain, key)) => {
                    let names = PeerNames::read(&chain[0]).unwrap_or_default();
                    let signing = provider.key_provider.load_private_key(key).map_err(setup)?;
                    certificates.push((names, Arc::new(CertifiedKey::new(chain, signing))));
                }
                Err(errors) => wrong.extend(errors),
            }
        }
        let verifier = files.client_ca.map(|ca| {
            let roots = roots(ca)?;
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            if let Some(path) = files.client_crl {
                // As OpenSSL does for mosquitto: of whose issuer there is no list is not let in.
                verifier = verifier.with_crls(pem::revoked(CRL, path)?).only_check_end_entity_revocation();
            }
            if files.client_optional {
                verifier = verifier.allow_unauthenticated();
            }
            verifier.build().map_err(|error| TlsError::caused(CRL, files.client_crl.unwrap_or(ca), error))
        });
        let verifier = verifier.transpose().map_err(|error| wrong.push(error)).ok().flatten();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(setup)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(builder.with_cert_resolver(Arc::new(ByName(certificates)))) })
    }
}

fn roots(ca: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(CA, ca)? {
        roots.add(certificate).map_err(|error| TlsError::caused(CA, ca, error))?;
    }
    Ok(roots)
}

/// Our certificates, each with the names in it.
#[derive(Debug)]
struct ByName(Vec<(PeerNames, Arc<CertifiedKey>)>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let meant = hello.server_name().and_then(|host| self.0.iter().find(|(names, _)| names.are_for(host)));
        meant.or(self.0.first()).map(|(_, key)| key.clone())
    }
}

/// The names in a client's certificate, which was found good; none, if they cannot be told.
pub(crate) fn peer_names(chain: Option<&[CertificateDer<'_>]>) -> Option<PeerNames> {
    Some(PeerNames::read(chain?.first()?).unwrap_or_default())
}
