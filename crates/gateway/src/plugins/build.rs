//! Everything slow about plugins, off the data path: read, compile, link, instantiate, configure.

pub(crate) use super::candidate::candidate_of;
use super::candidate::{Trial, TrialKey, of_candidate};
use super::chain::{NewStage, Swap};
use super::compile::{File, compile};
use super::instances::Instances;
use super::migration::Migration;
use super::stage::{NewTrial, Stage};
use crate::compile_cache;
use crate::counters::StageCounters;
use crate::plugin_check::small_memory;
use crate::trial::Tried;
use crate::versions;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use tidegate_config as config;
use tidegate_config::Config;
use tidegate_plugin::{Component, Host, HostConfig, StateStore};
use tidegate_router::Watched;

/// Whether control characters and non-characters are taken, by the box's own brokers and from plugins.
pub(crate) fn allows_control_characters(config: &Config) -> bool {
    config.gateway.allow_control_characters
}

/// What makes a stage the same as before: its configuration and the component's digest.
#[derive(Debug, Clone)]
pub(crate) struct StageKey {
    name: String,
    plugin: config::Plugin,
    digest: String,
    allow_control_characters: bool,
    workers: config::Workers,
    /// What is tried beside it. This and the next are no part of what makes it the same.
    trial: Option<TrialKey>,
    /// Until the last stage that was made for it is gone.
    alive: Weak<()>,
}

impl StageKey {
    fn is(&self, other: &Self) -> bool {
        let of = |key: &Self| (key.allow_control_characters, key.workers);
        (&self.name, &self.plugin, &self.digest) == (&other.name, &other.plugin, &other.digest) && of(self) == of(other)
    }
}

/// What is running in a route, for people.
#[derive(Debug, Clone)]
pub(crate) struct PluginInfo {
    pub(crate) name: Arc<str>,
    pub(crate) digest: String,
    pub(crate) counters: Arc<StageCounters>,
    /// Another version that is tried beside it.
    pub(crate) tried: Option<Arc<Tried>>,
    /// Until the last stage of this version is gone.
    pub(crate) alive: Weak<()>,
}

/// The plugins of one route, ready to be taken over.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) route: String,
    /// One a worker. None while its plugins are not compiled.
    pub(crate) swaps: Vec<Swap>,
    pub(crate) plugins: Vec<PluginInfo>,
    pub(crate) keys: Vec<StageKey>,
    /// Plugins that are new or another version, for people.
    pub(crate) changed: Vec<String>,
}

/// Builds plugins; remembers what is worth it from one reload to the next.
pub(crate) struct Preparer {
    pub(super) host: Host,
    /// Where components that run are kept, by digest.
    pub(super) versions: Option<PathBuf>,
    components: HashMap<PathBuf, Compiled>,
    /// What was read for the configuration that is being built: a plugin of many routes is read once.
    pub(super) read: HashMap<String, Result<Component, String>>,
    pub(super) states: HashMap<String, StateStore>,
    /// By plugin.
    pub(super) trials: HashMap<String, Trial>,
    /// What the configuration that is being built wants of states, by plugin.
    pub(super) migrations: BTreeMap<String, Migration>,
    counters: HashMap<(String, String), Arc<StageCounters>>,
    /// Messages that somebody looks at.
    pub(crate) watched: Arc<Watched>,
    /// Whether what plugins say is kept.
    pub(crate) keeps_lines: bool,
    /// Whether what they decide was decided before.
    pub(crate) replays: bool,
}

/// A component that is compiled, and of what.
pub(crate) struct Compiled {
    bytes_hash: u64,
    component: Component,
}

