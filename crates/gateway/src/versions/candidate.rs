//! What becomes of a candidate: it takes the place of the plugin that it is tried beside, or is tried no more.

use super::kept::{Did, Rollback, Rule, component, save};
use super::probation::judge;
use crate::data_path::wall_ms;
use crate::plugins::build::{candidate_of, short};
use crate::running::Gateway;
use crate::trial::Tried;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tidegate_config::Plugin;

/// Why nothing becomes of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CandidateError {
    /// There is no plugin of this name in a route.
    #[error("no plugin `{0}` runs")]
    NoPlugin(String),
    /// Nothing is tried beside it.
    #[error("no candidate is tried beside `{0}`: add `[plugins.{0}.candidate]`, or save another one")]
    NoCandidate(String),
    /// It cannot run in the place of the other.
    #[error("it cannot run: {0}")]
    Refused(String),
}

/// A candidate that runs already, was promoted, or was abandoned, is not tried.
pub(super) fn choose_candidate(
    name: &str,
    plugin: &mut Plugin,
    (back, abandoned): (Option<&Rollback>, Option<&Rule>),
    digests: &BTreeMap<String, String>,
) {
    let Some(candidate) = plugin.candidate.as_deref_mut() else { return };
    let config = candidate.config.clone().unwrap_or_else(|| plugin.config.clone());
    if back.is_some() {
        // What runs in the place of the plugin is configured in another way than that.
        candidate.config = Some(config.clone());
    }
    let Some(digest) = digests.get(&candidate_of(name)) else { return };
    let rule = Rule { digest: digest.clone(), config };
    let runs = match back {
        Some(back) => back.rule == rule,
        None => digests.get(name) == Some(&rule.digest) && plugin.config == rule.config,
    };
    if runs || abandoned == Some(&rule) {
        plugin.candidate = None;
    }
}

impl Gateway {
    /// Has a candidate run in the place of the plugin that it is tried beside, until the file, or what the configuration says of the
    /// plugin, is another one. What was done, in words, once it is on disk.
    ///
    /// # Errors
    /// Why not; what ran keeps running.
    pub async fn promote(&self, name: &str) -> Result<String, CandidateError> {
        let _one_at_a_time = self.reloading().lock().await;
        let tried = self.tried(name)?;
        self.promote_for(&tried, "an operator wants it").await
    }

    /// Tries a candidate no more, until it is another one. What was done, in words, once it is on disk.
    ///
    /// # Errors
    /// Why not; it is tried on.
    pub async fn abandon(&self, name: &str) -> Result<String, CandidateError> {
        let _one_at_a_time = self.reloading().lock().await;
        let tried = self.tried(name)?;
        self.abandon_for(&tried, "an operator wants it").await
    }

    fn tried(&self, name: &str) -> Result<Arc<Tried>, CandidateError> {
        if !self.config().plugins.contains_key(name) {
            return Err(CandidateError::NoPlugin(name.to_owned()));
        }
        self.path().borrow().tried(name).ok_or_else(|| CandidateError::NoCandidate(name.to_owned()))
    }

    /// While nobody else applies anything.
    async fn promote_for(&self, tried: &Tried, why: &str) -> Result<String, CandidateError> {
        let (name, rule) = (&*tried.plugin, tried.rule.clone());
        let refused = |words: String| CandidateError::Refused(words);
        let written = self.written().as_ref().clone();
        let candidate = written.plugins.get(name).and_then(|plugin| plugin.candidate.as_deref());
        let path = candidate.ok_or_else(|| CandidateError::NoCandidate(name.to_owned()))?.path.clone();
        let (folder, digest) = (self.versions().borrow().folder.clone(), rule.digest.clone());
        let kept = tokio::task::spawn_blocking(move || keep(&folder, &path, &digest)).await;
        kept.map_err(|error| refused(error.to_string()))?.map_err(refused)?;
        let before = self.versions().borrow().kept.get(name).and_then(|kept| kept.rolled_back.clone());
        let instead_of = match &before {
            Some(back) => back.instead_of.clone(),
            None => {
                let versions = self.versions().borrow();
                versions.running(name).map_err(|_| CandidateError::NoPlugin(name.to_owned()))?.rule.clone()
            }
        };
        // Before it runs: what runs after a crash is what ran before it.
        let promoted = Some(Rollback { instead_of, rule: rule.clone(), promoted: true });
        self.set_rollback(name, promoted).await;
        if let Err(error) = self.apply_again(written).await {
            self.set_rollback(name, before).await;
            return Err(refused(error.to_string()));
        }
        let version = short(&rule.digest);
        tracing::warn!(name: "candidate_promoted", plugin = name, version, why, "promoted: what was tried runs now");
        Ok(format!("plugin `{name}` runs version {version}, which was tried"))
    }

