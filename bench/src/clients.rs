//! What the box's own broker costs with many clients, beside mosquitto: CPU time a message and memory a client.
//!
//! | Case | Who publishes | Who receives | A message is |
//! |---|---|---|---|
//! | fan-in | all clients in turn, a topic each | one client, everything | one that was published |
//! | fan-out | one client | all others | one that was received |
//!
//! With `kept`, sessions outlive their connections, and the broker writes down what waits for them: mosquitto with `persistence true` and
//! its own interval for that (half an hour, so that a kill loses what came since), Tidegate before it acknowledges.
//!
//! Brokers take turns. Every message has 200 bytes of payload, and all of them together make [`PER_S`] a second. What a client
//! costs is what the broker's resident memory grows by from one connected client to all, each with a subscription, divided by
//! their number.

use crate::report::{Spread, Table};
use crate::usage::{Cpu, Memory};
use crate::wire::{self, frame};
use anyhow::{Context, Result, bail};
use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_testkit::{Process, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Messages a second, however many clients there are.
const PER_S: u32 = 20_000;

/// How often some are published.
const BEAT: Duration = Duration::from_millis(1);

/// The topic of a client is this, its number and `/temp`.
const PREFIX: &str = "dev/";

const PAYLOAD_BYTES: usize = 200;

/// The first part is not measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is on its way at the end has this long to arrive.
const DRAIN: Duration = Duration::from_secs(10);

/// Who is measured.
pub(crate) struct Broker<'a> {
    pub(crate) name: &'a str,
    /// `None`: mosquitto.
    pub(crate) tidegate: Option<&'a Path>,
}

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    FanIn,
    FanOut,
}

struct Case {
    way: Way,
    clients: usize,
    qos: u8,
    /// Sessions outlive their connections.
    is_kept: bool,
}

struct Outcome {
    cpu_us: f64,
    lost: i64,
    client_kib: f64,
}

