//! From the checked configuration to the settings of links and of the box's own broker.

use crate::status;
use std::time::Duration;
use tidegate_config as config;
use tidegate_link::{Address, Bridge, Reconnect, Settings, TlsError, TlsFiles, TlsSettings, VersionChoice};
use tidegate_message::Message;
use tidegate_mqtt::{Version, Will};

/// How long a write to a broker may make no progress, unless the keep-alive is longer.
const WRITE_TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// What is wrong with a file or a secret that a broker's settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The key that names it, such as `tls.cert`.
    pub(crate) key: &'static str,
    /// What is wrong, and behind a semicolon what to do.
    pub(crate) words: String,
    /// It is not for whoever looks now to say: the gateway's process may have that variable or credential.
    pub(crate) elsewhere: bool,
}

/// What is wrong with lines of a file, each on a line of its own.
pub fn line_by_line(path: &std::path::Path, wrong: impl Iterator<Item = (usize, impl std::fmt::Display)>) -> String {
    let lines: Vec<String> = wrong.map(|(line, problem)| format!("{}:{line}: {problem}", path.display())).collect();
    lines.join("\n")
}

impl Wrong {
    fn new(key: &'static str, words: String) -> Self {
        Self { key, words, elsewhere: false }
    }
}

/// What is wrong with a broker, on one line.
pub(crate) fn in_words(wrong: &[Wrong]) -> String {
    wrong.iter().map(|one| one.words.as_str()).collect::<Vec<_>>().join(", and ")
}

/// Reads a secret that stands at a key.
pub(crate) fn read(key: &'static str, secret: &config::Secret) -> Result<config::SecretValue, Wrong> {
    let elsewhere = !matches!(secret, config::Secret::File(_));
    secret.read().map_err(|error| Wrong { elsewhere, ..Wrong::new(key, error.to_string()) })
}

/// What a link reads from elsewhere than the configuration: changes when a password or a certificate is replaced.
pub(crate) fn material(broker: &config::Broker) -> u64 {
    let (password, tls, headers) = match broker {
        config::Broker::Link(link) => (&link.password, &link.tls, link.headers.as_slice()),
        config::Broker::Nats(nats) => (&nats.password, &nats.tls, &[][..]),
        config::Broker::Embedded(_) => (&None, &None, &[][..]),
    };
    let headers = headers.iter().filter_map(|header| match &header.value {
        config::HeaderValue::Secret(secret) => Some(secret),
        config::HeaderValue::Text(_) => None,
    });
    let passphrase = tls.as_ref().and_then(|tls| tls.key_password.as_ref());
    let secrets: Vec<_> = password.iter().chain(headers).chain(passphrase).map(|secret| secret.read().ok()).collect();
    let tls = tls.iter().flat_map(|tls| [&tls.ca, &tls.cert, &tls.key]).flatten();
    let files: Vec<_> = tls.map(|path| std::fs::read(path).ok()).collect();
    let secrets: Vec<_> = secrets.iter().map(|secret| secret.as_ref().map(config::SecretValue::expose)).collect();
    ahash::RandomState::with_seeds(1, 3, 5, 7).hash_one((secrets, files))
}

