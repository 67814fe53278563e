//! Samples, tried: each message goes through the host that a gateway has, and what comes out is held against what must.

use crate::samples::{self, Samples, Sent, Step};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use tidegate_message::{Message, Properties, QoS, Topic};
use tidegate_plugin::{
    Component, Destination, Host, Input, Instance, Outcome, Output, Plugin, Spec, StateStore, run_here,
};

/// 2023-11-14T22:13:20Z, for messages that say no time of their own.
pub(crate) const RECEIVED_MS: u64 = 1_700_000_000_000;

/// How often each kind of decision was met.
pub type Coverage = BTreeMap<&'static str, usize>;

/// What came of a file.
#[derive(Debug, Default)]
pub struct Report {
    /// Steps, and the checks of `refused` and `state_after`, that held.
    pub good: usize,
    /// What did not, in words of several lines.
    pub bad: Vec<String>,
    /// By the word of the samples: `pass`, `forward`, `drop`, `reject`, `retry`, `fails`, `tick`, `refused`.
    pub coverage: Coverage,
    /// What the plugin said while it ran.
    pub lines: Vec<String>,
}

/// Tries the samples of a file on a component.
///
/// # Errors
/// The file is no file of samples, or the plugin does not start, in words.
pub fn try_file(host: &Host, component: &Component, path: &Path) -> Result<Report, String> {
    let samples = Samples::load(path)?;
    let here = |words: String| format!("{}: {words}", path.display());
    let spec = spec(&samples).map_err(here)?;
    let state = spec.state.clone();
    let plugin = Plugin::new(host, component, spec).map_err(|error| here(error.to_string()))?;
    let mut report = Report::default();
    let started = plugin.instantiate();
    report.lines = plugin.take_lines();
    let mut instance = match (started, &samples.refused) {
        (Ok(instance), None) => instance,
        (Ok(_), Some(_)) => {
            report.bad.push(here("the configuration is taken, and should be refused".to_owned()));
            return Ok(report);
        }
        (Err(error), Some(texts)) => {
            *report.coverage.entry("refused").or_default() += 1;
            let said = error.to_string();
            match texts.iter().find(|text| !said.contains(*text)) {
                Some(text) => report.bad.push(here(format!("refused, but without `{text}`:\n  got       {said}"))),
                None => report.good += 1,
            }
            return Ok(report);
        }
        (Err(error), None) => return Err(here(error.to_string())),
    };
    for (number, step) in (1..).zip(&samples.steps) {
        let name = step.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        let of_step = |words: String| here(format!("step {number}{name}: {words}"));
        let tried = one(&mut instance, &samples, step, number).map_err(of_step)?;
        let (word, got) = tried.got;
        *report.coverage.entry(word).or_default() += 1;
        match tried.expected == got {
            true => report.good += 1,
            false => report.bad.push(of_step(difference(&tried.expected, &got))),
        }
        report.lines.append(&mut instance.plugin().take_lines());
    }
    if let Some(expected) = &samples.state_after {
        let shown = |state: BTreeMap<String, String>| -> Vec<String> {
            state.into_iter().map(|(key, value)| format!("{key} = {value}")).collect()
        };
        let got = state.snapshot().into_iter().map(|(key, value)| (key, text(&value))).collect();
        let (expected, got) = (shown(expected.clone()), shown(got));
        match expected == got {
            true => report.good += 1,
            false => report.bad.push(here(format!("state after the last step: {}", difference(&expected, &got)))),
        }
    }
    Ok(report)
}

/// One instance of a component, with the configuration, grants, limits and state of samples.
pub(crate) fn started(host: &Host, component: &Component, samples: &Samples) -> Result<Instance, String> {
    let plugin = Plugin::new(host, component, spec(samples)?).map_err(|error| error.to_string())?;
    plugin.instantiate().map_err(|error| error.to_string())
}

/// The messages of samples, without what must become of them.
pub(crate) fn messages(samples: &Samples) -> Result<Vec<Message>, String> {
    samples.steps.iter().filter(|step| step.tick.is_none()).map(message_of).collect()
}

