//! `tidegate plugin state`: what plugins remember, of a running gateway through its admin listener, of a stopped one from
//! its disk.

use crate::{Failure, admin_client, spool};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_config::Config;
use tidegate_gateway::is_own_state_key;
use tidegate_spool::Editor;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum State {
    /// All keys, or those of one plugin, with the length of their values in bytes.
    List { plugin: Option<String> },
    /// The value of a key, as it is.
    Get { plugin: String, key: String },
    /// Forget a key. The gateway must be stopped: a plugin may be using it.
    Delete { plugin: String, key: String },
}

type States = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Asks, or reads, or changes what is on disk.
pub(crate) fn state(config: &Config, what: State) -> Result<(), Failure> {
    match what {
        State::List { plugin } => {
            for (name, keys) in states(config)? {
                if plugin.as_ref().is_none_or(|wanted| *wanted == name) {
                    keys.iter().for_each(|(key, value)| println!("{name}\t{key}\t{}", value.len()));
                }
            }
            Ok(())
        }
        State::Get { plugin, key } => {
            let mut states = states(config)?;
            let value = states.get_mut(&plugin).and_then(|keys| keys.remove(&key));
            let value = value.ok_or_else(|| unknown(&plugin, &key))?;
            std::io::Write::write_all(&mut std::io::stdout(), &value)
                .map_err(|error| Failure::Disk(format!("standard output: {error}")))
        }
        State::Delete { plugin, key } => delete(config, &plugin, &key),
    }
}

fn unknown(plugin: &str, key: &str) -> Failure {
    Failure::Usage(format!("plugin `{plugin}` remembers nothing under `{key}`: see tidegate plugin state list"))
}

fn states(config: &Config) -> Result<States, Failure> {
    match spool::open(config) {
        Ok(disk) => {
            let editor = Editor::open(Arc::new(disk)).map_err(spool::disk_failure)?;
            let of = |plugin: String| {
                let mut keys = editor.state(&plugin)?.clone();
                keys.retain(|key, _| !is_own_state_key(key));
                Some((plugin, keys))
            };
            Ok(editor.plugins().into_iter().filter_map(of).collect())
        }
        Err(Failure::Unavailable(_)) => {
            let answer = admin_client::ask(config, "GET", "/state")?;
            let coded: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&answer)
                .map_err(|error| Failure::Unavailable(format!("the gateway answers something else: {error}")))?;
            let decode = |keys: BTreeMap<String, String>| {
                keys.into_iter().map(|(key, value)| (key, BASE64.decode(value).unwrap_or_default())).collect()
            };
            Ok(coded.into_iter().map(|(plugin, keys)| (plugin, decode(keys))).collect())
        }
        Err(other) => Err(other),
    }
}

fn delete(config: &Config, plugin: &str, key: &str) -> Result<(), Failure> {
    let mut editor = Editor::open(Arc::new(spool::open(config)?)).map_err(spool::disk_failure)?;
    if !editor.delete_state(plugin, key) {
        return Err(unknown(plugin, key));
    }
    editor.save().map_err(|error| Failure::Disk(error.to_string()))
}
