//! What a broker is subscribed to on our behalf, and what it owes us an answer for. No I/O, no clock.
//!
//! What comes in is what is wanted, what an earlier run had asked for, connections and the broker's answers; what goes
//! out is the next thing to ask ([`Subscriptions::next`]), and what the broker may have now
//! ([`Subscriptions::take_changed_memory`]), to be remembered before that is asked.
//!
//! Invariants:
//! - only a SUBACK makes a subscription, only an UNSUBACK or a lost session ends one: everything else is owed;
//! - what the broker may have is never forgotten before it has answered;
//! - what is stored is asked for again only where that is wanted ([`tidegate_mqtt::RetainHandling`]): once in the life of the process;
//! - a refusal is a state with a reason and a time to ask again, never silence.

mod entry;
mod told;
mod words;

pub use told::{Subscription, SubscriptionProblem};
pub(crate) use words::{Ask, Event, Known, Terms};

use entry::{Asked, Entry, SubscriptionState, granted_for_good};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use tidegate_message::TopicFilter;
use tidegate_mqtt::{ReasonCode, SubscribeFilter, Version};
use tidegate_pacing::Doubling;

/// A filter that the broker hangs up on is asked for again after this long, then twice as long, up to the longest.
const AFTER_HANG_UP_MIN: Duration = Duration::from_secs(60);
const AFTER_HANG_UP_MAX: Duration = Duration::from_secs(3600);

/// How many connections must end while a filter is asked for alone before it is left out.
const HANG_UPS: u32 = 4;

/// An answer that has not come after this long is asked for again.
const ANSWER: Duration = Duration::from_secs(20);

/// MQTT 3.1.1, where asking again brings everything retained once more: a filter that a resumed session should have is
/// asked for again only if nothing has come for it after this long.
const PROOF: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    entries: Vec<Entry>,
    /// By the filter.
    places: HashMap<TopicFilter, usize>,
    asked: VecDeque<Asked>,
    is_up: bool,
    had_connection: bool,
    /// What is stored comes once in the life of the process.
    fetch_stored: bool,
    version: Option<Version>,
    connected_at: Option<Instant>,
    /// One filter a packet, one packet at a time: a connection ended while several were asked for.
    careful: bool,
    memory_changed: bool,
    /// There may be something to ask.
    dirty: bool,
}

impl Subscriptions {
    /// A session begins, here at least: what an earlier run may have left of it at the broker.
    pub(crate) fn restore(&mut self, known: Known, fetch_stored: bool) {
        (self.had_connection, self.fetch_stored) = (false, fetch_stored);
        for filter in known.filters {
            self.entry(filter).may_have = true;
        }
        for (filter, qos) in known.granted {
            self.entry(filter).granted = Some(qos);
        }
    }

    fn entry(&mut self, filter: TopicFilter) -> &mut Entry {
        let at = *self.places.entry(filter).or_insert_with_key(|filter| {
            self.entries.push(Entry::new(filter.clone()));
            self.entries.len() - 1
        });
        &mut self.entries[at]
    }

    fn find(&mut self, filter: &TopicFilter) -> Option<&mut Entry> {
        let at = *self.places.get(filter)?;
        self.entries.get_mut(at)
    }

    /// Forgets what is neither wanted nor had.
    fn clear_out(&mut self) {
        self.entries.retain(|entry| entry.wanted.is_some() || entry.may_have);
        self.find_places();
    }

    fn find_places(&mut self) {
        self.places = self.entries.iter().enumerate().map(|(at, entry)| (entry.filter.clone(), at)).collect();
    }

    /// What is wanted from now on. Whatever was refused is asked for once more, also if nothing has changed.
    pub(crate) fn want(&mut self, wanted: &[SubscribeFilter]) {
        self.dirty = true;
        let filters = wanted.iter().enumerate().rev();
        let order: HashMap<&TopicFilter, usize> =
            filters.filter_map(|(at, wanted)| Some((wanted.filter.as_ref().ok()?, at))).collect();
        for entry in &mut self.entries {
            if !order.contains_key(&entry.filter) && entry.wanted.take().is_some() {
                entry.state = SubscriptionState::Owed;
            }
            if matches!(entry.state, SubscriptionState::Refused { .. }) {
                (entry.state, entry.refusals) = (SubscriptionState::Owed, 0);
            }
        }
        for filter in wanted {
            let Ok(text) = &filter.filter else { continue };
            let entry = self.entry(text.clone());
            if entry.wanted.as_ref() != Some(filter) {
                entry.wanted = Some(filter.clone());
                entry.state = SubscriptionState::Owed;
            }
        }
        // In the order wanted, so that the same configuration asks in the same order.
        self.entries.sort_by_key(|entry| order.get(&entry.filter).copied().unwrap_or(usize::MAX));
        self.clear_out();
    }

