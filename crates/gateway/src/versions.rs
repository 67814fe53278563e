//! The versions of each plugin that have run, what each did, and one that is put back.
//!
//! A version that is put back runs in the place of what the configuration says of its plugin, through restarts too, until another
//! component is saved or the plugin is configured in another way. It is applied as a reload is: between two batches, all of it or
//! nothing.

mod candidate;
mod details;
mod kept;
mod probation;
mod states;

pub use candidate::CandidateError;
pub use details::{PluginDetails, PluginVersion};

pub use kept::{Came, Did};
pub(crate) use kept::{component, save};
pub(crate) use states::States;

use crate::counters::StageCounters;
use crate::plugins::build::{PluginInfo, candidate_of, short};
use crate::running::Gateway;
use candidate::choose_candidate;
pub(crate) use kept::Rule;
use kept::{Kept, Rollback, Version};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use tidegate_config::{Config, Plugin};

/// Where versions are, in `data_dir`.
const FOLDER: &str = "versions";

/// The folder of versions of a gateway.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER)
}

/// Why no version is put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// There is no plugin of this name in a route.
    #[error("no plugin `{0}` runs")]
    NoPlugin(String),
    /// It has run in one version only.
    #[error("`{0}` has run in no other version")]
    NoOther(String),
    /// Nothing of that digest is kept.
    #[error("no version of `{0}` that is kept has a digest that begins with `{1}`")]
    Unknown(String, String),
    /// Nothing of that number is.
    #[error("no version of `{0}` that is kept has the number {1}")]
    NoNumber(String, String),
    /// Several have.
    #[error("several versions of `{0}` begin with `{1}`: write more of the digest")]
    Several(String, String),
    /// It cannot run any more.
    #[error("it cannot run: {0}")]
    Refused(String),
}

/// What is kept of all plugins, and what their counters said when the versions that run came.
#[derive(Debug)]
pub(crate) struct Versions {
    folder: PathBuf,
    keep: usize,
    kept: BTreeMap<String, Kept>,
    counted: BTreeMap<String, (Did, Vec<Arc<StageCounters>>)>,
    /// The stages of the versions that run.
    alive: BTreeMap<String, Vec<Weak<()>>>,
    /// How often each plugin was rolled back because it failed.
    rollbacks: BTreeMap<String, u64>,
    /// How the versions come that come next, if not by a file that was saved.
    next_came: Option<Came>,
    /// Rules that failed and stay, for the one before cannot run again.
    stays: BTreeMap<String, Rule>,
}

impl Versions {
    /// Reads what an earlier run has left. Slow: does I/O.
    pub(crate) fn open(data_dir: &Path, keep: usize) -> Self {
        let folder = folder(data_dir);
        Self {
            kept: kept::read(&folder),
            folder,
            keep,
            counted: BTreeMap::new(),
            alive: BTreeMap::new(),
            rollbacks: BTreeMap::new(),
            next_came: None,
            stays: BTreeMap::new(),
        }
    }

    /// Plugins of which another version runs than this configuration says, or whose candidate is perhaps not to be tried: their
    /// components by it.
    pub(crate) fn asked(&self, config: &Config) -> Vec<(String, PathBuf)> {
        let mut asked = Vec::new();
        for (name, plugin) in &config.plugins {
            let is_back = self.kept.get(name).is_some_and(|kept| kept.rolled_back.is_some());
            if is_back || plugin.candidate.is_some() {
                asked.push((name.clone(), plugin.path.clone()));
            }
            asked.extend(plugin.candidate.iter().map(|candidate| (candidate_of(name), candidate.path.clone())));
        }
        asked
    }

    /// What of a configuration runs: versions that are put back stand in it in the place of what it says, if it still says what it said
    /// then. `digests` are those of its components.
    pub(crate) fn in_force(&self, mut config: Config, digests: &BTreeMap<String, String>) -> Config {
        for (name, plugin) in &mut config.plugins {
            let kept = self.kept.get(name);
            let back = kept.and_then(|kept| kept.rolled_back.as_ref()).filter(|back| {
                digests.get(name) == Some(&back.instead_of.digest) && plugin.config == back.instead_of.config
            });
            choose_candidate(name, plugin, (back, kept.and_then(|kept| kept.abandoned.as_ref())), digests);
            if let Some(back) = back {
                plugin.path = component(&self.folder, &back.rule.digest);
                plugin.digest = Some(back.rule.digest.clone());
                plugin.config = back.rule.config.clone();
            }
        }
        config
    }