impl Compiled {
    /// Compiles each file, side by side; a result for each, in their order.
    pub(crate) fn all(host: &Host, files: &[File<'_>]) -> Vec<Result<Self, tidegate_plugin::Error>> {
        let known = |(file, compiled): (&File<'_>, Result<Component, _>)| {
            compiled.map(|component| Self { bytes_hash: hash(&file.bytes), component })
        };
        files.iter().zip(compile(host, files)).map(known).collect()
    }
}

impl Preparer {
    pub(crate) fn new(
        cache_dir: Option<PathBuf>,
        states: HashMap<String, StateStore>,
        interpreter: bool,
    ) -> Result<Self, tidegate_plugin::Error> {
        let host = Host::new(&HostConfig { cache_dir, interpreter })?;
        Ok(Self {
            host,
            versions: None,
            components: HashMap::new(),
            read: HashMap::new(),
            states,
            trials: HashMap::new(),
            migrations: BTreeMap::new(),
            counters: HashMap::new(),
            watched: Arc::default(),
            keeps_lines: false,
            replays: false,
        })
    }

    /// For a command that decides beside a gateway: nothing is written to the data directory; `cache` is where the caller keeps
    /// compiled code.
    pub(crate) fn aside(config: &Config, cache: Option<&Path>) -> Result<Self, crate::Error> {
        let cache = compile_cache::beside(&config.gateway.data_dir, cache);
        let preparer = Self::new(cache, HashMap::default(), config.gateway.interpreter);
        preparer.map_err(|error| crate::Error::Engine(error.into()))
    }

    /// Builds what `config` needs and `running` does not have. All that is wrong, or everything ready to be applied.
    ///
    /// Components in `late` are left alone, and routes with plugins of them are to wait.
    pub(crate) fn prepare(
        &mut self,
        config: &Config,
        running: &HashMap<String, Vec<StageKey>>,
        late: &[PathBuf],
    ) -> Result<Vec<Prepared>, Vec<String>> {
        let is_late = |name: &String| config.plugins.get(name).is_some_and(|plugin| late.contains(&plugin.path));
        let waits = |route: &config::Route| route.plugins.iter().any(is_late);
        self.read(config, |route| !waits(route));
        self.migrations.clear();
        let (mut ready, mut wrong) = (Vec::new(), Vec::new());
        for route in &config.routes {
            if waits(route) {
                ready.push(Prepared { route: route.name.clone(), ..Prepared::default() });
                continue;
            }
            let before = running.get(&route.name).map_or(&[][..], Vec::as_slice);
            match self.route(config, route, before) {
                Ok(prepared) => ready.push(prepared),
                Err(mut problems) => wrong.append(&mut problems),
            }
        }
        self.read.clear();
        let candidates = config.plugins.values().filter_map(|plugin| Some(plugin.candidate.as_deref()?.path.as_path()));
        let used: Vec<&Path> = config.plugins.values().map(|plugin| plugin.path.as_path()).chain(candidates).collect();
        if wrong.is_empty() {
            self.trials.retain(|name, _| config.plugins.get(name).is_some_and(|plugin| plugin.candidate.is_some()));
        }
        self.components.retain(|path, _| used.contains(&path.as_path()));
        wrong.dedup();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        self.call_meeting(&mut ready);
        Ok(ready)
    }

    /// Plugins that are built from here on begin with this.
    pub(crate) fn begin_with(&mut self, states: HashMap<String, StateStore>) {
        self.states = states;
    }

    /// Components are kept in this folder from now on, by digest.
    pub(crate) fn keep_versions(&mut self, folder: PathBuf) {
        self.versions = Some(folder);
    }

    /// Keeps a component for a rollback.
    fn keep(&self, path: &Path, component: &Component, bytes: &[u8]) {
        let Some(folder) = self.versions.as_deref().filter(|folder| !path.starts_with(folder)) else { return };
        let kept = versions::component(folder, component.digest());
        if !kept.exists()
            && let Err(error) = versions::save(&kept, bytes)
        {
            tracing::warn!(path = %path.display(), %error, "this version is not kept: it cannot be rolled back to");
        }
    }

    /// What compiles.
    pub(crate) const fn host(&self) -> &Host {
        &self.host
    }

    /// Takes what others have compiled, by its files.
    pub(crate) fn know(&mut self, compiled: Vec<(PathBuf, Compiled)>) {
        self.components.extend(compiled);
    }

