//! `tidegate demo`: a house, an office, devices and plugins in one process, and a picture of it that moves.
//!
//! [`devices`] are the clients at both ends, [`events`] keeps what the log says, [`layout`] makes lines of all that and
//! [`screen`] draws them on a terminal. Where stdout is none, the table is printed again and again instead.

mod devices;
mod events;
mod layout;
mod screen;

use crate::{Failure, check, duration, logs, runtime};
use devices::Running;
use events::Events;
use layout::View;
use screen::Screen;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_admin::{Admin, Logbook};
use tidegate_gateway::{Gateway, Service, Snapshot};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The shipped plugins that the demo uses, so that nothing needs to be found or built.
const CONVERT: &[u8] = include_bytes!("../../../plugins/dist/convert.wasm");
const ROUTE_BY_FIELD: &[u8] = include_bytes!("../../../plugins/dist/route-by-field.wasm");
/// Two that need no configuration, so that one can be saved over the other.
const PASS: &[u8] = include_bytes!("demo/pass.wasm");
const DROP_UNCHANGED: &[u8] = include_bytes!("../../../plugins/dist/drop-unchanged.wasm");

/// How often the picture moves: on a terminal, and where every line stays.
const MOVES: Duration = Duration::from_millis(500);
const PRINTS: Duration = Duration::from_secs(2);

/// How wide a table is that is printed.
const PRINTED_COLUMNS: usize = 160;

/// How long the last messages may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// What is worth a line: what was reloaded, what was refused, and errors.
const LOGGED: &str = "error,tidegate_gateway::serve=info";

/// Of `tidegate demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// End by itself after this long, with a summary.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::duration)]
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
    let temporary;
    let dir = match &arguments.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| disk(dir, &error))?;
            std::path::absolute(dir).map_err(|error| disk(dir, &error))?
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
        // From here on nothing but SIGKILL ends the process without its directory being removed.
        let ended = signals()?;
        let (stop, reload) = (CancellationToken::new(), Arc::new(Notify::new()));
        let (display, logbook) = Display::open(&dir);
        let mut playing = None;
        let service = Service::open(&file, config).await?;
        let admin = Admin::bind(service.config())?;
        let page = admin.as_ref().and_then(Admin::addr);
        let serving = service.run(stop.clone(), &reload, DRAIN, |gateway| {
            if let Some(admin) = admin {
                let (file, asked) = (file.clone(), reload.clone());
                tidegate_admin::serve(admin, gateway.console(), logbook, file, asked, stop.child_token())?;
            }
            let play = Play::begin(gateway.clone(), &arguments, &dir, display, page);
            let stop = stop.clone();
            playing = Some(tokio::task::spawn_local(async move {
                let summary = play.run(ended).await;
                stop.cancel();
                summary
            }));
            Ok(())
        });
        let served = serving.await?;
        let mut summary = match playing {
            Some(task) => task.await.unwrap_or_default(),
            None => String::new(),
        };
        if served.left.messages > 0 {
            summary += &format!("{} messages were still under way at the end\n", served.left.messages);
        }
        // The terminal may be gone.
        let _ = std::io::stdout().write_all(summary.as_bytes());
        Ok(())
    })
}

fn disk(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Disk(format!("{}: {error}", path.display()))
}

