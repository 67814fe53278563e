//! The in-process client: the gateway itself, without a socket.

use crate::addresses::FailedLogins;
use crate::clients::{Client, ClientDetails, ClientsWanted};
use crate::inbox::{Inbox, LocalAck, LocalReceived, LocalRelease, LocalSink};
use crate::local_replays::{LocalReplay, LocalReplays};
use crate::log_limit::PublisherLogLimit;
use crate::publisher::Publisher;
use crate::refusal;
use crate::shared::SharedBroker;
use crate::stats::Stats;
use crate::subscriptions::{Subscription, Who};
use ahash::AHashMap;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use tidegate_message::{Message, QoS, TopicFilter};
use tidegate_mqtt::{ReasonCode, RetainHandling};
use tidegate_persistence::Origin;

/// The in-process client's hold on the broker. All clones are one.
#[derive(Clone)]
pub struct Local {
    shared: Rc<SharedBroker>,
    id: u32,
}

impl Local {
    pub(crate) fn new(shared: Rc<SharedBroker>, sink: Rc<RefCell<dyn LocalSink>>) -> Self {
        let mut state = shared.state.borrow_mut();
        let id = state.locals.len() as u32;
        let (messages, subscriptions, named) = (Vec::new(), AHashMap::new(), PublisherLogLimit::default());
        state.locals.push(Some(Inbox { sink, messages, subscriptions, replays: LocalReplays::default(), named }));
        drop(state);
        Self { shared, id }
    }

