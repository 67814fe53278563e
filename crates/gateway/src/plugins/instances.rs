//! A plugin's instances, one for each worker, and what its state must be before they decide.

use super::build::Preparer;
use super::migration::Migration;
use crate::versions::States;
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_config as config;
use tidegate_plugin::{Component, Plugin, Spec, StateStore};

/// A configured plugin, and the names of the targets it was granted.
type Built = (tidegate_plugin::Instance, Arc<[Arc<str>]>);

/// As many instances of a plugin as there are workers.
pub(super) struct Instances {
    pub(super) built: Vec<Built>,
    /// Which version of its state it reads and writes.
    pub(super) state_version: Option<String>,
    /// They begin when its state is of that version.
    pub(super) migrates: bool,
}

impl Preparer {
    /// As many instances of a plugin.
    pub(super) fn instances(
        &mut self,
        name: &str,
        settings: &config::Plugin,
        component: &Component,
        allow_control_characters: bool,
        count: usize,
    ) -> Result<Instances, tidegate_plugin::Error> {
        let state = self.states.entry(name.to_owned()).or_default().clone();
        let (keeps_lines, replays) = (self.keeps_lines, self.replays);
        let spec = Spec { allow_control_characters, keeps_lines, replays, ..Spec::configured(name, settings, state) };
        let targets: Arc<[_]> = spec.grants.targets.iter().map(|name| Arc::from(name.as_str())).collect();
        let plugin = Plugin::new(&self.host, component, spec)?;
        let state_version = plugin.state_version()?.map(str::to_owned);
        let migrates = self.migrates(name, settings, component, &plugin)?;
        let built = (0..count).map(|_| {
            let instance = if migrates { plugin.instantiate_later() } else { plugin.instantiate()? };
            Ok((instance, targets.clone()))
        });
        let built = built.collect::<Result<_, tidegate_plugin::Error>>()?;
        Ok(Instances { built, state_version, migrates })
    }

    /// Whether its state is to be brought to the version of this plugin before it decides: tried on a copy. Where the state is nobody
    /// else's it is done at once.
    fn migrates(
        &mut self,
        name: &str,
        settings: &config::Plugin,
        component: &Component,
        plugin: &Plugin,
    ) -> Result<bool, tidegate_plugin::Error> {
        let state = &plugin.spec().state;
        if plugin.state_version()? == state.version().as_deref() {
            return Ok(false);
        }
        // Of a rollback an earlier state may be taken up again.
        let is_back = |folder: &&PathBuf| settings.path.starts_with(folder);
        let states = self.versions.as_ref().map(|folder| (States::new(folder), Some(folder).filter(is_back).is_some()));
        let of = |plugin: Plugin| Migration { name: name.into(), plugin, states: states.clone() };
        if states.is_none() {
            return of(plugin.clone()).bring(state, true).map(|_| false).map_err(tidegate_plugin::Error::State);
        }
        let copy = StateStore::restored(state.snapshot());
        let spec = Spec { state: copy.clone(), ..plugin.spec().clone() };
        let trial = of(Plugin::new(&self.host, component, spec)?);
        if trial.bring(&copy, true).map_err(tidegate_plugin::Error::State)?.is_empty() {
            return Ok(false);
        }
        trial.plugin.instantiate()?;
        self.migrations.entry(name.to_owned()).or_insert_with(|| of(plugin.clone()));
        Ok(true)
    }
}
