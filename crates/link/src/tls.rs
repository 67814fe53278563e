//! TLS and mutual TLS with rustls.

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A ready TLS configuration and the name the broker's certificate must bear.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// From [`client_config`].
    pub config: Arc<ClientConfig>,
    /// Host name or IP address.
    pub server_name: String,
}

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, not readable, or holds no PEM of that kind.
    #[error("{what} {}: {error}", .path.display())]
    File {
        /// What the file should hold.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// The operating system has no root certificates.
    #[error("no root certificates found on this system: name a file with `ca`, or install ca-certificates")]
    NoRoots,
    /// Certificate and key do not belong together, or are of an unknown kind.
    #[error("client certificate and key: {0}")]
    ClientAuth(String),
}

/// Builds a configuration that trusts the certificates in `ca` (without it: the system's), and shows `client`
/// (certificate chain and private key, PEM) to the broker.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn client_config(
    ca: Option<&Path>,
    client: Option<(&Path, &Path)>,
    alpn: &[String],
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates("CA certificate", path)? {
                roots.add(certificate).map_err(|error| file("CA certificate", path, error))?;
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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::ClientAuth(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match client {
        Some((chain, key)) => {
            let chain = certificates("client certificate", chain)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file("private key", key, error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| TlsError::ClientAuth(error.to_string()))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file(what, path, error))?;
    if found.is_empty() {
        return Err(file(what, path, "no PEM certificate in it"));
    }
    Ok(found)
}

fn file(what: &'static str, path: &Path, error: impl ToString) -> TlsError {
    TlsError::File { what, path: path.to_owned(), error: error.to_string() }
}
