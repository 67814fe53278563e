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

/// The way of a message, a line for each step, those of a route and of a target together; `is_told`: it was told before, as far as it
/// had come.
fn lines(journey: &Journey, is_told: bool, width: usize) -> Vec<Line> {
    let again = if is_told { " (once more, to its end)" } else { "" };
    let (at, broker) = (clock(journey.at_ms), &journey.broker);
    let mut all = vec![(Tone::Plain, format!("{at} {broker}: {}{again}", message(&journey.came)))];
    for (depth, branch) in tree(&journey.steps) {
        let indent = "  ".repeat(depth);
        let step = match branch {
            Branch::Of(name) => {
                all.push((Tone::Plain, format!("{:>13}  {indent}{name}", "")));
                continue;
            }
            Branch::Step(step) => step,
        };
        let place = step.target.as_deref().filter(|_| depth == 0).map(|target| format!("to `{target}`: "));
        let indent = place.unwrap_or(indent);
        for (nth, (tone, words)) in told(step, broker).into_iter().enumerate() {
            let time = if nth == 0 { time(step.after_ms) } else { String::new() };
            all.push((tone, format!("{time:>13}  {indent}{words}")));
        }
    }
    if !journey.complete {
        all.push((Tone::Soft, format!("{:>13}  still under way; the rest is told when it has come to its end", "")));
    }
    all.into_iter().map(|(tone, text)| Line::new(tone, cut(&text, width))).collect()
}

/// A line of a way.
enum Branch<'a> {
    /// What follows, further in, is of this route or target.
    Of(String),
    Step(&'a Step),
}

/// The steps by route and target, each with how far in it stands. What a target does is of the route that has sent it there first.
fn tree(steps: &[Step]) -> Vec<(usize, Branch<'_>)> {
    let routes: Vec<&str> = in_order(steps.iter().filter_map(|step| step.route.as_deref()));
    let route_to = |target: &str| {
        let mut filed = steps.iter().filter(|step| step.target.as_deref() == Some(target));
        filed.find_map(|step| step.route.as_deref())
    };
    let of_route = |step: &Step| match (&step.route, &step.target) {
        (Some(route), _) => Some(route.clone()),
        (None, Some(target)) => route_to(target).map(str::to_owned),
        (None, None) => None,
    };
    let mut all = Vec::new();
    let in_no_route = |first: bool| {
        let before = steps.iter().take_while(|step| of_route(step).is_none()).count();
        let part = if first { &steps[..before] } else { &steps[before..] };
        part.iter().filter(|step| of_route(step).is_none()).map(|step| (0, Branch::Step(step)))
    };
    all.extend(in_no_route(true));
    for route in routes {
        all.push((0, Branch::Of(format!("route `{route}`"))));
        let of_it: Vec<&Step> = steps.iter().filter(|step| of_route(step).as_deref() == Some(route)).collect();
        all.extend(of_it.iter().filter(|step| step.target.is_none()).map(|step| (1, Branch::Step(step))));
        for target in in_order(of_it.iter().filter_map(|step| step.target.as_deref())) {
            all.push((1, Branch::Of(format!("to `{target}`"))));
            let to_it = of_it.iter().filter(|step| step.target.as_deref() == Some(target));
            all.extend(to_it.map(|step| (2, Branch::Step(step))));
        }
    }
    all.extend(in_no_route(false));
    all
}

/// Each once, as they come first.
fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
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
    let target = step.target.as_deref().unwrap_or("its target");
    let plain = |words: String| vec![(Tone::Plain, words)];
    let member = |member: &str| if member == target { String::new() } else { format!(" by its member {member}") };
    match &step.what {
        What::Received { routes } if routes.is_empty() => vec![(Tone::Bad, "no route wants it".to_owned())],
        What::Received { routes } => plain(format!("received, for {}", routes.join(", "))),
        What::Twin => vec![(Tone::Soft, "another broker has brought it already".to_owned())],
        What::HeldBack => vec![(Tone::Soft, "held back for a moment: the route may be in a loop".to_owned())],
        What::Asked => plain("to its plugins".to_owned()),
        What::Decided { said, outcome } => decided(said, outcome),
        What::Filed { topic, qos } => plain(format!("into the spool, as {} QoS {qos}", harmless(topic))),
        What::Passed { topic, qos } => plain(format!("past the spool, as {} QoS {qos}", harmless(topic))),
        What::Recorded { sequence } => plain(format!("in the spool, record {sequence}")),
        What::Durable => plain("on disk, and waits".to_owned()),
        What::Moved => plain(format!("moved to {target}")),
        What::Sent { broker } => plain(format!("sent{}", member(broker))),
        What::Acknowledged { broker, taken: true } => vec![(Tone::Good, format!("acknowledged{}", member(broker)))],
        What::Acknowledged { broker, taken: false } => vec![(Tone::Bad, format!("refused{}", member(broker)))],
        What::Parked { number } => vec![(Tone::Bad, format!("hangs up on it: put aside as number {number}"))],
        What::Ended { reason } => vec![(Tone::Soft, format!("ends here: {}", harmless(reason)))],
        What::Settled => plain(format!("{broker} is told that it is taken care of")),
    }
}

/// What each plugin has said, and what becomes of it.
fn decided(said: &[Said], outcome: &str) -> Vec<(Tone, String)> {
    let tone = if matches!(outcome, "failed" | "parked") { Tone::Bad } else { Tone::Plain };
    let mut all = Vec::new();
    for one in said {
        let batch = if one.of > 1 { format!(" with {} others", one.of - 1) } else { String::new() };
        let took = format!("{:.0} µs{batch}", one.took_ms * 1000.0);
        all.push((tone, format!("plugin `{}` ({}): {} ({took})", one.plugin, one.version, harmless(&one.words))));
        all.extend(one.made.iter().map(|made| (Tone::Plain, format!("    {}", message(made)))));
    }
    if all.is_empty() || tone == Tone::Bad {
        all.push((tone, outcome.to_owned()));
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
            "               route `telemetry`",
            "     +0.32 ms    plugin `celsius` (1a2b3c4d): onward, unchanged (31 µs with 2 others)",
            "                 to `cloud`",
            "     +0.33 ms      into the spool, as site/dev/3/temp QoS 1",
            "      +120 ms      sent by its member cloud2",
            "      +61.0 s      acknowledged by its member cloud2",
            "      +120 ms  home is told that it is taken care of",
        ];
        assert_eq!(texts(&journey(steps, true)), expected);
    }

    #[test]
    fn what_has_not_come_to_its_end_is_said_to_be_under_way() {
        let steps = vec![step(0.2, None, Some("office"), What::Durable)];
        let told = texts(&journey(steps, false));
        assert_eq!(told[1], "     +0.20 ms  to `office`: on disk, and waits");
        assert!(told[2].ends_with("still under way; the rest is told when it has come to its end"), "{told:?}");
    }
}
