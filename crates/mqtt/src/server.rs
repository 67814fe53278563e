//! The server's side of a session.

use crate::auth;
use crate::connack::{self, ConnAck};
use crate::connect;
use crate::flow::{Connection, Flow, silence_limit};
use crate::incoming::AckToken;
use crate::outgoing::{Completion, PeerLimits, PublishError, Published};
use crate::reason::ReasonCode;
use crate::subscribe;
use crate::wire::{self, Frames, ProtocolError};
use crate::{Batch, Control, Version, disconnect};
use bytes::{Bytes, BytesMut};
use std::time::{Duration, Instant};
use tidegate_message::{ByteString, Message, QoS};

/// The largest CONNECT that is read from somebody who has not been let in yet, in bytes.
const CONNECT_MAX_BYTES: usize = 16 * 1024;

/// What a server takes from each client.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Unacknowledged QoS 1 and 2 messages; told to MQTT 5 clients, and enforced for them. At least 1.
    pub receive_maximum: u16,
    /// The largest packet, in bytes.
    pub max_packet_size: u32,
    /// Topic aliases (MQTT 5).
    pub topic_alias_max: u16,
}

/// What a server answers to a client it lets in.
#[derive(Debug, Clone, Default)]
pub struct Accept {
    /// The client's earlier session, if it is resumed.
    pub resumed: Option<Flow>,
    /// The client id chosen for a client that sent none.
    pub assigned_client_id: Option<String>,
    /// The session expiry in force, if it is not what the client asked for, in seconds.
    pub session_expiry_s: Option<u32>,
    /// The keep-alive in force, if it is not what the client asked for, in seconds.
    pub server_keep_alive_s: Option<u16>,
    /// Where answers to the client may be sent, if it asks.
    pub response_info: Option<String>,
    /// The method by which the client has said who it is, and what is said last in it.
    pub auth: Option<(ByteString, Bytes)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    WaitsForConnect,
    /// CONNECT, or an AUTH behind it, was handed out; frames wait until `accept`, `refuse` or `challenge`.
    WaitsForAnswer,
    /// The client was challenged.
    WaitsForAuth,
    Up,
    Closed,
}

/// How long a client may owe the one answer for want of which no packet ids are left.
const JAM_PATIENCE: Duration = Duration::from_secs(20);

/// One connection of one client.
#[derive(Debug)]
pub struct ServerSession {
    connection: Connection,
    stage: Stage,
    limits: ServerLimits,
    keep_alive_s: u16,
    /// The client has named a method of authentication.
    has_method: bool,
    /// So many frames are taken from one call of `on_bytes`.
    frames_max: usize,
    /// Since when no packet ids are left because of one that is not answered.
    jammed_since: Option<Instant>,
    peer: PeerLimits,
}

impl ServerSession {
    /// A connection on which nothing has been read yet.
    pub fn new(limits: ServerLimits, now: Instant) -> Self {
        let mut connection = Connection::new(Flow::default(), now);
        connection.max_packet_size = CONNECT_MAX_BYTES.min(limits.max_packet_size as usize);
        connection.is_server = true;
        let (stage, frames_max, peer) = (Stage::WaitsForConnect, usize::MAX, PeerLimits::default());
        Self { connection, stage, limits, keep_alive_s: 0, has_method: false, frames_max, jammed_since: None, peer }
    }

    /// From here on so many frames are taken at a time: what is behind them stays where it is until the next call of
    /// [`on_bytes`](Self::on_bytes).
    pub fn set_frames_max(&mut self, frames: usize) {
        self.frames_max = frames.max(1);
    }

    /// Drains every complete frame out of `rx` into `batch`; stops behind CONNECT until it is answered: call again then.
    ///
    /// # Errors
    /// The client broke the protocol: write what is in [`tx`](Self::tx) and close. What `batch` holds was received
    /// before and is good.
    pub fn on_bytes(&mut self, rx: &mut BytesMut, now: Instant, batch: &mut Batch) -> Result<(), ProtocolError> {
        if !rx.is_empty() {
            // A large packet that trickles in is a sign of life too.
            self.connection.last_received = now;
        }
        let result = loop {
            match self.connection.read_past(rx, batch) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
            let limit = match self.stage {
                Stage::WaitsForConnect | Stage::WaitsForAuth => 1,
                Stage::Up => self.frames_max,
                Stage::WaitsForAnswer => break Ok(()),
                Stage::Closed => {
                    rx.clear();
                    break Ok(());
                }
            };
            let was_up = self.stage == Stage::Up;
            let mut frames = Frames::cut(rx, self.connection.max_packet_size, limit);
            let result = self.on_frames(&mut frames, batch);
            let is_large = matches!(result, Err(ProtocolError::TooLarge { .. })) && self.stage == Stage::Up;
            if is_large && self.connection.begin_skip(rx) {
                continue;
            }
            if was_up || result.is_err() || matches!(self.stage, Stage::WaitsForConnect | Stage::WaitsForAuth) {
                break result;
            }
        };
        if let Err(error) = &result {
            self.fail(error);
        }
        let is_jammed = self.connection.flow.outgoing.jam().is_some();
        self.jammed_since = is_jammed.then(|| self.jammed_since.unwrap_or(now));
        result
    }

