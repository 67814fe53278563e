//! How many messages a second a slow plugin decides, with one worker and with more, in turn.

use crate::messages::{DEVICES, SINK_PREFIX, SOURCE_PREFIX, SUFFIX};
use crate::report::{Spread, Table};
use crate::sink::Sink;
use crate::source::Source;
use crate::usage::Cpu;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tidegate_testkit::Process;

/// The plugin writes them in capitals.
const PAYLOAD_BEGINS: &str = r#"{"TEMP":72.5,"#;

/// The first part is not measured: the heap of an engine grows, and its garbage collector learns.
const WARM_UP: Duration = Duration::from_secs(3);

/// Compiling a large component may take a while.
const FIRST_MESSAGE: Duration = Duration::from_secs(120);

/// Measures a component with one worker and with each of these numbers, so long and so often.
pub(crate) fn run(tidegate: &Path, component: &Path, numbers: &[u16], measured: Duration, repeats: u32) -> Result<()> {
    if !component.is_file() {
        bail!("{} is no component", component.display());
    }
    let numbers: Vec<u16> = std::iter::once(1).chain(numbers.iter().copied()).collect();
    let mut all: Vec<Vec<(f64, f64)>> = vec![Vec::new(); numbers.len()];
    let dir = tempfile::tempdir()?;
    // Fills the cache of compiled plugins.
    case(tidegate, component, dir.path(), 1, Duration::from_millis(100))?;
    for _ in 0..repeats {
        for (workers, figures) in numbers.iter().zip(&mut all) {
            figures.push(
                case(tidegate, component, dir.path(), *workers, measured)
                    .with_context(|| format!("{workers} workers"))?,
            );
        }
    }
    let mut page = String::new();
    let mut table = Table::new(&["workers", "messages/s", "to one worker", "CPU µs a message"]);
    for (workers, figures) in numbers.iter().zip(&all) {
        let ratios = figures.iter().zip(&all[0]).map(|((per_s, _), (one, _))| per_s / one);
        table.row([
            workers.to_string(),
            format!("{:.0}", Spread::of(figures.iter().map(|(per_s, _)| *per_s).collect()).median),
            format!("{:.2}", Spread::of(ratios.collect()).median),
            format!("{:.1}", Spread::of(figures.iter().map(|(_, cpu_us)| *cpu_us).collect()).median),
        ]);
    }
    table.finish(&mut page);
    println!("{page}");
    Ok(())
}

/// Messages a second at QoS 0 at full speed, and CPU time for each.
fn case(tidegate: &Path, component: &Path, dir: &Path, workers: u16, measured: Duration) -> Result<(f64, f64)> {
    let (mut source, sink) = (Source::start(1000, Default::default())?, Sink::start(PAYLOAD_BEGINS)?);
    let file = dir.join("gateway.toml");
    std::fs::write(&file, gateway_toml(dir, (source.port(), sink.port()), component, workers))?;
    let mut process = Process::spawn("Tidegate", Command::new(tidegate).args(["run", "--config"]).arg(&file));
    source.full_speed();
    sink.wait_for_first(&mut process, FIRST_MESSAGE)?;
    std::thread::sleep(WARM_UP);
    let (began, before, cpu) = (Instant::now(), sink.received(), Cpu::of(process.pid())?);
    std::thread::sleep(measured);
    let (time, messages) = (began.elapsed(), sink.received() - before);
    let cpu_ns = Cpu::of(process.pid())?.since_ns(&cpu);
    source.stop();
    if !process.is_running() || messages == 0 {
        bail!("no message came through in {time:?}{}", process.tail());
    }
    Ok((messages as f64 / time.as_secs_f64(), cpu_ns as f64 / 1e3 / messages as f64))
}

fn gateway_toml(dir: &Path, (source, sink): (u16, u16), component: &Path, workers: u16) -> String {
    let (data, component) = (dir.join("data"), component.display());
    let topics: Vec<String> = DEVICES.map(|device| format!("{SOURCE_PREFIX}{device}{SUFFIX}")).collect();
    format!(
        "[gateway]\nname = \"bench\"\ndata_dir = {data:?}\n\
         [brokers.source]\nurl = \"mqtt://127.0.0.1:{source}\"\n[brokers.sink]\nurl = \"mqtt://127.0.0.1:{sink}\"\n\
         [plugins.slow]\npath = \"{component}\"\nlimits = {{ memory = \"256MiB\", deadline = \"5s\", configure_deadline = \"30s\" }}\n\
         [[routes]]\nname = \"slow\"\nfrom = {{ broker = \"source\", topics = {topics:?}, qos = 0 }}\nto = [\"sink\"]\n\
         plugins = [\"slow\"]\nworkers = {workers}\n\
         remap = {{ strip = \"{SOURCE_PREFIX}\", prefix = \"{SINK_PREFIX}\" }}\n"
    )
}
