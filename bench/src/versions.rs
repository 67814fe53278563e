//! What it costs to change a rule on live traffic: swaps of plugins, and versions that are tried as shadows.

use crate::messages::{SINK_PREFIX, SOURCE_PREFIX, SUFFIX};
use crate::report::{Table, quantile_us};
use crate::sink::{Faults, Sink};
use crate::source::Source;
use crate::usage::Memory;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tidegate_testkit::{Process, free_port};

/// Messages a second.
const SWAPS_PER_S: u32 = 50_000;
const SHADOW_PER_S: u32 = 10_000;

/// What is looked at from the save of a file on, and as long without one: nobody asks the gateway anything meanwhile.
const WINDOW: Duration = Duration::from_millis(200);

const FIRST_MESSAGE: Duration = Duration::from_secs(20);
const RELOAD: Duration = Duration::from_secs(20);

/// A gateway with two plugins in a chain, and what goes through it.
struct Stand {
    _dir: tempfile::TempDir,
    file: std::path::PathBuf,
    admin: u16,
    head: String,
    source: Source,
    sink: Sink,
    process: Process,
}

impl Stand {
    /// With `plugins`, as they stand in a configuration, and the names of those that a route has.
    fn start(tidegate: &Path, per_s: u32, plugins: &str, chain: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (mut source, sink) = (Source::start(1000, Default::default())?, Sink::start("{")?);
        let (file, admin) = (dir.path().join("gateway.toml"), free_port());
        let (data, from, to) = (dir.path().join("data"), source.port(), sink.port());
        let head = format!(
            "[gateway]\nname = \"bench\"\ndata_dir = {data:?}\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
             [brokers.source]\nurl = \"mqtt://127.0.0.1:{from}\"\n[brokers.sink]\nurl = \"mqtt://127.0.0.1:{to}\"\n\
             [[routes]]\nname = \"main\"\nfrom = {{ broker = \"source\", topics = [\"{SOURCE_PREFIX}+{SUFFIX}\"], qos = 0 }}\n\
             plugins = [{chain}]\nto = [\"sink\"]\nremap = {{ strip = \"{SOURCE_PREFIX}\", prefix = \"{SINK_PREFIX}\" }}\n"
        );
        std::fs::write(&file, format!("{head}{plugins}"))?;
        source.paced(per_s);
        let mut process = Process::spawn("Tidegate", Command::new(tidegate).args(["run", "--config"]).arg(&file));
        sink.wait_for_first(&mut process, FIRST_MESSAGE)?;
        Ok(Self { _dir: dir, file, admin, head, source, sink, process })
    }

