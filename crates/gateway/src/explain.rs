//! What would become of a message, and why, without sending anything.

use crate::Error;
use crate::passage::{Event, Passage, What};
use crate::plugins::build::{Preparer, allows_control_characters};
use crate::plugins::{NewStage, Stage};
use crate::words;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_broker::{check_from_client, check_from_local};
use tidegate_config::{self as config, Config};
use tidegate_decisions::Harmless;
use tidegate_message::Message;
use tidegate_message::text::Escaped;

/// A message that somebody might publish.
#[derive(Debug, Clone)]
pub struct Sample {
    /// On which broker.
    pub broker: String,
    /// What.
    pub message: Message,
}

/// The answer, line by line, indented by depth.
#[derive(Debug, Clone, Default)]
pub struct Explanation {
    /// Each with how far it is to be indented.
    pub lines: Vec<(usize, String)>,
    /// How many routes take the message.
    pub routes: usize,
    /// Target broker or set, and topic, of everything that would be sent.
    pub deliveries: Vec<(String, String)>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(depth, line)| writeln!(f, "{:width$}{line}", "", width = depth * 2))
    }
}

/// Runs the sample through a fresh instance of every plugin concerned. Slow: it may compile.
///
/// Nothing is written to the data directory. `cache` is where the caller keeps compiled code; the gateway's own is read.
///
/// # Errors
/// What keeps the plugins from being built, as at a start.
pub fn explain(config: &Config, sample: &Sample, cache: Option<&Path>) -> Result<Explanation, Error> {
    let mut preparer = Preparer::aside(config, cache)?;
    preparer.keeps_lines = true;
    let matching = |route: &config::Route| {
        route.from.has(&sample.broker) && route.from.topics.iter().any(|f| f.matches(&sample.message.topic))
    };
    // One worker shows what all of them would do.
    let alone = |route: &config::Route| config::Route { workers: config::Workers::default(), ..route.clone() };
    let routes = config.routes.iter().filter(|route| matching(route)).map(alone).collect();
    let mut concerned = Config { routes, ..config.clone() };
    let canaries = decided_by_canaries(&mut concerned, &sample.message);
    let prepared = preparer.prepare(&concerned, &HashMap::new(), &[]).map_err(Error::Config)?;
    let mut out = Explanation { routes: concerned.routes.len(), ..Explanation::default() };
    out.say(0, format!("message on `{}` from broker `{}`", topic(&sample.message), sample.broker));
    let is_own = matches!(config.brokers.get(&sample.broker), Some(config::Broker::Embedded(_)));
    if is_own && let Err(refusal) = check_from_client(&sample.message, allows_control_characters(config)) {
        out.say(1, format!("broker `{}` does not take it from a client: {refusal}", sample.broker));
        out.routes = 0;
        return Ok(out);
    }
    for name in canaries {
        let words = format!(
            "plugin `{name}`: its canary decides what comes to it on this topic, and is asked here in its place"
        );
        out.say(1, words);
    }
    let mut prepared = prepared.into_iter();
    for route in config.routes.iter().filter(|route| route.from.has(&sample.broker)) {
        if !matching(route) {
            let filters: Vec<_> = route.from.topics.iter().map(|filter| filter.as_str()).collect();
            out.say(1, format!("route `{}`: no, its topics are {}", route.name, filters.join(", ")));
            continue;
        }
        let filter = route.from.topics.iter().find(|filter| filter.matches(&sample.message.topic));
        let filter = filter.map_or("", |filter| filter.as_str());
        let set = route.from.set.as_ref().and_then(|name| Some((name, config.sources.get(name)?)));
        let unless = match set {
            None => String::new(),
            Some((name, set)) if set.merge().is_some() => {
                format!("; nothing becomes of it if another broker of source `{name}` has brought it")
            }
            Some((name, _)) => format!("; it comes while source `{name}` is subscribed to at this broker"),
        };
        out.say(1, format!("route `{}`: yes, `{filter}` matches{unless}", route.name));
        // One for each that matches, in the order of the file.
        let stages = prepared.next().into_iter().flat_map(|prepared| prepared.swaps).flat_map(|swap| swap.stages);
        let stages = stages.filter_map(|stage| match stage {
            NewStage::Fresh(stage) => Some(*stage),
            NewStage::Keep { .. } => None,
        });
        out.route(config, route, stages.collect(), sample);
    }
    if out.routes == 0 {
        let words = if is_own {
            "no route takes it: it is counted as unrouted"
        } else {
            "no route takes it: the gateway does not subscribe to it, so it does not come"
        };
        out.say(1, words.to_owned());
    }
    Ok(out)
}

