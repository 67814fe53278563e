//! CONNECT on the wire, for all versions and mosquitto's bridge bit (MQTT 3.1 section 3.1, 3.1.1 and 5.0 section 3.1).

use crate::Version;
use crate::publish::{message_properties_len, put_message_properties, take_topic, take_will_properties};
use crate::wire::{
    self, Frame, ProtocolError, Value, property, put_binary, put_varint, take_binary, take_properties, take_string,
    take_u8, take_u16, varint_len,
};
use bytes::{BufMut, Bytes, BytesMut};
use tidegate_message::{ByteString, Message, QoS};

/// Set in the protocol level by a bridge: mosquitto then echoes nothing back and keeps the retain flag.
const BRIDGE_BIT: u8 = 0x80;

/// What a broker publishes for a client that is gone (MQTT 5.0 section 3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// The message, with its own QoS and retain flag.
    pub message: Message,
    /// How long to wait for the client to come back, in seconds; 0 before MQTT 5.
    pub delay_s: u32,
}

/// How a client introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Protocol version.
    pub version: Version,
    /// The client calls itself a bridge (protocol level with bit 7 set).
    pub bridge: bool,
    /// Empty: the server chooses one.
    pub client_id: ByteString,
    /// Clean session in 3.x, clean start in 5.
    pub clean_start: bool,
    /// In seconds; 0 is off.
    pub keep_alive_s: u16,
    /// User name.
    pub username: Option<ByteString>,
    /// Any bytes. Not shown by `Debug` of anything that holds a whole `Connect`: see [`Connect::without_secrets`].
    pub password: Option<Bytes>,
    /// Will message.
    pub will: Option<Will>,
    /// How long the session outlives the connection, in seconds; `u32::MAX` for ever. For 3.x: 0 if clean, else for ever.
    pub session_expiry_s: u32,
    /// How many unacknowledged QoS 1 and 2 messages the client takes at a time.
    pub receive_maximum: u16,
    /// The largest packet the client takes, in bytes; `None` without limit.
    pub max_packet_size: Option<u32>,
    /// How many topic aliases the client takes.
    pub topic_alias_max: u16,
    /// Whether it asks where answers to it may be sent (MQTT 5.0 section 3.1.2.11.6).
    pub wants_response_info: bool,
    /// Enhanced authentication the client asks for.
    pub auth_method: Option<ByteString>,
    /// What it says first in it. Not shown by `Debug` of anything that holds a whole `Connect`: as above.
    pub auth_data: Option<Bytes>,
}

impl Connect {
    /// A copy fit for a log.
    pub fn without_secrets(&self) -> Self {
        let hidden = |secret: &Option<Bytes>| secret.as_ref().map(|_| Bytes::from_static(b"***"));
        Self { password: hidden(&self.password), auth_data: hidden(&self.auth_data), ..self.clone() }
    }
}

const CLEAN: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

