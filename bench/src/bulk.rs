//! What the box's own broker does with very much that it keeps, beside mosquitto: retained messages, sessions of clients that are
//! away, and how long everybody else waits when somebody asks for all of it.
//!
//! | Figure | From | To |
//! |---|---|---|
//! | bytes a session | resident memory before the first client | after the last has gone, each with a subscription and a message that waits, by their number |
//! | bytes a retained message | before the first | after the last |
//! | `#` | SUBSCRIBE of a new client at QoS 0 | its last retained message |
//! | others wait | a message published every millisecond | its one subscriber has it: the longest, while all are sent to the new client |
//! | start | the process | its first CONNACK, with everything it kept |
//!
//! Payloads are of 50 bytes. mosquitto ends by SIGTERM, which lets it write its file; Tidegate is killed.

use crate::report::{Table, quantile_us};
use crate::usage::{Cpu, Memory};
use crate::wire::{self, frame, put_text};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate_testkit::{Process, free_port};

const PAYLOAD_BYTES: usize = 50;

/// Nothing takes this long.
const PATIENCE: Duration = Duration::from_secs(300);

/// Read at a time.
const READ_BYTES: usize = 1 << 18;

/// Nothing more comes.
const SILENCE: Duration = Duration::from_secs(20);

/// Messages of QoS 1 on their way.
const WINDOW: usize = 1000;

const CONNACK: u8 = 2;
const SUBACK: u8 = 9;

/// Between two messages of the one who waits.
const BEAT: Duration = Duration::from_millis(1);

/// One broker on one folder.
struct Site<'a> {
    name: &'a str,
    tidegate: Option<&'a Path>,
    dir: tempfile::TempDir,
    port: u16,
}

/// What was measured of one broker.
struct Figures {
    retained_bytes: f64,
    retained_cpu_us: f64,
    session_bytes: f64,
    all: Duration,
    alone_us: f64,
    beside_us: f64,
    start: Duration,
    memory_mib: f64,
    missing: i64,
}

/// Measures this build, another one if there is one, and mosquitto.
pub(crate) fn run(tidegate: &Path, against: Option<&Path>, retained: usize, sessions: usize) -> Result<()> {
    let mut brokers = vec![("mosquitto", None)];
    brokers.extend(against.map(|path| ("Tidegate, then", Some(path))));
    brokers.push(("Tidegate", Some(tidegate)));
    let mut table = Table::new(&[
        "",
        "bytes a retained message",
        "CPU µs to retain one",
        "bytes a session",
        "`#` ms",
        "others wait ms",
        "and without it",
        "start ms",
        "MiB then",
        "missing",
    ]);
    for (name, tidegate) in brokers {
        let site = Site { name, tidegate, dir: tempfile::tempdir()?, port: free_port() };
        let figures = site.measure(retained, sessions).with_context(|| name.to_owned())?;
        let ms = |duration: Duration| format!("{:.0}", duration.as_secs_f64() * 1e3);
        table.row([
            name.to_owned(),
            format!("{:.0}", figures.retained_bytes),
            format!("{:.2}", figures.retained_cpu_us),
            format!("{:.0}", figures.session_bytes),
            ms(figures.all),
            format!("{:.1}", figures.beside_us / 1e3),
            format!("{:.1}", figures.alone_us / 1e3),
            ms(figures.start),
            format!("{:.0}", figures.memory_mib),
            figures.missing.to_string(),
        ]);
        eprintln!("{name} is measured");
    }
    let mut page = format!("{retained} retained messages, {sessions} sessions\n\n");
    table.finish(&mut page);
    println!("{page}");
    Ok(())
}

