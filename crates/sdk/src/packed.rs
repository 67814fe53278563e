//! The packed call (docs/packed.md), the plugin's side: messages out of one block of bytes, results into one.
//!
//! The gateway wrote the block, so that it is laid out right is its promise; if it is not, the plugin panics, which traps.

use crate::{Decision, Destination, Failure, Message, Output, Properties, Qos};

/// The messages of a block, one after the other.
pub struct Messages {
    block: Vec<u8>,
    at: usize,
    left: usize,
}

impl Messages {
    /// Of a block.
    pub fn new(block: Vec<u8>) -> Self {
        let mut messages = Self { block, at: 0, left: 0 };
        messages.left = messages.u32() as usize;
        messages
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        taken.copy_from_slice(&self.block[self.at..self.at + N]);
        self.at += N;
        taken
    }

    #[inline]
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    #[inline]
    fn bytes(&mut self) -> Vec<u8> {
        let count = self.u32() as usize;
        let bytes = self.block[self.at..self.at + count].to_vec();
        self.at += count;
        bytes
    }

    #[inline]
    fn text(&mut self) -> String {
        String::from_utf8(self.bytes()).expect("the gateway's texts are UTF-8")
    }

    fn properties(&mut self) -> Properties {
        let [has] = self.take();
        let has = |bit: u8| has >> bit & 1 != 0;
        Properties {
            content_type: has(0).then(|| self.text()),
            response_topic: has(1).then(|| self.text()),
            correlation_data: has(2).then(|| self.bytes()),
            message_expiry_seconds: has(3).then(|| self.u32()),
            payload_is_utf8: has(4),
            user: (0..self.u32()).map(|_| (self.text(), self.text())).collect(),
        }
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.left = self.left.checked_sub(1)?;
        let (id, received_ms) = (u64::from_le_bytes(self.take()), u64::from_le_bytes(self.take()));
        let [flags] = self.take();
        let has = |bit: u8| flags >> bit & 1 != 0;
        Some(Message {
            id,
            topic: self.text(),
            payload: self.bytes(),
            qos: [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::ExactlyOnce][usize::from(flags & 3)],
            retain: has(2),
            properties: has(4).then(|| self.properties()),
            received_ms,
            redelivered: has(3),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Results on their way into a block.
pub struct Results(Vec<u8>);

impl Results {
    /// Of so many messages.
    pub fn new(count: usize) -> Self {
        let mut block = Vec::with_capacity(4 + count * 64);
        block.extend_from_slice(&(count as u32).to_le_bytes());
        Self(block)
    }

    /// The block.
    pub fn into_block(self) -> Vec<u8> {
        self.0
    }

    /// The result of the next message.
    #[inline]
    pub fn push(&mut self, result: &Result<Decision, Failure>) {
        match result {
            Ok(Decision::Pass) => self.0.push(0),
            Ok(Decision::Forward(outputs)) => {
                self.0.push(1);
                self.u32(outputs.len());
                outputs.iter().for_each(|output| self.output(output));
            }
            Ok(Decision::Drop(reason)) => self.reason(2, reason),
            Err(Failure::Reject(reason)) => self.reason(3, reason),
            Err(Failure::Retry(reason)) => self.reason(4, reason),
        }
    }

    fn reason(&mut self, result: u8, reason: &str) {
        self.0.push(result);
        self.bytes(reason.as_bytes());
    }

    fn u32(&mut self, number: usize) {
        self.0.extend_from_slice(&(number as u32).to_le_bytes());
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    #[inline]
    fn output(&mut self, output: &Output) {
        let Output { to, topic, payload, qos, retain, properties } = output;
        let target = match to {
            Destination::Onward => None,
            Destination::Target(name) => Some(name),
        };
        let has = [
            target.is_some(),
            topic.is_some(),
            payload.is_some(),
            qos.is_some(),
            retain.is_some(),
            *retain == Some(true),
            properties.is_some(),
        ];
        self.0.push(bits(&has));
        self.0.push(match qos {
            None | Some(Qos::AtMostOnce) => 0,
            Some(Qos::AtLeastOnce) => 1,
            Some(Qos::ExactlyOnce) => 2,
        });
        for text in [target, topic.as_ref()].into_iter().flatten() {
            self.bytes(text.as_bytes());
        }
        if let Some(payload) = payload {
            self.bytes(payload);
        }
        if let Some(properties) = properties {
            self.properties(properties);
        }
    }

    fn properties(&mut self, properties: &Properties) {
        let Properties { content_type, response_topic, correlation_data, message_expiry_seconds, .. } = properties;
        let has = [
            content_type.is_some(),
            response_topic.is_some(),
            correlation_data.is_some(),
            message_expiry_seconds.is_some(),
            properties.payload_is_utf8,
        ];
        self.0.push(bits(&has));
        for text in [content_type, response_topic].into_iter().flatten() {
            self.bytes(text.as_bytes());
        }
        if let Some(data) = correlation_data {
            self.bytes(data);
        }
        if let Some(seconds) = message_expiry_seconds {
            self.0.extend_from_slice(&seconds.to_le_bytes());
        }
        self.u32(properties.user.len());
        for (name, value) in &properties.user {
            self.bytes(name.as_bytes());
            self.bytes(value.as_bytes());
        }
    }
}

fn bits(has: &[bool]) -> u8 {
    has.iter().rev().fold(0, |bits, has| bits << 1 | u8::from(*has))
}
