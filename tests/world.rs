//! What most tests need: two mosquitto brokers, a gateway between them, and its accounts at the end.

use std::time::Duration;
use tidegate_testkit::{Metrics, Tidegate, eventually};

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A file that `scripts/build-plugins` makes, shipped ones from `plugins/dist`, others from `target/plugins`.
pub(crate) fn plugin(name: &str) -> Vec<u8> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
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
        + sum("tidegate_route_copies_total");
    let went =
        sum("tidegate_route_out_total") + sum("tidegate_route_dropped_total") + sum("tidegate_route_parked_total");
    assert_eq!(came, went, "in = out + dropped + parked, when nothing is in flight\n{}", tidegate.log());
    assert_eq!(sum("tidegate_route_imbalance"), 0.0);
    metrics
}