    fn route(&mut self, config: &Config, route: &config::Route, before: &[StageKey]) -> Result<Prepared, Vec<String>> {
        let (mut plugins, mut keys) = (Vec::new(), Vec::new());
        let (source, workers): (Arc<str>, _) = (route.from.name().into(), route.workers);
        let swap = || Swap { source: source.clone(), tick: route.tick, stages: Vec::new(), meetings: Vec::new() };
        let mut swaps: Vec<Swap> = std::iter::repeat_with(swap).take(workers.count).collect();
        let (mut changed, mut wrong) = (Vec::new(), Vec::new());
        let allow_control_characters = allows_control_characters(config);
        let (on_failure, retry) = (route.on_failure, route.retry);
        for name in &route.plugins {
            // The configuration was checked: the name is there.
            let (Some(settings), Some(found)) = (config.plugins.get(name), self.read.get(name)) else { continue };
            let component = match found {
                Ok(component) => component.clone(),
                Err(error) => {
                    wrong.push(format!("plugin `{name}`: {}: {error}", settings.path.display()));
                    continue;
                }
            };
            let digest = component.digest().to_owned();
            let trial = match self.trial(name, settings) {
                Ok(trial) => trial,
                Err(words) => {
                    wrong.push(words);
                    continue;
                }
            };
            let (name_of, digest_of) = (name.clone(), digest.clone());
            // What watches it, or is tried beside it, makes it no other.
            let plugin = config::Plugin { candidate: None, probation: None, ..settings.clone() };
            let token = Arc::default();
            let (alive, trial_key) = (Arc::downgrade(&token), trial.as_ref().map(|trial| trial.key.clone()));
            let mut key = StageKey {
                name: name_of,
                plugin,
                digest: digest_of,
                allow_control_characters,
                workers,
                trial: trial_key,
                alive,
            };
            let kept = before.iter().find(|known| known.is(&key));
            if let Some(kept) = kept {
                key.alive = kept.alive.clone();
            }
            let shared: Arc<str> = name.as_str().into();
            let counters = self.counters.entry((route.name.clone(), name.clone())).or_default().clone();
            let alive = key.alive.clone();
            let tried = trial.as_ref().map(|trial| trial.tried.clone());
            plugins.push(PluginInfo { name: shared.clone(), digest, counters: counters.clone(), tried, alive });
            let selection = || settings.candidate.as_ref().map(|candidate| candidate.trial.clone());
            let goes_on = kept.is_some_and(|kept| kept.trial == key.trial);
            let built = match kept {
                Some(_) => None,
                None => match self.instances(name, settings, &component, allow_control_characters, workers.count) {
                    Ok(built) => Some(built),
                    Err(error) => {
                        wrong.push(format!("plugin `{name}`: {}: {error}", settings.path.display()));
                        continue;
                    }
                },
            };
            let state_version = match &built {
                Some(built) => built.state_version.clone(),
                None => self.states.get(name).and_then(StateStore::version),
            };
            let place = (&*route.name, &source, workers.count);
            let trials = match &trial {
                Some(trial) if !goes_on => {
                    match self.tried_beside(trial, settings, place, allow_control_characters, state_version.as_deref())
                    {
                        Ok(trials) => trials,
                        Err(error) => {
                            wrong.push(of_candidate(name, settings, &error.to_string()));
                            continue;
                        }
                    }
                }
                _ => Vec::new(),
            };
            let mut trials = trials.into_iter();
            let Some(Instances { built, migrates, .. }) = built else {
                for swap in &mut swaps {
                    let trial = if goes_on { NewTrial::Keep(selection()) } else { NewTrial::Set(trials.next()) };
                    swap.stages.push(NewStage::Keep { name: shared.clone(), on_failure, retry, trial });
                }
                keys.push(key);
                continue;
            };
            if let Some(words) = small_memory(&component, &settings.limits) {
                tracing::warn!(plugin = %name, "{words}");
            }
            changed.extend(built.first().map(|(one, _)| format!("{name}@{}", version(one.plugin()))));
            let rejects = settings.probation.is_some_and(|probation| probation.rejects);
            for (swap, (instance, targets)) in swaps.iter_mut().zip(built) {
                let (counted, watched) = (counters.clone(), self.watched.clone());
                let stage = Stage::new(shared.clone(), instance, targets, (on_failure, retry), counted, watched);
                let stage = stage.of_version(Arc::clone(&token)).on_probation(rejects).with_trial(trials.next());
                swap.stages.push(NewStage::Fresh(Box::new(if migrates { stage.with_moved_state() } else { stage })));
            }
            keys.push(key);
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Prepared { route: route.name.clone(), swaps, plugins, keys, changed })
    }

