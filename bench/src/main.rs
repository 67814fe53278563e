//! What Tidegate costs: CPU time a message, throughput, latency, memory and start, beside a mosquitto bridge.
//!
//! The path of a message: [`source::Source`] writes it, encoded beforehand, to the subject, which is Tidegate, mosquitto
//! or the least bridge, each a process of its own; [`sink::Sink`] counts what comes out. [`session`] puts one subject
//! through everything once, and `run` below lets all of them take turns, so that a busy minute of the machine hits all.
//!
//! Invariants: the null brokers encode and store nothing while they run; what a subject costs is read from the kernel's
//! accounts of its process; a figure never comes without the number of messages that were lost on the way.
//!
//! Start reading at [`session::run`].

mod against;
mod beat;
mod beside;
mod blocking;
mod bulk;
mod clients;
mod disk;
mod least_bridge;
mod machine;
mod messages;
mod report;
mod session;
mod sink;
mod source;
mod storm;
mod subject;
mod takeover;
mod tls;
mod usage;
mod versions;
mod watched;
mod wire;
mod workers;

use crate::messages::Load;
use crate::report::{Circumstances, Results};
use crate::subject::{Setting, Subject};
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tidegate_testkit::Certs;

/// Starts that are measured of each subject, at least.
const STARTS: usize = 5;

/// What `--quick` means.
const QUICK: (u64, u32) = (2, 1);

/// The window at QoS 1.
const WINDOW: u16 = 1000;

