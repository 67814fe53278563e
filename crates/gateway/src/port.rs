//! What a link or the box's own broker calls: the data path, for one broker.

use crate::core::Core;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tidegate_broker::LocalReceived;
use tidegate_link::{GaveUp, Outgoing, Port, Status};
use tidegate_message::Message;
use tidegate_mqtt::{Completion, PublishError, Received, Refusal, Skipped};

/// The data path's side of one broker.
pub(crate) struct BrokerPort {
    pub(crate) core: Rc<RefCell<Core>>,
    pub(crate) broker: u16,
    pub(crate) name: Arc<str>,
}

impl Port for BrokerPort {
    fn received(&mut self, messages: &mut Vec<Received>, now: Instant) {
        self.core.borrow_mut().received(self.broker, messages, now);
    }

    fn completed(&mut self, completions: &[Completion], now: Instant) {
        self.core.borrow_mut().completed(self.broker, completions, now);
    }

    fn pull(&mut self, has_room: bool, now: Instant) -> Option<Outgoing> {
        self.core.borrow_mut().pull(self.broker, has_room, now)
    }

    fn refused(&mut self, key: u64, error: &PublishError) {
        self.core.borrow_mut().refused(key, error);
    }

    fn sent(&mut self, key: u64, serial: u64) {
        self.core.borrow_mut().sent_once(self.broker, key, serial);
    }

    fn taken_over(&mut self, keys: &[u64]) {
        self.core.borrow_mut().taken_over(self.broker, keys);
    }

    fn released(&mut self, packet_ids: &[u16]) {
        self.core.borrow_mut().released_ids(self.broker, packet_ids);
    }

    fn gate(&mut self) -> u64 {
        self.core.borrow_mut().gate(self.broker)
    }

    fn durable(&self) -> u64 {
        self.core.borrow().spool.durable()
    }

    fn rejected(&mut self, refusals: &mut Vec<Refusal>, now: Instant) {
        let rest = self.core.borrow_mut().rejected(self.broker, refusals, now);
        if let Some(rest) = rest {
            let (core, broker) = (self.core.clone(), self.broker);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(rest).await;
                let mut core = core.borrow_mut();
                core.touch(broker);
                core.flush(Instant::now());
            });
        }
    }

    fn gave_up(&mut self, key: u64, message: Message, why: &GaveUp) {
        self.core.borrow_mut().gave_up(self.broker, key, message, why, Instant::now());
    }

    fn skipped(&mut self, skipped: &[Skipped]) {
        self.core.borrow_mut().skipped(self.broker, skipped, Instant::now());
    }

    fn remember(&mut self, memory: &[u8], first: bool) {
        self.core.borrow_mut().remember_link(self.broker, memory, first);
    }

    fn status(&mut self, status: &Status) {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        let slot = &mut core.brokers[usize::from(self.broker)];
        let broker = &*self.name;
        match status {
            Status::Up { version, bridge, connected, session_expiry_asked_s } => {
                let speaks = format!("{version}{}", if *bridge { " bridge" } else { "" });
                tracing::info!(broker, version = speaks, session_present = connected.session_present, "connected");
                slot.health = crate::sets::Health { up_since: Some(Instant::now()), given_up: false };
                (slot.down_since, slot.last_error, slot.version) = (None, None, Some(speaks));
                slot.connects += 1;
                if !connected.session_present {
                    core.forgotten(self.broker);
                }
                core.note_capabilities(self.broker, connected, *version, *bridge, *session_expiry_asked_s);
                core.return_to_members();
            }
            Status::SessionLost { republished } => {
                slot.sessions_lost += 1;
                tracing::warn!(broker, republished, "the broker had forgotten our session: sending again");
            }
            Status::SubscribeRefused { filter, words, again_in } => {
                let filter = filter.as_str().escape_debug();
                tracing::error!(broker, %filter, reason = words, ?again_in, "the broker does not let us subscribe");
            }
            Status::GrantedLess { filter, asked, granted } => {
                let filter = filter.as_str().escape_debug();
                tracing::warn!(broker, %filter, asked, granted, "the broker grants a lower QoS");
            }
            Status::Habit(habit) => tracing::warn!(broker, "{habit}"),
            Status::Down { error, then: Some(then), .. } => {
                tracing::info!(broker, why = %error, "trying {then}");
            }
            Status::Down { error, retry_in, was_up, then: None } => {
                let words = error.to_string();
                // The same again is not news.
                if *was_up || slot.last_error.as_ref() != Some(&words) {
                    tracing::warn!(broker, error = words, retry_in = ?retry_in, "not connected");
                }
                slot.last_error = Some(words);
                slot.health.up_since = None;
                if slot.down_since.is_none() {
                    slot.down_since = Some(Instant::now());
                    core.hold_back.notify_one();
                }
            }
        }
    }
}

impl tidegate_broker::LocalSink for BrokerPort {
    fn received(&mut self, messages: &mut Vec<LocalReceived>) {
        self.core.borrow_mut().received_locally(self.broker, messages, Instant::now());
    }
}

impl Core {
    /// A member came up: what waits for members that were given up can go to it.
    fn return_to_members(&mut self) {
        let given_up: Vec<u16> = (0..self.brokers.len() as u16)
            .filter(|at| {
                let slot = &self.brokers[usize::from(*at)];
                slot.health.given_up && slot.lane.len() > 0
            })
            .collect();
        let now = Instant::now();
        for broker in given_up {
            self.give_up(broker, now);
        }
    }
}
