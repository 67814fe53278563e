//! Many retained messages for a new subscription: in steps, none twice, none forgotten, and nobody waits for them.

use crate::device::{
    Device, Gateway, QOS, Raw, Server, anonymous, filter, lasting, message, retained, with, with_disk,
};
use crate::kept::live;
use std::collections::BTreeMap;
use tidegate_broker::{Limits, Settings};
use tidegate_message::{Message, QoS, Topic};
use tidegate_mqtt::{ClientConfig, Version};
use tidegate_testkit::SimDisk;

/// More than a client's socket takes.
const MANY: usize = 20_000;

fn settings() -> Settings {
    let limits = Limits { retained_messages: 100_000, retained_bytes: 1 << 30, ..Limits::default() };
    Settings { limits, ..anonymous() }
}

/// A gateway that has retained as many messages, of 2,000 bytes.
fn with_many(server: &Server, qos: QoS) -> Gateway {
    let gateway = server.gateway(&[]);
    let payload = "x".repeat(2000);
    for number in 0..MANY {
        gateway.local.publish(retained(&format!("a/{number}"), &payload, qos));
    }
    gateway
}

/// How often each topic came with which payload's first byte, until this message.
async fn until(device: &mut Device, topic: &str) -> BTreeMap<String, Vec<(u8, bool)>> {
    let mut seen = BTreeMap::<String, Vec<(u8, bool)>>::new();
    loop {
        let Message { topic: at, payload, retain, .. } = device.next().await;
        if at.as_str() == topic {
            return seen;
        }
        seen.entry(at.as_str().to_owned()).or_default().push((payload.first().copied().unwrap_or_default(), retain));
    }
}

#[test]
fn what_is_published_meanwhile_comes_behind_them_and_once() {
    for qos in QOS {
        with(settings(), move |server| async move {
            let gateway = with_many(&server, qos);
            let mut late = server.device("late").await;
            late.subscribe("a/#", qos).await;
            // One of them anew, one of them gone, one of them not retained, while the client has read nothing.
            gateway.local.publish(retained("a/19999", "new", qos));
            gateway.local.publish(retained("a/9998", "", qos));
            gateway.local.publish(message("a/9997", "live", qos));
            gateway.local.publish(retained("a/zzz", "new topic", qos));
            gateway.local.publish(message("a", "end", qos));
            let mut seen = until(&mut late, "a").await;
            assert_eq!(seen["a/1"], [(b'x', true)]);
            assert_eq!(seen["a/19999"], [(b'n', false)], "as it was when it came, and not again");
            assert_eq!(seen["a/9997"], [(b'x', true), (b'l', false)], "the older one first");
            assert_eq!(seen["a/zzz"], [(b'n', false)]);
            assert_eq!(seen.remove("a/9998"), Some(vec![(0, false)]), "it is gone, and that comes");
            assert_eq!(seen.len(), MANY);
            assert_eq!(seen.values().filter(|times| times.len() > 1).count(), 1);
            assert_eq!(server.broker.stats().dropped.total(), 0);
        });
    }
}

#[test]
fn nobody_waits_for_who_takes_many() {
    with(settings(), |server| async move {
        let _gateway = with_many(&server, QoS::AtMostOnce);
        let mut lazy = Vec::new();
        for number in 0..5 {
            let mut device = server.device(&format!("lazy-{number}")).await;
            device.subscribe("#", QoS::AtMostOnce).await;
            lazy.push(device);
        }
        let mut brisk = server.device("brisk").await;
        brisk.subscribe("b", QoS::AtLeastOnce).await;
        brisk.publish(message("b", "heard", QoS::AtLeastOnce)).await;
        assert_eq!(brisk.next().await.payload, "heard");
        // What waits for them waits where it is retained.
        assert!(server.broker.stats().queued < 5 * 1100, "{:?}", server.broker.stats());
        for device in &mut lazy {
            let mut count = 0;
            while count < MANY {
                count += usize::from(device.next().await.topic.as_str().starts_with("a/"));
            }
        }
    });
}

#[test]
fn who_does_not_want_them_any_more_is_not_sent_the_rest() {
    with(settings(), |server| async move {
        let _gateway = with_many(&server, QoS::AtMostOnce);
        let mut device = server.device("to").await;
        device.subscribe("a/#", QoS::AtMostOnce).await;
        device.unsubscribe("a/#").await;
        let before = device.received.len();
        assert!(before < MANY, "all of them were in the buffers: {before}");
        device.drain().await;
        // Asked for twice, they begin anew.
        device.subscribe("a/#", QoS::AtMostOnce).await;
        device.subscribe("a/#", QoS::AtMostOnce).await;
        device.session.publish(1, message("a", "end", QoS::AtMostOnce)).unwrap();
        device.flush().await;
        let seen = until(&mut device, "a").await;
        assert_eq!(seen.len(), MANY);
        assert_eq!(seen["a/9999"].len(), 1, "the first time it had not come so far");
    });
}

