use crate::device::{Device, PATIENCE, Raw, anonymous, config, message, with};
use std::time::{Duration, Instant};
use tidegate_broker::{Limits, Settings};
use tidegate_message::QoS;
use tidegate_mqtt::{ReasonCode, Version};
use tokio::io::AsyncWriteExt;

#[test]
fn bytes_that_are_no_mqtt_close_the_connection_and_nothing_else() {
    with(anonymous(), |server| async move {
        let mut well = server.device("well").await;
        let before_connect: [&[u8]; 8] = [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x00\x00",
            b"\x10\xFF\xFF\xFF\xFF\xFF",
            b"\x10\xFF\xFF\xFF\x7F",                       // a CONNECT of 256 MB
            b"\x30\x03\0\x01a",                            // PUBLISH first
            b"\x10\x0C\0\x04MQTT\x04\x03\0\x3C\0\0",       // reserved flag
            b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01\xFF", // not UTF-8
            b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03",   // somebody speaks TLS
        ];
        for bytes in before_connect {
            let mut raw = Raw::open(server.addr).await;
            raw.send(bytes).await;
            assert!(raw.is_closed().await, "{bytes:?}");
        }
        let after_connect: [&[u8]; 9] = [
            b"\x10\x0C\0\x04MQTT\x04\x02\0\x3C\0\0", // CONNECT again
            b"\x36\x05\0\x01a\0\x01",                // QoS 3
            b"\x32\x05\0\x01a\0\0",                  // packet id 0
            b"\x30\x03\0\x01#",                      // a wildcard in a topic
            b"\x82\x02\0\x01",                       // SUBSCRIBE without filters
            b"\x80\x06\0\x01\0\x01a\0",              // flags of SUBSCRIBE
            b"\x20\x02\0\0",                         // CONNACK
            b"\xF0\0",                               // AUTH
            b"\x30\x80\x80\x80\x80\x01",             // remaining length
        ];
        for (level, bytes) in [4, 5].into_iter().flat_map(|level| after_connect.map(|bytes| (level, bytes))) {
            let mut raw = Raw::connect(server.addr, level).await;
            raw.send(bytes).await;
            assert!(raw.is_closed().await, "{level} {bytes:?}");
        }
        well.subscribe("t", QoS::AtLeastOnce).await;
        well.publish(message("t", "x", QoS::AtLeastOnce)).await;
        well.next().await;
        server.until(|stats| stats.connections == 1 && stats.sessions == 1).await;
        assert_eq!(server.broker.stats().protocol_errors, 26);
    });
}

