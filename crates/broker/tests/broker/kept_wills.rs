//! Wills of clients that were connected when the process ended: see `kept.rs`.

use crate::device::{Device, config, lasting, message, retained};
use crate::kept::live;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::{ClientConfig, ReasonCode, Version, Will};
use tidegate_testkit::SimDisk;

fn willing(id: &str, keep_alive_s: u16, session_expiry_s: u32, delay_s: u32) -> ClientConfig {
    let will = Will { message: message("will", id, QoS::AtLeastOnce), delay_s };
    ClientConfig { will: Some(will), keep_alive_s, session_expiry_s, clean_start: false, ..config(id, Version::V5) }
}

#[test]
fn the_will_of_a_client_that_does_not_come_back_is_published() {
    let mut disk = SimDisk::new();
    live(&mut disk, |server| async move {
        let mut to = Device::connect(server.addr, lasting("to", Version::V5)).await;
        to.subscribe("will", QoS::AtLeastOnce).await;
        to.goodbye().await;
        // One whose session ends with its connection, one whose session does not, and the same of those that come back.
        let mut connected = Vec::new();
        for id in ["short", "short-back"] {
            connected.push(Device::connect(server.addr, willing(id, 1, 0, 0)).await);
        }
        for id in ["long", "long-back"] {
            connected.push(Device::connect(server.addr, willing(id, 1, 1000, 0)).await);
        }
        connected.push(Device::connect(server.addr, willing("later", 1, 1000, 900)).await);
        Device::connect(server.addr, willing("said-goodbye", 1, 0, 0)).await.goodbye().await;
        server.device("from").await.publish(retained("next", "x", QoS::AtLeastOnce)).await;
    });
    live(&mut disk, |server| async move {
        let (short, connected) = Device::try_connect(server.addr, willing("short-back", 60, 0, 0)).await.unwrap();
        assert!(!connected.session_present, "its session ended with its connection");
        let long = Device::connect(server.addr, willing("long-back", 60, 1000, 0)).await;
        let mut to = Device::connect(server.addr, lasting("to", Version::V5)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(to.drain().await, [], "they have time to come back");
        let mut payloads = to.next_payloads(2).await;
        payloads.sort();
        assert_eq!(payloads, ["long", "short"]);
        for device in [short, long] {
            device.goodbye().await;
        }
        to.goodbye().await;
        server.device("from").await.publish(retained("next", "y", QoS::AtLeastOnce)).await;
    });
    live(&mut disk, |server| async move {
        let mut to = Device::connect(server.addr, lasting("to", Version::V5)).await;
        tokio::time::sleep(Duration::from_millis(1800)).await;
        assert_eq!(to.drain().await, [], "once");
    });
}

#[test]
fn a_broker_that_is_stopped_publishes_no_wills_and_the_next_one_does() {
    let mut disk = SimDisk::new();
    live(&mut disk, |server| async move {
        let mut to = Device::connect(server.addr, lasting("to", Version::V5)).await;
        to.subscribe("will", QoS::AtLeastOnce).await;
        let one = Device::connect(server.addr, willing("short", 1, 0, 0)).await;
        let other = Device::connect(server.addr, willing("long", 1, 1000, 0)).await;
        server.stop.cancel();
        server.task.await.unwrap().unwrap();
        for mut device in [to, one, other] {
            assert_eq!(device.ended().await, Some(ReasonCode::SERVER_SHUTTING_DOWN));
            assert!(device.received.is_empty());
        }
    });
    live(&mut disk, |server| async move {
        let mut to = Device::connect(server.addr, lasting("to", Version::V5)).await;
        let mut payloads = to.next_payloads(2).await;
        payloads.sort();
        assert_eq!(payloads, ["long", "short"]);
    });
}
