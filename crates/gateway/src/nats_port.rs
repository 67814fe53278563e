//! What the connection to a NATS JetStream calls: the data path, for one broker.

use crate::data_path::{DataPath, wall_ms};
use crate::source_ack::SourceAck;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_message::Message;
use tidegate_mqtt::ReasonCode;
use tidegate_nats::{Arrived, Outgoing, Port, Refused, Status};
use tidegate_router::{Arrival, Audience, BrokerId, DropReason, Ticket};

/// The data path's side of one stream.
pub(crate) struct NatsPort {
    path: Rc<RefCell<DataPath>>,
    broker: BrokerId,
    name: Arc<str>,
    /// The gateway's name, before every id.
    gateway: String,
    /// When this port was made, in milliseconds since the epoch: of ids of messages that the log does not have.
    made_ms: u64,
    /// How many of those there were.
    count: u64,
}

/// Messages that come back, by their tickets.
pub(crate) fn tickets(
    messages: Vec<Outgoing>,
) -> impl DoubleEndedIterator<Item = (Ticket, Message)> + ExactSizeIterator {
    messages.into_iter().map(|Outgoing { key, message, .. }| (Ticket::from_key(key), message))
}

impl NatsPort {
    pub(crate) fn new(path: Rc<RefCell<DataPath>>, broker: BrokerId, name: &str, gateway: &str) -> Self {
        Self { path, broker, name: name.into(), gateway: gateway.to_owned(), made_ms: wall_ms(), count: 0 }
    }

    /// A name for a message that no other has. Of one in the log it is the same after a restart; a log that was begun anew
    /// gives the same numbers, but not at the same time.
    fn id(&mut self, path: &DataPath, ticket: Ticket) -> String {
        match path.router.lasting_id(ticket) {
            Some((received_ms, item)) => {
                format!("{}-{received_ms:x}-{:x}-{:x}", self.gateway, item.sequence, item.index)
            }
            None => {
                self.count += 1;
                format!("{}-{:x}-{}-past-{:x}", self.gateway, self.made_ms, self.name, self.count)
            }
        }
    }
}

impl Port for NatsPort {
    fn arrived(&mut self, messages: &mut Vec<Arrived>, now: Instant) {
        let mut path = self.path.borrow_mut();
        let moment = path.moment(now);
        let arrivals = messages.drain(..).map(|Arrived { message, number, redelivered }| Arrival {
            message,
            ack: Some(SourceAck::Nats(number)),
            redelivered,
            subscription_id: None,
            audience: Audience::All,
            topic_id: None,
        });
        path.router.received(self.broker, arrivals, moment, wall_ms());
        path.flush(now);
    }

    fn acks(&mut self, numbers: &mut Vec<u64>) {
        let mut path = self.path.borrow_mut();
        numbers.extend(path.router.take_acks(self.broker).filter_map(|ack| match ack {
            SourceAck::Nats(number) => Some(number),
            _ => None,
        }));
    }

    fn pull(&mut self, now: Instant) -> Option<Outgoing> {
        let path = self.path.clone();
        let mut path = path.borrow_mut();
        let moment = path.moment(now);
        let (ticket, message) = path.router.pull(self.broker, true, moment)?;
        Some(Outgoing { key: ticket.key(), id: self.id(&path, ticket), message })
    }

    fn delivered(&mut self, keys: &mut Vec<u64>, now: Instant) {
        let mut path = self.path.borrow_mut();
        let moment = path.moment(now);
        path.router.completed(self.broker, keys.drain(..).map(|key| (Ticket::from_key(key), true)), moment);
        path.flush(now);
    }

    fn returned(&mut self, messages: Vec<Outgoing>, refusal: Option<&str>, now: Instant) -> Duration {
        let mut path = self.path.borrow_mut();
        if let (Some(words), Some(first)) = (refusal, messages.first()) {
            path.tell_refusal(self.broker, &first.message, ReasonCode::QUOTA_EXCEEDED, Some(words), true, now);
        }
        let moment = path.moment(now);
        let rest = path.router.returned(self.broker, tickets(messages), refusal.is_some(), moment);
        path.tell();
        rest
    }

    fn refused(&mut self, message: Outgoing, why: &Refused) {
        let mut path = self.path.borrow_mut();
        let (now, words) = (Instant::now(), why.to_string());
        let Outgoing { key, message, .. } = message;
        let ticket = Ticket::from_key(key);
        path.router.withdrawn(self.broker, ticket);
        match why {
            Refused::TooLarge(_) => {
                path.tell_refusal(self.broker, &message, ReasonCode::PACKET_TOO_LARGE, Some(&words), false, now);
                path.router.drop_ticket(ticket, Some(&message.topic), DropReason::TooLarge);
            }
            Refused::NoSubject(_) => path.put_aside(self.broker, ticket, message, words, now),
        }
        path.flush(now);
    }

    fn status(&mut self, status: &Status) {
        let mut path = self.path.borrow_mut();
        let broker = &*self.name;
        match status {
            Status::Up { version, server, notes } => {
                let speaks = format!("NATS {version}");
                tracing::info!(name: "connected", broker, version = speaks, server, "connected");
                let now = Instant::now();
                path.came_up(self.broker, speaks, true, now);
                let known = &mut path.end_mut(self.broker).troubles.notes;
                for note in notes.iter().filter(|note| !known.contains(note)) {
                    tracing::warn!(broker, "{note}");
                }
                known.clone_from(notes);
                // What is published to a stream comes out of it.
                // What we publish comes back, with our mark.
                let moment = path.moment(now);
                path.router.connected(self.broker, false, true, moment);
                path.router.look_at_sets(moment);
            }
            Status::Created { what, name } => tracing::info!(broker, name, "the {what} was missing, and is made"),
            Status::Skipped { reason, subject } => {
                path.router.broker_mut(self.broker).received += 1;
                *path.end_mut(self.broker).troubles.skipped.entry(reason).or_default() += 1;
                tracing::warn!(broker, subject, reason, "a message of the stream cannot be taken: passed over");
            }
            Status::Down { error, retry_in, was_up } => {
                path.told_down(self.broker, error.to_string(), *retry_in, *was_up);
            }
        }
    }
}

impl DataPath {
    /// A message that a stream is not for: it is kept for the operator, and what is behind it goes on.
    fn put_aside(&mut self, broker: BrokerId, ticket: Ticket, message: Message, words: String, now: Instant) {
        let target = self.router.broker(broker).name.clone();
        let topic = message.topic.clone();
        let moment = self.moment(now);
        let parked = self.router.park_ticket(&target, ticket, message, words.clone(), moment);
        let Some((route, number)) = parked else { return };
        tracing::warn!(
            name: "hung_up_on",
            broker = &*target,
            route = &*self.router.route(route).name,
            topic = %topic.as_str().escape_debug(),
            number,
            error = words,
            "{}",
            match number {
                Some(_) => "put aside, see `tidegate parked`",
                None => "dropped, for there is no room to put it aside",
            }
        );
    }
}