pub(crate) fn encode(out: &mut BytesMut, connect: &Connect) {
    let (name, level) = match connect.version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    let mut flags = u8::from(connect.clean_start) * CLEAN;
    if let Some(will) = &connect.will {
        flags |= WILL | ((will.message.qos as u8) << 3) | (u8::from(will.message.retain) * WILL_RETAIN);
    }
    flags |= (u8::from(connect.username.is_some()) * USER_NAME) | (u8::from(connect.password.is_some()) * PASSWORD);
    let mut body = BytesMut::with_capacity(128);
    put_binary(&mut body, name.as_bytes());
    body.put_u8(level | (u8::from(connect.bridge) * BRIDGE_BIT));
    body.put_u8(flags);
    body.put_u16(connect.keep_alive_s);
    let v5 = connect.version == Version::V5;
    if v5 {
        let mut properties = BytesMut::with_capacity(32);
        if connect.session_expiry_s > 0 {
            properties.put_u8(property::SESSION_EXPIRY);
            properties.put_u32(connect.session_expiry_s);
        }
        if connect.receive_maximum < u16::MAX {
            properties.put_u8(property::RECEIVE_MAXIMUM);
            properties.put_u16(connect.receive_maximum.max(1));
        }
        if let Some(size) = connect.max_packet_size {
            properties.put_u8(property::MAXIMUM_PACKET_SIZE);
            properties.put_u32(size.max(1));
        }
        if connect.topic_alias_max > 0 {
            properties.put_u8(property::TOPIC_ALIAS_MAXIMUM);
            properties.put_u16(connect.topic_alias_max);
        }
        if connect.wants_response_info {
            properties.extend_from_slice(&[property::REQUEST_RESPONSE_INFO, 1]);
        }
        if let Some(method) = &connect.auth_method {
            properties.put_u8(property::AUTH_METHOD);
            put_binary(&mut properties, method.as_bytes());
        }
        if let Some(data) = &connect.auth_data {
            properties.put_u8(property::AUTH_DATA);
            put_binary(&mut properties, data);
        }
        put_varint(&mut body, properties.len());
        body.extend_from_slice(&properties);
    }
    put_binary(&mut body, connect.client_id.as_bytes());
    if let Some(will) = &connect.will {
        if v5 {
            let own = will.message.properties.as_deref();
            let len = own.map_or(0, message_properties_len) + if will.delay_s > 0 { 5 } else { 0 };
            put_varint(&mut body, len);
            if will.delay_s > 0 {
                body.put_u8(property::WILL_DELAY);
                body.put_u32(will.delay_s);
            }
            if let Some(own) = own {
                put_message_properties(&mut body, own);
            }
        }
        put_binary(&mut body, will.message.topic.as_str().as_bytes());
        put_binary(&mut body, &will.message.payload);
    }
    if let Some(name) = &connect.username {
        put_binary(&mut body, name.as_bytes());
    }
    if let Some(password) = &connect.password {
        put_binary(&mut body, password);
    }
    out.reserve(1 + varint_len(body.len()) + body.len());
    out.put_u8(wire::CONNECT << 4);
    put_varint(out, body.len());
    out.extend_from_slice(&body);
}