#[test]
fn an_unknown_version_and_enhanced_authentication_are_answered() {
    with(anonymous(), |server| async move {
        let mut raw = Raw::open(server.addr).await;
        raw.send(b"\x10\x0C\0\x04MQTT\x09\x02\0\x3C\0\0").await;
        assert_eq!(raw.packet().await.unwrap(), [0x20, 2, 0, 1]);
        let mut raw = Raw::open(server.addr).await;
        raw.send(b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\x04\x15\0\x01x\0\0").await;
        assert_eq!(raw.packet().await.unwrap()[3], ReasonCode::BAD_AUTHENTICATION_METHOD.0);
        assert!(raw.is_closed().await);
    });
}

#[test]
fn a_socket_that_never_says_connect_is_closed() {
    with(Settings { connect_timeout: Duration::from_millis(200), ..anonymous() }, |server| async move {
        let started = Instant::now();
        let mut raw = Raw::open(server.addr).await;
        raw.send(b"\x10").await;
        assert!(raw.is_closed().await);
        let mut ws = Raw::open(server.ws).await;
        ws.send(b"GET / HTTP/1.1\r\n").await;
        assert!(ws.is_closed().await);
        assert!(started.elapsed() < PATIENCE);
    });
}

#[test]
fn waiting_sockets_are_bounded() {
    let limits = Limits { connections: 1, ..Limits::default() };
    with(Settings { limits, ..anonymous() }, |server| async move {
        let mut sockets = Vec::new();
        for _ in 0..257 {
            sockets.push(Raw::open(server.addr).await);
        }
        // One more is closed without a word, one that goes makes room.
        let mut late = Raw::open(server.addr).await;
        assert_eq!(late.packet().await, None);
        drop(sockets);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut raw = Raw::open(server.addr).await;
            raw.send(b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a").await;
            if raw.packet().await == Some(vec![0x20, 2, 0, 0]) {
                break;
            }
            assert!(Instant::now() < deadline);
        }
    });
}

/// It asks for answers and never reads them: it is not read from any more, and everybody else is.
#[test]
fn a_client_that_does_not_read_its_answers_fills_no_memory() {
    with(anonymous(), |server| async move {
        let mut well = server.device("well").await;
        let mut rude = Raw::connect(server.addr, 4).await;
        let pings = [0xC0, 0].repeat(32 * 1024);
        let mut sent = 0;
        // The kernel's buffers take some; then nothing goes any more.
        while tokio::time::timeout(Duration::from_millis(300), rude.send(&pings)).await.is_ok() {
            sent += pings.len();
            assert!(sent < 200 << 20, "everything was taken");
        }
        well.subscribe("t", QoS::AtLeastOnce).await;
        well.publish(message("t", "x", QoS::AtLeastOnce)).await;
        well.next().await;
    });
}

#[test]
fn packets_cut_anywhere_are_put_together() {
    with(anonymous(), |server| async move {
        let mut raw = Raw::open(server.addr).await;
        raw.stream.set_nodelay(true).unwrap();
        let session = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a\x82\x06\0\x01\0\x01t\x01\x32\x07\0\x01t\0\x09hi\xC0\0";
        for byte in session {
            raw.send(&[*byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.packet().await.unwrap(), [0x20, 2, 0, 0]);
        assert_eq!(raw.packet().await.unwrap(), [0x90, 3, 0, 1, 1]);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            kinds.push(raw.packet().await.unwrap()[0] >> 4);
        }
        kinds.sort_unstable();
        assert_eq!(kinds, [3, 4, 13], "PUBLISH, PUBACK, PINGRESP");
        // And everything at once, CONNECT included.
        let mut raw = Raw::open(server.addr).await;
        raw.send(session).await;
        for _ in 0..5 {
            raw.packet().await.unwrap();
        }
    });
}

#[test]
fn a_storm_of_connections_leaves_nothing_behind() {
    with(anonymous(), |server| async move {
        for round in 0..200 {
            let version = if round % 2 == 0 { Version::V5 } else { Version::V311 };
            let mut device = Device::connect(server.addr, config(&format!("d{}", round % 7), version)).await;
            device.subscribe("t/#", QoS::AtLeastOnce).await;
            device.send(message("t/1", "x", QoS::AtLeastOnce)).await;
            if round % 3 == 0 { drop(device.goodbye().await) } else { drop(device.vanish()) }
        }
        server.until(|stats| stats.sessions == 0).await;
        let stats = server.broker.stats();
        assert_eq!((stats.connections, stats.subscriptions, stats.queued, stats.queued_bytes), (0, 0, 0, 0));
    });
}

/// Not a parser test: those are in `tidegate-mqtt`. Here the rest of the house must stand.
#[test]
fn garbage_behind_a_good_beginning_never_brings_the_broker_down() {
    with(anonymous(), |server| async move {
        let _gateway = server.gateway(&[("#", QoS::ExactlyOnce)]);
        let mut seed = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..300 {
            let mut raw = Raw::connect(server.addr, if round % 2 == 0 { 4 } else { 5 }).await;
            let mut bytes: Vec<u8> = Vec::new();
            for _ in 0..20 {
                let first = [0x30, 0x31, 0x32, 0x34, 0x3A, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0]
                    [random() as usize % 13];
                let body: Vec<u8> =
                    (0..random() % 12).map(|at| if at % 2 == 0 { 0 } else { random() as u8 % 64 }).collect();
                bytes.extend([first, body.len() as u8]);
                bytes.extend(body);
            }
            raw.send(&bytes).await;
            let _ = raw.stream.shutdown().await;
            while raw.packet().await.is_some() {}
        }
        server.until(|stats| stats.sessions == 0).await;
        let stats = server.broker.stats();
        assert_eq!((stats.connections, stats.subscriptions, stats.queued), (0, 0, 0));
        server.device("well").await.subscribe("t", QoS::AtLeastOnce).await;
    });
}
