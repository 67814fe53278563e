//! The records as bytes: `put_*` appends the body of one, [`Record::decode`] reads it.

mod parts;

use crate::saved::{CopyId, Handover, Head, NewCopy, Origin, Publisher, Snapshot, Subscription};
use bytes::Bytes;
use parts::{
    NO_COPY, put_copy, put_handover, put_head, put_id, put_snapshot, put_subscription, take_copy, take_filter,
    take_handover, take_head, take_id, take_message, take_snapshot, take_subscription, take_text,
};
use smallvec::SmallVec;
use tidegate_message::{Message, TopicFilter};
use tidegate_spool::fields::{Fields, put_bytes, put_message, put_number};

/// The version of the format that is written. Every older one is read, none so far.
pub const VERSION: u32 = 1;

pub(crate) const MESSAGE: u8 = 1;
pub(crate) const COPY: u8 = 2;
pub(crate) const SENT: u8 = 3;
pub(crate) const TAKEN_OVER: u8 = 4;
pub(crate) const DONE: u8 = 5;
pub(crate) const UNRETAINED: u8 = 6;
pub(crate) const TOOK: u8 = 7;
pub(crate) const RELEASED: u8 = 8;
pub(crate) const SESSION: u8 = 9;
pub(crate) const CONNECTED: u8 = 10;
pub(crate) const AWAY: u8 = 11;
pub(crate) const WILL_GONE: u8 = 12;
pub(crate) const SUBSCRIBED: u8 = 13;
pub(crate) const UNSUBSCRIBED: u8 = 14;
pub(crate) const ENDED: u8 = 15;
pub(crate) const ORIGINS_FORGOTTEN: u8 = 16;

/// A record without its frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    /// A message, with the copies that there are of it. Of one that stands in an older segment as well, this is what counts.
    Message {
        item: u64,
        message: Message,
        expires_ms: Option<u64>,
        publisher: Publisher,
        is_retained: bool,
        handover: Option<Handover>,
        origin: Option<Origin>,
        first_copy: u32,
        copies: SmallVec<[Option<NewCopy>; 1]>,
    },
    /// One more copy.
    Copy {
        id: CopyId,
        copy: NewCopy,
    },
    /// A copy is about to be sent.
    Sent {
        id: CopyId,
        serial: u64,
    },
    /// The client has taken it over (PUBREC).
    TakenOver {
        id: CopyId,
    },
    /// These need no more care.
    Done {
        ids: Vec<CopyId>,
    },
    /// The topic of this retained message has none any more.
    Unretained {
        item: u64,
    },
    /// A QoS 2 message of a client is taken over.
    Took(Handover),
    /// The client has seen our PUBREC (PUBREL).
    Released {
        session: u32,
        packet_id: u16,
    },
    /// Everything about a session but its messages, whatever was said of it before.
    Session {
        number: u32,
        snapshot: Snapshot,
    },
    /// The client came back to its session.
    Connected {
        number: u32,
        head: Head,
    },
    /// The client is away, and whether its will is still to come.
    Away {
        number: u32,
        since_ms: u64,
        expiry_s: u32,
        has_will: bool,
    },
    /// The will was published, or is not wanted.
    WillGone {
        number: u32,
    },
    Subscribed {
        number: u32,
        subscription: Subscription,
    },
    Unsubscribed {
        number: u32,
        filter: TopicFilter,
    },
    /// A session, and all of its copies.
    Ended {
        number: u32,
    },
    /// What the gateway published before says nothing of what it publishes now.
    OriginsForgotten,
}

const RETAINED: u8 = 1;
const EXPIRES: u8 = 1 << 1;
const BY_CLIENT: u8 = 1 << 2;
const HANDED_OVER: u8 = 1 << 3;
const HAS_COPIES: u8 = 1 << 4;
const HAS_ORIGIN: u8 = 1 << 5;

/// What a message record says beside the message.
pub(crate) struct MessageHead<'a> {
    pub(crate) item: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) publisher: &'a Publisher,
    pub(crate) is_retained: bool,
    pub(crate) handover: Option<Handover>,
    pub(crate) origin: Option<Origin>,
    pub(crate) first_copy: u32,
    pub(crate) copies: &'a [Option<NewCopy>],
}

pub(crate) fn put_message_record(out: &mut Vec<u8>, head: &MessageHead<'_>, message: &Message) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let by_client = matches!(head.publisher, Publisher::Client(_));
    put_number(out, head.item);
    out.push(
        flag(head.is_retained, RETAINED)
            | flag(head.expires_ms.is_some(), EXPIRES)
            | flag(by_client, BY_CLIENT)
            | flag(head.handover.is_some(), HANDED_OVER)
            | flag(!head.copies.is_empty(), HAS_COPIES)
            | flag(head.origin.is_some(), HAS_ORIGIN),
    );
    if let Some(ms) = head.expires_ms {
        put_number(out, ms);
    }
    if let Publisher::Client(id) = head.publisher {
        put_bytes(out, id.as_bytes());
    }
    if let Some(handover) = head.handover {
        put_handover(out, handover);
    }
    if let Some(origin) = head.origin {
        put_number(out, origin.sequence);
        put_number(out, u64::from(origin.index));
    }
    if !head.copies.is_empty() {
        put_number(out, u64::from(head.first_copy));
        put_number(out, head.copies.len() as u64);
        for copy in head.copies {
            match copy {
                Some(copy) => put_copy(out, copy),
                None => out.push(NO_COPY),
            }
        }
    }
    put_message(out, message);
}

