//! Everything the broker knows, and how sessions come to their end.

use crate::groups::Groups;
use crate::local::LocalSlot;
use crate::log_limit::LogLimit;
use crate::matches::{Subscriptions, Who};
use crate::publish::Source;
use crate::queue::QueueTotal;
use crate::refuse;
use crate::retained::RetainedMessages;
use crate::session::{Link, Session, SessionKey, Sessions};
use crate::settings::Settings;
use crate::stats::Stats;
use crate::sys::Sys;
use ahash::AHashMap;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_message::TopicFilter;
use tidegate_mqtt::{AckToken, Batch, ReasonCode, ServerLimits, ServerSession};
use tokio::sync::{Notify, Semaphore};

/// How many passwords are checked at a time.
const PASSWORD_CHECKS: usize = 2;

/// What all tasks of a broker share.
pub(crate) struct Core {
    pub(crate) state: RefCell<State>,
    /// There is something to do for the task that tends the broker: a deadline moved, an inbox waits.
    pub(crate) tend: Notify,
    /// Where sockets are read into, one at a time.
    pub(crate) scratch: RefCell<BytesMut>,
    /// What one read held, one at a time.
    pub(crate) batch: RefCell<Batch>,
    pub(crate) paused: Cell<bool>,
    /// Counts the gateway's pauses.
    pub(crate) pauses: Cell<u64>,
    pub(crate) password_checks: Semaphore,
    pub(crate) log_limit: RefCell<LogLimit>,
    pub(crate) listeners: Cell<u64>,
    /// Sockets that are open.
    pub(crate) sockets: Cell<usize>,
}

impl Core {
    pub(crate) fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self {
            state: RefCell::new(State::new(settings, now)),
            tend: Notify::new(),
            scratch: RefCell::default(),
            batch: RefCell::default(),
            paused: Cell::new(false),
            pauses: Cell::new(0),
            password_checks: Semaphore::new(PASSWORD_CHECKS),
            log_limit: RefCell::new(LogLimit::new(now)),
            listeners: Cell::new(0),
            sockets: Cell::new(0),
        }
    }

    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.state.borrow().settings.clone()
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The client said so.
    Goodbye {
        /// The will is published all the same.
        with_will: bool,
        /// The session is to be kept for another time, in seconds.
        expiry_s: Option<u32>,
    },
    /// The connection broke, the client was silent, or it was thrown out.
    Lost,
    /// The broker stops.
    Stopping,
}

/// Everything the broker knows. Sessions, subscriptions, messages: nothing here waits or does I/O.
pub(crate) struct State {
    pub(crate) settings: Rc<Settings>,
    pub(crate) sessions: Sessions,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) groups: Groups,
    pub(crate) retained: RetainedMessages,
    pub(crate) locals: Vec<Option<LocalSlot>>,
    /// Messages that several in-process clients have to acknowledge: how many of them still.
    pub(crate) joint_acks: AHashMap<(SessionKey, AckToken), usize>,
    /// When to look after the sessions of absent clients.
    pub(crate) due: BTreeSet<(Instant, SessionKey)>,
    pub(crate) queued: QueueTotal,
    pub(crate) connections: usize,
    pub(crate) stats: Stats,
    pub(crate) sys: Sys,
    /// Apart from that of connections: a flood of the one does not hide the other.
    pub(crate) refusals_log: LogLimit,
}