    fn fail(&mut self, error: &ProtocolError) {
        match self.stage {
            Stage::Up => self.disconnect(error.reason()),
            // Answer in the client's own version as far as it is known.
            Stage::WaitsForConnect if matches!(error, ProtocolError::Version(_)) => {
                self.connection.version = Version::V311;
                self.refuse(error.reason());
            }
            Stage::WaitsForAuth => self.refuse(error.reason()),
            _ => {}
        }
        self.end();
    }

    /// Nothing more is said or heard on this connection. An acknowledgement from here on is for the next one: none may
    /// follow a DISCONNECT (MQTT 5.0 section 3.14.4).
    fn end(&mut self) {
        self.stage = Stage::Closed;
        self.connection.flow.disconnected();
    }

    fn on_frames(&mut self, frames: &mut Frames, batch: &mut Batch) -> Result<(), ProtocolError> {
        while let Some(frame) = frames.next()? {
            if self.stage == Stage::Closed {
                return Ok(());
            }
            if self.stage == Stage::WaitsForConnect {
                self.on_connect(frame, batch)?;
                continue;
            }
            if self.stage == Stage::WaitsForAuth {
                let control = match frame.kind() {
                    wire::AUTH => auth::decode(frame)?,
                    _ => return Err(ProtocolError::Unexpected("AUTH was due")),
                };
                self.stage = Stage::WaitsForAnswer;
                batch.control.push((batch.received.len(), control));
                continue;
            }
            let Some(frame) = self.connection.on_frame(frame, batch)? else { continue };
            let version = self.connection.version;
            let control = match frame.kind() {
                wire::PINGREQ => {
                    if !frame.has_flags(0, version) || !frame.body.is_empty() {
                        return Err(ProtocolError::Malformed("PINGREQ"));
                    }
                    self.connection.tx.extend_from_slice(&[wire::PINGRESP << 4, 0]);
                    continue;
                }
                wire::SUBSCRIBE => subscribe::decode_subscribe(frame, version)?,
                wire::UNSUBSCRIBE => subscribe::decode_unsubscribe(frame, version)?,
                wire::DISCONNECT => {
                    let goodbye = disconnect::decode(frame, version)?;
                    self.end();
                    goodbye
                }
                wire::AUTH if self.has_method => auth::decode(frame)?,
                wire::AUTH if self.connection.v5() => {
                    return Err(ProtocolError::Unexpected("AUTH without an authentication method"));
                }
                _ => return Err(ProtocolError::Unexpected("a packet that only servers send, or a second CONNECT")),
            };
            batch.control.push((batch.received.len(), control));
        }
        Ok(())
    }

    fn on_connect(&mut self, frame: wire::Frame, batch: &mut Batch) -> Result<(), ProtocolError> {
        if frame.kind() != wire::CONNECT {
            return Err(ProtocolError::Unexpected("CONNECT was due"));
        }
        let connect = connect::decode(frame)?;
        self.connection.version = connect.version;
        self.has_method = connect.auth_method.is_some();
        self.keep_alive_s = connect.keep_alive_s;
        self.peer = PeerLimits {
            receive_maximum: connect.receive_maximum,
            exactly_once_maximum: u16::MAX,
            max_packet_size: connect.max_packet_size.map_or(usize::MAX, |size| size as usize),
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_max: connect.topic_alias_max,
        };
        self.stage = Stage::WaitsForAnswer;
        batch.control.push((batch.received.len(), Control::Connect(Box::new(connect))));
        Ok(())
    }

