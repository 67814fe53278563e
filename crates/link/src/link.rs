//! A link before it runs, and its owner's hold on it.

use crate::link_state::{LinkState, Stats};
use crate::memory::Memory;
use crate::settings::Settings;
use crate::subscriptions::{Subscription, SubscriptionProblem};
use std::rc::Rc;
use tidegate_message::{Message, QoS, Topic, TopicFilter};
use tidegate_mqtt::{PublishError, Published, Restored, SubscribeFilter};
use tidegate_transport::WRITE_BYTES;

/// A link that is not running yet.
pub struct Link {
    pub(crate) settings: Settings,
    pub(crate) shared: Rc<LinkState>,
}

impl Link {
    /// A link and the handle to it.
    pub fn new(settings: Settings) -> (Self, LinkHandle) {
        let shared = Rc::new(LinkState::new());
        (Self { settings, shared: shared.clone() }, LinkHandle { shared })
    }
}

/// Messages that the broker has left unanswered for a minute or longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// How many.
    pub count: usize,
    /// Of the first, unless the broker has taken it over and only PUBCOMP is missing.
    pub first: Option<(Topic, QoS)>,
}

/// The owner's hold on a link. All clones are one.
#[derive(Clone)]
pub struct LinkHandle {
    shared: Rc<LinkState>,
}

impl LinkHandle {
    /// There is something to acknowledge or to pull, or the owner's log has become durable.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Whether a message can be published at once, past the port: the broker has been asked for all that the port had, the
    /// write buffer has room, and, at QoS 1 and 2, the session has.
    #[inline]
    pub fn takes(&self, message: &Message) -> bool {
        if !self.shared.takes_at_once.get() || self.shared.avoid.get().reason(message).is_some() {
            return false;
        }
        // The link may be in a turn of its own.
        let Ok(mut session) = self.shared.session.try_borrow_mut() else { return false };
        let has_room = if message.qos == QoS::AtMostOnce { session.is_up() } else { session.has_room() };
        has_room && session.tx().len() < WRITE_BYTES
    }

    /// Publishes a message that [`takes`](Self::takes) says can be. To be followed by [`wake`](Self::wake), for the link to
    /// write it; what is said of it later comes to the port.
    ///
    /// # Errors
    /// The broker can never take it, or cannot now.
    #[inline]
    pub fn publish(&self, key: u64, message: Message) -> Result<Published, PublishError> {
        match self.shared.session.try_borrow_mut() {
            Ok(mut session) => session.publish(key, message),
            Err(_) => Err(PublishError::Full),
        }
    }

    /// Says what is published at each connection from now on, behind the birth message, past the port; what is new of it
    /// as soon as there is room. Of several with one topic the last counts.
    pub fn set_lasting(&self, messages: Vec<Message>) {
        self.shared.own.borrow_mut().set_lasting(messages);
        self.wake();
    }

    /// Publishes a message past the port as soon as there is room; another on the same topic before that takes its place.
    pub fn say(&self, message: Message) {
        self.shared.own.borrow_mut().say(message);
        self.wake();
    }

    /// Says what to subscribe to from now on; the link asks the broker for the difference, and once more for what it had
    /// refused.
    pub fn subscribe(&self, filters: &[SubscribeFilter]) {
        self.shared.subscriptions.borrow_mut().want(filters);
        self.wake();
    }

    /// All that is wanted, in its order.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.shared.subscriptions.borrow().wanted()
    }

    /// What is wanted and not subscribed, each with its reason.
    pub fn subscription_problems(&self) -> Vec<SubscriptionProblem> {
        self.shared.subscriptions.borrow().problems()
    }

    /// Messages that the broker has left unanswered for a minute or longer.
    pub fn overdue(&self) -> Option<Overdue> {
        let session = self.shared.session.borrow();
        let below = self.shared.overdue_below.get();
        let mut overdue = session.unanswered().take_while(|one| one.serial < below).peekable();
        let first = overdue.peek()?.message.map(|message| (message.topic.clone(), message.qos));
        Some(Overdue { count: overdue.count(), first })
    }

    /// How many exchanges were taken as done without the broker's answer.
    pub fn taken_as_done(&self) -> u64 {
        self.shared.given_up.get()
    }

    /// What the link knew of its broker in an earlier process: the last that [`Port::remember`](crate::Port::remember)
    /// was given. To be called before the link runs.
    pub fn restore_memory(&self, memory: &[u8]) {
        *self.shared.memory.borrow_mut() = Memory::read(memory);
    }

    /// What the broker may have of our subscriptions in the session that was used last, also by an earlier process.
    pub fn remembered_filters(&self) -> Vec<TopicFilter> {
        self.shared.memory.borrow().last_filters()
    }

    /// Stops reading from the socket, or goes on.
    pub fn pause(&self, paused: bool) {
        if self.shared.paused.replace(paused) && !paused {
            self.wake();
        }
    }

    /// True while connected.
    pub fn is_up(&self) -> bool {
        self.shared.session.borrow().is_up()
    }

    /// True while connected and subscribed to everything that is wanted.
    pub fn is_settled(&self) -> bool {
        self.is_up() && self.shared.subscriptions.borrow().is_settled()
    }

    /// How many messages wait for the broker's acknowledgement.
    pub fn in_flight(&self) -> usize {
        self.shared.session.borrow().in_flight()
    }

    /// The keys of what the session has at QoS 1 and 2: see [`ClientSession::unfinished`](tidegate_mqtt::ClientSession::unfinished).
    pub fn unfinished(&self) -> Vec<u64> {
        self.shared.session.borrow().unfinished().collect()
    }

    /// Whether it may be a message of ours that ends the connections: one was unanswered when the last one ended.
    pub fn suspects_a_message(&self) -> bool {
        !self.shared.suspicion.borrow().is_idle()
    }

    /// A link that carries on with the same session under other settings. Run it when the one before has ended.
    pub fn with_settings(&self, settings: Settings) -> Link {
        Link { settings, shared: self.shared.clone() }
    }

    /// Takes back the messages with such a key that the broker has not taken over: see
    /// [`ClientSession::take_back`](tidegate_mqtt::ClientSession::take_back). One under suspicion of being what the
    /// broker hangs up on stays: it would take its trouble along.
    pub fn take_back(&self, wanted: impl Fn(u64) -> bool) -> Vec<(u64, Message)> {
        let held = self.shared.held.get();
        self.shared.session.borrow_mut().take_back(|key| Some(key) != held && wanted(key))
    }

    /// Takes back what the broker has not taken over, to send it elsewhere: see
    /// [`ClientSession::abandon`](tidegate_mqtt::ClientSession::abandon).
    pub fn abandon(&self) -> (Vec<(u64, Message)>, Vec<u64>) {
        self.shared.session.borrow_mut().abandon()
    }

    /// Carries on with the session of a process that is gone, before the link runs: see
    /// [`ClientSession::restore`](tidegate_mqtt::ClientSession::restore).
    pub fn restore(&self, session: Restored) -> Vec<u64> {
        self.shared.session.borrow_mut().restore(session)
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.shared.stats.get()
    }
}
