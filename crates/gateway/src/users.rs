//! Users and access lists of the box's own brokers, read again at each reload: whoever is new in a user file is let in, whoever is gone
//! is sent away, and what a client may do it may at once, without a listener or another client being disturbed.

use crate::embedded;
use crate::files::of_listen_tls;
use crate::plugins::build;
use crate::settings::Wrong;
use tidegate_broker::Settings;
use tidegate_config::{Broker, Config, EmbeddedBroker};

/// What a broker's user file and its access lists say now.
pub(crate) struct UserFile {
    pub(crate) broker: String,
    /// The broker goes on as it is: nothing of it changes but perhaps its users and its lists.
    pub(crate) goes_on: bool,
    /// Everything about the broker, with these users; or what is wrong with them.
    pub(crate) settings: Result<Settings, Wrong>,
    /// Changes whenever what is said has.
    pub(crate) material: u64,
}

/// Reads those of every broker. Does I/O.
pub(crate) fn read(config: &Config, before: &Config) -> Vec<UserFile> {
    let files = config.brokers.iter().filter_map(|(name, broker)| {
        let Broker::Embedded(embedded) = broker else { return None };
        let allow_control_characters = build::allows_control_characters(config);
        let settings = |admitted| embedded::settings(name, embedded, admitted, allow_control_characters);
        let files = [&embedded.users, &embedded.lists.acl_file].into_iter().flatten().cloned();
        let files = files.chain(embedded.tls.iter().flat_map(of_listen_tls));
        let files: Vec<_> = files.map(|path| std::fs::read(path).ok()).collect();
        let EmbeddedBroker { lists, tls, limits, proxies, server_reference, response_information, .. } = embedded;
        let said = format!("{lists:?} {tls:?} {limits:?} {proxies:?} {server_reference:?} {response_information:?}");
        Some(UserFile {
            broker: name.clone(),
            goes_on: before.brokers.get(name).is_some_and(|before| before.keeps_connections(broker)),
            settings: embedded::admitted(name, embedded).map(settings),
            material: ahash::RandomState::with_seeds(2, 4, 6, 8).hash_one((files, said)),
        })
    });
    files.collect()
}
