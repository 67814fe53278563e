//! Reads `[admin]`.

use super::secret::read_secret;
use crate::listening;
use crate::model::{Admin, AdminAddr, AdminTls};
use crate::tree::{At, FileKind, Section};
use crate::values;

/// Who may look at the gateway and operate it, if that can be so.
pub(super) fn read_admin(mut section: Section<'_, '_, '_, '_>) -> Option<Admin> {
    let context = section.context;
    let listen = section.require("listen", "\"127.0.0.1:9180\"").and_then(|value| value.text());
    let allow_remote = section.flag("allow_remote", false);
    let control = section.flag("control", false);
    let mut secret = |key: &'static str| {
        let value = section.take(key)?;
        context.place(format!("admin.{key}"), &value.at);
        read_secret(&value, "token")
    };
    let (token, read_token) = (secret("token"), secret("read_token"));
    if section.has("token") && !control {
        let hint = "add `control = true`, or call it `read_token` if it is for those who only look";
        context.error(&section.at, "`token` is for those who operate the gateway, and `control` is off", hint);
    }
    let tls = read_tls(&mut section);
    let hosts = section.texts("hosts").unwrap_or_default();
    for host in &hosts {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.value.is_empty() || !host.value.chars().all(fine) {
            let what = format!("{} is not a host name", values::shown(host.value));
            context.error(&host.at, what, "write it without port, such as \"gateway.example\"");
        }
    }
    let hosts = hosts.into_iter().map(|host| host.value.to_ascii_lowercase()).collect();
    let has_tls = section.has("tls");
    let has_token = section.has("token") || section.has("read_token");
    section.finish();
    let listen = listen?;
    // A socket is a file, and relative ones are relative to this file.
    let whole = match listen.value.strip_prefix("unix:") {
        Some(path) if !path.is_empty() && !path.starts_with('/') => {
            format!("unix:{}", context.path(path, &listen.at).display())
        }
        _ => listen.value.to_owned(),
    };
    let addr = listening::admin_addr(&whole).map_err(|(what, hint)| context.error(&listen.at, what, hint)).ok()?;
    match &addr {
        AdminAddr::Tcp(tcp) if !tcp.ip().is_loopback() => remote(context, &listen, has_token, has_tls, allow_remote),
        AdminAddr::Unix(_) if has_tls => {
            context.error(&listen.at, "a Unix socket has no TLS", "leave out `tls`, or listen on an address");
        }
        AdminAddr::Tcp(_) | AdminAddr::Unix(_) => {}
    }
    Some(Admin { listen: addr, control, token, read_token, tls, hosts })
}

/// An address that other machines may reach.
fn remote(context: &crate::tree::Context, listen: &At<&str>, has_token: bool, has_tls: bool, allow_remote: bool) {
    if has_token && !has_tls {
        context.error(
            &listen.at,
            format!("other machines may reach {}, and the token would travel there as it is", listen.value),
            "add `tls = { cert = \"...\", key = \"...\" }`, or listen on 127.0.0.1 or a unix socket",
        );
    } else if !has_token && !allow_remote {
        context.error(
            &listen.at,
            format!("the admin server asks for no password, and {} can be reached from other machines", listen.value),
            "listen on 127.0.0.1 or a unix socket; or add `read_token` and `tls`; or add `allow_remote = true`, which \
             shows other machines metrics and health, and nothing else",
        );
    }
}

fn read_tls(admin: &mut Section<'_, '_, '_, '_>) -> Option<AdminTls> {
    let context = admin.context;
    let mut section = admin.take("tls")?.section("tls = { cert = \"admin.pem\", key = \"admin.key\" }")?;
    let cert = section.require("cert", "\"admin.pem\"").and_then(|value| value.path());
    let key = section.require("key", "\"admin.key\"").and_then(|value| value.path());
    let key_password = section.take("key_password").and_then(|value| {
        context.place("admin.tls.key_password".to_owned(), &value.at);
        read_secret(&value, "passphrase")
    });
    section.finish();
    let (cert, key) = (cert?, key?);
    context.place("admin.tls.cert".to_owned(), &cert.at);
    context.uses_file(FileKind::Certificates(cert.value.clone()), &cert.at);
    context.place("admin.tls.key".to_owned(), &key.at);
    context.uses_file(FileKind::Private { what: "private key", path: key.value.clone() }, &key.at);
    Some(AdminTls { cert: cert.value, key: key.value, key_password })
}
