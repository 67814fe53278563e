//! `tidegate events`: what has changed in a running gateway, by name.

use crate::table::{Line, Tone, cut, print, width};
use crate::tap::clock;
use crate::{Failure, admin_client, check};
use tidegate_admin::events::EVENTS;
use tidegate_admin::model::LogLine;
use tidegate_gateway::harmless;

/// Of `tidegate events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    /// Only of this kind, such as `failover`; may be given several times.
    #[arg(long, value_name = "EVENT", value_parser = kinds())]
    kind: Vec<String>,
    /// Go on with what comes.
    #[arg(long, short)]
    follow: bool,
    /// One event a line, as JSON.
    #[arg(long)]
    json: bool,
}

fn kinds() -> clap::builder::PossibleValuesParser {
    EVENTS.iter().map(|(name, _)| *name).collect::<Vec<_>>().into()
}

/// Prints them, the oldest first.
pub(crate) fn events(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let is_wanted = |line: &LogLine| {
        line.event.as_ref().is_some_and(|event| arguments.kind.is_empty() || arguments.kind.contains(event))
    };
    let show = |line: &LogLine| match arguments.json {
        true => print(&[Line::new(Tone::Plain, serde_json::json!(line).to_string())]),
        false => print(&[told(line, width())]),
    };
    let answer = admin_client::ask(&config, "GET", "/api/v1/events")?;
    let known: Vec<LogLine> = admin_client::read(&answer)?;
    known.iter().filter(|line| is_wanted(line)).for_each(show);
    if !arguments.follow {
        return Ok(());
    }
    let last = known.last().map_or(0, |line| line.number);
    admin_client::listen(&config, &format!("/api/v1/stream?after={last}"), |name, data| {
        match name {
            "log" => {
                let line: LogLine = admin_client::read(data)?;
                if is_wanted(&line) {
                    show(&line);
                }
            }
            "lost" => eprintln!("tidegate: {data} lines of the log came faster than they were read here"),
            _ => {}
        }
        Ok(true)
    })
}

fn told(line: &LogLine, width: usize) -> Line {
    let tone = match line.level.as_str() {
        "ERROR" => Tone::Bad,
        "INFO" => Tone::Plain,
        _ => Tone::Soft,
    };
    let about: String = line.fields.iter().map(|(name, value)| format!(" {name}={}", harmless(value))).collect();
    let (at, event) = (clock(line.at_ms), line.event.as_deref().unwrap_or_default());
    Line::new(tone, cut(&format!("{at} {event}: {}{about}", harmless(&line.message)), width))
}
