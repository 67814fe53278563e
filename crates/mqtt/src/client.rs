//! The client's side of a session.

mod owner;
mod terms;

pub use terms::{BrokerLimits, ClientConfig, Connected};

use crate::connect::{self, Connect};
use crate::flow::{Connection, Flow, silence_limit};
use crate::incoming::AckToken;
use crate::outgoing::{Mark, PeerLimits, PublishError, Published};
use crate::reason::ReasonCode;
use crate::restore::Restored;
use crate::skip::SLACK_BYTES;
use crate::subscribe::{self, SubscribeFilter};
use crate::wire::{self, Frames, ProtocolError};
use crate::{Batch, Control, Version, connack, disconnect};
use bytes::BytesMut;
use std::time::{Duration, Instant};
use tidegate_message::{Message, TopicFilter};

/// How many filters one SUBSCRIBE or UNSUBSCRIBE carries at most: some brokers refuse long ones.
const FILTERS_PER_PACKET: usize = 8;

/// How many QoS 2 messages a broker of MQTT 3.x is sent at a time: mosquitto 2.0 hangs up above its
/// `max_inflight_messages`, which is 20 unless set, and 3.x has no way to ask.
const EXACTLY_ONCE_MAX_V3: u16 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Connecting,
    Up,
}

/// A client's session over as many connections as it takes.
#[derive(Debug)]
pub struct ClientSession {
    connection: Connection,
    stage: Stage,
    keep_alive_s: u16,
    /// When the PINGREQ went out that is not answered yet.
    ping_sent: Option<Instant>,
    clean_start: bool,
    topic_alias_max: u16,
    receive_maximum: u16,
    subscription_ids_available: bool,
    next_control: u64,
    limits: BrokerLimits,
    /// How many messages the broker takes at a time, by its own word.
    granted: u16,
    /// How many of them are sent: see [`set_window`](Self::set_window).
    window: u16,
    /// PINGRESPs on this connection.
    pongs: u64,
}

impl ClientSession {
    /// A session that has never been connected.
    pub fn new(now: Instant) -> Self {
        let mut connection = Connection::new(Flow::default(), now);
        connection.skips_large = true;
        Self {
            connection,
            stage: Stage::Idle,
            keep_alive_s: 0,
            ping_sent: None,
            clean_start: true,
            topic_alias_max: 0,
            receive_maximum: u16::MAX,
            subscription_ids_available: true,
            next_control: 0,
            limits: BrokerLimits::default(),
            granted: u16::MAX,
            window: u16::MAX,
            pongs: 0,
        }
    }

    /// Carries on with the session of a process that is gone. To be called before the first [`connect`](Self::connect).
    /// If the broker still has the session, our messages are sent again under their old packet ids, as PUBLISH with DUP
    /// or as PUBREL, in the original order, and none that was received is delivered again; if not, our messages are
    /// published as new, except those that the broker took over: they are completed.
    ///
    /// Returns the keys of messages in `session` that are finished, as a later one has their packet id. No
    /// [`Completion`](crate::Completion) follows for them.
    pub fn restore(&mut self, session: Restored) -> Vec<u64> {
        let flow = &mut self.connection.flow;
        flow.incoming.restore(session.received);
        flow.outgoing.restore(session.sent.into_iter().map(Into::into).collect())
    }

    /// Starts a connection: writes CONNECT. Whatever was left of the connection before is gone.
    pub fn connect(&mut self, config: &ClientConfig, now: Instant) {
        let v5 = config.version == Version::V5;
        self.connection.reset(config.version, now);
        let connection = &mut self.connection;
        connection.max_packet_size = config.max_packet_size as usize;
        // Told to the broker, not held against it: mosquitto 2.0.11 sends more when many acknowledgements arrive at
        // once, and hanging up on it would only make it start over. Packet ids are the bound then.
        connection.receive_maximum = usize::from(u16::MAX);
        connection.mark = config.mark.as_ref().filter(|_| v5).map(|mark| Box::new(Mark::new(mark)));
        self.stage = Stage::Connecting;
        self.keep_alive_s = config.keep_alive_s;
        self.ping_sent = None;
        self.pongs = 0;
        self.limits = config.limits;
        self.clean_start = config.clean_start;
        self.receive_maximum = config.receive_maximum.max(1);
        self.topic_alias_max = if v5 { config.topic_alias_max } else { 0 };
        let connect = Connect {
            version: config.version,
            bridge: config.bridge && !v5,
            client_id: config.client_id.clone(),
            clean_start: config.clean_start,
            keep_alive_s: config.keep_alive_s,
            username: config.username.clone(),
            password: config.password.clone(),
            will: config.will.clone(),
            session_expiry_s: config.session_expiry_s,
            receive_maximum: config.receive_maximum,
            max_packet_size: Some(config.max_packet_size),
            topic_alias_max: self.topic_alias_max,
            auth_method: None,
            wants_response_info: false,
            auth_data: None,
        };
        connect::encode(&mut connection.tx, &connect);
    }

