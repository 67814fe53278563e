//! `tidegate tap`: messages on their way through a running gateway, and what each plugin says of them.

use crate::looking::Looking;
use crate::table::{Line, Tone, cut, print, width};
use crate::{Failure, admin_client, check};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidegate_admin::model::{Ending, Message, Way};
use tidegate_gateway::harmless;

/// Of `tidegate tap`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    #[command(flatten)]
    which: Which,
    /// Only what does not go on, for whatever reason.
    #[arg(long, conflicts_with = "failed")]
    dropped: bool,
    /// Only what ends badly: parked, or dropped by the gateway itself.
    #[arg(long)]
    failed: bool,
    /// At most so many messages a second are looked at; 1,000 at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// End after so many messages.
    #[arg(long, short = 'n', value_name = "MESSAGES")]
    count: Option<u64>,
    /// One message a line, as JSON.
    #[arg(long)]
    json: bool,
}

/// Which messages somebody looks at, in their routes or to their end.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Topics as they come, such as 'dev/+/temp'.
    #[arg(default_value = "#")]
    filter: String,
    /// Only in this route.
    #[arg(long, short)]
    route: Option<String>,
    /// Only from this broker.
    #[arg(long, short)]
    broker: Option<String>,
    /// Only with this text in the payload.
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// Leave payloads out.
    #[arg(long)]
    no_payloads: bool,
}

impl Which {
    /// What is asked of the gateway.
    pub(crate) fn query(&self, rate: u32) -> String {
        let mut query = format!("filter={}&rate={rate}", coded(&self.filter));
        for (key, value) in [("route", &self.route), ("broker", &self.broker), ("contains", &self.contains)] {
            query += &value.as_ref().map(|value| format!("&{key}={}", coded(value))).unwrap_or_default();
        }
        query + if self.no_payloads { "" } else { "&payloads=true" }
    }

    /// Tells who looks; `only`: at some of these.
    pub(crate) fn looking(&self, only: bool) -> Looking {
        Looking::at(&self.filter, only || self.route.is_some() || self.broker.is_some() || self.contains.is_some())
    }
}

/// Looks until it is interrupted.
pub(crate) fn tap(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let only = match (arguments.dropped, arguments.failed) {
        (true, _) => "&only=dropped",
        (_, true) => "&only=failed",
        _ => "",
    };
    let path = format!("/api/v1/tap?{}{only}", arguments.which.query(arguments.rate));
    let (mut seen, mut looking) = (0, arguments.which.looking(!only.is_empty()));
    admin_client::listen(&config, &path, |name, data| {
        match name {
            "looking" => looking.begins(),
            "way" => {
                looking.sees();
                seen += 1;
                match arguments.json {
                    true => print(&[Line::new(Tone::Plain, data)]),
                    false => print(&told(&admin_client::read(data)?, width())),
                }
            }
            "missed" => eprintln!("tidegate: {data} messages came faster than they were read here"),
            _ => {}
        }
        Ok(arguments.count.is_none_or(|count| seen < count))
    })
}

/// What stands as it is in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// A text in an address.
pub(crate) fn coded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// What became of a message, a line for each step.
pub(crate) fn told(way: &Way, width: usize) -> Vec<Line> {
    let at = clock(way.at_ms);
    let place = match &way.route {
        Some(route) => format!("{} > {route}", way.broker),
        None => way.broker.clone(),
    };
    let mut all = vec![(Tone::Plain, format!("{at} {place}: {}", message(&way.came)))];
    for said in &way.said {
        let tone =
            if said.words.starts_with("onward") || said.words.starts_with("to ") { Tone::Plain } else { Tone::Bad };
        all.push((tone, format!("  {}: {}", said.plugin, harmless(&said.words))));
        all.extend(said.made.iter().map(|made| (Tone::Plain, format!("    {}", message(made)))));
    }
    for out in &way.out {
        all.push((Tone::Good, format!("  to {}: {}", out.targets.join(", "), message(&out.message))));
    }
    match &way.ending {
        Ending::Onward => {}
        Ending::Unrouted => all.push((Tone::Bad, "  no route wants it".to_owned())),
        Ending::Dropped { reason, by_plugin: true } => {
            all.push((Tone::Soft, format!("  dropped: {}", harmless(reason))))
        }
        Ending::Dropped { reason, by_plugin: false } => {
            all.push((Tone::Bad, format!("  dropped by the gateway: {reason}")));
        }
        Ending::Parked { plugin, kind, reason } => {
            all.push((Tone::Bad, format!("  parked: {plugin}: {kind}: {}", harmless(reason))));
        }
        Ending::HeldBack => all.push((Tone::Soft, "  held back for a moment: its route may be in a loop".to_owned())),
    }
    all.into_iter().map(|(tone, text)| Line::new(tone, cut(&text, width))).collect()
}

pub(crate) fn message(message: &Message) -> String {
    let retain = if message.retain { ", retained" } else { "" };
    let payload = match (&message.payload, message.payload_bytes) {
        (Some(_), 0) => "empty".to_owned(),
        (Some(text), _) => harmless(text),
        (None, bytes) => format!("{bytes} bytes"),
    };
    format!("{} QoS {}{retain} {payload}", harmless(&message.topic), message.qos)
}

/// The time of the day at this machine's clock, in UTC as the log has it.
pub(crate) fn clock(at_ms: u64) -> String {
    let at: SystemTime = UNIX_EPOCH + Duration::from_millis(at_ms);
    let full = humantime::format_rfc3339_millis(at).to_string();
    full.get(11..23).unwrap_or(&full).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_admin::model::{Out, Said};

    fn shown(topic: &str, payload: &str) -> Message {
        Message {
            topic: topic.to_owned(),
            qos: 1,
            retain: false,
            payload_bytes: payload.len() as u64,
            payload: Some(payload.to_owned()),
            payload_base64: None,
        }
    }

    #[test]
    fn each_step_is_a_line() {
        let said = Said {
            plugin: "celsius".to_owned(),
            version: "1a2b3c4d".to_owned(),
            took_ms: 0.03,
            of: 1,
            words: "onward".to_owned(),
            made: vec![shown("dev/3/temp", "{\"temp\":21.7}")],
        };
        let way = Way {
            number: 1,
            at_ms: 1_796_008_655_123,
            broker: "home".to_owned(),
            route: Some("telemetry".to_owned()),
            came: shown("dev/3/temp", "{\"temp\":71}\r"),
            said: vec![said],
            out: vec![Out { message: shown("site/dev/3/temp", "{\"temp\":21.7}"), targets: vec!["office".to_owned()] }],
            ending: Ending::Onward,
            took_ms: 0.4,
        };
        let lines: Vec<String> = told(&way, 200).into_iter().map(|line| line.text).collect();
        let expected = [
            "03:17:35.123 home > telemetry: dev/3/temp QoS 1 {\"temp\":71}\\r",
            "  celsius: onward",
            "    dev/3/temp QoS 1 {\"temp\":21.7}",
            "  to office: site/dev/3/temp QoS 1 {\"temp\":21.7}",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn filters_go_into_an_address() {
        assert_eq!(coded("dev/+/tä&#"), "dev/%2B/t%C3%A4%26%23");
    }
}
