//! What it costs the messages that somebody looks: many readers of the admin server's streams who never read, pages that are
//! loaded again and again, and taps.
//!
//! What counts is the thread that carries messages; the admin server's own may cost what it likes.

use crate::messages::{PAYLOAD_BEGINS, SINK_PREFIX, SOURCE_PREFIX, SUFFIX};
use crate::report::{Table, quantile_us};
use crate::sink::Sink;
use crate::source::Source;
use crate::usage::Memory;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tidegate_testkit::{Process, free_port};

/// Who looks.
const READERS: usize = 200;
const TAPS: usize = 4;
const LOADS_PER_S: u64 = 100;

/// Messages a second.
const PER_S: u32 = 20_000;

const FIRST_MESSAGE: Duration = Duration::from_secs(20);

/// What is measured in one turn.
struct Turn {
    /// Of the thread that carries.
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    memory_mib: f64,
    loads: u64,
}

/// Measures with nobody who looks and with all of them, in turns of so long.
pub(crate) fn run(tidegate: &Path, measured: Duration, turns: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut source, sink) = (Source::start(1000, Default::default())?, Sink::start(PAYLOAD_BEGINS)?);
    let (file, admin) = (dir.path().join("gateway.toml"), free_port());
    let (data, from, to) = (dir.path().join("data"), source.port(), sink.port());
    let config = format!(
        "[gateway]\nname = \"bench\"\ndata_dir = {data:?}\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [brokers.source]\nurl = \"mqtt://127.0.0.1:{from}\"\n[brokers.sink]\nurl = \"mqtt://127.0.0.1:{to}\"\n\
         [[routes]]\nname = \"plain\"\nfrom = {{ broker = \"source\", topics = [\"{SOURCE_PREFIX}+{SUFFIX}\"], qos = 0 }}\n\
         to = [\"sink\"]\nremap = {{ strip = \"{SOURCE_PREFIX}\", prefix = \"{SINK_PREFIX}\" }}\n"
    );
    std::fs::write(&file, config)?;
    source.paced(PER_S);
    let mut process = Process::spawn("Tidegate", Command::new(tidegate).args(["run", "--config"]).arg(&file));
    sink.wait_for_first(&mut process, FIRST_MESSAGE)?;
    let mut table = Table::new(&["who looks", "CPU µs a message", "p50 µs", "p99 µs", "memory MiB", "page loads/s"]);
    let mut ratios = Vec::new();
    for _ in 0..turns {
        let alone = turn(&process, &sink, measured, None)?;
        let crowd = turn(&process, &sink, measured, Some(admin))?;
        ratios.push(crowd.cpu_us / alone.cpu_us);
        for (name, turn) in [("nobody", alone), ("the crowd", crowd)] {
            table.row([
                name.to_owned(),
                format!("{:.3}", turn.cpu_us),
                format!("{:.0}", turn.p50_us),
                format!("{:.0}", turn.p99_us),
                format!("{:.1}", turn.memory_mib),
                format!("{:.0}", turn.loads as f64 / measured.as_secs_f64()),
            ]);
        }
    }
    source.stop();
    if !process.is_running() {
        bail!("the gateway has ended{}", process.tail());
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let mut page = String::new();
    table.finish(&mut page);
    println!("{page}");
    println!(
        "With {READERS} readers of the stream who never read, {TAPS} taps, and {LOADS_PER_S} loads of page and status a second, a \
         message costs the thread that carries it {:.2} times as much (median of {turns}; {:.2} to {:.2}).",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1]
    );
    Ok(())
}

fn turn(process: &Process, sink: &Sink, measured: Duration, admin: Option<u16>) -> Result<Turn> {
    let crowd = admin.map(Crowd::gather).transpose()?;
    std::thread::sleep(Duration::from_secs(1));
    sink.take_latencies_ns();
    sink.set_timing(true);
    let loads = crowd.as_ref().map_or(0, |crowd| crowd.loads.load(Relaxed));
    let (cpu, count) = (carrier_ns(process.pid())?, sink.received());
    std::thread::sleep(measured);
    let (cpu, count) = (carrier_ns(process.pid())? - cpu, sink.received() - count);
    let loads = crowd.as_ref().map_or(0, |crowd| crowd.loads.load(Relaxed)) - loads;
    sink.set_timing(false);
    let mut latencies_ns = sink.take_latencies_ns();
    latencies_ns.sort_unstable();
    Ok(Turn {
        cpu_us: cpu as f64 / 1000.0 / count.max(1) as f64,
        p50_us: quantile_us(&latencies_ns, 0.5),
        p99_us: quantile_us(&latencies_ns, 0.99),
        memory_mib: Memory::of(process.pid())?.now_kib as f64 / 1024.0,
        loads,
    })
}

/// Time on the processor of the first thread of a process, which carries the messages.
fn carrier_ns(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat"))?;
    text.split_whitespace().next().and_then(|word| word.parse().ok()).context("schedstat")
}

/// All who look, until it is dropped.
struct Crowd {
    _streams: Vec<TcpStream>,
    loads: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    loader: Option<std::thread::JoinHandle<()>>,
}

impl Crowd {
    fn gather(port: u16) -> Result<Self> {
        let open = |path: &str| -> Result<TcpStream> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
            Ok(stream)
        };
        let mut streams = Vec::new();
        for _ in 0..READERS {
            streams.push(open("/api/v1/stream")?);
        }
        for _ in 0..TAPS {
            streams.push(open("/api/v1/tap?payloads=true")?);
        }
        let (loads, ends) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, ended) = (loads.clone(), ends.clone());
        let loader = std::thread::spawn(move || {
            let mut next = Instant::now();
            while !ended.load(Relaxed) {
                for path in ["/", "/page.js", "/api/v1/status"] {
                    if load(port, path).is_err() {
                        return;
                    }
                }
                counted.fetch_add(1, Relaxed);
                next += Duration::from_secs(1) / LOADS_PER_S as u32;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Ok(Self { _streams: streams, loads, ends, loader: Some(loader) })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        if let Some(loader) = self.loader.take() {
            let _ = loader.join();
        }
    }
}

fn load(port: u16, path: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    std::io::copy(&mut Read::by_ref(&mut stream), &mut std::io::sink()).map(|_| ())
}
