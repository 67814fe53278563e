//! The in-process client: the gateway itself, without a socket.

use crate::matches::{Subscription, Who};
use crate::publish::Source;
use crate::refuse::{self, Named};
use crate::retained::{Publisher, Retained};
use crate::session::SessionKey;
use crate::state::{Core, State};
use crate::stats::Stats;
use ahash::{AHashMap, AHashSet};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::{Message, QoS, TopicFilter};
use tidegate_mqtt::{AckToken, ReasonCode};

/// Where an in-process client gets its messages. Called while nothing of the broker is borrowed, so an implementation
/// may call any [`Local`].
pub trait LocalSink {
    /// Takes messages: everything of one socket batch in one call, in the order received. What is left in the vector
    /// is forgotten.
    fn received(&mut self, messages: &mut Vec<LocalReceived>);
}

/// A message for an in-process client.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalReceived {
    /// With the lower of the QoS it was published with and the subscription's, and the retain flag as published;
    /// true for a retained message sent because of [`Local::subscribe`]. May be a slice of a read buffer:
    /// [`Message::detach`] it to keep it for long.
    pub message: Message,
    /// The right to acknowledge it. `None` for QoS 0, retained messages, wills, and what another in-process client
    /// published.
    pub ack: Option<LocalAck>,
}

/// The right to acknowledge a client's message, once. Plain data: see [`AckToken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalAck {
    pub(crate) session: SessionKey,
    pub(crate) token: AckToken,
    /// Other in-process clients have to acknowledge it too.
    pub(crate) joint: bool,
}

/// What the broker keeps of an in-process client.
pub(crate) struct LocalSlot {
    sink: Rc<RefCell<dyn LocalSink>>,
    inbox: Vec<LocalReceived>,
    subscriptions: AHashMap<TopicFilter, QoS>,
    /// Of its messages that were refused.
    pub(crate) named: Named,
}

/// The in-process client's hold on the broker. All clones are one.
#[derive(Clone)]
pub struct Local {
    core: Rc<Core>,
    id: u32,
}

impl Local {
    pub(crate) fn new(core: Rc<Core>, sink: Rc<RefCell<dyn LocalSink>>) -> Self {
        let mut state = core.state.borrow_mut();
        let id = state.locals.len() as u32;
        let (inbox, subscriptions, named) = (Vec::new(), AHashMap::new(), Named::default());
        state.locals.push(Some(LocalSlot { sink, inbox, subscriptions, named }));
        drop(state);
        Self { core, id }
    }

    /// Asks for messages. Retained ones that match follow with the next call of the sink, each once, with the retain
    /// flag. What this client itself publishes it is never sent. The group of a shared subscription is ignored.
    pub fn subscribe(&self, filters: &[(TopicFilter, QoS)]) {
        let now = Instant::now();
        let mut state = self.core.state.borrow_mut();
        let state = &mut *state;
        state.refresh_sys(filters.iter().map(|(filter, _)| filter), now);
        let Some(Some(slot)) = state.locals.get_mut(self.id as usize) else { return };
        let mut seen = AHashSet::new();
        for (filter, qos) in filters {
            slot.subscriptions.insert(filter.clone(), *qos);
            // Filed under its pattern: `a` and `$share/g/a` of one client are one subscription.
            let subscription = Subscription { qos: *qos, ..Subscription::of(Who::Local(self.id)) };
            state.subscriptions.insert(filter, subscription);
            let mut found = |retained: &Retained| {
                let is_own = retained.publisher == Publisher::Local(self.id);
                if !is_own && seen.insert(retained.message.topic.clone()) {
                    let qos = retained.message.qos.min(*qos);
                    let message = Message { qos, retain: true, ..retained.message.clone() };
                    slot.inbox.push(LocalReceived { message, ack: None });
                }
            };
            state.retained.for_each_match(filter, now, &mut found);
            state.sys.for_each_match(filter, now, &mut found);
        }
        // Also for other in-process clients, if something of `$SYS` has changed.
        self.core.tend.notify_one();
    }

    /// Asks for no more messages on these filters.
    pub fn unsubscribe(&self, filters: &[TopicFilter]) {
        let mut state = self.core.state.borrow_mut();
        let state = &mut *state;
        let Some(Some(slot)) = state.locals.get_mut(self.id as usize) else { return };
        for filter in filters {
            if slot.subscriptions.remove(filter).is_some() {
                state.subscriptions.remove(filter, Who::Local(self.id));
            }
        }
    }

