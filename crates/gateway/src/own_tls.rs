//! TLS of the box's own brokers, as the broker takes it.

use crate::settings::{Wrong, read};
use tidegate_broker::{IdentityFrom, ListenTls, ListenTlsFiles, OwnCertificate};
use tidegate_config::{self as config, Identity, ServerCertificate};

/// What listeners with TLS have. Does I/O.
pub(crate) fn listen_tls(tls: &config::ListenTls) -> Result<ListenTls, Wrong> {
    let mut passwords = Vec::new();
    for ServerCertificate { key_password, .. } in &tls.certificates {
        passwords.push(match key_password {
            Some(password) => Some(read("tls.key_password", password)?),
            None => None,
        });
    }
    let certificates = tls.certificates.iter().zip(&passwords).map(|(one, password)| OwnCertificate {
        cert: &one.cert,
        key: &one.key,
        key_password: password.as_ref().map(config::SecretValue::expose),
    });
    let files = ListenTlsFiles {
        certificates: certificates.collect(),
        client_ca: tls.client_ca.as_deref(),
        client_crl: tls.client_crl.as_deref(),
        client_optional: tls.client_optional,
    };
    ListenTls::new(&files).map_err(|errors| {
        let key = match errors.first().map(tidegate_broker::TlsError::key) {
            Some("cert") => "tls.cert",
            Some("key") => "tls.key",
            Some("crl") => "tls.client_crl",
            _ => "tls.client_ca",
        };
        wrong(key, errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })
}

fn wrong(key: &'static str, words: String) -> Wrong {
    Wrong { key, words, elsewhere: false }
}

/// Which name in a client's certificate is its user name.
pub(crate) const fn identity(identity: Identity) -> IdentityFrom {
    match identity {
        Identity::CommonName => IdentityFrom::CommonName,
        Identity::Subject => IdentityFrom::Subject,
        Identity::Dns => IdentityFrom::Dns,
        Identity::Email => IdentityFrom::Email,
        Identity::Uri => IdentityFrom::Uri,
    }
}
