//! `tidegate plugin dev`: builds at each save, tries the samples, and shows what the newest build decides of live messages.
//!
//! It decides them itself, in an instance of its own: a gateway that has the component in its configuration takes each build
//! by its own watch, and is not held up. What that says and decides is shown where it is named.

use super::{beside, compiled, host, try_samples};
use crate::client::session::{Event, Received, Session};
use crate::client::subscribe::signals;
use crate::client::{Connection, words::Wrong};
use crate::{Failure, logs, runtime};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidegate_config::Config;
use tidegate_message::{Message, Properties, QoS, Topic, TopicFilter};
use tidegate_plugin::Host;
use tidegate_workbench::{Live, Project};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(300);

/// What compilers write.
const NOT_SOURCES: [&str; 5] = ["target", "node_modules", "__pycache__", "zig-cache", "zig-out"];

/// Of `tidegate plugin dev`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A gateway whose configuration names the component takes each build by itself, between two batches. With --config its lines of the
log about the plugin are shown here, and what it decides of live messages. Ends at Ctrl-C.

Examples:
  tidegate plugin dev
  tidegate plugin dev celsius --topic 'dev/#' --url mqtt://127.0.0.1:1883
  tidegate plugin dev celsius --config gateway.toml")]
pub(crate) struct Arguments {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Show what it decides of messages that match, as they come at --url; may stand several times.
    #[arg(long, short, value_name = "FILTER")]
    topic: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Goes on until a signal.
pub(crate) fn develop(arguments: &Arguments, gateway: Option<Config>) -> Result<(), Failure> {
    logs::init(logs::Format::Text, "off");
    for filter in &arguments.topic {
        TopicFilter::new(filter.as_str()).map_err(|error| Failure::Usage(format!("--topic: {error}")))?;
    }
    let options = arguments.connection.options()?;
    let project = Project::load(&arguments.folder).map_err(Failure::Config)?;
    if let Some(gateway) = gateway {
        beside::follow(gateway, &std::path::absolute(project.component()).unwrap_or_else(|_| project.component()))?;
    }
    let host = host()?;
    runtime::block_on(async {
        let ended = signals()?;
        let url = options.url.to_string();
        let session = (!arguments.topic.is_empty()).then(|| Session::open(options));
        tokio::select! {
            wrong = go_on(&host, &project, session, &arguments.topic) => Err(wrong.about(&url).into()),
            () = ended => Ok(()),
        }
    })
}

async fn go_on(host: &Host, project: &Project, mut session: Option<Session>, filters: &[String]) -> Wrong {
    let (mut look, mut seen, mut live, mut building) = (tokio::time::interval(LOOK), 0, None, None);
    loop {
        tokio::select! {
            event = next(&mut session) => match event {
                Ok(Event::Connected) => {
                    if session.as_mut().is_none_or(|session| session.subscribe(filters, 1).is_err()) {
                        return Wrong::new("rumqttc takes no subscription");
                    }
                }
                Ok(Event::Subscribed(answers)) => {
                    if let Some(wrong) = answers.into_iter().find_map(Result::err) {
                        return wrong;
                    }
                    println!("what comes on {} is decided here, too", filters.join(", "));
                }
                Ok(Event::Message(message)) => show(live.as_mut(), &message),
                Ok(Event::Written | Event::Acknowledged(_) | Event::Closed) => {}
                Err(wrong) => return wrong,
            },
            built = join(&mut building) => {
                building = None;
                // The old one goes on deciding where there is no new one.
                if built.is_some() {
                    live = built;
                    println!("this build decides from here on");
                }
            }
            _ = look.tick(), if building.is_none() => {
                let now = last_saved(&project.folder);
                if now != seen {
                    seen = now;
                    let (host, folder) = (host.clone(), project.folder.clone());
                    building = Some(tokio::task::spawn_blocking(move || build(&host, &folder)));
                }
            }
        }
    }
}

async fn next(session: &mut Option<Session>) -> Result<Event, Wrong> {
    match session {
        Some(session) => session.next().await,
        None => std::future::pending().await,
    }
}

async fn join(building: &mut Option<tokio::task::JoinHandle<Option<Live>>>) -> Option<Live> {
    match building {
        Some(building) => building.await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Builds, and says what came of it.
fn build(host: &Host, folder: &Path) -> Option<Live> {
    let began = Instant::now();
    let made = Project::load(folder).and_then(|project| {
        let component = tidegate_workbench::build(&project, false)?;
        println!("{} after {:.1} s", component.display(), began.elapsed().as_secs_f64());
        Ok((project, component))
    });
    let (project, component) = match made {
        Ok(made) => made,
        Err(words) => {
            println!("{words}");
            return None;
        }
    };
    let words = |failure: Failure| println!("{}", failure.words().unwrap_or_default());
    try_samples::files(&[project.samples()])
        .and_then(|files| try_samples::once(host, &component, false, &files))
        .map_err(words)
        .ok()?;
    let compiled = compiled(host, &component).map_err(words).ok()?;
    let live = project.first_samples().and_then(|samples| Live::start(host, &compiled, &samples));
    live.map_err(|words| println!("{words}")).ok()
}

fn show(live: Option<&mut Live>, came: &Received) {
    println!("{} {}", came.topic, String::from_utf8_lossy(&came.payload));
    let Some(live) = live else {
        println!("  no build yet");
        return;
    };
    let Ok(topic) = Topic::new(came.topic.clone()) else { return };
    let qos = QoS::from_u8(came.qos).unwrap_or_default();
    let mut message = Message { retain: came.retain, ..Message::new(topic, came.payload.clone(), qos) };
    message.properties = came.properties.as_ref().map(|came| {
        Box::new(Properties {
            content_type: came.content_type.clone().map(Into::into),
            correlation_data: came.correlation_data.clone(),
            message_expiry_seconds: came.message_expiry_interval,
            payload_is_utf8: came.payload_format_indicator == Some(1),
            user: came
                .user_properties
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            ..Properties::default()
        })
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    for line in live.decide(&message, u64::try_from(now).unwrap_or_default()) {
        println!("  {line}");
    }
}

/// A number that another save changes: of the times and sizes of every source.
fn last_saved(folder: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || name.contains(".wasm") || NOT_SOURCES.contains(&name.as_str()) {
                continue;
            }
            match path.metadata() {
                Ok(found) if found.is_dir() => folders.push(path),
                Ok(found) => (path, found.len(), found.modified().ok()).hash(&mut hash),
                Err(_) => {}
            }
        }
    }
    hash.finish()
}