/// Measures Tidegate and a mosquitto bridge on the same work, prints the figures, and writes bench/RESULTS.md.
#[derive(Debug, Parser)]
#[command(name = "tidegate-bench", version)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Two seconds a figure and one repeat: to see that all works; nothing is written
    #[arg(long)]
    quick: bool,
    /// Only this subject; may be given more than once; nothing is written
    #[arg(long, value_enum)]
    only: Vec<Subject>,
    /// Only this QoS; nothing is written
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: Option<u8>,
    /// Seconds a figure
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Repeats; the median counts
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// The MQTT version Tidegate speaks to both ends: 3.1.1, as mosquitto's bridge does, or 5
    #[arg(long, default_value = "3.1.1")]
    mqtt: String,
    /// Payloads of so many bytes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(100..))]
    payload: u16,
    /// Two user properties with each message, at MQTT 5
    #[arg(long)]
    user_properties: bool,
    /// TLS 1.3 on both ways; the least bridge has none
    #[arg(long)]
    tls: bool,
    /// So many routes, each with its part of the 100 topics
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    routes: u16,
    /// This binary, as it is, instead of the one that is built beside this benchmark
    #[arg(long)]
    tidegate: Option<PathBuf>,
    /// In turn with this binary, an earlier build: only what Tidegate costs, and the ratio pair by pair; written only to `--out`
    #[arg(long, value_name = "BINARY")]
    against: Option<PathBuf>,
    /// With `--against`: adds a line for each ratio to this file
    #[arg(long, requires = "against")]
    history: Option<PathBuf>,
    /// Where the result is written
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// The floor to measure others by; started by the benchmark itself
    #[command(hide = true)]
    LeastBridge { source_port: u16, sink_port: u16, qos: u8 },
    /// Measure what it costs messages that many look at the gateway, and read nothing of what they asked for
    Watched {
        /// Seconds for each turn
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// How often
        #[arg(long, default_value_t = 3)]
        turns: usize,
    },
    /// Measure swaps of plugins under load: what is lost, and for how long nothing comes
    Swaps {
        /// How many
        #[arg(long, default_value_t = 1_000)]
        swaps: usize,
    },
    /// Measure live traffic beside versions that are tried as shadows, and misbehave
    Shadows {
        /// Seconds for each turn
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// How often
        #[arg(long, default_value_t = 3)]
        turns: usize,
    },
    /// Measure how long messages of a plain route take beside plugins that misbehave
    Beside {
        /// Seconds for each of them
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// The hostile plugins, as scripts/build-plugins leaves them
        #[arg(long)]
        hostile: Option<PathBuf>,
    },
    /// Measure the box's own broker with many clients, beside mosquitto; with `--against` an earlier build too
    Clients {
        /// How many clients publish to one; may be given more than once
        #[arg(long = "clients", default_values_t = [1, 100, 1000, 10_000])]
        numbers: Vec<usize>,
        /// Seconds a figure
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Repeats; the median counts
        #[arg(long, default_value_t = 3)]
        repeats: u32,
    },
    /// Measure what the box's own broker keeps: retained messages and sessions, all of them asked for at once, and its start with them
    Bulk {
        /// How many retained messages
        #[arg(long, default_value_t = 1_000_000)]
        retained: usize,
        /// How many sessions of clients that are away
        #[arg(long, default_value_t = 100_000)]
        sessions: usize,
    },
    /// Measure what becomes of a broker to which very many clients connect: how long each waits, and how long everybody else does
    Storm {
        /// How many clients
        #[arg(long, default_value_t = 10_000)]
        clients: usize,
        /// Spread over so many seconds; 0: as fast as they are taken. May be given more than once
        #[arg(long, default_values_t = [20, 0])]
        seconds: Vec<u64>,
    },
    /// Measure how many messages a second a slow plugin decides, with one worker and with more
    Workers {
        /// A component that needs no configuration and writes payloads in capitals: that of plugins/javascript-uppercase
        component: PathBuf,
        /// How many workers; may be given more than once
        #[arg(long = "workers", default_value = "2")]
        numbers: Vec<u16>,
        /// Seconds a figure
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Repeats; the median counts
        #[arg(long, default_value_t = 5)]
        repeats: u32,
    },
    /// Measure sets of real brokers: takeovers, topics that move, a strained member, home while the office is away
    Takeover {
        /// Only these parts
        #[arg(value_enum)]
        parts: Vec<takeover::Part>,
        /// How often each is measured; the median counts
        #[arg(long, default_value_t = 3)]
        turns: u32,
    },
    /// Measure the spool: bytes on disk, opening it, emptying it
    Spool {
        /// How many messages
        #[arg(long, default_value_t = 4_000_000)]
        messages: u64,
        /// On the disk of this folder
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::LeastBridge { source_port, sink_port, qos }) => least_bridge::run(source_port, sink_port, qos),
        Some(Part::Spool { messages, ref dir }) => {
            disk::run(&tidegate(arguments.tidegate.as_deref(), &[])?, messages, dir.as_deref())
        }
        Some(Part::Watched { seconds, turns }) => {
            let tidegate = tidegate(arguments.tidegate.as_deref(), &[])?;
            watched::run(&tidegate, Duration::from_secs(seconds), turns.max(1))
        }
        Some(Part::Swaps { swaps }) => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
            versions::swaps(&tidegate(arguments.tidegate.as_deref(), &[])?, &root.join("plugins/dist"), swaps)
        }
        Some(Part::Shadows { seconds, turns }) => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
            let (dist, hostile) = (root.join("plugins/dist"), root.join("target/plugins/hostile"));
            let tidegate = tidegate(arguments.tidegate.as_deref(), &[])?;
            versions::shadows(&tidegate, &dist, &hostile, Duration::from_secs(seconds), turns.max(1))
        }
        Some(Part::Beside { seconds, ref hostile }) => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
            let hostile = hostile.clone().unwrap_or_else(|| root.join("target/plugins/hostile"));
            beside::run(&tidegate(arguments.tidegate.as_deref(), &[])?, &hostile, Duration::from_secs(seconds))
        }
        Some(Part::Clients { ref numbers, seconds, repeats }) => {
            let tidegate = tidegate(arguments.tidegate.as_deref(), &[])?;
            clients::run(&tidegate, arguments.against.as_deref(), numbers, Duration::from_secs(seconds), repeats)
        }
        Some(Part::Bulk { retained, sessions }) => {
            let tidegate = tidegate(arguments.tidegate.as_deref(), &[])?;
            bulk::run(&tidegate, arguments.against.as_deref(), retained, sessions)
        }
        Some(Part::Storm { clients, ref seconds }) => {
            let tidegate = tidegate(arguments.tidegate.as_deref(), &[])?;
            storm::run(&tidegate, arguments.against.as_deref(), clients, seconds)
        }
        Some(Part::Takeover { ref parts, turns }) => {
            let parts = if parts.is_empty() { &takeover::Part::ALL[..] } else { parts };
            takeover::run(&tidegate(arguments.tidegate.as_deref(), &[])?, parts, turns)
        }
        Some(Part::Workers { ref component, ref numbers, seconds, repeats }) => {
            let tidegate = tidegate(arguments.tidegate.as_deref(), &[])?;
            workers::run(&tidegate, component, numbers, Duration::from_secs(seconds), repeats)
        }
        None => run(arguments),
    }
}

