//! When a source is told.

use super::from_the_box;
use crate::fixture::PATIENCE;
use tidegate_testkit::{Client, ClientOptions, Tidegate, Version, eventually};

/// A device is told when its message is on disk, neither before nor only when the target has it.
#[track_caller]
fn acknowledged_after_the_disk(qos: u8) {
    // The longest delay there is: time enough to see that no acknowledgement comes before the flush.
    let gateway = "[gateway]\nname = \"test\"\ndata_dir = \"{dir}/data\"\ncommit_delay = \"1s\"\n";
    let (device, config) = from_the_box("");
    let config = gateway.to_owned() + &config;
    let tidegate = Tidegate::builder(&config).spawn();
    eventually("it serves", PATIENCE, || tidegate.get("/health").is_ok());
    let mut publisher = Client::connect(device, &ClientOptions::new(Version::V5, "device")).unwrap();
    for _ in 0..2 {
        // The first one may find a flush under way; what comes after an acknowledgement begins one.
        publisher.send("dev/1", b"21.5", qos, false).unwrap();
        publisher.flush().unwrap();
        eventually("the device is told", PATIENCE, || {
            publisher.turn(std::time::Duration::from_millis(5)).unwrap();
            publisher.in_flight() == 0
        });
    }
    publisher.send("dev/1", b"21.5", qos, false).unwrap();
    publisher.flush().unwrap();
    publisher.subscribe(&[("lab/2/#", 0)]).unwrap();
    assert_eq!(publisher.in_flight(), 1, "acknowledged before it is on disk");
    eventually("the device is told, though the target is away", PATIENCE, || {
        publisher.turn(std::time::Duration::from_millis(5)).unwrap();
        publisher.in_flight() == 0
    });
    let metrics = tidegate.metrics();
    assert_eq!(metrics.get("tidegate_spool_queued", &[("target", "office")]), Some(3.0));
}

#[test]
fn a_device_is_told_after_its_message_is_on_disk_at_qos_1() {
    acknowledged_after_the_disk(1);
}

#[test]
fn a_device_is_told_after_its_message_is_on_disk_at_qos_2() {
    acknowledged_after_the_disk(2);
}
