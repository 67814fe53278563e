//! The packed call (docs/plugins/packed.md), the plugin's side: messages out of one block of bytes, results into one.
//!
//! The gateway wrote the block, so that it is laid out right is its promise; if it is not, the plugin panics, which traps.

use crate::{Decision, Destination, Failure, Message, Output, Properties, Qos};

const NONE: Properties = Properties {
    content_type: None,
    response_topic: None,
    correlation_data: None,
    message_expiry_seconds: None,
    payload_is_utf8: false,
    user: Vec::new(),
};

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
            properties: if has(4) { self.properties() } else { NONE },
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
            Ok(Decision::Drop(reason)) => self.text(0, reason),
            Ok(Decision::Forward(outputs)) => {
                self.0.push(1);
                self.u32(outputs.len());
                outputs.iter().for_each(|output| self.output(output));
            }
            Ok(Decision::Pass) => self.0.push(2),
            Err(Failure::Reject(reason)) => self.text(3, reason),
            Err(Failure::Retry(reason)) => self.text(4, reason),
        }
    }

    fn u32(&mut self, number: usize) {
        self.0.extend_from_slice(&(number as u32).to_le_bytes());
    }

    #[inline]
    fn bytes(&mut self, case: u8, bytes: &[u8]) {
        self.0.push(case);
        self.u32(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    #[inline]
    fn text(&mut self, case: u8, text: &str) {
        self.bytes(case, text.as_bytes());
    }

    #[inline]
    fn output(&mut self, output: &Output) {
        let Output { to, topic, payload, qos, retain, properties, user, key } = output;
        match to {
            Destination::Target(name) => self.text(0, name),
            Destination::Onward => self.0.push(1),
        }
        let count_at = self.0.len();
        self.u32(0);
        let mut count = 0;
        if let Some(topic) = topic {
            self.text(0, topic);
            count += 1;
        }
        if let Some(payload) = payload {
            self.bytes(1, payload);
            count += 1;
        }
        if let Some(qos) = qos {
            self.0.extend_from_slice(&[2, *qos as u8]);
            count += 1;
        }
        if let Some(retain) = retain {
            self.0.extend_from_slice(&[3, u8::from(*retain)]);
            count += 1;
        }
        if let Some(properties) = properties {
            count += self.properties(properties);
        }
        for (name, value) in user {
            self.user_property(name, value);
            count += 1;
        }
        if let Some(key) = key {
            self.text(11, key);
            count += 1;
        }
        self.0[count_at..count_at + 4].copy_from_slice(&u32::to_le_bytes(count));
    }

    /// Returns how many changes these are.
    #[cold]
    fn properties(&mut self, properties: &Properties) -> u32 {
        let Properties {
            content_type,
            response_topic,
            correlation_data,
            message_expiry_seconds,
            payload_is_utf8,
            user,
        } = properties;
        self.0.extend_from_slice(&[10, 0]); // without every property that came
        let mut count = 1;
        for (case, text) in [(4, content_type), (5, response_topic)] {
            if let Some(text) = text {
                self.text(case, text);
                count += 1;
            }
        }
        if let Some(data) = correlation_data {
            self.bytes(6, data);
            count += 1;
        }
        if let Some(seconds) = message_expiry_seconds {
            self.0.push(7);
            self.0.extend_from_slice(&f64::from(*seconds).to_le_bytes());
            count += 1;
        }
        if *payload_is_utf8 {
            self.0.extend_from_slice(&[8, 1]);
            count += 1;
        }
        for (name, value) in user {
            self.user_property(name, value);
            count += 1;
        }
        count
    }

    fn user_property(&mut self, name: &str, value: &str) {
        self.text(9, name);
        self.u32(value.len());
        self.0.extend_from_slice(value.as_bytes());
    }
}
