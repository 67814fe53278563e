//! From the checked configuration to the settings of links and of the box's own broker.

use std::time::Duration;
use tidegate_config as config;
use tidegate_link::{Address, Bridge, Reconnect, Settings, TlsSettings, VersionChoice};
use tidegate_message::{Message, TopicFilter};
use tidegate_mqtt::{RetainHandling, SubscribeFilter, Version, Will};

/// How long a write to a broker may make no progress, unless the keep-alive is longer.
const WRITE_TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// What a link reads from elsewhere than the configuration: changes when a password or a certificate is replaced.
pub(crate) fn material(broker: &config::LinkBroker) -> u64 {
    let headers = broker.headers.iter().filter_map(|header| match &header.value {
        config::HeaderValue::Secret(secret) => Some(secret),
        config::HeaderValue::Text(_) => None,
    });
    let passphrase = broker.tls.as_ref().and_then(|tls| tls.key_password.as_ref());
    let secrets: Vec<_> =
        broker.password.iter().chain(headers).chain(passphrase).map(|secret| secret.read().ok()).collect();
    let tls = broker.tls.iter().flat_map(|tls| [&tls.ca, &tls.cert, &tls.key]).flatten();
    let files: Vec<_> = tls.map(|path| std::fs::read(path).ok()).collect();
    let secrets: Vec<_> = secrets.iter().map(|secret| secret.as_ref().map(config::SecretValue::expose)).collect();
    ahash::RandomState::with_seeds(1, 3, 5, 7).hash_one((secrets, files))
}

/// Reads the secrets and certificates of a link. What is wrong comes back in words.
pub(crate) fn link(name: &str, broker: &config::LinkBroker) -> Result<Settings, String> {
    use config::Scheme;
    let url = &broker.url;
    let address = match url.scheme {
        Scheme::Unix => Address::Unix(url.path.clone().into()),
        _ => Address::Tcp { host: url.host.clone(), port: url.port },
    };
    let tls = match url.scheme {
        Scheme::Mqtts | Scheme::Wss => Some(tls(broker)?),
        Scheme::Mqtt | Scheme::Ws | Scheme::Unix => None,
    };
    let websocket = matches!(url.scheme, Scheme::Ws | Scheme::Wss).then(|| url.path.clone());
    let password = match &broker.password {
        Some(secret) => Some(secret.read().map_err(|error| error.to_string())?.expose().to_vec().into()),
        None => None,
    };
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
    let will = broker.will.as_ref().map(|will| Will {
        message: announcement(&will.message),
        delay_s: u32::try_from(will.delay.as_secs()).unwrap_or(u32::MAX),
    });
    Ok(Settings {
        name: name.to_owned(),
        address,
        tls,
        websocket,
        headers: headers(broker)?,
        version,
        bridge,
        client_id: broker.client_id.as_str().into(),
        username: broker.username.as_deref().map(Into::into),
        password,
        will,
        birth: broker.birth.as_ref().map(announcement),
        farewell: broker.farewell.as_ref().map(announcement),
        max_qos: broker.max_qos,
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

fn announcement(said: &config::Announcement) -> Message {
    Message { retain: said.retain, ..Message::new(said.topic.clone(), said.payload.clone(), said.qos) }
}

/// Names and values; a value that is a secret is read.
fn headers(broker: &config::LinkBroker) -> Result<Vec<(String, String)>, String> {
    let read = |header: &config::Header| {
        let value = match &header.value {
            config::HeaderValue::Text(text) => text.clone(),
            config::HeaderValue::Secret(secret) => {
                let bytes = secret.read().map_err(|error| error.to_string())?;
                let text = std::str::from_utf8(bytes.expose()).unwrap_or("\0");
                if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                    let name = &header.name;
                    return Err(format!(
                        "the secret for the header `{name}` is not one line of printable ASCII characters"
                    ));
                }
                text.to_owned()
            }
        };
        Ok((header.name.clone(), value))
    };
    broker.headers.iter().map(read).collect()
}

/// Reads what TLS needs: everything that is wrong, with the key that it is about.
fn tls(broker: &config::LinkBroker) -> Result<TlsSettings, Vec<Wrong>> {
    let none = config::Tls::default();
    let tls = broker.tls.as_ref().unwrap_or(&none);
    let passphrase = match tls.key_password.as_ref().map(config::Secret::read).transpose() {
        Ok(passphrase) => passphrase,
        Err(error) => return Err(vec![Wrong { key: "tls.key_password", words: error.to_string() }]),
    };
    let files = TlsFiles {
        ca: tls.ca.as_deref(),
        fingerprint: tls.fingerprint,
        client: tls.cert.as_deref().zip(tls.key.as_deref()),
        key_password: passphrase.as_ref().map(config::SecretValue::expose),
    };
    // A zone is of this machine, and no part of a name.
    let host = broker.url.host.split_once('%').map_or(&*broker.url.host, |(address, _)| address);
    let name = tls.server_name.as_deref().unwrap_or(host);
    let key = |error: &TlsError| match error.key() {
        "cert" => "tls.cert",
        "key" => "tls.key",
        _ => "tls.ca",
    };
    TlsSettings::new(files, name, &tls.alpn)
        .map_err(|errors| errors.iter().map(|error| Wrong { key: key(error), words: error.to_string() }).collect())
}

/// What to subscribe to at a broker for all its routes: each filter once, with the highest QoS asked for. Filters that
/// overlap have identifiers, for a broker may send a message once for each filter it matches.
pub(crate) fn subscriptions(config: &config::Config, broker: &str) -> Vec<SubscribeFilter> {
    let mut kept: Vec<(TopicFilter, tidegate_message::QoS)> = Vec::new();
    for route in config.routes.iter().filter(|route| route.from.broker == broker) {
        for filter in &route.from.topics {
            match kept.iter_mut().find(|(known, _)| known == filter) {
                Some((_, qos)) => *qos = (*qos).max(route.from.qos),
                None => kept.push((filter.clone(), route.from.qos)),
            }
        }
    }
    // Of several copies the first one counts: let it be the one with the highest QoS.
    kept.sort_by_key(|(_, qos)| std::cmp::Reverse(*qos));
    let overlaps = |at: usize| {
        let others = kept.iter().enumerate().filter(|(other, _)| *other != at);
        others.into_iter().any(|(_, (other, _))| other.overlaps(&kept[at].0))
    };
    let ids: Vec<_> = (0..kept.len()).map(|at| overlaps(at).then_some(at as u32 + 1)).collect();
    let numbered = kept.iter().zip(ids);
    numbered
        .map(|((filter, qos), subscription_id)| SubscribeFilter {
            // What we publish there ourselves must not come back; a shared subscription cannot say so (MQTT-3.8.3-4).
            no_local: filter.share().is_none(),
            retain_as_published: true,
            retain_handling: RetainHandling::SendIfNew,
            subscription_id,
            ..SubscribeFilter::new(filter.clone(), *qos)
        })
        .collect()
}
