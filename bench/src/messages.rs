//! The messages of the benchmark, encoded once and written again and again.
//!
//! They are a row of PUBLISH packets of the same size, one for each device in turn, so that the next packet id and the
//! time can be written into their place, and the sink can tell from the device whether something is missing.

use std::sync::OnceLock;
use std::time::Instant;

/// Every payload, in bytes, if nothing else is asked for.
pub(crate) const PAYLOAD_BYTES: usize = 200;

/// What the messages are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Payloads, in bytes.
    pub(crate) payload_bytes: usize,
    /// With two user properties, at MQTT 5.
    pub(crate) user_properties: bool,
    /// Over so many routes, each with its part of the topics.
    pub(crate) routes: u16,
}

impl Default for Load {
    fn default() -> Self {
        Self { payload_bytes: PAYLOAD_BYTES, user_properties: false, routes: 1 }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let properties = if self.user_properties { ", two user properties (MQTT 5)" } else { "" };
        write!(f, "{} bytes{properties}, {} topics over {} route(s)", self.payload_bytes, DEVICES.len(), self.routes)
    }
}

impl Load {
    /// The topic filters of each route, as the source has them.
    pub(crate) fn filters(self) -> Vec<Vec<String>> {
        if self.routes <= 1 {
            return vec![vec![FILTER.to_owned()]];
        }
        let mut routes = vec![Vec::new(); usize::from(self.routes)];
        for device in DEVICES {
            routes[usize::from(device % self.routes)].push(format!("{SOURCE_PREFIX}{device}{SUFFIX}"));
        }
        routes
    }
}

/// Three digits each, so that all packets have one size.
pub(crate) const DEVICES: std::ops::Range<u16> = 100..200;

/// Packets in the row: three rounds of all devices, 65 KB.
pub(crate) const PACKETS: usize = 3 * (DEVICES.end - DEVICES.start) as usize;

/// What the source's topics begin with, and what stands in its place at the sink.
pub(crate) const SOURCE_PREFIX: &str = "dev/";
pub(crate) const SINK_PREFIX: &str = "site/cottage/";

/// What both end with.
pub(crate) const SUFFIX: &str = "/temp";

/// What the subject subscribes to.
pub(crate) const FILTER: &str = "dev/+/temp";

/// Every payload begins so, in degrees Fahrenheit.
pub(crate) const PAYLOAD_BEGINS: &str = r#"{"temp":72.5,"#;

/// The same in degrees Celsius.
pub(crate) const CONVERTED_BEGINS: &str = r#"{"temp":22.5,"#;

/// Before the time in a payload.
const STAMP_KEY: &[u8] = br#""t":"#;

/// Times are written as this plus nanoseconds: always 16 digits, and exact in a JSON number.
const STAMP_BASE: u64 = 1_000_000_000_000_000;
const STAMP_DIGITS: usize = 16;

/// Nanoseconds since the first call.
pub(crate) fn now_ns() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// A row of packets, and which is next.
pub(crate) struct Messages {
    bytes: Vec<u8>,
    packet_bytes: usize,
    id_at: Option<usize>,
    stamp_at: usize,
    next: usize,
    next_id: u16,
}

impl Messages {
    pub(crate) fn new(qos: u8, v5: bool, load: Load) -> Self {
        let properties: Vec<u8> = match (v5, load.user_properties) {
            (false, _) => Vec::new(),
            (true, false) => vec![0],
            (true, true) => {
                // User properties (MQTT 5.0 section 3.3.2.3.7).
                let pair = |name: &str, value: &str| {
                    let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
                    [&[0x26][..], &text(name), &text(value)].concat()
                };
                let pairs = [pair("unit", "fahrenheit"), pair("firmware", "1.4.2")].concat();
                [&[pairs.len() as u8][..], &pairs].concat()
            }
        };
        let mut bytes = Vec::new();
        let mut id_at = None;
        for index in 0..PACKETS {
            let device = DEVICES.start + index as u16 % (DEVICES.end - DEVICES.start);
            let topic = format!("{SOURCE_PREFIX}{device}{SUFFIX}");
            let body = 2 + topic.len() + if qos > 0 { 2 } else { 0 } + properties.len() + load.payload_bytes;
            bytes.push(0x30 | qos << 1);
            crate::wire::put_length(&mut bytes, body);
            bytes.extend((topic.len() as u16).to_be_bytes());
            bytes.extend(topic.as_bytes());
            if qos > 0 {
                id_at.get_or_insert(bytes.len());
                bytes.extend([0, 1]);
            }
            bytes.extend(&properties);
            bytes.extend(payload(device, load.payload_bytes));
        }
        let packet_bytes = bytes.len() / PACKETS;
        debug_assert_eq!(packet_bytes * PACKETS, bytes.len(), "all packets have one size");
        let stamp = find(&bytes[..packet_bytes], STAMP_KEY).unwrap_or(0) + STAMP_KEY.len();
        Self { bytes, packet_bytes, id_at, stamp_at: stamp, next: 0, next_id: 1 }
    }

