//! One message to many.

use crate::config::Split;
use crate::format::{Envelope, Piece, Problem, gunzip, is_gzip};
use std::borrow::Cow;
use tidegate_sdk::{Decision, Destination, Failure, Message, Output, Properties};

pub(crate) struct Splitter {
    rules: Split,
    envelope: Envelope,
}

impl Splitter {
    pub(crate) fn new(rules: Split) -> Self {
        Self { rules, envelope: Envelope::new() }
    }

    pub(crate) fn handle(&self, message: &Message) -> Result<Decision, Failure> {
        match self.split(message) {
            Ok(outputs) if outputs.is_empty() => Ok(Decision::drop("empty")),
            Ok(outputs) => Ok(Decision::forward(outputs)),
            Err(Wrong::Topic) => Err(Failure::reject("`topic` makes no topic of the topic of this message")),
            Err(Wrong::Problem(problem, payload)) => {
                let told = || problem.told(&payload, self.rules.max_bytes, self.rules.max_outputs);
                self.rules.on_missing.decide(problem.reason(), told)
            }
        }
    }

    fn split<'m>(&self, message: &'m Message) -> Result<Vec<Output>, Wrong<'m>> {
        let rules = &self.rules;
        let payload = match rules.gzip && is_gzip(&message.payload) {
            true => Cow::Owned(
                gunzip(&message.payload, rules.max_bytes)
                    .map_err(|problem| Wrong::Problem(problem, Cow::Borrowed(&message.payload)))?,
            ),
            false => Cow::Borrowed(&message.payload[..]),
        };
        let places = match rules.format.elements(&payload, rules.max_outputs) {
            Ok(places) => places,
            Err(problem) => return Err(Wrong::Problem(problem, payload)),
        };
        let topic = match &rules.topic {
            Some(template) => Some(template.topic(&message.topic, &[]).ok_or(Wrong::Topic)?),
            None => None,
        };
        let properties = self.properties(message);
        let mut left = rules.max_bytes;
        let mut outputs = Vec::with_capacity(places.len());
        for (at, place) in places.into_iter().enumerate() {
            let text = &payload[place];
            let piece = match &topic {
                Some(topic) => Some(Piece { topic: topic.clone(), qos: None, retain: None, payload: text.to_vec() }),
                None => self.envelope.open(text),
            };
            let Some(piece) = piece else { return Err(Wrong::Problem(Problem::NoEnvelope(at), payload)) };
            let bytes = piece.topic.len() + piece.payload.len() + properties.as_ref().map_or(0, size_of_properties);
            let Some(rest) = left.checked_sub(bytes) else { return Err(Wrong::Problem(Problem::TooLarge, payload)) };
            left = rest;
            outputs.push(self.output(piece, properties.clone(), message));
        }
        Ok(outputs)
    }

    fn output(&self, piece: Piece, properties: Option<Properties>, message: &Message) -> Output {
        let mut output = match &self.rules.to {
            Destination::Onward => Output::onward(),
            Destination::Target(target) => Output::target(target),
        };
        output.topic = (piece.topic != message.topic).then_some(piece.topic);
        output.qos = self.rules.qos.or(piece.qos);
        output.retain = self.rules.retain.or(piece.retain);
        output.properties = properties.map(Box::new);
        output.payload(piece.payload)
    }

    /// Those of the whole, but for what was true of it alone; none if they are the same.
    fn properties(&self, message: &Message) -> Option<Properties> {
        let of_whole = &message.properties;
        let of_piece = Properties {
            content_type: self.rules.content_type.clone(),
            payload_is_utf8: false,
            user: of_whole.user.iter().filter(|(name, _)| name != "content-encoding").cloned().collect(),
            ..of_whole.clone()
        };
        (of_piece != *of_whole).then_some(of_piece)
    }
}

/// Why nothing goes out; with the payload that the places in it are of.
enum Wrong<'m> {
    Problem(Problem, Cow<'m, [u8]>),
    Topic,
}

/// What they take in an output.
fn size_of_properties(properties: &Properties) -> usize {
    let Properties { content_type, response_topic, correlation_data, user, .. } = properties;
    let texts = [content_type, response_topic].into_iter().flatten().map(String::len).sum::<usize>();
    let user: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
    texts + user + correlation_data.as_ref().map_or(0, Vec::len)
}
