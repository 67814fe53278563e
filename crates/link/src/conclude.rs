//! What a link makes of how its broker behaves: subscriptions to ask for, a message to be found out, answers overdue, what
//! is to be remembered.

use crate::drive::Drive;
use crate::habits::{GaveUp, Habit};
use crate::live::Live;
use crate::memory::has_control_characters;
use crate::subscriptions::{Ask, Event, Terms};
use crate::suspect::{End, First, Verdict};
use crate::watch::OVERDUE;
use crate::{LinkError, Port, Status};
use std::time::{Duration, Instant};
use tidegate_message::QoS;
use tidegate_mqtt::{Batch, Completion, Connected, ReasonCode, Version};

/// A message smaller than this, in bytes, is hardly hung up on for its size.
const SIZE_MATTERS: usize = 1024;

/// A trial goes on this long after its time even if the broker has not answered the ping.
const PONG: Duration = Duration::from_secs(10);

impl<P: Port> Drive<P> {
    // Subscriptions.

    pub(crate) fn subscriptions_of(&mut self, connected: &Connected, version: Version, bridge: bool, now: Instant) {
        let terms = Terms {
            version,
            session_present: connected.session_present,
            wildcards: connected.wildcards_available,
            shared: connected.shared_available,
            bridge,
        };
        self.shared.subscriptions.borrow_mut().connected(terms, now);
        self.remember();
    }

    pub(crate) fn tell_refused_by_connack(&mut self) {
        let refused: Vec<_> = {
            let subscriptions = self.shared.subscriptions.borrow();
            subscriptions.refused_by_connack().map(|(filter, words)| (filter.clone(), words.to_owned())).collect()
        };
        for (filter, words) in refused {
            self.port.borrow_mut().status(&Status::SubscribeRefused { filter, words, again_in: None });
        }
    }

    /// Asks the broker for what is wanted and not there, and the other way round.
    pub(crate) fn ask_subscriptions(&mut self, live: &mut Live) {
        if live.up_since.is_none() {
            return;
        }
        loop {
            let Some(ask) = self.shared.subscriptions.borrow_mut().next() else { return };
            let packets = {
                let mut session = self.shared.session.borrow_mut();
                match &ask {
                    Ask::Subscribe(filters) => session.subscribe(filters),
                    Ask::Unsubscribe(filters) => session.unsubscribe(filters),
                }
            };
            self.shared.subscriptions.borrow_mut().asked(&ask, &packets, Instant::now());
            // Before the bytes leave: the gate holds them until it is durable.
            self.remember();
            if packets.is_empty() {
                return;
            }
        }
    }

    pub(crate) fn tell_subscriptions(&mut self, events: Vec<Event>, live: &Live) {
        for event in events {
            let status = match event {
                Event::Refused { filter, reason, again_in } => {
                    Status::SubscribeRefused { filter, words: reason.to_string(), again_in }
                }
                Event::LeftOut { filter, words, again_in } => {
                    Status::SubscribeRefused { filter, words, again_in: Some(again_in) }
                }
                Event::NotUnsubscribed { filter, reason } => {
                    let words = format!("it does not take the subscription back: {reason}");
                    Status::SubscribeRefused { filter, words, again_in: None }
                }
                Event::GrantedLess { filter, asked, granted } => {
                    // A broker of 3.x that grants 1 for 2 answers messages of QoS 2 in ways of its own, or not at all.
                    let no_qos_2 = asked == 2 && granted == 1 && live.opening.hello.version() != Version::V5;
                    if no_qos_2 {
                        self.learn_qos(QoS::AtLeastOnce, "grants QoS 1 where QoS 2 is asked for");
                    }
                    Status::GrantedLess { filter, asked, granted }
                }
            };
            self.port.borrow_mut().status(&status);
        }
        self.remember();
    }

    /// Messages have come: what they match is subscribed.
    pub(crate) fn prove(&mut self) {
        if self.shared.subscriptions.borrow().wants_proof() {
            let mut subscriptions = self.shared.subscriptions.borrow_mut();
            self.batch.received.iter().for_each(|received| subscriptions.heard(&received.message.topic));
        }
    }

    // A message that the broker hangs up on.

    /// Something was answered.
    pub(crate) fn answered(&mut self) {
        let mut suspicion = self.shared.suspicion.borrow_mut();
        if suspicion.is_idle() {
            return;
        }
        let count = self.batch.completed.len() + self.batch.refused.len();
        let first = self.shared.session.borrow().first_unanswered().map(|first| first.serial);
        let lowered = suspicion.was_lowered() && !self.batch.completed.is_empty();
        let is_over = suspicion.answered(count, first);
        drop(suspicion);
        self.shared.held.set(None);
        if lowered {
            self.learn_qos(QoS::AtLeastOnce, "hangs up on messages of QoS 2");
        }
        if is_over {
            self.shared.session.borrow_mut().set_window(u16::MAX, &mut self.batch);
        }
        self.remember();
    }

