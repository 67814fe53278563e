//! One subject, started once and put through everything: start, idle, full speed, paced.

use crate::sink::{Faults, Sink};
use crate::source::Source;
use crate::subject::{Setting, Subject};
use crate::tls::Door;
use crate::usage::{Cpu, Memory, machine_busy_ns};
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};
use tidegate_testkit::{Process, within};

/// The pace of the latency measurement.
pub(crate) const PACE_PER_S: u32 = 10_000;

/// A slower one, at which nothing is warm.
pub(crate) const SLOW_PER_S: u32 = 1_000;

/// Until the first message is through, one is sent this often.
const PROBES_PER_S: u32 = 1_000;

/// From the start to the first message; a cold compile may take a while.
const FIRST_MESSAGE: Duration = Duration::from_secs(60);

/// What is still on its way when the source stops has this long to arrive.
const DRAIN: Duration = Duration::from_secs(30);

/// Nothing more comes when nothing has come for this long.
const QUIET: Duration = Duration::from_millis(300);

/// The first part of full speed and of the pace, not measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// What one run of one subject gave.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) start: Duration,
    pub(crate) idle_kib: u64,
    pub(crate) peak_kib: u64,
    pub(crate) full: Phase,
    pub(crate) paced: Phase,
    pub(crate) slow: Phase,
    /// Of `paced`, sorted.
    pub(crate) latencies_ns: Vec<u64>,
    /// Of `slow`, sorted.
    pub(crate) slow_latencies_ns: Vec<u64>,
}

/// A time of steady work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    /// CPU time of the subject for each message that reached the sink.
    pub(crate) cpu_us: f64,
    /// Messages that reached the sink.
    pub(crate) per_s: f64,
    /// Written by the source and never seen at the sink, warm-up and drain included.
    pub(crate) lost: i64,
    pub(crate) faults: Faults,
    /// Part of the machine that was used by others than the subject and this benchmark, 0 to 1.
    pub(crate) others: f64,
}

/// From the start to the first message only.
pub(crate) fn start_only(setting: &Setting, subject: Subject, qos: u8) -> Result<Duration> {
    Bench::start(setting, subject, qos).map(|bench| bench.start)
}

/// Everything.
pub(crate) fn run(setting: &Setting, subject: Subject, qos: u8, measured: Duration) -> Result<Session> {
    let mut bench = Bench::start(setting, subject, qos)?;
    bench.drain();
    let idle = Memory::of(bench.process.pid())?;

    let full = bench.phase(Source::full_speed, measured)?;
    bench.sink.take_latencies_ns();
    bench.sink.set_timing(true);
    let paced = bench.phase(|source| source.paced(PACE_PER_S), measured)?;
    let mut latencies_ns = bench.sink.take_latencies_ns();
    latencies_ns.sort_unstable();
    let slow = bench.phase(|source| source.paced(SLOW_PER_S), measured)?;
    let mut slow_latencies_ns = bench.sink.take_latencies_ns();
    slow_latencies_ns.sort_unstable();

    let peak = Memory::of(bench.process.pid())?;
    Ok(Session {
        start: bench.start,
        idle_kib: idle.now_kib,
        peak_kib: peak.peak_kib,
        full,
        paced,
        slow,
        latencies_ns,
        slow_latencies_ns,
    })
}

struct Bench {
    source: Source,
    sink: Sink,
    process: Process,
    start: Duration,
    _doors: [Option<Door>; 2],
}

