//! What the broker remembers: sessions, what is retained, its connections, and a log of everything.

use super::habits::{End, Habit, Match, Script};
use super::properties::{self, Property, SUBSCRIPTION_ID, TOPIC_ALIAS, Value};
use super::wire::{self, MQTT_5, Message, Packet, Subscription};
use crate::packet;
use socket2::SockRef;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// As many messages as there are packet ids, where a client does not ask for fewer (MQTT 5, 3.1.2.11.3).
const RECEIVE_MAXIMUM: usize = 65_535;

/// Another connection has taken the session (MQTT 5, 3.14.2.1).
const TAKEN_OVER: u8 = 0x8e;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Which connection, counted from 1.
    pub connection: usize,
    /// Sent by the client; otherwise by the broker.
    pub from_client: bool,
    /// What was sent.
    pub packet: Packet,
}

/// A message that the broker has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// On which connection, counted from 1.
    pub connection: usize,
    /// With the DUP flag: perhaps sent before.
    pub dup: bool,
    /// The message.
    pub message: Message,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) script: Script,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) retained: BTreeMap<Vec<u8>, Message>,
    pub(super) connections: Vec<Connection>,
    pub(super) log: Vec<Logged>,
    pub(super) published: Vec<Published>,
    /// Answers to SUBSCRIBE that wait for the test, each with its connection.
    pub(super) held: Vec<(usize, Packet, Vec<u8>)>,
    // CONNECTs that were accepted.
    pub(super) welcomed: usize,
}

#[derive(Debug)]
pub(super) struct Connection {
    /// None when it has ended.
    pub(super) stream: Option<Arc<TcpStream>>,
    /// 3, 4 or 5; 0 before CONNECT.
    pub(super) level: u8,
    pub(super) client: Option<String>,
    /// Nothing is answered any more.
    pub(super) silent: bool,
    pub(super) aliases: HashMap<u32, Vec<u8>>,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) connection: Option<usize>,
    pub(super) level: u8,
    pub(super) bridge: bool,
    pub(super) kept: bool,
    pub(super) window: usize,
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    /// QoS 2 ids between PUBLISH and PUBREL.
    pub(super) unreleased: BTreeSet<u16>,
    pub(super) outgoing: VecDeque<Unacknowledged>,
    last_id: u16,
}

#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) id: u16,
    pub(super) message: Message,
    pub(super) stage: Stage,
    dup: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waits,
    Sent,
    /// PUBREC has come, PUBREL is out.
    Released,
}

impl Session {
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id = self.last_id;
            if self.outgoing.iter().all(|outgoing| outgoing.id != id) {
                return id;
            }
        }
    }
}

impl Memory {
    pub(super) fn does(&mut self, occasion: impl Fn(&Habit) -> bool) -> bool {
        self.script.does(occasion)
    }

    /// Whether a habit about messages shows for this one; says what the habit does then.
    pub(super) fn shows_for<T>(
        &mut self,
        message: &Message,
        habit: impl Fn(&Habit) -> Option<(&Match, T)>,
    ) -> Option<T> {
        self.script.shows(|held| habit(held).filter(|(which, _)| which.matches(message)).map(|(_, then)| then))
    }

    pub(super) fn hears(&mut self, number: usize, packet: &Packet) {
        self.log.push(Logged { connection: number, from_client: true, packet: packet.clone() });
    }

    /// Writes bytes, and the packet they are into the log. A client that is gone does not mind.
    pub(super) fn tell(&mut self, number: usize, packet: Packet, bytes: &[u8]) {
        self.log.push(Logged { connection: number, from_client: false, packet });
        if let Some(stream) = &self.connections[number - 1].stream {
            let _ = (&**stream).write_all(bytes);
        }
    }

    /// The broker ends the connection.
    pub(super) fn end(&mut self, number: usize, end: &End) {
        if let (Some(code), MQTT_5) = (end.code, self.connections[number - 1].level) {
            let mut bytes = Vec::new();
            wire::disconnect(&mut bytes, code, end.properties.clone());
            self.tell(number, Packet::Disconnect(code), &bytes);
        }
        self.detach(number, false);
        if let Some(stream) = self.connections[number - 1].stream.take() {
            // With FIN the reader goes on until the client closes too, so that nothing that was said is lost to an RST.
            let _ = match end.reset {
                true => SockRef::from(&*stream)
                    .set_linger(Some(Duration::ZERO))
                    .and_then(|()| stream.shutdown(Shutdown::Read)),
                false => stream.shutdown(Shutdown::Write),
            };
        }
    }

