//! `tidegate pub`: publishes a message, or one a line, and ends when the broker has them.

use super::Connection;
use super::session::{Event, Session};
use super::words::Wrong;
use crate::{Failure, logs, runtime};
use bytes::Bytes;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_message::Topic;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Messages that may be under way: fewer than the 20 of QoS 2 beyond which mosquitto hangs up on a client of MQTT 3.1.1, which
/// it cannot tell, and than the 100 after which rumqttc begins again with the number of the first.
const WINDOW: usize = 16;

/// The largest payload, in bytes: what the largest packet holds beside the longest topic (MQTT 5.0 section 2.1.4).
const PAYLOAD_BYTES_MAX: u64 = 268_435_455 - 65_535 - 16;

/// Of `tidegate pub`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ends with 0 when the broker has acknowledged every message; with QoS 0, which nobody acknowledges, when all is written.
Otherwise: 64 wrong use, 69 not connected, refused or not answered, 77 not let in or not allowed to publish there.

Examples:
  tidegate pub -t dev/3/temp -m '{\"temp\": 70}'
  tidegate pub -t dev/3/temp -m '' --retain        deletes what the broker keeps of this topic
  sensor | tidegate pub -u mqtts://office.example --username me --password-file pass -t dev/3/temp --lines")]
pub(crate) struct Arguments {
    /// Where to publish.
    #[arg(long, short)]
    topic: String,
    #[command(flatten)]
    what: What,
    /// 0: at most once, 1: at least once, 2: exactly once.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// The broker keeps it for those who subscribe later; an empty one deletes what it keeps.
    #[arg(long, short)]
    retain: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The payload.
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// A file that is the payload; `-` is standard input.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Every line of standard input is a message.
    #[arg(long, short)]
    lines: bool,
}

/// Publishes, and waits for every acknowledgement.
pub(crate) fn publish(arguments: Arguments) -> Result<(), Failure> {
    logs::init(logs::Format::Text, "off");
    let topic = Topic::new(arguments.topic).map_err(|error| Failure::Usage(format!("--topic: {error}")))?;
    let options = arguments.connection.options()?;
    let payload = match arguments.what {
        What { message: Some(text), .. } => Some(text.into()),
        What { file: Some(path), .. } => Some(read(&path)?),
        _ => None,
    };
    runtime::block_on(async {
        let (url, timeout) = (options.url.to_string(), options.timeout);
        let mut publishing = Publishing {
            source: payload.map_or_else(|| Source::Lines(lines()), |payload| Source::One(Some(payload))),
            more: true,
            connected: false,
            under_way: 0,
            acknowledged: 0,
            session: Session::open(options),
        };
        let publish =
            |session: &Session, payload| session.publish(topic.as_str(), payload, arguments.qos, arguments.retain);
        let published = publishing.run(publish, timeout).await;
        let published = published.map_err(|wrong| publishing.with_accounts(wrong.about(&url)));
        publishing.session.close(timeout).await;
        Ok(published?)
    })
}

/// A payload from a file, if MQTT has room for it.
fn read(path: &Path) -> Result<Bytes, Failure> {
    let shown = path.display();
    let mut payload = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload),
        false => std::fs::File::open(path).and_then(|file| file.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload)),
    };
    read.map_err(|error| Failure::Usage(format!("--file {shown}: {error}")))?;
    match payload.len() as u64 > PAYLOAD_BYTES_MAX {
        true => Err(Failure::Usage(format!("--file {shown}: larger than a message can be, {PAYLOAD_BYTES_MAX} bytes"))),
        false => Ok(payload.into()),
    }
}

/// Standard input, line by line, on a thread of its own: nothing else can wait for it.
fn lines() -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(WINDOW);
    tokio::task::spawn_blocking(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = (&mut stdin).take(PAYLOAD_BYTES_MAX).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(_) => Ok(without_end(line).into()),
                Err(error) => Err(error),
            };
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    if line.pop_if(|byte| *byte == b'\n').is_some() {
        line.pop_if(|byte| *byte == b'\r');
    }
    line
}

/// Where payloads come from.
enum Source {
    One(Option<Bytes>),
    Lines(mpsc::Receiver<std::io::Result<Bytes>>),
}

impl Source {
    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        match self {
            Self::One(payload) => payload.take().map(Ok),
            Self::Lines(lines) => lines.recv().await,
        }
    }
}

/// The accounts of one run.
struct Publishing {
    source: Source,
    /// The source has not ended.
    more: bool,
    connected: bool,
    /// Handed to rumqttc, not yet acknowledged or, with QoS 0, written.
    under_way: usize,
    acknowledged: usize,
    session: Session,
}

impl Publishing {
    /// Until everything is acknowledged. The broker has `timeout` from each answer to the next.
    async fn run(
        &mut self,
        publish: impl Fn(&Session, Bytes) -> Result<(), super::session::Full>,
        timeout: Duration,
    ) -> Result<(), Wrong> {
        let mut heard = Instant::now();
        while self.more || self.under_way > 0 {
            let owed = !self.connected || self.under_way > 0;
            tokio::select! {
                event = self.session.next() => {
                    heard = Instant::now();
                    self.on_event(event?)?;
                }
                payload = self.source.next(), if self.more && self.connected && self.under_way < WINDOW => match payload {
                    Some(payload) => {
                        let payload = payload.map_err(|error| Wrong::new(format!("standard input: {error}")))?;
                        publish(&self.session, payload).map_err(|_| Wrong::new("rumqttc takes no more messages"))?;
                        if self.under_way == 0 {
                            heard = Instant::now();
                        }
                        self.under_way += 1;
                    }
                    None => self.more = false,
                },
                () = tokio::time::sleep_until(heard + timeout), if owed => {
                    return Err(Wrong::new("no answer in time; see --timeout"));
                }
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), Wrong> {
        match event {
            Event::Connected => self.connected = true,
            Event::Written => self.done(),
            Event::Acknowledged(answer) => {
                answer?;
                self.done();
            }
            // Nothing is subscribed, and nobody has said goodbye.
            Event::Subscribed(_) | Event::Message(_) | Event::Closed => {}
        }
        Ok(())
    }

    fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.acknowledged += 1;
    }

    /// What the caller of a pipe must know: how much of it has arrived.
    fn with_accounts(&self, wrong: Wrong) -> Wrong {
        match &self.source {
            Source::One(_) => wrong,
            Source::Lines(_) => {
                let words = format!(
                    "{}; {} of {} lines are acknowledged",
                    wrong.words,
                    self.acknowledged,
                    self.acknowledged + self.under_way
                );
                Wrong { words, ..wrong }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_its_end_and_nothing_else() {
        for (line, payload) in
            [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("\n", ""), (" a \r", " a \r"), ("a\n\n", "a\n")]
        {
            assert_eq!(without_end(line.into()), payload.as_bytes(), "{line:?}");
        }
    }
}