    /// At most `wanted` packets, as many as there are to the end of the row: how many, and their bytes.
    pub(crate) fn take(&mut self, wanted: usize) -> (usize, &[u8]) {
        let count = wanted.min(PACKETS - self.next);
        let begin = self.next * self.packet_bytes;
        let bytes = &mut self.bytes[begin..begin + count * self.packet_bytes];
        if let Some(id_at) = self.id_at {
            for packet in bytes.chunks_exact_mut(self.packet_bytes) {
                packet[id_at..id_at + 2].copy_from_slice(&self.next_id.to_be_bytes());
                self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            }
        }
        self.next = (self.next + count) % PACKETS;
        (count, bytes)
    }

    /// The next packet, with the time in it.
    pub(crate) fn take_stamped(&mut self) -> &[u8] {
        let at = self.next * self.packet_bytes + self.stamp_at;
        let mut number = STAMP_BASE + now_ns();
        for digit in self.bytes[at..at + STAMP_DIGITS].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.take(1).1
    }
}

/// The time in a payload, in nanoseconds; none in one that has never had any.
pub(crate) fn stamp(payload: &[u8]) -> Option<u64> {
    let at = find(payload, STAMP_KEY)? + STAMP_KEY.len();
    let digits = payload[at..].trim_ascii_start();
    let number = digits.iter().take_while(|digit| digit.is_ascii_digit());
    let number = number.fold(0u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    number.checked_sub(STAMP_BASE).filter(|&ns| ns > 0)
}

/// The device of a topic as it must be at the sink; none if it is another.
#[inline]
pub(crate) fn device(topic: &[u8]) -> Option<u16> {
    let digits = topic.strip_prefix(SINK_PREFIX.as_bytes())?.strip_suffix(SUFFIX.as_bytes())?;
    if digits.len() != 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| 10 * number + u16::from(digit - b'0'));
    DEVICES.contains(&number).then_some(number)
}

/// The one that comes after it.
#[inline]
pub(crate) fn device_after(device: u16) -> u16 {
    if device + 1 == DEVICES.end { DEVICES.start } else { device + 1 }
}

fn payload(device: u16, bytes: usize) -> Vec<u8> {
    let begin = format!(r#"{PAYLOAD_BEGINS}"t":{STAMP_BASE},"device":"{device}","pad":""#);
    let pad = bytes.saturating_sub(begin.len() + 2);
    format!(r#"{begin}{}"}}"#, "~".repeat(pad)).into_bytes()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn packets(bytes: &[u8]) -> Vec<(String, &[u8])> {
        let mut packets = Vec::new();
        let mut begin = 0;
        while let Some((body, end)) = wire::frame(&bytes[begin..]) {
            let (topic, rest) = wire::text(&bytes[begin + body..begin + end]).unwrap();
            packets.push((String::from_utf8(topic.to_vec()).unwrap(), rest));
            begin += end;
        }
        assert_eq!(begin, bytes.len());
        packets
    }

    #[test]
    fn every_payload_has_its_size_and_the_devices_take_turns() {
        let mut messages = Messages::new(0, false, Load::default());
        let (count, bytes) = messages.take(usize::MAX);
        assert_eq!(count, PACKETS);
        let packets = packets(bytes);
        assert_eq!(packets[0].0, "dev/100/temp");
        assert_eq!(packets[100].0, packets[0].0);
        assert!(packets.iter().all(|(_, payload)| payload.len() == PAYLOAD_BYTES));
    }

    #[test]
    fn a_load_has_its_sizes_and_properties_and_every_topic_has_one_route() {
        let load = Load { payload_bytes: 2048, user_properties: true, routes: 10 };
        let mut messages = Messages::new(0, true, load);
        let (_, bytes) = messages.take(1);
        let (_, rest) = packets(bytes)[0].clone();
        let (length, payload) = (usize::from(rest[0]), wire::after_properties(rest).unwrap());
        assert_eq!((length, payload.len()), (37, 2048));
        let filters = load.filters();
        assert_eq!((filters.len(), filters[3].len(), filters.concat().len()), (10, 10, DEVICES.len()));
        assert_eq!(Load::default().filters(), [[FILTER]]);
    }

    #[test]
    fn packet_ids_count_on_and_never_are_zero() {
        let mut messages = Messages::new(1, true, Load::default());
        let mut last = 0u16;
        for wanted in std::iter::repeat_n([1, 250, 1000], 100).flatten() {
            let (count, bytes) = messages.take(wanted);
            let packets = packets(bytes);
            assert_eq!(packets.len(), count);
            for (_, rest) in packets {
                let id = wire::u16_at(rest, 0).unwrap();
                assert_eq!(id, last.checked_add(1).unwrap_or(1));
                last = id;
            }
        }
    }

    #[test]
    fn the_time_travels_in_the_payload() {
        let mut messages = Messages::new(0, false, Load::default());
        let begin = now_ns();
        let time = stamp(messages.take_stamped()).unwrap();
        assert!((begin..=now_ns()).contains(&time));
        assert_eq!(stamp(br#"{"t": 1000000000000007, "x":1}"#), Some(7), "printed by somebody else");
        assert_eq!(stamp(br#"{"temp":1}"#), None);
    }

    #[test]
    fn the_device_is_read_from_a_remapped_topic_only() {
        assert_eq!(device(b"site/cottage/123/temp"), Some(123));
        for wrong in ["dev/123/temp", "site/cottage/1/temp", "site/cottage/999/temp", "site/cottage/12x/temp"] {
            assert_eq!(device(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!((device_after(100), device_after(199)), (101, 100));
    }
}
