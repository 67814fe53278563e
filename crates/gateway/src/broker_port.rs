//! What a link or the box's own broker calls: the data path, for one broker.

use crate::data_path::DataPath;
use crate::snapshot::Connection;
use crate::source_ack::SourceAck;
use crate::stored::RetainFlag;
use crate::target_sessions::reason_of;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidegate_broker::{LocalReceived, LocalRelease};
use tidegate_link::{GaveUp, LinkError, Outgoing, Port, Status};
use tidegate_message::Message;
use tidegate_mqtt::{AckToken, Batch, ProtocolError, PublishError};
use tidegate_router::{BrokerId, Health, Ticket};

/// The data path's side of one broker.
pub(crate) struct BrokerPort {
    pub(crate) path: Rc<RefCell<DataPath>>,
    pub(crate) broker: BrokerId,
    pub(crate) name: Arc<str>,
}

impl BrokerPort {
    /// Does something, and tells everybody for whom there is something new then.
    fn with<T>(&self, act: impl FnOnce(&mut DataPath) -> T) -> T {
        let mut path = self.path.borrow_mut();
        let outcome = act(&mut path);
        path.tell();
        outcome
    }
}

impl Port for BrokerPort {
    fn heard(&mut self, heard: &mut Batch, now: Instant) {
        let rest = self.path.borrow_mut().heard(self.broker, heard, now);
        if let Some(rest) = rest {
            let (path, broker) = (self.path.clone(), self.broker);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(rest).await;
                let mut path = path.borrow_mut();
                path.router.touch(broker);
                path.flush(Instant::now());
            });
        }
    }

    fn acks(&mut self, acks: &mut Vec<AckToken>) {
        let mut path = self.path.borrow_mut();
        acks.extend(path.router.take_acks(self.broker).filter_map(SourceAck::of_link));
    }

    fn pull(&mut self, has_room: bool, now: Instant) -> Option<Outgoing> {
        let mut path = self.path.borrow_mut();
        let moment = path.moment(now);
        let (ticket, message) = path.router.pull(self.broker, has_room, moment)?;
        Some(Outgoing { key: ticket.key(), message })
    }

    fn refused(&mut self, key: u64, error: &PublishError) {
        let (broker, ticket) = (self.broker, Ticket::from_key(key));
        self.with(|path| {
            path.router.withdrawn(broker, ticket);
            path.router.drop_ticket(ticket, None, reason_of(error));
        });
    }

    fn sent(&mut self, key: u64, serial: u64) {
        self.path.borrow_mut().router.sent(self.broker, Ticket::from_key(key), serial);
    }

    fn gate(&mut self) -> u64 {
        self.path.borrow_mut().router.gate(self.broker)
    }

    fn durable(&self) -> u64 {
        self.path.borrow().router.spool().durable()
    }

    fn gave_up(&mut self, key: u64, message: Message, why: &GaveUp) {
        self.path.borrow_mut().gave_up(self.broker, Ticket::from_key(key), message, why, Instant::now());
    }

    fn remember(&mut self, memory: &[u8], first: bool) {
        self.path.borrow_mut().router.remember_link(self.broker, memory, first);
    }

    fn status(&mut self, status: &Status) {
        let mut path = self.path.borrow_mut();
        let broker = &*self.name;
        match status {
            Status::Up { version, bridge, connected, session_expiry_asked_s } => {
                let speaks = format!("{version}{}", if *bridge { " bridge" } else { "" });
                tracing::info!(
                    name: "connected",
                    broker,
                    version = speaks,
                    session_present = connected.session_present,
                    "connected"
                );
                let now = Instant::now();
                path.came_up(self.broker, speaks, connected.session_present, now);
                path.end_mut(self.broker).retain_flag = RetainFlag::on(*version, *bridge);
                if !connected.session_present {
                    path.router.forgotten(self.broker);
                }
                path.note_capabilities(self.broker, connected, *version, *bridge, *session_expiry_asked_s);
                let moment = path.moment(now);
                path.router.look_at_sets(moment);
                path.end_mut(self.broker).attempt_failed = false;
                path.broker_changed.notify_one();
            }
            Status::SessionLost { republished } => {
                path.end_mut(self.broker).sessions_lost += 1;
                tracing::warn!(
                    name: "session_lost",
                    broker,
                    republished,
                    "the broker had forgotten our session: sending again"
                );
            }
            Status::SubscribeRefused { filter, words, again_in } => {
                let filter = filter.as_str().escape_debug();
                tracing::error!(
                    name: "subscription_refused",
                    broker,
                    %filter,
                    reason = words,
                    ?again_in,
                    "the broker does not let us subscribe"
                );
            }
            Status::GrantedLess { filter, asked, granted } => {
                let filter = filter.as_str().escape_debug();
                tracing::warn!(
                    name: "subscription_reduced",
                    broker,
                    %filter,
                    asked,
                    granted,
                    "the broker grants a lower QoS"
                );
            }
            Status::Habit(habit) => tracing::warn!(broker, "{habit}"),
            Status::Down { error, then: Some(then), .. } => {
                tracing::info!(broker, why = %error, "trying {then}");
            }
            Status::Down { error, retry_in, was_up, then: None } => {
                path.end_mut(self.broker).was_silent |=
                    matches!(error, LinkError::Protocol(ProtocolError::KeepAlive(_)));
                path.told_down(self.broker, error.to_string(), *retry_in, *was_up);
            }
        }
    }
}

