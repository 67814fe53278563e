//! A recording of a running gateway: messages with what was decided on each, as entries for whoever writes them down.
//!
//! What is recorded is a tap's: so many messages a second, and nobody waits for whoever writes. What he does not take in time, and
//! what came faster than it may be recorded, is a gap.

use crate::console::{Busy, Console};
use crate::data_path::wall_ms;
use crate::running::Gateway;
use crate::tapping::{Looking, Recorded};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate_decisions::{Begin, Content, Decision, End, Entry, Message, Payloads, PluginBegin, Sent, Tick};
use tidegate_router::{Ending, Ticked, Wanted, Way};
use tokio::sync::{mpsc, oneshot};

/// So many messages wait for whoever records.
const WAITING_MAX: usize = 8_192;

/// Why the gateway itself drops a message for what was decided on it.
const DECIDED: [&str; 3] = ["plugin_failed", "remap", "no_target"];

/// Recording.
#[derive(Debug)]
pub struct Recording {
    looking: Looking<Recorded>,
    begin: Option<Begin>,
    route: Option<String>,
    kept: Payloads,
}

impl Gateway {
    /// What plugins are and remember now.
    pub(crate) fn begin(&self, route: Option<&str>) -> Begin {
        let config = self.config();
        let path = self.path().borrow();
        let routes = config.routes.iter().filter(|known| route.is_none_or(|route| known.name == route));
        let mut plugins = BTreeMap::new();
        let names: BTreeSet<&String> = routes.flat_map(|route| &route.plugins).collect();
        for name in names {
            let Some(plugin) = config.plugins.get(name) else { continue };
            let state = path.router.spool().plugin_state(name).into_iter().flatten();
            let state = state.map(|(key, value)| (key.as_str().into(), bytes::Bytes::copy_from_slice(value)));
            let runs = path.all_plugins().find(|info| *info.name == **name);
            let digest = runs.map_or_else(String::new, |info| info.digest.clone());
            let (digest, config) = (digest.into(), plugin.config.to_string().into());
            plugins.insert(name.as_str().into(), PluginBegin { digest, config, state: state.collect() });
        }
        Begin {
            gateway: config.gateway.name.as_str().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            at_ms: wall_ms(),
            route: route.map(Into::into),
            plugins,
        }
    }
}

impl Console {
    /// Records messages from here on; `None` if too many look already.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn record(&self, wanted: Wanted, kept: Payloads) -> Result<Option<Recording>, Busy> {
        let route = wanted.route.clone();
        let wanted = Wanted { whole: true, ..wanted };
        let (tell, told) = oneshot::channel();
        // At once: what plugins remember is what they remembered before the first message.
        let start = move |gateway: &Gateway, to: mpsc::Sender<Arc<Recorded>>, missed| {
            let _ = tell.send(gateway.begin(wanted.route.as_deref()));
            gateway.record(wanted, to, missed)
        };
        let Some(looking) = self.look(WAITING_MAX, Gateway::record_no_more, start).await? else { return Ok(None) };
        let begin = told.await.map_err(|_| Busy)?;
        Ok(Some(Recording { looking, begin: Some(begin), route, kept }))
    }
}

impl Recording {
    /// The next entries; `None` when the gateway ends.
    pub async fn next(&mut self) -> Option<Vec<Entry>> {
        if let Some(begin) = self.begin.take() {
            return Some(vec![Entry::Begin(begin)]);
        }
        let recorded = self.looking.seen.recv().await?;
        let mut entries = Vec::new();
        if self.looking.missed() > 0 {
            entries.push(Entry::Gap);
        }
        match &*recorded {
            Recorded::Tick(ticked) if self.route.as_ref().is_some_and(|route| **route != *ticked.route) => {}
            recorded => recorded.entries(self.kept, &mut entries),
        }
        Some(entries)
    }
}

impl Recorded {
    /// What it is in a recording.
    pub(crate) fn entries(&self, kept: Payloads, entries: &mut Vec<Entry>) {
        match self {
            Self::Way(way) => message(way, kept, entries),
            Self::Tick(ticked) => entries.push(Entry::Tick(tick(ticked, kept))),
        }
    }
}

fn message(way: &Way, kept: Payloads, entries: &mut Vec<Entry>) {
    let (Some(whole), Some(route)) = (&way.whole, &way.route) else { return };
    if whole.after_gap {
        entries.push(Entry::Gap);
    }
    let end = match &way.ending {
        Ending::Onward => End::Onward,
        Ending::Dropped { reason, by_plugin: false } if !DECIDED.contains(&&**reason) => {
            if whole.out.is_empty() {
                // It was not decided.
                return entries.push(Entry::Gap);
            }
            // What became of it at its target is no decision.
            End::Onward
        }
        Ending::Dropped { reason, by_plugin } => End::Dropped(reason.clone(), *by_plugin),
        Ending::Parked { plugin, kind, reason } => End::Failed((**plugin).into(), (*kind).into(), reason.clone()),
        Ending::Unrouted => return,
        // It is decided later, and nobody looks then.
        Ending::HeldBack => return entries.push(Entry::Gap),
    };
    let sent = whole.out.iter().map(|(message, to)| sent(message, to, kept));
    entries.push(Entry::Message(Message {
        id: whole.id,
        received_ms: whole.received_ms,
        redelivered: whole.redelivered,
        route: (**route).into(),
        broker: (*way.broker).into(),
        came: Content::of(&whole.came, kept),
        decision: Decision { sent: sent.collect(), end },
    }));
}

fn tick(ticked: &Ticked, kept: Payloads) -> Tick {
    let Ticked { route, plugin, now_ms, after, made } = ticked;
    let sent = made.iter().map(|(message, to)| sent(message, to, kept));
    let (route, plugin) = (route.clone(), (**plugin).into());
    Tick { route, plugin, now_ms: *now_ms, after: *after, sent: sent.collect() }
}

fn sent<'a>(message: &tidegate_message::Message, to: impl IntoIterator<Item = &'a Arc<str>>, kept: Payloads) -> Sent {
    Sent { to: to.into_iter().map(|name| (**name).into()).collect(), content: Content::of(message, kept) }
}
