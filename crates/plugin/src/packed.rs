//! The packed call: a batch as one block of bytes, and the results as one, laid out as in `docs/packed.md`.
//!
//! In: inputs, or the block that a guest has answered with. Out: the block for the guest, or what the typed call would have
//! returned; so everything behind is the same for both.

use crate::contract::tidegate::gateway::types as wit;
use crate::instance::{Handled, Input};
use crate::outcome::Fault;
use tidegate_message::Properties;

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
    let Properties { content_type, response_topic, correlation_data, message_expiry_seconds, payload_is_utf8, user } =
        properties;
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

/// Reads the results of `count` messages. Of the outputs of one, more than `outputs_max` are passed over but for one, so
/// that a small block does not become much memory.
///
/// # Errors
/// The block is wrong, which is the fault of the whole call.
pub(crate) fn read(block: &[u8], count: usize, outputs_max: usize) -> Result<Vec<Handled>, Fault> {
    let wrong = |problem| Fault::Trap(format!("the block that it has answered with is wrong: {problem}"));
    let mut rest = Rest { block, at: 0 };
    let got = rest.u32().map_err(wrong)?;
    if got != count {
        return Err(Fault::WrongCount { expected: count, got });
    }
    let results = (0..count).map(|_| rest.result(outputs_max)).collect::<Result<_, _>>().map_err(wrong)?;
    match rest.block.len() - rest.at {
        0 => Ok(results),
        left => Err(wrong(format!("{left} bytes are left over behind its results"))),
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

    fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let count = self.u32()?;
        Ok(self.take(count)?.to_vec())
    }

    fn text(&mut self) -> Result<String, String> {
        let at = self.at;
        String::from_utf8(self.bytes()?).map_err(|_| format!("the text at byte {at} is not UTF-8"))
    }

    fn result(&mut self, outputs_max: usize) -> Result<Handled, String> {
        let at = self.at;
        Ok(match self.u8()? {
            0 => Ok(wit::Decision::Pass),
            1 => Ok(wit::Decision::Forward(self.outputs(outputs_max)?)),
            2 => Ok(wit::Decision::Drop(self.text()?)),
            3 => Err(wit::Failure::Reject(self.text()?)),
            4 => Err(wit::Failure::Retry(self.text()?)),
            other => return Err(format!("{other} at byte {at} is no result")),
        })
    }

    fn outputs(&mut self, outputs_max: usize) -> Result<Vec<wit::Output>, String> {
        let count = self.u32()?;
        let mut outputs = Vec::with_capacity(count.min(outputs_max.saturating_add(1)));
        for _ in 0..count {
            let output = self.output()?;
            if outputs.len() <= outputs_max {
                outputs.push(output);
            }
        }
        Ok(outputs)
    }

    fn output(&mut self) -> Result<wit::Output, String> {
        let at = self.at;
        let (has, qos) = (self.u8()?, self.u8()?);
        let has = |bit: u8| has >> bit & 1 != 0;
        let qos = match (has(3), qos) {
            (false, _) => None,
            (true, 0) => Some(wit::Qos::AtMostOnce),
            (true, 1) => Some(wit::Qos::AtLeastOnce),
            (true, 2) => Some(wit::Qos::ExactlyOnce),
            (true, other) => return Err(format!("{other} at byte {} is no QoS", at + 1)),
        };
        Ok(wit::Output {
            to: if has(0) { wit::Destination::Target(self.text()?) } else { wit::Destination::Onward },
            topic: has(1).then(|| self.text()).transpose()?,
            payload: has(2).then(|| self.bytes()).transpose()?,
            qos,
            retain: has(4).then(|| has(5)),
            properties: has(6).then(|| self.properties()).transpose()?,
        })
    }

    fn properties(&mut self) -> Result<wit::PropertiesResult, String> {
        let has = self.u8()?;
        let has = |bit: u8| has >> bit & 1 != 0;
        Ok(wit::PropertiesResult {
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pass; forward to `far` on `a`, with a payload, QoS 1, retained, and properties; drop; retry.
    fn good() -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        let user = [&1_u32.to_le_bytes()[..], &text("k"), &text("v")].concat();
        let properties = [&[0b11111][..], &text("c"), &text("r"), &text("d"), &7_u32.to_le_bytes(), &user].concat();
        let output = [&[0b111_1111, 1][..], &text("far"), &text("a"), &text("new"), &properties].concat();
        let outputs = [&2_u32.to_le_bytes()[..], &output, &[0, 0]].concat();
        let parts: [&[u8]; 8] =
            [&4_u32.to_le_bytes(), &[0, 1], &outputs, &[2], &text("cold"), &[4], &text("later"), &[]];
        parts.concat()
    }

    #[test]
    fn messages_are_laid_out_as_documented() {
        use tidegate_message::{Message, QoS, Topic};
        let mut rich = Message::new(Topic::new("a").unwrap(), "xy", QoS::ExactlyOnce);
        rich.retain = true;
        rich.properties = Some(Box::new(Properties {
            content_type: Some("c".into()),
            response_topic: Some(Topic::new("r").unwrap()),
            correlation_data: Some(vec![9].into()),
            message_expiry_seconds: Some(7),
            payload_is_utf8: true,
            user: vec![("k".into(), "v".into())],
        }));
        let bare = Message::new(Topic::new("b").unwrap(), "", QoS::AtLeastOnce);
        let input = |id, message, redelivered| Input { id, message, received_ms: 3, redelivered };
        let mut block = b"what was there".to_vec();
        write(&[input(1, &rich, false), input(2, &bare, true)], &mut block);
        let text = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        let head = |id: u64, flags: u8| [&id.to_le_bytes()[..], &3_u64.to_le_bytes(), &[flags]].concat();
        let user = [&1_u32.to_le_bytes()[..], &text("k"), &text("v")].concat();
        let properties = [&[0b11111][..], &text("c"), &text("r"), &text("\t"), &7_u32.to_le_bytes(), &user].concat();
        let first = [head(1, 0b1_0110), text("a"), text("xy"), properties].concat();
        let second = [head(2, 0b0_1001), text("b"), text("")].concat();
        assert_eq!(block, [&2_u32.to_le_bytes()[..], &first, &second].concat());
    }

    #[test]
    fn a_block_is_read_as_it_is_laid_out() {
        let results = read(&good(), 4, 8).unwrap();
        let [Ok(wit::Decision::Pass), Ok(wit::Decision::Forward(outputs)), Ok(wit::Decision::Drop(cold)), Err(later)] =
            &results[..]
        else {
            panic!("{results:?}")
        };
        assert_eq!(cold, "cold");
        assert!(matches!(later, wit::Failure::Retry(reason) if reason == "later"));
        let [first, second] = &outputs[..] else { panic!("{outputs:?}") };
        assert!(matches!(&first.to, wit::Destination::Target(name) if name == "far"));
        assert_eq!((first.topic.as_deref(), first.payload.as_deref()), (Some("a"), Some(&b"new"[..])));
        assert_eq!((first.qos, first.retain), (Some(wit::Qos::AtLeastOnce), Some(true)));
        let properties = first.properties.as_ref().unwrap();
        assert_eq!(properties.content_type.as_deref(), Some("c"));
        assert_eq!(properties.response_topic.as_deref(), Some("r"));
        assert_eq!(properties.correlation_data.as_deref(), Some(&b"d"[..]));
        assert_eq!((properties.message_expiry_seconds, properties.payload_is_utf8), (Some(7), true));
        assert_eq!(properties.user, [("k".to_owned(), "v".to_owned())]);
        assert!(matches!(second.to, wit::Destination::Onward) && second.topic.is_none() && second.properties.is_none());
    }

    #[test]
    fn a_block_that_is_cut_or_too_long_is_refused() {
        let good = good();
        for end in 0..good.len() {
            assert!(read(&good[..end], 4, 8).is_err(), "cut at {end}");
        }
        let longer = [&good[..], &[0]].concat();
        assert!(
            matches!(read(&longer, 4, 8), Err(Fault::Trap(words)) if words.ends_with("1 bytes are left over behind its results"))
        );
        assert_eq!(read(&good, 3, 8).unwrap_err(), Fault::WrongCount { expected: 3, got: 4 });
    }

    #[test]
    fn a_small_block_does_not_become_much_memory() {
        let count = 100_000_u32;
        let block = [&1_u32.to_le_bytes()[..], &[1], &count.to_le_bytes(), &vec![0; 2 * count as usize]].concat();
        let results = read(&block, 1, 64).unwrap();
        assert!(matches!(&results[0], Ok(wit::Decision::Forward(outputs)) if outputs.len() == 65));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, put: u8) {
            let _ = read(&bytes, 1, 8);
            let mut changed = good();
            *at.get_mut(&mut changed) = put;
            let _ = read(&changed, 4, 8);
        }
    }
}
