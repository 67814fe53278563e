//! The packed call: a batch as one block of bytes, and the decisions as one, laid out as in `docs/plugins/packed.md`.
//!
//! In: inputs, or the block that a guest has answered with. Out: the block for the guest, or what the typed call would have
//! returned; so everything behind is the same for both.

use crate::answer::{Decision, Output, To};
use crate::contract::v0::tidegate::gateway::types as old;
use crate::contract::v1::tidegate::gateway::types as wit;
use crate::instance::Input;
use crate::outcome::Fault;
use tidegate_message::Properties;

/// Changes of one output: each is as small as two bytes, and takes more in memory.
const CHANGES_MAX: usize = 1024;

/// How decisions are laid out; messages are the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Of contract 0.1.
    V0,
    /// Of contract 1.
    V1,
}

/// Messages take at least these bits of their flags.
const RETAIN: u8 = 1 << 2;
const REDELIVERED: u8 = 1 << 3;
const HAS_PROPERTIES: u8 = 1 << 4;

/// Writes the messages of a batch in place of what is in `block`.
pub(crate) fn write(inputs: &[Input<'_>], block: &mut Vec<u8>) {
    block.clear();
    put_u32(block, inputs.len());
    for Input { id, message, received_ms, redelivered } in inputs {
        block.extend_from_slice(&id.to_le_bytes());
        block.extend_from_slice(&received_ms.to_le_bytes());
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        block.push(
            message.qos as u8
                | flag(message.retain, RETAIN)
                | flag(*redelivered, REDELIVERED)
                | flag(message.properties.is_some(), HAS_PROPERTIES),
        );
        put(block, message.topic.as_str().as_bytes());
        put(block, &message.payload);
        if let Some(properties) = &message.properties {
            write_properties(properties, block);
        }
    }
}

fn write_properties(properties: &Properties, block: &mut Vec<u8>) {
    let Properties {
        content_type,
        response_topic,
        correlation_data,
        message_expiry_seconds,
        payload_is_utf8,
        user,
        key: _,
    } = properties;
    let has = [
        content_type.is_some(),
        response_topic.is_some(),
        correlation_data.is_some(),
        message_expiry_seconds.is_some(),
        *payload_is_utf8,
    ];
    block.push((0u8..).zip(has).map(|(bit, has)| u8::from(has) << bit).sum());
    if let Some(text) = content_type {
        put(block, text.as_bytes());
    }
    if let Some(topic) = response_topic {
        put(block, topic.as_str().as_bytes());
    }
    if let Some(data) = correlation_data {
        put(block, data);
    }
    if let Some(seconds) = message_expiry_seconds {
        block.extend_from_slice(&seconds.to_le_bytes());
    }
    put_u32(block, user.len());
    for (name, value) in user {
        put(block, name.as_bytes());
        put(block, value.as_bytes());
    }
}

fn put(block: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(block, bytes.len());
    block.extend_from_slice(bytes);
}

/// No batch is so long that a length does not fit: a guest's memory has no more bytes.
fn put_u32(block: &mut Vec<u8>, number: usize) {
    block.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

/// Reads the decisions on `count` messages. Of the outputs of one, more than `outputs_max` are passed over but for one, so
/// that a small block does not become much memory.
///
/// # Errors
/// The block is wrong, which is the fault of the whole call.
pub(crate) fn read(layout: Layout, block: &[u8], count: usize, outputs_max: usize) -> Result<Vec<Decision>, Fault> {
    let wrong = |problem| Fault::Trap(format!("the block that it has answered with is wrong: {problem}"));
    let mut rest = Rest { block, at: 0 };
    let got = rest.u32().map_err(wrong)?;
    if got != count {
        return Err(Fault::WrongCount { expected: count, got });
    }
    let decision = |_| match layout {
        Layout::V0 => rest.old_decision(outputs_max),
        Layout::V1 => rest.decision(outputs_max),
    };
    let decisions = (0..count).map(decision).collect::<Result<_, _>>().map_err(wrong)?;
    match rest.block.len() - rest.at {
        0 => Ok(decisions),
        left => Err(wrong(format!("{left} bytes are left over behind its decisions"))),
    }
}

/// What is not read yet.
struct Rest<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.block.get(self.at..).and_then(|rest| rest.get(..count));
        let taken = taken.ok_or_else(|| format!("it ends within what begins at byte {}", self.at))?;
        self.at += count;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<usize, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    fn f64(&mut self) -> Result<f64, String> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(f64::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let count = self.u32()?;
        Ok(self.take(count)?.to_vec())
    }

    fn text(&mut self) -> Result<String, String> {
        let at = self.at;
        String::from_utf8(self.bytes()?).map_err(|_| format!("the text at byte {at} is not UTF-8"))
    }

    /// The number of a case.
    fn case<T: Copy>(&mut self, what: &str, cases: &[T]) -> Result<T, String> {
        let (at, case) = (self.at, self.u8()?);
        cases.get(usize::from(case)).copied().ok_or_else(|| format!("{case} at byte {at} is no {what}"))
    }

    fn bool(&mut self) -> Result<bool, String> {
        self.case("truth value", &[false, true])
    }

    fn decision(&mut self, outputs_max: usize) -> Result<Decision, String> {
        let (at, case) = (self.at, self.u8()?);
        Ok(match case {
            0 => Decision::with_reason(self.text()?, Decision::Drop),
            1 => Decision::Forward(self.outputs(outputs_max, Self::output)?),
            2 => Decision::Pass,
            3 => Decision::with_reason(self.text()?, Decision::Reject),
            4 => Decision::with_reason(self.text()?, Decision::Retry),
            other => return Err(format!("{other} at byte {at} is no decision")),
        })
    }

    fn outputs(
        &mut self,
        outputs_max: usize,
        mut output: impl FnMut(&mut Self) -> Result<Output, String>,
    ) -> Result<Vec<Output>, String> {
        let count = self.u32()?;
        let mut outputs = Vec::with_capacity(count.min(outputs_max.saturating_add(1)));
        for _ in 0..count {
            let output = output(self)?;
            if outputs.len() <= outputs_max {
                outputs.push(output);
            }
        }
        Ok(outputs)
    }

    fn output(&mut self) -> Result<Output, String> {
        let is_target = self.case("destination", &[true, false])?;
        let mut output = Output::unchanged(if is_target { To::Target(self.text()?) } else { To::Onward });
        let count = self.u32()?;
        if count > CHANGES_MAX {
            return Err(format!("{count} changes of one output, at most {CHANGES_MAX} are allowed"));
        }
        for _ in 0..count {
            output.change(self.change()?);
        }
        Ok(output)
    }

    /// In the order of the cases in the contract.
    fn change(&mut self) -> Result<wit::Change, String> {
        const QOS: [wit::Qos; 3] = [wit::Qos::AtMostOnce, wit::Qos::AtLeastOnce, wit::Qos::ExactlyOnce];
        const PROPERTIES: [wit::Property; 7] = [
            wit::Property::Every,
            wit::Property::ContentType,
            wit::Property::ResponseTopic,
            wit::Property::CorrelationData,
            wit::Property::MessageExpiry,
            wit::Property::PayloadIsUtf8,
            wit::Property::User,
        ];
        let (at, case) = (self.at, self.u8()?);
        Ok(match case {
            0 => wit::Change::Topic(self.text()?),
            1 => wit::Change::Payload(self.bytes()?),
            2 => wit::Change::Qos(self.case("QoS", &QOS)?),
            3 => wit::Change::Retain(self.bool()?),
            4 => wit::Change::ContentType(self.text()?),
            5 => wit::Change::ResponseTopic(self.text()?),
            6 => wit::Change::CorrelationData(self.bytes()?),
            7 => wit::Change::MessageExpirySeconds(self.f64()?),
            8 => wit::Change::PayloadIsUtf8(self.bool()?),
            9 => wit::Change::UserProperty((self.text()?, self.text()?)),
            10 => wit::Change::Remove(self.case("property", &PROPERTIES)?),
            11 => wit::Change::Key(self.text()?),
            other => return Err(format!("{other} at byte {at} is no change")),
        })
    }

    fn old_decision(&mut self, outputs_max: usize) -> Result<Decision, String> {
        let (at, case) = (self.at, self.u8()?);
        Ok(match case {
            0 => Decision::Pass,
            1 => Decision::Forward(self.outputs(outputs_max, Self::old_output)?),
            2 => Decision::Drop(self.text()?),
            3 => Decision::Reject(self.text()?),
            4 => Decision::Retry(self.text()?),
            other => return Err(format!("{other} at byte {at} is no result")),
        })
    }

    fn old_output(&mut self) -> Result<Output, String> {
        const QOS: [old::Qos; 3] = [old::Qos::AtMostOnce, old::Qos::AtLeastOnce, old::Qos::ExactlyOnce];
        let has = self.u8()?;
        let has = |bit: u8| has >> bit & 1 != 0;
        let qos = match has(3) {
            true => Some(self.case("QoS", &QOS)?),
            false => self.u8().map(|_| None)?,
        };
        Ok(Output::from(old::Output {
            to: if has(0) { old::Destination::Target(self.text()?) } else { old::Destination::Onward },
            topic: has(1).then(|| self.text()).transpose()?,
            payload: has(2).then(|| self.bytes()).transpose()?,
            qos,
            retain: has(4).then(|| has(5)),
            properties: has(6).then(|| self.old_properties()).transpose()?,
        }))
    }

    fn old_properties(&mut self) -> Result<old::PropertiesResult, String> {
        let has = self.u8()?;
        let has = |bit: u8| has >> bit & 1 != 0;
        Ok(old::PropertiesResult {
            content_type: has(0).then(|| self.text()).transpose()?,
            response_topic: has(1).then(|| self.text()).transpose()?,
            correlation_data: has(2).then(|| self.bytes()).transpose()?,
            message_expiry_seconds: has(3).then(|| self.u32().map(|seconds| seconds as u32)).transpose()?,
            payload_is_utf8: has(4),
            user: {
                let count = self.u32()?;
                (0..count).map(|_| Ok((self.text()?, self.text()?))).collect::<Result<_, String>>()?
            },
        })
    }
}

#[cfg(test)]
mod tests;