#[test]
fn a_session_without_a_disk_goes_on_where_it_was() {
    with(settings(), |server| async move {
        let gateway = with_many(&server, QoS::AtLeastOnce);
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        device.subscribe("a/#", QoS::AtLeastOnce).await;
        let mut seen = Vec::new();
        for _ in 0..1500 {
            seen.push(device.next().await.topic);
        }
        device.goodbye().await;
        gateway.local.publish(retained("a/1", "while it was away", QoS::AtLeastOnce));
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        gateway.local.publish(message("a", "end", QoS::AtLeastOnce));
        let rest = until(&mut device, "a").await;
        let mut all: Vec<&str> = seen.iter().map(Topic::as_str).chain(rest.keys().map(String::as_str)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), MANY);
    });
}

/// The answer comes when all of it is written down: killed before, the client has not heard it; killed after, it gets everything.
#[test]
fn a_session_that_is_kept_has_all_of_them_when_it_is_answered() {
    const COUNT: usize = 20_000;
    let mut disk = SimDisk::new();
    // Nothing else has anything written down meanwhile.
    let quiet = Settings { sys_interval: std::time::Duration::from_secs(3600), ..settings() };
    with_disk(&disk.clone(), quiet, |server| async move {
        let mut publisher = server.device("from").await;
        for number in 0..COUNT {
            publisher.send(retained(&format!("a/{number}"), "x", QoS::AtLeastOnce)).await;
            if number % 500 == 499 {
                for _ in 0..500 {
                    publisher.next_completed().await;
                }
            }
        }
        let small = ClientConfig { receive_maximum: 10, ..lasting("to", Version::V5) };
        let mut device = Device::connect(server.addr, small).await;
        // Most of these look at everything, and for long.
        let mut filters: Vec<_> = (0..50).map(|n| filter(&format!("a/+/{n}"), QoS::AtLeastOnce)).collect();
        filters.push(filter("a/#", QoS::AtLeastOnce));
        device.subscribe_with(&filters).await;
    });
    disk = disk.killed();
    live(&mut disk, |server| async move {
        let mut device = Device::connect(server.addr, lasting("to", Version::V5)).await;
        server.gateway(&[]).local.publish(message("a", "end", QoS::AtLeastOnce));
        let seen = until(&mut device, "a").await;
        assert_eq!(seen.len(), COUNT);
        assert!(seen.values().all(|times| times.iter().all(|(_, retain)| *retain)));
    });
}

/// A queue that drains while nothing else happens is not held up by the disk's being told of it late.
#[test]
fn what_waits_at_qos_2_is_sent_on_as_it_is_acknowledged() {
    let disk = SimDisk::new();
    with_disk(&disk.clone(), settings(), |server| async move {
        let small = ClientConfig { receive_maximum: 1, ..lasting("to", Version::V5) };
        let mut device = Device::connect(server.addr, small.clone()).await;
        device.subscribe("a/#", QoS::ExactlyOnce).await;
        let session = device.goodbye().await;
        for number in 0..200 {
            server.gateway(&[]).local.publish(message("a/b", &number.to_string(), QoS::ExactlyOnce));
        }
        let (mut device, _) = Device::resume(server.addr, small, session).await.unwrap();
        for number in 0..200 {
            while device.received.is_empty() {
                assert!(device.turn().await);
                device.flush().await;
            }
            assert_eq!(device.next().await.payload, number.to_string());
        }
    });
}

/// Its SUBACK waits until all of it is written down, and is then larger than it takes.
#[test]
fn who_does_not_take_its_late_answer_is_hung_up_on() {
    with_disk(&SimDisk::new(), settings(), |server| async move {
        let gateway = server.gateway(&[]);
        for number in 0..3_000 {
            gateway.local.publish(retained(&format!("r/{number}"), "x", QoS::AtMostOnce));
        }
        let mut raw = Raw::open(server.addr).await;
        // Session expiry 100 s, Maximum Packet Size 60.
        raw.send(b"\x10\x19\0\x04MQTT\x05\x02\0\x3C\x0A\x11\0\0\0\x64\x27\0\0\0\x3C\0\x02to").await;
        assert_eq!(raw.packet().await.unwrap()[0], 0x20);
        let mut body = b"\0\x01\0\0\x03r/#\x01".to_vec();
        for number in 0..60 {
            body.extend(format!("\0\x04n/{number:02}\0").as_bytes());
        }
        raw.send(&[&[0x82, body.len() as u8 | 0x80, (body.len() >> 7) as u8], &body[..]].concat()).await;
        let mut last = Vec::new();
        while let Some(packet) = raw.packet().await {
            assert_ne!(packet[0], 0x90);
            last = packet;
        }
        assert_eq!((last[0], last[2]), (0xE0, 0x95), "it is told, and the connection ends");
    });
}
