//! Topic aliases, out and in (MQTT 5.0 section 3.3.2.3.4).

use super::V5;
use crate::frames::Frame;
use crate::pair::{Client, LIMITS, Server, config, message, packet};
use tidegate_mqtt::{ProtocolError, ServerLimits};

#[test]
fn topic_aliases_out_save_the_topic() {
    let mut client = Client::up(&config(V5), &[0, 0, 3, 34, 0, 1]);
    for _ in 0..2 {
        client.session.publish(0, message("plant/line", "x", 1)).unwrap();
    }
    client.session.publish(0, message("plant/other", "x", 0)).unwrap();
    let topics = |frames: Vec<Frame>| {
        let of = |frame| match frame {
            Frame::Publish { topic, alias, .. } => (topic, alias),
            other => panic!("{other:?}"),
        };
        frames.into_iter().map(of).collect::<Vec<_>>()
    };
    let entry = |topic: &str| (topic.to_owned(), Some(1));
    assert_eq!(topics(client.said()), [entry("plant/line"), entry(""), entry("plant/other")]);
    // Aliases end with the connection, also for what is sent again.
    client.connect(&config(V5), &[1, 0, 3, 34, 0, 1]);
    assert_eq!(topics(client.said()), [entry("plant/line"), entry("")]);
    client.resume();
    assert!(topics(client.said()).iter().all(|(topic, alias)| topic == "plant/line" && alias.is_none()));
    // An alias that was introduced by a packet too large to send is not used.
    let mut client = Client::up(&config(V5), &[0, 0, 8, 34, 0, 1, 39, 0, 0, 0, 30]);
    client.session.publish(0, message("plant/line", vec![0; 100], 0)).unwrap_err();
    client.session.publish(0, message("plant/line", "", 0)).unwrap();
    assert_eq!(topics(client.said()), [entry("plant/line")]);
}

#[test]
fn topic_aliases_in_are_resolved_and_bad_ones_refused() {
    let alias = |topic: &str, alias: u8| {
        let body = [&[0, topic.len() as u8][..], topic.as_bytes(), &[3, 35, 0, alias], b"x"].concat();
        packet(0x30, &body)
    };
    let limits = ServerLimits { topic_alias_max: 2, ..LIMITS };
    let mut server = Server::up(limits, &config(V5), None);
    let mut bytes = alias("one", 1);
    for packet in [alias("two", 2), alias("", 1), alias("", 2), alias("three", 1), alias("", 1)] {
        bytes.extend_from_slice(&packet);
    }
    let batch = server.hear(bytes);
    let topics: Vec<_> = batch.received.iter().map(|r| r.message.topic.as_str()).collect();
    assert_eq!(topics, ["one", "two", "one", "two", "three", "three"]);
    for bad in [alias("t", 0), alias("t", 3), alias("", 3)] {
        let mut server = Server::up(limits, &config(V5), None);
        assert!(matches!(server.try_hear(bad), Err(ProtocolError::TopicAlias(_))));
        assert_eq!(server.said(), [Frame::Disconnect { reason: 0x94 }]);
    }
    // Never introduced on this connection.
    let mut server = server.resume();
    assert_eq!(server.try_hear(alias("", 1)).unwrap_err(), ProtocolError::TopicAlias(1));
    assert_eq!(Client::plain(V5).hear(alias("t", 1)).skipped[0].reason(), "bad_packet", "we offered none");
    let without = Client::plain(V5).hear(packet(0x30, &[0, 0, 0, b'x']));
    assert_eq!(without.skipped[0].reason(), "bad_topic", "neither topic nor alias");
}
