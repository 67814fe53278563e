//! What is written: records, and the bytes they are.
//!
//! ```text
//! record  := length u32 | crc32c u32 | sequence u64 | kind u8 | body      all little-endian
//! ```
//! `length` counts what follows the checksum, the checksum covers it. Within bodies, numbers are LEB128 varints and
//! texts and byte strings are a varint length and the bytes.

use crate::Key;
use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;
use tidegate_message::{Message, Properties, QoS, Topic};

/// A name in the log, by its number.
pub type NameId = u32;

/// Bytes before the body.
pub(crate) const HEAD: usize = 4 + 4 + 8 + 1;

/// The longest record: the largest packet of MQTT is 256 MiB, a fan-out holds its message once.
pub(crate) const RECORD_MAX: usize = 1 << 30;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum NameKind {
    /// A queue: a target and a class of priority.
    Queue = 0,
    /// A broker as the source of messages.
    Source = 1,
    /// A broker at the end of a link.
    Link = 2,
    /// A route.
    Route = 3,
    /// A plugin.
    Plugin = 4,
}

impl NameKind {
    fn from_u8(number: u8) -> Option<Self> {
        [Self::Queue, Self::Source, Self::Link, Self::Route, Self::Plugin].get(usize::from(number)).copied()
    }
}

/// One message for some queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The route it came through.
    pub route: NameId,
    /// Where it goes; one item in each.
    pub queues: SmallVec<[NameId; 2]>,
    /// With the QoS and retain flag to send it with.
    pub message: Message,
}

/// A message kept aside for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The route it was in.
    pub route: String,
    /// The plugin that could not decide it, or the target that did not take it.
    pub plugin: String,
    /// A stable word, as in the counters.
    pub kind: String,
    /// In the plugin's or the host's words.
    pub reason: String,
    /// When it was received, in milliseconds since the epoch.
    pub received_ms: u64,
    /// As it came.
    pub message: Message,
}

/// A change of a plugin's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// Whose: a plugin's, or a link's.
    pub plugin: NameId,
    /// What.
    pub key: String,
    /// `None`: the key is deleted.
    pub value: Option<Vec<u8>>,
}

/// What takes effect together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// When its messages were received, in milliseconds since the epoch.
    pub received_ms: u64,
    /// QoS 2 messages that are taken over by this: their source and packet id.
    pub taken: SmallVec<[(NameId, u16); 1]>,
    /// What goes where.
    pub deliveries: SmallVec<[Delivery; 1]>,
    /// What is kept aside, under which number.
    pub parked: Vec<(u64, Parked)>,
    /// What is not kept aside any more.
    pub unparked: Vec<u64>,
    /// What plugins remember.
    pub state: Vec<StateWrite>,
}

impl Transaction {
    /// How many items it puts into queues.
    pub fn items(&self) -> usize {
        self.deliveries.iter().map(|delivery| delivery.queues.len()).sum()
    }
}

/// One message in one queue: the record that holds it, and which of that record's items it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ItemId {
    /// Of the record.
    pub sequence: u64,
    /// In the record.
    pub index: u32,
}

/// How much has gone into a queue, and which of it is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct QueueMark {
    pub(crate) queue: NameId,
    /// Everything before it is done.
    pub(crate) cursor: ItemId,
    /// These behind it are done, too.
    pub(crate) beyond: Vec<ItemId>,
    pub(crate) done: Totals,
    pub(crate) appended: Totals,
}

/// Counted since the queue began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

/// A record without its frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Name {
        id: NameId,
        kind: NameKind,
        text: String,
    },
    Transaction(Transaction),
    /// An item is about to be sent at QoS 2 under this serial of that link's packet ids.
    Sent {
        link: NameId,
        serial: u64,
        queue: NameId,
        item: ItemId,
    },
    /// The target has taken it over (PUBREC).
    TakenOver {
        link: NameId,
        serial: u64,
    },
    /// The source has seen our PUBREC (PUBREL).
    Released {
        source: NameId,
        packet_id: u16,
    },
    /// The source has forgotten our session: its packet ids mean nothing any more.
    Forgotten {
        source: NameId,
    },
    /// Only in checkpoints.
    Mark(QueueMark),
    /// The last of a checkpoint or of a file of cursors; how many records came before it.
    End {
        records: u64,
    },
}