impl Record {
    pub(crate) const fn kind(&self) -> u8 {
        match self {
            Self::Message { .. } => MESSAGE,
            Self::Copy { .. } => COPY,
            Self::Sent { .. } => SENT,
            Self::TakenOver { .. } => TAKEN_OVER,
            Self::Done { .. } => DONE,
            Self::Unretained { .. } => UNRETAINED,
            Self::Took(_) => TOOK,
            Self::Released { .. } => RELEASED,
            Self::Session { .. } => SESSION,
            Self::Connected { .. } => CONNECTED,
            Self::Away { .. } => AWAY,
            Self::WillGone { .. } => WILL_GONE,
            Self::Subscribed { .. } => SUBSCRIBED,
            Self::Unsubscribed { .. } => UNSUBSCRIBED,
            Self::Ended { .. } => ENDED,
            Self::OriginsForgotten => ORIGINS_FORGOTTEN,
        }
    }

    /// Appends the body.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message {
                item,
                message,
                expires_ms,
                publisher,
                is_retained,
                handover,
                origin,
                first_copy,
                copies,
            } => {
                let (item, expires_ms, is_retained) = (*item, *expires_ms, *is_retained);
                let (handover, origin, first_copy) = (*handover, *origin, *first_copy);
                let head =
                    MessageHead { item, expires_ms, publisher, is_retained, handover, origin, first_copy, copies };
                put_message_record(out, &head, message);
            }
            Self::Copy { id, copy } => {
                put_id(out, *id);
                put_copy(out, copy);
            }
            Self::Sent { id, serial } => {
                put_id(out, *id);
                put_number(out, *serial);
            }
            Self::TakenOver { id } => put_id(out, *id),
            Self::Done { ids } => {
                put_number(out, ids.len() as u64);
                ids.iter().for_each(|id| put_id(out, *id));
            }
            Self::Unretained { item } => put_number(out, *item),
            Self::Took(handover) => put_handover(out, *handover),
            Self::Released { session, packet_id } => {
                put_number(out, u64::from(*session));
                put_number(out, u64::from(*packet_id));
            }
            Self::Session { number, snapshot } => {
                put_number(out, u64::from(*number));
                put_snapshot(out, snapshot);
            }
            Self::Connected { number, head } => {
                put_number(out, u64::from(*number));
                put_head(out, head);
            }
            Self::Away { number, since_ms, expiry_s, has_will } => {
                put_number(out, u64::from(*number));
                put_number(out, *since_ms);
                put_number(out, u64::from(*expiry_s));
                out.push(u8::from(*has_will));
            }
            Self::WillGone { number } | Self::Ended { number } => put_number(out, u64::from(*number)),
            Self::Subscribed { number, subscription } => {
                put_number(out, u64::from(*number));
                put_subscription(out, subscription);
            }
            Self::Unsubscribed { number, filter } => {
                put_number(out, u64::from(*number));
                put_bytes(out, filter.as_str().as_bytes());
            }
            Self::OriginsForgotten => {}
        }
    }

    /// Reads the body of a record of this kind; `None` if it is not one.
    pub(crate) fn decode(kind: u8, body: &Bytes) -> Option<Self> {
        let mut fields = Fields::new(body);
        let input = &mut fields;
        let record = match kind {
            MESSAGE => take_message_record(input)?,
            COPY => Self::Copy { id: take_id(input)?, copy: take_copy(input)?? },
            SENT => Self::Sent { id: take_id(input)?, serial: input.number()? },
            TAKEN_OVER => Self::TakenOver { id: take_id(input)? },
            DONE => Self::Done { ids: (0..input.number()?).map(|_| take_id(input)).collect::<Option<_>>()? },
            UNRETAINED => Self::Unretained { item: input.number()? },
            TOOK => Self::Took(take_handover(input)?),
            RELEASED => Self::Released { session: input.small()?, packet_id: input.number()?.try_into().ok()? },
            SESSION => Self::Session { number: input.small()?, snapshot: take_snapshot(input)? },
            CONNECTED => Self::Connected { number: input.small()?, head: take_head(input)? },
            AWAY => Self::Away {
                number: input.small()?,
                since_ms: input.number()?,
                expiry_s: input.small()?,
                has_will: input.byte()? == 1,
            },
            WILL_GONE => Self::WillGone { number: input.small()? },
            SUBSCRIBED => Self::Subscribed { number: input.small()?, subscription: take_subscription(input)? },
            UNSUBSCRIBED => Self::Unsubscribed { number: input.small()?, filter: take_filter(input)? },
            ENDED => Self::Ended { number: input.small()? },
            ORIGINS_FORGOTTEN => Self::OriginsForgotten,
            _ => return None,
        };
        fields.is_at_end().then_some(record)
    }
}

fn take_message_record(input: &mut Fields<'_>) -> Option<Record> {
    let (item, flags) = (input.number()?, input.byte()?);
    let has = |flag: u8| flags & flag != 0;
    let expires_ms = if has(EXPIRES) { Some(input.number()?) } else { None };
    let publisher = if has(BY_CLIENT) { Publisher::Client(take_text(input)?) } else { Publisher::Gateway };
    let handover = if has(HANDED_OVER) { Some(take_handover(input)?) } else { None };
    let origin = match has(HAS_ORIGIN) {
        true => Some(Origin { sequence: input.number()?, index: input.small()? }),
        false => None,
    };
    let (first_copy, count) = if has(HAS_COPIES) { (input.small()?, input.number()?) } else { (0, 0) };
    let copies = (0..count).map(|_| take_copy(input)).collect::<Option<_>>()?;
    let (is_retained, message) = (has(RETAINED), take_message(input)?);
    Some(Record::Message { item, message, expires_ms, publisher, is_retained, handover, origin, first_copy, copies })
}