    /// Lets the client in: writes CONNACK, then what a resumed session owes it.
    pub fn accept(&mut self, accept: Accept, completed: &mut Vec<Completion>) {
        if self.stage != Stage::WaitsForAnswer {
            return;
        }
        let v5 = self.connection.v5();
        let session_present = accept.resumed.is_some();
        let ack = ConnAck {
            session_expiry_s: accept.session_expiry_s,
            receive_maximum: self.limits.receive_maximum.max(1),
            max_packet_size: Some(self.limits.max_packet_size),
            assigned_client_id: accept.assigned_client_id,
            topic_alias_max: self.limits.topic_alias_max,
            server_keep_alive_s: accept.server_keep_alive_s,
            response_info: accept.response_info,
            auth_method: accept.auth.as_ref().map(|(method, _)| method.to_string()),
            auth_data: accept.auth.map(|(_, data)| data),
            ..ConnAck::plain(ReasonCode::SUCCESS, session_present)
        };
        connack::encode(&mut self.connection.tx, self.connection.version, &ack);
        if let Some(seconds) = accept.server_keep_alive_s.filter(|_| v5) {
            self.keep_alive_s = seconds;
        }
        self.connection.flow = accept.resumed.unwrap_or_default();
        self.connection.flow.disconnected();
        self.connection.max_packet_size = self.limits.max_packet_size as usize;
        // MQTT 3.x has no way to tell a client our maximum, and it would send the same again at each connection.
        self.connection.skips_large = !v5;
        self.connection.receive_maximum = usize::from(if v5 { self.limits.receive_maximum.max(1) } else { u16::MAX });
        let aliases_in = if v5 { self.limits.topic_alias_max } else { 0 };
        self.stage = Stage::Up;
        self.connection.established(self.peer.clone(), aliases_in, session_present, completed);
    }

    /// Asks the client for more, by the method that it has named.
    pub fn challenge(&mut self, method: &str, data: &[u8]) {
        if self.stage == Stage::WaitsForAnswer {
            self.stage = Stage::WaitsForAuth;
        }
        self.answer(|tx, _| auth::encode(tx, ReasonCode::CONTINUE_AUTHENTICATION, method, data));
    }

    /// Tells a client that has been let in that it has said again who it is.
    pub fn authenticated_again(&mut self, method: &str, data: &[u8]) {
        self.answer(|tx, _| auth::encode(tx, ReasonCode::SUCCESS, method, data));
    }

    /// Turns the client away. Write out [`tx`](Self::tx), then close.
    pub fn refuse(&mut self, reason: ReasonCode) {
        self.turn_away(ConnAck::plain(reason, false));
    }

    /// Turns the client away to another server (MQTT 5.0 section 4.13).
    pub fn refuse_for(&mut self, reason: ReasonCode, server_reference: &str) {
        let server_reference = Some(server_reference.to_owned());
        self.turn_away(ConnAck { server_reference, ..ConnAck::plain(reason, false) });
    }

    fn turn_away(&mut self, ack: ConnAck) {
        let mut packet = BytesMut::new();
        connack::encode(&mut packet, self.connection.version, &ack);
        if !self.fits(packet.len()) {
            packet.clear();
            connack::encode(&mut packet, self.connection.version, &ConnAck::plain(ack.reason, false));
        }
        if self.fits(packet.len()) {
            self.connection.tx.extend_from_slice(&packet);
        }
        self.stage = Stage::Closed;
    }

    /// Whether the client takes a packet of so many bytes (MQTT 5.0 section 3.1.2.11.4).
    pub fn fits(&self, bytes: usize) -> bool {
        bytes <= self.peer.max_packet_size
    }

    /// Ends the connection; MQTT 5 clients are told why. Write out [`tx`](Self::tx), then close.
    pub fn disconnect(&mut self, reason: ReasonCode) {
        if self.stage == Stage::Up && self.connection.v5() {
            disconnect::encode(&mut self.connection.tx, self.connection.version, reason);
        }
        self.end();
    }

    /// As [`disconnect`](Self::disconnect), with another server that the client is to use (MQTT 5.0 section 4.13).
    pub fn disconnect_for(&mut self, reason: ReasonCode, server_reference: &str) {
        let (before, tx) = (self.connection.tx.len(), &mut self.connection.tx);
        if self.stage == Stage::Up && self.connection.version == Version::V5 {
            disconnect::encode_elsewhere(tx, reason, server_reference);
            if tx.len() - before > self.peer.max_packet_size {
                tx.truncate(before);
                return self.disconnect(reason);
            }
        }
        self.end();
    }