impl tidegate_broker::LocalSink for BrokerPort {
    fn received(&mut self, messages: &mut Vec<LocalReceived>) {
        self.path.borrow_mut().received_locally(self.broker, messages, Instant::now());
    }

    fn released(&mut self, releases: &mut Vec<LocalRelease>) {
        self.path.borrow_mut().released_locally(self.broker, releases);
    }
}

/// So many connections are remembered.
const CONNECTIONS_MAX: usize = 10;

impl DataPath {
    /// A broker takes messages, and this is what is spoken with it.
    pub(crate) fn came_up(&mut self, broker: BrokerId, speaks: String, session_present: bool, now: Instant) {
        let known = self.router.broker_mut(broker);
        let was_given_up = known.health.given_up;
        (known.health, known.down_since) = (Health { up_since: Some(now), given_up: false }, None);
        let end = self.end_mut(broker);
        if end.connections.len() == CONNECTIONS_MAX {
            end.connections.pop_front();
        }
        let since = SystemTime::now();
        end.connections.push_back(Connection { since, version: speaks.clone(), session_present, ended: None });
        (end.last_error, end.version) = (None, Some(speaks));
        (end.attempt_failed, end.was_silent) = (false, false);
        if was_given_up {
            end.waits_since = None;
        }
        end.connects += 1;
    }

    /// A broker takes no messages, for this reason.
    pub(crate) fn told_down(&mut self, broker: BrokerId, words: String, retry_in: Duration, was_up: bool) {
        let name = self.router.broker(broker).name.clone();
        let end = self.end_mut(broker);
        // The same again is not news.
        if was_up || end.last_error.as_ref() != Some(&words) {
            // Nobody needs its nanoseconds.
            let retry_in = Duration::from_millis(retry_in.as_millis() as u64);
            tracing::warn!(name: "disconnected", broker = &*name, error = words, ?retry_in, "not connected");
        }
        if was_up && let Some(last) = end.connections.back_mut() {
            last.ended = Some((SystemTime::now(), words.clone()));
        }
        end.last_error = Some(words);
        end.attempt_failed = !was_up;
        self.went_down(broker);
    }

    /// A broker takes no messages.
    pub(crate) fn went_down(&mut self, broker: BrokerId) {
        let known = self.router.broker_mut(broker);
        known.health.up_since = None;
        self.broker_changed.notify_one();
        if known.down_since.is_none() {
            known.down_since = Some(Instant::now());
            self.look.notify_one();
        }
    }
}
