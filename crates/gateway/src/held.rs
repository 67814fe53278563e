//! Brokers whose files or secrets cannot be used: they are held back, the others run, and what is wrong is looked at again.

use crate::settings::{self, Wrong};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_config::{Broker, Config};

/// How often the files of a broker that is held back are read again.
pub(crate) const AGAIN: Duration = Duration::from_secs(60);

/// Everything about a link, read and ready, or all that is wrong with it.
pub(crate) struct LinkSettings {
    pub(crate) name: String,
    pub(crate) read: Result<EndSettings, Vec<Wrong>>,
    /// What its passwords and certificates are.
    pub(crate) material: u64,
}

/// Of one or the other kind.
#[allow(clippy::large_enum_variant)] // there are a few of them, for a moment
pub(crate) enum EndSettings {
    Link(tidegate_link::Settings),
    #[cfg(feature = "nats")]
    Nats(tidegate_nats::Settings),
}

/// Reads secrets and certificates of every link there is, or of those that are `wanted`. Slow: does I/O.
pub(crate) fn link_settings(config: &Config, wanted: impl Fn(&str) -> bool) -> Vec<LinkSettings> {
    let read = |(name, broker): (&String, &Broker)| {
        let read = match broker {
            Broker::Link(link) => settings::link(name, link).map(EndSettings::Link),
            #[cfg(feature = "nats")]
            Broker::Nats(nats) => settings::nats(nats).map(EndSettings::Nats),
            #[cfg(not(feature = "nats"))]
            Broker::Nats(nats) => settings::nats(nats).map(|never| match never {}),
            Broker::Embedded(_) => return None,
        };
        Some(LinkSettings { name: name.clone(), read, material: settings::material(broker) })
    };
    config.brokers.iter().filter(|(name, _)| wanted(name)).filter_map(read).collect()
}

/// Which links are held back, and why.
#[derive(Default)]
pub(crate) struct Held(RefCell<BTreeMap<String, String>>);

impl Held {
    /// True when this is news.
    pub(crate) fn hold(&self, name: &str, words: &str) -> bool {
        self.0.borrow_mut().insert(name.to_owned(), words.to_owned()).is_none_or(|before| before != words)
    }

    /// True when it was held back.
    pub(crate) fn release(&self, name: &str) -> bool {
        self.0.borrow_mut().remove(name).is_some()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.borrow().contains_key(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }

    /// Whether what is wrong with a broker was wrong before, so that it speaks against nothing that is new.
    pub(crate) fn excuses(&self, name: &str, before: Option<&Broker>, after: Option<&Broker>) -> bool {
        self.contains(name) && before.is_some() && before == after
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, Gateway};
    use std::path::{Path, PathBuf};
    use tidegate_config::Config;
    use tokio::task::LocalSet;

    /// An address for documentation, which no machine has (RFC 5737).
    const ABSENT: &str = "192.0.2.1:1883";

    fn pem(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../transport/tests/pem").join(name)
    }

    /// A directory with a key, and configurations that have a broker `bad` with that key.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new(key: &str) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            place.key(key);
            place
        }

        fn key(&self, name: &str) {
            std::fs::copy(pem(name), self.0.path().join("gw.key")).unwrap();
        }

        /// `listen` of its own broker, and more.
        fn config(&self, listen: &str, more: &str) -> Config {
            let (cert, dir) = (pem("gw.pem"), self.0.path().display());
            let text = format!(
                "[gateway]\nname = \"g\"\ndata_dir = \"{dir}/data\"\n[brokers.own]\nembedded = true\nlisten = [{listen}]\n\
                 users = \"{dir}/users.txt\"\n[brokers.bad]\nurl = \"mqtts://127.0.0.1:1\"\n\
                 tls = {{ ca = \"{}\", cert = \"{}\", key = \"{dir}/gw.key\" }}\n{more}",
                pem("ca.pem").display(),
                cert.display()
            );
            tidegate_config::parse(&text, &self.0.path().join("gw.toml")).unwrap().0
        }

