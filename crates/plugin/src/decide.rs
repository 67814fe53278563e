//! From what a guest returned to an [`Outcome`]: nothing leaves here that MQTT cannot carry or that was not granted.

use crate::answer::{self, Decision, Edit, Property, To};
use crate::granted_topics::GrantedTopics;
use crate::outcome::{Destination, Fault, Outcome, Output, Outputs};
use crate::spec::Spec;
use bytes::Bytes;
use bytestring::ByteString;
use tidegate_message::{Message, Properties, Topic, text};

/// The longest reason a plugin can give, in bytes; the rest is cut off.
const MAX_REASON_BYTES: usize = 256;
/// The longest string or binary property (MQTT 5.0 sections 1.5.4 and 1.5.6).
const MAX_PROPERTY_BYTES: usize = 65_535;

/// Checks the decision on one message. What is wrong with it is the fault of this message alone.
pub(crate) fn outcome(spec: &Spec, known: &mut GrantedTopics, input: &Message, decision: Decision) -> Outcome {
    match decision {
        Decision::Pass => Outcome::Pass,
        Decision::Drop(reason) => Outcome::Drop(ByteString::from(shorten(reason))),
        Decision::Forward(list) if list.is_empty() => Outcome::Fault(Fault::EmptyForward),
        Decision::Forward(list) => match outputs(spec, known, Some(input), list) {
            Ok(outputs) => Outcome::Forward(outputs),
            Err(fault) => Outcome::Fault(fault),
        },
        Decision::Reject(reason) => Outcome::Reject(shorten(reason)),
        Decision::Retry(reason) => Outcome::Retry(shorten(reason)),
        Decision::Wrong(fault) => Outcome::Fault(fault),
    }
}

/// Checks the outputs for one message, or for a tick when there is no input: all are good, or none goes out.
pub(crate) fn outputs(
    spec: &Spec,
    known: &mut GrantedTopics,
    input: Option<&Message>,
    list: Vec<answer::Output>,
) -> Result<Outputs, Fault> {
    let limits = &spec.limits;
    if list.len() > limits.outputs as usize {
        return Err(Fault::TooManyOutputs { got: list.len(), limit: limits.outputs });
    }
    let mut left = limits.output_bytes;
    let mut outputs = Outputs::with_capacity(list.len());
    for output in list {
        left = output
            .weight()
            .and_then(|bytes| left.checked_sub(bytes))
            .ok_or(Fault::TooLarge { limit_bytes: limits.output_bytes })?;
        outputs.push(checked(spec, known, input, output)?);
    }
    Ok(outputs)
}

fn checked(
    spec: &Spec,
    known: &mut GrantedTopics,
    input: Option<&Message>,
    output: answer::Output,
) -> Result<Output, Fault> {
    let to = match output.to {
        To::Onward => Destination::Onward,
        To::Target(name) => {
            let place = spec.grants.targets.iter().position(|granted| *granted == name);
            match place.and_then(|place| u16::try_from(place).ok()) {
                Some(place) => Destination::Target(place),
                None => return Err(Fault::ForeignTarget(shorten(name))),
            }
        }
    };
    let topic = match (output.topic, input) {
        (None, Some(_)) => None,
        (None, None) => return Err(Fault::NoTopic),
        (Some(text), Some(input)) if text == input.topic.as_str() => None,
        (Some(text), _) => Some(known.get(text, |text| granted_topic(spec, text))?),
    };
    let payload = output.payload.map(Bytes::from);
    let came = input.and_then(|input| input.properties.as_deref());
    let properties = match (output.edits.is_empty(), output.key) {
        (true, None) => None,
        (_, key) => Some(edited(spec, output.edits, key, came)?),
    };
    let says_utf8 = match (&properties, input) {
        (Some(own), _) => own.payload_is_utf8,
        (None, Some(input)) => input.properties.as_ref().is_some_and(|p| p.payload_is_utf8),
        (None, None) => false,
    };
    if says_utf8 {
        let bytes = payload.as_ref().or(input.map(|input| &input.payload));
        if bytes.is_some_and(|bytes| std::str::from_utf8(bytes).is_err()) {
            return Err(Fault::BadProperty {
                name: "payload-is-utf8",
                problem: "is set, but the payload is not UTF-8",
            });
        }
    }
    Ok(Output { to, topic, payload, qos: output.qos, retain: output.retain, properties })
}

fn granted_topic(spec: &Spec, text: String) -> Result<Topic, Fault> {
    let topic = Topic::new(text)?;
    if !spec.grants.topics.iter().any(|granted| granted.matches(&topic)) {
        return Err(Fault::ForeignTopic(topic));
    }
    if text::has_too_many_levels(topic.as_str()) {
        return Err(Fault::TooDeep);
    }
    check_portable(spec, Fault::TOPIC, topic.as_str(), || false)?;
    Ok(topic)
}

