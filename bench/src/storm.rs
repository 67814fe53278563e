//! What becomes of the box's own broker, and of mosquitto, when very many clients connect: each says who it is, subscribes, and stays.
//!
//! | Figure | From | To |
//! |---|---|---|
//! | a client waits | the call of `connect` | its SUBACK |
//! | others wait | a message published every millisecond | its one subscriber has it, while clients come |
//! | CPU µs a client | the broker's CPU time from the first to the last | by their number, what others say subtracted |
//!
//! Spread over so many seconds they come as a timer says, however long others take; as fast as they are taken, [`AT_A_TIME`] are on their way.
//! In turn with them [`SILENT`] connect and say nothing, and as many say the beginning of a CONNECT: they are nobody's concern.

use crate::beat::Beat;
use crate::clients::{Broker, expect};
use crate::report::{Table, quantile_us};
use crate::usage::Cpu;
use crate::wire;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_testkit::{Process, free_port};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// On their way at once, where they come as fast as they are taken.
const AT_A_TIME: usize = 500;

/// Clients that never say who they are, and as many that do not say it to the end.
const SILENT: usize = 100;

/// How long others are looked at before.
const ALONE: Duration = Duration::from_secs(2);

/// A client waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

struct Outcome {
    /// Of each client, in nanoseconds, sorted.
    waits: Vec<u64>,
    refused: usize,
    alone_us: [f64; 2],
    beside_us: [f64; 2],
    cpu_us: f64,
    took: Duration,
}

/// Measures this build, another one if there is one, and mosquitto.
pub(crate) fn run(tidegate: &Path, against: Option<&Path>, clients: usize, seconds: &[u64]) -> Result<()> {
    let mut brokers = vec![Broker { name: "mosquitto", tidegate: None }];
    brokers.extend(against.map(|path| Broker { name: "Tidegate, then", tidegate: Some(path) }));
    brokers.push(Broker { name: "Tidegate", tidegate: Some(tidegate) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let headings = [
        "over s",
        "broker",
        "taken",
        "in s",
        "a client waits ms, p50",
        "p99",
        "longest",
        "others wait ms, p99",
        "longest",
        "and before, p99",
        "longest",
        "CPU µs a client",
    ];
    let mut table = Table::new(&headings);
    for &seconds in seconds {
        for broker in &brokers {
            let tasks = tokio::task::LocalSet::new();
            let over = Duration::from_secs(seconds);
            let outcome =
                tasks.block_on(&runtime, one(broker, clients, over)).with_context(|| broker.name.to_owned())?;
            let ms = |us: f64| format!("{:.1}", us / 1e3);
            let wait = |quantile| ms(quantile_us(&outcome.waits, quantile));
            table.row([
                seconds.to_string(),
                broker.name.to_owned(),
                format!("{} of {clients}", clients - outcome.refused),
                format!("{:.1}", outcome.took.as_secs_f64()),
                wait(0.5),
                wait(0.99),
                ms(outcome.waits.last().map_or(f64::NAN, |&ns| ns as f64 / 1e3)),
                ms(outcome.beside_us[0]),
                ms(outcome.beside_us[1]),
                ms(outcome.alone_us[0]),
                ms(outcome.alone_us[1]),
                format!("{:.0}", outcome.cpu_us),
            ]);
            eprintln!("{} over {seconds} s is measured", broker.name);
        }
    }
    let mut page = format!("{clients} clients\n\n");
    table.finish(&mut page);
    println!("{page}");
    Ok(())
}

async fn one(broker: &Broker<'_>, clients: usize, over: Duration) -> Result<Outcome> {
    let (dir, port) = (tempfile::tempdir()?, free_port());
    let mut process = broker.start(dir.path(), port, false)?;
    come(&mut process, port, clients, over).await.with_context(|| format!("port {port}{}", process.tail()))
}

async fn come(process: &mut Process, port: u16, clients: usize, over: Duration) -> Result<Outcome> {
    let began = Instant::now();
    while log_in(port, 0).await.is_err() {
        if began.elapsed() > PATIENCE || !process.is_running() {
            bail!("nobody is let in");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (beat, cpu) = (Beat::start(port)?, Cpu::of(process.pid())?);
    tokio::time::sleep(ALONE).await;
    let of_others = Cpu::of(process.pid())?.since_ns(&cpu) as f64 / ALONE.as_nanos() as f64;
    let alone = beat.ended()?;
    let (beat, cpu, began) = (Beat::start(port)?, Cpu::of(process.pid())?, Instant::now());
    let on_their_way = Arc::new(Semaphore::new(if over.is_zero() { AT_A_TIME } else { clients }));
    let mut silent = Vec::new();
    let mut coming = Vec::with_capacity(clients);
    for number in 0..clients {
        tokio::time::sleep_until((began + over * number as u32 / clients as u32).into()).await;
        let permit = on_their_way.clone().acquire_owned().await?;
        coming.push(tokio::task::spawn_local(async move {
            let (_permit, begun) = (permit, Instant::now());
            let client = tokio::time::timeout(PATIENCE, log_in(port, number)).await;
            (client, begun.elapsed())
        }));
        if number % clients.div_ceil(SILENT) == 0 {
            let mut half = TcpStream::connect(("127.0.0.1", port)).await?;
            half.write_all(&[0x10, 40, 0, 4]).await?;
            silent.push((TcpStream::connect(("127.0.0.1", port)).await?, half));
        }
    }
    let (mut taken, mut waits) = (Vec::with_capacity(clients), Vec::with_capacity(clients));
    for client in coming {
        if let (Ok(Ok(client)), wait) = client.await? {
            taken.push(client);
            waits.push(wait.as_nanos() as u64);
        }
    }
    let took = began.elapsed();
    let used_ns = Cpu::of(process.pid())?.since_ns(&cpu) as f64 - of_others * took.as_nanos() as f64;
    let beside = beat.ended()?;
    if !process.is_running() {
        bail!("the broker has ended");
    }
    waits.sort_unstable();
    let both = |times: &crate::beat::Times| [times.quantile_us(0.99), times.longest_us()];
    Ok(Outcome {
        refused: clients - taken.len(),
        waits,
        alone_us: both(&alone),
        beside_us: both(&beside),
        cpu_us: used_ns / 1e3 / clients as f64,
        took,
    })
}

/// Up to SUBACK; the connection stands for as long as what is returned.
async fn log_in(port: u16, number: usize) -> Result<impl Sized> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let mut packet = Vec::new();
    wire::put_connect(&mut packet, &format!("client-{number}"), true);
    writer.write_all(&packet).await?;
    expect(&mut reader, [0x20, 2, 0, 0]).await.context("CONNACK")?;
    let filter = format!("cmd/{number}");
    packet.clear();
    wire::put_subscribe(&mut packet, [0, 1], &filter, 0);
    writer.write_all(&packet).await?;
    expect(&mut reader, [0x90, 3, 0, 1, 0]).await.context("SUBACK")?;
    Ok((reader, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_taken_however_they_come() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let broker = Broker { name: "mosquitto", tidegate: None };
        for over in [Duration::from_millis(500), Duration::ZERO] {
            let tasks = tokio::task::LocalSet::new();
            let outcome = tasks.block_on(&runtime, one(&broker, 300, over)).unwrap();
            assert_eq!((outcome.refused, outcome.waits.len()), (0, 300));
            assert!(outcome.beside_us[0] > 0.0 && outcome.took >= over * 9 / 10);
        }
    }
}