impl Site<'_> {
    fn measure(&self, retained: usize, sessions: usize) -> Result<Figures> {
        let (process, _) = self.start()?;
        let mut publisher = Client::connect(self.port, "publisher", true)?;
        let empty = Memory::of(process.pid())?;
        for number in 0..sessions {
            let mut client = Client::connect(self.port, &format!("session-{number}"), false)?;
            client.subscribe(&format!("own/{number}"), 1)?;
        }
        for number in 0..sessions {
            publisher.publish(&format!("own/{number}"), 1, false)?;
        }
        publisher.acknowledged(0)?;
        let (before, cpu) = (Memory::of(process.pid())?, Cpu::of(process.pid())?);
        publisher.retain(retained)?;
        let (after, used_ns) = (Memory::of(process.pid())?, Cpu::of(process.pid())?.since_ns(&cpu));
        let beat = Beat::start(self.port)?;
        std::thread::sleep(Duration::from_secs(1));
        let alone_us = beat.longest_us()?;
        let beat = Beat::start(self.port)?;
        let began = Instant::now();
        let missing = retained as i64 - Client::connect(self.port, "late", true)?.take_all(retained)? as i64;
        let all = began.elapsed();
        let beside_us = beat.longest_us()?;
        drop(publisher);
        self.end(process)?;
        let (process, start) = self.start()?;
        let missing =
            missing.max(retained as i64 - Client::connect(self.port, "late", true)?.take_all(retained)? as i64);
        let bytes = |one: &Memory, other: &Memory, count: usize| {
            1024.0 * other.now_kib.saturating_sub(one.now_kib) as f64 / count.max(1) as f64
        };
        Ok(Figures {
            retained_bytes: bytes(&before, &after, retained),
            retained_cpu_us: used_ns as f64 / 1e3 / retained as f64,
            session_bytes: bytes(&empty, &before, sessions),
            all,
            alone_us,
            beside_us,
            start,
            memory_mib: Memory::of(process.pid())?.now_kib as f64 / 1024.0,
            missing,
        })
    }

    /// The process, and after what time it let somebody in.
    fn start(&self) -> Result<(Process, Duration)> {
        let (file, port) = (self.dir.path().join("config"), self.port);
        let mut command = match self.tidegate {
            Some(tidegate) => {
                let data = self.dir.path().join("data");
                let config = format!(
                    "[gateway]\nname = \"bench\"\ndata_dir = {data:?}\n[brokers.box]\nembedded = true\n\
                     listen = [\"mqtt://127.0.0.1:{port}\"]\n[brokers.box.limits]\nmax_connections = 100000\n\
                     retained_max = 10000000\nretained_size = \"10GiB\"\n"
                );
                std::fs::write(&file, config)?;
                let mut command = Command::new(tidegate);
                command.args(["run", "--config"]);
                command
            }
            None => {
                let config = format!(
                    "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
                     persistence_location {}/\nlog_dest stderr\nlog_type error\n",
                    self.dir.path().display()
                );
                std::fs::write(&file, config)?;
                let mut command = Command::new(crate::subject::MOSQUITTO);
                command.arg("-c");
                command
            }
        };
        let began = Instant::now();
        let mut process = Process::spawn(self.name, command.arg(&file));
        while Client::connect(port, "first", true).is_err() {
            if began.elapsed() > PATIENCE || !process.is_running() {
                bail!("nobody is let in{}", process.tail());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((process, began.elapsed()))
    }

    fn end(&self, mut process: Process) -> Result<()> {
        process.signal(if self.tidegate.is_some() { Signal::KILL } else { Signal::TERM });
        let began = Instant::now();
        while process.is_running() {
            if began.elapsed() > PATIENCE {
                bail!("it does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Publishes to itself every millisecond.
struct Beat {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<f64>>,
}

impl Beat {
    fn start(port: u16) -> Result<Self> {
        let mut client = Client::connect(port, "beat", true)?;
        client.subscribe("beat", 0)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.publish("beat", 0, false)?;
                client.flush()?;
                client.until(wire::PUBLISH)?;
                longest = longest.max(began.elapsed());
                std::thread::sleep(BEAT);
            }
            Ok(quantile_us(&[longest.as_nanos() as u64], 0.0))
        });
        Ok(Self { stop, thread })
    }

    /// How long the slowest message took.
    fn longest_us(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the beat has stopped"))?
    }
}

/// A client of MQTT 3.1.1 on a socket that blocks.
struct Client {
    stream: TcpStream,
    out: Vec<u8>,
    read: Vec<u8>,
    /// How much of it was looked at.
    at: usize,
    next_id: u16,
    unacknowledged: usize,
}

impl Client {
    fn connect(port: u16, id: &str, is_clean: bool) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, out: Vec::new(), read: Vec::new(), at: 0, next_id: 0, unacknowledged: 0 };
        wire::put_connect(&mut client.out, id, is_clean);
        client.flush()?;
        client.until(CONNACK)?;
        Ok(client)
    }

    fn id(&mut self) -> [u8; 2] {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id.to_be_bytes()
    }

    fn subscribe(&mut self, filter: &str, qos: u8) -> Result<()> {
        self.out.push(0x82);
        wire::put_length(&mut self.out, 2 + 2 + filter.len() + 1);
        let id = self.id();
        self.out.extend(id);
        put_text(&mut self.out, filter);
        self.out.push(qos);
        self.flush()?;
        self.until(SUBACK)
    }

    /// Written when there is enough of it.
    fn publish(&mut self, topic: &str, qos: u8, retain: bool) -> Result<()> {
        self.out.push(0x30 | qos << 1 | u8::from(retain));
        wire::put_length(&mut self.out, 2 + topic.len() + if qos > 0 { 2 } else { 0 } + PAYLOAD_BYTES);
        put_text(&mut self.out, topic);
        if qos > 0 {
            let id = self.id();
            self.out.extend(id);
        }
        self.out.resize(self.out.len() + PAYLOAD_BYTES, b'x');
        self.unacknowledged += usize::from(qos > 0);
        if self.unacknowledged > WINDOW {
            return self.acknowledged(WINDOW / 2);
        }
        if self.out.len() > READ_BYTES { self.flush() } else { Ok(()) }
    }

    fn retain(&mut self, count: usize) -> Result<()> {
        for number in 0..count {
            self.publish(&format!("site/{}/dev/{number}/temp", number % 100), 0, true)?;
        }
        // What comes last is acknowledged last.
        self.publish("last", 1, false)?;
        self.acknowledged(0)
    }

    /// Waits until no more than this many messages of QoS 1 are not acknowledged.
    fn acknowledged(&mut self, most: usize) -> Result<()> {
        self.flush()?;
        while self.unacknowledged > most {
            self.until(wire::PUBACK)?;
            self.unacknowledged -= 1;
        }
        Ok(())
    }

    /// Subscribes to everything, and counts what is retained until all of it is there or nothing comes any more.
    fn take_all(&mut self, count: usize) -> Result<usize> {
        self.subscribe("site/#", 0)?;
        self.stream.set_read_timeout(Some(SILENCE))?;
        let mut seen = 0;
        while seen < count && self.until(wire::PUBLISH).is_ok() {
            seen += 1;
        }
        Ok(seen)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Reads up to the next packet of this kind.
    fn until(&mut self, kind: u8) -> Result<()> {
        loop {
            while let Some((_, end)) = frame(&self.read[self.at..]) {
                let found = self.read[self.at] >> 4;
                self.at += end;
                if found == kind {
                    return Ok(());
                }
            }
            self.read.drain(..self.at);
            self.at = 0;
            let filled = self.read.len();
            self.read.resize(filled + READ_BYTES, 0);
            let count = self.stream.read(&mut self.read[filled..]);
            self.read.truncate(filled + count.as_ref().copied().unwrap_or(0));
            if count? == 0 {
                bail!("the broker has closed the connection");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_there_before_and_after_a_start() {
        let site = Site { name: "mosquitto", tidegate: None, dir: tempfile::tempdir().unwrap(), port: free_port() };
        let figures = site.measure(5000, 20).unwrap();
        assert_eq!(figures.missing, 0);
        assert!(figures.retained_bytes > 0.0 && figures.beside_us > 0.0);
    }
}
