//! How long messages of a plain route take while a plugin of another route misbehaves: what no hostile plugin may change.
//!
//! Both routes come from one source: nine of ten messages are for the plain route, one is for the plugin, which misbehaves at
//! a tenth of those, so that it is trusted again and again.

use crate::messages::{DEVICES, PAYLOAD_BEGINS, SINK_PREFIX, SOURCE_PREFIX, SUFFIX};
use crate::report::{Table, quantile_us};
use crate::sink::Sink;
use crate::source::Source;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tidegate_testkit::Process;

/// A cold compile may take a while.
const FIRST_MESSAGE: Duration = Duration::from_secs(60);

/// Messages a second, of both routes.
const PER_S: u32 = 2_000;

/// Each way to misbehave: its name, the component, and its configuration.
const CASES: [(&str, &str, &str); 8] = [
    ("no plugin", "", ""),
    ("one that passes everything", "hostile.wasm", r#"mode = "pass""#),
    ("a trap", "hostile.wasm", r#"mode = "trap""#),
    ("a loop", "hostile.wasm", r#"mode = "loop""#),
    ("20 ms of computing", "hostile.wasm", r#"mode = "slow""#),
    ("a flood of log lines", "hostile.wasm", r#"mode = "log-flood", count = 1000"#),
    ("a memory bomb", "hostile.wasm", r#"mode = "memory-bomb""#),
    ("a sleep in poll", "sleep.wasm", r#"poll = true"#),
];

/// Measures each case, so long.
pub(crate) fn run(tidegate: &Path, hostile: &Path, measured: Duration) -> Result<()> {
    if !hostile.join("hostile.wasm").is_file() {
        bail!("{} has no hostile.wasm; scripts/build-plugins", hostile.display());
    }
    let mut page = String::new();
    let mut table = Table::new(&["beside", "p50 µs", "p99 µs", "p99.9 µs", "longest ms", "messages"]);
    for (name, component, config) in CASES {
        let latencies_ns = case(tidegate, &hostile.join(component), config, measured).context(name)?;
        table.row([
            name.to_owned(),
            format!("{:.0}", quantile_us(&latencies_ns, 0.5)),
            format!("{:.0}", quantile_us(&latencies_ns, 0.99)),
            format!("{:.0}", quantile_us(&latencies_ns, 0.999)),
            format!("{:.1}", latencies_ns.last().map_or(f64::NAN, |ns| *ns as f64 / 1e6)),
            latencies_ns.len().to_string(),
        ]);
    }
    table.finish(&mut page);
    println!("{page}");
    Ok(())
}

/// Latencies of the plain route, sorted.
fn case(tidegate: &Path, component: &Path, config: &str, measured: Duration) -> Result<Vec<u64>> {
    let dir = tempfile::tempdir()?;
    let (mut source, sink) = (Source::start(1000, Default::default())?, Sink::start(PAYLOAD_BEGINS)?);
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, gateway_toml(dir.path(), (source.port(), sink.port()), component, config))?;
    source.paced(PER_S);
    let mut process = Process::spawn("Tidegate", Command::new(tidegate).args(["run", "--config"]).arg(&file));
    sink.wait_for_first(&mut process, FIRST_MESSAGE)?;
    std::thread::sleep(Duration::from_secs(1));
    sink.take_latencies_ns();
    sink.set_timing(true);
    std::thread::sleep(measured);
    let mut latencies_ns = sink.take_latencies_ns();
    source.stop();
    if !process.is_running() {
        bail!("the gateway has ended{}", process.tail());
    }
    latencies_ns.sort_unstable();
    Ok(latencies_ns)
}

fn gateway_toml(dir: &Path, (source, sink): (u16, u16), component: &Path, config: &str) -> String {
    let topics = |is_bad: bool| -> Vec<String> {
        let devices = DEVICES.filter(|device| device.is_multiple_of(10) == is_bad);
        devices.map(|device| format!("{SOURCE_PREFIX}{device}{SUFFIX}")).collect()
    };
    // The sleep knows no `only`: each of its messages sleeps.
    let only = if config.starts_with("mode") { r#", only = "\"device\":\"100\"""# } else { "" };
    let (plugin, plugins) = match config {
        "" => (String::new(), ""),
        config => {
            let path = component.display();
            (format!("[plugins.bad]\npath = \"{path}\"\nconfig = {{ {config}{only} }}\n"), r#""bad""#)
        }
    };
    let (data, plain, bad) = (dir.join("data"), topics(false), topics(true));
    format!(
        "[gateway]\nname = \"bench\"\ndata_dir = {data:?}\n\
         [brokers.source]\nurl = \"mqtt://127.0.0.1:{source}\"\n[brokers.sink]\nurl = \"mqtt://127.0.0.1:{sink}\"\n{plugin}\
         [[routes]]\nname = \"plain\"\nfrom = {{ broker = \"source\", topics = {plain:?}, qos = 0 }}\nto = [\"sink\"]\n\
         remap = {{ strip = \"{SOURCE_PREFIX}\", prefix = \"{SINK_PREFIX}\" }}\n\
         [[routes]]\nname = \"bad\"\nfrom = {{ broker = \"source\", topics = {bad:?}, qos = 0 }}\nto = [\"sink\"]\n\
         plugins = [{plugins}]\non_failure = \"drop\"\nremap = {{ strip = \"{SOURCE_PREFIX}\", prefix = \"bad/\" }}\n"
    )
}
