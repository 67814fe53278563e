use crate::device::{Device, anonymous, config, filter, lasting, message, retained, with};
use tidegate_broker::{Limits, Settings};
use tidegate_message::QoS;
use tidegate_mqtt::{ClientConfig, Version};

#[test]
fn each_message_goes_to_one_member_in_turn() {
    with(anonymous(), |server| async move {
        let mut members = Vec::new();
        for number in 0..3 {
            let mut member = server.device(&format!("member-{number}")).await;
            member.subscribe("$share/g/t/#", QoS::AtLeastOnce).await;
            members.push(member);
        }
        let mut plain = server.device("plain").await;
        plain.subscribe("t/#", QoS::AtLeastOnce).await;
        let mut other_group = server.device_311("other").await;
        other_group.subscribe("$share/h/t/#", QoS::AtLeastOnce).await;
        let mut publisher = server.device("from").await;
        for number in 0..30 {
            publisher.publish(message("t/1", &number.to_string(), QoS::AtLeastOnce)).await;
        }
        let mut all = Vec::new();
        for member in &mut members {
            let got = member.drain().await;
            assert_eq!(got.len(), 10);
            all.extend(got.into_iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap().parse::<u32>().unwrap()));
        }
        all.sort_unstable();
        assert_eq!(all, (0..30).collect::<Vec<_>>());
        assert_eq!(plain.drain().await.len(), 30);
        assert_eq!(other_group.drain().await.len(), 30);
        // No retained messages on a shared subscription.
        publisher.publish(retained("t/1", "kept", QoS::AtLeastOnce)).await;
        let mut late = server.device("late").await;
        late.subscribe("$share/new/t/#", QoS::AtLeastOnce).await;
        assert!(late.drain().await.is_empty());
    });
}

#[test]
fn who_has_no_room_or_is_away_is_passed_over() {
    with(anonymous(), |server| async move {
        let mut full =
            Device::connect(server.addr, ClientConfig { receive_maximum: 1, ..lasting("full", Version::V5) }).await;
        full.subscribe("$share/g/t", QoS::AtLeastOnce).await;
        let mut ready = server.device("ready").await;
        ready.subscribe("$share/g/t", QoS::AtLeastOnce).await;
        let mut away = Device::connect(server.addr, lasting("away", Version::V5)).await;
        away.subscribe("$share/g/t", QoS::AtLeastOnce).await;
        let away = away.goodbye().await;
        let mut publisher = server.device("from").await;
        for number in 0..10 {
            publisher.publish(message("t", &number.to_string(), QoS::AtLeastOnce)).await;
        }
        assert_eq!(ready.drain().await.len(), 9);
        // Nobody else is left: then the absent one, when all have gone.
        ready.goodbye().await;
        full.vanish();
        server.until(|stats| stats.connections == 1).await;
        for number in 0..4 {
            publisher.publish(message("t", &number.to_string(), QoS::AtLeastOnce)).await;
        }
        let (mut away, _) = Device::resume(server.addr, lasting("away", Version::V5), away).await.unwrap();
        assert_eq!(away.drain().await.len(), 2);
    });
}

#[test]
fn leaving_is_noticed() {
    with(anonymous(), |server| async move {
        let mut one = server.device("one").await;
        let mut other = Device::connect(server.addr, config("other", Version::V5)).await;
        for member in [&mut one, &mut other] {
            let codes = member
                .subscribe_with(&[filter("$share/g/t", QoS::AtLeastOnce), filter("$share/g/t", QoS::AtLeastOnce)])
                .await;
            assert_eq!(codes.len(), 2);
        }
        one.unsubscribe("$share/g/t").await;
        let mut publisher = server.device("from").await;
        for _ in 0..4 {
            publisher.publish(message("t", "x", QoS::AtLeastOnce)).await;
        }
        assert!(one.drain().await.is_empty());
        assert_eq!(other.drain().await.len(), 4);
        other.goodbye().await;
        let code = publisher.publish(message("t", "x", QoS::AtLeastOnce)).await;
        assert_eq!(code, tidegate_mqtt::ReasonCode::NO_MATCHING_SUBSCRIBERS);
    });
}

/// As many as it takes at a time are on their way to a member that reads nothing, the rest waits for it.
async fn stuck_member(server: &crate::device::Server, qos: QoS) -> (Device, Device) {
    let mut gone =
        Device::connect(server.addr, ClientConfig { receive_maximum: 3, ..config("gone", Version::V5) }).await;
    gone.subscribe("$share/g/t", qos).await;
    gone.subscribe("alone", qos).await;
    let mut publisher = server.device("from").await;
    for number in 0..10 {
        publisher.publish(message("t", &number.to_string(), qos)).await;
        publisher.publish(message("alone", "x", qos)).await;
    }
    let mut other = server.device("other").await;
    other.subscribe("$share/g/t", qos).await;
    (gone, other)
}

#[test]
fn what_an_ended_session_had_not_acknowledged_goes_to_another_member_in_order() {
    with(anonymous(), |server| async move {
        let (gone, mut other) = stuck_member(&server, QoS::AtLeastOnce).await;
        gone.vanish();
        server.until(|stats| stats.sessions == 1).await;
        let got: Vec<_> = other.drain().await.into_iter().map(|m| (m.topic.to_string(), m.payload)).collect();
        let expected: Vec<_> = (0..10).map(|n: u32| ("t".to_owned(), n.to_string().into())).collect();
        assert_eq!(got, expected, "all of the group, and nothing that was its own");
    });
}

#[test]
fn what_it_had_been_sent_at_qos_2_goes_to_nobody_else() {
    with(anonymous(), |server| async move {
        let (gone, mut other) = stuck_member(&server, QoS::ExactlyOnce).await;
        gone.vanish();
        server.until(|stats| stats.sessions == 1).await;
        let got = other.drain().await;
        // Of three in flight two are of the group: its own came in between.
        assert_eq!(got.first().map(|m| m.payload.to_vec()), Some(b"2".to_vec()));
        assert_eq!(got.len(), 8);
    });
}

/// A message for which one member has no room is for another that has, though that one is away.
#[test]
fn what_a_full_member_has_no_room_for_goes_to_another() {
    let limits = Limits { queue_messages: 10, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let member = |id| ClientConfig { receive_maximum: 1, ..lasting(id, Version::V5) };
        let mut away = Device::connect(server.addr, member("away")).await;
        away.subscribe("$share/g/t", QoS::AtLeastOnce).await;
        away.goodbye().await;
        server.until(|stats| stats.connections == 0).await;
        let mut full = Device::connect(server.addr, member("full")).await;
        full.subscribe("$share/g/t", QoS::AtLeastOnce).await;
        let mut publisher = server.device("from").await;
        for number in 0..21 {
            publisher.publish(message("t", &number.to_string(), QoS::AtLeastOnce)).await;
        }
        assert_eq!(server.broker.stats().dropped.queue_full, 0);
        let mut away = Device::connect(server.addr, member("away")).await;
        let mut all = full.next_payloads(11).await;
        all.extend(away.next_payloads(10).await);
        all.sort_by_key(|number| number.parse::<u32>().unwrap());
        assert_eq!(all, (0..21).map(|number| number.to_string()).collect::<Vec<_>>());
    });
}