    /// The connection is gone. Messages in flight stay, for the next one.
    pub fn disconnected(&mut self) {
        self.end();
        self.connection.tx.clear();
    }

    /// True between CONNACK and the end of the connection.
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// The version of the current or last connection.
    pub const fn version(&self) -> Version {
        self.connection.version
    }

    /// Drains every complete frame out of `rx` into `batch`.
    ///
    /// # Errors
    /// The broker broke the protocol: write what is in [`tx`](Self::tx) and close. What `batch` holds was received
    /// before and is good.
    pub fn on_bytes(&mut self, rx: &mut BytesMut, now: Instant, batch: &mut Batch) -> Result<(), ProtocolError> {
        if !rx.is_empty() {
            // A large packet that trickles in is a sign of life too.
            self.connection.last_received = now;
        }
        let result = self.on_packets(rx, batch);
        if let Err(error) = &result {
            self.disconnect(error.reason());
        }
        result
    }

    fn on_packets(&mut self, rx: &mut BytesMut, batch: &mut Batch) -> Result<(), ProtocolError> {
        loop {
            if !self.connection.read_past(rx, batch)? {
                return Ok(());
            }
            // The maximum is told to the broker and held against it with a little slack.
            let max = self.connection.max_packet_size.saturating_add(SLACK_BYTES);
            let mut frames = Frames::cut(rx, max, usize::MAX);
            match self.on_frames(&mut frames, batch) {
                Err(ProtocolError::TooLarge { size, .. }) if self.stage == Stage::Up => {
                    if !self.connection.begin_skip(rx) {
                        return Err(ProtocolError::TooLarge { size, max: self.connection.max_packet_size });
                    }
                }
                result => return result,
            }
        }
    }

    fn on_frames(&mut self, frames: &mut Frames, batch: &mut Batch) -> Result<(), ProtocolError> {
        while let Some(frame) = frames.next()? {
            self.ping_sent = None;
            if self.stage == Stage::Idle {
                return Ok(()); // the broker has said no, or goodbye: nothing behind that counts
            }
            if self.stage != Stage::Up {
                self.on_connack(frame, batch)?;
                continue;
            }
            let Some(frame) = self.connection.on_frame(frame, batch)? else { continue };
            let at = batch.received.len();
            match frame.kind() {
                wire::PINGRESP => self.pongs += 1,
                wire::SUBACK => {
                    let (packet_id, codes) = subscribe::decode_suback(frame, self.connection.version)?;
                    if let Some(id) = self.connection.flow.outgoing.on_control(packet_id) {
                        batch.control.push((at, Control::Subscribed { id, codes }));
                    }
                }
                wire::UNSUBACK => {
                    let (packet_id, codes) = subscribe::decode_unsuback(frame, self.connection.version)?;
                    if let Some(id) = self.connection.flow.outgoing.on_control(packet_id) {
                        batch.control.push((at, Control::Unsubscribed { id, codes }));
                    }
                }
                wire::DISCONNECT if self.connection.v5() => {
                    let control = disconnect::decode(frame, self.connection.version)?;
                    batch.control.push((at, control));
                    self.end();
                }
                wire::AUTH if self.connection.v5() => return Err(ProtocolError::EnhancedAuth),
                _ => return Err(ProtocolError::Unexpected("a packet that only clients send")),
            }
        }
        Ok(())
    }