/// Ends at Ctrl-C, at SIGTERM, and when the terminal is closed.
fn signals() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::Unavailable(format!("no signals: {error}")));
    let (mut interrupt, mut terminate, mut hangup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// Writes the demo's files; a configuration that is there already is the user's own and stays.
fn furnish(dir: &Path) -> Result<PathBuf, Failure> {
    let plugins = dir.join("plugins");
    let spare = plugins.join("spare");
    std::fs::create_dir_all(&spare).map_err(|error| disk(&spare, &error))?;
    let file = dir.join("demo.toml");
    let config = include_str!("demo/demo.toml");
    let files: [(PathBuf, &[u8]); 6] = [
        (plugins.join("convert.wasm"), CONVERT),
        (plugins.join("route-by-field.wasm"), ROUTE_BY_FIELD),
        (plugins.join("calm.wasm"), PASS),
        (spare.join("pass.wasm"), PASS),
        (spare.join("drop-unchanged.wasm"), DROP_UNCHANGED),
        (file.clone(), config.as_bytes()),
    ];
    for (path, content) in files {
        if !path.exists() {
            std::fs::write(&path, content).map_err(|error| disk(&path, &error))?;
        }
    }
    Ok(file)
}

/// Where the picture goes.
enum Display {
    Terminal(Screen, Events),
    /// Lines that stay; the log goes to stderr.
    Printed,
}

impl Display {
    fn open(dir: &Path) -> (Self, Logbook) {
        match Screen::enter() {
            Some(screen) => {
                let (events, logbook) = Events::start(LOGGED, format!("{}/", dir.display()));
                (Self::Terminal(screen, events), logbook)
            }
            None => (Self::Printed, logs::init_recorded(logs::Format::Text, LOGGED)),
        }
    }
}

/// Devices, audience, and the picture.
struct Play {
    gateway: Gateway,
    display: Display,
    time: Option<Duration>,
    rate: u64,
    began: Instant,
    story: String,
    commands: Vec<(&'static str, String)>,
    page: Option<SocketAddr>,
    /// Of the devices, and of those who listen.
    stops: [CancellationToken; 2],
    devices: Option<Running>,
    audience: Option<Running>,
    home: Option<SocketAddr>,
    office: Option<SocketAddr>,
}

impl Play {
    fn begin(gateway: Gateway, arguments: &Arguments, dir: &Path, display: Display, page: Option<SocketAddr>) -> Self {
        let home = gateway.addresses("home").first().copied();
        let office = gateway.addresses("office").first().copied();
        Self {
            display,
            time: arguments.time,
            rate: arguments.rate,
            began: Instant::now(),
            story: story(arguments.rate, home, office),
            commands: commands(dir, office),
            page,
            stops: [CancellationToken::new(), CancellationToken::new()],
            devices: None,
            audience: None,
            home,
            office,
            gateway,
        }
    }

    /// Until the time is over, a signal, or a terminal that is gone. Returns the summary.
    async fn run(mut self, ended: impl Future<Output = ()>) -> String {
        if let (Some(home), Some(office)) = (self.home, self.office) {
            self.audience = Some(devices::audience(office, self.stops[1].clone()));
            // Let the audience take its seat before the first message.
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.devices = Some(devices::devices(home, self.rate, self.stops[0].clone()));
        }
        tokio::select! {
            _ = self.show() => {}
            () = pass(self.time) => {}
            () = ended => {}
        }
        self.finish().await
    }

    fn title(&self) -> String {
        let page = self.page.map(|addr| format!(" the page: http://{addr}/;")).unwrap_or_default();
        format!("tidegate demo, for {} s;{page} Ctrl-C ends it", self.began.elapsed().as_secs())
    }

    /// Draws until nobody can see it.
    async fn show(&self) -> std::io::Result<()> {
        let (mut before, mut at) = (self.gateway.snapshot(), Instant::now());
        if matches!(self.display, Display::Printed) {
            let commands = layout::commands(&self.commands, PRINTED_COLUMNS);
            let commands: Vec<_> = commands.into_iter().map(|line| line.text).collect();
            let page = self.page.map(|addr| format!("\nThe page is at http://{addr}/.")).unwrap_or_default();
            writeln!(std::io::stdout().lock(), "{}{page}\n\n{}\n", self.story, commands.join("\n"))?;
        }
        loop {
            let (now, seconds) = (self.gateway.snapshot(), at.elapsed().as_secs_f64());
            match &self.display {
                Display::Terminal(screen, events) => {
                    let (columns, rows) = screen.size();
                    let view = View {
                        now: &now,
                        before: &before,
                        seconds,
                        title: self.title(),
                        story: &self.story,
                        commands: &self.commands,
                        events: &events.all(),
                    };
                    screen.draw(&layout::screen(&view, columns, rows))?;
                    (before, at) = (now, Instant::now());
                    tokio::time::sleep(MOVES).await;
                }
                Display::Printed => {
                    write!(std::io::stdout().lock(), "{}", printed(&now, &before, seconds))?;
                    (before, at) = (now, Instant::now());
                    tokio::time::sleep(PRINTS).await;
                }
            }
        }
    }

    /// Lets the last messages arrive, and adds up.
    async fn finish(mut self) -> String {
        let took = self.began.elapsed();
        self.stops[0].cancel();
        if let Some(devices) = &mut self.devices {
            devices.ended().await;
        }
        let deadline = Instant::now() + DRAIN;
        let under_way = |snapshot: &Snapshot| snapshot.routes.iter().map(|route| route.account.in_flight).sum::<u64>();
        let mut last = self.gateway.snapshot();
        while under_way(&last) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
            last = self.gateway.snapshot();
        }
        self.stops[1].cancel();
        if let Some(audience) = &mut self.audience {
            audience.ended().await;
        }
        let published = self.devices.as_ref().map_or(0, Running::acknowledged);
        let arrived = self.audience.as_ref().map_or(0, Running::received);
        let mut out = format!("\nSummary of {:.1} s\n", took.as_secs_f64());
        out += &printed(&last, &Snapshot::default(), took.as_secs_f64());
        let balanced = last.routes.iter().all(|route| route.account.imbalance() == 0);
        out += &format!(
            "\n{published} readings acknowledged to the devices, {arrived} messages seen at the office.\n\
             Every message accounted for (in + recovered + copies = out + dropped + parked + in flight): {}.\n\
             Reloads applied: {}, refused: {}.\n",
            if balanced { "yes" } else { "NO, please report this" },
            last.reloads,
            last.reloads_refused
        );
        out
    }
}

/// The table as text.
fn printed(now: &Snapshot, before: &Snapshot, seconds: f64) -> String {
    let lines = layout::table(now, before, seconds, PRINTED_COLUMNS);
    lines.into_iter().map(|line| line.text + "\n").collect()
}

/// What is going on.
fn story(rate: u64, home: Option<SocketAddr>, office: Option<SocketAddr>) -> String {
    let address = |addr: Option<SocketAddr>| addr.map_or_else(|| "not there".to_owned(), |addr| addr.to_string());
    format!(
        "Eight rooms publish {rate} readings a second to the broker `home` ({}). Plugins drop debug readings, send alarms to \
         `office` ({}) under alarm/, and the rest in Celsius under site/cottage/.",
        address(home),
        address(office),
    )
}

/// What to try beside it, ready to be pasted.
fn commands(dir: &Path, office: Option<SocketAddr>) -> Vec<(&'static str, String)> {
    let tidegate = std::env::args().next().unwrap_or_else(|| "tidegate".to_owned());
    let (tidegate, at) = (quoted(&tidegate), |name: &str| quoted(&dir.join(name).display().to_string()));
    let file = at("demo.toml");
    let swap =
        format!("cp {} {} # and pass.wasm back", at("plugins/spare/drop-unchanged.wasm"), at("plugins/calm.wasm"));
    let mut commands = Vec::new();
    if let Some(office) = office {
        commands.push(("listen", format!("{tidegate} sub -u mqtt://{office} -t '#'")));
    }
    let sample = r#"-b home -t dev/hall/temp -p '{"kind":"telemetry","temp":71.6}'"#;
    commands.push(("look", format!("{tidegate} tap -c {file} 'dev/#' # or status, or dropped")));
    commands.push(("ask why", format!("{tidegate} explain -c {file} {sample}")));
    commands.push(("edit", format!("${{EDITOR:-vi}} {file} # say `round = 0`")));
    commands.push(("swap", swap));
    commands
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Waits for a while, or for ever.
async fn pass(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `TIDEGATE_WRITE_GOLDEN` set it is written.
    #[test]
    fn the_component_that_lets_everything_pass_is_what_its_text_says() {
        let built = wat::parse_str(include_str!("demo/pass.wat")).unwrap();
        if std::env::var_os("TIDEGATE_WRITE_GOLDEN").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/pass.wasm"), &built).unwrap();
            return;
        }
        assert!(built == PASS, "pass.wasm is stale: run this test with TIDEGATE_WRITE_GOLDEN=1");
    }

    #[test]
    fn what_is_to_be_pasted_is_one_word_a_path() {
        assert_eq!(quoted("/tmp/tidegate-demo-AbC/demo.toml"), "/tmp/tidegate-demo-AbC/demo.toml");
        assert_eq!(quoted("/tmp/it's mine"), r"'/tmp/it'\''s mine'");
        let commands = commands(Path::new("/tmp/a b"), None);
        assert!(
            commands.iter().any(|(_, command)| command.contains("explain -c '/tmp/a b/demo.toml' ")),
            "{commands:?}"
        );
    }
}
