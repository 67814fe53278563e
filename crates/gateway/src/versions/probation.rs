//! A version that was saved is on probation: one that fails goes, and the one before runs again.

use super::kept::{Came, Did, Rule};
use crate::counters::StageCounters;
use crate::data_path::wall_ms;
use crate::running::Gateway;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_config::Probation;
use tidegate_router::PARKED_FOR_TARGET;

/// Judged from so many messages on.
const JUDGED_FROM: u64 = 20;

/// What it refuses counts from so many on of which the version before was asked.
const REJECTS_FROM: u64 = 10;

/// A version is no slower for a first call that is cold, or for messages that come one by one: the one before counts as taking so long
/// at least.
const QUICK_US: f64 = 20.0;

/// No longer, however few messages come.
const LONGEST_MS: u64 = 24 * 60 * 60 * 1000;

/// How often versions on probation are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What was received so long before a version ran may be the first that it has put aside.
const BEFORE_MS: u64 = 5_000;

/// So long the last batch of a version may take: the longest deadline is shorter.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// One that does not pass.
#[derive(Debug)]
struct Failed {
    plugin: String,
    rule: Rule,
    why: String,
    since_ms: u64,
    replay: bool,
}

/// Why a version does not pass, for what it did and what the one before did.
pub(super) fn judge(probation: &Probation, now: Did, before: Did) -> Option<String> {
    if now.messages < JUDGED_FROM {
        return None;
    }
    let share = |did: Did| did.faults as f64 / did.messages.max(1) as f64;
    let allowed = (f64::from(probation.failures_per_million) / 1e6).max(2.0 * share(before));
    if share(now) > allowed {
        return Some(format!("it failed on {} of {} messages", now.faults, now.messages));
    }
    // Of what it refused, as much as the version before would have decided, by those that it was asked about.
    let refused = did_refuse(now);
    if probation.rejects && (now.faults as f64 + refused) / now.messages.max(1) as f64 > allowed {
        return Some(format!(
            "it refuses messages that the one before decides, {refused:.0} of {}: `rejects = false` in its `probation` lets it",
            now.messages
        ));
    }
    let mean_us = |did: Did| did.asked_ns as f64 / 1000.0 / did.messages.max(1) as f64;
    let times = mean_us(now) / mean_us(before).max(QUICK_US);
    let compares = probation.slower > 0 && before.messages >= JUDGED_FROM;
    (compares && times > f64::from(probation.slower)).then(|| {
        format!("it takes {:.0} µs for a message, where the one before took {:.0}", mean_us(now), mean_us(before))
    })
}

/// So many messages it refused that the version before would have decided.
fn did_refuse(now: Did) -> f64 {
    if now.rejects_asked < REJECTS_FROM {
        return 0.0;
    }
    now.rejects as f64 * now.rejects_decided as f64 / now.rejects_asked as f64
}

impl Gateway {
    /// Looks at versions on probation; never returns.
    pub(crate) async fn watch_probation(self) {
        loop {
            while !self.watches_any() {
                self.applied().notified().await;
            }
            tokio::time::sleep(LOOK).await;
            for (plugin, why) in self.without_state() {
                self.roll_back_without_state(&plugin, &why).await;
            }
            for failed in self.failed_versions() {
                self.roll_back_failed(failed).await;
            }
            self.judge_candidates().await;
        }
    }

    /// Whether a version is on probation, one is tried, or one may still say that it cannot have its state.
    fn watches_any(&self) -> bool {
        let moves = self.states_moved().is_some_and(|moved| moved.elapsed() < GONE_WITHIN);
        let is_tried = || self.path().borrow().all_plugins().any(|info| info.tried.is_some());
        moves || !self.on_probation().is_empty() || is_tried()
    }

    fn on_probation(&self) -> Vec<(String, Probation)> {
        let config = self.config();
        let versions = self.versions().borrow();
        let now_ms = wall_ms();
        let is_on = |name: &String| {
            let kept = versions.kept.get(name)?;
            let last = kept.versions.last().filter(|last| last.until_ms.is_none())?;
            if !matches!(last.came, Came::Saved | Came::Promoted) {
                return None;
            };
            let ran_ms = now_ms.saturating_sub(last.since_ms);
            let probation = config.plugins.get(name)?.probation?;
            let is_over = ran_ms >= probation.lasts.as_millis() as u64 && last.did.messages >= probation.messages;
            let stays = versions.stays.get(name) == Some(&last.rule);
            (!stays && !is_over && ran_ms < LONGEST_MS && kept.versions.len() > 1).then_some(probation)
        };
        versions.kept.keys().filter_map(|name| Some((name.clone(), is_on(name)?))).collect()
    }

    fn failed_versions(&self) -> Vec<Failed> {
        let on = self.on_probation();
        if on.is_empty() {
            return Vec::new();
        }
        let mut versions = self.versions().borrow_mut();
        versions.count();
        let failed = |(name, probation): (String, Probation)| {
            let all = &versions.kept[&name].versions;
            let last = all.last()?;
            let before = all.iter().rev().find(|version| version.rule != last.rule)?;
            let why = judge(&probation, last.did, before.did)?;
            let (rule, since_ms) = (last.rule.clone(), last.since_ms);
            Some(Failed { plugin: name, rule, why, since_ms, replay: probation.replay_parked })
        };
        on.into_iter().filter_map(failed).collect()
    }