/// Puts canaries that decide this message in the place of their plugins, and takes out what is tried otherwise. Returns the plugins.
fn decided_by_canaries(config: &mut Config, message: &Message) -> Vec<String> {
    let mut found = Vec::new();
    for (name, plugin) in &mut config.plugins {
        let decides = plugin.candidate.as_deref().is_some_and(|candidate| candidate.trial.decides(&message.topic));
        if let Some(canary) = plugin.as_candidate().filter(|_| decides) {
            *plugin = canary;
            found.push(name.clone());
        }
        plugin.candidate = None;
    }
    // Only of routes that take it.
    found.retain(|name| config.routes.iter().any(|route| route.plugins.contains(name)));
    found
}

impl Explanation {
    fn say(&mut self, depth: usize, line: String) {
        self.lines.push((depth, line));
    }

    fn route(&mut self, config: &Config, route: &config::Route, mut stages: Vec<Stage>, sample: &Sample) {
        let received_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut passage = Passage { route, stages: &mut stages, received_ms, id: 1, events: Vec::new() };
        passage.go(0, vec![sample.message.clone()]);
        for Event { plugin, what } in passage.events {
            let by_plugin = plugin.is_some();
            let says = plugin.unwrap_or_default();
            match what {
                What::Said(line) => self.say(2, format!("{says} said: {}", harmless(&line))),
                What::Passed => self.say(2, format!("{says}: {}", words::PASSED)),
                What::Made(count) => self.say(2, format!("{says}: {}", words::outputs(count))),
                What::Onward(message) => self.say(3, format!("onward, {}", describe(&message))),
                What::Sent { target, message } => {
                    self.target(config, route, &target, &message, if by_plugin { 3 } else { 2 });
                }
                What::Dropped(reason) => self.say(2, format!("{says}: {}", words::dropped(&reason))),
                What::Failed(how, reason) => self.failed(route, &says, how, &reason),
                What::Silent => self.say(2, format!("{says}: no answer, which is a bug")),
                What::Renamed { before, after } => self.renamed(&before, &after),
                What::NoName(error) => self.say(2, format!("remap: {error}; dropped")),
            }
        }
    }

    fn failed(&mut self, route: &config::Route, says: &str, how: &str, reason: &str) {
        let then = match route.on_failure {
            config::OnFailure::Park => "it would be parked",
            config::OnFailure::Drop => "it would be dropped",
            config::OnFailure::Pass => "it would go onward as it came",
            config::OnFailure::Block => "the route would wait and ask again",
        };
        self.say(2, format!("{says}: {}; {then}", words::failed(how, reason)));
    }

    fn renamed(&mut self, before: &Message, after: &Message) {
        if before.topic != after.topic {
            self.say(2, format!("remap: `{}` becomes `{}`", topic(before), topic(after)));
        }
        fn response(message: &Message) -> Option<&str> {
            Some(message.properties.as_ref()?.response_topic.as_ref()?.as_str())
        }
        if let (Some(before), Some(after)) = (response(before), response(after))
            && before != after
        {
            let (before, after) = (Escaped(before), Escaped(after));
            self.say(2, format!("remap: response topic `{before}` becomes `{after}`"));
        }
    }

    fn target(&mut self, config: &Config, route: &config::Route, name: &str, message: &Message, depth: usize) {
        let waits = if route.required().iter().any(|known| known == name) || !route.to.iter().any(|to| to == name) {
            ""
        } else {
            ", the source does not wait for it"
        };
        let which = match config.targets.get(name) {
            Some(set) => {
                let policy = match set.policy {
                    config::Policy::Failover => "the first that is well of",
                    config::Policy::Balance => "one that is well of",
                    config::Policy::All => "all of",
                };
                format!("target `{name}`, {policy} {}", set.members.join(", "))
            }
            None => format!("broker `{name}`"),
        };
        self.say(depth, format!("to {which}: {}{waits}", describe(message)));
        let is_refused = self.refusals(config, name, message, depth + 1);
        if !is_refused {
            self.deliveries.push((name.to_owned(), message.topic.to_string()));
        }
    }

