//! A client session against whatever a broker may send.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use std::time::Instant;
use tidegate_message::{Message, QoS, Topic};
use tidegate_mqtt::{Batch, ClientConfig, ClientSession, Version};

const MAX_PACKET_BYTES: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else { return };
    let version = [Version::V31, Version::V311, Version::V5][usize::from(choice % 3)];
    let slice = usize::from(choice / 3) + 1;
    let (now, mut batch) = (Instant::now(), Batch::default());
    let mut session = ClientSession::new(now);
    session.connect(
        &ClientConfig {
            version,
            bridge: false,
            client_id: "fuzz".into(),
            clean_start: false,
            keep_alive_s: 10,
            username: None,
            password: None,
            will: None,
            session_expiry_s: 60,
            receive_maximum: 10,
            max_packet_size: MAX_PACKET_BYTES as u32,
            topic_alias_max: 4,
            limits: Default::default(),
        },
        now,
    );
    let mut rx = BytesMut::new();
    for (key, part) in bytes.chunks(slice).enumerate() {
        rx.extend_from_slice(part);
        let result = session.on_bytes(&mut rx, now, &mut batch);
        // Every other message is acknowledged, so that windows fill.
        let tokens = batch.received.drain(..).filter_map(|received| received.ack);
        tokens.step_by(2).for_each(|token| session.ack(token));
        batch.clear();
        if result.is_err() {
            assert!(!session.is_up());
            return;
        }
        assert!(rx.len() <= MAX_PACKET_BYTES + slice);
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][key % 3];
        let message = Message::new(Topic::new("a/b").expect("a topic"), "x", qos);
        let _ = session.publish(key as u64, message);
        session.tx().clear();
        session.sent(now, &mut batch);
    }
});