    /// In a trial: the connection has held without the message.
    pub(crate) fn end_hold(&mut self, live: &mut Live, now: Instant) {
        let Some(until) = live.hold_until.filter(|until| now >= *until) else { return };
        let answered = self.shared.session.borrow().pongs() >= self.shared.suspicion.borrow().pings() as u64;
        if !answered && now < until + PONG {
            live.hold_until = Some((now + PONG / 10).min(until + PONG));
            return;
        }
        live.hold_until = None;
        self.shared.suspicion.borrow_mut().held_out();
        self.set_window(live);
    }

    /// The broker has answered what was subscribed, or has had its time: messages may leave.
    pub(crate) fn end_subscribing(&mut self, live: &mut Live, now: Instant) {
        let Some(until) = live.subscribe_until else { return };
        if self.shared.subscriptions.borrow().is_answered() || now >= until {
            live.subscribe_until = None;
            self.publish_birth(live);
            self.set_window(live);
        }
    }

    fn set_window(&mut self, live: &mut Live) {
        if live.subscribe_until.is_none() {
            let window = self.shared.suspicion.borrow().window();
            if window > 0 {
                live.sends_since.get_or_insert_with(Instant::now);
            }
            self.shared.session.borrow_mut().set_window(window, &mut self.batch);
        }
    }

    /// A connection has ended: what does that say of what was unanswered on it?
    pub(crate) fn conclude(&mut self, error: Option<&LinkError>, live: &Live) {
        let Some(up_since) = live.up_since else { return };
        let now = Instant::now();
        let reason = match error {
            Some(LinkError::Disconnected { reason, .. }) => Some(*reason),
            _ => None,
        };
        // Whatever the reason says: brokers give any, and a trial is an experiment. But for another client with our id.
        let by_peer = live.reset_by_peer || reason.is_some_and(|reason| reason != ReasonCode::SESSION_TAKEN_OVER);
        let words = error.map(ToString::to_string).unwrap_or_default();
        let event = self.shared.subscriptions.borrow_mut().disconnected(by_peer.then_some(&words), now);
        self.tell_subscriptions(event.into_iter().collect(), live);
        if error.is_none() {
            return;
        }
        let (first, unanswered, all_written) = {
            let mut session = self.shared.session.borrow_mut();
            let all_written = session.tx().is_empty();
            (session.first_unanswered().map(|first| First::of(&first)), session.unanswered().count(), all_written)
        };
        // In a trial, only as long as the message was tried.
        let lived = now - live.sends_since.unwrap_or(up_since);
        let end = End { by_peer, all_written, lived, reason };
        if reason == Some(ReasonCode::RETAIN_NOT_SUPPORTED) {
            self.shared.memory.borrow_mut().learned().no_retain = true;
            self.memory_changed = true;
            self.tell(Habit::TakesNoRetained);
        }
        let verdict = self.shared.suspicion.borrow_mut().ended(first, unanswered, end);
        match verdict {
            Verdict::Open => {}
            Verdict::Lower { serial, qos } => {
                self.shared.session.borrow_mut().lower_qos(serial, qos);
            }
            Verdict::GiveUp { serial, trials, qos } => {
                let why = GaveUp { connections: trials, words };
                self.give_up(serial, qos, &why, reason);
            }
            Verdict::TakeAsDone { serial } => {
                self.end_exchange(serial);
                self.took_as_done("hangs up on PUBREL");
            }
        }
        let held = self.shared.suspicion.borrow().held();
        let key = held.and_then(|held| {
            let session = self.shared.session.borrow();
            session.unanswered().find(|one| one.serial == held).and_then(|one| one.key)
        });
        self.shared.held.set(key);
        self.remember();
    }

    fn give_up(&mut self, serial: u64, qos: QoS, why: &GaveUp, reason: Option<ReasonCode>) {
        let ended = self.shared.session.borrow_mut().end_exchange(serial);
        let Some((key, Some(mut message))) = ended else { return };
        let Some(key) = key else {
            // Nobody's but our own. It would end the next connection, too.
            if !self.shared.own.borrow_mut().forget(&message) {
                self.birth = None;
            }
            return self.tell(Habit::HangsUpOnBirth);
        };
        // As it was before it was tried at a lower one.
        message.qos = qos;
        let bytes = message.topic.len() + message.payload.len();
        let taken = self.shared.session.borrow().largest_taken();
        let said_so = reason == Some(ReasonCode::PACKET_TOO_LARGE);
        let is_far_larger = bytes >= SIZE_MATTERS && taken > 0 && bytes > 2 * taken;
        if (said_so && bytes > taken) || is_far_larger {
            self.shared.memory.borrow_mut().learned().hung_up_on_size(bytes, said_so);
            self.memory_changed |= said_so;
            self.tell(Habit::HangsUpOnSize { bytes });
        } else if has_control_characters(&message) {
            self.shared.memory.borrow_mut().learned().no_control_characters = true;
            self.memory_changed = true;
            self.tell(Habit::HangsUpOnControlCharacters);
        }
        self.port.borrow_mut().gave_up(key, message, why);
        self.give_up_alike();
    }