/// Grants and limits have the grammar of a configuration: one is written around them, and read as any other.
fn spec(samples: &Samples) -> Result<Spec, String> {
    let mut brokers = toml::Table::new();
    let granted = samples.grants.get("targets").and_then(toml::Value::as_array).into_iter().flatten();
    for name in granted.filter_map(toml::Value::as_str).chain([samples.source.as_str()]) {
        let url = toml::Table::from_iter([("url".to_owned(), "mqtt://127.0.0.1".into())]);
        brokers.insert(name.to_owned(), url.into());
    }
    let plugin = toml::Table::from_iter([
        ("path".to_owned(), "plugin.wasm".into()),
        ("config".to_owned(), samples.config.clone().into()),
        ("grants".to_owned(), samples.grants.clone().into()),
        ("limits".to_owned(), samples.limits.clone().into()),
    ]);
    let table = |key: &str, value: toml::Value| toml::Table::from_iter([(key.to_owned(), value)]);
    let mut gateway = table("name", "samples".into());
    gateway.insert("data_dir".to_owned(), "/samples".into());
    let mut whole = table("gateway", gateway.into());
    whole.insert("brokers".to_owned(), brokers.into());
    whole.insert("plugins".to_owned(), table("plugin", plugin.into()).into());
    let text = toml::to_string(&whole).map_err(|error| error.to_string())?;
    // Relative paths in it are never opened.
    let (config, _) = tidegate_config::parse(&text, Path::new("/samples.toml")).map_err(|problems| {
        let errors = problems.0.iter().filter(|problem| problem.is_error());
        errors.map(|problem| format!("{}; {}", problem.what, problem.hint)).collect::<Vec<_>>().join("\n")
    })?;
    let settings = config.plugins.get("plugin").ok_or("the plugin is gone from its own configuration")?;
    let state = samples.state.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes())).collect();
    Ok(Spec { keeps_lines: true, ..Spec::configured("plugin", settings, StateStore::restored(state)) })
}

