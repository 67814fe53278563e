//! What plugins do in a story: they decide as a table says, some of their parcels later, several together.

use crate::ledger::{Attempt, Batch, Fate, Ledger, Out, Stamp};
use crate::play::Play;
use crate::setup::target_name;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tidegate_message::{ByteString, Message, QoS, Topic};
use tidegate_router::{Decided, Moved, Parcel, Parking, To, Verdict};

/// Why plugins drop.
const UNWANTED: ByteString = ByteString::from_static("unwanted");

impl Play {
    /// Plugins get their parcels. Returns how many.
    pub(crate) fn hand_over(&mut self) -> usize {
        let now = self.now();
        let mut given = Vec::new();
        self.router.hand_over(now, 4, |at, parcels, _| {
            given.push((at, std::mem::take(parcels)));
            Vec::new()
        });
        let mut count = 0;
        for (at, parcels) in given {
            let name = self.router.route(at).name.to_string();
            count += parcels.len();
            for parcel in &parcels {
                let number = Stamp::of(&parcel.message).attempt;
                let known = *self.ledger.ids.entry((number, name.clone())).or_insert(parcel.id);
                assert!(known == parcel.id, "plugins of {name} knew {number} as {known}, now as {}", parcel.id);
                let attempt = self.ledger.attempts.get_mut(&Stamp::of(&parcel.message).attempt).expect("one");
                if !attempt.replayed {
                    let before = attempt.fates.insert(name.clone(), Fate::WithPlugins);
                    assert!(matches!(before, Some(Fate::Outs(_))), "{before:?} of {attempt:?}");
                }
            }
            self.pipelines.entry(name).or_default().extend(parcels);
        }
        count
    }

    fn target_for(&self, table: u8) -> String {
        let wanted = usize::from(table >> 4);
        let all = (0..6).map(|at| target_name(wanted + at));
        all.clone().find(|name| self.setup.has_target(name)).unwrap_or_else(|| target_name(wanted))
    }

    /// The plugins of a route decide the first of their parcels, together. Returns how many.
    pub(crate) fn decide(&mut self, route: &str, count: usize, table: &[u8], mut remembers: bool) -> usize {
        let waiting = self.pipelines.get(route).map_or(0, VecDeque::len);
        let count = count.min(waiting);
        if count == 0 {
            return 0;
        }
        if remembers && table[0] % 8 == 5 {
            self.state_moves(route);
            remembers = false;
        }
        let Some(pipeline) = self.pipelines.get_mut(route) else { return 0 };
        let parcels: Vec<Parcel> = pipeline.drain(..count).collect();
        let number = self.ledger.number();
        self.ledger.routes.insert(number, route.to_owned());
        let mut batch = Vec::new();
        if remembers {
            batch.push(self.remember(route, number));
        }
        for (nth, parcel) in parcels.into_iter().enumerate() {
            batch.push(self.verdict(route, number, parcel, table[nth % table.len()]));
        }
        let (now, at) = (self.now(), self.router.route_at(route).expect("a route"));
        self.router.decided(at, batch, now);
        count
    }

    /// What the plugin of a route remembers is of another version now; it may be in any of the routes.
    fn state_moves(&mut self, route: &str) {
        let number = self.ledger.number();
        self.ledger.routes.insert(number, route.to_owned());
        let Decided::Remember(plugin, writes) = self.remember(route, number) else { return };
        let live = self.router.routes().filter(|(_, route)| !route.removed);
        let (routes, parts): (Vec<_>, Vec<String>) = live.map(|(at, route)| (at, route.name.to_string())).unzip();
        self.ledger.batches.get_mut(&number).expect("it remembers").parts = parts;
        let (now, at) = (self.now(), self.router.route_at(route).expect("a route"));
        self.router.decided(at, vec![Decided::Moved(Moved { plugin, writes, routes })], now);
    }

    fn remember(&mut self, route: &str, number: u64) -> Decided {
        let batch = Batch { route: route.to_owned(), life: self.ledger.life, is_there: None, parts: Vec::new() };
        self.ledger.batches.insert(number, batch);
        let writes = vec![
            (format!("k{number}"), Some(vec![])),
            ("last".to_owned(), Some(number.to_string().into_bytes())),
            ("odd".to_owned(), (number % 2 == 1).then(Vec::new)),
        ];
        Decided::Remember(format!("plugin-{route}").into(), writes)
    }