    fn on_connack(&mut self, frame: wire::Frame, batch: &mut Batch) -> Result<(), ProtocolError> {
        match frame.kind() {
            wire::CONNACK if self.stage == Stage::Connecting => {}
            wire::AUTH if self.connection.v5() => return Err(ProtocolError::EnhancedAuth),
            _ => return Err(ProtocolError::Unexpected("CONNACK was due")),
        }
        let ack = connack::decode(frame, self.connection.version)?;
        let at = batch.received.len();
        if ack.reason != ReasonCode::SUCCESS {
            let (words, server_reference) = (ack.words, ack.server_reference);
            batch.control.push((at, Control::Refused { reason: ack.reason, words, server_reference }));
            self.stage = Stage::Idle;
            return Ok(());
        }
        // MQTT 3.1 cannot say that it has the session: trust it to have kept it.
        let session_present = ack.session_present || (self.connection.version == Version::V31 && !self.clean_start);
        let v5 = self.connection.v5();
        self.granted = if v5 { ack.receive_maximum } else { self.receive_maximum };
        let known = &self.limits;
        let max_packet_size = [ack.max_packet_size, known.max_packet_size].into_iter().flatten().min();
        let peer = PeerLimits {
            receive_maximum: self.granted.min(self.window),
            exactly_once_maximum: if v5 { u16::MAX } else { EXACTLY_ONCE_MAX_V3 },
            max_packet_size: max_packet_size.map_or(usize::MAX, |size| size as usize),
            max_qos: ack.max_qos.min(known.max_qos),
            retain_available: ack.retain_available && known.retain,
            topic_alias_max: ack.topic_alias_max,
        };
        if let Some(seconds) = ack.server_keep_alive_s {
            self.keep_alive_s = seconds;
        }
        self.stage = Stage::Up;
        self.subscription_ids_available = ack.subscription_ids_available;
        let had_session = self.connection.flow.in_flight() > 0;
        let connected = Connected {
            session_present,
            max_qos: ack.max_qos,
            retain_available: ack.retain_available,
            receive_maximum: ack.receive_maximum,
            max_packet_size: ack.max_packet_size,
            assigned_client_id: ack.assigned_client_id,
            keep_alive_s: self.keep_alive_s,
            wildcards_available: ack.wildcards_available,
            shared_available: ack.shared_available,
            subscription_ids_available: ack.subscription_ids_available,
            session_expiry_s: ack.session_expiry_s,
        };
        batch.control.push((at, Control::Connected(connected)));
        let republished =
            self.connection.established(peer, self.topic_alias_max, session_present, &mut batch.completed);
        if had_session && !session_present {
            batch.control.push((at, Control::SessionLost { republished }));
        }
        Ok(())
    }

    /// Whether a QoS 1 or 2 message would be taken now. QoS 0 is taken whenever the session is up.
    pub fn has_room(&self) -> bool {
        self.is_up() && self.connection.flow.outgoing.has_room(&self.connection.peer)
    }

    /// Encodes a message into [`tx`](Self::tx). QoS and retain flag are lowered to what the broker takes.
    ///
    /// # Errors
    /// [`PublishError::Full`] without room or connection, [`PublishError::TooLarge`] above the broker's maximum.
    pub fn publish(&mut self, key: u64, message: Message) -> Result<Published, PublishError> {
        if !self.is_up() {
            return Err(PublishError::Full);
        }
        self.connection.publish(Some(key), message, &[])
    }