impl Bench {
    fn start(setting: &Setting, subject: Subject, qos: u8) -> Result<Self> {
        let mut source = Source::start(setting.window.into(), setting.load)?;
        let sink = Sink::start(subject.payload_begins())?;
        let door = |port: u16| setting.tls.as_ref().map(|certs| Door::before(port, certs)).transpose();
        let doors = [door(source.port())?, door(sink.port())?];
        let [source_port, sink_port] = [(source.port(), &doors[0]), (sink.port(), &doors[1])]
            .map(|(plain, door)| door.as_ref().map_or(plain, Door::port));
        let mut command = setting.prepare(subject, source_port, sink_port, qos)?;
        source.paced(PROBES_PER_S);

        let begin = Instant::now();
        let mut process = setting.launch(subject, &mut command);
        let first = sink.wait_for_first(&mut process, FIRST_MESSAGE)?;
        source.stop();
        Ok(Self { source, sink, process, start: first - begin, _doors: doors })
    }

    /// Waits until nothing more comes.
    fn drain(&self) {
        let mut last = (self.sink.received(), Instant::now());
        within(DRAIN, || {
            let received = self.sink.received();
            if received != last.0 {
                last = (received, Instant::now());
            }
            last.1.elapsed() > QUIET
        });
    }

    fn phase(&mut self, work: impl FnOnce(&mut Source), measured: Duration) -> Result<Phase> {
        let (published, received) = (self.source.published(), self.sink.received());
        self.sink.take_faults();
        let (pid, own) = (self.process.pid(), std::process::id());

        work(&mut self.source);
        std::thread::sleep(WARM_UP);
        self.sink.take_latencies_ns();
        let begin = Instant::now();
        let before = (Cpu::of(pid)?, Cpu::of(own)?, machine_busy_ns(), self.sink.received());
        std::thread::sleep(measured);
        let after = (Cpu::of(pid)?, Cpu::of(own)?, machine_busy_ns(), self.sink.received());
        let elapsed = begin.elapsed();

        self.source.stop();
        self.drain();
        if !self.process.is_running() {
            bail!("the subject has ended{}", self.process.tail());
        }
        let messages = after.3 - before.3;
        if messages == 0 {
            bail!("no message came through in {elapsed:?}{}", self.process.tail());
        }
        let subject_ns = after.0.since_ns(&before.0);
        let known_ns = subject_ns + after.1.since_ns(&before.1);
        let cores = std::thread::available_parallelism().context("the number of cores")?.get();
        let machine_ns = elapsed.as_nanos() as f64 * cores as f64;
        Ok(Phase {
            cpu_us: subject_ns as f64 / 1e3 / messages as f64,
            per_s: messages as f64 / elapsed.as_secs_f64(),
            lost: (self.source.published() - published) as i64 - (self.sink.received() - received) as i64,
            faults: self.sink.take_faults(),
            others: (after.2 - before.2).saturating_sub(known_ns) as f64 / machine_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_does_not_start_is_reported_with_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let setting = Setting {
            tidegate: "/bin/false".into(),
            plugins: dir.path().into(),
            mqtt: "3.1.1".into(),
            window: 1000,
            load: crate::messages::Load::default(),
            tls: None,
            dir: dir.path().into(),
        };
        let begin = Instant::now();
        let error = start_only(&setting, Subject::Plain, 0).unwrap_err();
        assert!(error.to_string().contains("no message came through"), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_whole_session_gives_every_figure() {
        let dir = tempfile::tempdir().unwrap();
        let setting = Setting {
            tidegate: "/bin/false".into(),
            plugins: dir.path().into(),
            mqtt: "3.1.1".into(),
            window: 100,
            load: crate::messages::Load::default(),
            tls: None,
            dir: dir.path().into(),
        };
        let session = run(&setting, Subject::Mosquitto, 1, Duration::from_millis(300)).unwrap();
        for phase in [session.full, session.paced, session.slow] {
            assert_eq!((phase.lost, phase.faults), (0, Faults::default()));
            assert!(phase.cpu_us > 0.5 && phase.per_s > 100.0, "{phase:?}");
        }
        assert!(session.latencies_ns.len() > 30 && session.latencies_ns[0] > 1_000);
        assert!(session.peak_kib >= session.idle_kib && session.idle_kib > 1_000);
    }
}