const NAME: u8 = 1;
const TRANSACTION: u8 = 2;
const SENT: u8 = 3;
const TAKEN_OVER: u8 = 4;
const RELEASED: u8 = 5;
const FORGOTTEN: u8 = 6;
const MARK: u8 = 7;
const END: u8 = 8;

impl Record {
    const fn kind(&self) -> u8 {
        match self {
            Self::Name { .. } => NAME,
            Self::Transaction(_) => TRANSACTION,
            Self::Sent { .. } => SENT,
            Self::TakenOver { .. } => TAKEN_OVER,
            Self::Released { .. } => RELEASED,
            Self::Forgotten { .. } => FORGOTTEN,
            Self::Mark(_) => MARK,
            Self::End { .. } => END,
        }
    }

    /// Appends the framed record.
    pub(crate) fn encode(&self, sequence: u64, out: &mut Vec<u8>) {
        frame(out, sequence, self.kind(), |out| match self {
            Self::Name { id, kind, text } => {
                put_number(out, u64::from(*id));
                out.push(*kind as u8);
                put_bytes(out, text.as_bytes());
            }
            Self::Transaction(transaction) => put_transaction(out, transaction),
            Self::Sent { link, serial, queue, item } => {
                put_number(out, u64::from(*link));
                put_number(out, *serial);
                put_number(out, u64::from(*queue));
                put_item(out, *item);
            }
            Self::TakenOver { link, serial } => {
                put_number(out, u64::from(*link));
                put_number(out, *serial);
            }
            Self::Released { source, packet_id } => {
                put_number(out, u64::from(*source));
                put_number(out, u64::from(*packet_id));
            }
            Self::Forgotten { source } => put_number(out, u64::from(*source)),
            Self::Mark(mark) => {
                put_number(out, u64::from(mark.queue));
                put_item(out, mark.cursor);
                for totals in [mark.done, mark.appended] {
                    put_number(out, totals.items);
                    put_number(out, totals.bytes);
                }
                put_number(out, mark.beyond.len() as u64);
                for item in &mark.beyond {
                    put_item(out, *item);
                }
            }
            Self::End { records } => put_number(out, *records),
        });
    }

    /// Reads the body of a record of this kind; `None` if it is not one.
    pub(crate) fn decode(kind: u8, body: &Bytes) -> Option<Self> {
        let mut input = Input { bytes: body, at: 0 };
        let record = match kind {
            NAME => {
                let (id, kind) = (input.small()?, NameKind::from_u8(input.byte()?)?);
                Self::Name { id, kind, text: input.text()?.to_string() }
            }
            TRANSACTION => Self::Transaction(take_transaction(&mut input)?),
            SENT => {
                Self::Sent { link: input.small()?, serial: input.number()?, queue: input.small()?, item: input.item()? }
            }
            TAKEN_OVER => Self::TakenOver { link: input.small()?, serial: input.number()? },
            RELEASED => Self::Released { source: input.small()?, packet_id: input.small()?.try_into().ok()? },
            FORGOTTEN => Self::Forgotten { source: input.small()? },
            MARK => {
                let (queue, cursor) = (input.small()?, input.item()?);
                let done = Totals { items: input.number()?, bytes: input.number()? };
                let appended = Totals { items: input.number()?, bytes: input.number()? };
                let beyond = (0..input.number()?).map(|_| input.item()).collect::<Option<_>>()?;
                Self::Mark(QueueMark { queue, cursor, beyond, done, appended })
            }
            END => Self::End { records: input.number()? },
            _ => return None,
        };
        input.is_at_end().then_some(record)
    }
}

/// True if a record of this kind may hold items.
pub(crate) const fn holds_items(kind: u8) -> bool {
    kind == TRANSACTION
}

/// Reads only the deliveries of a transaction.
pub(crate) fn decode_transaction(body: &Bytes) -> Option<Transaction> {
    let mut input = Input { bytes: body, at: 0 };
    take_transaction(&mut input).filter(|_| input.is_at_end())
}

