//! Those that are measured: how each is started on the same work.

use crate::messages::{CONVERTED_BEGINS, FILTER, Load, PAYLOAD_BEGINS, SINK_PREFIX, SOURCE_PREFIX};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tidegate_testkit::{Certs, Process, free_port};

/// Debian's, which is not in everybody's PATH.
pub(crate) const MOSQUITTO: &str = "/usr/sbin/mosquitto";

/// Who carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Subject {
    /// One thread, one read, one write: the floor
    Least,
    /// mosquitto with two bridge connections
    Mosquitto,
    /// Tidegate, the topic rewritten by the route
    Plain,
    /// Tidegate, the topic rewritten by the route, acknowledged when it is on disk
    Spooled,
    /// Tidegate, the topic rewritten by a plugin
    Topic,
    /// Tidegate, a JSON field converted by a plugin, the topic rewritten by the route
    Convert,
}

impl Subject {
    pub(crate) const ALL: [Self; 6] =
        [Self::Least, Self::Mosquitto, Self::Plain, Self::Spooled, Self::Topic, Self::Convert];

    /// As it stands in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Least => "the least bridge",
            Self::Mosquitto => "mosquitto's bridge",
            Self::Plain => "Tidegate, no plugin",
            Self::Spooled => "Tidegate, on disk",
            Self::Topic => "Tidegate, topic plugin",
            Self::Convert => "Tidegate, convert",
        }
    }

    pub(crate) fn is_tidegate(self) -> bool {
        self.plugin().is_some() || matches!(self, Self::Plain | Self::Spooled)
    }

    /// The component in `plugins/dist`.
    fn plugin(self) -> Option<&'static str> {
        match self {
            Self::Topic => Some("retopic.wasm"),
            Self::Convert => Some("convert.wasm"),
            Self::Least | Self::Mosquitto | Self::Plain | Self::Spooled => None,
        }
    }

    /// How every payload begins at the sink.
    pub(crate) fn payload_begins(self) -> &'static str {
        if self == Self::Convert { CONVERTED_BEGINS } else { PAYLOAD_BEGINS }
    }

    /// CPU µs a message that it must not exceed at QoS 0 and 1.
    pub(crate) fn cpu_target_us(self, qos: u8) -> Option<f64> {
        let targets = match self {
            Self::Least | Self::Mosquitto => return None,
            Self::Plain => [0.4, 0.8],
            // QoS 0 is not spooled.
            Self::Spooled => [0.4, 2.0],
            Self::Topic => [1.0, 1.5],
            Self::Convert => [2.5, 3.0],
        };
        targets.get(usize::from(qos)).copied()
    }

    /// Median latency in µs that it must not exceed at 10,000 a second.
    pub(crate) fn p50_target_us(self) -> Option<f64> {
        match self {
            Self::Least | Self::Mosquitto | Self::Spooled => None,
            Self::Plain => Some(40.0),
            Self::Topic | Self::Convert => Some(50.0),
        }
    }
}

/// What all runs share.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// The binary.
    pub(crate) tidegate: PathBuf,
    /// Where the shipped components are.
    pub(crate) plugins: PathBuf,
    /// The version Tidegate is told to speak.
    pub(crate) mqtt: String,
    /// The window at QoS 1.
    pub(crate) window: u16,
    /// What the messages are like.
    pub(crate) load: Load,
    /// With TLS on both ways, and by whom both ends are known.
    pub(crate) tls: Option<Arc<Certs>>,
    /// A folder for each subject lives as long as the benchmark, so that compiled plugins are found again.
    pub(crate) dir: PathBuf,
}

impl Setting {
    /// Why this one cannot be measured, if it cannot.
    pub(crate) fn missing(&self, subject: Subject) -> Option<String> {
        let need =
            |path: &Path, hint: &str| (!path.is_file()).then(|| format!("{} is missing; {hint}", path.display()));
        match subject {
            Subject::Least => self.tls.is_some().then(|| "it speaks no TLS".to_owned()),
            Subject::Mosquitto => need(Path::new(MOSQUITTO), "apt-get install mosquitto"),
            Subject::Plain | Subject::Spooled => need(&self.tidegate, "cargo build --release -p tidegate"),
            Subject::Topic | Subject::Convert => {
                need(&self.tidegate, "cargo build --release -p tidegate").or_else(|| {
                    let component = subject.plugin().map(|plugin| self.plugins.join(plugin));
                    need(&component.unwrap_or_default(), "scripts/build-plugins")
                })
            }
        }
    }

    /// Everything that can be done before the clock starts: the configuration written, the command made.
    pub(crate) fn prepare(&self, subject: Subject, source_port: u16, sink_port: u16, qos: u8) -> Result<Command> {
        let dir = self.dir.join(format!("{subject:?}-{qos}").to_lowercase());
        fs::create_dir_all(&dir)?;
        let config = dir.join("config");
        let mut command;
        match subject {
            Subject::Least => {
                command = Command::new(std::env::current_exe().context("our own binary")?);
                let ports = [source_port.to_string(), sink_port.to_string(), qos.to_string()];
                command.arg("least-bridge").args(ports);
            }
            Subject::Mosquitto => {
                fs::write(&config, self.mosquitto_conf(free_port(), source_port, sink_port, qos))?;
                command = Command::new(MOSQUITTO);
                command.arg("-c").arg(&config);
            }
            Subject::Plain | Subject::Spooled | Subject::Topic | Subject::Convert => {
                let config = config.with_extension("toml");
                fs::write(&config, self.tidegate_toml(subject, &dir, source_port, sink_port, qos))?;
                command = Command::new(&self.tidegate);
                command.args(["run", "--config"]).arg(&config);
            }
        }
        Ok(command)
    }