    /// A connection is up.
    pub(crate) fn connected(&mut self, terms: Terms, now: Instant) {
        let is_first = !std::mem::replace(&mut self.had_connection, true);
        self.asked.clear();
        (self.is_up, self.dirty, self.version) = (true, true, Some(terms.version));
        self.connected_at = Some(now);
        let before = self.memory();
        for entry in &mut self.entries {
            entry.may_have &= terms.session_present;
            entry.granted = entry.granted.filter(|_| terms.session_present);
            // Asking again costs nothing where retained messages need not come again (MQTT 5), and is the only way where
            // the broker cannot say that it knows us (3.1).
            let trusted = terms.session_present && terms.version == Version::V311;
            entry.state = match &entry.state {
                _ if trusted && entry.is_granted_for_good(terms.bridge) => SubscriptionState::Granted { proven: true },
                SubscriptionState::Granted { .. } if trusted && !is_first => {
                    SubscriptionState::Granted { proven: false }
                }
                SubscriptionState::Refused { words, again: Some(again) } if entry.left_out > 0 && *again > now => {
                    SubscriptionState::Refused { words: words.clone(), again: Some(*again) }
                }
                _ => SubscriptionState::Owed,
            };
            let (shared, wildcard) = (entry.filter.share().is_some(), entry.filter.has_wildcard());
            let missing = match (shared && !terms.shared, wildcard && !terms.wildcards) {
                (true, _) => Some(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED),
                (_, true) => Some(ReasonCode::WILDCARDS_NOT_SUPPORTED),
                _ => None,
            };
            if let Some(reason) = missing.filter(|_| entry.wanted.is_some()) {
                entry.state = SubscriptionState::Refused { words: reason.to_string(), again: None };
            }
        }
        self.clear_out();
        self.memory_changed |= before != self.memory();
    }

    /// Filters that CONNACK has refused, for people.
    pub(crate) fn refused_by_connack(&self) -> impl Iterator<Item = (&TopicFilter, &str)> {
        self.entries.iter().filter_map(|entry| match &entry.state {
            SubscriptionState::Refused { words, again: None } => Some((&entry.filter, words.as_str())),
            _ => None,
        })
    }

    /// The connection is gone; `by_peer` says why if the broker ended it. Whatever was not answered is owed.
    pub(crate) fn disconnected(&mut self, by_peer: Option<&str>, now: Instant) -> Option<Event> {
        self.is_up = false;
        let asked: Vec<TopicFilter> = self.asked.drain(..).flat_map(|asked| asked.filters).collect();
        for entry in &mut self.entries {
            if matches!(entry.state, SubscriptionState::Asked(_)) {
                entry.state = SubscriptionState::Owed;
            }
        }
        let words = by_peer?;
        match asked.as_slice() {
            [] => None,
            [filter] => {
                let others = self.entries.iter().any(|entry| entry.filter != *filter && entry.wanted.is_some());
                let entry = self.find(filter)?;
                entry.hang_ups += 1;
                if !others || (entry.hang_ups < HANG_UPS && entry.left_out == 0) {
                    return None;
                }
                let again_in = Doubling::new(AFTER_HANG_UP_MIN, AFTER_HANG_UP_MAX).after(entry.left_out);
                (entry.hang_ups, entry.left_out) = (0, entry.left_out + 1);
                let words = format!("the broker ends the connection when it is asked for: {words}");
                entry.state = SubscriptionState::Refused { words: words.clone(), again: Some(now + again_in) };
                Some(Event::LeftOut { filter: filter.clone(), words, again_in })
            }
            _ => {
                self.careful = true;
                None
            }
        }
    }

    /// What to ask next, if it is time to ask for something. Call again until there is nothing, after each
    /// [`asked`](Self::asked).
    pub(crate) fn next(&mut self) -> Option<Ask> {
        if !self.is_up || !self.dirty {
            return None;
        }
        let one_by_one = self.careful || self.entries.iter().any(|entry| entry.is_suspect());
        if one_by_one && !self.asked.is_empty() {
            return None;
        }
        let found = if one_by_one { self.next_alone() } else { self.next_together() };
        if found.is_none() {
            self.dirty = false;
            self.careful &= !self.is_settled();
        }
        found
    }

    fn next_alone(&mut self) -> Option<Ask> {
        let owed = self.entries.iter().enumerate().filter(|(_, entry)| entry.state == SubscriptionState::Owed);
        // What ended connections before comes last, so that the others are there by then.
        let (at, _) = owed.min_by_key(|(at, entry)| (entry.left_out, entry.hang_ups, *at))?;
        let entry = &self.entries[at];
        Some(match &entry.wanted {
            Some(_) => Ask::Subscribe(entry.ask(self.fetch_stored).into_iter().collect()),
            None => Ask::Unsubscribe(vec![entry.filter.clone()]),
        })
    }

