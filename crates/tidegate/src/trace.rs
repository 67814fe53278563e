//! `tidegate trace`: the ways of messages through a running gateway, from their receipt to their end, with the time of each step.

use crate::table::{Line, Tone, cut, print, width};
use crate::tap::{Which, clock, message};
use crate::{Failure, admin_client, check};
use std::collections::BTreeSet;
use tidegate_admin::model::{Journey, Said, Step, What};
use tidegate_gateway::harmless;

/// Of `tidegate trace`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    #[command(flatten)]
    which: Which,
    /// At most so many messages a second are followed; 1,000 at most.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// End when so many messages have come to their end.
    #[arg(long, short = 'n', value_name = "MESSAGES")]
    count: Option<u64>,
    /// One message a line, as JSON.
    #[arg(long)]
    json: bool,
}

/// Follows messages until it is interrupted.
pub(crate) fn trace(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let path = format!("/api/v1/trace?{}", arguments.which.query(arguments.rate));
    let (mut ended, mut under_way, mut looking) = (0, BTreeSet::new(), arguments.which.looking(false));
    admin_client::listen(&config, &path, |name, data| {
        match name {
            "looking" => looking.begins(),
            "journey" => {
                looking.sees();
                let journey: Journey = admin_client::read(data)?;
                ended += u64::from(journey.complete);
                let is_told = under_way.remove(&journey.number);
                if !journey.complete {
                    under_way.insert(journey.number);
                }
                match arguments.json {
                    true => print(&[Line::new(Tone::Plain, data)]),
                    false => print(&lines(&journey, is_told, width())),
                }
            }
            "missed" => eprintln!("tidegate: {data} messages came faster than they were followed or read here"),
            _ => {}
        }
        Ok(arguments.count.is_none_or(|count| ended < count))
    })
}

/// The way of a message, a line for each step; `is_told`: it was told before, as far as it had come.
fn lines(journey: &Journey, is_told: bool, width: usize) -> Vec<Line> {
    let again = if is_told { " (once more, to its end)" } else { "" };
    let (at, broker) = (clock(journey.at_ms), &journey.broker);
    let mut all = vec![(Tone::Plain, format!("{at} {broker}: {}{again}", message(&journey.came)))];
    for step in &journey.steps {
        for (nth, (tone, words)) in told(step, broker).into_iter().enumerate() {
            let time = if nth == 0 { time(step.after_ms) } else { String::new() };
            all.push((tone, format!("{time:>13}  {words}")));
        }
    }
    if !journey.complete {
        all.push((Tone::Soft, format!("{:>13}  still under way; the rest is told when it has come to its end", "")));
    }
    all.into_iter().map(|(tone, text)| Line::new(tone, cut(&text, width))).collect()
}

/// After the receipt, as people read it.
fn time(ms: f64) -> String {
    match ms {
        ms if ms < 100.0 => format!("+{ms:.2} ms"),
        ms if ms < 10_000.0 => format!("+{ms:.0} ms"),
        ms => format!("+{:.1} s", ms / 1000.0),
    }
}

fn told(step: &Step, broker: &str) -> Vec<(Tone, String)> {
    let route = step.route.as_deref().map(|route| format!("{route}: ")).unwrap_or_default();
    let target = step.target.as_deref().unwrap_or("its target");
    let plain = |words: String| vec![(Tone::Plain, words)];
    let through = |member: &str| if member == target { String::new() } else { format!(" by its member {member}") };
    match &step.what {
        What::Received { routes } if routes.is_empty() => vec![(Tone::Bad, "no route wants it".to_owned())],
        What::Received { routes } => plain(format!("received, for {}", routes.join(", "))),
        What::Twin => vec![(Tone::Soft, format!("{route}another broker has brought it already"))],
        What::HeldBack => vec![(Tone::Soft, format!("{route}held back for a moment: the route may be in a loop"))],
        What::Asked => plain(format!("{route}to its plugins")),
        What::Decided { said, outcome } => decided(&route, said, outcome),
        What::Filed { topic, qos } => {
            plain(format!("{route}into the spool for {target}, as {} QoS {qos}", harmless(topic)))
        }
        What::Passed { topic, qos } => plain(format!("to {target} past the spool, as {} QoS {qos}", harmless(topic))),
        What::Recorded { sequence } => plain(format!("in the spool, record {sequence}")),
        What::Durable => plain(format!("on disk, and waits for {target}")),
        What::Moved => plain(format!("moved to {target}")),
        What::Sent { broker } => plain(format!("sent to {target}{}", through(broker))),
        What::Acknowledged { broker, taken: true } => {
            vec![(Tone::Good, format!("acknowledged by {target}{}", through(broker).replace(" by", ",")))]
        }
        What::Acknowledged { broker, taken: false } => {
            vec![(Tone::Bad, format!("refused by {target}{}", through(broker).replace(" by", ",")))]
        }
        What::Parked { number } => {
            vec![(Tone::Bad, format!("{target} hangs up on it: put aside as number {number}"))]
        }
        What::Ended { reason } => {
            let on_its_way =
                step.target.as_deref().map(|target| format!(" on its way to {target}")).unwrap_or_default();
            vec![(Tone::Soft, format!("{route}ends here{on_its_way}: {}", harmless(reason)))]
        }
        What::Settled => plain(format!("{broker} is told that it is taken care of")),
    }
}

