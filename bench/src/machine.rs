//! What the figures were made on: without it they say nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// Where the revision is asked for.
const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

/// Date, machine and versions.
pub(crate) fn facts(tidegate: &Path) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let cpu = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let memory = line_of("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let system = line_of("/etc/os-release", "PRETTY_NAME").unwrap_or_default();
    let load = read("/proc/loadavg");
    let version = |command: &mut Command| {
        let text = command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_else(|| "not there".into())
    };
    vec![
        ("Date", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        ("Machine", format!("{cpu}, {cores} cores, {memory}")),
        ("System", format!("{}, Linux {kernel}", system.trim_matches('"'))),
        ("Load at the end", load.split(' ').take(3).collect::<Vec<_>>().join(" ")),
        ("Tidegate", version(Command::new(tidegate).arg("--version"))),
        ("Revision", version(Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(SOURCE))),
        ("mosquitto", version(Command::new("/usr/sbin/mosquitto").arg("-h"))),
    ]
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The value of `name : value` or `name=value`.
fn line_of(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once([':', '='])?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_a_missing_binary_are_named() {
        let facts = facts(Path::new("/nowhere/tidegate"));
        let fact = |name: &str| facts.iter().find(|(other, _)| *other == name).unwrap().1.clone();
        assert!(fact("Machine").contains("cores"));
        assert!(!fact("System").ends_with("Linux "));
        assert_eq!(fact("Tidegate"), "not there");
    }
}
