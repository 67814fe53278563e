//! Packets come as they went: wills, properties, subscriptions.

use super::V5;
use crate::pair::{Client, LIMITS, Server, VERSIONS, config, message, no_limits, packet};
use bytes::Bytes;
use tidegate_message::{Message, Properties, QoS, TopicFilter};
use tidegate_mqtt::{ClientConfig, Control, ReasonCode, RetainHandling, SubscribeFilter, Version, Will};

#[test]
fn wills_come_as_they_went() {
    for version in VERSIONS {
        for qos in 0..3 {
            let mut gone = message("gone", vec![0, 255], qos);
            gone.retain = qos == 1;
            gone.properties = (version == V5).then(|| Box::new(every_property()));
            let will = Will { message: gone, delay_s: if version == V5 { 5 } else { 0 } };
            let server = Server::up(LIMITS, &ClientConfig { will: Some(will.clone()), ..config(version) }, None);
            assert_eq!(server.connect.will, Some(will));
        }
    }
}

fn every_property() -> Properties {
    Properties {
        content_type: Some("application/json".into()),
        response_topic: Some("answers/1".try_into().unwrap()),
        correlation_data: Some(Bytes::from_static(&[0, 1, 255])),
        message_expiry_seconds: Some(u32::MAX),
        payload_is_utf8: true,
        user: vec![("k".into(), "v".into()), ("k".into(), "".into()), ("".into(), "w".into())],
        key: None,
    }
}

#[test]
fn every_publish_property_is_carried_both_ways() {
    let mut sent = message("a", "ä", 1);
    sent.retain = true;
    sent.properties = Some(Box::new(every_property()));
    let mut client = Client::plain(V5);
    client.session.publish(0, sent.clone()).unwrap();
    let batch = Server::plain(V5).hear(client.session.tx().split());
    assert_eq!(batch.received[0].message, sent);
    let mut server = Server::plain(V5);
    server.session.publish(0, sent.clone(), &[1, 268_435_455]).unwrap();
    assert_eq!(client.hear(server.session.tx().split()).received[0].message, sent);
    // 3.x has none, and says the rest.
    let mut client = Client::plain(Version::V311);
    client.session.publish(0, sent.clone()).unwrap();
    let batch = Server::plain(Version::V311).hear(client.session.tx().split());
    assert_eq!(batch.received[0].message, Message { properties: None, ..sent });
}

/// A mark is another user property of what has none of its name; what is too large with it goes without, 3.x has none.
#[test]
fn a_mark_is_on_every_message_that_bears_none() {
    let marked = |version| ClientConfig { mark: Some(("mark".into(), "us".into())), ..config(version) };
    let came = |version, connack: &[u8], sent: Message| {
        let mut client = Client::plain(version);
        client.connect(&marked(version), connack);
        client.said();
        client.session.publish(0, sent).unwrap();
        let batch = Server::plain(version).hear(client.session.tx().split());
        batch.received[0].message.properties.as_ref().map(|own| own.user.clone()).unwrap_or_default()
    };
    let ours = ("mark".into(), "us".into());
    assert_eq!(came(V5, no_limits(V5), message("a", "x", 1)), std::slice::from_ref(&ours));
    let others = every_property();
    let last = [others.user.clone(), vec![ours]].concat();
    assert_eq!(came(V5, no_limits(V5), Message { properties: Some(Box::new(others)), ..message("a", "x", 1) }), last);
    let theirs = vec![("mark".into(), "them us".into())];
    let own = Properties { user: theirs.clone(), ..Properties::default() };
    assert_eq!(came(V5, no_limits(V5), Message { properties: Some(Box::new(own)), ..message("a", "x", 1) }), theirs);
    // The broker takes 19 bytes: with the mark it is 20.
    assert_eq!(came(V5, &[0, 0, 5, 39, 0, 0, 0, 19], message("a", "x", 1)), []);
    assert_eq!(came(Version::V311, no_limits(Version::V311), message("a", "x", 1)), []);
}

