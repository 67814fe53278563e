//! What most tests need: two mosquitto brokers, a gateway between them, and its accounts at the end.

mod dice;
mod witness;

pub(crate) use dice::Dice;
pub(crate) use witness::{Arrival, Witness};

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use tidegate_testkit::{Metrics, Tidegate, eventually};

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A file that `scripts/build-plugins` makes, shipped ones from `plugins/dist`, others from `target/plugins`.
pub(crate) fn plugin(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let places = ["plugins/dist", "target/plugins", "target/plugins/hostile"];
    let found = places.iter().map(|place| root.join(place).join(format!("{name}.wasm"))).find(|path| path.is_file());
    let path = found.unwrap_or_else(|| panic!("no component `{name}`: run scripts/build-plugins"));
    std::fs::read(path).expect("a component")
}

/// Waits until nothing is under way, and checks that every message is accounted for.
#[track_caller]
pub(crate) fn assert_balanced(tidegate: &Tidegate) -> Metrics {
    eventually("nothing is in flight", PATIENCE, || {
        tidegate.metrics().get("tidegate_route_in_flight", &[]).unwrap_or(0.0) == 0.0
    });
    let metrics = tidegate.metrics();
    let sum = |name: &str| metrics.get(name, &[]).unwrap_or(0.0);
    let came = sum("tidegate_route_received_total")
        + sum("tidegate_route_replayed_total")
        + sum("tidegate_route_ticked_total")
        + sum("tidegate_route_recovered_total")
        + sum("tidegate_route_copies_total");
    let went =
        sum("tidegate_route_out_total") + sum("tidegate_route_dropped_total") + sum("tidegate_route_parked_total");
    assert_eq!(came, went, "in = out + dropped + parked, when nothing is in flight\n{}", tidegate.log());
    assert_eq!(sum("tidegate_route_imbalance"), 0.0);
    metrics
}

/// Runs the binary with these arguments to its end, which must come within [`PATIENCE`].
#[track_caller]
pub(crate) fn run(args: &[&str]) -> Output {
    let limit = PATIENCE.as_secs().to_string();
    let mut command = std::process::Command::new("timeout");
    command.args(["-k", "1", &limit]).arg(Tidegate::binary()).args(args).env_remove("RUST_LOG");
    command.output().expect("timeout runs")
}

/// A program that begins with these lines of a shell, the last of which becomes the gateway: its binary and its arguments follow them.
#[track_caller]
pub(crate) fn wrapped(folder: &Path, lines: &str) -> PathBuf {
    let path = folder.join("wrapped-tidegate");
    let text = format!("#!/bin/sh\n{lines} {} \"$@\"\n", Tidegate::binary().display());
    std::fs::write(&path, text).expect("a program written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode set");
    path
}

/// The most memory a process has had at a time, in bytes.
pub(crate) fn memory_peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a kernel that counts memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// `[brokers.NAME]`: one at the end of a link, with more of its keys.
pub(crate) fn broker(name: &str, url: &str, keys: &str) -> String {
    format!("[brokers.{name}]\nurl = \"{url}\"\n{keys}\n")
}

/// `[[routes]]`, named `FROM-TO`: everything that the filters match goes to `to`, with more of its keys.
pub(crate) fn route(from: &str, topics: &[&str], to: &[&str], keys: &str) -> String {
    let name = format!("{from}-{}", to.join("-"));
    named_route(&name, from, topics, 2, to, keys)
}

/// `[[routes]]` with a name and the QoS it subscribes with.
pub(crate) fn named_route(name: &str, from: &str, topics: &[&str], qos: u8, to: &[&str], keys: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\nfrom = {{ broker = \"{from}\", topics = {topics:?}, qos = {qos} }}\n\
         to = {to:?}\n{keys}\n"
    )
}