    /// While nobody else applies anything.
    async fn abandon_for(&self, tried: &Tried, why: &str) -> Result<String, CandidateError> {
        let name = &*tried.plugin;
        let before = self.set_abandoned(name, Some(tried.rule.clone())).await;
        if let Err(error) = self.apply_again(self.written().as_ref().clone()).await {
            self.set_abandoned(name, before).await;
            return Err(CandidateError::Refused(error.to_string()));
        }
        let version = short(&tried.rule.digest);
        tracing::warn!(name: "candidate_abandoned", plugin = name, version, why, "abandoned: it is tried no more");
        Ok(format!("version {version} is tried no more beside plugin `{name}`"))
    }

    async fn set_abandoned(&self, name: &str, rule: Option<Rule>) -> Option<Rule> {
        let before = match self.versions().borrow_mut().kept.get_mut(name) {
            Some(kept) => std::mem::replace(&mut kept.abandoned, rule),
            None => None,
        };
        self.save_versions().await;
        before
    }

    /// Looks at candidates: those that fail are abandoned, and those that were tried enough promoted, if that is wanted.
    pub(super) async fn judge_candidates(&self) {
        let config = self.config();
        let mut all: Vec<Arc<Tried>> =
            self.path().borrow().all_plugins().filter_map(|info| info.tried.clone()).collect();
        all.sort_by(|one, other| one.plugin.cmp(&other.plugin));
        all.dedup_by(|one, other| one.plugin == other.plugin);
        for tried in all {
            let name = &*tried.plugin;
            let Some(plugin) = config.plugins.get(name) else { continue };
            if self.versions().borrow().stays.get(&candidate_of(name)) == Some(&tried.rule) {
                continue;
            }
            let outcome = if let Some(why) = self.fails(&tried, plugin) {
                self.end(&tried, &why).await
            } else if is_tried_enough(&tried, plugin) {
                let _one_at_a_time = self.reloading().lock().await;
                self.promote_for(&tried, "it was tried enough").await.map(drop)
            } else {
                continue;
            };
            if let Err(error) = outcome {
                tracing::error!(plugin = name, %error, "what is to become of its candidate cannot be done");
                // It is not tried ten times a second.
                self.versions().borrow_mut().stays.insert(candidate_of(name), tried.rule.clone());
            }
        }
    }

    /// Why a canary is not to decide anything more.
    fn fails(&self, tried: &Tried, plugin: &Plugin) -> Option<String> {
        let probation = plugin.probation.filter(|_| tried.is_canary)?;
        let now = Did {
            messages: tried.messages.get(),
            failures: tried.faults.get() + tried.rejects.get(),
            faults: tried.faults.get(),
            asked_ns: tried.asked_ns.get(),
            ..Did::default()
        };
        let mut versions = self.versions().borrow_mut();
        versions.count();
        let before = versions.running(&tried.plugin).map(|running| running.did).unwrap_or_default();
        judge(&probation, now, before)
    }

    /// Abandons a canary that fails; what it put aside is decided by the plugin that runs.
    async fn end(&self, tried: &Arc<Tried>, why: &str) -> Result<(), CandidateError> {
        {
            let _one_at_a_time = self.reloading().lock().await;
            self.abandon_for(tried, why).await?;
        }
        let replays = self.config().plugins.get(&*tried.plugin).and_then(|plugin| plugin.probation);
        if !replays.is_some_and(|probation| probation.replay_parked) {
            return Ok(());
        }
        // What it is still deciding it may put aside, too.
        self.until_gone(|| Arc::strong_count(tried) > 1).await;
        self.decide_parked_again(&tried.plugin, tried.since_ms).await;
        Ok(())
    }
}

/// Whether a candidate is to be promoted by itself, and has shown all that it was to show.
fn is_tried_enough(tried: &Tried, plugin: &Plugin) -> bool {
    let Some(promote) = plugin.candidate.as_deref().and_then(|candidate| candidate.promote) else { return false };
    let (messages, faults) = (tried.messages.get(), tried.faults.get());
    let ran_ms = u128::from(wall_ms().saturating_sub(tried.since_ms));
    ran_ms >= promote.after.as_millis()
        && messages >= promote.messages
        && u128::from(faults) * 1_000_000 <= u128::from(messages) * u128::from(promote.failures_per_million)
        && tried.differ() <= promote.differences
}

/// Keeps the component of a candidate as a version.
fn keep(folder: &Path, path: &Path, digest: &str) -> Result<(), String> {
    let kept = component(folder, digest);
    if kept.exists() {
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let is: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if is != digest {
        return Err(format!("{} is another file than the one that was tried", path.display()));
    }
    save(&kept, &bytes).map_err(|error| format!("{}: {error}", kept.display()))
}
