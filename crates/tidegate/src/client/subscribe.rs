//! `tidegate sub`: subscribes, and prints what comes, a line each.

use super::print::{self, Format};
use super::session::{Event, Received, Session};
use super::words::Wrong;
use super::{Connection, session};
use crate::{Failure, duration, logs, runtime};
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::{Duration, SystemTime};
use tidegate_message::TopicFilter;
use tokio::signal::unix::{SignalKind, signal};

/// Of `tidegate sub`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ends with 0 after --count messages or --for, at Ctrl-C or SIGTERM, and when nobody reads its output any more.
Otherwise: 64 wrong use, 69 not connected, connection lost, or fewer than --count messages within --for, 77 not let in or
not allowed to subscribe. A line of text ends with the payload as it is; take JSON for payloads that are no text.

Examples:
  tidegate sub -t 'site/#'
  tidegate sub -t 'dev/+/temp' -t 'alarm/#' --format json | jq -r .payload
  tidegate sub -t ready --count 1 --for 30s && echo it is")]
pub(crate) struct Arguments {
    /// What to hear: a topic filter, with `+` for a level and `#` for the rest. May stand several times.
    #[arg(long, short, required = true, value_name = "FILTER")]
    topic: Vec<String>,
    /// The highest QoS to receive with.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// End after so many messages.
    #[arg(long, short = 'C', value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this long.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::duration)]
    time: Option<Duration>,
    /// How messages look.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Prints to stdout until the end.
pub(crate) fn subscribe(arguments: Arguments) -> Result<(), Failure> {
    logs::init(logs::Format::Text, "off");
    for filter in &arguments.topic {
        TopicFilter::new(filter.as_str()).map_err(|error| Failure::Usage(format!("--topic: {error}")))?;
    }
    let options = arguments.connection.options()?;
    runtime::block_on(async {
        let ended = signals()?;
        let (url, timeout) = (options.url.to_string(), options.timeout);
        let mut session = session::Session::open(options);
        let mut output = Output { format: arguments.format, terminal: std::io::stdout().is_terminal(), printed: 0 };
        let heard = tokio::select! {
            heard = hear(&mut session, &arguments, timeout, &mut output) => heard,
            () = ended => Ok(()),
        };
        session.close(timeout).await;
        Ok(heard.map_err(|wrong| wrong.about(&url))?)
    })
}

/// Ends at the first SIGINT or SIGTERM.
pub(crate) fn signals() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::Unavailable(format!("no signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Subscribes and prints until there is enough.
async fn hear(
    session: &mut Session,
    arguments: &Arguments,
    timeout: Duration,
    output: &mut Output,
) -> Result<(), Wrong> {
    let subscribed = subscribed(session, arguments);
    let granted = tokio::time::timeout(timeout, subscribed).await;
    let early = granted.map_err(|_| Wrong::new("no answer in time; see --timeout"))??;
    let more = async {
        for message in early {
            if output.print(&message)? || arguments.count == Some(output.printed) {
                return Ok(());
            }
        }
        loop {
            if let Event::Message(message) = session.next().await? {
                let nobody_reads = output.print(&message)?;
                if nobody_reads || arguments.count == Some(output.printed) {
                    return Ok(());
                }
            }
        }
    };
    let Some(time) = arguments.time else { return more.await };
    match (tokio::time::timeout(time, more).await, arguments.count) {
        (Ok(ended), _) => ended,
        (Err(_), None) => Ok(()),
        (Err(_), Some(count)) => {
            let time = humantime::format_duration(time);
            Err(Wrong::new(format!("{} of {count} messages came in {time}", output.printed)))
        }
    }
}

/// Connects, subscribes, and says so. Returns what came before the SUBACK, as a broker may send it (MQTT 5.0 section 3.8.4).
async fn subscribed(session: &mut Session, arguments: &Arguments) -> Result<Vec<Received>, Wrong> {
    let mut early = Vec::new();
    loop {
        match session.next().await? {
            Event::Connected => session
                .subscribe(&arguments.topic, arguments.qos)
                .map_err(|_| Wrong::new("rumqttc takes no subscription"))?,
            Event::Message(message) => early.push(message),
            Event::Subscribed(answers) => {
                for (filter, answer) in arguments.topic.iter().zip(answers) {
                    let qos = answer.map_err(|wrong| wrong.about(&format!("`{filter}`")))?;
                    eprintln!("tidegate: subscribed to `{filter}` with QoS {qos}");
                }
                return Ok(early);
            }
            Event::Written | Event::Acknowledged(_) | Event::Closed => {}
        }
    }
}

struct Output {
    format: Format,
    terminal: bool,
    printed: u64,
}

impl Output {
    /// Prints a message at once. True when nobody reads any more.
    fn print(&mut self, message: &Received) -> Result<bool, Wrong> {
        let line = print::line(message, self.format, self.terminal, SystemTime::now());
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(&line).and_then(|()| stdout.flush()) {
            Ok(()) => {
                self.printed += 1;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
            Err(error) => Err(Wrong::new(format!("standard output: {error}"))),
        }
    }
}