/// Reads the secrets and certificates of a link.
///
/// # Errors
/// Everything that is wrong.
pub(crate) fn link(name: &str, broker: &config::LinkBroker) -> Result<Settings, Vec<Wrong>> {
    let mut wrong = Vec::new();

    use config::Scheme;
    let url = &broker.url;
    let address = match url.scheme {
        Scheme::Unix => Address::Unix(url.path.clone().into()),
        _ => Address::Tcp { host: url.host.clone(), port: url.port },
    };
    let tls = match url.scheme {
        Scheme::Mqtts | Scheme::Wss => tls(broker.tls.as_ref(), &url.host).map_err(|errors| wrong.extend(errors)).ok(),
        Scheme::Mqtt | Scheme::Ws | Scheme::Unix => None,
    };
    let websocket = matches!(url.scheme, Scheme::Ws | Scheme::Wss).then(|| url.path.clone());
    let password = broker.password.as_ref().and_then(|secret| {
        read("password", secret).map(|value| value.expose().to_vec().into()).map_err(|error| wrong.push(error)).ok()
    });
    let headers = headers(&broker.headers).map_err(|errors| wrong.extend(errors)).unwrap_or_default();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let version = match broker.version {
        // A password without a user name is for MQTT 5 alone (MQTT 3.1.1 section 3.1.2.9).
        config::Version::Auto if broker.password.is_some() && broker.username.is_none() => {
            VersionChoice::Only(Version::V5)
        }
        config::Version::Auto => VersionChoice::Auto,
        config::Version::V31 => VersionChoice::Only(Version::V31),
        config::Version::V311 => VersionChoice::Only(Version::V311),
        config::Version::V5 => VersionChoice::Only(Version::V5),
    };
    let bridge = match broker.bridge {
        config::BridgeMode::Auto => Bridge::Auto,
        config::BridgeMode::On => Bridge::On,
        config::BridgeMode::Off => Bridge::Off,
    };
    let said = broker.status.as_ref().map(|status| status::announced(status, broker.max_qos));
    let (birth, farewell) = (broker.birth.as_ref().map(announcement), broker.farewell.as_ref().map(announcement));
    let will = broker.will.as_ref().map(|will| Will {
        message: announcement(&will.message),
        delay_s: u32::try_from(will.delay.as_secs()).unwrap_or(u32::MAX),
    });
    Ok(Settings {
        name: name.to_owned(),
        address,
        tls,
        websocket,
        headers,
        version,
        bridge,
        client_id: broker.client_id.as_str().into(),
        username: broker.username.as_deref().map(Into::into),
        password,
        will: will.or_else(|| Some(Will { message: said.as_ref()?.offline.clone(), delay_s: 0 })),
        birth: birth.or_else(|| Some(said.as_ref()?.online.clone())),
        farewell: farewell.or_else(|| Some(said.as_ref()?.offline.clone())),
        max_qos: broker.max_qos,
        mark: None,
        fetch_stored: true,
        keep_alive_s: broker.keep_alive.as_secs().min(u64::from(u16::MAX)) as u16,
        session_expiry_s: u32::try_from(broker.session_expiry.as_secs()).unwrap_or(u32::MAX),
        receive_maximum: broker.receive_maximum,
        max_packet_size: broker.max_packet_size,
        topic_alias_max: broker.topic_alias_max,
        reconnect: Reconnect { min: broker.reconnect.min, max: broker.reconnect.max },
        connect_timeout: broker.connect_timeout,
        write_timeout: (broker.keep_alive + broker.keep_alive / 2).max(WRITE_TIMEOUT_MIN),
    })
}

/// What a build is told that has no NATS.
const NO_NATS: &str = "this build has no NATS; build it with the cargo feature `nats`, as packages are";

/// What a broker needs that a build has not, which has NATS or not.
pub(crate) fn missing_feature(broker: &config::Broker, has_nats: bool) -> Option<Wrong> {
    (broker.nats().is_some() && !has_nats).then(|| Wrong::new("url", NO_NATS.to_owned()))
}

/// Reads the secrets and certificates of a NATS JetStream.
///
/// # Errors
/// Everything that is wrong.
#[cfg(feature = "nats")]
pub(crate) fn nats(broker: &config::NatsBroker) -> Result<tidegate_nats::Settings, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let tls = broker.tls.as_ref().and_then(|of| {
        // Each server is asked for its own name.
        tls(Some(of), &broker.servers[0].host).map_err(|errors| wrong.extend(errors)).ok()
    });
    let password = broker.password.as_ref().and_then(|secret| {
        let text = read("password", secret).and_then(|value| {
            let text = String::from_utf8(value.expose().to_vec());
            text.map_err(|_| Wrong::new("password", "the password is not UTF-8; look what is in it".to_owned()))
        });
        text.map_err(|error| wrong.push(error)).ok()
    });
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(tidegate_nats::Settings {
        servers: broker.servers.iter().map(ToString::to_string).collect(),
        tls,
        stream: broker.stream.clone(),
        subjects: broker.subjects.clone(),
        replicas: broker.replicas,
        client_id: broker.client_id.clone(),
        username: broker.username.clone(),
        password,
        receive_maximum: broker.receive_maximum,
        reconnect_min: broker.reconnect.min,
        reconnect_max: broker.reconnect.max,
        connect_timeout: broker.connect_timeout,
    })
}

/// A NATS JetStream, which this build does not have.
///
/// # Errors
/// That.
#[cfg(not(feature = "nats"))]
pub(crate) fn nats(_: &config::NatsBroker) -> Result<std::convert::Infallible, Vec<Wrong>> {
    Err(vec![Wrong::new("url", NO_NATS.to_owned())])
}

fn announcement(said: &config::Announcement) -> Message {
    Message { retain: said.retain, ..Message::new(said.topic.clone(), said.payload.clone(), said.qos) }
}

