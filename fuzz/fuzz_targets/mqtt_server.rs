//! A server session against whatever a device may send.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use std::time::Instant;
use tidegate_message::{Message, QoS, Topic};
use tidegate_mqtt::{Accept, Batch, Control, ReasonCode, ServerLimits, ServerSession};

const MAX_PACKET_BYTES: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else { return };
    let slice = usize::from(*choice) + 1;
    let now = Instant::now();
    let limits = ServerLimits { receive_maximum: 10, max_packet_size: MAX_PACKET_BYTES as u32, topic_alias_max: 4 };
    let mut session = ServerSession::new(limits, now);
    let mut rx = BytesMut::new();
    for (key, part) in bytes.chunks(slice).enumerate() {
        rx.extend_from_slice(part);
        if !read(&mut session, &mut rx, now) {
            assert!(session.is_closed());
            return;
        }
        assert!(rx.len() <= MAX_PACKET_BYTES + slice);
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][key % 3];
        let message = Message::new(Topic::new("a/b").expect("a topic"), "x", qos);
        let _ = session.publish(key as u64, message, &[7]);
        session.tx().clear();
        session.sent(&mut Vec::new());
    }
});

/// Reads and answers as a broker would; false at the end of the connection.
fn read(session: &mut ServerSession, rx: &mut BytesMut, now: Instant) -> bool {
    loop {
        let mut batch = Batch::default();
        let result = session.on_bytes(rx, now, &mut batch);
        let tokens = batch.received.drain(..).filter_map(|received| received.ack);
        tokens.step_by(2).for_each(|token| session.ack(token, ReasonCode::SUCCESS));
        let mut let_in = false;
        for (_, control) in batch.control {
            match control {
                Control::Connect(_) => {
                    session.accept(Accept::default(), &mut batch.completed);
                    let_in = true;
                }
                Control::Subscribe { packet_id, filters, .. } => {
                    session.suback(packet_id, &vec![ReasonCode::SUCCESS; filters.len()]);
                }
                Control::Unsubscribe { packet_id, filters } => {
                    session.unsuback(packet_id, &vec![ReasonCode::SUCCESS; filters.len()]);
                }
                _ => {}
            }
        }
        if result.is_err() || !let_in {
            return result.is_ok();
        }
    }
}