    /// Another file, or another configuration, is in force: versions that were put back in the place of what was before are no
    /// longer. Returns their plugins.
    pub(crate) fn take_out(&mut self, written: &Config, in_force: &Config) -> Vec<String> {
        let mut out = Vec::new();
        for (name, kept) in &mut self.kept {
            if written.plugins.get(name).is_some_and(|plugin| plugin.candidate.is_none()) {
                kept.abandoned = None;
            }
            let is_there = |plugin: &Plugin| plugin.path.starts_with(&self.folder);
            if kept.rolled_back.is_some()
                && written.plugins.contains_key(name)
                && !in_force.plugins.get(name).is_some_and(is_there)
            {
                kept.rolled_back = None;
                out.push(name.clone());
            }
        }
        out
    }

    /// These run from now on. True if something is another version than before.
    pub(crate) fn run<'a>(
        &mut self,
        config: &Config,
        plugins: impl Iterator<Item = &'a PluginInfo>,
        came: Came,
        now_ms: u64,
    ) -> bool {
        let mut running: BTreeMap<&str, (&str, Vec<Arc<StageCounters>>)> = BTreeMap::new();
        let mut alive: BTreeMap<String, Vec<Weak<()>>> = BTreeMap::new();
        for PluginInfo { name, digest, counters, alive: of_it, .. } in plugins {
            alive.entry(name.to_string()).or_default().push(of_it.clone());
            self.rollbacks.entry(name.to_string()).or_default();
            running.entry(name).or_insert_with(|| (digest, Vec::new())).1.push(counters.clone());
        }
        self.alive = alive;
        let came = self.next_came.take().unwrap_or(came);
        let mut changed = false;
        for (name, (digest, counters)) in running {
            let Some(plugin) = config.plugins.get(name) else { continue };
            let rule = Rule { digest: digest.to_owned(), config: plugin.config.clone() };
            let kept = self.kept.entry(name.to_owned()).or_default();
            let came = match kept.rolled_back.as_ref().filter(|back| back.rule == rule) {
                Some(back) if back.promoted => Came::Promoted,
                Some(_) => Came::Rollback,
                None => came,
            };
            let now = sum(&counters);
            if let Some(last) = kept.versions.last_mut() {
                if let Some((before, _)) = self.counted.get(name) {
                    last.did = last.did.and(now.since(*before));
                }
                let went_on = last.rule == rule;
                if went_on && last.until_ms.is_none() {
                    self.counted.insert(name.to_owned(), (now, counters));
                    continue;
                }
                last.until_ms.get_or_insert(now_ms);
            }
            let number = kept.versions.last().map_or(0, |last| last.number) + 1;
            kept.versions.push(Version { number, rule, came, since_ms: now_ms, until_ms: None, did: Did::default() });
            kept.forget(self.keep);
            self.counted.insert(name.to_owned(), (now, counters));
            changed = true;
        }
        changed
    }

    /// What has been counted up to now belongs to the versions that run.
    pub(crate) fn count(&mut self) {
        for (name, (before, counters)) in &mut self.counted {
            let now = sum(counters);
            if let Some(last) = self.kept.get_mut(name).and_then(|kept| kept.versions.last_mut()) {
                last.did = last.did.and(now.since(*before));
            }
            *before = now;
        }
    }

    /// What writes it to disk, on a thread that may wait.
    pub(crate) fn writer(&self) -> impl FnOnce() -> io::Result<()> + Send + 'static {
        let (folder, kept) = (self.folder.clone(), self.kept.clone());
        move || kept::write(&folder, &kept)
    }

    /// How often each plugin was rolled back because it failed.
    pub(crate) fn rollbacks(&self) -> &BTreeMap<String, u64> {
        &self.rollbacks
    }

    fn running(&self, name: &str) -> Result<&Version, RollbackError> {
        let last = self.kept.get(name).and_then(|kept| kept.versions.last());
        last.ok_or_else(|| RollbackError::NoPlugin(name.to_owned()))
    }

    fn find(&self, name: &str, digest: Option<&str>) -> Result<Rule, RollbackError> {
        let runs = self.running(name)?;
        let versions = &self.kept[name].versions;
        let Some(wanted) = digest else {
            let other = versions.iter().rev().find(|version| version.rule != runs.rule);
            return other.map(|version| version.rule.clone()).ok_or_else(|| RollbackError::NoOther(name.to_owned()));
        };
        if let Some(number) = wanted.strip_prefix('#') {
            let found = versions.iter().find(|version| version.number.to_string() == number);
            let none = || RollbackError::NoNumber(name.to_owned(), number.to_owned());
            return found.map(|version| version.rule.clone()).ok_or_else(none);
        }
        let wanted = wanted.to_ascii_lowercase();
        let mut found: Vec<&Rule> = Vec::new();
        for Version { rule, .. } in versions.iter().rev() {
            // Of one component the configuration that ran last.
            if rule.digest.starts_with(&wanted) && !found.iter().any(|known| known.digest == rule.digest) {
                found.push(rule);
            }
        }
        match found[..] {
            [rule] => Ok(rule.clone()),
            [] => Err(RollbackError::Unknown(name.to_owned(), wanted)),
            _ => Err(RollbackError::Several(name.to_owned(), wanted)),
        }
    }
}