    fn save(&self, plugins: &str) -> Result<()> {
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, format!("{}{plugins}", self.head))?;
        Ok(std::fs::rename(&beside, &self.file)?)
    }

    /// Other plugins; returns once they run.
    fn change(&self, plugins: &str) -> Result<()> {
        let before = self.reloads()?;
        self.save(plugins)?;
        let began = Instant::now();
        while self.reloads()? == before {
            if began.elapsed() > RELOAD {
                bail!("no reload within {RELOAD:?}{}", self.process.tail());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn reloads(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        if value("tidegate_reloads_refused_total ").is_none_or(|refused| refused > 0.0) {
            bail!("a reload is refused{}", self.process.tail());
        }
        value("tidegate_reloads_total ").map(|count| count as u64).context("tidegate_reloads_total")
    }

    fn threads(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/task", self.process.pid()))?.count())
    }

    fn memory_mib(&self) -> Result<f64> {
        Ok(Memory::of(self.process.pid())?.now_kib as f64 / 1024.0)
    }
}

/// So many swaps of one of two plugins in a chain, under load.
pub(crate) fn swaps(tidegate: &Path, dist: &Path, swaps: usize) -> Result<()> {
    let path = dist.join("convert.wasm");
    let plugins = |n: usize| {
        let one = |name: &str, round: usize| {
            format!(
                "[plugins.{name}]\npath = {path:?}\nprobation = false\n\
                 config = {{ field = \"temp\", from = \"fahrenheit\", to = \"celsius\", round = {} }}\n",
                round % 8
            )
        };
        one("first", n / 2) + &one("second", n.div_ceil(2))
    };
    let stand = Stand::start(tidegate, SWAPS_PER_S, &plugins(0), "\"first\", \"second\"")?;
    for n in 1..=20 {
        stand.change(&plugins(n))?;
    }
    let (memory, threads) = (stand.memory_mib()?, stand.threads()?);
    stand.sink.take_faults();
    let count = stand.sink.received();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let before = stand.reloads()?;
    for n in 21..=20 + swaps {
        stand.sink.take_silence_ns();
        std::thread::sleep(WINDOW);
        without.push(stand.sink.take_silence_ns());
        stand.save(&plugins(n))?;
        std::thread::sleep(WINDOW);
        with.push(stand.sink.take_silence_ns());
    }
    let reloads = stand.reloads()? - before;
    let received = stand.sink.received() - count;
    let Faults { foreign, gaps } = stand.sink.take_faults();
    let mut table = Table::new(&["between two messages at the target", "p50 µs", "p99 µs", "longest µs"]);
    for (name, times) in [("no swap", &mut without), ("a swap", &mut with)] {
        times.sort_unstable();
        let longest = times.last().copied().unwrap_or(0) as f64 / 1000.0;
        let [p50, p99] = [0.5, 0.99].map(|at| format!("{:.0}", quantile_us(times, at)));
        table.row([name.to_owned(), p50, p99, format!("{longest:.0}")]);
    }
    let mut page = String::new();
    table.finish(&mut page);
    println!(
        "The longest time between two messages in each of {swaps} windows of {} ms:\n\n{page}",
        WINDOW.as_millis()
    );
    println!(
        "{reloads} swaps, two plugins in a chain, {SWAPS_PER_S} messages a second: {received} messages, {gaps} lost, repeated or out \
         of order, {foreign} wrong; memory {memory:.1} MiB before, {:.1} \
         after; threads {threads} before, {} after.",
        stand.memory_mib()?,
        stand.threads()?
    );
    Ok(())
}

/// Live traffic beside shadows that misbehave, in turns with none.
pub(crate) fn shadows(tidegate: &Path, dist: &Path, hostile: &Path, measured: Duration, turns: usize) -> Result<()> {
    let hostile = hostile.join("hostile.wasm");
    let plugins = |shadow: Option<&str>| {
        let path = dist.join("convert.wasm");
        let candidate = shadow
            .map(|mode| format!("[plugins.rule.candidate]\npath = {hostile:?}\nconfig = {{ mode = \"{mode}\" }}\n"));
        format!(
            "[plugins.rule]\npath = {path:?}\nconfig = {{ field = \"temp\", from = \"fahrenheit\", to = \"celsius\" }}\n{}",
            candidate.unwrap_or_default()
        )
    };
    let mut stand = Stand::start(tidegate, SHADOW_PER_S, &plugins(None), "\"rule\"")?;
    let mut table = Table::new(&[
        "shadow",
        "messages/s",
        "of those without",
        "p50 µs",
        "p99 µs",
        "times p99",
        "lost or out of order",
    ]);
    for mode in ["pass", "loop", "memory-bomb", "output-bomb", "log-flood", "trap"] {
        let (mut rates, mut tails, mut shown) = (Vec::new(), Vec::new(), None);
        for _ in 0..turns {
            let alone = stand.turn(measured)?;
            stand.change(&plugins(Some(mode)))?;
            let beside = stand.turn(measured)?;
            stand.change(&plugins(None))?;
            rates.push(beside.per_s / alone.per_s);
            tails.push(beside.p99_us / alone.p99_us);
            shown = Some(beside);
        }
        rates.sort_unstable_by(f64::total_cmp);
        tails.sort_unstable_by(f64::total_cmp);
        let Some(turn) = shown else { continue };
        table.row([
            mode.to_owned(),
            format!("{:.0}", turn.per_s),
            format!("{:.2}", rates[rates.len() / 2]),
            format!("{:.0}", turn.p50_us),
            format!("{:.0}", turn.p99_us),
            format!("{:.2}", tails[tails.len() / 2]),
            turn.gaps.to_string(),
        ]);
    }
    stand.source.stop();
    if !stand.process.is_running() {
        bail!("the gateway has ended{}", stand.process.tail());
    }
    let mut page = String::new();
    table.finish(&mut page);
    println!("One route at {SHADOW_PER_S} messages a second, QoS 0, medians of {turns}:\n\n{page}");
    Ok(())
}

/// What is measured in one turn.
struct Turn {
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
    gaps: u64,
}

impl Stand {
    fn turn(&self, measured: Duration) -> Result<Turn> {
        std::thread::sleep(Duration::from_secs(1));
        self.sink.take_faults();
        self.sink.take_latencies_ns();
        self.sink.set_timing(true);
        let (began, count) = (Instant::now(), self.sink.received());
        std::thread::sleep(measured);
        let (time, count) = (began.elapsed(), self.sink.received() - count);
        self.sink.set_timing(false);
        let mut latencies_ns = self.sink.take_latencies_ns();
        latencies_ns.sort_unstable();
        Ok(Turn {
            per_s: count as f64 / time.as_secs_f64(),
            p50_us: quantile_us(&latencies_ns, 0.5),
            p99_us: quantile_us(&latencies_ns, 0.99),
            gaps: self.sink.take_faults().gaps,
        })
    }
}