    /// True between `accept` and the end.
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// True when nothing more will be read: write out [`tx`](Self::tx), then close.
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// The client's version, once it has said so.
    pub const fn version(&self) -> Version {
        self.connection.version
    }

    /// Answers a SUBSCRIBE: one code a filter, in order. An answer that is larger than the client takes ends the connection.
    pub fn suback(&mut self, packet_id: u16, codes: &[ReasonCode]) {
        self.answer(|tx, version| subscribe::encode_suback(tx, version, packet_id, codes));
    }

    /// Answers an UNSUBSCRIBE: one code a filter, in order. As above.
    pub fn unsuback(&mut self, packet_id: u16, codes: &[ReasonCode]) {
        self.answer(|tx, version| subscribe::encode_unsuback(tx, version, packet_id, codes));
    }

    fn answer(&mut self, encode: impl FnOnce(&mut BytesMut, Version)) {
        let before = self.connection.tx.len();
        encode(&mut self.connection.tx, self.connection.version);
        if self.connection.tx.len() - before > self.peer.max_packet_size {
            self.connection.tx.truncate(before);
            self.disconnect(ReasonCode::PACKET_TOO_LARGE);
        }
    }

    /// Whether a QoS 1 or 2 message would be taken now.
    pub fn has_room(&self) -> bool {
        self.is_up() && self.connection.flow.outgoing.has_room(&self.connection.peer)
    }

    /// Encodes a message into [`tx`](Self::tx), with the identifiers of the subscriptions it matched.
    ///
    /// # Errors
    /// [`PublishError::Full`] without room or connection, [`PublishError::TooLarge`] above the client's maximum.
    pub fn publish(&mut self, key: u64, message: Message, subscription_ids: &[u32]) -> Result<Published, PublishError> {
        if !self.is_up() {
            return Err(PublishError::Full);
        }
        self.connection.publish(Some(key), message, subscription_ids)
    }

    /// The serial of the message that was [published](Self::publish) last at QoS 1 or 2: the packet id is the serial modulo 65,535, plus 1.
    pub fn last_serial(&self) -> u64 {
        self.connection.flow.outgoing.last_serial()
    }

    /// Acknowledges a received message; the reason is told to MQTT 5 clients.
    pub fn ack(&mut self, token: AckToken, reason: ReasonCode) {
        self.connection.ack(token, reason);
    }

    /// The one write buffer. Whoever writes it to the socket calls [`sent`](Self::sent).
    pub fn tx(&mut self) -> &mut BytesMut {
        &mut self.connection.tx
    }

    /// Bytes were written. Continues a resend that waited for the buffer to drain.
    pub fn sent(&mut self, completed: &mut Vec<Completion>) {
        if self.is_up() {
            self.connection.resend(completed);
        }
    }

    /// When the client must have been heard of; `None` when it asked for no keep-alive, and owes no answer.
    pub fn deadline(&self) -> Option<Instant> {
        self.heard_by().into_iter().chain(self.answered_by()).min()
    }

    fn heard_by(&self) -> Option<Instant> {
        let runs = self.is_up() && self.keep_alive_s > 0;
        runs.then(|| self.connection.last_received + silence_limit(self.keep_alive_s))
    }

    fn answered_by(&self) -> Option<Instant> {
        self.jammed_since.filter(|_| self.is_up()).map(|since| since + JAM_PATIENCE)
    }

    /// Checks the keep-alive, and what keeps every packet id from being used again.
    ///
    /// # Errors
    /// [`ProtocolError::KeepAlive`] when the client has been silent for one and a half keep-alives, [`ProtocolError::Unanswered`] when
    /// it does not answer one message, and nothing more can be sent to it for that: close.
    pub fn on_time(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        let unanswered = self.connection.flow.outgoing.jam().filter(|_| is_over(self.answered_by()));
        let error = match unanswered {
            Some(packet_id) => ProtocolError::Unanswered(packet_id),
            None if is_over(self.heard_by()) => ProtocolError::KeepAlive(self.keep_alive_s),
            None => return Ok(()),
        };
        self.disconnect(error.reason());
        Err(error)
    }

    /// The messages in flight, for the client's next connection.
    pub fn into_flow(mut self) -> Flow {
        self.connection.flow.disconnected();
        self.connection.flow
    }

    /// How many messages to the client are unfinished.
    pub fn in_flight(&self) -> usize {
        self.connection.flow.in_flight()
    }
}