    /// The connection has ended, whoever ended it; a session that is not to be kept goes with it.
    pub(super) fn detach(&mut self, number: usize, by_client: bool) {
        let Some(client) = self.connections[number - 1].client.take() else { return };
        self.log.push(Logged { connection: number, from_client: by_client, packet: Packet::End });
        if let Some(session) = self.sessions.get_mut(&client).filter(|session| session.connection == Some(number)) {
            session.connection = None;
            if !session.kept {
                self.sessions.remove(&client);
            }
        }
    }

    /// A connection gets its session; says whether there was one.
    pub(super) fn attach(&mut self, number: usize, hello: &wire::Hello) -> bool {
        let client = hello.client_id.clone();
        if let Some(older) = self.sessions.get(&client).and_then(|session| session.connection) {
            self.end(older, &End::says(TAKEN_OVER));
        }
        if hello.clean || self.does(|habit| matches!(habit, Habit::ForgetSession)) {
            self.sessions.remove(&client);
        }
        let present = self.sessions.contains_key(&client);
        let level = hello.level & !wire::BRIDGE_BIT;
        let asked =
            hello.properties.number(properties::RECEIVE_MAXIMUM).map_or(RECEIVE_MAXIMUM, |maximum| maximum as usize);
        let own = self.script.all(|habit| match habit {
            Habit::Window(messages) => Some(*messages),
            _ => None,
        });
        let window = own.min().unwrap_or(RECEIVE_MAXIMUM).min(asked);
        let expires = hello.properties.number(properties::SESSION_EXPIRY).unwrap_or(0) == 0;
        let session = self.sessions.entry(client.clone()).or_default();
        session.connection = Some(number);
        (session.level, session.bridge) = (level, hello.level & wire::BRIDGE_BIT != 0);
        session.kept = if level == MQTT_5 { !expires } else { !hello.clean };
        session.window = window;
        let connection = &mut self.connections[number - 1];
        (connection.level, connection.client) = (level, Some(client));
        self.welcomed += 1;
        present
    }

    /// Sends again what the client has not acknowledged, in order, and then what waits.
    pub(super) fn resume(&mut self, client: &str) {
        let newest_first = self.does(|habit| matches!(habit, Habit::NewestFirst));
        let with_dup = !self.does(|habit| matches!(habit, Habit::NoDup));
        let Some(session) = self.sessions.get_mut(client) else { return };
        let (level, Some(number)) = (session.level, session.connection) else { return };
        let mut again = Vec::new();
        for outgoing in session.outgoing.iter_mut().filter(|outgoing| outgoing.stage != Stage::Waits) {
            let mut bytes = Vec::new();
            if outgoing.stage == Stage::Released {
                wire::answer(&mut bytes, packet::PUBREL, level, outgoing.id, 0, "");
                again.push((Packet::Pubrel(outgoing.id, 0), bytes));
            } else if newest_first {
                (outgoing.stage, outgoing.dup) = (Stage::Waits, with_dup);
            } else {
                outgoing.message.write(&mut bytes, level, outgoing.id, with_dup);
                again.push((Packet::Publish(outgoing.message.clone(), outgoing.id, with_dup), bytes));
            }
        }
        if newest_first {
            session
                .outgoing
                .make_contiguous()
                .sort_by_key(|outgoing| outgoing.stage == Stage::Waits && outgoing.id > 0);
        }
        for (packet, bytes) in again {
            self.tell(number, packet, &bytes);
        }
        self.pump(client);
    }

    /// Sends what waits, as far as the window allows.
    pub(super) fn pump(&mut self, client: &str) {
        loop {
            let Some(session) = self.sessions.get_mut(client) else { return };
            let (level, window, Some(number)) = (session.level, session.window, session.connection) else {
                session.outgoing.retain(|outgoing| outgoing.message.qos > 0);
                return;
            };
            let under_way = session.outgoing.iter().filter(|outgoing| outgoing.stage != Stage::Waits).count();
            let Some(at) = session.outgoing.iter().position(|outgoing| outgoing.stage == Stage::Waits) else { return };
            let mut bytes = Vec::new();
            if session.outgoing[at].message.qos == 0 {
                if let Some(Unacknowledged { message, .. }) = session.outgoing.remove(at) {
                    message.write(&mut bytes, level, 0, false);
                    self.tell(number, Packet::Publish(message, 0, false), &bytes);
                }
                continue;
            }
            if under_way >= window {
                return;
            }
            let id = match session.outgoing[at].id {
                0 => session.free_id(),
                id => id,
            };
            let outgoing = &mut session.outgoing[at];
            (outgoing.id, outgoing.stage) = (id, Stage::Sent);
            let (message, dup) = (outgoing.message.clone(), outgoing.dup);
            message.write(&mut bytes, level, id, dup);
            self.tell(number, Packet::Publish(message, id, dup), &bytes);
        }
    }

