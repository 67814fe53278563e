//! What operators do in a story: they change the configuration, look after parked messages, move and discard what waits.

use crate::ledger::Stamp;
use crate::play::Play;
use crate::setup::*;
use std::collections::BTreeMap;

impl Play {
    /// Applies another configuration as the gateway does: brokers go, brokers come, then the rest.
    pub(crate) fn reload(&mut self, setup: Setup) {
        let before: BTreeMap<String, bool> = self.setup.brokers().collect();
        let after: BTreeMap<String, bool> = setup.brokers().collect();
        self.note_changes(&setup);
        let now = self.now();
        for (name, kind) in &before {
            if after.get(name) == Some(kind) {
                continue;
            }
            let id = self.ids.remove(name).expect("a broker");
            let mut session = self.sessions.remove(name).unwrap_or_default();
            let unfinished = session.take_back(|_| true);
            self.note_handed_back(&unfinished);
            let done: Vec<_> = session.in_flight.iter().map(|one| one.ticket).collect();
            let stamps = session
                .in_flight
                .iter()
                .filter_map(|one| one.arrival.as_ref())
                .map(|(attempt, route, at)| self.ledger.arrivals[&(*attempt, route.clone())][*at].stamp);
            let stamps: Vec<Stamp> = stamps.collect();
            self.ledger.handed_back.extend(stamps);
            self.look_at_sessions();
            self.router.remove_broker(id, unfinished, done, now);
            if *kind && after.get(name).is_none_or(|is_link| *is_link) {
                let numbers = self.sources.get(name).into_iter().flat_map(|source| &source.sent);
                self.ledger.sent_anew.extend(numbers.map(|sent| sent.number));
            } else {
                self.void_source(name);
            }
        }
        let added: Vec<_> = after.iter().filter(|(name, kind)| before.get(*name) != Some(kind)).collect();
        for (name, is_link) in &added {
            let id = self.router.add_broker(name, **is_link);
            self.ids.insert((*name).clone(), id);
        }
        self.setup = setup;
        self.configure();
        for (name, is_link) in added {
            if *is_link && !self.sources.contains_key(name) {
                // It has no session of ours, and says so before anything else.
                self.router.forgotten(self.ids[name]);
            }
            self.up(name);
            self.send_again(name, &[]);
        }
    }

    pub(crate) fn configure(&mut self) {
        let now = self.now();
        let config = self.setup.config();
        self.router.configure(&config, now);
        let took = |play: &Self| -> Vec<String> {
            let live = play.views.iter().filter(|(_, (_, is_live))| *is_live);
            live.map(|(name, (view, _))| format!("{name} {} {:?}", view.source, view.filters)).collect()
        };
        let before = took(self);
        for (_, is_live) in self.views.values_mut() {
            *is_live = false;
        }
        for at in 0..ROUTES {
            if let Some(view) = self.setup.route(at) {
                let name = route_name(at);
                if self.views.get(&name).is_some_and(|(before, _)| before.way() != view.way()) {
                    self.ledger.unorder(&name);
                }
                self.views.insert(name, (view, true));
            }
        }
        let after = took(self);
        if before.iter().any(|route| !after.contains(route)) {
            // A message waits for all of its routes. One that came when there was another is overtaken by those behind it.
            (0..ROUTES).for_each(|at| self.ledger.unorder(&route_name(at)));
        }
        for at in 0..BROKERS + SETS {
            let name = target_name(at);
            let spool = self.setup.spool_of(&name);
            if self.setup.has_target(&name) {
                if spool.max_messages.is_some() {
                    let kind = match spool.blocks() {
                        true => &mut self.ledger.may_block,
                        false => &mut self.ledger.may_overflow,
                    };
                    kind.insert(name.clone());
                }
                if spool.max_age_s.is_some() {
                    self.ledger.may_age.insert(name);
                }
            }
        }
    }

    /// What a change means for what is promised.
    fn note_changes(&mut self, setup: &Setup) {
        for at in 0..SETS {
            let (before, after) = (&self.setup.sets[at], &setup.sets[at]);
            if before.policy != after.policy || self.setup.members(at) != setup.members(at) {
                self.ledger.unorder(&set_name(at));
                self.ledger.unorder("set");
                self.ledger.has_removed = true;
            }
        }
        let after: Vec<_> = setup.brokers().collect();
        self.ledger.has_removed |= self.setup.brokers().any(|broker| !after.contains(&broker));
    }

    fn pick_parked(&self, pick: usize) -> Option<u64> {
        let numbers: Vec<u64> = self.router.spool().parked().keys().copied().collect();
        numbers.get(pick % numbers.len().max(1)).copied()
    }

    pub(crate) fn replay(&mut self, pick: usize, to: Option<String>) {
        let Some(number) = self.pick_parked(pick) else { return };
        let stamp = Stamp::of(&self.router.spool().parked()[&number].message);
        let now = self.now();
        // Before: it may go to its targets at once.
        let attempt = self.ledger.attempts.get_mut(&stamp.attempt).expect("a message that was sent");
        let was_replayed = std::mem::replace(&mut attempt.replayed, true);
        let replayed = match to {
            Some(to) => self.router.replay_to(number, &to, now),
            None => self.router.replay(number, now),
        };
        if replayed.is_err() {
            self.ledger.attempts.get_mut(&stamp.attempt).expect("one").replayed = was_replayed;
        }
    }

    pub(crate) fn delete_parked(&mut self, pick: usize) {
        let Some(number) = self.pick_parked(pick) else { return };
        let stamp = Stamp::of(&self.router.spool().parked()[&number].message);
        assert!(self.router.delete_parked(number));
        self.ledger.deleted.insert(stamp);
    }

    pub(crate) fn move_waiting(&mut self, from: &str, to: &str) {
        let now = self.now();
        if self.router.move_waiting(from, to, now).is_ok() {
            self.ledger.moves.insert((from.to_owned(), to.to_owned()));
            self.ledger.unorder(from);
            self.ledger.unorder(to);
        }
    }

    pub(crate) fn discard(&mut self, target: &str) {
        let now = self.now();
        let _ = self.router.discard_waiting(target, now);
        self.ledger.discarded.insert(target.to_owned());
    }
}