impl State {
    fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings: Rc::new(settings),
            sessions: Sessions::default(),
            subscriptions: Subscriptions::default(),
            groups: Groups::default(),
            retained: RetainedMessages::default(),
            locals: Vec::new(),
            joint_acks: AHashMap::new(),
            due: BTreeSet::new(),
            queued: QueueTotal::default(),
            connections: 0,
            stats: Stats::default(),
            sys: Sys::new(now),
            refusals_log: LogLimit::new(now),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            connections: self.connections,
            sessions: self.sessions.len(),
            retained: self.retained.len(),
            retained_bytes: self.retained.bytes(),
            queued: self.queued.messages,
            queued_bytes: self.queued.bytes,
            ..self.stats
        }
    }

    pub(crate) fn server_limits(&self) -> ServerLimits {
        ServerLimits {
            receive_maximum: self.settings.receive_maximum.max(1),
            max_packet_size: self.settings.max_packet_size,
            topic_alias_max: self.settings.topic_alias_max,
        }
    }

    /// Takes a session away from its connection. Does nothing if the connection does not have it any more.
    pub(crate) fn leave(&mut self, key: SessionKey, link: &Rc<Link>, leaving: Leaving, now: Instant) {
        let limits = self.server_limits();
        let expiry_max_s = self.settings.session_expiry_max_s;
        let Some(session) = self.sessions.find_mut(key) else { return };
        if session.link.take_if(|known| Rc::ptr_eq(known, link)).is_none() {
            return;
        }
        self.connections -= 1;
        let mut up = link.session.borrow_mut();
        link.last_words.borrow_mut().unsplit(up.tx().split());
        link.told_to_go.set(true);
        link.wake.wake();
        let ended = std::mem::replace(&mut *up, ServerSession::new(limits, now));
        session.flow = Some(ended.into_flow());
        match leaving {
            Leaving::Goodbye { with_will, expiry_s } => {
                if !with_will {
                    session.will = None;
                }
                if let Some(seconds) = expiry_s {
                    session.expiry_s = seconds.min(expiry_max_s);
                }
            }
            Leaving::Lost => {}
            // Nobody is there any more to receive it.
            Leaving::Stopping => session.will = None,
        }
        if session.expiry_s == 0 {
            self.end_session(key.slot, now);
            return;
        }
        session.ends_at = in_seconds(now, session.expiry_s);
        let delay_s = session.will.as_ref().map_or(0, |will| will.delay_s);
        session.will_at = session.will.as_ref().and_then(|_| in_seconds(now, delay_s));
        if delay_s == 0 {
            self.publish_will(key.slot, now);
        }
        self.await_return(key);
    }

    /// Files when to look after an absent client's session.
    fn await_return(&mut self, key: SessionKey) {
        if let Some(at) = self.sessions.find(key).and_then(Session::due) {
            self.due.insert((at, key));
        }
    }

    /// The client is back, or its session ends: nothing is due any more.
    pub(crate) fn forget_due(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.find_mut(key) {
            if let Some(at) = session.due() {
                self.due.remove(&(at, key));
            }
            (session.will_at, session.ends_at) = (None, None);
        }
    }

    /// Publishes wills and ends sessions whose time has come; returns when to be called next.
    pub(crate) fn on_time(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&(at, key)) = self.due.first().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, key));
            let Some(session) = self.sessions.find_mut(key) else { continue };
            if session.ends_at.is_some_and(|at| at <= now) {
                self.end_session(key.slot, now);
                continue;
            }
            if session.will_at.take_if(|at| *at <= now).is_some() {
                self.publish_will(key.slot, now);
            }
            self.await_return(key);
        }
        self.due.first().map(|(at, _)| *at)
    }

    fn publish_will(&mut self, slot: u32, now: Instant) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        session.will_at = None;
        let Some(will) = session.will.take() else { return };
        let source = Source::Session(slot);
        match refuse::check_from_client(&will.message, self.settings.allow_control_characters) {
            Ok(()) => drop(self.distribute(will.message, source, None, now)),
            Err(refusal) => self.refuse(source, &will.message.topic, refusal, now),
        }
    }

    /// Forgets a session whose client is not connected. Its will, if it is still to come, comes now.
    pub(crate) fn end_session(&mut self, slot: u32, now: Instant) {
        let Some(key) = self.sessions.key(slot) else { return };
        self.forget_due(key);
        self.publish_will(slot, now);
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let filters = std::mem::take(&mut session.subscriptions);
        let waiting = session.queue.clear(&mut self.queued);
        self.stats.dropped.session_ended += waiting as u64;
        self.stats.subscriptions -= filters.len();
        for filter in &filters {
            self.remove_subscription(slot, filter);
        }
        self.sessions.remove(slot);
    }

    /// Takes a subscription out of the index or its group.
    pub(crate) fn remove_subscription(&mut self, slot: u32, filter: &TopicFilter) {
        if filter.share().is_none() {
            self.subscriptions.remove(filter, Who::Session(slot));
        } else if let Some(change) = self.groups.leave(filter, slot)
            && change.group_changed
        {
            self.subscriptions.remove(filter, Who::Group(change.group));
        }
    }

    /// Throws a client out.
    pub(crate) fn throw_out(&mut self, slot: u32, reason: ReasonCode, leaving: Leaving, now: Instant) {
        let Some(key) = self.sessions.key(slot) else { return };
        let Some(link) = self.sessions.get(slot).and_then(|session| session.link.clone()) else { return };
        link.session.borrow_mut().disconnect(reason);
        self.leave(key, &link, leaving, now);
    }

    /// Throws out every client that `chosen` says.
    pub(crate) fn throw_out_all(
        &mut self,
        reason: ReasonCode,
        leaving: Leaving,
        now: Instant,
        chosen: impl Fn(&Session, &Link) -> bool,
    ) {
        let going = |(slot, session): (u32, &Session)| {
            session.link.as_ref().is_some_and(|link| chosen(session, link)).then_some(slot)
        };
        let slots: Vec<u32> = self.sessions.iter().filter_map(going).collect();
        for slot in slots {
            self.throw_out(slot, reason, leaving, now);
        }
    }
}

/// A time from now; `None` for never.
pub(crate) fn in_seconds(now: Instant, seconds: u32) -> Option<Instant> {
    if seconds == u32::MAX { None } else { now.checked_add(Duration::from_secs(u64::from(seconds))) }
}