    /// In this order there is no moment at which a message is sent for none of our subscriptions, or for two of which one
    /// has no identifier: those that get an identifier, new ones, those to be ended, those that lose their identifier.
    fn next_together(&mut self) -> Option<Ask> {
        let owed = || self.entries.iter().filter(|entry| entry.state == SubscriptionState::Owed);
        let subscribe = |wanted: &dyn Fn(&&Entry) -> bool| -> Vec<SubscribeFilter> {
            owed().filter(|entry| wanted(entry)).filter_map(|entry| entry.ask(self.fetch_stored)).collect()
        };
        let first: Vec<_> = subscribe(&|entry| entry.may_have && !entry.needs_no_id_any_more())
            .into_iter()
            .chain(subscribe(&|entry| !entry.may_have))
            .collect();
        if !first.is_empty() {
            return Some(Ask::Subscribe(first));
        }
        let gone: Vec<_> = owed().filter(|entry| entry.wanted.is_none()).map(|entry| entry.filter.clone()).collect();
        if !gone.is_empty() {
            return Some(Ask::Unsubscribe(gone));
        }
        let last = subscribe(&|entry| entry.needs_no_id_any_more());
        (!last.is_empty()).then_some(Ask::Subscribe(last))
    }

    /// The broker was asked: packets by id, with how many of the filters each has, in order.
    pub(crate) fn asked(&mut self, ask: &Ask, packets: &[(u64, usize)], now: Instant) {
        let filters: Vec<TopicFilter> = match ask {
            Ask::Subscribe(filters) => filters.iter().filter_map(|filter| filter.filter.clone().ok()).collect(),
            Ask::Unsubscribe(filters) => filters.clone(),
        };
        let mut rest = filters.as_slice();
        for (id, count) in packets {
            let (these, later) = rest.split_at((*count).min(rest.len()));
            rest = later;
            for filter in these {
                let entry = self.entry(filter.clone());
                entry.state = SubscriptionState::Asked(*id);
                let is_new = matches!(ask, Ask::Subscribe(_)) && !std::mem::replace(&mut entry.may_have, true);
                self.memory_changed |= is_new;
            }
            self.asked.push_back(Asked { id: *id, at: now, filters: these.to_vec() });
        }
        // Packet ids are used up: later.
        self.dirty = rest.is_empty();
    }

    fn take_asked(&mut self, id: u64) -> Option<Asked> {
        let at = self.asked.iter().position(|asked| asked.id == id)?;
        self.dirty = true;
        self.asked.remove(at)
    }

    /// SUBACK: one code a filter. What it does not answer is owed.
    pub(crate) fn on_suback(&mut self, id: u64, codes: &[ReasonCode], now: Instant) -> Vec<Event> {
        let Some(asked) = self.take_asked(id) else { return Vec::new() };
        let mut events = Vec::new();
        for (at, filter) in asked.filters.iter().enumerate() {
            let Some(entry) = self.find(filter) else { continue };
            if entry.state != SubscriptionState::Asked(id) {
                continue; // asked for again, or not wanted any more, in the meantime
            }
            match codes.get(at) {
                None => {
                    entry.refused("the broker's answer leaves it out".to_owned(), now);
                }
                Some(code) if code.is_error() => {
                    let again_in = entry.refused(code.to_string(), now);
                    // A subscription that was there stays when another is refused (MQTT 5.0 section 3.8.4 replaces one
                    // that is granted): the broker may have it still.
                    events.push(Event::Refused { filter: filter.clone(), reason: *code, again_in: Some(again_in) });
                }
                Some(code) => {
                    entry.state = SubscriptionState::Granted { proven: true };
                    (entry.refusals, entry.hang_ups, entry.left_out) = (0, 0, 0);
                    entry.has_fetched = true;
                    let for_good = entry.wanted.as_ref().and_then(granted_for_good);
                    let is_news = std::mem::replace(&mut entry.granted, for_good) != for_good;
                    let asked = entry.wanted.as_ref().map_or(0, |wanted| wanted.qos as u8);
                    if code.0 < asked {
                        events.push(Event::GrantedLess { filter: filter.clone(), asked, granted: code.0 });
                    }
                    self.memory_changed |= is_news;
                }
            }
        }
        events
    }

