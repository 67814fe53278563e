//! What a reload has to do.

use crate::model::{Config, Route};
use std::collections::BTreeMap;

/// What differs between two configurations, by name, each list sorted.
///
/// Something that was renamed is removed under the one name and added under the other. A plugin is compared as it is
/// configured; whether its file has changed is for those to find out who read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Of the brokers; those in `connections_kept` are not among them.
    pub brokers: Changes,
    /// Brokers of which nothing differs for which a connection has to end: `spool`, or what is published of the gateway's state.
    pub connections_kept: Vec<String>,
    /// Of the sources of several brokers.
    pub sources: Changes,
    /// Of the target sets.
    pub targets: Changes,
    /// Of the plugins.
    pub plugins: Changes,
    /// Of the routes.
    pub routes: Changes,
    /// Keys that take effect only at the next start.
    pub needs_restart: Vec<&'static str>,
}

impl Difference {
    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Only in the new configuration.
    pub added: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
    /// Only in the old configuration.
    pub removed: Vec<String>,
}

impl Changes {
    /// True when nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    fn between<N: Ord + ToString, T: PartialEq>(old: &BTreeMap<N, T>, new: &BTreeMap<N, T>) -> Self {
        Self {
            added: new.keys().filter(|name| !old.contains_key(*name)).map(ToString::to_string).collect(),
            changed: new
                .iter()
                .filter(|(name, value)| old.get(*name).is_some_and(|before| before != *value))
                .map(|(name, _)| name.to_string())
                .collect(),
            removed: old.keys().filter(|name| !new.contains_key(*name)).map(ToString::to_string).collect(),
        }
    }
}

impl Config {
    /// What has to be done to come from this configuration to `new`.
    pub fn difference(&self, new: &Self) -> Difference {
        fn routes(config: &Config) -> BTreeMap<&str, &Route> {
            config.routes.iter().map(|route| (route.name.as_str(), route)).collect()
        }
        let restart = [
            ("gateway.name", self.gateway.name != new.gateway.name),
            ("gateway.data_dir", self.gateway.data_dir != new.gateway.data_dir),
            ("gateway.commit_delay", self.gateway.commit_delay != new.gateway.commit_delay),
            ("gateway.segment_size", self.gateway.segment_size != new.gateway.segment_size),
            (
                "gateway.control_characters",
                self.gateway.allow_control_characters != new.gateway.allow_control_characters,
            ),
            ("admin", self.admin != new.admin),
        ];
        let is_kept = |name: &String| match (self.brokers.get(name), new.brokers.get(name)) {
            (Some(before), Some(after)) => before.keeps_connections(after),
            _ => false,
        };
        let mut brokers = Changes::between(&self.brokers, &new.brokers);
        let (connections_kept, changed) = brokers.changed.into_iter().partition(is_kept);
        brokers.changed = changed;
        Difference {
            brokers,
            connections_kept,
            sources: Changes::between(&self.sources, &new.sources),
            targets: Changes::between(&self.targets, &new.targets),
            plugins: Changes::between(&self.plugins, &new.plugins),
            routes: Changes::between(&routes(self), &routes(new)),
            needs_restart: restart.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect(),
        }
    }
}
