//! The second look at a configuration: what is in the files that it names, read as the links and brokers will read it.

use crate::embedded;
use crate::settings::{self, Wrong};
use tidegate_config::{self as config, Loaded, Problem, Secret, Severity};

/// What speaks against starting a broker, or is worth a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which broker.
    pub broker: String,
    /// What, and where the configuration says so.
    pub problem: Problem,
}

/// What every broker's files and secrets say against starting it, and what is worth a look. Slow: does I/O, opens keys.
///
/// What only the gateway's own process can know (its environment, its credentials) is left out.
pub fn preflight(loaded: &Loaded) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, broker) in &loaded.config.brokers {
        let errors = match broker {
            config::Broker::Link(link) => settings::link(name, link).err().unwrap_or_default(),
            config::Broker::Nats(nats) => settings::nats(nats).err().unwrap_or_default(),
            config::Broker::Embedded(embedded) => embedded::admitted(name, embedded).err().into_iter().collect(),
        };
        let errors = errors.into_iter().filter(|wrong| !wrong.elsewhere).map(|wrong| (Severity::Error, wrong));
        let warnings = warnings(broker).into_iter().map(|wrong| (Severity::Warning, wrong));
        for (severity, Wrong { key, words, .. }) in errors.chain(warnings) {
            found.extend(words.lines().map(|line| {
                let problem = loaded.places.problem(severity, name, key, line);
                Finding { broker: name.clone(), problem }
            }));
        }
    }
    found
}

fn warnings(broker: &config::Broker) -> Vec<Wrong> {
    match broker {
        config::Broker::Link(link) => {
            let headers = link.headers.iter().filter_map(|header| match &header.value {
                config::HeaderValue::Secret(secret) => Some(secret),
                config::HeaderValue::Text(_) => None,
            });
            let secrets = keys_of(link.password.as_ref(), link.tls.as_ref());
            let secrets = secrets.chain(headers.map(|secret| ("headers", secret)));
            secrets.filter_map(|(key, secret)| doubtful(key, secret)).collect()
        }
        config::Broker::Nats(nats) => {
            let secrets = keys_of(nats.password.as_ref(), nats.tls.as_ref());
            secrets.filter_map(|(key, secret)| doubtful(key, secret)).collect()
        }
        config::Broker::Embedded(embedded) => {
            let nobody = embedded::users(embedded).is_ok_and(|users| users.is_some_and(|users| users.is_empty()));
            let words = "there is no user in it, so nobody may connect; add one with `mosquitto_passwd FILE NAME`";
            nobody.then(|| Wrong { key: "users", words: words.to_owned(), elsewhere: false }).into_iter().collect()
        }
    }
}

/// The secrets that every broker may have, with their keys.
fn keys_of<'s>(
    password: Option<&'s Secret>,
    tls: Option<&'s config::Tls>,
) -> impl Iterator<Item = (&'static str, &'s Secret)> {
    let passphrase = tls.and_then(|tls| tls.key_password.as_ref());
    password.map(|secret| ("password", secret)).into_iter().chain(passphrase.map(|secret| ("tls.key_password", secret)))
}

