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

use crate::beat::Beat;
use crate::blocking::{Client, PATIENCE};
use crate::report::Table;
use crate::usage::{Cpu, Memory};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tidegate_testkit::{Process, free_port};

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
        let alone_us = beat.ended()?.longest_us();
        let beat = Beat::start(self.port)?;
        let began = Instant::now();
        let missing = retained as i64 - Client::connect(self.port, "late", true)?.take_all(retained)? as i64;
        let all = began.elapsed();
        let beside_us = beat.ended()?.longest_us();
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