    /// Publishes a message. It is in the subscribers' write buffers or queues when this returns.
    ///
    /// Returns [`ReasonCode::SUCCESS`], [`ReasonCode::NO_MATCHING_SUBSCRIBERS`], or an error as an MQTT 5 client would
    /// get it in PUBACK: the message went nowhere then, was counted and named in the log.
    pub fn publish(&self, message: Message) -> ReasonCode {
        let (source, now) = (Source::Local(self.id), Instant::now());
        let mut state = self.core.state.borrow_mut();
        state.stats.published_by_local += 1;
        if let Err(refusal) = refuse::check_from_local(&message, state.settings.allow_control_characters) {
            state.refuse(source, &message.topic, refusal, now);
            return refusal.reason();
        }
        let before = state.stats.received_by_local;
        let outcome = state.distribute(message, source, None, now);
        if state.stats.received_by_local != before {
            // Not called from here: the caller may hold its sink borrowed.
            self.core.tend.notify_one();
        }
        if outcome.matched { ReasonCode::SUCCESS } else { ReasonCode::NO_MATCHING_SUBSCRIBERS }
    }

    /// Acknowledges a message: its publisher gets PUBACK or PUBREC, in the order of receipt. If it is not connected, it
    /// gets it when it comes back to its session; if there is no session any more, nothing happens.
    pub fn ack(&self, ack: LocalAck) {
        let mut state = self.core.state.borrow_mut();
        if ack.joint {
            match state.joint_acks.get_mut(&(ack.session, ack.token)) {
                Some(missing) if *missing > 1 => {
                    *missing -= 1;
                    return;
                }
                Some(_) => drop(state.joint_acks.remove(&(ack.session, ack.token))),
                None => return,
            }
        }
        let receive_maximum = usize::from(state.settings.receive_maximum);
        let Some(session) = state.sessions.find_mut(ack.session) else { return };
        session.unacknowledged = session.unacknowledged.saturating_sub(1);
        match &session.link {
            Some(link) => {
                link.session.borrow_mut().ack(ack.token, ReasonCode::SUCCESS);
                link.set_window(session.unacknowledged, receive_maximum);
                link.wake.wake();
            }
            None => session.late_acks.push(ack.token),
        }
    }

    /// Counters and gauges of the broker.
    pub fn stats(&self) -> Stats {
        self.core.state.borrow().stats()
    }

    /// Stops taking messages for in-process clients from sockets, or goes on. A client that publishes nothing for them
    /// is not held up; one that does is not read from after the batch in which it did.
    pub fn pause(&self, paused: bool) {
        if self.core.paused.replace(paused) == paused {
            return;
        }
        if paused {
            self.core.pauses.set(self.core.pauses.get() + 1);
            return;
        }
        for (_, session) in self.core.state.borrow().sessions.iter() {
            if let Some(link) = &session.link {
                link.wake.wake();
            }
        }
    }

    /// Takes this client out of the broker: its subscriptions are gone and its sink is not called again.
    pub fn close(&self) {
        let mut state = self.core.state.borrow_mut();
        let slot = state.locals.get_mut(self.id as usize).and_then(Option::take);
        let Some(slot) = slot else { return };
        for filter in slot.subscriptions.keys() {
            state.subscriptions.remove(filter, Who::Local(self.id));
        }
        drop(state);
        // The sink may own the last handle to something of the broker's: free it while nothing is borrowed.
        drop(slot);
    }
}

impl State {
    pub(crate) fn put_into_inbox(&mut self, local: u32, received: LocalReceived) {
        if let Some(Some(slot)) = self.locals.get_mut(local as usize) {
            slot.inbox.push(received);
            self.stats.received_by_local += 1;
        }
    }
}

impl Core {
    /// Hands every in-process client what is in its inbox.
    pub(crate) fn flush_inboxes(&self) {
        let count = self.state.borrow().locals.len();
        for local in 0..count {
            let (sink, mut inbox) = {
                let mut state = self.state.borrow_mut();
                let Some(Some(slot)) = state.locals.get_mut(local) else { continue };
                if slot.inbox.is_empty() {
                    continue;
                }
                (slot.sink.clone(), std::mem::take(&mut slot.inbox))
            };
            let taken = match sink.try_borrow_mut() {
                Ok(mut sink) => {
                    sink.received(&mut inbox);
                    inbox.clear();
                    true
                }
                Err(_) => false,
            };
            let mut state = self.state.borrow_mut();
            let Some(Some(slot)) = state.locals.get_mut(local) else { continue };
            // What came in meanwhile goes behind, and the memory is used again.
            inbox.append(&mut slot.inbox);
            slot.inbox = inbox;
            if !taken || !slot.inbox.is_empty() {
                self.tend.notify_one();
            }
        }
    }
}