    /// UNSUBACK: one code a filter with MQTT 5, none before.
    pub(crate) fn on_unsuback(&mut self, id: u64, codes: &[ReasonCode], now: Instant) -> Vec<Event> {
        let Some(asked) = self.take_asked(id) else { return Vec::new() };
        let mut events = Vec::new();
        for (at, filter) in asked.filters.iter().enumerate() {
            let Some(entry) = self.find(filter) else { continue };
            if entry.state != SubscriptionState::Asked(id) {
                continue;
            }
            if let Some(code) = codes.get(at).filter(|code| code.is_error()) {
                entry.refused(code.to_string(), now);
                events.push(Event::NotUnsubscribed { filter: filter.clone(), reason: *code });
            } else {
                (entry.may_have, entry.granted, entry.has_fetched) = (false, None, false);
                self.memory_changed = true;
            }
        }
        self.clear_out();
        events
    }

    /// A message has come: the subscriptions that match it are there.
    pub(crate) fn heard(&mut self, topic: &tidegate_message::Topic) {
        for entry in &mut self.entries {
            if entry.state == (SubscriptionState::Granted { proven: false }) && entry.filter.matches(topic) {
                entry.state = SubscriptionState::Granted { proven: true };
            }
        }
    }

    /// Whether [`heard`](Self::heard) wants to be told of messages.
    pub(crate) fn wants_proof(&self) -> bool {
        self.entries.iter().any(|entry| entry.state == (SubscriptionState::Granted { proven: false }))
    }

    /// Looks at what is overdue. Returns ids of packets whose answer is not waited for any longer.
    pub(crate) fn on_time(&mut self, now: Instant) -> Vec<u64> {
        let mut given_up = Vec::new();
        while self.asked.front().is_some_and(|asked| now >= asked.at + ANSWER) {
            let Some(asked) = self.asked.pop_front() else { break };
            given_up.push(asked.id);
            for entry in &mut self.entries {
                if entry.state == SubscriptionState::Asked(asked.id) && entry.wanted.is_none() {
                    // rumqttd never answers an UNSUBSCRIBE of what it does not have.
                    entry.refused("no answer".to_owned(), now);
                } else if entry.state == SubscriptionState::Asked(asked.id) {
                    entry.state = SubscriptionState::Owed;
                }
            }
            self.dirty = true;
        }
        if self.connected_at.is_some_and(|at| now >= at + PROOF) {
            for entry in &mut self.entries {
                if entry.state == (SubscriptionState::Granted { proven: false }) {
                    entry.state = SubscriptionState::Owed;
                    self.dirty = true;
                }
            }
        }
        for entry in &mut self.entries {
            if matches!(entry.state, SubscriptionState::Refused { again: Some(again), .. } if again <= now) {
                entry.state = SubscriptionState::Owed;
                self.dirty = true;
            }
        }
        given_up
    }

    /// When to call [`on_time`](Self::on_time) and [`next`](Self::next) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.is_up {
            return None;
        }
        let answer = self.asked.front().map(|asked| asked.at + ANSWER);
        let proof = self.connected_at.filter(|_| self.wants_proof()).map(|at| at + PROOF);
        let again = self.entries.iter().filter_map(|entry| match entry.state {
            SubscriptionState::Refused { again, .. } => again,
            _ => None,
        });
        answer.into_iter().chain(proof).chain(again).min()
    }

    /// Whether the broker has granted everything that is wanted. What it is yet to take back is owed all the same.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_up
            && self
                .entries
                .iter()
                .all(|entry| entry.wanted.is_none() || matches!(entry.state, SubscriptionState::Granted { .. }))
    }

    /// Whether everything wanted was asked for on this connection, and answered one way or the other: what is published
    /// from now on may depend on answers that come through a subscription.
    pub(crate) fn is_answered(&self) -> bool {
        let pending = |entry: &Entry| {
            entry.wanted.is_some() && matches!(entry.state, SubscriptionState::Owed | SubscriptionState::Asked(_))
        };
        self.is_up && !self.entries.iter().any(pending)
    }

    /// What is wanted and not there.
    pub(crate) fn problems(&self) -> Vec<SubscriptionProblem> {
        told::problems(&self.entries)
    }

    /// All that is wanted, in its order.
    pub(crate) fn wanted(&self) -> Vec<Subscription> {
        told::wanted(&self.entries)
    }

    /// What the broker may have.
    fn memory(&self) -> Known {
        let had = || self.entries.iter().filter(|entry| entry.may_have);
        Known {
            filters: had().map(|entry| entry.filter.clone()).collect(),
            granted: had().filter_map(|entry| Some((entry.filter.clone(), entry.granted?))).collect(),
        }
    }

    /// What the broker may have, if that is not what it was when last asked.
    pub(crate) fn take_changed_memory(&mut self) -> Option<Known> {
        std::mem::take(&mut self.memory_changed).then(|| self.memory())
    }
}

#[cfg(test)]
mod tests;
