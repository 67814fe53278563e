//! What the spool costs: bytes on disk, opening it, and emptying it into a null broker.

use crate::messages::{DEVICES, PAYLOAD_BEGINS, PAYLOAD_BYTES, SINK_PREFIX, SUFFIX};
use crate::sink::Sink;
use crate::usage::{Cpu, Memory};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tidegate_message::{Message, QoS, Topic};
use tidegate_spool::{Delivery, Disk, Key, NameKind, News, Settings, Spool, Transaction};
use tidegate_testkit::Process;

/// Messages made durable together.
const BATCH: u64 = 256;

/// Fills a spool, opens it, and lets a gateway empty it.
pub(crate) fn run(tidegate: &Path, messages: u64, folder: Option<&Path>) -> Result<()> {
    let temporary = match folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let temporary = temporary.context("a temporary directory")?;
    let data = temporary.path().join("data");
    let spool_folder = data.join("spool");
    fs::create_dir_all(&data)?;

    println!("one fdatasync after 64 KiB, median: {:.3} ms", sync_ms(temporary.path())?);

    let (began, cpu) = (Instant::now(), Cpu::of(std::process::id())?);
    let written = fill(&spool_folder, messages)?;
    let (took, used) = (began.elapsed(), Cpu::of(std::process::id())?.since_ns(&cpu));
    let each = |ns: u64| ns as f64 / messages as f64 / 1000.0;
    println!(
        "filled with {messages} messages of {PAYLOAD_BYTES} bytes, {BATCH} a batch: {:.0} messages/s, {:.2} CPU µs a message",
        messages as f64 / took.as_secs_f64(),
        each(used)
    );
    println!("bytes written to bytes of payload: {:.3}", written as f64 / (messages * PAYLOAD_BYTES as u64) as f64);

    let began = Instant::now();
    let disk = Disk::open(&spool_folder)?;
    let spool = Spool::open_stepwise(Arc::new(disk), Settings::default())?;
    println!("opening {:.2} GB: {:.3} s", written as f64 / 1e9, began.elapsed().as_secs_f64());
    drop(spool);

    empty(tidegate, temporary.path(), messages)
}

fn sync_ms(folder: &Path) -> Result<f64> {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for n in 0..200 {
        file.write_all_at(&[7; 64 * 1024], n % 64 * 64 * 1024)?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1000.0)
}

fn fill(folder: &Path, messages: u64) -> Result<u64> {
    let (woken, wakes) = channel();
    let disk = Arc::new(Disk::open(folder)?);
    let wake = Arc::new(move || {
        let _ = woken.send(());
    });
    let mut spool = Spool::open(disk, Settings::default(), wake)?;
    let queue = spool.queue(&Key::new("sink", 1));
    let (queue, route) = (spool.queue_name(queue), spool.name(NameKind::Route, "telemetry"));
    let mut payload = PAYLOAD_BEGINS.as_bytes().to_vec();
    payload.resize(PAYLOAD_BYTES, b' ');
    let payload = bytes::Bytes::from(payload);
    let topics: Vec<Topic> = DEVICES
        .map(|device| Topic::new(format!("{SINK_PREFIX}{device}{SUFFIX}")).context("a topic"))
        .collect::<Result<_>>()?;
    let mut news = News::default();
    let received_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64;
    let mut sent = 0;
    while sent < messages {
        let mut last = 0;
        for _ in 0..BATCH.min(messages - sent) {
            let topic = topics[sent as usize % topics.len()].clone();
            let message = Message::new(topic, payload.clone(), QoS::AtLeastOnce);
            let mut transaction = Transaction { received_ms, ..Transaction::default() };
            transaction.deliveries.push(Delivery { route, queues: [queue].into_iter().collect(), message });
            last = spool.append(transaction);
            sent += 1;
        }
        spool.flush();
        while news.durable < last {
            wakes.recv_timeout(Duration::from_secs(30)).context("the spool has stopped")?;
            spool.poll(&mut news);
            news.ready.clear();
        }
    }
    let written = spool.stats().written_bytes;
    if !spool.close(Duration::from_secs(30)) {
        bail!("the spool could not be closed");
    }
    Ok(written)
}

fn empty(tidegate: &Path, folder: &Path, messages: u64) -> Result<()> {
    let sink = Sink::start(PAYLOAD_BEGINS)?;
    let config = folder.join("drain.toml");
    let (data, port) = (folder.join("data"), sink.port());
    fs::write(
        &config,
        format!(
            "[gateway]\nname = \"bench\"\ndata_dir = \"{}\"\n\n[brokers.sink]\nurl = \"mqtt://127.0.0.1:{port}\"\n\
             version = \"3.1.1\"\n\n[[routes]]\nname = \"telemetry\"\nfrom = {{ broker = \"sink\", topics = [\"none\"] }}\n\
             to = [\"sink\"]\nremap = {{ strip = \"none\", prefix = \"nowhere\" }}\n",
            data.display()
        ),
    )?;
    let mut process = Process::spawn("Tidegate", Command::new(tidegate).args(["run", "--config"]).arg(&config));
    let (mut first, mut before) = (None, None);
    let until = Instant::now() + Duration::from_secs(300);
    while sink.received() < messages {
        if Instant::now() > until || !process.is_running() {
            bail!("{} of {messages} messages came{}", sink.received(), process.tail());
        }
        if first.is_none() && sink.received() > 0 {
            first = Some((Instant::now(), sink.received()));
            before = Some(Cpu::of(process.pid())?);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let (Some((began, early)), Some(before)) = (first, before) else { bail!("nothing came") };
    let took = began.elapsed();
    let used = Cpu::of(process.pid())?.since_ns(&before);
    let (drained, faults) = (messages - early, sink.take_faults());
    println!(
        "drained into a null broker: {:.0} messages/s, {:.2} CPU µs a message, peak {:.1} MiB, {} out of order",
        drained as f64 / took.as_secs_f64(),
        used as f64 / drained as f64 / 1000.0,
        Memory::of(process.pid())?.peak_kib as f64 / 1024.0,
        faults.gaps
    );
    Ok(())
}