    /// What the box's own brokers among these do not take; whether that is all of them.
    fn refusals(&mut self, config: &Config, target: &str, message: &Message, depth: usize) -> bool {
        let (own, refusal) = own_that_refuse(config, target, message);
        for name in &own {
            self.say(depth, format!("broker `{name}` does not take it: {refusal}; dropped"));
        }
        !own.is_empty() && own.len() == config.brokers_of(target).len()
    }
}

/// The box's own brokers among those of a target that do not take a message, and why.
fn own_that_refuse<'a>(config: &'a Config, target: &'a str, message: &Message) -> (Vec<&'a str>, String) {
    let Err(refusal) = check_from_local(message, allows_control_characters(config)) else {
        return (Vec::new(), String::new());
    };
    let is_own = |name: &&str| matches!(config.brokers.get(*name), Some(config::Broker::Embedded(_)));
    (config.brokers_of(target).into_iter().filter(is_own).collect(), refusal.to_string())
}

/// Why nobody at a target takes a message, if that is known.
pub(crate) fn refused_by_own(config: &Config, target: &str, message: &Message) -> Option<String> {
    let (own, refusal) = own_that_refuse(config, target, message);
    (!own.is_empty() && own.len() == config.brokers_of(target).len()).then_some(refusal)
}

fn describe(message: &Message) -> String {
    let retain = if message.retain { ", retained" } else { "" };
    let mut told = format!("`{}` at QoS {}{retain}, {}", topic(message), message.qos as u8, payload(&message.payload));
    if let Some(own) = message.properties.as_deref() {
        let text = |name: &str, text: Option<&str>| text.map(|text| format!("; {name} {}", harmless(text)));
        told.extend(text("content type", own.content_type.as_deref()));
        told.extend(text("response topic", own.response_topic.as_ref().map(|topic| topic.as_str())));
        told.extend(own.correlation_data.as_deref().map(|data| format!("; correlation data {}", payload(data))));
        told.extend(own.message_expiry_seconds.map(|seconds| format!("; expires in {seconds} s")));
        told.extend(own.payload_is_utf8.then_some("; payload is said to be UTF-8"));
        for (name, value) in &own.user {
            told.push_str(&format!("; user property {}={}", harmless(name), harmless(value)));
        }
        told.extend(text("key", own.key.as_deref()));
    }
    told
}

/// For a terminal, which obeys control characters.
fn topic(message: &Message) -> Escaped<'_> {
    Escaped(message.topic.as_str())
}

/// How much of a payload is shown.
const SHOWN_BYTES: usize = 200;

fn payload(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "empty".to_owned(),
        Ok(text) if text.len() <= SHOWN_BYTES => harmless(text),
        _ => format!("{} bytes", bytes.len()),
    }
}