#[test]
fn subscribe_and_unsubscribe_come_as_they_went() {
    for version in VERSIONS {
        let v5 = version == V5;
        let filters: Vec<SubscribeFilter> = (0..9)
            .map(|n| SubscribeFilter {
                no_local: v5 && n == 1,
                retain_as_published: v5 && n == 2,
                retain_handling: match n {
                    3 if v5 => RetainHandling::SendIfNew,
                    4 if v5 => RetainHandling::Never,
                    _ => RetainHandling::Send,
                },
                ..SubscribeFilter::new(
                    TopicFilter::new(format!("a/{n}/+/#")).unwrap(),
                    QoS::from_u8(n as u8 % 3).unwrap(),
                )
            })
            .collect();
        let mut client = Client::plain(version);
        let ids = client.session.subscribe(&filters);
        assert_eq!(ids.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [8, 1]);
        let mut server = Server::plain(version);
        let mut asked = Vec::new();
        for (_, control) in server.hear(client.session.tx().split()).control {
            let Control::Subscribe { packet_id, filters, subscription_id: None } = control else { panic!() };
            let codes: Vec<_> = filters.iter().map(|f| ReasonCode(f.qos as u8)).collect();
            server.session.suback(packet_id, &codes);
            asked.extend(filters);
        }
        assert_eq!(asked, filters);
        let answers = client.hear(server.session.tx().split()).control;
        let [(0, Control::Subscribed { id, codes }), (0, Control::Subscribed { .. })] = &answers[..] else { panic!() };
        assert_eq!((*id, codes[1], codes[2]), (ids[0].0, ReasonCode::GRANTED_QOS_1, ReasonCode::GRANTED_QOS_2));
        client.session.unsubscribe(&["a/1/+/#".try_into().unwrap()]);
        let asked = server.hear(client.session.tx().split()).control;
        let [(0, Control::Unsubscribe { packet_id, filters })] = &asked[..] else { panic!() };
        assert_eq!(filters, &["a/1/+/#"]);
        server.session.unsuback(*packet_id, &[ReasonCode::SUCCESS]);
        let answers = client.hear(server.session.tx().split()).control;
        assert!(matches!(answers[..], [(0, Control::Unsubscribed { .. })]));
    }
}

#[test]
fn a_subscribe_that_cannot_be_is_refused() {
    let with = |options: u8, properties: &[u8], filter: &str| {
        let body = [&[0, 1][..], properties, &[0, filter.len() as u8], filter.as_bytes(), &[options]].concat();
        packet(0x82, &body)
    };
    let good = Server::plain(V5).hear(with(0x2E, &[2, 11, 7], "a")).control;
    assert!(matches!(good[..], [(0, Control::Subscribe { subscription_id: Some(7), .. })]));
    let user = [9, 11, 7, 38, 0, 1, b'k', 0, 1, b'v'];
    assert_eq!(Server::plain(V5).hear(with(0, &user, "a")).control.len(), 1);
    for bad in [
        with(0x03, &[0], "a"),                 // QoS 3
        with(0x30, &[0], "a"),                 // retain handling 3
        with(0x40, &[0], "a"),                 // reserved
        with(0x80, &[0], "a"),                 // reserved
        with(0x04, &[0], "$share/g/a"),        // no-local on a shared one
        with(0, &[2, 11, 0], "a"),             // subscription identifier 0
        with(0, &[4, 11, 1, 11, 2], "a"),      // two of them
        with(0, &[3, 35, 0, 1], "a"),          // a property of PUBLISH
        packet(0x82, &[0, 1, 0]),              // no filter
        packet(0x82, &[0, 0, 0, 0, 1, 97, 0]), // packet id 0
        packet(0x80, &[0, 1, 0, 0, 1, 97, 0]), // flags
        packet(0x82, &[0, 1, 0, 0, 1, 97]),    // no options
        packet(0xA2, &[0, 1, 0]),              // UNSUBSCRIBE without filters
    ] {
        assert!(Server::plain(V5).try_hear(bad.clone()).is_err(), "{bad:?}");
    }
    assert!(Server::plain(Version::V311).try_hear(with(0x04, &[], "a")).is_err(), "an option of MQTT 5");
    // A filter that cannot be is the owner's to answer.
    let odd = Server::plain(Version::V311).hear(with(1, &[], "a/#/b")).control;
    assert!(matches!(&odd[..], [(0, Control::Subscribe { filters, .. })] if filters[0].filter.is_err()));
}