/// What a secret hardly is on purpose. Does not repeat it.
fn doubtful(key: &'static str, secret: &Secret) -> Option<Wrong> {
    let value = secret.read().ok()?;
    let from = match secret {
        Secret::File(path) => format!("the secret in `{}`", path.display()),
        Secret::Env(name) => format!("the secret in the environment variable `{name}`"),
        Secret::Credential(name) => format!("the credential `{name}`"),
    };
    let words = match value.expose() {
        [] => format!("{from} is empty; write it there, or leave out the key"),
        [0xef, 0xbb, 0xbf, ..] => {
            format!("{from} begins with a byte order mark, which is taken as a part of it; save it without one")
        }
        [.., b'\n' | b'\r'] => {
            format!("{from} ends with an empty line, and only one line end is cut; delete the others")
        }
        _ => return None,
    };
    Some(Wrong { key, words, elsewhere: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    /// A directory with a configuration of a link over TLS and a broker of the box's own, and all that they name.
    struct Place(tempfile::TempDir);

    const CONFIG: &str = r#"
[gateway]
name = "g"
data_dir = "data"
[brokers.a]
url = "mqtts://localhost"
username = "u"
password = { file = "a.pass" }
tls = { ca = "ca.pem", cert = "gw.pem", key = "gw.key" }
[brokers.own]
embedded = true
listen = ["mqtt://127.0.0.1:0"]
users = "users.txt"
[[routes]]
name = "r"
from = { broker = "own", topics = ["x/#"] }
to = ["a"]
"#;

    fn pem(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../transport/tests/pem").join(name)
    }

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            place.write("gw.toml", CONFIG.as_bytes());
            for name in ["ca.pem", "gw.pem", "gw.key"] {
                place.copy(name, name);
            }
            place.write("a.pass", b"hush\n");
            // `hush`, with very few rounds.
            let salt_and_hash = "$7$1$c2FsdA==$".to_owned() + &"A".repeat(86) + "==";
            place.write("users.txt", format!("device:{salt_and_hash}\n").as_bytes());
            place
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            use std::os::unix::fs::PermissionsExt;
            let path = self.0.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }

        fn copy(&self, from: &str, to: &str) {
            self.write(to, &std::fs::read(pem(from)).unwrap());
        }

        /// What is found, without the directory.
        fn found(&self) -> Vec<String> {
            let loaded = tidegate_config::load(&self.0.path().join("gw.toml")).unwrap();
            let place = format!("{}/", self.0.path().display());
            preflight(&loaded).iter().map(|found| found.problem.to_string().replace(&place, "")).collect()
        }
    }

    #[track_caller]
    fn assert_one(found: &[String], start: &str, part: &str) {
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(start) && found[0].contains(part), "{} has not {start} and {part}", found[0]);
        assert!(found[0].contains("; "), "it says what to do: {}", found[0]);
    }

    #[test]
    fn files_that_are_right_say_nothing() {
        assert_eq!(Place::new().found(), [""; 0]);
    }

    #[test]
    fn what_run_would_refuse_is_found_at_its_place() {
        for (from, to, start, part) in [
            ("gw.encrypted.key", "gw.key", "gw.toml:9:47: broker `a`: private key gw.key", "`key_password`"),
            ("gw.traditional.key", "gw.key", "gw.toml:9:47: broker `a`: private key gw.key", "openssl pkcs8 -topk8"),
            ("server.key", "gw.key", "gw.toml:9:47: ", "made together"),
            ("gw.der", "gw.pem", "gw.toml:9:31: broker `a`: certificate gw.pem", "openssl x509 -inform DER"),
            ("gw.trusted.pem", "gw.pem", "gw.toml:9:31: ", "openssl x509 -in"),
            ("gw.key", "ca.pem", "gw.toml:9:14: broker `a`: CA certificate ca.pem", "exchanged"),
        ] {
            let place = Place::new();
            place.copy(from, to);
            assert_one(&place.found(), start, part);
        }
        let place = Place::new();
        place.write("ca.pem", b"");
        place.copy("gw.key", "gw.pem");
        place.copy("gw.pem", "gw.key");
        let found = place.found();
        assert_eq!(found.len(), 3, "all at once: {found:#?}");
    }

    #[test]
    fn users_are_read_as_the_broker_reads_them() {
        let place = Place::new();
        place.write("users.txt", b"# made by hand\na:$6$c2FsdA==$aGFzaA==\nb:$5$c2FsdA==\nc:secret\n");
        let found = place.found();
        assert_eq!(found.len(), 3, "{found:#?}");
        for (line, number) in found.iter().zip(2..) {
            let start = format!("gw.toml:13:9: broker `own`: users.txt:{number}: ");
            assert!(line.starts_with(&start) && (line.contains("tidegate user passwd") || number == 4), "{line}");
            assert!(!line.contains("secret\n") && !line.contains("c2FsdA"), "{line}");
        }
        place.write("users.txt", b"\xef\xbb\xbf# nobody\r\n");
        assert_one(&place.found(), "gw.toml:13:9: warning: broker `own`", "nobody may connect");
    }

    #[test]
    fn a_secret_that_is_hardly_meant_so_is_worth_a_warning() {
        for (bytes, part) in [
            (&b"\n"[..], "is empty"),
            (b"", "is empty"),
            (b"\xef\xbb\xbfhush", "byte order mark"),
            (b"hush\n\n", "empty line"),
            (b"hush\r\n\r\n", "empty line"),
        ] {
            let place = Place::new();
            place.write("a.pass", bytes);
            assert_one(&place.found(), "gw.toml:8:12: warning: broker `a`", part);
        }
    }

    #[test]
    fn what_only_the_gateways_process_knows_is_left_to_it() {
        let place = Place::new();
        place.copy("gw.encrypted.key", "gw.key");
        let key = "key = \"gw.key\", key_password = { env = \"TIDEGATE_TEST_THAT_IS_NEVER_SET\" }";
        place.write("gw.toml", CONFIG.replace("key = \"gw.key\"", key).as_bytes());
        assert_eq!(place.found(), [""; 0]);
        place.write("key.pass", b"secret\n");
        let key = "key = \"gw.key\", key_password = { file = \"key.pass\" }";
        place.write("gw.toml", CONFIG.replace("key = \"gw.key\"", key).as_bytes());
        assert_eq!(place.found(), [""; 0]);
        place.write("key.pass", b"other\n");
        assert_one(&place.found(), "gw.toml:9:47: ", "does not open it");
    }
}