    /// Starts it.
    pub(crate) fn launch(&self, subject: Subject, command: &mut Command) -> Process {
        Process::spawn(subject.name(), command)
    }

    fn tidegate_toml(&self, subject: Subject, dir: &Path, source_port: u16, sink_port: u16, qos: u8) -> String {
        let Self { mqtt, window, .. } = self;
        let data_dir = dir.join("data");
        let data_dir = data_dir.display();
        let ack = if subject == Subject::Spooled { "spooled" } else { "delivered" };
        let remap = format!(r#"remap = {{ strip = "{SOURCE_PREFIX}", prefix = "{SINK_PREFIX}" }}"#);
        let component = subject.plugin().map(|plugin| self.plugins.join(plugin).display().to_string());
        let component = component.unwrap_or_default();
        let (plugin, route) = match subject {
            Subject::Topic => (
                format!(
                    "[plugins.it]\npath = \"{component}\"\n\
                     config = {{ strip = \"{SOURCE_PREFIX}\", prefix = \"{SINK_PREFIX}\" }}\n\
                     grants = {{ targets = [\"sink\"], topics = [\"{SINK_PREFIX}#\"] }}\n"
                ),
                "plugins = [\"it\"]".to_owned(),
            ),
            Subject::Convert => (
                format!("[plugins.it]\npath = \"{component}\"\nconfig = {CONVERT}\n"),
                format!("plugins = [\"it\"]\n{remap}"),
            ),
            _ => (String::new(), format!("plugins = []\n{remap}")),
        };
        let route = |(n, topics): (usize, Vec<String>)| {
            format!(
                "[[routes]]\nname = \"telemetry-{n}\"\nfrom = {{ broker = \"source\", topics = {topics:?}, qos = {qos} }}\n\
                 to = [\"sink\"]\nack = \"{ack}\"\n{route}\n"
            )
        };
        let scheme = if self.tls.is_some() { "mqtts" } else { "mqtt" };
        let tls = self.tls.as_ref().map(|certs| format!("tls = {{ ca = {:?} }}", certs.ca())).unwrap_or_default();
        let routes: String = self.load.filters().into_iter().enumerate().map(route).collect();
        format!(
            r#"[gateway]
name = "bench"
data_dir = "{data_dir}"

[brokers.source]
url = "{scheme}://127.0.0.1:{source_port}"
version = "{mqtt}"
receive_maximum = {window}
{tls}

[brokers.sink]
url = "{scheme}://127.0.0.1:{sink_port}"
version = "{mqtt}"
{tls}

{plugin}
{routes}"#
        )
    }

    /// A broker between two bridge connections; topics change on the way out.
    fn mosquitto_conf(&self, port: u16, source_port: u16, sink_port: u16, qos: u8) -> String {
        let tls =
            self.tls.as_ref().map(|certs| format!("bridge_cafile {}\n", certs.ca().display())).unwrap_or_default();
        let connection = |name: &str, port: u16, topic: &str| {
            format!(
                "connection {name}\naddress 127.0.0.1:{port}\n{topic}\nbridge_protocol_version mqttv311\n\
                 cleansession true\nnotifications false\nrestart_timeout 1\n{tls}"
            )
        };
        let rest = FILTER.strip_prefix(SOURCE_PREFIX).unwrap_or(FILTER);
        let source = connection("source", source_port, &format!("topic {FILTER} in {qos}"));
        let sink = connection("sink", sink_port, &format!("topic {rest} out {qos} {SOURCE_PREFIX} {SINK_PREFIX}"));
        let window = self.window;
        format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest stderr\n\
             max_inflight_messages {window}\nmax_queued_messages 0\n{source}{sink}"
        )
    }
}

/// Fahrenheit to Celsius in the payload's `temp`.
const CONVERT: &str = r#"{ field = "temp", from = "fahrenheit", to = "celsius" }"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting {
            tidegate: "/nowhere/tidegate".into(),
            plugins: "/nowhere/plugins".into(),
            mqtt: "3.1.1".into(),
            window: 1000,
            load: Load::default(),
            tls: None,
            dir: std::env::temp_dir(),
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let missing = setting().missing(Subject::Topic).unwrap();
        assert!(missing.contains("/nowhere/tidegate") && missing.contains("cargo build"), "{missing}");
        assert_eq!(setting().missing(Subject::Least), None);
    }

    #[test]
    fn the_route_or_the_plugin_rewrites_the_topic_and_never_both() {
        let toml = |subject| setting().tidegate_toml(subject, Path::new("/x"), 1, 2, 1);
        assert!(toml(Subject::Plain).contains("remap = ") && !toml(Subject::Plain).contains("[plugins"));
        assert!(!toml(Subject::Topic).contains("remap = ") && toml(Subject::Topic).contains("retopic.wasm"));
        assert!(toml(Subject::Convert).contains("remap = ") && toml(Subject::Convert).contains("convert.wasm"));
    }
}