/// A text for a terminal: as it is, but for what a terminal would obey or not show.
pub fn harmless(text: &str) -> String {
    Harmless(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{QoS, Topic};

    const OWN_TO_OWN: &str = r##"
        gateway = { name = "g", data_dir = "data" CONTROL }
        brokers.near = { embedded = true, listen = ["mqtt://127.0.0.1:0"] }
        brokers.far = { url = "mqtt://127.0.0.1:1883" }
        routes = [
            { name = "up", from = { broker = "near", topics = ["#"] }, to = ["far"] },
            { name = "down", from = { broker = "far", topics = ["#"] }, to = ["near"], remap = { prefix = "far/" } },
        ]
    "##;

    fn explained(control: &str, broker: &str, topic: &str) -> Explanation {
        let text = OWN_TO_OWN.replace("CONTROL", control);
        let (config, _) = tidegate_config::parse(&text, Path::new("g.toml")).unwrap();
        let message = Message::new(Topic::new(topic).unwrap(), "x", QoS::AtLeastOnce);
        explain(&config, &Sample { broker: broker.to_owned(), message }, None).unwrap()
    }

    #[test]
    fn a_payload_is_shown_as_it_came_but_for_what_a_terminal_obeys() {
        assert_eq!(payload(b"{\"temp\": 21.1, \"at\": \"C:\\x\"}"), "{\"temp\": 21.1, \"at\": \"C:\\x\"}");
        assert_eq!(payload(b"a\r\n\x1b[2J"), "a\\r\\n\\u{1b}[2J");
        assert_eq!(payload(b""), "empty");
    }

    #[test]
    fn a_canary_that_decides_a_topic_is_asked_in_the_place_of_its_plugin() {
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist/convert.wasm");
        let convert = |to: &str| format!("{{ field = \"temp\", from = \"fahrenheit\", to = \"{to}\", round = 0 }}");
        let text = format!(
            "[plugins.c]\npath = {dist:?}\nconfig = {}\n[plugins.c.candidate]\npath = {dist:?}\nconfig = {}\n\
             mode = \"canary\"\ntopics = [\"dev/7\"]\n{}",
            convert("celsius"),
            convert("kelvin"),
            OWN_TO_OWN.replace("CONTROL", "").replace("to = [\"far\"]", "to = [\"far\"], plugins = [\"c\"]")
        );
        let text = text.replace("\n\n", "\n");
        let (head, rest) = text.split_once("        gateway =").unwrap();
        let (config, _) = tidegate_config::parse(&format!("gateway ={rest}\n{head}"), Path::new("/g.toml")).unwrap();
        let explained = |topic: &str| {
            let message = Message::new(Topic::new(topic.to_owned()).unwrap(), "{\"temp\":50}", QoS::AtLeastOnce);
            explain(&config, &Sample { broker: "near".to_owned(), message }, None).unwrap().to_string()
        };
        assert!(explained("dev/7").contains("its canary decides") && explained("dev/7").contains("{\"temp\":283}"));
        assert!(
            !explained("dev/8").contains("canary") && explained("dev/8").contains("{\"temp\":10}"),
            "{}",
            explained("dev/8")
        );
    }

    #[test]
    fn routes_are_told_in_the_order_of_the_file() {
        let text = OWN_TO_OWN.replace("CONTROL", "").replace(
            "{ name = \"down\"",
            "{ name = \"a\", from = { broker = \"near\", topics = [\"a/#\"] }, to = [\"far\"] },\n\
             { name = \"b\", from = { broker = \"near\", topics = [\"+/b\"] }, to = [\"far\"] },\n{ name = \"down\"",
        );
        let (config, _) = tidegate_config::parse(&text, Path::new("g.toml")).unwrap();
        let message = Message::new(Topic::new("x/b").unwrap(), "x", QoS::AtLeastOnce);
        let told = explain(&config, &Sample { broker: "near".to_owned(), message }, None).unwrap().to_string();
        let routes: Vec<&str> = told.lines().filter(|line| line.starts_with("  route")).collect();
        assert_eq!(
            routes,
            [
                "  route `up`: yes, `#` matches",
                "  route `a`: no, its topics are a/#",
                "  route `b`: yes, `+/b` matches"
            ]
        );
    }

    /// As the broker itself does, at its door and where the gateway publishes.
    #[test]
    fn what_the_own_broker_refuses_is_told_and_goes_nowhere() {
        for (broker, topic) in [("near", "up/temp\r"), ("near", "$SYS/x"), ("far", "temp\r")] {
            let told = explained("", broker, topic);
            assert!(told.deliveries.is_empty(), "{told}");
            assert!(told.to_string().contains("broker `near` does not take it"), "{told}");
            assert!(!told.to_string().contains('\r'), "a terminal obeys it: {told}");
        }
        for (broker, topic) in [("near", "up/temp\r"), ("far", "temp\r"), ("near", "up/temp"), ("far", "temp")] {
            let told = explained(", control_characters = \"allow\"", broker, topic);
            assert_eq!(told.deliveries.len(), 1, "{told}");
        }
    }
}
