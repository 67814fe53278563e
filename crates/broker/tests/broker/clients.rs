use crate::device::{Device, anonymous, config, lasting, message, with};
use tidegate_broker::ClientsWanted;
use tidegate_message::QoS;
use tidegate_mqtt::{ClientConfig, ReasonCode, Version, Will};

fn all() -> ClientsWanted {
    ClientsWanted { most: 100, ..ClientsWanted::default() }
}

#[test]
fn clients_are_listed_with_what_they_do() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[]);
        let mut away = Device::connect(server.addr, lasting("away", Version::V5)).await;
        away.subscribe("t/#", QoS::AtLeastOnce).await;
        away.subscribe("$share/g/u", QoS::AtMostOnce).await;
        away.goodbye().await;
        let mut meter = server.device_311("meter").await;
        for number in 0..3 {
            meter.publish(message("t/1", &number.to_string(), QoS::AtLeastOnce)).await;
        }
        meter.publish(message("$SYS/no", "x", QoS::AtLeastOnce)).await;
        server.until(|stats| stats.connections == 1).await;
        let (clients, count) = gateway.local.clients(&all());
        assert_eq!(count, 2);
        let [away, meter] = &clients[..] else { panic!("{clients:?}") };
        assert_eq!((&*away.client_id, away.queued, away.subscriptions), ("away", 3, 2));
        assert!(away.connection.is_none() && away.away_since_ms.is_some() && away.queued_bytes > 0);
        assert_eq!((&*meter.client_id, meter.received, meter.refused), ("meter", 4, 1));
        let connection = meter.connection.as_ref().unwrap();
        assert_eq!((connection.version, connection.transport, connection.keep_alive_s), (Version::V311, "mqtt", 60));
        assert!(connection.peer.starts_with("127.0.0.1:") && connection.since_ms > 0);
        let known = gateway.local.client("away").unwrap();
        let filters: Vec<_> = known.subscriptions.iter().map(|one| (&*one.filter, one.qos)).collect();
        assert_eq!(filters, [("$share/g/u", 0), ("t/#", 1)]);
        assert_eq!(gateway.local.client("nobody"), None);
        for (matching, connected, found) in [
            (Some("et"), None, &["meter"][..]),
            (None, Some(false), &["away"]),
            (Some("127.0.0.1"), None, &["meter"]),
            (Some("away"), Some(true), &[]),
        ] {
            let wanted = ClientsWanted { matching: matching.map(str::to_owned), connected, most: 100 };
            let (clients, _) = gateway.local.clients(&wanted);
            assert_eq!(clients.iter().map(|one| &*one.client_id).collect::<Vec<_>>(), found, "{wanted:?}");
        }
        assert_eq!(gateway.local.clients(&ClientsWanted { most: 1, ..all() }).1, 2, "how many there are is said");
    });
}

#[test]
fn an_operator_sends_a_client_away_and_its_will_comes() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("will", QoS::AtMostOnce)]);
        let will = Some(Will { message: message("will", "gone", QoS::AtMostOnce), delay_s: 0 });
        let mut device = Device::connect(server.addr, ClientConfig { will, ..lasting("d", Version::V5) }).await;
        device.subscribe("t", QoS::AtLeastOnce).await;
        assert_eq!(gateway.local.client("d").unwrap().will_topic.as_deref(), Some("will"));
        assert_eq!(gateway.local.disconnect("d", false), Some(true));
        assert_eq!(device.ended().await, Some(ReasonCode::ADMINISTRATIVE_ACTION));
        assert_eq!(gateway.next().await.message.payload, "gone");
        // Its session is there, and ends when that is asked for.
        gateway.local.publish(message("t", "waits", QoS::AtLeastOnce));
        assert_eq!(gateway.local.client("d").unwrap().client.queued, 1);
        assert_eq!(gateway.local.disconnect("d", false), Some(false));
        assert_eq!(gateway.local.disconnect("d", true), Some(true));
        assert_eq!(gateway.local.disconnect("d", true), None);
        let stats = server.broker.stats();
        assert_eq!((stats.sessions, stats.queued, stats.dropped.session_ended), (0, 0, 1));
        // A session without expiry is gone with its connection.
        let mut brief = Device::connect(server.addr, config("brief", Version::V5)).await;
        assert_eq!(gateway.local.disconnect("brief", true), Some(true));
        assert_eq!(brief.ended().await, Some(ReasonCode::ADMINISTRATIVE_ACTION));
        assert_eq!(gateway.local.client("brief"), None);
    });
}
