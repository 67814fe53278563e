//! The way of a message as spans, in the JSON of OTLP (OpenTelemetry Protocol 1.5, JSON Protobuf encoding), under the names of
//! OpenTelemetry's semantic conventions for messaging where they have one.
//!
//! One span is the message from its receipt on; below it one for each call of a plugin, and one for each target, until that has
//! acknowledged it. One that is told before its end is told in two parts: what ends later is in the second.

use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};
use tidegate_gateway::{Journey, Outcome, Said, Step, TraceContext, What};

// Kinds of spans.
const INTERNAL: u8 = 1;
const PRODUCER: u8 = 4;
const CONSUMER: u8 = 5;

/// The status of a span that has failed.
const ERROR: u8 = 2;

/// Between the ids of spans of one message: odd, so that none comes twice.
const APART: u64 = 0x9e37_79b9_7f4a_7c15;

/// So many plugins say something at one step.
const PLUGINS_MAX: usize = 64;

/// What a collector is told of these messages, by a gateway of this name.
pub(crate) fn request(gateway: &str, spans: Vec<Value>) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            text("service.name", "tidegate"),
            text("service.instance.id", gateway),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ] },
        "scopeSpans": [{
            "scope": { "name": "tidegate", "version": env!("CARGO_PKG_VERSION") },
            "spans": spans,
        }],
    }] })
}

/// What has not been told yet of a message that is in a trace.
pub(crate) fn spans(journey: &Journey) -> Vec<Value> {
    let Some(context) = journey.context else { return Vec::new() };
    let of = Of { journey, context };
    let mut spans = Vec::new();
    if journey.told_before == 0 {
        spans.push(of.received());
    }
    for (at, step) in journey.steps.iter().enumerate() {
        match &step.what {
            What::Decided { said, outcome } if at >= journey.told_before => {
                spans.extend(of.decided(at, step, said, *outcome));
            }
            What::Filed { topic, qos } | What::Passed { topic, qos } => spans.extend(of.sent(at, topic, *qos)),
            _ => {}
        }
    }
    spans
}

struct Of<'j> {
    journey: &'j Journey,
    context: TraceContext,
}