    /// Reads the components that these routes need, each file once, and compiles side by side those that are not as they were.
    fn read(&mut self, config: &Config, wanted: impl Fn(&config::Route) -> bool) {
        let names = config.routes.iter().filter(|route| wanted(route)).flat_map(|route| &route.plugins);
        let mut used: BTreeMap<String, (&Path, Option<&String>)> = BTreeMap::new();
        for name in names {
            let Some(plugin) = config.plugins.get(name) else { continue };
            used.insert(name.clone(), (&plugin.path, plugin.digest.as_ref()));
            if let Some(candidate) = &plugin.candidate {
                used.insert(candidate_of(name), (&candidate.path, candidate.digest.as_ref()));
            }
        }
        let (mut found, mut files) = (HashMap::<&Path, Result<Component, String>>::new(), Vec::new());
        for (name, &(path, _)) in &used {
            if found.contains_key(path) || files.iter().any(|file: &File<'_>| file.path == path) {
                continue;
            }
            match std::fs::read(path) {
                Ok(bytes) => match self.components.get(path) {
                    Some(known) if known.bytes_hash == hash(&bytes) => {
                        self.keep(path, &known.component, &bytes);
                        found.insert(path, Ok(known.component.clone()));
                    }
                    _ => files.push(File { plugin: name, path, bytes }),
                },
                Err(error) => {
                    found.insert(path, Err(error.to_string()));
                }
            }
        }
        for (File { path, bytes, .. }, compiled) in files.iter().zip(Compiled::all(&self.host, &files)) {
            let component = compiled.map_err(|error| error.to_string()).map(|compiled| {
                let component = compiled.component.clone();
                self.keep(path, &component, bytes);
                self.components.insert(path.to_path_buf(), compiled);
                component
            });
            found.insert(path, component);
        }
        self.read = used
            .iter()
            .map(|(name, (path, digest))| {
                let component = found[path].clone();
                (name.clone(), component.and_then(|component| pinned(*digest, component)))
            })
            .collect();
    }
}

/// The component, unless the configuration pins another.
fn pinned(digest: Option<&String>, component: Component) -> Result<Component, String> {
    match digest {
        Some(pinned) if !pinned.eq_ignore_ascii_case(component.digest()) => Err(format!(
            "its SHA-256 is {}, the configuration pins {pinned}: update `digest` if you trust the file",
            component.digest()
        )),
        _ => Ok(component),
    }
}

fn hash(bytes: &[u8]) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(bytes)
}

/// What a plugin is, for people: the first digits of its digest, and the contract that it was built for if that is an old one, or
/// not ours.
pub(crate) fn version(plugin: &tidegate_plugin::Plugin) -> String {
    version_of(short(plugin.digest()), plugin.contract())
}

fn version_of(digest: &str, contract: &str) -> String {
    match contract.split_once('.') {
        Some(("0", _)) => format!("{digest}, contract {contract}"),
        _ if contract.starts_with("wasi:") => format!("{digest}, a handler of {contract}"),
        _ => digest.to_owned(),
    }
}

/// The first digits of a digest, enough for people to tell versions apart.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_of_contracts_that_are_not_todays() {
        for (contract, said) in [
            ("1.0.0", "1a2b3c4d"),
            ("0.1.0", "1a2b3c4d, contract 0.1.0"),
            ("wasi:messaging@0.2.0-draft", "1a2b3c4d, a handler of wasi:messaging@0.2.0-draft"),
        ] {
            assert_eq!(version_of("1a2b3c4d", contract), said);
        }
    }
}
