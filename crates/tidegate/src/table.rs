//! The table that moves.

use std::fmt::Write;
use tidegate_gateway::{RouteSnapshot, Snapshot};

/// One line a route, with the rates since the snapshot before.
pub(crate) fn table(now: &Snapshot, before: &Snapshot, seconds: f64) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<12} {:>9} {:>9} {:>8} {:>8} {:>7} {:>7} {:>9} {:>9}  {:<28} dropped by reason",
        "route", "in", "out", "in/s", "out/s", "failed", "parked", "p50", "p99", "plugins"
    );
    for route in &now.routes {
        let earlier = before.routes.iter().find(|known| known.name == route.name);
        let rate = |value: fn(&RouteSnapshot) -> u64| {
            let since = value(route).saturating_sub(earlier.map_or(0, value));
            since as f64 / seconds.max(0.001)
        };
        let failed: u64 = route.plugins.iter().map(|plugin| plugin.failures).sum();
        let plugins: Vec<_> =
            route.plugins.iter().map(|plugin| format!("{}@{}", plugin.name, plugin.version)).collect();
        let dropped: Vec<_> = route.dropped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let _ = writeln!(
            out,
            "{:<12} {:>9} {:>9} {:>8.0} {:>8.0} {:>7} {:>7} {:>9} {:>9}  {:<28} {}",
            route.name,
            route.received,
            route.out,
            rate(|route| route.received),
            rate(|route| route.out),
            failed,
            route.parked,
            time(route.p50_us),
            time(route.p99_us),
            plugins.join(" "),
            dropped.join(", "),
        );
    }
    out
}

/// An upper bound on a latency.
fn time(us: Option<u64>) -> String {
    match us {
        None => "-".to_owned(),
        Some(us) if us < 10_000 => format!("<{us} us"),
        Some(us) => format!("<{} ms", us / 1000),
    }
}

/// How many lines the table of a snapshot has.
pub(crate) fn height(snapshot: &Snapshot) -> usize {
    snapshot.routes.len() + 1
}