    /// As [`publish`](Self::publish), for a message that its owner wants to hear no more of: nothing follows, and it is not
    /// given back.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_unwatched(&mut self, message: Message) -> Result<Published, PublishError> {
        if !self.is_up() {
            return Err(PublishError::Full);
        }
        self.connection.publish(None, message, &[])
    }

    /// Acknowledges a received message: PUBACK or PUBREC leaves in the order of receipt.
    pub fn ack(&mut self, token: AckToken) {
        self.connection.ack(token, ReasonCode::SUCCESS);
    }

    /// Asks for messages (MQTT 5.0 section 3.8), with several SUBSCRIBE packets if there are many filters.
    ///
    /// Returns one pair for each packet, in the order of the filters: `(id, number of filters in it)`. Each packet is
    /// answered by its own [`Control::Subscribed`], which has that id. Filters are left out at the end if all packet ids
    /// are in use: then the numbers add up to fewer than were asked for.
    pub fn subscribe(&mut self, filters: &[SubscribeFilter]) -> Vec<(u64, usize)> {
        let mut ids = Vec::new();
        let alike = filters.chunk_by(|one, next| one.subscription_id == next.subscription_id);
        for filters in alike.flat_map(|filters| filters.chunks(FILTERS_PER_PACKET)) {
            self.next_control += 1;
            let id = self.next_control;
            let Some(packet_id) = self.connection.flow.outgoing.control_id(id) else { break };
            let with_id = self.subscription_ids_available;
            subscribe::encode_subscribe(&mut self.connection.tx, self.connection.version, packet_id, filters, with_id);
            ids.push((id, filters.len()));
        }
        ids
    }

    /// Asks for no more messages on these filters (MQTT 5.0 section 3.10).
    ///
    /// Returns pairs as [`subscribe`](Self::subscribe) does; each packet is answered by its own [`Control::Unsubscribed`].
    pub fn unsubscribe(&mut self, filters: &[TopicFilter]) -> Vec<(u64, usize)> {
        let mut ids = Vec::new();
        for filters in filters.chunks(FILTERS_PER_PACKET) {
            self.next_control += 1;
            let Some(packet_id) = self.connection.flow.outgoing.control_id(self.next_control) else { break };
            subscribe::encode_unsubscribe(&mut self.connection.tx, self.connection.version, packet_id, filters);
            ids.push((self.next_control, filters.len()));
        }
        ids
    }

    /// Waits no longer for the answer to the SUBSCRIBE or UNSUBSCRIBE of this id.
    pub fn forget_control(&mut self, id: u64) {
        self.connection.flow.outgoing.forget_control(id);
    }

    /// Says goodbye. Write out [`tx`](Self::tx), then close.
    pub fn disconnect(&mut self, reason: ReasonCode) {
        // 3.x clients have only the normal goodbye, which would discard the will: an error just closes.
        if self.stage == Stage::Up && (self.connection.v5() || reason == ReasonCode::SUCCESS) {
            disconnect::encode(&mut self.connection.tx, self.connection.version, reason);
        }
        self.end();
    }

    /// Nothing more is said or heard on this connection. An acknowledgement from here on is for the next one: none may
    /// follow a DISCONNECT (MQTT 5.0 section 3.14.4).
    fn end(&mut self) {
        self.stage = Stage::Idle;
        self.connection.flow.disconnected();
    }

    /// The one write buffer. Whoever writes it to the socket calls [`sent`](Self::sent).
    pub fn tx(&mut self) -> &mut BytesMut {
        &mut self.connection.tx
    }

    /// Bytes were written at this time. Continues a resend that waited for the buffer to drain.
    pub fn sent(&mut self, now: Instant, batch: &mut Batch) {
        self.connection.last_sent = now;
        if self.stage == Stage::Up {
            self.connection.resend(&mut batch.completed);
        }
    }

    /// When to call [`on_time`](Self::on_time) next; `None` when no keep-alive runs.
    pub fn deadline(&self) -> Option<Instant> {
        if self.keep_alive_s == 0 || self.stage != Stage::Up {
            return None;
        }
        let keep_alive = Duration::from_secs(u64::from(self.keep_alive_s));
        match self.ping_sent {
            Some(_) => Some(self.connection.last_received + silence_limit(self.keep_alive_s)),
            None => Some(self.connection.last_received.min(self.connection.last_sent) + keep_alive),
        }
    }

    /// Pings when it is time to.
    ///
    /// # Errors
    /// [`ProtocolError::KeepAlive`] when the broker has been silent for one and a half keep-alives: close.
    pub fn on_time(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let Some(deadline) = self.deadline().filter(|deadline| now >= *deadline) else { return Ok(()) };
        let _ = deadline;
        if self.ping_sent.is_some() || now >= self.connection.last_received + silence_limit(self.keep_alive_s) {
            self.disconnect(ReasonCode::KEEP_ALIVE_TIMEOUT);
            return Err(ProtocolError::KeepAlive(self.keep_alive_s));
        }
        self.connection.tx.extend_from_slice(&[wire::PINGREQ << 4, 0]);
        self.ping_sent = Some(now);
        // Counts as sent even if the socket is blocked: one PINGREQ a keep-alive is enough in the buffer.
        self.connection.last_sent = now;
        Ok(())
    }

    /// How many received messages wait for an acknowledgement.
    pub fn unacknowledged(&self) -> usize {
        self.connection.flow.incoming.unacknowledged()
    }

    /// How many messages of ours wait for the broker.
    pub fn in_flight(&self) -> usize {
        self.connection.flow.in_flight()
    }
}