    fn verdict(&mut self, route: &str, batch: u64, mut parcel: Parcel, table: u8) -> Decided {
        let stamp = Stamp::of(&parcel.message);
        let first = Self::stamped(&parcel.message, batch, 0);
        let second = Self::stamped(&parcel.message, batch, 1);
        let named = || (self.target_for(table), Topic::new(format!("{route}/{}", first.topic)).expect("a topic"));
        let mut named_targets = Vec::new();
        let mut to_named = |message: &Message| {
            let (name, topic) = named();
            named_targets.push(name.clone());
            (To::Target(name.into()), Message { topic, ..message.clone() })
        };
        parcel.message = first.clone();
        let (verdict, onward) = match table % 16 {
            0..8 => (Verdict::Onward, 1),
            8..10 => (Verdict::Outputs(vec![(To::Onward, first.clone()), (To::Onward, second)]), 2),
            10 => (Verdict::Outputs(vec![(To::Onward, first.clone()), to_named(&second)]), 1),
            11 => (Verdict::Outputs(vec![to_named(&first)]), 0),
            12 | 13 => (Verdict::Drop(UNWANTED), 0),
            14 => {
                let reason = "it says so".to_owned();
                (Verdict::Park(Parking { plugin: "p0".into(), kind: "failed", reason }), 0)
            }
            _ => (Verdict::Failed, 0),
        };
        let named_targets: Vec<(String, bool)> = named_targets.into_iter().map(|name| (name, true)).collect();
        let (view, is_live) = &self.views[route];
        let wanted = |targets: &[(String, bool)]| {
            let is_owed = parcel.debt.is_some();
            Ledger::wanted(&self.setup, (view, *is_live), targets, is_owed, parcel.message.qos)
        };
        let (own, other) = (wanted(&view.targets), wanted(&named_targets));
        let fate = match &verdict {
            Verdict::Drop(_) | Verdict::Failed => Fate::Ended,
            Verdict::Park(_) => Fate::Parked(Stamp::new(stamp.attempt, batch, 0)),
            Verdict::Onward | Verdict::Outputs(_) => {
                let out = |copy, wanted| Out { stamp: Stamp::new(stamp.attempt, batch, copy), wanted };
                let mut outs: Vec<Out> = (0..onward).map(|copy| out(copy, own.clone())).collect();
                if !other.is_empty() {
                    // To a target that is not configured any more, too: it is dropped, which is counted.
                    outs.push(out(onward, other));
                }
                Fate::Outs(outs)
            }
        };
        let attempt = self.ledger.attempts.get_mut(&stamp.attempt).expect("a message that was sent");
        if attempt.replayed {
            if matches!(fate, Fate::Ended) {
                attempt.void = true;
            }
        } else {
            attempt.fates.insert(route.to_owned(), fate);
        }
        Decided::Parcel(parcel, verdict)
    }

    /// The plugins of a route make messages of themselves.
    pub(crate) fn tick(&mut self, route: &str, outputs: u8, remembers: bool) {
        let Some(at) = self.router.route_at(route) else { return };
        let Some((view, is_live)) = self.views.get(route).cloned() else { return };
        if !view.has_plugins || !is_live {
            return;
        }
        let number = self.ledger.number();
        self.ledger.routes.insert(number, route.to_owned());
        let mut batch = Vec::new();
        if remembers {
            batch.push(self.remember(route, number));
        }
        for nth in 0..outputs {
            let qos = QoS::from_u8(nth % 3).expect("a QoS");
            let attempt = self.ledger.number();
            let stamp = Stamp::new(attempt, if remembers { number } else { 0 }, 0);
            let wanted = Ledger::wanted(&self.setup, (&view, true), &view.targets, false, qos);
            let fates = BTreeMap::from([(route.to_owned(), Fate::Outs(vec![Out { stamp, wanted }]))]);
            let (acked, void, replayed, expires) = (false, false, false, false);
            let source = "tick".to_owned();
            let filed = Attempt { number: attempt, source, is_owed: false, qos, expires, acked, void, replayed, fates };
            self.ledger.attempts.insert(attempt, filed);
            let message = Message::new(Topic::new("tick").expect("a topic"), stamp.payload(), qos);
            let (received_ms, received_us) = (0, 0);
            let parcel = Parcel { message, debt: None, id: attempt, received_ms, received_us, redelivered: false };
            batch.push(Decided::Tick(parcel, Verdict::Onward));
        }
        let now = self.now();
        self.router.decided(at, batch, now);
    }
}

/// The state of the plugins of a route, as it is in the log.
pub(crate) fn state(play: &Play, route: &str, key: &str) -> Option<Vec<u8>> {
    let plugin: Arc<str> = format!("plugin-{route}").into();
    play.router.spool().plugin_state(&plugin)?.get(key).cloned()
}
