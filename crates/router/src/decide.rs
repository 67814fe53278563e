//! Step 2, decide: what the plugins of a route have said about its parcels.
//!
//! In: [`Decided`], a batch at a time, in the order in which the parcels were given to the plugins. Out: messages for step
//! 3, messages put aside, and accounts of what was dropped; with what the plugins remember, in one draft of a record.

use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::{DraftId, RouteId};
use crate::parcel::Parcel;
use crate::pressure::PIPELINE_MAX;
use crate::route::{Part, RouteTarget};
use crate::sessions::Sessions;
use crate::{Moment, Router};
use std::sync::Arc;
use tidegate_message::{ByteString, Message};
use tidegate_spool::{NameKind, StateWrite};

/// Where one output of a decided message goes.
#[derive(Debug, PartialEq)]
pub enum To {
    /// To the route's own targets.
    Onward,
    /// To a target by name, granted to the plugin.
    Target(Arc<str>),
}

/// What is to be done with a parcel.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Its message goes onward.
    Onward,
    /// These go out instead of it; at least one.
    Outputs(Vec<(To, Message)>),
    /// It ends here, for this reason.
    Drop(ByteString),
    /// It ends here because a plugin failed.
    Failed,
    /// It is put aside.
    Park(Parking),
}

/// Why a message is put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parking {
    /// The plugin that could not decide it.
    pub plugin: Arc<str>,
    /// A stable word, as in the counters.
    pub kind: &'static str,
    /// In the plugin's or the host's words.
    pub reason: String,
}

/// What a plugin wants kept under a key; `None` to forget it.
pub type Written = (String, Option<Vec<u8>>);

/// A decided parcel, or what a tick had to say.
#[derive(Debug)]
pub enum Decided {
    /// What a plugin wants remembered together with the decisions of the same batch.
    Remember(Arc<str>, Vec<Written>),
    /// A parcel, and what becomes of it.
    Parcel(Parcel, Verdict),
    /// A message that a plugin made on a tick, as the plugins behind it have decided.
    Tick(Parcel, Verdict),
    /// Alone in its batch: what a plugin remembers is of another version from here on.
    Moved(Moved),
}

/// What a plugin remembers, brought to another version.
#[derive(Debug)]
pub struct Moved {
    /// Whose it is.
    pub plugin: Arc<str>,
    /// What is written for that.
    pub writes: Vec<Written>,
    /// All routes that it is in. Nothing of them is decided elsewhere at this moment.
    pub routes: Vec<RouteId>,
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Takes what the plugins of a route have decided. What they remember is durable together with these decisions or not
    /// at all.
    pub fn decided(&mut self, at: RouteId, mut batch: Vec<Decided>, now: Moment) {
        self.trace.look();
        if let [Decided::Moved(_)] = &batch[..] {
            if let Some(Decided::Moved(moved)) = batch.pop() {
                self.state_moved(at, moved);
            }
            return;
        }
        let draft = self.begin_draft(at, &mut batch);
        for one in batch {
            match one {
                Decided::Remember(..) | Decided::Moved(_) => {}
                Decided::Parcel(parcel, verdict) => {
                    self.left_plugins(at);
                    let part = Part { route: at, debt: parcel.debt, draft, received_us: parcel.received_us };
                    self.verdict(part, parcel, verdict, now);
                }
                Decided::Tick(parcel, verdict) => {
                    let account = &mut self.routes[at.at()].account;
                    account.ticked += 1;
                    account.in_flight += 1;
                    let part = Part { route: at, debt: None, draft, received_us: now.us };
                    self.verdict(part, parcel, verdict, now);
                }
            }
        }
        if let Some(draft) = draft {
            self.end_draft(draft);
        }
    }

    /// A draft for a batch whose decisions may not be recorded one by one: its plugins remember something, or decisions
    /// of an earlier batch of the route still wait, which these must not overtake.
    fn begin_draft(&mut self, at: RouteId, batch: &mut [Decided]) -> Option<DraftId> {
        let remembers = batch.iter().any(|one| matches!(one, Decided::Remember(..)));
        if !remembers && self.routes[at.at()].drafts.is_empty() {
            return None;
        }
        let mut state = Vec::new();
        for one in batch.iter_mut() {
            if let Decided::Remember(plugin, writes) = one {
                state.extend(self.state_writes(plugin, std::mem::take(writes)));
            }
        }
        let debts = batch.iter().filter_map(|one| match one {
            Decided::Parcel(parcel, _) => parcel.debt,
            Decided::Remember(..) | Decided::Moved(_) | Decided::Tick(..) => None,
        });
        Some(self.open_draft(at, state, debts.collect()))
    }

    fn state_writes(&mut self, plugin: &str, writes: Vec<Written>) -> impl Iterator<Item = StateWrite> + use<A, S> {
        let plugin = self.spool.name(NameKind::Plugin, plugin);
        writes.into_iter().map(move |(key, value)| StateWrite { plugin, key, value })
    }

    /// In one record with all that its routes have decided so far and that is not written yet, and before what they decide from here on.
    fn state_moved(&mut self, at: RouteId, Moved { plugin, writes, routes }: Moved) {
        let state = self.state_writes(&plugin, writes).collect();
        let draft = self.open_draft(at, state, Vec::new());
        self.stand_behind(draft, &routes);
        self.end_draft(draft);
    }

    fn left_plugins(&mut self, at: RouteId) {
        let route = &mut self.routes[at.at()];
        route.in_pipeline -= 1;
        if route.full_since.is_some() && route.in_pipeline <= PIPELINE_MAX / 2 {
            route.full_since = None;
            self.wants_look = true;
        }
    }

    fn verdict(&mut self, part: Part, parcel: Parcel, verdict: Verdict, now: Moment) {
        if self.trace.is_on() {
            self.trace_verdict(part, &parcel, &verdict);
        }
        if self.taps_follow() {
            let parked = if let Verdict::Park(why) = &verdict { Some(why) } else { None };
            self.tap_returns(parcel.id, parked);
        }
        self.carry_out(part, parcel, verdict, now);
        if self.taps.is_about_one() {
            self.tap_leaves(now);
        }
    }

    #[inline(always)]
    fn carry_out(&mut self, part: Part, parcel: Parcel, verdict: Verdict, now: Moment) {
        match verdict {
            Verdict::Onward => self.onward(part, parcel.message, now),
            Verdict::Outputs(outputs) => {
                self.copies(part, outputs.len());
                for (to, message) in outputs {
                    self.output(part, to, message, now);
                }
            }
            Verdict::Drop(reason) => self.end(part, &parcel.message.topic, DropReason::Plugin(&reason)),
            Verdict::Failed => self.end(part, &parcel.message.topic, DropReason::PluginFailed),
            Verdict::Park(why) => self.park(part, parcel, why, now),
        }
    }

    fn output(&mut self, part: Part, to: To, message: Message, now: Moment) {
        match to {
            To::Onward => self.onward(part, message, now),
            To::Target(name) => match self.targets.get(&name) {
                Some(target) => {
                    let target = RouteTarget::new(*target, true);
                    self.send(part, &[target], message, now);
                }
                None => self.end(part, &message.topic, DropReason::TargetRemoved),
            },
        }
    }
}