fn run(arguments: Arguments) -> Result<()> {
    if cfg!(debug_assertions) {
        bail!("figures of a debug build say nothing: run with --release");
    }
    let (seconds, repeats) = if arguments.quick { QUICK } else { (arguments.seconds, arguments.repeats) };
    let measured = Duration::from_secs(seconds);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let dir = tempfile::tempdir().context("a temporary directory")?;
    let setting = Setting {
        tidegate: tidegate(arguments.tidegate.as_deref(), &arguments.only)?,
        plugins: root.join("plugins/dist"),
        mqtt: if arguments.user_properties { "5".to_owned() } else { arguments.mqtt.clone() },
        window: WINDOW,
        load: Load {
            payload_bytes: arguments.payload.into(),
            user_properties: arguments.user_properties,
            routes: arguments.routes,
        },
        tls: arguments.tls.then(|| Arc::new(Certs::new())),
        dir: dir.path().to_owned(),
    };
    let wanted = |subject: &Subject| arguments.only.is_empty() || arguments.only.contains(subject);
    let (subjects, skipped) = what_there_is(&setting, Subject::ALL.into_iter().filter(wanted));
    let qos: Vec<u8> = arguments.qos.map_or_else(|| vec![0, 1], |qos| vec![qos]);
    if let Some(other) = &arguments.against {
        let other = Setting { tidegate: other.clone(), dir: dir.path().join("other"), ..setting.clone() };
        let pairs = against::run((&other, &setting), &subjects, &qos, repeats, measured)?;
        let mut facts = machine::facts(&setting.tidegate);
        facts.push(("Each figure", format!("{seconds} s, {repeats} turns of then, now and the least bridge")));
        facts.push(("Messages", setting.load.to_string()));
        let page = against::page(&pairs, &facts);
        println!("{page}");
        if let Some(history) = &arguments.history {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(history)?;
            file.write_all(against::history(&pairs, &facts).as_bytes())?;
        }
        return arguments.out.map_or(Ok(()), |path| Ok(std::fs::write(path, page)?));
    }
    let mut results = measure(&setting, &subjects, &qos, repeats, measured)?;
    results.skipped = skipped;

    let mut facts = machine::facts(&setting.tidegate);
    facts.push((
        "Tidegate speaks",
        format!("MQTT {}; mosquitto's bridge 3.1.1; window at QoS 1: {WINDOW}", setting.mqtt),
    ));
    facts.push(("Each figure", format!("{seconds} s, {repeats} repeats")));
    let page = results.page(&Circumstances { facts, measured });
    println!("{page}");
    write(&arguments, root, &page)
}

/// The binary to measure. Under cargo it is built first, so that no old one is measured.
fn tidegate(given: Option<&Path>, only: &[Subject]) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("tidegate");
    let needed = only.is_empty() || only.iter().any(|subject| subject.is_tidegate());
    if let Some(cargo) = std::env::var_os("CARGO").filter(|_| needed) {
        let status = Command::new(cargo).args(["build", "--release", "-p", "tidegate"]).status()?;
        if !status.success() {
            bail!("tidegate does not build; give a binary with --tidegate");
        }
    }
    Ok(beside)
}

fn what_there_is(setting: &Setting, wanted: impl Iterator<Item = Subject>) -> (Vec<Subject>, Vec<(Subject, String)>) {
    let mut subjects = Vec::new();
    let mut skipped = Vec::new();
    for subject in wanted {
        match setting.missing(subject) {
            None => subjects.push(subject),
            Some(why) => {
                eprintln!("skipped: {}: {why}", subject.name());
                skipped.push((subject, why));
            }
        }
    }
    (subjects, skipped)
}

/// All subjects take turns in each repeat.
fn measure(setting: &Setting, subjects: &[Subject], qos: &[u8], repeats: u32, measured: Duration) -> Result<Results> {
    let mut results = Results::default();
    for &subject in subjects {
        for &qos in qos {
            // Fills the cache of compiled plugins; its time does not count.
            session::start_only(setting, subject, qos).with_context(|| subject.name())?;
        }
    }
    for repeat in 1..=repeats {
        for &qos in qos {
            for &subject in subjects {
                let session = session::run(setting, subject, qos, measured).with_context(|| subject.name())?;
                eprintln!(
                    "{repeat}/{repeats}  QoS {qos}  {:24} {:7.2} µs a message, {:9.0} messages/s, lost {}",
                    subject.name(),
                    session.full.cpu_us,
                    session.full.per_s,
                    session.full.lost,
                );
                results.starts.entry(subject).or_default().push(session.start);
                results.sessions.entry((subject, qos)).or_default().push(session);
            }
        }
    }
    for &subject in subjects {
        let starts = results.starts.entry(subject).or_default();
        while starts.len() < STARTS {
            starts.push(session::start_only(setting, subject, qos[0]).with_context(|| subject.name())?);
        }
    }
    Ok(results)
}

/// Where the part of the page begins that is not written here, but by hand, from `scripts/soak` and `bench/kill-mosquitto`.
const BY_HAND: &str = "\n## kill -9\n";

/// A part of the figures does not replace the whole.
fn write(arguments: &Arguments, root: &Path, page: &str) -> Result<()> {
    let partial = arguments.quick || arguments.tls || !arguments.only.is_empty() || arguments.qos.is_some();
    let path = match &arguments.out {
        Some(path) => path.clone(),
        None if partial => return Ok(()),
        None => root.join("bench/RESULTS.md"),
    };
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let by_hand = old.find(BY_HAND).map_or("", |at| &old[at..]);
    std::fs::write(&path, format!("{page}{by_hand}")).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("written to {}", path.display());
    Ok(())
}
