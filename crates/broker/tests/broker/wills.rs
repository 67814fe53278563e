use crate::device::{Device, Raw, anonymous, config, message, retained, with};
use std::time::Duration;
use tidegate_message::{Message, QoS};
use tidegate_mqtt::{ClientConfig, ReasonCode, Version, Will};

fn with_will(id: &str, version: Version, will: Message, delay_s: u32) -> ClientConfig {
    ClientConfig { will: Some(Will { message: will, delay_s }), ..config(id, version) }
}

#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("gone/#", QoS::AtLeastOnce)]);
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("gone/#", QoS::AtLeastOnce).await;
        for version in [Version::V31, Version::V311, Version::V5] {
            let will = || retained("gone/d", "oh", QoS::AtLeastOnce);
            let device = Device::connect(server.addr, with_will("d", version, will(), 0)).await;
            device.goodbye().await;
            let device = Device::connect(server.addr, with_will("d", version, will(), 0)).await;
            device.vanish();
            assert_eq!(watcher.next().await.payload, "oh");
            assert_eq!(gateway.next().await.ack, None);
            assert!(watcher.drain().await.is_empty());
        }
        let mut late = server.device("late").await;
        late.subscribe("gone/#", QoS::AtMostOnce).await;
        assert!(late.next().await.retain);
        // DISCONNECT with will message.
        let mut device =
            Device::connect(server.addr, with_will("d", Version::V5, message("gone/d", "04", QoS::AtMostOnce), 0))
                .await;
        device.session.disconnect(ReasonCode::DISCONNECT_WITH_WILL);
        device.flush().await;
        assert_eq!(watcher.next().await.payload, "04");
    });
}

#[test]
fn a_will_is_published_when_the_client_is_silent_or_breaks_the_protocol() {
    with(anonymous(), |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("gone/#", QoS::AtLeastOnce).await;
        let will = message("gone/silent", "silent", QoS::AtLeastOnce);
        let silent = ClientConfig { keep_alive_s: 1, ..with_will("silent", Version::V311, will, 0) };
        let _silent = Device::connect(server.addr, silent).await;
        assert_eq!(watcher.next().await.payload, "silent");
        let will = message("gone/rude", "rude", QoS::AtLeastOnce);
        let mut rude = Device::connect(server.addr, with_will("rude", Version::V5, will, 0)).await;
        rude.session.tx().extend_from_slice(&[0x00, 0]);
        rude.flush().await;
        assert_eq!(watcher.next().await.payload, "rude");
        assert_eq!(rude.ended().await, Some(ReasonCode::PROTOCOL_ERROR));
    });
}

#[test]
fn a_delayed_will_waits_and_is_dropped_when_the_client_comes_back() {
    with(anonymous(), |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("gone/#", QoS::AtLeastOnce).await;
        let delayed = |text: &str| ClientConfig {
            clean_start: false,
            session_expiry_s: 60,
            ..with_will("d", Version::V5, message("gone/d", text, QoS::AtLeastOnce), 1)
        };
        let started = std::time::Instant::now();
        Device::connect(server.addr, delayed("first")).await.vanish();
        assert_eq!(watcher.next().await.payload, "first");
        assert!(started.elapsed() >= Duration::from_secs(1));
        Device::connect(server.addr, delayed("second")).await.vanish();
        server.until(|stats| stats.connections == 1).await;
        let back = Device::connect(server.addr, delayed("third")).await;
        // This waits for the very thing that must not happen.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(watcher.drain().await.is_empty());
        back.goodbye().await;
    });
}

#[test]
fn a_delayed_will_comes_at_once_when_the_session_ends_first() {
    with(anonymous(), |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("gone/#", QoS::AtLeastOnce).await;
        let delayed = |expiry| ClientConfig {
            clean_start: true,
            session_expiry_s: expiry,
            ..with_will("d", Version::V5, message("gone/d", "x", QoS::AtLeastOnce), 1000)
        };
        // With its connection...
        Device::connect(server.addr, delayed(0)).await.vanish();
        watcher.next().await;
        // ... by expiry ...
        Device::connect(server.addr, delayed(1)).await.vanish();
        watcher.next().await;
        // ... or because the client starts anew, also while it is connected.
        Device::connect(server.addr, delayed(1000)).await.vanish();
        server.until(|stats| stats.connections == 1).await;
        let mut first = Device::connect(server.addr, delayed(1000)).await;
        watcher.next().await;
        let _second = Device::connect(server.addr, delayed(1000)).await;
        watcher.next().await;
        assert_eq!(first.ended().await, Some(ReasonCode::SESSION_TAKEN_OVER));
    });
}

#[test]
fn a_takeover_publishes_a_will_without_delay() {
    with(anonymous(), |server| async move {
        let mut watcher = server.device("watcher").await;
        watcher.subscribe("gone/#", QoS::AtLeastOnce).await;
        let keeps = ClientConfig {
            clean_start: false,
            session_expiry_s: 60,
            ..with_will("d", Version::V5, message("gone/d", "x", QoS::AtLeastOnce), 0)
        };
        let _first = Device::connect(server.addr, keeps.clone()).await;
        let _second = Device::connect(server.addr, keeps).await;
        watcher.next().await;
    });
}

#[test]
fn a_will_for_the_brokers_own_topics_is_refused() {
    with(anonymous(), |server| async move {
        let will = message("$SYS/broker", "x", QoS::AtMostOnce);
        let refused = Device::try_connect(server.addr, with_will("d", Version::V5, will, 0)).await.err();
        assert_eq!(refused, Some(ReasonCode::NOT_AUTHORIZED));
        let mut raw = Raw::connect(server.addr, 4).await;
        raw.send(&[0xC0, 0]).await;
        assert_eq!(raw.packet().await.unwrap(), [0xD0, 0]);
    });
}