impl Of<'_> {
    fn at(&self, after: Duration) -> String {
        let at = self.journey.at + after;
        at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
    }

    fn span(&self, number: usize, kind: u8, name: String, (from, to): (Duration, Duration)) -> Value {
        let own = number as u64;
        let mut span = json!({
            "traceId": format!("{:032x}", self.context.trace_id),
            "spanId": format!("{:016x}", self.context.span_id.wrapping_add(own.wrapping_mul(APART)).max(1)),
            "name": name,
            "kind": kind,
            "startTimeUnixNano": self.at(from),
            "endTimeUnixNano": self.at(to),
        });
        let parent = if number == 0 { self.context.parent_id } else { Some(self.context.span_id) };
        if let Some(parent) = parent {
            span["parentSpanId"] = format!("{parent:016x}").into();
        }
        span
    }

    /// The whole of it, as far as it has come.
    fn received(&self) -> Value {
        let Journey { broker, came, steps, .. } = self.journey;
        let last = steps.last().map_or(Duration::ZERO, |step| step.after);
        let mut span = self.span(0, CONSUMER, format!("process {broker}"), (Duration::ZERO, last));
        let mut attributes = vec![
            text("messaging.system", "mqtt"),
            text("messaging.operation.name", "process"),
            text("messaging.operation.type", "process"),
            text("messaging.destination.name", &came.topic),
            number("messaging.message.body.size", came.payload_bytes as u64),
            text("tidegate.broker", broker),
            number("tidegate.message", self.journey.number),
            number("tidegate.qos", came.qos.into()),
            json!({ "key": "tidegate.retain", "value": { "boolValue": came.retain } }),
        ];
        let mut events = Vec::new();
        for step in steps {
            let (name, more) = match &step.what {
                What::Received { routes } => {
                    let routes: Vec<Value> = routes.iter().map(|route| json!({ "stringValue": &**route })).collect();
                    let routes = json!({ "arrayValue": { "values": routes } });
                    attributes.push(json!({ "key": "tidegate.routes", "value": routes }));
                    continue;
                }
                What::Twin => ("another broker has brought it already", None),
                What::HeldBack => ("held back for a moment", None),
                What::Recorded { .. } => ("recorded", None),
                What::Settled => ("acknowledged to its source", None),
                What::Ended { reason } if step.target.is_none() => ("ended", Some(text("tidegate.reason", reason))),
                _ => continue,
            };
            let route = step.route.as_deref().map(|route| text("tidegate.route", route));
            let attributes: Vec<Value> = route.into_iter().chain(more).collect();
            events.push(json!({ "timeUnixNano": self.at(step.after), "name": name, "attributes": attributes }));
        }
        span["attributes"] = attributes.into();
        span["events"] = events.into();
        span
    }

    /// A call of each plugin, one after the other up to the decision.
    fn decided(&self, at: usize, step: &Step, said: &[Said], outcome: Outcome) -> Vec<Value> {
        let mut end = step.after;
        let mut spans = Vec::new();
        for (place, said) in said.iter().enumerate().take(PLUGINS_MAX).rev() {
            let begin = end.saturating_sub(said.took);
            let own = (at + 1) * PLUGINS_MAX + place;
            let mut span = self.span(own, INTERNAL, format!("plugin {}", said.plugin), (begin, end));
            let route = step.route.as_deref().unwrap_or_default();
            span["attributes"] = json!([
                text("tidegate.route", route),
                text("tidegate.plugin", &said.plugin),
                text("tidegate.plugin.version", &said.version),
                text("tidegate.decision", &said.words),
                number("tidegate.batch", said.of.into()),
            ]);
            // The one that it ended at.
            if spans.is_empty() && matches!(outcome, Outcome::Failed | Outcome::Parked) {
                span["status"] = json!({ "code": ERROR, "message": said.words });
            }
            end = begin;
            spans.push(span);
        }
        spans
    }

    /// Its way to a target, if that has come to its end since it was told last.
    fn sent(&self, at: usize, topic: &str, qos: u8) -> Option<Value> {
        let steps = &self.journey.steps;
        let (begin, target) = (&steps[at], steps[at].target.as_deref()?);
        let is_for_it = |step: &Step| step.target.as_deref() == Some(target);
        // Another route may lead there, too.
        let before = steps[..at].iter().filter(|step| is_for_it(step) && begins(&step.what)).count();
        let mut ends = steps.iter().enumerate().filter(|(_, step)| is_for_it(step) && ends(&step.what, qos));
        let (ended, end) = ends.nth(before).filter(|(ended, _)| *ended >= self.journey.told_before)?;
        let own = (at + 1) * PLUGINS_MAX;
        let mut span = self.span(own, PRODUCER, format!("send {target}"), (begin.after, end.after));
        let mut attributes = vec![
            text("messaging.system", "mqtt"),
            text("messaging.operation.name", "send"),
            text("messaging.operation.type", "send"),
            text("messaging.destination.name", topic),
            text("tidegate.target", target),
            number("tidegate.qos", qos.into()),
        ];
        attributes.extend(begin.route.as_deref().map(|route| text("tidegate.route", route)));
        let failed = match &end.what {
            What::Acknowledged { broker, taken } => {
                attributes.push(text("tidegate.broker", broker));
                (!taken).then(|| "refused".to_owned())
            }
            What::Sent { broker } => {
                attributes.push(text("tidegate.broker", broker));
                None
            }
            What::Ended { reason } => Some(reason.to_string()),
            What::Parked { .. } => Some("parked".to_owned()),
            _ => None,
        };
        if let Some(reason) = failed {
            attributes.push(text("tidegate.reason", &reason));
            span["status"] = json!({ "code": ERROR, "message": reason });
        }
        let events = steps[at..=ended].iter().filter(|step| is_for_it(step)).filter_map(|step| {
            let name = match step.what {
                What::Durable => "durable",
                What::Sent { .. } => "sent",
                What::Moved => "moved to another target",
                _ => return None,
            };
            Some(json!({ "timeUnixNano": self.at(step.after), "name": name }))
        });
        span["events"] = events.collect();
        span["attributes"] = attributes.into();
        Some(span)
    }
}

/// Its way to a target begins.
fn begins(what: &What) -> bool {
    matches!(what, What::Filed { .. } | What::Passed { .. })
}

/// And ends: nobody acknowledges QoS 0.
fn ends(what: &What, qos: u8) -> bool {
    match what {
        What::Sent { .. } => qos == 0,
        what => matches!(what, What::Acknowledged { .. } | What::Ended { .. } | What::Parked { .. }),
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Whole numbers are strings, for they have 64 bits.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}
