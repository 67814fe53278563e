//! `tidegate plan`: what a configuration would change of a running gateway, and of what it decides.

use crate::differences::told_differences;
use crate::own_cache::own_cache;
use crate::{Failure, admin_client, check, logs};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tidegate_admin::model::{Difference, Recent};
use tidegate_config::{Change, ChangeKind, Config, Problems};
use tidegate_decisions::{Differences, Entries, FieldPath};
use tidegate_gateway::{Comparison, Replay, Replayed};

/// Of `tidegate plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration that is to come; where none is named, it is the one of the gateway.
    new: Option<PathBuf>,
    /// The configuration of the gateway; its admin listener is asked what runs.
    #[arg(long, short)]
    config: PathBuf,
    /// A field of JSON payloads that may differ, such as '$.ts'; may be given more than once.
    #[arg(long, value_name = "FIELD")]
    ignore: Vec<FieldPath>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what would change; nothing is applied.
pub(crate) fn plan(arguments: Arguments) -> Result<(), Failure> {
    logs::init(logs::Format::Text, "warn,wasmtime_internal_cache=off");
    let refused = |problems: &Problems| Failure::Config(format!("it would be refused\n{problems}"));
    let new = arguments.new.as_ref().unwrap_or(&arguments.config);
    let loaded = tidegate_config::load(new).map_err(|problems| refused(&problems.sorted()))?;
    let problems = tidegate_gateway::examine(&loaded, true, own_cache().as_deref())?;
    if problems.errors() > 0 {
        return Err(refused(&problems));
    }
    problems.0.iter().for_each(|warning| eprintln!("{warning}"));
    let config = &loaded.config;
    let running = match arguments.new {
        None => None,
        Some(_) => Some(
            tidegate_config::load(&arguments.config)
                .map_err(|problems| Failure::Config(problems.sorted().to_string()))?
                .config,
        ),
    };
    let running = running.as_ref().unwrap_or(config);
    let compared = check::compare(config, running)?;
    let recent: Recent = admin_client::read(&admin_client::ask(running, "GET", "/api/v1/recent")?)?;
    let replayed = decide_again(config, &recent, arguments.ignore)?;
    match arguments.json {
        true => println!("{}", as_json(&compared, &replayed)),
        false => print!("{}", told(&compared, &replayed)),
    }
    Ok(())
}

fn decide_again(config: &Config, recent: &Recent, ignored: Vec<FieldPath>) -> Result<Replayed, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Unavailable(format!("what the gateway has kept: {error}"));
    let bytes = STANDARD.decode(&recent.recording).map_err(|error| wrong(&error))?;
    let mut replay = Replay::new(config, Differences::new(ignored), own_cache().as_deref())?;
    for entry in Entries::new(&bytes[..]).map_err(|error| wrong(&error))? {
        replay.entry(entry.map_err(|error| wrong(&error))?, false)?;
    }
    replay.end();
    Ok(replay.found)
}

/// Brokers, sets, sources, plugins, routes: what becomes of each, and by which of its keys.
fn by_thing(changes: &[Change]) -> BTreeMap<String, Vec<&Change>> {
    let mut all: BTreeMap<String, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        let thing: Vec<&str> = change.key.splitn(3, '.').take(2).collect();
        all.entry(thing.join(".")).or_default().push(change);
    }
    all
}

/// Whether a link connects anew for this.
fn reconnects(thing: &str, changes: &[&Change]) -> bool {
    let is_of_link = |change: &&&Change| !change.key.starts_with(&format!("{thing}.spool"));
    thing.starts_with("brokers.") && changes.iter().any(|change| change.key != *thing && is_of_link(&change))
}

/// For people.
fn told(compared: &Comparison, replayed: &Replayed) -> String {
    let Comparison { gateway, changes, next_start, touched, .. } = compared;
    let mut text = String::new();
    for (thing, of_it) in by_thing(changes) {
        let sign = match of_it[..] {
            [Change { kind: ChangeKind::Added, key }] if *key == thing => "+",
            [Change { kind: ChangeKind::Removed, key }] if *key == thing => "-",
            _ => "~",
        };
        let more = if reconnects(&thing, &of_it) { ", which connects anew" } else { "" };
        text += &format!("{sign} {thing}{more}\n");
        of_it.iter().filter(|change| change.key != thing).for_each(|change| text += &format!("    {change}\n"));
    }
    next_start.iter().for_each(|change| text += &format!("at the next start: {change}\n"));
    touched.iter().for_each(|touched| text += &format!("{touched}\n"));
    if changes.is_empty() && next_start.is_empty() {
        text += &format!("the running gateway `{gateway}` has it already: nothing would change\n");
    }
    let Replayed { differences, messages, .. } = replayed;
    text += &told_differences(&Difference::all(&differences.groups), ["runs", "would be"]);
    text + &match messages {
        0 => "no recent messages to decide again: set `recent_messages` in [gateway] to have some kept\n".to_owned(),
        messages => format!("of the last {messages} messages {} would be decided otherwise\n", differences.differ),
    }
}

fn as_json(compared: &Comparison, replayed: &Replayed) -> serde_json::Value {
    let change = |change: &Change| change.to_string();
    json!({
        "gateway": compared.gateway,
        "changes": compared.changes.iter().map(change).collect::<Vec<_>>(),
        "next_start": compared.next_start.iter().map(change).collect::<Vec<_>>(),
        "reconnects": by_thing(&compared.changes).iter().filter(|(thing, of_it)| reconnects(thing, of_it))
            .map(|(thing, _)| thing.trim_start_matches("brokers.")).collect::<Vec<_>>(),
        "waiting": compared.touched.iter().map(tidegate_gateway::touched_json).collect::<Vec<_>>(),
        "recent": {
            "messages": replayed.messages,
            "differ": replayed.differences.differ,
            "differences": Difference::all(&replayed.differences.groups),
        },
    })
}