/// Names and values; a value that is a secret is read.
pub(crate) fn headers(written: &[config::Header]) -> Result<Vec<(String, String)>, Vec<Wrong>> {
    let (mut headers, mut wrong) = (Vec::with_capacity(written.len()), Vec::new());
    for config::Header { name, value } in written {
        let text = match value {
            config::HeaderValue::Text(text) => Ok(text.clone()),
            config::HeaderValue::Secret(secret) => read("headers", secret).and_then(|bytes| {
                let printable = |byte: &u8| *byte == b' ' || byte.is_ascii_graphic();
                match std::str::from_utf8(bytes.expose()) {
                    Ok(text) if !text.is_empty() && text.as_bytes().iter().all(printable) => Ok(text.to_owned()),
                    _ => Err(Wrong::new(
                        "headers",
                        format!("the secret for `{name}` is not one line of printable ASCII; look what is in it"),
                    )),
                }
            }),
        };
        match text {
            Ok(text) => headers.push((name.clone(), text)),
            Err(error) => wrong.push(error),
        }
    }
    if wrong.is_empty() { Ok(headers) } else { Err(wrong) }
}

/// Reads what TLS needs.
pub(crate) fn tls(tls: Option<&config::Tls>, host: &str) -> Result<TlsSettings, Vec<Wrong>> {
    let none = config::Tls::default();
    let tls = tls.unwrap_or(&none);
    let passphrase = tls.key_password.as_ref().map(|secret| read("tls.key_password", secret)).transpose();
    let files = TlsFiles {
        ca: tls.ca.as_deref(),
        fingerprint: tls.fingerprint,
        // Without its passphrase nothing can be said of a key.
        client: tls.cert.as_deref().zip(tls.key.as_deref()).filter(|_| passphrase.is_ok()),
        key_password: passphrase.as_ref().ok().and_then(Option::as_ref).map(config::SecretValue::expose),
    };
    // A zone is of this machine, and no part of a name.
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    let name = tls.server_name.as_deref().unwrap_or(host);
    let key = |error: &TlsError| match error.key() {
        "cert" => "tls.cert",
        "key" => "tls.key",
        _ => "tls.ca",
    };
    let built = TlsSettings::new(files, name, &tls.alpn);
    let built = built.map_err(|errors| errors.iter().map(|one| Wrong::new(key(one), one.to_string())).collect());
    match (built, passphrase) {
        (built, Ok(_)) => built,
        (Ok(_), Err(error)) => Err(vec![error]),
        (Err(errors), Err(error)) => Err([errors, vec![error]].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tidegate_message::QoS;

    fn link(keys: &str) -> Settings {
        let text = format!("[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n[brokers.s]\nurl = \"mqtt://s\"\n{keys}\n");
        let config = config::parse(&text, Path::new("/gw.toml")).unwrap().0;
        super::link("s", config.brokers["s"].link().unwrap()).unwrap()
    }

    #[test]
    fn a_password_without_a_user_name_is_for_mqtt_5_alone() {
        let password = "password = { file = \"/dev/null\" }";
        assert_eq!(link(password).version, VersionChoice::Only(Version::V5));
        assert_eq!(link(&format!("{password}\nusername = \"u\"")).version, VersionChoice::Auto);
        assert_eq!(link("").version, VersionChoice::Auto);
    }

    #[test]
    fn a_build_without_nats_names_the_feature() {
        let text = "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n[brokers.s]\nurl = \"nats://s\"\nstream = \"S\"\n\
                    [brokers.m]\nurl = \"mqtt://m\"\n";
        let config = config::parse(text, Path::new("/gw.toml")).unwrap().0;
        let wrong = |name: &str, has_nats| missing_feature(&config.brokers[name], has_nats).map(|wrong| wrong.words);
        assert!(wrong("s", false).unwrap().contains("cargo feature `nats`"));
        assert_eq!((wrong("s", true), wrong("m", false)), (None, None));
    }

    #[test]
    fn what_is_announced_is_as_written() {
        let settings = link(
            "max_qos = 1\nwill = { topic = \"gw\", payload = \"gone\", qos = 1, retain = true, delay = \"10s\" }\n\
             birth = { topic = \"gw\", payload = \"here\", retain = true }\nfarewell = { topic = \"gw\" }",
        );
        let (will, birth, farewell) = (settings.will.unwrap(), settings.birth.unwrap(), settings.farewell.unwrap());
        assert_eq!((will.delay_s, will.message.qos, will.message.retain), (10, QoS::AtLeastOnce, true));
        assert_eq!((&*birth.payload, birth.retain, birth.qos), (&b"here"[..], true, QoS::AtMostOnce));
        assert!(farewell.payload.is_empty() && !farewell.retain);
        assert_eq!(settings.max_qos, QoS::AtLeastOnce);
    }
}
