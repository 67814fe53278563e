//! Compares a configuration that is not in force yet with what a running gateway has.
//!
//! The gateway shows what runs, and the command that asks compares: so nobody can hand a configuration to the gateway through
//! its admin listener. What may be a secret is shown as a hash with a key that lies in `data_dir`, where only the user of the
//! gateway reads: whoever asks the listener and cannot read there learns nothing, and is told what was not compared.

use crate::{next_start, owned};
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use tidegate_config::{Change, Config, Key, Outline, Shown, Touched};

/// In `data_dir`: made anew at each start.
const KEY_FILE: &str = "compare.key";

/// What a configuration would change.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The name of the gateway that runs.
    pub gateway: String,
    /// What a reload would change at once, by key.
    pub changes: Vec<Change>,
    /// What would wait for the next start, by key.
    pub next_start: Vec<Change>,
    /// What it would mean to messages that wait.
    pub touched: Vec<Touched>,
    /// Values that may be secrets, and were not compared because the key cannot be read here.
    pub not_compared: usize,
}

/// Makes the key of a gateway that starts, for those who may read in its folder.
pub(crate) fn make_key(data_dir: &Path) -> Option<Key> {
    let told =
        |error: &io::Error| tracing::warn!(%error, "`check --running` cannot compare values that may be secrets");
    owned::make_key(&data_dir.join(KEY_FILE), |key| key.to_vec()).inspect_err(told).ok()
}

/// The key of the gateway that runs in this folder; `None` if there is none or it may not be read.
pub fn running_key(data_dir: &Path) -> Option<Key> {
    std::fs::read(data_dir.join(KEY_FILE)).ok()?.try_into().ok()
}

/// What runs, to be compared by another process.
pub(crate) fn answer(config: &Config, waiting: &BTreeMap<String, u64>, key: Option<&Key>) -> serde_json::Value {
    let shown = Outline::of(config).shown(key);
    json!({ "config": shown.to_json(), "key": key.map(name_of), "waiting": waiting })
}

/// A name by which two processes know that they have the same key.
fn name_of(key: &Key) -> String {
    tidegate_config::hash_kept(key, "", "")
}

/// What a configuration would change of what a gateway runs that has answered this. `None` if that is no such answer.
pub fn compare(answer: &str, config: &Config, key: Option<&Key>) -> Option<Comparison> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    let running = Shown::from_json(answer.get("config")?)?;
    let waiting = answer.get("waiting")?.as_object()?.iter();
    let waiting = waiting.map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect::<Option<_>>()?;
    // That of another gateway, or of an earlier run, is as good as none.
    let key = key.filter(|key| answer.get("key").and_then(|name| name.as_str()) == Some(&name_of(key)));
    let gateway = running.told("gateway.name")?.to_owned();
    let written = next_start::with_client_ids_of(&gateway, config);
    let written = Outline::of(&written).shown(key);
    let (running, not_compared) = match key {
        Some(_) => (running, 0),
        None => {
            let kept = running.kept_in_both(&written);
            (running.left_out(), kept)
        }
    };
    let (running, written) = (running.outline(), written.outline());
    let changes = running.changes(written);
    let touched = running.touched(written, &changes, &waiting);
    let (next_start, changes) = changes.into_iter().partition(|change| next_start::waits(&change.key));
    Some(Comparison { gateway, changes, next_start, touched, not_compared })
}
