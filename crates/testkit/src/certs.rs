//! Certificates for one test: an authority, a server and a client, as PEM files.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key, PKCS #8.
    pub key: PathBuf,
    /// Its serial number.
    pub serial: u64,
}

/// An authority, and what it has signed: a server for `localhost` and the loopback addresses, and a client.
#[derive(Debug)]
pub struct Certs {
    dir: TempDir,
    ca: PathBuf,
    ca_key: KeyPair,
    ca_params: CertificateParams,
    server: Identity,
    client: Identity,
    serials: AtomicU64,
}

impl Certs {
    /// Makes everything new.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory for certificates");
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca_params = named(&[], "tidegate test authority");
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca_params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = dir.path().join("ca.pem");
        write(&ca, &ca_params.self_signed(&ca_key).expect("a self-signed certificate").pem());

        let nothing = Identity { cert: PathBuf::new(), key: PathBuf::new(), serial: 0 };
        let serials = AtomicU64::new(1);
        let mut certs = Self { dir, ca, ca_key, ca_params, server: nothing.clone(), client: nothing, serials };
        certs.server = certs.sign_server("server", &["localhost", "127.0.0.1", "::1"]);
        certs.client = certs.sign_client("client");
        certs
    }

    /// The authority's certificate.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// For `localhost`, `127.0.0.1` and `::1`.
    pub fn server(&self) -> &Identity {
        &self.server
    }

    /// For the common name `client`.
    pub fn client(&self) -> &Identity {
        &self.client
    }

    /// Another server, for `names` only; for instance one that does not match where it is dialled.
    pub fn sign_server(&self, file: &str, names: &[&str]) -> Identity {
        self.sign(file, named(names, file), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Another client, with this common name.
    pub fn sign_client(&self, common_name: &str) -> Identity {
        self.sign(common_name, named(&[], common_name), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A list of revoked certificates, with these on it.
    pub fn revoke(&self, file: &str, identities: &[&Identity]) -> PathBuf {
        let revoked = identities.iter().map(|identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2096, 1, 1),
            crl_number: SerialNumber::from(self.serials.fetch_add(1, Ordering::Relaxed)),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(&self.ca_params, &self.ca_key);
        let path = self.dir.path().join(format!("{file}.crl"));
        write(&path, &list.signed_by(&issuer).and_then(|list| list.pem()).expect("a signed list"));
        path
    }

    fn sign(&self, file: &str, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Identity {
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.ca_params, &self.ca_key);
        let cert = params.signed_by(&key, &issuer).expect("a signed certificate");
        let identity = Identity {
            cert: self.dir.path().join(format!("{file}.pem")),
            key: self.dir.path().join(format!("{file}.key")),
            serial,
        };
        write(&identity.cert, &cert.pem());
        write(&identity.key, &key.serialize_pem());
        identity
    }
}

impl Default for Certs {
    fn default() -> Self {
        Self::new()
    }
}

fn named(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names for a certificate");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn write(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("a certificate file");
    file.write_all(text.as_bytes()).expect("a certificate written");
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    /// A handshake of two rustls ends; both must be content.
    fn handshake(ca: &Path, server: &Identity, client: Option<&Identity>, name: &'static str) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let load = |identity: &Identity| {
            let cert = vec![CertificateDer::from_pem_file(&identity.cert).unwrap()];
            (cert, PrivateKeyDer::from_pem_file(&identity.key).unwrap())
        };
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let (cert, key) = load(server);
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(cert, key)
            .unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match client.map(load) {
            Some((cert, key)) => config.with_client_auth_cert(cert, key).unwrap(),
            None => config.with_no_client_auth(),
        };

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(Arc::new(server)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket);
            stream.write_all(b"tide").is_ok()
        });
        let connection = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(address).unwrap());
        let mut word = [0; 4];
        let read = stream.read_exact(&mut word).is_ok();
        drop(stream);
        serving.join().unwrap() && read
    }

    #[test]
    fn the_server_and_the_client_trust_each_other_and_nobody_else() {
        let certs = Certs::new();
        assert!(handshake(certs.ca(), certs.server(), Some(certs.client()), "localhost"));
        assert!(handshake(certs.ca(), certs.server(), Some(certs.client()), "127.0.0.1"));
        assert!(!handshake(certs.ca(), certs.server(), None, "localhost"), "the client shows nothing");
        assert!(!handshake(certs.ca(), certs.server(), Some(certs.client()), "elsewhere.example"), "another name");
        let elsewhere = certs.sign_server("elsewhere", &["elsewhere.example"]);
        assert!(handshake(certs.ca(), &elsewhere, Some(certs.client()), "elsewhere.example"));
        let strangers = Certs::new();
        assert!(!handshake(certs.ca(), strangers.server(), Some(certs.client()), "localhost"), "another authority");
        assert!(!handshake(certs.ca(), certs.server(), Some(strangers.client()), "localhost"), "a stranger");
    }
}