    /// Puts aside, untried, what is like a message that was found.
    fn give_up_alike(&mut self) {
        let avoid = self.shared.memory.borrow_mut().learned().avoid();
        if self.shared.avoid.replace(avoid) == avoid {
            return;
        }
        let alike: Vec<(u64, &'static str)> = {
            let session = self.shared.session.borrow();
            let messages = session.unanswered().filter_map(|one| Some((one.serial, one.message?)));
            messages.filter_map(|(serial, message)| Some((serial, avoid.reason(message)?))).collect()
        };
        for (serial, why) in alike {
            let ended = self.shared.session.borrow_mut().end_exchange(serial);
            if let Some((Some(key), Some(message))) = ended {
                self.port.borrow_mut().gave_up(key, message, &GaveUp::untried(why));
            }
        }
    }

    /// Ends an exchange whose message the broker has.
    fn end_exchange(&mut self, serial: u64) {
        let ended = self.shared.session.borrow_mut().end_exchange(serial);
        if let Some((Some(key), _)) = ended {
            self.completed(&[key], Instant::now());
        }
    }

    /// Messages that count as delivered, though the broker has not said so.
    fn completed(&self, keys: &[u64], now: Instant) {
        let completed = keys.iter().map(|key| Completion { key: *key, reason: ReasonCode::SUCCESS }).collect();
        self.port.borrow_mut().heard(&mut Batch { completed, ..Batch::default() }, now);
    }

    /// Ends every exchange whose message the broker has.
    pub(crate) fn release_all(&mut self, now: Instant) {
        let released = self.shared.session.borrow_mut().release_all();
        self.shared.given_up.set(self.shared.given_up.get() + released.len() as u64);
        self.completed(&released, now);
    }

    pub(crate) fn took_as_done(&mut self, how: &'static str) {
        self.shared.given_up.set(self.shared.given_up.get() + 1);
        self.tell(Habit::NeverEndsQos2 { how });
    }

    // Answers that do not come.

    pub(crate) fn watch_deadline(&self) -> Option<Instant> {
        self.watch.deadline().filter(|_| self.shared.session.borrow().is_waiting())
    }

    pub(crate) fn look_at_unanswered(&mut self, live: &Live, now: Instant) -> Result<(), LinkError> {
        let next_serial = self.shared.session.borrow().next_serial();
        let Some(limits) = self.watch.look(now, next_serial) else { return Ok(()) };
        // The broker has these, and has had time to say that it knows: no answer will come.
        let pubrels: Vec<u64> = {
            let session = self.shared.session.borrow();
            let old = session.unanswered().take_while(|one| Some(one.serial) < limits.pubrels);
            old.filter(|one| one.message.is_none()).map(|one| one.serial).collect()
        };
        if !pubrels.is_empty() {
            // Nor for those that were to be told next: they are told, and not waited for.
            self.watch.lost_pubrel();
            self.release_all(now);
            self.tell(Habit::NeverEndsQos2 { how: "does not answer PUBREL" });
        }
        let Some(below) = limits.messages else { return Ok(()) };
        self.shared.overdue_below.set(below);
        let first = {
            let session = self.shared.session.borrow();
            let overdue = session.unanswered().take_while(|one| one.serial < below);
            let mut messages = overdue.filter_map(|one| one.message);
            messages.next().map(|first| (first.topic.to_string(), first.qos, 1 + messages.count()))
        };
        let Some((topic, qos, count)) = first else {
            self.watch.well();
            return Ok(());
        };
        let lived = live.up_since.map_or(Duration::ZERO, |since| now - since);
        if lived < self.watch.patience() {
            return Ok(());
        }
        if qos == QoS::ExactlyOnce && self.watch.given_up() > 0 {
            self.learn_qos(QoS::AtLeastOnce, "does not answer messages of QoS 2");
        }
        self.watch.give_up();
        Err(LinkError::Unanswered { count, waited: OVERDUE, topic, qos: qos as u8 })
    }

    // What is known of the broker.

    pub(crate) fn learn_qos(&mut self, qos: QoS, how: &'static str) {
        let is_news = self.shared.memory.borrow_mut().learned().lower_qos(qos);
        if is_news {
            self.memory_changed = true;
            let limits = self.shared.memory.borrow_mut().learned().limits(qos);
            self.shared.session.borrow_mut().limit(limits);
            self.tell(Habit::TakesAtMost { qos, how });
        }
    }

    /// Each once.
    pub(crate) fn tell(&mut self, habit: Habit) {
        if self.told.insert(habit.clone()) {
            self.port.borrow_mut().status(&Status::Habit(habit));
        }
    }

    /// Hands over what is to be remembered, if that has changed.
    pub(crate) fn remember(&mut self) {
        let (mut changed, mut first) = (std::mem::take(&mut self.memory_changed), false);
        let mut memory = self.shared.memory.borrow_mut();
        if let Some(known) = self.shared.subscriptions.borrow_mut().take_changed_memory() {
            memory.set_known(&self.client_id, &known);
            (changed, first) = (true, true);
        }
        if let Some(suspect) = self.shared.suspicion.borrow_mut().take_changed() {
            changed |= memory.suspect != suspect;
            memory.suspect = suspect;
        }
        if changed {
            let bytes = memory.write();
            drop(memory);
            self.port.borrow_mut().remember(&bytes, first);
        }
    }
}
