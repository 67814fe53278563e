//! Reads `tls` of a broker, and of a collector of traces.

use super::secret::read_secret;
use crate::bounds;
use crate::model::Tls;
use crate::tree::{At, FileKind, Section};
use crate::values;
use std::path::PathBuf;

/// What a url says of TLS.
pub(super) struct Carrier {
    /// Whom it leads to.
    pub(super) to: &'static str,
    /// As written.
    pub(super) scheme: &'static str,
    /// Whether that is with TLS.
    pub(super) is_tls: bool,
    /// How it is written with TLS, for a hint.
    pub(super) with_tls: &'static str,
}

/// What a connection needs for TLS; `None` where its url has none.
/// `whose` is the section as its keys are named, such as `brokers.home`.
pub(super) fn read_tls(of: &mut Section<'_, '_, '_, '_>, whose: &str, carrier: Option<Carrier>) -> Option<Tls> {
    let value = of.take("tls");
    let Some(value) = value else {
        return carrier.is_some_and(|carrier| carrier.is_tls).then(Tls::default);
    };
    if let Some(Carrier { to, scheme, is_tls: false, with_tls }) = carrier {
        let what = format!("`tls` says nothing to {to} at {scheme}://");
        value.error(what, format!("write the url with {with_tls}, or leave out `tls`"));
    }
    let mut section = value.section("tls = { ca = \"ca.pem\" }")?;
    let context = section.context;
    let ca = section.path("ca");
    let cert = section.path("cert");
    let key = section.path("key");
    match (section.has("cert"), section.has("key")) {
        (true, false) => value.error("`cert` needs its `key`", "add `key = \"...\"`, the private key in PEM"),
        (false, true) => value.error("`key` needs its `cert`", "add `cert = \"...\"`, the certificate chain in PEM"),
        _ => {}
    }
    let key_password = section.take("key_password").and_then(|value| {
        if !section.has("key") {
            value.error("`key_password` needs its `key`", "add `key = \"...\"` and `cert`, or leave it out");
        }
        context.place(format!("{whose}.tls.key_password"), &value.at);
        read_secret(&value, "passphrase")
    });
    let fingerprint = section.text("fingerprint").and_then(|text| {
        let read = values::fingerprint(text.value);
        if read.is_none() {
            let hint = "write the 64 hexadecimal digits that `openssl x509 -noout -fingerprint -sha256` prints";
            context.error(&text.at, "`fingerprint` is not a SHA-256 fingerprint", hint);
        }
        read
    });
    if section.has("fingerprint") && section.has("ca") {
        value.error("`fingerprint` is the only certificate to trust, and `ca` says others", "leave out one of them");
    }
    let server_name = section.text("server_name").and_then(|name| {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if name.value.is_empty() || !name.value.chars().all(fine) {
            let what = format!("{} is not a server name", values::shown(name.value));
            context.error(&name.at, what, "write the host name in the broker's certificate");
            return None;
        }
        Some(name.value.to_owned())
    });
    let mut alpn = Vec::new();
    for protocol in section.texts("alpn").unwrap_or_default() {
        if protocol.value.is_empty() || protocol.value.len() > bounds::MAX_ALPN_BYTES {
            let hint = format!("write 1 to {} bytes, such as \"mqtt\"", bounds::MAX_ALPN_BYTES);
            context.error(&protocol.at, "this cannot be an ALPN protocol", hint);
        } else {
            alpn.push(protocol.value.to_owned());
        }
    }
    section.finish();
    for (place, certificates) in [("tls.ca", &ca), ("tls.cert", &cert)] {
        let Some(certificates) = certificates else { continue };
        context.place(format!("{whose}.{place}"), &certificates.at);
        context.uses_file(FileKind::Certificates(certificates.value.clone()), &certificates.at);
    }
    if let Some(key) = &key {
        context.place(format!("{whose}.tls.key"), &key.at);
        context.uses_file(FileKind::Private { what: "private key", path: key.value.clone() }, &key.at);
    }
    let path = |file: Option<At<PathBuf>>| file.map(|file| file.value);
    Some(Tls { ca: path(ca), cert: path(cert), key: path(key), key_password, fingerprint, server_name, alpn })
}
