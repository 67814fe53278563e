//! Builds what is tried beside a plugin: instances of another version, each beside one that runs.

use super::build::Preparer;
use super::canary::Canary;
use super::migration::Migration;
use super::shadow::Room;
use super::stage::Trying;
use crate::trial::Tried;
use crate::versions::Rule;
use std::sync::Arc;
use tidegate_config as config;
use tidegate_plugin::{Plugin, Spec, StateStore};

/// What makes a candidate the same as before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TrialKey {
    pub(super) rule: Rule,
    is_canary: bool,
    ignore: Vec<tidegate_decisions::FieldPath>,
}

/// A candidate that is tried, and where if it is a shadow.
#[derive(Clone)]
pub(crate) struct Trial {
    pub(super) key: TrialKey,
    pub(super) tried: Arc<Tried>,
    room: Option<Arc<Room>>,
}

impl Preparer {
    /// What is to be tried beside a plugin.
    pub(super) fn trial(&mut self, name: &str, settings: &config::Plugin) -> Result<Option<Trial>, String> {
        let Some(candidate) = settings.candidate.as_deref() else { return Ok(None) };
        let component = match self.read.get(&candidate_of(name)) {
            Some(Ok(component)) => component,
            Some(Err(error)) => return Err(of_candidate(name, settings, error)),
            None => return Ok(None),
        };
        let config = candidate.config.clone().unwrap_or_else(|| settings.config.clone());
        let rule = Rule { digest: component.digest().to_owned(), config };
        let is_canary = matches!(candidate.trial, config::Trial::Canary { .. });
        let key = TrialKey { rule: rule.clone(), is_canary, ignore: candidate.ignore.clone() };
        let trial = match self.trials.get(name) {
            Some(known) if known.key == key => known.clone(),
            _ => {
                let tried = Arc::new(Tried::new(name.into(), rule, candidate));
                let opened = |error| of_candidate(name, settings, &format!("no thread for it: {error}"));
                let room = if is_canary { None } else { Some(Arc::new(Room::open(tried.clone()).map_err(opened)?)) };
                Trial { key, tried, room }
            }
        };
        self.trials.insert(name.to_owned(), trial.clone());
        Ok(Some(trial))
    }

    /// Instances of a candidate, each for beside one of the plugin: with its grants and limits, and what it remembers as a copy.
    pub(super) fn tried_beside(
        &mut self,
        trial: &Trial,
        settings: &config::Plugin,
        (route, source, count): (&str, &Arc<str>, usize),
        allow_control_characters: bool,
        state_version: Option<&str>,
    ) -> Result<Vec<Trying>, tidegate_plugin::Error> {
        let Trial { key, tried, room } = trial;
        let name = &*tried.plugin;
        let Some(Ok(component)) = self.read.get(&candidate_of(name)).cloned() else { return Ok(Vec::new()) };
        let remembered = self.states.entry(name.to_owned()).or_default().clone();
        let configured = config::Plugin { config: key.rule.config.clone(), ..settings.clone() };
        let copy = StateStore::restored(remembered.snapshot());
        let spec = Spec::configured(&format!("{name} candidate"), &configured, copy.clone());
        let spec = Spec { allow_control_characters, ..spec };
        let targets: Arc<[_]> = spec.grants.targets.iter().map(|name| Arc::from(name.as_str())).collect();
        let plugin = Plugin::new(&self.host, &component, spec.clone())?;
        // A canary whose state is of the same version as that of the one that runs shares it.
        let shares_state = room.is_none() && state_version.is_some() && plugin.state_version()? == state_version;
        let copied = Migration { name: name.into(), plugin, states: None };
        copied.bring(&copy, true).map_err(tidegate_plugin::Error::State)?;
        let Migration { plugin, .. } = copied;
        let plugin = match shares_state {
            true => {
                plugin.instantiate()?;
                Plugin::new(&self.host, &component, Spec { state: remembered, ..spec })?
            }
            false => plugin,
        };
        let Some(selection) = settings.candidate.as_ref().map(|candidate| &candidate.trial) else {
            return Ok(Vec::new());
        };
        let one = |_| {
            let instance = if shares_state { plugin.instantiate_later() } else { plugin.instantiate()? };
            Ok(match room {
                Some(room) => Trying::Shadow(room.seat(route.into(), source.clone(), targets.clone(), instance)),
                None => {
                    let canary = Canary::new(instance, selection.clone(), shares_state, tried.clone());
                    Trying::Canary(Box::new(canary))
                }
            })
        };
        (0..count).map(one).collect()
    }
}

/// By what the candidate of a plugin is known among plugins, of which none has such a name.
pub(crate) fn candidate_of(name: &str) -> String {
    format!("{name} candidate")
}

/// What is wrong with the candidate of a plugin.
pub(super) fn of_candidate(name: &str, settings: &config::Plugin, error: &str) -> String {
    let path = settings.candidate.as_ref().map_or(&settings.path, |candidate| &candidate.path);
    format!("candidate of plugin `{name}`: {}: {error}", path.display())
}
