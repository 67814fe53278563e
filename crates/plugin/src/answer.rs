//! What a plugin answers, whatever version of the contract it was built for: each version is turned into this, and everything
//! behind is the same.

use crate::contract::{v0, v1};
use crate::outcome::Fault;
use tidegate_message::QoS;
use v0::tidegate::gateway::types as old;
use v1::tidegate::gateway::types as wit;

pub(crate) use wit::Property;

/// What becomes of one message.
#[derive(Debug)]
pub(crate) enum Decision {
    Pass,
    Forward(Vec<Output>),
    Drop(String),
    Reject(String),
    Retry(String),
    /// No decision.
    Wrong(Fault),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum To {
    Onward,
    Target(String),
}

/// The message that came in, but for what is said here.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) to: To,
    pub(crate) topic: Option<String>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) qos: Option<QoS>,
    pub(crate) retain: Option<bool>,
    /// In their order.
    pub(crate) edits: Vec<Edit>,
    pub(crate) key: Option<String>,
}

/// Of the MQTT 5 properties.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edit {
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(Vec<u8>),
    ExpirySeconds(f64),
    PayloadIsUtf8(bool),
    User(String, String),
    Remove(Property),
}

impl Output {
    pub(crate) fn unchanged(to: To) -> Self {
        Self { to, topic: None, payload: None, qos: None, retain: None, edits: Vec::new(), key: None }
    }

    /// One more difference, in contract 1.
    pub(crate) fn change(&mut self, change: wit::Change) {
        let edit = match change {
            wit::Change::Topic(topic) => return self.topic = Some(topic),
            wit::Change::Payload(payload) => return self.payload = Some(payload),
            wit::Change::Qos(wit::Qos::AtMostOnce) => return self.qos = Some(QoS::AtMostOnce),
            wit::Change::Qos(wit::Qos::AtLeastOnce) => return self.qos = Some(QoS::AtLeastOnce),
            wit::Change::Qos(wit::Qos::ExactlyOnce) => return self.qos = Some(QoS::ExactlyOnce),
            wit::Change::Retain(retain) => return self.retain = Some(retain),
            wit::Change::Key(key) => return self.key = Some(key),
            wit::Change::ContentType(text) => Edit::ContentType(text),
            wit::Change::ResponseTopic(topic) => Edit::ResponseTopic(topic),
            wit::Change::CorrelationData(data) => Edit::CorrelationData(data),
            wit::Change::MessageExpirySeconds(seconds) => Edit::ExpirySeconds(seconds),
            wit::Change::PayloadIsUtf8(is) => Edit::PayloadIsUtf8(is),
            wit::Change::UserProperty((name, value)) => Edit::User(name, value),
            wit::Change::Remove(property) => Edit::Remove(property),
        };
        self.edits.push(edit);
    }

    /// What it brings of its own, in bytes; `None` if that is more than can be counted.
    pub(crate) fn weight(&self) -> Option<usize> {
        let texts = [&self.topic, &self.key].into_iter().flatten().map(String::len);
        let edits = self.edits.iter().map(|edit| match edit {
            Edit::ContentType(text) | Edit::ResponseTopic(text) => text.len(),
            Edit::CorrelationData(data) => data.len(),
            Edit::User(name, value) => name.len().saturating_add(value.len()),
            Edit::ExpirySeconds(_) | Edit::PayloadIsUtf8(_) | Edit::Remove(_) => 0,
        });
        let payload = self.payload.as_ref().map_or(0, Vec::len);
        texts.chain(edits).try_fold(payload, usize::checked_add)
    }
}

impl From<wit::Output> for Output {
    fn from(output: wit::Output) -> Self {
        let mut own = Self::unchanged(match output.to {
            wit::Destination::Target(name) => To::Target(name),
            wit::Destination::Onward => To::Onward,
        });
        output.changes.into_iter().for_each(|change| own.change(change));
        own
    }
}

impl From<wit::Decision> for Decision {
    fn from(decision: wit::Decision) -> Self {
        match decision {
            wit::Decision::Pass => Self::Pass,
            wit::Decision::Forward(outputs) => Self::Forward(outputs.into_iter().map(Output::from).collect()),
            wit::Decision::Drop(reason) => Self::with_reason(reason, Self::Drop),
            wit::Decision::Reject(reason) => Self::with_reason(reason, Self::Reject),
            wit::Decision::Retry(reason) => Self::with_reason(reason, Self::Retry),
        }
    }
}

impl Decision {
    /// In contract 1 a decision that bears a reason has one: without it, it may be a value that nobody has filled in.
    pub(crate) fn with_reason(reason: String, decision: fn(String) -> Self) -> Self {
        if reason.is_empty() { Self::Wrong(Fault::NoReason) } else { decision(reason) }
    }
}

impl From<old::Output> for Output {
    fn from(output: old::Output) -> Self {
        let old::Output { to, topic, payload, qos, retain, properties } = output;
        Self {
            to: match to {
                old::Destination::Target(name) => To::Target(name),
                old::Destination::Onward => To::Onward,
            },
            topic,
            payload,
            qos: qos.map(|qos| match qos {
                old::Qos::AtMostOnce => QoS::AtMostOnce,
                old::Qos::AtLeastOnce => QoS::AtLeastOnce,
                old::Qos::ExactlyOnce => QoS::ExactlyOnce,
            }),
            retain,
            edits: properties.map(instead).unwrap_or_default(),
            key: None,
        }
    }
}

/// In contract 0.1 all properties are said, in place of those that came.
fn instead(properties: old::PropertiesResult) -> Vec<Edit> {
    let old::PropertiesResult {
        content_type,
        response_topic,
        correlation_data,
        message_expiry_seconds,
        payload_is_utf8,
        user,
    } = properties;
    let mut edits = vec![Edit::Remove(Property::Every)];
    edits.extend(content_type.map(Edit::ContentType));
    edits.extend(response_topic.map(Edit::ResponseTopic));
    edits.extend(correlation_data.map(Edit::CorrelationData));
    edits.extend(message_expiry_seconds.map(|seconds| Edit::ExpirySeconds(f64::from(seconds))));
    edits.extend(payload_is_utf8.then_some(Edit::PayloadIsUtf8(true)));
    edits.extend(user.into_iter().map(|(name, value)| Edit::User(name, value)));
    edits
}

impl From<Result<old::Decision, old::Failure>> for Decision {
    fn from(result: Result<old::Decision, old::Failure>) -> Self {
        match result {
            Ok(old::Decision::Pass) => Self::Pass,
            Ok(old::Decision::Forward(outputs)) => Self::Forward(outputs.into_iter().map(Output::from).collect()),
            Ok(old::Decision::Drop(reason)) => Self::Drop(reason),
            Err(old::Failure::Reject(reason)) => Self::Reject(reason),
            Err(old::Failure::Retry(reason)) => Self::Retry(reason),
        }
    }
}
