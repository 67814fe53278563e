//! `tidegate demo`: a house, an office, devices and plugins in one process, and a table that moves.

use crate::devices::{self, Running};
use crate::table;
use crate::{Failure, check, logs, runtime};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidegate_gateway::{Gateway, Snapshot, serve};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The shipped plugins that the demo uses, so that nothing needs to be found or built.
const CONVERT: &[u8] = include_bytes!("../../../plugins/dist/convert.wasm");
const ROUTE_BY_FIELD: &[u8] = include_bytes!("../../../plugins/dist/route-by-field.wasm");

/// How often the table moves: on a terminal, and where every line stays.
const MOVES: Duration = Duration::from_millis(500);
const PRINTS: Duration = Duration::from_secs(2);

/// How long the last messages may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Of `tidegate demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// End by itself after this long, with a summary.
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Messages a second from all devices together.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=200_000))]
    rate: u64,
    /// Where the demo keeps its configuration and plugins; kept afterwards. A temporary directory otherwise.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn demo(arguments: Arguments) -> Result<(), Failure> {
    logs::init(logs::Format::Text, "error,tidegate_gateway::serve=warn");
    let temporary;
    let dir = match &arguments.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| disk(dir, &error))?;
            dir.clone()
        }
        None => {
            temporary = tempfile::Builder::new()
                .prefix("tidegate-demo-")
                .tempdir()
                .map_err(|error| disk(&std::env::temp_dir(), &error))?;
            temporary.path().to_owned()
        }
    };
    let file = furnish(&dir)?;
    let config = check::load(&file)?;
    runtime::block_on(async {
        let (stop, reload) = (CancellationToken::new(), Notify::new());
        let mut playing = None;
        let serving = serve(&file, config, stop.clone(), &reload, DRAIN, |gateway| {
            let play = Play::begin(gateway.clone(), &arguments, &file);
            let stop = stop.clone();
            playing = Some(tokio::task::spawn_local(async move {
                let summary = play.run().await;
                stop.cancel();
                summary
            }));
            Ok(())
        });
        let served = serving.await?;
        if let Some(Ok(summary)) = match playing {
            Some(task) => Some(task.await),
            None => None,
        } {
            println!("{summary}");
        }
        if served.left.messages > 0 {
            println!("{} messages were still under way at the end", served.left.messages);
        }
        Ok(())
    })
}

fn disk(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Disk(format!("{}: {error}", path.display()))
}

/// Writes the demo's files; a configuration that is there already is the user's own and stays.
fn furnish(dir: &Path) -> Result<PathBuf, Failure> {
    let plugins = dir.join("plugins");
    std::fs::create_dir_all(&plugins).map_err(|error| disk(&plugins, &error))?;
    let file = dir.join("demo.toml");
    let config = include_str!("demo.toml");
    let files: [(PathBuf, &[u8]); 3] = [
        (plugins.join("convert.wasm"), CONVERT),
        (plugins.join("route-by-field.wasm"), ROUTE_BY_FIELD),
        (file.clone(), config.as_bytes()),
    ];
    for (path, content) in files {
        if !path.exists() {
            std::fs::write(&path, content).map_err(|error| disk(&path, &error))?;
        }
    }
    Ok(file)
}

/// Devices, audience, and the table.
struct Play {
    gateway: Gateway,
    file: PathBuf,
    time: Option<Duration>,
    rate: u64,
    stop: CancellationToken,
    devices: Option<Running>,
    audience: Option<Running>,
    home: Option<SocketAddr>,
    office: Option<SocketAddr>,
}

impl Play {
    fn begin(gateway: Gateway, arguments: &Arguments, file: &Path) -> Self {
        let home = gateway.addresses("home").first().copied();
        let office = gateway.addresses("office").first().copied();
        Self {
            gateway,
            file: file.to_owned(),
            time: arguments.time,
            rate: arguments.rate,
            stop: CancellationToken::new(),
            devices: None,
            audience: None,
            home,
            office,
        }
    }

    /// Until the time is over or Ctrl-C. Returns the summary.
    async fn run(mut self) -> String {
        self.introduce();
        if let (Some(home), Some(office)) = (self.home, self.office) {
            self.audience = Some(devices::audience(office, self.stop.clone()));
            // Let the audience take its seat before the first message.
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.devices = Some(devices::devices(home, self.rate, self.stop.child_token()));
        }
        let started = Instant::now();
        tokio::select! {
            () = self.show() => {}
            () = pass(self.time) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        self.finish(started.elapsed()).await
    }

    fn introduce(&self) {
        let address = |addr: Option<SocketAddr>| addr.map_or_else(|| "-".to_owned(), |addr| addr.to_string());
        let port = |addr: Option<SocketAddr>| addr.map_or(0, |addr| addr.port());
        println!(
            "Two MQTT brokers in this process: home at {}, office at {}. Eight rooms at home publish {} readings a\n\
             second in Fahrenheit at QoS 1; plugins drop debug readings, send alarms to office under alarm/, and\n\
             convert the rest to Celsius on the way to office.\n\n\
             Look with any client:     mosquitto_sub -p {} -t '#' -v\n\
             Change the rules live:    edit {}\n\
             \x20                         (for example `round = 0`), or save another component over one in plugins/.\n",
            address(self.home),
            address(self.office),
            self.rate,
            port(self.office),
            self.file.display(),
        );
    }

    /// Draws for ever.
    async fn show(&self) {
        let moves = std::io::stdout().is_terminal();
        let every = if moves { MOVES } else { PRINTS };
        let (mut before, mut at, mut drawn) = (self.gateway.snapshot(), Instant::now(), 0);
        loop {
            tokio::time::sleep(every).await;
            let now = self.gateway.snapshot();
            let text = table::table(&now, &before, at.elapsed().as_secs_f64());
            let mut out = std::io::stdout().lock();
            if moves && drawn > 0 {
                // Back to the first line of the table before, and clear from there.
                let _ = write!(out, "\x1b[{drawn}A\x1b[J");
            }
            let _ = write!(out, "{text}");
            let _ = out.flush();
            drawn = table::height(&now);
            (before, at) = (now, Instant::now());
        }
    }

    /// Lets the last messages arrive, and adds up.
    async fn finish(&self, took: Duration) -> String {
        self.stop.cancel();
        let deadline = Instant::now() + DRAIN;
        let under_way = |snapshot: &Snapshot| snapshot.routes.iter().map(|route| route.in_flight).sum::<u64>();
        let mut last = self.gateway.snapshot();
        while under_way(&last) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
            last = self.gateway.snapshot();
        }
        let published = self.devices.as_ref().map_or(0, Running::acknowledged);
        let arrived = self.audience.as_ref().map_or(0, Running::received);
        let mut out = format!("\nSummary of {:.1} s\n", took.as_secs_f64());
        out += &table::table(&last, &Snapshot::default(), took.as_secs_f64());
        let balanced = last.routes.iter().all(|route| route.imbalance == 0);
        out += &format!(
            "\n{published} readings acknowledged to the devices, {arrived} messages seen at the office.\n\
             Every message accounted for (in = out + dropped + parked + in flight): {}.\n\
             Reloads applied: {}, refused: {}.",
            if balanced { "yes" } else { "NO, please report this" },
            last.reloads,
            last.reloads_refused
        );
        out
    }
}

/// Waits for a while, or for ever.
async fn pass(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