/// Measures this build, another one if there is one, and mosquitto.
pub(crate) fn run(
    tidegate: &Path,
    against: Option<&Path>,
    clients: &[usize],
    measured: Duration,
    repeats: u32,
) -> Result<()> {
    let mut brokers = vec![Broker { name: "mosquitto", tidegate: None }];
    brokers.extend(against.map(|path| Broker { name: "Tidegate, then", tidegate: Some(path) }));
    brokers.push(Broker { name: "Tidegate", tidegate: Some(tidegate) });
    let mut cases = Vec::new();
    for qos in [0, 1] {
        cases.extend(clients.iter().map(|&clients| Case { way: Way::FanIn, clients, qos, is_kept: false }));
        cases.push(Case { way: Way::FanOut, clients: 1000, qos, is_kept: false });
    }
    cases.extend(clients.iter().map(|&clients| Case { way: Way::FanIn, clients, qos: 1, is_kept: true }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut page = String::new();
    let headings = ["", "clients", "QoS", "broker", "CPU µs a message", "to mosquitto", "KiB a client", "lost"];
    let mut table = Table::new(&headings);
    for case in &cases {
        let mut outcomes: Vec<Vec<Outcome>> = brokers.iter().map(|_| Vec::new()).collect();
        for _ in 0..repeats {
            for (broker, outcomes) in brokers.iter().zip(&mut outcomes) {
                let tasks = tokio::task::LocalSet::new();
                let outcome = tasks.block_on(&runtime, one(broker, case, measured));
                outcomes.push(outcome.with_context(|| format!("{}, {} clients", broker.name, case.clients))?);
            }
        }
        for (broker, own) in brokers.iter().zip(&outcomes) {
            let ratios = own.iter().zip(&outcomes[0]).map(|(own, mosquitto)| own.cpu_us / mosquitto.cpu_us);
            let median = |of: fn(&Outcome) -> f64| Spread::of(own.iter().map(of).collect()).median;
            table.row([
                format!(
                    "{}{}",
                    if case.way == Way::FanIn { "fan-in" } else { "fan-out" },
                    if case.is_kept { ", kept" } else { "" }
                ),
                case.clients.to_string(),
                case.qos.to_string(),
                broker.name.to_owned(),
                format!("{:.2}", median(|one| one.cpu_us)),
                format!("{:.2}", Spread::of(ratios.collect()).median),
                format!("{:.1}", median(|one| one.client_kib)),
                own.iter().map(|one| one.lost).sum::<i64>().to_string(),
            ]);
        }
        let kept = if case.is_kept { ", kept," } else { "" };
        eprintln!("{:?} of {} at QoS {}{kept} is measured", case.way, case.clients, case.qos);
    }
    table.finish(&mut page);
    println!("{page}");
    Ok(())
}

/// One broker, one case.
async fn one(broker: &Broker<'_>, case: &Case, measured: Duration) -> Result<Outcome> {
    let (dir, port) = (tempfile::tempdir()?, free_port());
    let mut process = broker.start(dir.path(), port, case.is_kept)?;
    with_clients(&mut process, port, case, measured).await.with_context(|| format!("port {port}{}", process.tail()))
}

async fn with_clients(process: &mut Process, port: u16, case: &Case, measured: Duration) -> Result<Outcome> {
    let (received, count) = (Rc::new(Cell::new(0)), case.clients);
    let everything = format!("{PREFIX}#");
    // The one that all others speak to, or that speaks to all.
    let center = Client::connect(port, "center", case.is_kept, &received).await?;
    let mut center = match case.way {
        Way::FanIn => center.subscribe(&everything, case.qos).await?,
        Way::FanOut => center,
    };
    let before = Memory::of(process.pid())?;
    let mut others = Vec::with_capacity(count);
    for number in 0..count {
        let client = Client::connect(port, &format!("client-{number}"), case.is_kept, &received).await?;
        let filter = match case.way {
            Way::FanIn => format!("cmd/{number}"),
            Way::FanOut => everything.clone(),
        };
        others.push(client.subscribe(&filter, case.qos).await?);
    }
    let grown_kib = Memory::of(process.pid())?.now_kib.saturating_sub(before.now_kib);
    let (publishers, per_beat, copies) = match case.way {
        Way::FanIn => (&mut others[..], PER_S as usize / 1000, 1),
        Way::FanOut => (std::slice::from_mut(&mut center), 1, count),
    };
    let beat = if case.way == Way::FanIn { BEAT } else { Duration::from_secs(1) * count as u32 / PER_S };

    let (mut published, mut next, began) = (0, 0, Instant::now());
    let (mut from, mut beats) = (None, tokio::time::interval(beat));
    let until = began + WARM_UP + measured;
    while Instant::now() < until {
        beats.tick().await;
        for _ in 0..per_beat {
            publishers[next].publish(&format!("{PREFIX}{next}/temp"), case.qos).await?;
            next = (next + 1) % publishers.len();
            published += 1;
        }
        if from.is_none() && began.elapsed() >= WARM_UP {
            from = Some((Cpu::of(process.pid())?, received.get()));
        }
    }
    let (cpu, seen) = from.context("too short")?;
    let (cpu_ns, messages) = (Cpu::of(process.pid())?.since_ns(&cpu), received.get() - seen);
    let awaited = published * copies as u64;
    let drained = Instant::now();
    while received.get() < awaited && drained.elapsed() < DRAIN {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if messages == 0 || !process.is_running() {
        bail!("no message came through");
    }
    Ok(Outcome {
        cpu_us: cpu_ns as f64 / 1e3 / messages as f64,
        lost: awaited as i64 - received.get() as i64,
        client_kib: grown_kib as f64 / count as f64,
    })
}

impl Broker<'_> {
    pub(crate) fn start(&self, dir: &Path, port: u16, is_kept: bool) -> Result<Process> {
        let file = dir.join("config.toml");
        let mut command;
        match self.tidegate {
            Some(tidegate) => {
                let data = dir.join("data");
                let config = format!(
                    "[gateway]\nname = \"bench\"\ndata_dir = {data:?}\n[brokers.box]\nembedded = true\n\
                     listen = [\"mqtt://127.0.0.1:{port}\"]\nlimits = {{ max_connections = 20000 }}\n"
                );
                std::fs::write(&file, config)?;
                command = Command::new(tidegate);
                command.args(["run", "--config"]).arg(&file);
            }
            None => {
                let config = format!(
                    "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence {is_kept}\n\
                     persistence_location {}/\nlog_dest stderr\nmax_queued_messages 0\nmax_inflight_messages 1000\n",
                    dir.display()
                );
                std::fs::write(&file, config)?;
                command = Command::new(crate::subject::MOSQUITTO);
                command.arg("-c").arg(&file);
            }
        }
        Ok(Process::spawn(self.name, &mut command))
    }
}

/// A client of MQTT 3.1.1 that counts what it receives, and acknowledges it.
struct Client {
    writer: Rc<OwnedWriteHalf>,
    next_id: u16,
}

impl Client {
    /// A broker that is only starting is asked again: it may refuse, or take a connection and close it.
    async fn connect(port: u16, id: &str, is_kept: bool, received: &Rc<Cell<u64>>) -> Result<Self> {
        let began = Instant::now();
        loop {
            match Self::log_in(port, id, is_kept).await {
                Ok((reader, writer)) => return Ok(Self::with(reader, writer, received.clone())),
                Err(error) if began.elapsed() > DRAIN => {
                    return Err(error).with_context(|| format!("{id} is not taken"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn log_in(port: u16, id: &str, is_kept: bool) -> Result<(OwnedReadHalf, OwnedWriteHalf)> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.context("the broker does not listen")?;
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = stream.into_split();
        let mut packet = Vec::new();
        wire::put_connect(&mut packet, id, !is_kept);
        writer.write_all(&packet).await?;
        expect(&mut reader, [0x20, 2, 0, 0]).await.context("CONNACK")?;
        Ok((reader, writer))
    }

    fn with(reader: OwnedReadHalf, writer: OwnedWriteHalf, received: Rc<Cell<u64>>) -> Self {
        let writer = Rc::new(writer);
        // It ends with its connection.
        drop(tokio::task::spawn_local(listen(reader, writer.clone(), received)));
        Self { writer, next_id: 1 }
    }

    /// The broker grants it before it says anything else.
    async fn subscribe(mut self, filter: &str, qos: u8) -> Result<Self> {
        let mut packet = Vec::new();
        wire::put_subscribe(&mut packet, self.id(), filter, qos);
        write(&self.writer, &packet).await?;
        Ok(self)
    }

    async fn publish(&mut self, topic: &str, qos: u8) -> Result<()> {
        let mut packet = Vec::new();
        let id = (qos > 0).then(|| self.id());
        wire::put_publish(&mut packet, topic, qos, false, id, PAYLOAD_BYTES);
        write(&self.writer, &packet).await
    }

    fn id(&mut self) -> [u8; 2] {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(1);
        id.to_be_bytes()
    }
}

/// Whole, whatever else is written: a turn of one thread never ends within a packet that the socket takes.
async fn write(writer: &OwnedWriteHalf, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match writer.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => writer.writable().await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(crate) async fn expect<const N: usize>(reader: &mut OwnedReadHalf, expected: [u8; N]) -> Result<()> {
    let mut found = [0; N];
    reader.read_exact(&mut found).await?;
    if found != expected {
        bail!("{found:?} came in place of {expected:?}");
    }
    Ok(())
}

/// Counts messages, and acknowledges those of QoS 1.
async fn listen(mut reader: OwnedReadHalf, writer: Rc<OwnedWriteHalf>, received: Rc<Cell<u64>>) {
    let (mut buffer, mut answers) = (Vec::with_capacity(4096), Vec::new());
    while matches!(reader.read_buf(&mut buffer).await, Ok(1..)) {
        let mut begin = 0;
        while let Some((body, end)) = frame(&buffer[begin..]) {
            let (first, body) = (buffer[begin], &buffer[begin + body..begin + end]);
            if first >> 4 == wire::PUBLISH {
                received.set(received.get() + 1);
                if first & 6 == 2 {
                    answers.extend(wire::puback(body));
                }
            }
            begin += end;
        }
        buffer.drain(..begin);
        if !answers.is_empty() && write(&writer, &answers).await.is_err() {
            return;
        }
        answers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_either_way_and_it_costs_something() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let broker = Broker { name: "mosquitto", tidegate: None };
        for (way, qos, is_kept) in [(Way::FanIn, 1, false), (Way::FanOut, 0, false), (Way::FanIn, 1, true)] {
            let case = Case { way, clients: 20, qos, is_kept };
            let tasks = tokio::task::LocalSet::new();
            let outcome = tasks.block_on(&runtime, one(&broker, &case, Duration::from_millis(300))).unwrap();
            assert_eq!(outcome.lost, 0, "{way:?}");
            assert!(outcome.cpu_us > 0.0);
        }
    }
}