/// The properties that came, but for these edits.
fn edited(
    spec: &Spec,
    edits: Vec<Edit>,
    key: Option<String>,
    came: Option<&Properties>,
) -> Result<Box<Properties>, Fault> {
    let mut own = match edits.first() {
        Some(Edit::Remove(Property::Every)) => Properties::default(),
        _ => came.cloned().unwrap_or_default(),
    };
    for edit in edits {
        match edit {
            Edit::ContentType(text) => own.content_type = Some(string("content-type", text)?),
            Edit::ResponseTopic(text) => {
                let problem = "is not a topic to publish to";
                let topic = Topic::new(text).map_err(|_| Fault::BadProperty { name: "response-topic", problem })?;
                own.response_topic = Some(topic);
            }
            Edit::CorrelationData(data) if data.len() > MAX_PROPERTY_BYTES => {
                return Err(Fault::BadProperty { name: "correlation-data", problem: "is longer than 65535 bytes" });
            }
            Edit::CorrelationData(data) => own.correlation_data = Some(Bytes::from(data)),
            Edit::ExpirySeconds(seconds) => own.message_expiry_seconds = Some(expiry(seconds, came)?),
            Edit::PayloadIsUtf8(is) => own.payload_is_utf8 = is,
            Edit::User(name, value) => own.user.push((string("user", name)?, string("user", value)?)),
            Edit::Remove(Property::Every) => own = Properties::default(),
            Edit::Remove(Property::ContentType) => own.content_type = None,
            Edit::Remove(Property::ResponseTopic) => own.response_topic = None,
            Edit::Remove(Property::CorrelationData) => own.correlation_data = None,
            Edit::Remove(Property::MessageExpiry) => own.message_expiry_seconds = None,
            Edit::Remove(Property::PayloadIsUtf8) => own.payload_is_utf8 = false,
            Edit::Remove(Property::User) => own.user.clear(),
        }
    }
    check_portable_properties(spec, &own, came)?;
    // No part of the message: the one of a plugin before holds until another says one.
    own.key = key.map(ByteString::from).or_else(|| came.and_then(|came| came.key.clone()));
    Ok(Box::new(own))
}

/// A message expiry interval (MQTT 5.0 section 3.3.2.3.3). Not a number, in an engine of JavaScript, becomes one or other
/// number where a `u32` is due: it is told, and so is 0, for a message that nobody would ever see must not vanish without a word.
fn expiry(seconds: f64, came: Option<&Properties>) -> Result<u32, Fault> {
    let problem = if seconds == 0.0 && came.and_then(|came| came.message_expiry_seconds) != Some(0) {
        "is 0: the message would be gone before anybody has it; say `drop` to drop it"
    } else if !(0.0..=f64::from(u32::MAX)).contains(&seconds) {
        "is not a number of seconds from 1 to 4294967295"
    } else if seconds.fract() != 0.0 {
        "is not a whole number of seconds"
    } else {
        return Ok(seconds as u32);
    };
    Err(Fault::BadProperty { name: "message-expiry-seconds", problem })
}

/// Refuses what another broker would hang up on, unless it came like this: a plugin that sets one property has to say
/// the others again.
fn check_portable_properties(spec: &Spec, own: &Properties, input: Option<&Properties>) -> Result<(), Fault> {
    if let Some(text) = &own.content_type {
        check_portable(spec, "content-type", text, || {
            input.is_some_and(|came| came.content_type.as_ref() == Some(text))
        })?;
    }
    if let Some(topic) = &own.response_topic {
        let came = || input.is_some_and(|came| came.response_topic.as_ref() == Some(topic));
        check_portable(spec, "response-topic", topic.as_str(), came)?;
    }
    for pair in &own.user {
        let came = || input.is_some_and(|came| came.user.contains(pair));
        check_portable(spec, "user", &pair.0, came)?;
        check_portable(spec, "user", &pair.1, came)?;
    }
    Ok(())
}

/// `came` is asked only where it matters: whether the message came with this text.
fn check_portable(spec: &Spec, name: &'static str, text: &str, came: impl FnOnce() -> bool) -> Result<(), Fault> {
    match text::unportable(text) {
        Some(character) if !spec.allow_control_characters && !came() => Err(Fault::Unportable { name, character }),
        _ => Ok(()),
    }
}

/// A UTF-8 string as MQTT has them (MQTT 5.0 section 1.5.4).
fn string(name: &'static str, text: String) -> Result<ByteString, Fault> {
    if text.len() > MAX_PROPERTY_BYTES {
        return Err(Fault::BadProperty { name, problem: "is longer than 65535 bytes" });
    }
    if text.as_bytes().contains(&0) {
        return Err(Fault::BadProperty { name, problem: "contains the null character" });
    }
    Ok(ByteString::from(text))
}

/// Keeps what a plugin says within bounds before it becomes a label, a log line or a diagnostic.
pub(crate) fn shorten(mut text: String) -> String {
    if text.len() > MAX_REASON_BYTES {
        text.truncate(text.floor_char_boundary(MAX_REASON_BYTES));
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests;