        fn users(&self, text: &str) {
            std::fs::write(self.0.path().join("users.txt"), text).unwrap();
        }
    }

    /// Whether a broker is ready, and what it says of itself.
    fn broker(gateway: &Gateway, name: &str) -> (bool, String) {
        let snapshot = gateway.snapshot();
        let broker = snapshot.brokers.iter().find(|broker| broker.name == name).unwrap();
        (broker.ready, broker.error.clone().unwrap_or_default())
    }

    async fn until(gateway: &Gateway, name: &str, wanted: impl Fn(bool, &str) -> bool) {
        let waited = async {
            loop {
                let (ready, error) = broker(gateway, name);
                if wanted(ready, &error) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let patience = std::time::Duration::from_secs(20);
        let came = tokio::time::timeout(patience, waited).await;
        came.unwrap_or_else(|_| panic!("{name} stays as it is: {:?}", broker(gateway, name)));
    }

    #[tokio::test]
    async fn a_bad_file_keeps_its_broker_from_starting_and_no_other() {
        let place = Place::new("gw.encrypted.key");
        place.users("");
        let local = LocalSet::new();
        local
            .run_until(async {
                let config = place.config("\"mqtt://127.0.0.1:0\"", "");
                let gateway = Gateway::start(config.clone()).await.unwrap();
                let (ready, error) = broker(&gateway, "bad");
                assert!(!ready && error.contains("`key_password`"), "{error}");
                assert_eq!((broker(&gateway, "own"), gateway.addresses("own").len()), ((true, String::new()), 1));
                // It does not speak against a reload that has nothing to do with it, and a second one does.
                let own = config.brokers["own"].clone();
                let mut more = place.config("\"mqtt://127.0.0.1:0\"", "[brokers.t]\nurl = \"mqtt://127.0.0.1:1\"\n");
                more.brokers.insert("own".into(), own);
                gateway.reload(more.clone()).await.unwrap();
                let mut worse = more.clone();
                worse.brokers.insert("worse".into(), worse.brokers["bad"].clone());
                let refused = gateway.reload(worse).await.unwrap_err();
                assert!(refused.len() == 1 && refused[0].starts_with("broker `worse`: private key"), "{refused:?}");
                assert_eq!(gateway.snapshot().brokers.len(), 3, "nothing of it was applied");
                place.key("gw.key");
                gateway.reload(more).await.unwrap();
                until(&gateway, "bad", |_, error| error.contains("refused")).await;
                gateway.drain(std::time::Duration::ZERO).await;
            })
            .await;
    }

    #[tokio::test]
    async fn an_address_that_is_absent_is_waited_for_and_one_in_use_ends_the_start() {
        let place = Place::new("gw.key");
        place.users("");
        let local = LocalSet::new();
        local
            .run_until(async {
                let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let config = place.config(&format!("\"mqtt://{}\"", taken.local_addr().unwrap()), "");
                let refused = Gateway::start(config).await.map(drop);
                assert!(matches!(refused, Err(Error::InUse(_))), "{refused:?}");
                let place = Place::new("gw.key");
                place.users("");
                let config = place.config(&format!("\"mqtt://{ABSENT}\", \"ws://127.0.0.1:0\""), "");
                let gateway = Gateway::start(config).await.unwrap();
                until(&gateway, "own", |ready, error| !ready && error.contains(ABSENT)).await;
                assert_eq!(gateway.addresses("own").len(), 1, "the other one is there");
                gateway.drain(std::time::Duration::ZERO).await;
            })
            .await;
    }

    #[tokio::test]
    async fn without_a_user_file_that_can_be_used_nobody_is_let_in() {
        let place = Place::new("gw.key");
        place.users("somebody:secret\n");
        let local = LocalSet::new();
        local
            .run_until(async {
                let config = place.config("\"mqtt://127.0.0.1:0\"", "");
                let gateway = Gateway::start(config.clone()).await.unwrap();
                until(&gateway, "own", |ready, error| !ready && error.contains("not hashed")).await;
                assert!(gateway.addresses("own").is_empty());
                place.users("");
                // A reload looks again, whatever it changes.
                gateway.reload(config).await.unwrap();
                until(&gateway, "own", |ready, _| ready).await;
                assert_eq!(gateway.addresses("own").len(), 1);
                gateway.drain(std::time::Duration::ZERO).await;
            })
            .await;
    }
}
