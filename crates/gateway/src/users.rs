//! The user files of the box's own brokers, read again at each reload: whoever is new in one is let in, and whoever is gone
//! is sent away, without a listener or another client being disturbed.

use crate::embedded;
use crate::plugins::build;
use crate::settings::Wrong;
use tidegate_broker::Settings;
use tidegate_config::{Broker, Config};

/// What a broker's user file says now.
pub(crate) struct UserFile {
    pub(crate) broker: String,
    /// The broker goes on as it is: nothing of it changes but perhaps its users.
    pub(crate) goes_on: bool,
    /// Everything about the broker, with these users; or what is wrong with them.
    pub(crate) settings: Result<Settings, Wrong>,
    /// Changes whenever the file has.
    pub(crate) material: u64,
}

/// Reads those of every broker that has one. Does I/O.
pub(crate) fn read(config: &Config, before: &Config) -> Vec<UserFile> {
    let files = config.brokers.iter().filter_map(|(name, broker)| {
        let Broker::Embedded(embedded) = broker else { return None };
        let path = embedded.users.as_ref()?;
        let allow_control_characters = build::allows_control_characters(config);
        let settings = |users| embedded::settings(name, embedded, users, allow_control_characters);
        Some(UserFile {
            broker: name.clone(),
            goes_on: before.brokers.get(name).is_some_and(|before| before.keeps_connections(broker)),
            settings: embedded::users(embedded).map(settings),
            material: ahash::RandomState::with_seeds(2, 4, 6, 8).hash_one(std::fs::read(path).ok()),
        })
    });
    files.collect()
}