pub(crate) fn decode(frame: Frame) -> Result<Connect, ProtocolError> {
    if frame.first & 0x0F != 0 {
        return Err(ProtocolError::Malformed("flags of CONNECT"));
    }
    let mut body = frame.body;
    let name = take_string(&mut body)?;
    let level = take_u8(&mut body)?;
    let version = match (&*name, level & !BRIDGE_BIT) {
        ("MQIsdp", 3) => Version::V31,
        ("MQTT", 4) => Version::V311,
        ("MQTT", 5) => Version::V5,
        ("MQTT" | "MQIsdp", _) => return Err(ProtocolError::Version(level)),
        _ => return Err(ProtocolError::Malformed("protocol name")),
    };
    let v5 = version == Version::V5;
    let flags = take_u8(&mut body)?;
    if flags & 1 != 0 {
        return Err(ProtocolError::Malformed("reserved flag of CONNECT"));
    }
    let clean_start = flags & CLEAN != 0;
    let mut connect = Connect {
        version,
        bridge: level & BRIDGE_BIT != 0,
        client_id: ByteString::new(),
        clean_start,
        keep_alive_s: take_u16(&mut body)?,
        username: None,
        password: None,
        will: None,
        session_expiry_s: if v5 || clean_start { 0 } else { u32::MAX },
        receive_maximum: u16::MAX,
        max_packet_size: None,
        topic_alias_max: 0,
        wants_response_info: false,
        auth_method: None,
        auth_data: None,
    };
    if v5 {
        take_properties(&mut body, |id, value| {
            match (id, value) {
                (property::AUTH_DATA, Value::Binary(data)) => connect.auth_data = Some(data),
                (property::SESSION_EXPIRY, Value::Four(seconds)) => connect.session_expiry_s = seconds,
                (property::RECEIVE_MAXIMUM, Value::Two(count @ 1..)) => connect.receive_maximum = count,
                (property::MAXIMUM_PACKET_SIZE, Value::Four(size @ 1..)) => connect.max_packet_size = Some(size),
                (property::TOPIC_ALIAS_MAXIMUM, Value::Two(count)) => connect.topic_alias_max = count,
                (property::AUTH_METHOD, Value::Text(method)) => connect.auth_method = Some(method),
                (property::REQUEST_RESPONSE_INFO, Value::Byte(flag @ 0..=1)) => connect.wants_response_info = flag == 1,
                (property::REQUEST_PROBLEM_INFO, Value::Byte(0..=1)) | (property::USER, _) => {}
                _ => return Err(ProtocolError::Unexpected("property of CONNECT")),
            }
            Ok(())
        })?;
        if connect.auth_data.is_some() && connect.auth_method.is_none() {
            return Err(ProtocolError::Unexpected("authentication data without a method"));
        }
    }
    connect.client_id = take_string(&mut body)?;
    if flags & WILL != 0 {
        let qos = QoS::from_u8((flags >> 3) & 3).ok_or(ProtocolError::Malformed("QoS of the will"))?;
        let (properties, delay_s) = if v5 { take_will_properties(&mut body)? } else { (None, 0) };
        let topic = take_topic(&mut body)?;
        let payload = take_binary(&mut body)?;
        let message = Message { topic, payload, qos, retain: flags & WILL_RETAIN != 0, properties };
        connect.will = Some(Will { message, delay_s });
    } else if flags & 0x38 != 0 {
        return Err(ProtocolError::Malformed("will flags without a will"));
    }
    if flags & USER_NAME != 0 {
        connect.username = Some(take_string(&mut body)?);
    } else if flags & PASSWORD != 0 && !v5 {
        return Err(ProtocolError::Malformed("password without user name"));
    }
    if flags & PASSWORD != 0 {
        connect.password = Some(take_binary(&mut body)?);
    }
    if !body.is_empty() {
        return Err(ProtocolError::Malformed("bytes behind CONNECT"));
    }
    Ok(connect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frames;
    use proptest::prelude::*;
    use tidegate_message::Topic;

    fn connect(version: Version) -> Connect {
        Connect {
            version,
            bridge: false,
            client_id: "box".into(),
            clean_start: false,
            keep_alive_s: 30,
            username: Some("user".into()),
            password: Some(Bytes::from_static(&[0, 255, 1])),
            will: Some(Will {
                message: Message { retain: true, ..Message::new(Topic::new("gone").unwrap(), "x", QoS::AtLeastOnce) },
                delay_s: if version == Version::V5 { 7 } else { 0 },
            }),
            session_expiry_s: if version == Version::V5 { 60 } else { u32::MAX },
            receive_maximum: if version == Version::V5 { 10 } else { u16::MAX },
            max_packet_size: (version == Version::V5).then_some(1000),
            topic_alias_max: if version == Version::V5 { 3 } else { 0 },
            wants_response_info: version == Version::V5,
            auth_method: (version == Version::V5).then(|| "SCRAM-SHA-256".into()),
            auth_data: (version == Version::V5).then(|| Bytes::from_static(b"n,,n=user,r=abc")),
        }
    }

    #[test]
    fn every_version_comes_back_as_it_went() {
        for version in [Version::V31, Version::V311, Version::V5] {
            for bridge in [false, true] {
                let sent = Connect { bridge, ..connect(version) };
                let mut bytes = BytesMut::new();
                encode(&mut bytes, &sent);
                assert_eq!(decode(Frames::cut(&mut bytes, 1000, 1).next().unwrap().unwrap()).unwrap(), sent);
            }
        }
    }

    #[test]
    fn the_bridge_bit_is_level_0x84() {
        let mut bytes = BytesMut::new();
        encode(&mut bytes, &Connect { bridge: true, ..connect(Version::V311) });
        assert_eq!(&bytes[2..9], b"\0\x04MQTT\x84");
    }

    #[test]
    fn rumqttc_reads_what_we_write() {
        let mut bytes = BytesMut::new();
        encode(&mut bytes, &Connect { password: Some("pass".into()), ..connect(Version::V5) });
        use rumqttc::v5::mqttbytes::v5::Packet;
        let Packet::Connect(theirs, will, login) = Packet::read(&mut bytes, None).unwrap() else { panic!() };
        assert_eq!((&*theirs.client_id, theirs.keep_alive, theirs.clean_start), ("box", 30, false));
        let properties = theirs.properties.unwrap();
        assert_eq!((properties.receive_maximum, properties.request_response_info), (Some(10), Some(1)));
        assert_eq!(will.unwrap().properties.unwrap().delay_interval, Some(7));
        assert_eq!(login.unwrap().password, "pass");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(tail in prop::collection::vec(any::<u8>(), 0..100), level in 3u8..6) {
            let mut body = BytesMut::new();
            put_binary(&mut body, if level == 3 { b"MQIsdp" } else { b"MQTT" });
            body.put_u8(level);
            body.extend_from_slice(&tail);
            let _ = decode(Frame { first: 0x10, body: body.freeze() });
        }
    }
}