/// What must come and what came, as lines.
struct Tried {
    expected: Vec<String>,
    got: (&'static str, Vec<String>),
}

fn one(instance: &mut Instance, samples: &Samples, step: &Step, number: u64) -> Result<Tried, String> {
    let targets = instance.plugin().spec().grants.targets.clone();
    let as_json = |at: usize| step.forward.as_ref().and_then(|all| all.get(at)).is_some_and(|one| one.json.is_some());
    if let Some(now_ms) = step.tick {
        let mut ticked = Tried { expected: Vec::new(), got: ("tick", Vec::new()) };
        let (expected, got) = (&mut ticked.expected, &mut ticked.got.1);
        for sent in step.forward.iter().flatten() {
            let nothing = Message::new(topic(sent.topic.as_deref().unwrap_or_default())?, "", QoS::AtMostOnce);
            lines_of(sent.to.as_deref().unwrap_or("onward"), &applied(sent, &nothing)?, sent.json.is_some(), expected);
        }
        match run_here(instance.tick(now_ms)) {
            Ok(outputs) => {
                for (at, output) in outputs.into_iter().enumerate() {
                    let to = destination(&output, &targets);
                    let message = output.by_itself().ok_or("an output without a topic")?;
                    lines_of(&to, &message, as_json(at), got);
                }
            }
            Err(fault) => {
                got.push(format!("fails, \"{fault}\""));
                if let Some(part) = &step.fails {
                    met(part, got, expected);
                }
            }
        }
        return Ok(ticked);
    }
    let message = message_of(step)?;
    let input = Input {
        id: step.id.unwrap_or(number),
        message: &message,
        received_ms: step.received_ms.unwrap_or(RECEIVED_MS),
        redelivered: step.redelivered,
    };
    let mut outcomes = Vec::with_capacity(1);
    run_here(instance.handle(&samples.source, &[input], &mut outcomes));
    let outcome = outcomes.pop().ok_or("no answer, which is a bug of the gateway")?;
    let mut expected = expected(step, &message)?;
    let (word, got) = told(outcome, &message, &targets, as_json);
    let part = [("reject", &step.reject), ("retry", &step.retry), ("fails", &step.fails)];
    if let Some((_, Some(part))) = part.iter().find(|(kind, _)| *kind == word) {
        met(part, &got, &mut expected);
    }
    Ok(Tried { expected, got: (word, got) })
}

/// What became of a message: its word, and lines. Payloads of the outputs that `as_json` names are told as values.
pub(crate) fn told(
    outcome: Outcome,
    came: &Message,
    targets: &[String],
    as_json: impl Fn(usize) -> bool,
) -> (&'static str, Vec<String>) {
    let ended = |word: &'static str, reason: &str| (word, vec![format!("{word}, \"{reason}\"")]);
    match outcome {
        Outcome::Pass => ("pass", vec!["pass".to_owned()]),
        Outcome::Forward(outputs) => {
            let mut lines = Vec::new();
            for (at, output) in outputs.into_iter().enumerate() {
                let to = destination(&output, targets);
                lines_of(&to, &output.applied_to(came), as_json(at), &mut lines);
            }
            ("forward", lines)
        }
        Outcome::Drop(reason) => ended("drop", &reason),
        Outcome::Reject(reason) => ended("reject", &reason),
        Outcome::Retry(reason) => ended("retry", &reason),
        Outcome::Fault(fault) => ended("fails", &fault.to_string()),
    }
}

fn destination(output: &Output, targets: &[String]) -> String {
    match output.to {
        Destination::Onward => "onward".to_owned(),
        Destination::Target(at) => targets.get(usize::from(at)).map_or_else(String::new, Clone::clone),
    }
}

/// Of a reason only a part must be as it is said.
fn met(part: &str, got: &[String], expected: &mut Vec<String>) {
    if got.iter().all(|line| line.contains(part)) {
        *expected = got.to_vec();
    }
}

fn expected(step: &Step, came: &Message) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    if step.pass {
        lines.push("pass".to_owned());
    }
    for sent in step.forward.iter().flatten() {
        lines_of(sent.to.as_deref().unwrap_or("onward"), &applied(sent, came)?, sent.json.is_some(), &mut lines);
    }
    if step.forward.as_ref().is_some_and(Vec::is_empty) {
        return Err("`forward` of nothing is a failure; say `drop`".to_owned());
    }
    lines.extend(step.drop.iter().map(|reason| format!("drop, \"{reason}\"")));
    let parts = [("reject", &step.reject), ("retry", &step.retry), ("fails", &step.fails)];
    lines.extend(parts.iter().filter_map(|(word, part)| part.as_ref().map(|part| format!("{word}, \"...{part}...\""))));
    Ok(lines)
}

pub(crate) fn topic(text: &str) -> Result<Topic, String> {
    Topic::new(text.to_owned()).map_err(|error| format!("topic `{text}`: {error}"))
}

pub(crate) fn message_of(step: &Step) -> Result<Message, String> {
    let payload = payload(step.payload.as_deref(), step.payload_base64.as_deref(), step.json.as_ref())?;
    let qos = QoS::from_u8(step.qos.unwrap_or(1)).ok_or("`qos` is 0, 1 or 2")?;
    let mut message = Message::new(topic(step.topic.as_deref().unwrap_or_default())?, payload.unwrap_or_default(), qos);
    message.retain = step.retain;
    message.properties = step.properties.as_ref().map(properties).transpose()?;
    Ok(message)
}

fn payload(text: Option<&str>, base64: Option<&str>, json: Option<&toml::Value>) -> Result<Option<Bytes>, String> {
    Ok(match (text, base64, json) {
        (Some(text), _, _) => Some(Bytes::from(text.to_owned())),
        (_, Some(coded), _) => {
            Some(Bytes::from(BASE64.decode(coded).map_err(|error| format!("payload_base64: {error}"))?))
        }
        (_, _, Some(value)) => Some(Bytes::from(serde_json::to_vec(value).map_err(|error| format!("json: {error}"))?)),
        _ => None,
    })
}

