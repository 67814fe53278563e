//! The packed call (docs/plugins/packed.md), the plugin's side: messages out of one block of bytes, results into one.
//!
//! The gateway wrote the block, so that it is laid out right is its promise; if it is not, the plugin panics, which traps.

use crate::decision::Change;
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
            properties: if has(4) { self.properties() } else { Properties::none() },
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
        match &output.to {
            Destination::Target(name) => self.text(0, name),
            Destination::Onward => self.0.push(1),
        }
        let count_at = self.0.len();
        self.u32(0);
        let mut count = 0_u32;
        output.changes(|change| {
            self.change(change);
            count += 1;
        });
        self.0[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    }

    /// By the number of its case in the contract.
    #[inline]
    fn change(&mut self, change: Change<'_>) {
        match change {
            Change::Topic(topic) => self.text(0, topic),
            Change::Payload(payload) => self.bytes(1, payload),
            Change::Qos(qos) => self.0.extend_from_slice(&[2, qos as u8]),
            Change::Retain(retain) => self.0.extend_from_slice(&[3, u8::from(retain)]),
            Change::ContentType(text) => self.text(4, text),
            Change::ResponseTopic(topic) => self.text(5, topic),
            Change::CorrelationData(data) => self.bytes(6, data),
            Change::MessageExpirySeconds(seconds) => {
                self.0.push(7);
                self.0.extend_from_slice(&seconds.to_le_bytes());
            }
            Change::PayloadIsUtf8(is) => self.0.extend_from_slice(&[8, u8::from(is)]),
            Change::UserProperty(name, value) => {
                self.text(9, name);
                self.u32(value.len());
                self.0.extend_from_slice(value.as_bytes());
            }
            Change::RemoveEvery => self.0.extend_from_slice(&[10, 0]),
            Change::Key(key) => self.text(11, key),
        }
    }
}