/// Of all routes that a plugin is in.
fn sum(counters: &[Arc<StageCounters>]) -> Did {
    counters.iter().fold(Did::default(), |all, one| {
        // What it is not asked about, for it keeps failing, it does not decide either.
        let faults =
            one.faults.get().map(|(_, count)| count).sum::<u64>() + one.circuit_open.get() + one.given_up.get();
        let rejects = one.rejects.get();
        let failures = faults + rejects;
        let messages = one.passed.get() + one.changed.get() + one.dropped.get() + failures;
        let (rejects_asked, rejects_decided) = (one.rejects_asked.get(), one.rejects_decided.get());
        let asked_ns = one.asked_ns.get();
        all.and(Did { messages, failures, faults, rejects, rejects_asked, rejects_decided, asked_ns })
    })
}

/// SHA-256 of each of these files, without those that cannot be read. Slow: does I/O.
pub(crate) fn digests(files: Vec<(String, PathBuf)>) -> BTreeMap<String, String> {
    let digest = |(name, path): (String, PathBuf)| {
        let bytes = std::fs::read(path).ok()?;
        Some((name, Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()))
    };
    files.into_iter().filter_map(digest).collect()
}

impl Gateway {
    /// Puts a version of a plugin back: the one that ran before, the one whose digest begins so, or with `#12` that of this number. It runs until the file, or what
    /// the configuration says of the plugin, is another one. What was done, in words, once it is on disk.
    ///
    /// # Errors
    /// Why not; what ran keeps running.
    pub async fn roll_back(&self, name: &str, digest: Option<&str>) -> Result<String, RollbackError> {
        let _one_at_a_time = self.reloading().lock().await;
        self.roll_back_for(name, digest, "an operator wants it").await
    }

    /// While nobody else applies anything.
    async fn roll_back_for(&self, name: &str, digest: Option<&str>, why: &str) -> Result<String, RollbackError> {
        let written = self.written().as_ref().clone();
        if !written.plugins.contains_key(name) {
            return Err(RollbackError::NoPlugin(name.to_owned()));
        }
        let rule = self.versions().borrow().find(name, digest)?;
        let before = self.versions().borrow().kept.get(name).and_then(|kept| kept.rolled_back.clone());
        let instead_of = match &before {
            Some(back) => back.instead_of.clone(),
            None => self.versions().borrow().running(name)?.rule.clone(),
        };
        let back = (rule != instead_of).then(|| Rollback { instead_of, rule: rule.clone(), promoted: false });
        // What was promoted is not tried again at once.
        let abandoned = before.as_ref().filter(|before| before.promoted).map(|before| before.rule.clone());
        if let Some(kept) = self.versions().borrow_mut().kept.get_mut(name)
            && abandoned.is_some()
        {
            kept.abandoned = abandoned;
        }
        // Before it runs: what runs after a crash is what ran before it.
        self.set_rollback(name, back).await;
        self.versions().borrow_mut().next_came = Some(Came::Rollback);
        if let Err(error) = self.apply_again(written).await {
            self.versions().borrow_mut().next_came = None;
            self.set_rollback(name, before).await;
            return Err(RollbackError::Refused(error.to_string()));
        }
        let version = short(&rule.digest);
        tracing::warn!(name: "rolled_back", plugin = name, version, why, "rolled back: an earlier version runs again");
        Ok(format!("plugin `{name}` runs version {version} again"))
    }

    async fn set_rollback(&self, name: &str, back: Option<Rollback>) {
        if let Some(kept) = self.versions().borrow_mut().kept.get_mut(name) {
            kept.rolled_back = back;
        }
        self.save_versions().await;
    }

