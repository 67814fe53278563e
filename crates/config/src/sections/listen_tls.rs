//! Reads `tls` of the box's own broker.

use super::secret::read_secret;
use crate::model::{Identity, ListenTls, ServerCertificate};
use crate::tree::{At, FileKind, Section};
use std::path::PathBuf;

/// What listeners with TLS have; `None` where none has. `whose` is the section as its keys are named, such as `brokers.device`.
pub(super) fn read_listen_tls(
    of: &mut Section<'_, '_, '_, '_>,
    whose: &str,
    listens_with_tls: bool,
) -> Option<ListenTls> {
    let context = of.context;
    let Some(value) = of.take("tls") else {
        if listens_with_tls {
            let hint = "add `tls = { cert = \"server.pem\", key = \"server.key\" }`";
            context.error(&of.at, "a listener with TLS needs a certificate", hint);
        }
        return None;
    };
    if !listens_with_tls {
        value.error(
            "`tls` says nothing where nobody listens with it",
            "listen on \"mqtts://\" or \"wss://\", or leave it out",
        );
    }
    let mut section = value.section("tls = { cert = \"server.pem\", key = \"server.key\" }")?;
    let mut certificates: Vec<ServerCertificate> = read_certificate(&mut section, whose).into_iter().collect();
    let others = section.take("certificates").map(|value| value.sections("[[brokers.<name>.tls.certificates]]"));
    for mut other in others.unwrap_or_default() {
        certificates.extend(read_certificate(&mut other, whose));
        other.finish();
    }
    let client_ca = section.path("client_ca");
    let client_crl = section.path("client_crl");
    let client_optional = section.choice("client_certificate", &[("required", false), ("optional", true)]);
    let identity = section.take("identity").and_then(|value| value.choice(&Identity::ALL));
    for key in ["client_crl", "client_certificate", "identity"] {
        if section.has(key) && !section.has("client_ca") {
            let what = format!("`{key}` is about certificates of clients, and they are asked for none");
            context.error(&section.at, what, "add `client_ca = \"ca.pem\"`: who signs them");
        }
    }
    section.finish();
    for (key, file) in [("client_ca", &client_ca), ("client_crl", &client_crl)] {
        let Some(file) = file else { continue };
        context.place(format!("{whose}.tls.{key}"), &file.at);
        context.uses_file(FileKind::Certificates(file.value.clone()), &file.at);
    }
    let path = |file: Option<At<PathBuf>>| file.map(|file| file.value);
    let (client_ca, client_crl) = (path(client_ca), path(client_crl));
    listens_with_tls.then_some(ListenTls { certificates, client_ca, client_crl, client_optional, identity })
}

fn read_certificate(section: &mut Section<'_, '_, '_, '_>, whose: &str) -> Option<ServerCertificate> {
    let context = section.context;
    let cert = section.require("cert", "\"server.pem\"").and_then(|value| value.path());
    let key = section.require("key", "\"server.key\"").and_then(|value| value.path());
    let key_password = section.take("key_password").and_then(|value| {
        context.place(format!("{whose}.tls.key_password"), &value.at);
        read_secret(&value, "passphrase")
    });
    let (cert, key) = (cert?, key?);
    context.place(format!("{whose}.tls.cert"), &cert.at);
    context.uses_file(FileKind::Certificates(cert.value.clone()), &cert.at);
    context.place(format!("{whose}.tls.key"), &key.at);
    context.uses_file(FileKind::Private { what: "private key", path: key.value.clone() }, &key.at);
    Some(ServerCertificate { cert: cert.value, key: key.value, key_password })
}