    /// Plugins of which another version was to come, and could not have its state after all: the one before still runs.
    fn without_state(&self) -> Vec<(String, String)> {
        let versions = self.versions().borrow();
        let why = |(name, (_, counters)): (&String, &(Did, Vec<Arc<StageCounters>>))| {
            let why = counters.iter().filter_map(|one| one.no_state.take()).reduce(|_, last| last)?;
            Some((name.clone(), why))
        };
        versions.counted.iter().filter_map(why).collect()
    }

    async fn roll_back_without_state(&self, plugin: &str, why: &str) {
        let _one_at_a_time = self.reloading().lock().await;
        let why = format!("its state cannot be brought to its version: {why}");
        if let Err(error) = self.roll_back_for(plugin, None, &why).await {
            tracing::error!(plugin, why, %error, "a version cannot run, and no other one is told to run in its place");
        }
    }

    async fn roll_back_failed(&self, failed: Failed) {
        let Failed { plugin, rule, why, since_ms, replay } = failed;
        let stages = {
            let _one_at_a_time = self.reloading().lock().await;
            // Another one may have been saved meanwhile.
            if self.versions().borrow().running(&plugin).is_ok_and(|running| running.rule != rule) {
                return;
            }
            let stages = self.versions().borrow().alive.get(&plugin).cloned().unwrap_or_default();
            if let Err(error) = self.roll_back_for(&plugin, None, &why).await {
                tracing::error!(plugin, why, %error, "a version fails, and the one before cannot run again");
                // It is not tried ten times a second.
                self.versions().borrow_mut().stays.insert(plugin, rule);
                return;
            }
            stages
        };
        // What it is still deciding it may put aside, too.
        self.until_gone(|| stages.iter().any(|stage| stage.strong_count() > 0)).await;
        *self.versions().borrow_mut().rollbacks.entry(plugin.clone()).or_default() += 1;
        if !replay {
            return;
        }
        self.decide_parked_again(&plugin, since_ms).await;
    }

    /// Waits until the last stage of a version is gone, and takes what it has decided.
    pub(super) async fn until_gone(&self, is_there: impl Fn() -> bool) {
        let until = Instant::now() + GONE_WITHIN;
        while is_there() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.path().borrow_mut().flush(Instant::now());
    }

    /// What a version has put aside since it ran enters its routes again.
    pub(super) async fn decide_parked_again(&self, plugin: &str, since_ms: u64) {
        let of_it = |number: u64, parked: &tidegate_spool::Parked| {
            let is_its = parked.plugin == *plugin && parked.kind != PARKED_FOR_TARGET;
            (is_its && parked.received_ms + BEFORE_MS >= since_ms).then_some(number)
        };
        let numbers: Vec<u64> = self.parked(of_it).into_iter().flatten().collect();
        let count = numbers.len();
        let mut began = Instant::now();
        for number in numbers {
            if let Err(error) = self.replay(number, None) {
                tracing::warn!(number, ?error, "what the version had put aside stays there");
            }
            // Others have messages, too.
            if began.elapsed() > Duration::from_millis(1) {
                tokio::task::yield_now().await;
                began = Instant::now();
            }
        }
        if count > 0 {
            tracing::info!(plugin, messages = count, "what the version had put aside is decided by the one before");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(messages: u64, faults: u64, mean_us: u64) -> Did {
        Did { messages, failures: faults, faults, asked_ns: messages * mean_us * 1000, ..Did::default() }
    }

    #[test]
    fn what_a_version_refuses_counts_as_far_as_the_one_before_would_have_decided_it() {
        let refuses = |rejects, rejects_asked, rejects_decided| Did {
            failures: rejects,
            rejects,
            rejects_asked,
            rejects_decided,
            ..did(1_000, 0, 10)
        };
        let probation = Probation::default();
        let fails = |now: Did, probation: &Probation| judge(probation, now, did(10_000, 0, 10)).is_some();
        assert!(fails(refuses(500, 50, 50), &probation));
        assert!(!fails(refuses(500, 50, 0), &probation), "the one before refused them, too");
        assert!(!fails(refuses(500, 50, 1), &probation) && fails(refuses(500, 50, 2), &probation));
        assert!(!fails(refuses(500, 9, 9), &probation), "too few were asked about");
        assert!(!fails(refuses(500, 50, 50), &Probation { rejects: false, ..probation }));
    }

    #[test]
    fn a_version_is_judged_by_its_share_of_failures_and_by_its_time() {
        let probation = Probation::default();
        let fails = |now: Did, before: Did| judge(&probation, now, before).is_some();
        let good = did(10_000, 0, 10);
        assert!(!fails(did(19, 19, 10), good), "too few to say");
        assert!(fails(did(20, 1, 10), good));
        assert!(!fails(did(1_000, 10, 10), good) && fails(did(1_000, 11, 10), good), "more than one in a hundred");
        assert!(!fails(did(1_000, 100, 10), did(1_000, 50, 10)), "no more than twice as many as before");
        assert!(fails(did(1_000, 101, 10), did(1_000, 50, 10)));
        let slow = did(10_000, 0, 30);
        assert!(!fails(did(100, 0, 150), slow) && fails(did(100, 0, 151), slow), "five times as long");
        assert!(!fails(did(100, 0, 100), good) && fails(did(100, 0, 101), good), "as of one that takes 20 µs");
        assert!(!fails(did(100, 0, 151), did(19, 0, 30)), "of so few the time is not known");
        let lenient = Probation { slower: 0, failures_per_million: 1_000_000, ..probation };
        assert_eq!(judge(&lenient, did(1_000, 1_000, 10_000), good), None);
    }
}