/// What each plugin has said, and what becomes of it.
fn decided(route: &str, said: &[Said], outcome: &str) -> Vec<(Tone, String)> {
    let tone = if matches!(outcome, "failed" | "parked") { Tone::Bad } else { Tone::Plain };
    let mut all = Vec::new();
    for one in said {
        let batch = if one.of > 1 { format!(" with {} others", one.of - 1) } else { String::new() };
        let took = format!("{:.0} µs{batch}", one.took_ms * 1000.0);
        all.push((tone, format!("{route}{}@{}: {} ({took})", one.plugin, one.version, harmless(&one.words))));
        all.extend(one.made.iter().map(|made| (Tone::Plain, format!("    {}", message(made)))));
    }
    if all.is_empty() || tone == Tone::Bad {
        all.push((tone, format!("{route}{outcome}")));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_admin::model::Message;

    fn step(after_ms: f64, route: Option<&str>, target: Option<&str>, what: What) -> Step {
        Step { after_ms, route: route.map(str::to_owned), target: target.map(str::to_owned), what }
    }

    fn journey(steps: Vec<Step>, complete: bool) -> Journey {
        let came = Message {
            topic: "dev/3/temp".to_owned(),
            qos: 1,
            retain: false,
            payload_bytes: 2,
            payload: Some("71".to_owned()),
            payload_base64: None,
        };
        Journey { number: 1, at_ms: 1_796_008_655_123, broker: "home".to_owned(), came, steps, complete }
    }

    fn texts(journey: &Journey) -> Vec<String> {
        lines(journey, false, 200).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn each_step_has_its_time() {
        let said = Said {
            plugin: "celsius".to_owned(),
            version: "1a2b3c4d".to_owned(),
            took_ms: 0.031,
            of: 3,
            words: "onward, unchanged".to_owned(),
            made: Vec::new(),
        };
        let (route, cloud) = (Some("telemetry"), Some("cloud"));
        let decided = What::Decided { said: vec![said], outcome: "onward".to_owned() };
        let filed = What::Filed { topic: "site/dev/3/temp".to_owned(), qos: 1 };
        let steps = vec![
            step(0.0, None, None, What::Received { routes: vec!["telemetry".to_owned()] }),
            step(0.32, route, None, decided),
            step(0.33, route, cloud, filed),
            step(120.0, None, None, What::Settled),
            step(120.5, None, cloud, What::Sent { broker: "cloud2".to_owned() }),
            step(61_000.0, None, cloud, What::Acknowledged { broker: "cloud2".to_owned(), taken: true }),
        ];
        let expected = [
            "03:17:35.123 home: dev/3/temp QoS 1 71",
            "     +0.00 ms  received, for telemetry",
            "     +0.32 ms  telemetry: celsius@1a2b3c4d: onward, unchanged (31 µs with 2 others)",
            "     +0.33 ms  telemetry: into the spool for cloud, as site/dev/3/temp QoS 1",
            "      +120 ms  home is told that it is taken care of",
            "      +120 ms  sent to cloud by its member cloud2",
            "      +61.0 s  acknowledged by cloud, its member cloud2",
        ];
        assert_eq!(texts(&journey(steps, true)), expected);
    }

    #[test]
    fn what_has_not_come_to_its_end_is_said_to_be_under_way() {
        let steps = vec![step(0.2, None, Some("office"), What::Durable)];
        let told = texts(&journey(steps, false));
        assert_eq!(told[1], "     +0.20 ms  on disk, and waits for office");
        assert!(told[2].ends_with("still under way; the rest is told when it has come to its end"), "{told:?}");
    }
}