    /// Writes what is known of versions to disk; what is wrong with that is said.
    pub(crate) async fn save_versions(&self) {
        let _one_at_a_time = self.saving_versions().lock().await;
        let write = {
            let mut versions = self.versions().borrow_mut();
            versions.count();
            versions.writer()
        };
        let written = tokio::task::spawn_blocking(write).await.map_err(|error| error.to_string());
        if let Err(error) = written.and_then(|written| written.map_err(|error| error.to_string())) {
            tracing::warn!(error, "which versions of plugins ran is not on disk: the next start may not know of them");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rule: &str) -> Config {
        let text = format!(
            "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n[brokers.a]\nurl = \"mqtt://a\"\n[brokers.b]\nurl = \"mqtt://b\"\n\
             [plugins.rule]\npath = \"/p/rule.wasm\"\nconfig = {rule}\n[[routes]]\nname = \"r\"\nplugins = [\"rule\"]\n\
             from = {{ broker = \"a\", topics = [\"x\"] }}\nto = [\"b\"]\n"
        );
        tidegate_config::parse(&text, Path::new("/gw.toml")).unwrap().0
    }

    fn info(digest: &str, counters: &Arc<StageCounters>) -> PluginInfo {
        PluginInfo {
            name: "rule".into(),
            digest: digest.to_owned(),
            counters: counters.clone(),
            tried: None,
            alive: Weak::new(),
        }
    }

    #[test]
    fn each_version_has_what_it_did() {
        let dir = tempfile::tempdir().unwrap();
        let mut versions = Versions::open(dir.path(), 5);
        let counters = Arc::<StageCounters>::default();
        let run = |versions: &mut Versions, digest: &str, rule: &str, at: u64| {
            versions.run(&config(rule), [info(digest, &counters)].iter(), Came::Saved, at)
        };
        assert!(run(&mut versions, "a1", "{ n = 1 }", 10));
        counters.passed.add(7);
        assert!(!run(&mut versions, "a1", "{ n = 1 }", 20), "the same");
        counters.dropped.add(2);
        assert!(run(&mut versions, "a1", "{ n = 2 }", 30), "configured in another way");
        counters.rejects.add(1);
        assert!(run(&mut versions, "b2", "{ n = 2 }", 40));
        versions.count();
        let all = &versions.kept["rule"].versions;
        let told: Vec<_> = all
            .iter()
            .map(|one| (&*one.rule.digest, one.since_ms, one.until_ms, one.did.messages, one.did.failures))
            .collect();
        let wanted = [("a1", 10, Some(30), 9, 0), ("a1", 30, Some(40), 1, 1), ("b2", 40, None, 0, 0)];
        assert_eq!(told, wanted);
        // The next process goes on with it.
        versions.writer()().unwrap();
        let again = Versions::open(dir.path(), 5);
        assert_eq!(again.kept, versions.kept);
        assert_eq!(again.find("rule", None).unwrap().digest, "a1");
        assert_eq!(again.find("rule", Some("B")).unwrap().digest, "b2");
        assert_eq!(again.find("rule", Some("c")), Err(RollbackError::Unknown("rule".to_owned(), "c".to_owned())));
        assert_eq!(again.find("rule", Some("")), Err(RollbackError::Several("rule".to_owned(), String::new())));
        assert_eq!(again.find("rule", Some("#1")).unwrap().config, serde_json::json!({ "n": 1 }));
        assert_eq!(again.find("rule", Some("#2")).unwrap().config, serde_json::json!({ "n": 2 }));
        assert_eq!(again.find("rule", Some("#9")), Err(RollbackError::NoNumber("rule".to_owned(), "9".to_owned())));
        assert_eq!(again.find("none", None), Err(RollbackError::NoPlugin("none".to_owned())));
    }

    #[test]
    fn one_that_is_rolled_back_runs_until_the_file_is_another() {
        let mut versions = Versions::open(Path::new("/d"), 5);
        let rule = |digest: &str, n: u64| Rule { digest: digest.to_owned(), config: serde_json::json!({ "n": n }) };
        let rolled_back = Some(Rollback { instead_of: rule("bad", 2), rule: rule("good", 1), promoted: false });
        versions.kept.insert("rule".to_owned(), Kept { rolled_back, ..Kept::default() });
        let digests = |digest: &str| BTreeMap::from([("rule".to_owned(), digest.to_owned())]);
        let written = config("{ n = 2 }");
        let runs = versions.in_force(written.clone(), &digests("bad"));
        let plugin = &runs.plugins["rule"];
        assert_eq!(plugin.path, Path::new("/d/versions/good.wasm"));
        assert_eq!((&plugin.config, plugin.digest.as_deref()), (&serde_json::json!({ "n": 1 }), Some("good")));
        assert_eq!(versions.take_out(&written, &runs), Vec::<String>::new());
        // Another component, or another configuration.
        assert_eq!(versions.in_force(config("{ n = 3 }"), &digests("bad")), config("{ n = 3 }"));
        let runs = versions.in_force(written.clone(), &digests("mended"));
        assert_eq!(runs, written);
        assert_eq!(versions.take_out(&written, &runs), ["rule"]);
        assert_eq!(versions.in_force(written.clone(), &digests("bad")), written, "and stays so");
    }
}
