//! The bodies of the spool's records as bytes.

use super::frame::frame;
use super::{Delivery, ItemId, NameId, NameKind, Parked, QueueMark, Record, Single, StateWrite, Totals, Transaction};
use crate::fields::{Fields, put_bytes, put_message, put_number};
use bytes::Bytes;

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

    /// Says that this number once stood for a name, and is not free even if the name itself was lost.
    ///
    /// Format 1 has no kind of its own for that. Every record uses up the numbers that it mentions, and the smallest one
    /// is `Forgotten`: at the head of a checkpoint, before anything is taken, there is nothing that it could forget.
    pub(crate) const fn number_was_used(number: NameId) -> Self {
        Self::Forgotten { source: number }
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
        let mut input = Fields::new(body);
        let record = match kind {
            NAME => {
                let (id, kind) = (input.small()?, NameKind::from_u8(input.byte()?)?);
                Self::Name { id, kind, text: input.text()?.to_string() }
            }
            TRANSACTION => Self::Transaction(take_transaction(&mut input)?),
            SENT => Self::Sent {
                link: input.small()?,
                serial: input.number()?,
                queue: input.small()?,
                item: take_item(&mut input)?,
            },
            TAKEN_OVER => Self::TakenOver { link: input.small()?, serial: input.number()? },
            RELEASED => Self::Released { source: input.small()?, packet_id: input.small()?.try_into().ok()? },
            FORGOTTEN => Self::Forgotten { source: input.small()? },
            MARK => {
                let (queue, cursor) = (input.small()?, take_item(&mut input)?);
                let done = Totals { items: input.number()?, bytes: input.number()? };
                let appended = Totals { items: input.number()?, bytes: input.number()? };
                let beyond = (0..input.number()?).map(|_| take_item(&mut input)).collect::<Option<_>>()?;
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
    let mut input = Fields::new(body);
    take_transaction(&mut input).filter(|_| input.is_at_end())
}

fn take_item(input: &mut Fields<'_>) -> Option<ItemId> {
    Some(ItemId { sequence: input.number()?, index: input.small()? })
}

fn put_item(out: &mut Vec<u8>, item: ItemId) {
    put_number(out, item.sequence);
    put_number(out, u64::from(item.index));
}

/// Appends the framed record of the transaction that has this one delivery, to this one queue.
#[inline]
pub(crate) fn encode_single(single: &Single, queue: NameId, sequence: u64, out: &mut Vec<u8>) {
    frame(out, sequence, TRANSACTION, |out| {
        put_number(out, single.received_ms);
        out.push(u8::from(single.taken.is_some()));
        if let Some((source, packet_id)) = single.taken {
            put_number(out, u64::from(source));
            put_number(out, u64::from(packet_id));
        }
        // One delivery.
        out.push(1);
        put_number(out, u64::from(single.route));
        // One queue.
        out.push(1);
        put_number(out, u64::from(queue));
        put_message(out, &single.message);
        // Nothing of what is rare.
        out.push(0);
    });
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

fn take_transaction(input: &mut Fields<'_>) -> Option<Transaction> {
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