fn properties(said: &samples::Properties) -> Result<Box<Properties>, String> {
    Ok(Box::new(Properties {
        content_type: said.content_type.clone().map(Into::into),
        response_topic: said.response_topic.as_deref().map(topic).transpose()?,
        correlation_data: said.correlation_data.clone().map(Bytes::from),
        message_expiry_seconds: said.message_expiry_seconds,
        payload_is_utf8: said.payload_is_utf8,
        user: said.user.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
        key: None,
    }))
}

/// The message that came, but for what the output says.
pub(crate) fn applied(sent: &Sent, came: &Message) -> Result<Message, String> {
    let mut message = came.clone();
    if let Some(text) = &sent.topic {
        message.topic = topic(text)?;
    }
    if let Some(payload) = payload(sent.payload.as_deref(), sent.payload_base64.as_deref(), sent.json.as_ref())? {
        message.payload = payload;
    }
    if let Some(qos) = sent.qos {
        message.qos = QoS::from_u8(qos).ok_or("`qos` is 0, 1 or 2")?;
    }
    message.retain = sent.retain.unwrap_or(message.retain);
    if let Some(said) = &sent.properties {
        message.properties = Some(properties(said)?);
    }
    if !sent.user.is_empty() || sent.key.is_some() {
        let own = message.properties.get_or_insert_default();
        own.user.extend(sent.user.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())));
        own.key = sent.key.clone().map(Into::into);
    }
    Ok(message)
}

/// A message as lines, one a part, so that a difference is one line.
pub(crate) fn lines_of(to: &str, message: &Message, as_json: bool, lines: &mut Vec<String>) {
    lines.push(format!("to {to}"));
    lines.push(format!("  topic     {}", message.topic.as_str()));
    let json = as_json.then(|| serde_json::from_slice::<serde_json::Value>(&message.payload).ok()).flatten();
    lines.push(match json {
        // Keys in order, numbers by their values: however it was written.
        Some(value) => format!("  json      {}", plain(value)),
        None => format!("  payload   {}", text(&message.payload)),
    });
    let retained = if message.retain { ", retained" } else { "" };
    lines.push(format!("  qos       {}{retained}", message.qos as u8));
    let Some(own) = message.properties.as_deref() else { return };
    let mut property = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("  {name:<9} {value}")));
    };
    property("content type", own.content_type.as_deref().map(str::to_owned));
    property("response topic", own.response_topic.as_ref().map(|topic| topic.as_str().to_owned()));
    property("correlation data", own.correlation_data.as_deref().map(text));
    property("expiry", own.message_expiry_seconds.map(|seconds| format!("{seconds} s")));
    property("is UTF-8", own.payload_is_utf8.then(|| "true".to_owned()));
    for (name, value) in &own.user {
        property("user", Some(format!("{name:?} = {value:?}")));
    }
    property("key", own.key.as_deref().map(str::to_owned));
}

/// Whole numbers without a fraction: 60.0 is 60. Beyond 2^53 a float is a float, and digits are digits.
fn plain(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Array(all) => Value::Array(all.into_iter().map(plain).collect()),
        Value::Object(all) => Value::Object(all.into_iter().map(|(key, value)| (key, plain(value))).collect()),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => Value::from(float as i64),
            _ => Value::Number(number),
        },
        other => other,
    }
}

/// What is compared as it is shown: other bytes are another text.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"),
        Err(_) => format!("{} bytes, base64 {}", bytes.len(), BASE64.encode(bytes)),
    }
}

/// Lines that are the same once; of the others what was expected, then what came.
fn difference(expected: &[String], got: &[String]) -> String {
    let mut words = "not as expected".to_owned();
    for at in 0..expected.len().max(got.len()) {
        let (wanted, came) = (expected.get(at), got.get(at));
        if wanted == came {
            let _ = write!(words, "\n    {}", wanted.map_or("", String::as_str));
            continue;
        }
        for (sign, line) in [('-', wanted), ('+', came)] {
            if let Some(line) = line {
                let _ = write!(words, "\n  {sign} {line}");
            }
        }
    }
    words
}
