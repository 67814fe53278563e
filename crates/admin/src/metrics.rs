//! Metrics in Prometheus' text format: those of the gateway, of the process, and of this server.

use crate::model::Process;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tidegate_gateway::Snapshot;

/// The name, kind and help of what is not the gateway's own. Those of the process have the names that Prometheus' own clients
/// give them.
const FAMILIES: [(&str, &str, &str); 7] = [
    ("tidegate_build_info", "gauge", "1, with the version of the program."),
    ("tidegate_admin_refused_total", "counter", "Requests and connections that the admin server has refused."),
    ("process_cpu_seconds_total", "counter", "Time of all threads on the processor, in seconds."),
    ("process_resident_memory_bytes", "gauge", "Memory in use."),
    ("process_start_time_seconds", "gauge", "When the gateway started, in seconds since the epoch."),
    ("process_open_fds", "gauge", "Open files and sockets."),
    ("process_max_fds", "gauge", "As many may be open."),
];

/// All of them.
pub(crate) fn text(snapshot: &Snapshot, refused: &BTreeMap<&'static str, u64>) -> String {
    let mut all = snapshot.prometheus();
    let process = Process::now();
    let started = snapshot.started_at.map_or(0.0, |at| crate::model::ms(at) as f64 / 1000.0);
    for (name, kind, help) in FAMILIES {
        let _ = writeln!(all, "# HELP {name} {help}\n# TYPE {name} {kind}");
        let _ = match name {
            "tidegate_build_info" => writeln!(all, "{name}{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
            "process_cpu_seconds_total" => writeln!(all, "{name} {}", process.cpu_s),
            "process_resident_memory_bytes" => writeln!(all, "{name} {}", process.memory_bytes),
            "process_start_time_seconds" => writeln!(all, "{name} {started}"),
            "process_open_fds" => writeln!(all, "{name} {}", process.open_files),
            "process_max_fds" => writeln!(all, "{name} {}", process.open_files_max),
            _ => refused.iter().try_for_each(|(reason, count)| writeln!(all, "{name}{{reason=\"{reason}\"}} {count}")),
        };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What docs/metrics.md says below its first lines.
    fn table() -> String {
        let mut rows: Vec<_> = tidegate_gateway::metrics().chain(FAMILIES).collect();
        rows.sort_unstable();
        let row = |(name, kind, help): (&str, &str, &str)| format!("| `{name}` | {kind} | {help} |\n");
        "| Metric | Kind | What it is |\n|---|---|---|\n".to_owned() + &rows.into_iter().map(row).collect::<String>()
    }

    /// With `TIDEGATE_BLESS` set it is written.
    #[test]
    fn the_page_of_metrics_is_made_of_the_table_in_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, _) = page.split_once("| Metric |").expect("a table");
        let wanted = head.to_owned() + &table();
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(path, wanted).unwrap();
        } else {
            assert!(page == wanted, "docs/metrics.md is stale: run this test with TIDEGATE_BLESS=1");
        }
    }

    #[test]
    fn each_family_has_a_sample() {
        let text = text(&Snapshot::default(), &[("foreign_host", 2)].into());
        for (name, ..) in FAMILIES {
            let sample = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
            let value: f64 = sample.rsplit_once(' ').unwrap().1.parse().unwrap();
            // A process that has just begun has not used a tick yet.
            assert!(
                value > 0.0 || ["process_start_time_seconds", "process_cpu_seconds_total"].contains(&name),
                "{sample}"
            );
        }
    }
}
