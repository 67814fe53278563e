//! TLS and mutual TLS with rustls.

mod certificate;
mod der;
mod error;
mod identity;
mod listen;
mod names;
mod pem;
mod trust;

pub(crate) use error::Refused;
pub use error::TlsError;
pub(crate) use listen::peer_names;
pub use listen::{ListenTls, ListenTlsFiles, OwnCertificate};
pub use names::PeerNames;

use error::{CA, CERT};
use identity::identity;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ServerConfig};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use trust::Trust;

/// A ready TLS configuration and the name the broker's certificate must bear.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) trust: Arc<Trust>,
    /// Host name or IP address.
    pub(crate) server_name: String,
}

/// What TLS is to be made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsFiles<'a> {
    /// Certificates to trust, PEM; `None`: those of the system.
    pub ca: Option<&'a Path>,
    /// In place of `ca`: the SHA-256 of the DER of the one certificate to trust, whatever its name, time and issuer.
    pub fingerprint: Option<[u8; 32]>,
    /// Our certificate chain and its private key, PEM.
    pub client: Option<(&'a Path, &'a Path)>,
    /// The passphrase of that key.
    pub key_password: Option<&'a [u8]>,
}

impl TlsSettings {
    /// Reads the files. A certificate in `ca` is trusted as an issuer, and as the broker's own if it is that byte for byte.
    /// `server_name` is the host name or IP address that the broker's certificate must bear.
    ///
    /// # Errors
    /// Everything that is wrong, each naming its file.
    pub fn new(files: TlsFiles<'_>, server_name: &str, alpn: &[String]) -> Result<Self, Vec<TlsError>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut wrong = Vec::new();
        let trust = match files.fingerprint {
            Some(fingerprint) => Ok(Trust::pinned(fingerprint, &provider)),
            None => trust(files.ca, &provider),
        };
        let trust = trust.map_err(|error| wrong.push(error)).ok().map(Arc::new);
        let client = match files.client {
            Some((cert, key)) => match identity(cert, key, files.key_password, &provider) {
                Ok(client) => Some(client),
                Err(errors) => {
                    wrong.extend(errors);
                    None
                }
            },
            None => None,
        };
        let Some(trust) = trust.filter(|_| wrong.is_empty()) else { return Err(wrong) };
        let setup = |error: rustls::Error| vec![TlsError::Setup(error.into())];
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(setup)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(trust.clone());
        let mut config = match client {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(setup)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Self { config: Arc::new(config), trust, server_name: server_name.to_owned() })
    }

    /// For a client that has the certificate of its server at hand, as a file: that very one is trusted, and no other.
    ///
    /// # Errors
    /// Everything that is wrong, each naming its file.
    pub fn of_server(cert: &Path) -> Result<Self, Vec<TlsError>> {
        let chain = pem::certificates(CERT, cert).map_err(|error| vec![error])?;
        let fingerprint = Some(Sha256::digest(&chain[0]).into());
        Self::new(TlsFiles { fingerprint, ..TlsFiles::default() }, "localhost", &[])
    }

    /// For a client that is no link. It asks for its server's name itself.
    pub fn into_config(self) -> Arc<ClientConfig> {
        self.config
    }
}

/// TLS for those who connect to us: our certificate chain and its private key, PEM, and the passphrase of that.
///
/// # Errors
/// Everything that is wrong, each naming its file.
pub fn server_tls(cert: &Path, key: &Path, password: Option<&[u8]>) -> Result<Arc<ServerConfig>, Vec<TlsError>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = identity(cert, key, password, &provider)?;
    let setup = |error: rustls::Error| vec![TlsError::Setup(error.into())];
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(setup)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(setup)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn trust(ca: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Trust, TlsError> {
    let mut roots = rustls::RootCertStore::empty();
    let mut themselves = Vec::new();
    match ca {
        Some(path) => {
            themselves = pem::certificates(CA, path)?;
            for certificate in &themselves {
                roots.add(certificate.clone()).map_err(|error| TlsError::caused(CA, path, error))?;
            }
        }
        None => {
            let native = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(native.certs);
            if roots.is_empty() {
                return Err(TlsError::NoRoots);
            }
        }
    }
    Trust::signed(roots, themselves, provider).map_err(|error| TlsError::Setup(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn pem(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pem").join(name)
    }

    fn build(cert: &Path, key: &Path, key_password: Option<&[u8]>) -> Result<TlsSettings, Vec<TlsError>> {
        let ca = pem("ca.pem");
        let files = TlsFiles { ca: Some(&ca), client: Some((cert, key)), key_password, fingerprint: None };
        TlsSettings::new(files, "localhost", &[])
    }

    #[test]
    fn a_key_that_belongs_to_another_certificate_is_told_from_a_chain_in_the_wrong_order() {
        assert!(build(&pem("gw.pem"), &pem("gw.key"), None).is_ok());
        assert!(build(&pem("gw.pem"), &pem("gw.sec1.key"), None).is_ok());
        assert!(build(&pem("gw.pem"), &pem("gw.encrypted.key"), Some(b"secret")).is_ok());
        let words = |cert: &Path, key: &Path| {
            let wrong = build(cert, key, None).unwrap_err();
            wrong.iter().map(|error| format!("{}: {error}", error.key())).collect::<Vec<_>>().join("\n")
        };
        let other = words(&pem("gw.pem"), &pem("server.key"));
        assert!(other.starts_with("key: ") && other.contains("made together"), "{other}");
        let backwards = tempfile::NamedTempFile::new().unwrap();
        let (ca, own) = (std::fs::read(pem("ca.pem")).unwrap(), std::fs::read(pem("gw.pem")).unwrap());
        std::fs::write(backwards.path(), [ca, own].concat()).unwrap();
        let backwards = words(backwards.path(), &pem("gw.key"));
        assert!(backwards.contains("belongs to number 2"), "{backwards}");
        let exchanged = words(&pem("gw.key"), &pem("gw.pem"));
        assert!(exchanged.contains("cert: ") && exchanged.contains("key: "), "{exchanged}");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let nowhere = pem("nowhere");
        let files = TlsFiles { ca: Some(&nowhere), client: Some((&nowhere, &nowhere)), ..TlsFiles::default() };
        let wrong = TlsSettings::new(files, "localhost", &[]).unwrap_err();
        assert_eq!(wrong.iter().map(TlsError::key).collect::<Vec<_>>(), ["ca", "cert", "key"]);
    }
}