fn frame(out: &mut Vec<u8>, sequence: u64, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.push(kind);
    body(out);
    let length = (out.len() - start - 8) as u32;
    let checksum = crc32c::crc32c(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// What stands at a place in a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A good record: its sequence, its kind, where its body is, and where the next one starts.
    Record { sequence: u64, kind: u8, body: (usize, usize), end: usize },
    /// Nothing was written here.
    Nothing,
    /// A record of so many bytes starts here, and they are not all there.
    Partial { needs: usize },
    /// Something that is no record.
    Damage,
}

/// Looks at one place.
pub(crate) fn find(bytes: &[u8], at: usize) -> Found {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((head, _)) = rest.split_first_chunk::<HEAD>() else {
        return if rest.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Partial { needs: HEAD } };
    };
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, checksum) = (word(0) as usize, word(4));
    if length == 0 && head.iter().all(|byte| *byte == 0) {
        return Found::Nothing;
    }
    if !(HEAD - 8..=RECORD_MAX).contains(&length) {
        return Found::Damage;
    }
    let Some(checked) = rest.get(8..8 + length) else { return Found::Partial { needs: 8 + length } };
    if crc32c::crc32c(checked) != checksum {
        return Found::Damage;
    }
    let sequence = u64::from(word(8)) | u64::from(word(12)) << 32;
    Found::Record { sequence, kind: head[16], body: (at + HEAD, at + 8 + length), end: at + 8 + length }
}

/// How long the record at this place says it is, with its frame, in bytes.
pub(crate) fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
    (HEAD - 8..=RECORD_MAX).contains(&length).then_some(8 + length)
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_item(out: &mut Vec<u8>, item: ItemId) {
    put_number(out, item.sequence);
    put_number(out, u64::from(item.index));
}

fn put_transaction(out: &mut Vec<u8>, transaction: &Transaction) {
    put_number(out, transaction.received_ms);
    put_number(out, transaction.taken.len() as u64);
    for (source, packet_id) in &transaction.taken {
        put_number(out, u64::from(*source));
        put_number(out, u64::from(*packet_id));
    }
    put_number(out, transaction.deliveries.len() as u64);
    for delivery in &transaction.deliveries {
        put_number(out, u64::from(delivery.route));
        put_number(out, delivery.queues.len() as u64);
        for queue in &delivery.queues {
            put_number(out, u64::from(*queue));
        }
        put_message(out, &delivery.message);
    }
    // Most have nothing of this: one byte says so.
    let rare = u8::from(!transaction.parked.is_empty())
        | u8::from(!transaction.unparked.is_empty()) << 1
        | u8::from(!transaction.state.is_empty()) << 2;
    out.push(rare);
    if !transaction.parked.is_empty() {
        put_number(out, transaction.parked.len() as u64);
        for (number, parked) in &transaction.parked {
            put_number(out, *number);
            for text in [&parked.route, &parked.plugin, &parked.kind, &parked.reason] {
                put_bytes(out, text.as_bytes());
            }
            put_number(out, parked.received_ms);
            put_message(out, &parked.message);
        }
    }
    if !transaction.unparked.is_empty() {
        put_number(out, transaction.unparked.len() as u64);
        for number in &transaction.unparked {
            put_number(out, *number);
        }
    }
    if !transaction.state.is_empty() {
        put_number(out, transaction.state.len() as u64);
        for write in &transaction.state {
            put_number(out, u64::from(write.plugin));
            put_bytes(out, write.key.as_bytes());
            out.push(u8::from(write.value.is_some()));
            if let Some(value) = &write.value {
                put_bytes(out, value);
            }
        }
    }
}

fn take_transaction(input: &mut Input<'_>) -> Option<Transaction> {
    let received_ms = input.number()?;
    let mut transaction = Transaction { received_ms, ..Transaction::default() };
    for _ in 0..input.number()? {
        transaction.taken.push((input.small()?, input.small()?.try_into().ok()?));
    }
    for _ in 0..input.number()? {
        let route = input.small()?;
        let queues = (0..input.number()?).map(|_| input.small()).collect::<Option<_>>()?;
        transaction.deliveries.push(Delivery { route, queues, message: input.message()? });
    }
    let rare = input.byte()?;
    if rare & 1 != 0 {
        for _ in 0..input.number()? {
            let number = input.number()?;
            let [route, plugin, kind, reason] = [(); 4].map(|()| input.text().map(|text| text.to_string()));
            let parked = Parked {
                route: route?,
                plugin: plugin?,
                kind: kind?,
                reason: reason?,
                received_ms: input.number()?,
                message: input.message()?,
            };
            transaction.parked.push((number, parked));
        }
    }
    if rare & 2 != 0 {
        transaction.unparked = (0..input.number()?).map(|_| input.number()).collect::<Option<_>>()?;
    }
    if rare & 4 != 0 {
        for _ in 0..input.number()? {
            let (plugin, key) = (input.small()?, input.text()?.to_string());
            let value = if input.byte()? == 1 { Some(input.bytes()?.to_vec()) } else { None };
            transaction.state.push(StateWrite { plugin, key, value });
        }
    }
    (rare & !7 == 0).then_some(transaction)
}

