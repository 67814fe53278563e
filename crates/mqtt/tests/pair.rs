//! Two sessions joined by a wire without faults, and packets written by hand.

use crate::frames::{self, Frame};
use bytes::{Bytes, BytesMut};
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS, Topic};
use tidegate_mqtt::{
    Accept, Batch, ClientConfig, ClientSession, Connect, Control, Flow, ReasonCode, ServerLimits, ServerSession,
    Version,
};

pub(crate) const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

pub(crate) fn config(version: Version) -> ClientConfig {
    ClientConfig {
        version,
        bridge: false,
        client_id: "box".into(),
        clean_start: false,
        keep_alive_s: 0,
        username: None,
        password: None,
        will: None,
        session_expiry_s: 3600,
        receive_maximum: 100,
        max_packet_size: 10_000,
        topic_alias_max: 0,
        limits: Default::default(),
        mark: None,
    }
}

pub(crate) const LIMITS: ServerLimits =
    ServerLimits { receive_maximum: 100, max_packet_size: 10_000, topic_alias_max: 0 };

pub(crate) fn message(topic: &str, payload: impl Into<Bytes>, qos: u8) -> Message {
    Message::new(Topic::new(topic.to_owned()).unwrap(), payload, QoS::from_u8(qos).unwrap())
}

/// A packet of less than 128 bytes.
pub(crate) fn packet(first: u8, body: &[u8]) -> BytesMut {
    assert!(body.len() < 128);
    let mut bytes = BytesMut::from(&[first, body.len() as u8][..]);
    bytes.extend_from_slice(body);
    bytes
}

/// A PUBLISH to topic `t` with payload `x`; `properties` is the MQTT 5 block, or nothing.
pub(crate) fn publish(qos: u8, dup: bool, id: u16, properties: &[u8]) -> BytesMut {
    let mut body = vec![0, 1, b't'];
    if qos > 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.extend_from_slice(properties);
    body.push(b'x');
    packet(0x30 | qos << 1 | u8::from(dup) << 3, &body)
}

pub(crate) fn no_properties(version: Version) -> &'static [u8] {
    if version == Version::V5 { &[0] } else { &[] }
}

/// A client whose broker is written by hand.
pub(crate) struct Client {
    pub(crate) session: ClientSession,
    pub(crate) now: Instant,
}

impl Client {
    /// Connected, with this CONNACK body.
    pub(crate) fn up(config: &ClientConfig, connack: &[u8]) -> Self {
        let now = Instant::now();
        let mut client = Self { session: ClientSession::new(now), now };
        client.connect(config, connack);
        client
    }

    pub(crate) fn plain(version: Version) -> Self {
        Self::up(&config(version), if version == Version::V5 { &[0, 0, 0] } else { &[0, 0] })
    }

    pub(crate) fn connect(&mut self, config: &ClientConfig, connack: &[u8]) -> Batch {
        self.session.disconnected();
        self.session.connect(config, self.now);
        self.session.tx().clear();
        self.session.sent(self.now, &mut Batch::default());
        self.hear(packet(0x20, connack))
    }

    /// The broker has the session still.
    pub(crate) fn resume(&mut self) -> Batch {
        let version = self.session.version();
        self.connect(&config(version), if version == Version::V5 { &[1, 0, 0] } else { &[1, 0] })
    }

    pub(crate) fn hear(&mut self, bytes: BytesMut) -> Batch {
        self.try_hear(bytes).unwrap()
    }

    pub(crate) fn try_hear(&mut self, mut bytes: BytesMut) -> Result<Batch, tidegate_mqtt::ProtocolError> {
        let mut batch = Batch::default();
        self.session.on_bytes(&mut bytes, self.now, &mut batch)?;
        assert!(bytes.is_empty());
        Ok(batch)
    }

    pub(crate) fn said(&mut self) -> Vec<Frame> {
        let version = self.session.version();
        let mut bytes = self.session.tx().split().to_vec();
        frames::split(&mut bytes).iter().map(|bytes| frames::parse(bytes, version)).collect()
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// A server whose client is written by hand.
pub(crate) struct Server {
    pub(crate) session: ServerSession,
    pub(crate) now: Instant,
    pub(crate) connect: Connect,
}

impl Server {
    pub(crate) fn up(limits: ServerLimits, config: &ClientConfig, resumed: Option<Flow>) -> Self {
        Self::accepted(limits, config, Accept { resumed, ..Accept::default() })
    }

    pub(crate) fn accepted(limits: ServerLimits, config: &ClientConfig, accept: Accept) -> Self {
        let now = Instant::now();
        let mut client = ClientSession::new(now);
        client.connect(config, now);
        let mut session = ServerSession::new(limits, now);
        let mut batch = Batch::default();
        session.on_bytes(client.tx(), now, &mut batch).unwrap();
        let [(0, Control::Connect(connect))] = &batch.control[..] else { panic!("{batch:?}") };
        session.accept(accept, &mut batch.completed);
        let mut server = Self { session, now, connect: (**connect).clone() };
        server.split_connack();
        server
    }

    /// Drops CONNACK, keeps what a resumed session sent behind it.
    fn split_connack(&mut self) {
        let len = frames::frame_len(self.session.tx()).unwrap();
        let _ = self.session.tx().split_to(len);
    }

    pub(crate) fn plain(version: Version) -> Self {
        Self::up(LIMITS, &config(version), None)
    }

    /// The same client on a new connection.
    pub(crate) fn resume(self) -> Self {
        let version = self.session.version();
        Self::up(LIMITS, &config(version), Some(self.session.into_flow()))
    }

    pub(crate) fn hear(&mut self, bytes: BytesMut) -> Batch {
        self.try_hear(bytes).unwrap()
    }

    pub(crate) fn try_hear(&mut self, mut bytes: BytesMut) -> Result<Batch, tidegate_mqtt::ProtocolError> {
        let mut batch = Batch::default();
        self.session.on_bytes(&mut bytes, self.now, &mut batch)?;
        assert!(bytes.is_empty());
        Ok(batch)
    }

    pub(crate) fn ack(&mut self, batch: &Batch) {
        for received in &batch.received {
            self.session.ack(received.ack.unwrap(), ReasonCode::SUCCESS);
        }
    }

    pub(crate) fn said(&mut self) -> Vec<Frame> {
        let version = self.session.version();
        let mut bytes = self.session.tx().split().to_vec();
        frames::split(&mut bytes).iter().map(|bytes| frames::parse(bytes, version)).collect()
    }
}

/// CONNACK without limits.
pub(crate) fn no_limits(version: Version) -> &'static [u8] {
    if version == Version::V5 { &[0, 0, 0] } else { &[0, 0] }
}

/// `(QoS, DUP, id, payload)` of every PUBLISH.
pub(crate) fn publishes(frames: &[Frame]) -> Vec<(u8, bool, u16, String)> {
    let of = |frame: &Frame| match frame {
        Frame::Publish { qos, dup, id, payload, .. } => {
            Some((*qos, *dup, *id, String::from_utf8(payload.clone()).unwrap()))
        }
        _ => None,
    };
    frames.iter().filter_map(of).collect()
}