    /// Asks for messages. Retained ones that match follow with the next calls of the sink, each once, with the retain
    /// flag, if the filter says so. What this client itself publishes it is never sent. The group of a shared subscription is ignored.
    pub fn subscribe(&self, filters: &[(TopicFilter, QoS, RetainHandling)]) {
        let now = Instant::now();
        let mut state = self.shared.state.borrow_mut();
        let state = &mut *state;
        state.refresh_sys(filters.iter().map(|(filter, ..)| filter), now);
        let Some(Some(slot)) = state.locals.get_mut(self.id as usize) else { return };
        let mut replay = LocalReplay::new(self.id, state.retained.serial());
        for (filter, qos, retain_handling) in filters {
            let was_known = self.id == 0 && state.gateway.has(filter);
            let is_new = slot.subscriptions.insert(filter.clone(), *qos).is_none() && !was_known;
            // Filed under its pattern: `a` and `$share/g/a` of one client are one subscription.
            let subscription = Subscription { qos: *qos, ..Subscription::of(Who::Local(self.id)) };
            state.subscriptions.insert(filter, subscription);
            let wants_stored = match retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => is_new,
                RetainHandling::Never => false,
            };
            if !wants_stored {
                continue;
            }
            state.sys.for_each_match(filter, now, |retained| {
                slot.messages.extend(replay.take_any(retained, *qos).map(LocalReceived::stored))
            });
            replay.push(filter.clone(), *qos);
        }
        slot.replays.push(replay);
        state.gateway.changed(now);
        // Also for other in-process clients, if something of `$SYS` has changed.
        self.shared.tend.notify_one();
    }

    /// Asks for no more messages on these filters.
    pub fn unsubscribe(&self, filters: &[TopicFilter]) {
        let mut state = self.shared.state.borrow_mut();
        let state = &mut *state;
        let Some(Some(slot)) = state.locals.get_mut(self.id as usize) else { return };
        for filter in filters {
            if slot.subscriptions.remove(filter).is_some() {
                slot.replays.stop(filter);
                state.subscriptions.remove(filter, Who::Local(self.id));
            }
        }
        state.gateway.changed(Instant::now());
        self.shared.tend.notify_one();
    }

    /// Publishes a message. It is in the subscribers' write buffers or queues when this returns.
    ///
    /// Returns [`ReasonCode::SUCCESS`], [`ReasonCode::NO_MATCHING_SUBSCRIBERS`], or an error as an MQTT 5 client would
    /// get it in PUBACK: the message went nowhere then, was counted and named in the log.
    pub fn publish(&self, message: Message) -> ReasonCode {
        let (publisher, now) = (Publisher::Local(self.id), Instant::now());
        let mut state = self.shared.state.borrow_mut();
        state.stats.published_by_local += 1;
        if let Err(refusal) = refusal::check_from_local(&message, state.settings.allow_control_characters) {
            state.refuse(publisher, &message.topic, refusal, now);
            return refusal.reason();
        }
        let (before, recorded) = (state.stats.received_by_local, state.recorded());
        let outcome = state.distribute(message, publisher, None, now);
        if state.stats.received_by_local != before || state.recorded() != recorded {
            // Not called from here: the caller may hold its sink borrowed.
            self.shared.tend.notify_one();
        }
        if outcome.matched { ReasonCode::SUCCESS } else { ReasonCode::NO_MATCHING_SUBSCRIBERS }
    }

    /// Whether the publisher of a message is there, or may come back, to be told of it.
    pub fn is_owed(&self, ack: LocalAck) -> bool {
        self.shared.state.borrow().sessions.find(ack.session).is_some()
    }

    /// Acknowledges a message: its publisher gets PUBACK or PUBREC, in the order of receipt. If it is not connected, it
    /// gets it when it comes back to its session; if there is no session any more, nothing happens.
    pub fn ack(&self, ack: LocalAck) {
        let mut state = self.shared.state.borrow_mut();
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
        let before = state.recorded();
        state.keep_taken(ack.session, ack.token);
        let wanted = state.recorded_since(before);
        let Some(session) = state.sessions.find_mut(ack.session) else { return };
        session.unacknowledged = session.unacknowledged.saturating_sub(1);
        match session.connection.clone() {
            Some(connection) => {
                connection.set_window(session.unacknowledged, receive_maximum);
                if let Some(wanted) = wanted {
                    state.hold(&connection, connection.position(), wanted);
                    self.shared.tend.notify_one();
                }
                connection.session.borrow_mut().ack(ack.token, ReasonCode::SUCCESS);
                connection.wake.wake();
            }
            None => session.late_acks.push(ack.token),
        }
    }

    /// Up to where everything that was [published](Self::publish) so far is recorded: its publisher may forget it when
    /// [`durable`](Self::durable) has reached that.
    pub fn recorded(&self) -> u64 {
        self.shared.state.borrow().recorded().sequence
    }

    /// A packet id is recorded as free, or was not recorded: see [`LocalSink::released`].
    pub fn confirm(&self, release: &LocalRelease) {
        self.shared.confirm(release);
        self.shared.tend.notify_one();
    }

    /// Publishes a message as [`publish`](Self::publish) does, once in all processes that go on with what the broker keeps, by what it
    /// is known: if it was published by another one, nothing happens.
    pub fn publish_once(&self, message: Message, origin: Origin) -> ReasonCode {
        {
            let mut state = self.shared.state.borrow_mut();
            if state.origins.remove(&origin) {
                return ReasonCode::SUCCESS;
            }
            state.origin = Some(origin);
        }
        let reason = self.publish(message);
        self.shared.state.borrow_mut().origin = None;
        reason
    }

    /// Of this client's packet ids some are recorded. To be called for all of them before anybody connects.
    pub fn remembers(&self, client_id: &str) {
        let mut state = self.shared.state.borrow_mut();
        match state.sessions.of_client(client_id).and_then(|slot| state.sessions.get_mut(slot)) {
            // Until its session ends, when it has not sent again what that was.
            Some(session) => session.routed.push(LocalRelease::ALL),
            None => drop(state.remembered.insert(client_id.into())),
        }
    }

    /// How far the log reaches that origins speak of: if it is another one than when something was [published once](Self::publish_once), they mean
    /// nothing any more.
    pub fn origins_reach(&self, sequence: u64) {
        let mut state = self.shared.state.borrow_mut();
        let state = &mut *state;
        if state.origins.iter().any(|origin| origin.sequence > sequence)
            && let Some(store) = &mut state.store
        {
            state.origins.clear();
            store.forget_origins();
            self.shared.tend.notify_one();
        }
    }

    /// Up to where everything that is recorded is durable.
    pub fn durable(&self) -> u64 {
        self.shared.settled.get().sequence
    }

    /// Waits until [`durable`](Self::durable) has moved since this was called.
    pub async fn durable_moved(&self) {
        self.shared.durable_moved.notified().await;
    }

    /// The broker's clients that are wanted, by their identifiers, and how many there are of them.
    pub fn clients(&self, wanted: &ClientsWanted) -> (Vec<Client>, usize) {
        self.shared.state.borrow().clients(wanted)
    }

    /// One of them; `None`: nobody knows it.
    pub fn client(&self, client_id: &str) -> Option<ClientDetails> {
        self.shared.state.borrow().client(client_id)
    }

    /// Ends a client's connection; its will is published. `forget`: ends its session, too, with all that waits for it. Returns whether
    /// there was anything to end; `None`: nobody knows the client.
    pub fn disconnect(&self, client_id: &str, forget: bool) -> Option<bool> {
        let ended = self.shared.state.borrow_mut().disconnect(client_id, forget, Instant::now());
        self.shared.tend.notify_one();
        ended
    }

    /// Addresses from which somebody failed to log in of late, the most first.
    pub fn failed_logins(&self) -> Vec<FailedLogins> {
        self.shared.state.borrow().addresses.failures(Instant::now())
    }

    /// Counters and gauges of the broker.
    pub fn stats(&self) -> Stats {
        self.shared.state.borrow().stats()
    }

    /// Stops taking messages for in-process clients from sockets, or goes on. A client that publishes nothing for them
    /// is not held up; one that does is not read from after the batch in which it did.
    pub fn pause(&self, paused: bool) {
        if self.shared.paused.replace(paused) == paused {
            return;
        }
        if paused {
            self.shared.pauses.set(self.shared.pauses.get() + 1);
            return;
        }
        self.shared.tend.notify_one();
        self.shared.state.borrow().wake_all();
    }

    /// Takes this client out of the broker: its subscriptions are gone and its sink is not called again.
    pub fn close(&self) {
        let mut state = self.shared.state.borrow_mut();
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
