//! A disk without room.

use super::*;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// How often it fills up.
const TIMES: usize = 50;

/// Of the file system.
const SIZE: &str = "size=24m";

/// A small file system of its own.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where mounting is not permitted.
    fn mount() -> Option<Self> {
        let place = tempfile::tempdir().expect("a place to mount at");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tidegate-test"]).arg(place.path()).output();
        let output = mount.expect("mount runs");
        if !output.status.success() {
            println!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Some(Self(place))
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.0.path().join("ballast")
    }

    /// Leaves nothing. What is given back later is there again: to be called until the disk is full for who uses it.
    fn fill(&self) {
        use std::io::Write;
        let file = std::fs::File::options().create(true).append(true).open(self.ballast());
        let mut file = file.expect("the ballast");
        let chunk = vec![0; 64 * 1024];
        // Down to the last page: what a chunk does not fit into, its parts may.
        while file.write_all(&chunk).is_ok() {}
        while file.write_all(&chunk[..512]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast goes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a gateway may still have files there while a test fails.
        let _ = Command::new("umount").arg("-l").arg(self.0.path() as &Path).status();
    }
}

#[test]
fn a_disk_that_fills_up_fifty_times_loses_nothing_acknowledged() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (home, office) = (Mosquitto::start(), Mosquitto::start());
    let data = disk.0.path().join("data");
    let mut config =
        format!("[gateway]\nname = \"test\"\ndata_dir = \"{}\"\nsegment_size = \"1MiB\"\n", data.display());
    config += &(broker("home", &home.url(), "") + &broker("office", &office.url(), ""));
    config += &route("home", &["dev/#"], &["office"], "");
    let mut tidegate = Tidegate::start(&config);
    let ledger = Ledger::new();
    let witness = Witness::start(office.port(), "office", "dev/#", &ledger);
    let mut options = PublisherOptions::new(ClientOptions::new(Version::V5, "publisher"), "dev/{key}/temp");
    // What the spool has set aside for its segments is used up soon.
    (options.rate, options.payload_bytes) = (1_000, 4_000);
    let publisher = Publisher::start(home.port(), options, &ledger);
    let status = |tidegate: &Tidegate| tidegate.metrics().get("tidegate_spool_disk_status", &[]);
    for time in 0..TIMES {
        eventually(&format!("the disk is full for the {time}th time"), PATIENCE, || {
            disk.fill();
            status(&tidegate) == Some(1.0)
        });
        let unacknowledged = || tidegate.metrics().get("tidegate_unacknowledged", &[]).unwrap_or(0.0);
        eventually("the source waits", PATIENCE, || unacknowledged() > 0.0);
        let before = witness.count();
        disk.free();
        eventually("it goes on by itself", PATIENCE, || {
            status(&tidegate) == Some(0.0) && witness.count() > before + 10
        });
    }
    assert!(tidegate.is_running());
    let sent = publisher.stop() as usize;
    eventually("all of it arrives", PATIENCE, || witness.count() >= sent);
    let check = ledger.check("office");
    check.assert_exactly_once().assert_in_order().assert_nothing_missing().assert_published(TIMES * 10);
    assert_balanced(&tidegate);
    let log = tidegate.log();
    assert!(log.matches("the disk is full: nothing is acknowledged until there is room").count() >= TIMES, "{log}");
    assert!(log.contains("the disk has room again"), "{log}");
}