const RETAIN: u8 = 1 << 2;
const PROPERTIES: u8 = 1 << 3;

fn put_message(out: &mut Vec<u8>, message: &Message) {
    let flags = message.qos as u8
        | if message.retain { RETAIN } else { 0 }
        | if message.properties.is_some() { PROPERTIES } else { 0 };
    out.push(flags);
    put_bytes(out, message.topic.as_str().as_bytes());
    put_bytes(out, &message.payload);
    if let Some(properties) = &message.properties {
        put_properties(out, properties);
    }
}

fn put_properties(out: &mut Vec<u8>, properties: &Properties) {
    let there = u8::from(properties.content_type.is_some())
        | u8::from(properties.response_topic.is_some()) << 1
        | u8::from(properties.correlation_data.is_some()) << 2
        | u8::from(properties.message_expiry_seconds.is_some()) << 3
        | u8::from(properties.payload_is_utf8) << 4;
    out.push(there);
    if let Some(text) = &properties.content_type {
        put_bytes(out, text.as_bytes());
    }
    if let Some(topic) = &properties.response_topic {
        put_bytes(out, topic.as_str().as_bytes());
    }
    if let Some(data) = &properties.correlation_data {
        put_bytes(out, data);
    }
    if let Some(seconds) = properties.message_expiry_seconds {
        put_number(out, u64::from(seconds));
    }
    put_number(out, properties.user.len() as u64);
    for (name, value) in &properties.user {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

/// A body being read. Byte strings are slices of it.
struct Input<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Input<'_> {
    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn item(&mut self) -> Option<ItemId> {
        Some(ItemId { sequence: self.number()?, index: self.small()? })
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length: usize = self.number()?.try_into().ok()?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let bytes = self.bytes.slice(self.at..end);
        self.at = end;
        Some(bytes)
    }

    fn text(&mut self) -> Option<ByteString> {
        ByteString::try_from(self.bytes()?).ok()
    }

    fn message(&mut self) -> Option<Message> {
        let flags = self.byte()?;
        let topic = Topic::new(self.text()?).ok()?;
        let mut message = Message::new(topic, self.bytes()?, QoS::from_u8(flags & 3)?);
        message.retain = flags & RETAIN != 0;
        if flags & PROPERTIES != 0 {
            message.properties = Some(Box::new(self.properties()?));
        }
        (flags & !(RETAIN | PROPERTIES | 3) == 0).then_some(message)
    }

    fn properties(&mut self) -> Option<Properties> {
        let there = self.byte()?;
        let has = |bit: u8| there & 1 << bit != 0;
        Some(Properties {
            content_type: if has(0) { Some(self.text()?) } else { None },
            response_topic: if has(1) { Some(Topic::new(self.text()?).ok()?) } else { None },
            correlation_data: if has(2) { Some(self.bytes()?) } else { None },
            message_expiry_seconds: if has(3) { Some(self.small()?) } else { None },
            payload_is_utf8: has(4),
            user: (0..self.number()?).map(|_| Some((self.text()?, self.text()?))).collect::<Option<_>>()?,
        })
    }
}

/// A queue as the text of a name: its class, then its target.
pub(crate) fn queue_text(key: &Key) -> String {
    format!("{}/{}", key.class, key.target)
}

/// The queue that a name stands for.
pub(crate) fn queue_key(text: &str) -> Option<Key> {
    let (class, target) = text.split_once('/')?;
    Some(Key { target: target.into(), class: class.parse().ok()? })
}