    /// Puts a message into a session, as it is to be sent.
    pub(super) fn enqueue(&mut self, client: &str, message: Message) {
        if let Some(session) = self.sessions.get_mut(client) {
            session.outgoing.push_back(Unacknowledged { id: 0, message, stage: Stage::Waits, dup: false });
            self.pump(client);
        }
    }

    /// A message for everybody who is subscribed; `from` is who published it.
    pub(super) fn route(&mut self, message: &Message, from: Option<&str>) {
        let shared_is_literal = self.does(|habit| matches!(habit, Habit::SharedIsLiteral));
        let copy_per_filter = self.does(|habit| matches!(habit, Habit::CopyPerFilter));
        let echo = self.does(|habit| matches!(habit, Habit::Echo));
        let topic = message.topic_text();
        let mut shares_served = BTreeSet::new();
        let mut deliveries = Vec::new();
        for (client, session) in &self.sessions {
            let own = from == Some(client);
            let matching: Vec<&Subscription> = session
                .subscriptions
                .iter()
                .filter(|(filter, subscription)| {
                    let shared = filter.strip_prefix("$share/").filter(|_| !shared_is_literal);
                    let plain =
                        shared.and_then(|rest| rest.split_once('/')).map_or(filter.as_str(), |(_, plain)| plain);
                    let local = own && !echo && (session.bridge || subscription.no_local);
                    filter_matches(plain, &topic)
                        && !local
                        && (shared.is_none() || shares_served.insert((*filter).clone()))
                })
                .map(|(_, subscription)| subscription)
                .collect();
            if copy_per_filter {
                deliveries.extend(matching.iter().map(|one| (client.clone(), vec![**one])));
            } else if !matching.is_empty() {
                deliveries.push((client.clone(), matching.into_iter().copied().collect()));
            }
        }
        for (client, subscriptions) in deliveries {
            let copy = self.addressed(&client, message, &subscriptions, false);
            self.enqueue(&client, copy);
        }
    }

    /// What is retained for a filter that a client has just subscribed to.
    pub(super) fn retained_for(&mut self, client: &str, filter: &str, subscription: Subscription) -> Vec<Message> {
        let wild = filter.contains(['#', '+']);
        let none = self.does(|habit| match habit {
            Habit::NoRetained => true,
            Habit::NoRetainedForWildcards => wild,
            _ => false,
        });
        if none || filter.starts_with("$share/") {
            return Vec::new();
        }
        let found: Vec<Message> =
            self.retained.values().filter(|message| filter_matches(filter, &message.topic_text())).cloned().collect();
        found.iter().map(|message| self.addressed(client, message, &[subscription], true)).collect()
    }

    /// A message as one client gets it.
    fn addressed(
        &mut self,
        client: &str,
        message: &Message,
        subscriptions: &[Subscription],
        retained: bool,
    ) -> Message {
        let raised = self.does(|habit| matches!(habit, Habit::RaiseQos));
        let cleared = self.does(|habit| matches!(habit, Habit::ClearRetain));
        let mut copy = message.clone();
        for (from, to) in self.script.all(|habit| match habit {
            Habit::Replace(from, to) => Some((*from, *to)),
            _ => None,
        }) {
            copy.topic = copy.topic_text().replace(from, to).into_bytes();
        }
        let granted = subscriptions.iter().map(|subscription| subscription.qos).max().unwrap_or(0);
        copy.qos = if raised { granted } else { copy.qos.min(granted) };
        let (level, bridge) = self.sessions.get(client).map_or((0, false), |session| (session.level, session.bridge));
        let as_published = bridge || subscriptions.iter().any(|subscription| subscription.retain_as_published);
        copy.retain = retained || (copy.retain && as_published && !cleared);
        copy.properties.0.retain(|property| !matches!(property.id, TOPIC_ALIAS | SUBSCRIPTION_ID) && level == MQTT_5);
        let ids = subscriptions.iter().filter_map(|subscription| subscription.id);
        copy.properties.0.extend(ids.map(|id| Property { id: SUBSCRIPTION_ID, value: Value::Number(id) }));
        copy
    }
}

/// Whether a filter matches a topic (MQTT 5, 4.7).
pub(super) fn filter_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(name)) if level == name => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic) in
            [("#", "a"), ("a/#", "a"), ("a/#", "a/b/c"), ("a/+", "a/"), ("+/b", "a/b"), ("$x/#", "$x/y")]
        {
            assert!(filter_matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [("#", "$x/y"), ("a/+", "a"), ("a/+", "a/b/c"), ("a", "a/b"), ("a/b", "a")] {
            assert!(!filter_matches(filter, topic), "{filter} {topic}");
        }
    }
}
