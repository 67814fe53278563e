//! Which files a configuration names: what is saved in them is worth a reload.

use std::collections::BTreeSet;
use std::path::PathBuf;
use tidegate_config::{Broker, Config, EmbeddedBroker, HeaderValue, LinkBroker, ListenTls, Plugin, Secret, Tls};

/// Where systemd puts credentials (systemd.exec, `LoadCredential=`); some versions put new ones there at a reload.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Every file that `config` names: components, secrets, certificates and keys, user files.
pub(crate) fn files(config: &Config) -> BTreeSet<PathBuf> {
    let plugins = config.plugins.values().flat_map(components);
    let brokers = config.brokers.values().flat_map(|broker| match broker {
        Broker::Link(link) => of_link(link),
        Broker::Nats(nats) => {
            let password = nats.password.as_ref().and_then(of_secret);
            password.into_iter().chain(nats.tls.iter().flat_map(of_tls)).collect()
        }
        Broker::Embedded(EmbeddedBroker { users, lists, tls, .. }) => {
            let tls = tls.iter().flat_map(of_listen_tls);
            users.iter().chain(&lists.acl_file).cloned().chain(tls).collect()
        }
    });
    plugins.chain(brokers).collect()
}

/// What a configuration names beside itself: files that are no secrets, and those that are.
pub fn named_files(config: &Config) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let tls = config.brokers.values().filter_map(|broker| match broker {
        Broker::Link(link) => link.tls.as_ref(),
        Broker::Nats(nats) => nats.tls.as_ref(),
        Broker::Embedded(_) => None,
    });
    let own = config.brokers.values().filter_map(|broker| broker.embedded()?.tls.as_ref());
    let admin = config.admin.as_ref();
    let plain: BTreeSet<PathBuf> = config
        .plugins
        .values()
        .flat_map(components)
        .chain(tls.flat_map(|tls| [&tls.ca, &tls.cert]).flatten().cloned())
        .chain(admin.and_then(|admin| admin.tls.as_ref()).map(|tls| tls.cert.clone()))
        .chain(own.flat_map(|tls| {
            let certs = tls.certificates.iter().map(|one| one.cert.clone());
            certs.chain(tls.client_ca.clone()).chain(tls.client_crl.clone()).collect::<Vec<_>>()
        }))
        .collect();
    let of_admin = admin.into_iter().flat_map(|admin| {
        let tls = admin.tls.as_ref();
        let secrets = [admin.token.as_ref(), admin.read_token.as_ref(), tls.and_then(|tls| tls.key_password.as_ref())];
        secrets.into_iter().flatten().filter_map(of_secret).chain(tls.map(|tls| tls.key.clone())).collect::<Vec<_>>()
    });
    let secret = files(config).into_iter().chain(of_admin).filter(|file| !plain.contains(file)).collect();
    (plain.into_iter().collect(), secret)
}

/// Of a plugin, and of what is tried beside it.
fn components(plugin: &Plugin) -> impl Iterator<Item = PathBuf> + '_ {
    let candidate = plugin.candidate.as_deref().map(|candidate| candidate.path.clone());
    std::iter::once(plugin.path.clone()).chain(candidate)
}

fn of_link(link: &LinkBroker) -> Vec<PathBuf> {
    let headers = link.headers.iter().filter_map(|header| match &header.value {
        HeaderValue::Secret(secret) => Some(secret),
        HeaderValue::Text(_) => None,
    });
    let secrets = link.password.iter().chain(headers).filter_map(of_secret);
    secrets.chain(link.tls.iter().flat_map(of_tls)).collect()
}

fn of_tls(tls: &Tls) -> Vec<PathBuf> {
    let passphrase = tls.key_password.as_ref().and_then(of_secret);
    [&tls.ca, &tls.cert, &tls.key].into_iter().flatten().cloned().chain(passphrase).collect()
}

/// What listeners with TLS are made of.
pub(crate) fn of_listen_tls(tls: &ListenTls) -> Vec<PathBuf> {
    let certificates = tls
        .certificates
        .iter()
        .flat_map(|one| [Some(one.cert.clone()), Some(one.key.clone()), one.key_password.as_ref().and_then(of_secret)]);
    certificates.chain([tls.client_ca.clone(), tls.client_crl.clone()]).flatten().collect()
}

/// `None` for a variable: those of a running process do not change.
fn of_secret(secret: &Secret) -> Option<PathBuf> {
    match secret {
        Secret::File(path) => Some(path.clone()),
        Secret::Credential(name) => Some(PathBuf::from(std::env::var_os(CREDENTIALS_DIRECTORY)?).join(name)),
        Secret::Env(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_that_is_named_is_found() {
        let text = r#"
[gateway]
name = "g"
data_dir = "data"
[brokers.a]
url = "wss://localhost"
username = "u"
password = { file = "a.pass" }
headers = { "X-Key" = { file = "x.key" }, "X-Env" = { env = "NOT_A_FILE" }, "X-Site" = "cottage" }
tls = { ca = "ca.pem", cert = "gw.pem", key = "gw.key", key_password = { file = "key.pass" } }
[brokers.own]
embedded = true
listen = ["mqtt://127.0.0.1:0"]
users = "users.txt"
[plugins.p]
path = "p.wasm"
[[routes]]
name = "r"
from = { broker = "own", topics = ["x/#"] }
plugins = ["p"]
to = ["a"]
"#;
        let config = tidegate_config::parse(text, Path::new("/etc/gw.toml")).unwrap().0;
        let found: Vec<String> = files(&config).iter().map(|path| path.display().to_string()).collect();
        let names = ["a.pass", "ca.pem", "gw.key", "gw.pem", "key.pass", "p.wasm", "users.txt", "x.key"];
        assert_eq!(found, names.map(|name| format!("/etc/{name}")));
    }
}
