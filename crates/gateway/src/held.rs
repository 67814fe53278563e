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
    pub(crate) read: Result<tidegate_link::Settings, Vec<Wrong>>,
    /// What its passwords and certificates are.
    pub(crate) material: u64,
}

/// Reads secrets and certificates of every link there is, or of those that are `wanted`. Slow: does I/O.
pub(crate) fn link_settings(config: &Config, wanted: impl Fn(&str) -> bool) -> Vec<LinkSettings> {
    let links = config.brokers.iter().filter_map(|(name, broker)| Some((name, broker.link()?)));
    let links = links.filter(|(name, _)| wanted(name));
    let read = |(name, link): (&String, _)| LinkSettings {
        name: name.clone(),
        read: settings::link(name, link),
        material: settings::material(link),
    };
    links.map(read).collect()
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
