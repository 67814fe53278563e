//! What several records have in common, as bytes: copies, clients, subscriptions.

use crate::saved::{CopyId, Handover, Head, NewCopy, SentAs, Snapshot, Subscription, Taken, Will};
use tidegate_message::{ByteString, Message, QoS, TopicFilter};
use tidegate_spool::fields::{Fields, put_bytes, put_message, put_number};

const COPY_RETAIN: u8 = 1 << 2;
const COPY_FROM_RETAINED: u8 = 1 << 3;
const COPY_IDS: u8 = 1 << 4;
const COPY_GROUP: u8 = 1 << 5;
const COPY_SENT: u8 = 1 << 6;
const COPY_TAKEN_OVER: u8 = 1 << 7;
/// No QoS is 3.
pub(super) const NO_COPY: u8 = 3;

pub(super) fn put_copy(out: &mut Vec<u8>, copy: &NewCopy) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(
        copy.qos as u8
            | flag(copy.retain, COPY_RETAIN)
            | flag(copy.from_retained, COPY_FROM_RETAINED)
            | flag(!copy.subscription_ids.is_empty(), COPY_IDS)
            | flag(copy.group.is_some(), COPY_GROUP)
            | flag(copy.sent.is_some(), COPY_SENT)
            | flag(copy.sent.is_some_and(|sent| sent.taken_over), COPY_TAKEN_OVER),
    );
    put_number(out, u64::from(copy.session));
    if copy.from_retained {
        put_number(out, copy.order);
    }
    if !copy.subscription_ids.is_empty() {
        put_number(out, copy.subscription_ids.len() as u64);
        for id in &copy.subscription_ids {
            put_number(out, u64::from(*id));
        }
    }
    if let Some(group) = &copy.group {
        put_bytes(out, group.as_str().as_bytes());
    }
    if let Some(sent) = copy.sent {
        put_number(out, sent.serial);
    }
}

pub(super) fn take_copy(input: &mut Fields<'_>) -> Option<Option<NewCopy>> {
    let flags = input.byte()?;
    if flags == NO_COPY {
        return Some(None);
    }
    let has = |flag: u8| flags & flag != 0;
    let (qos, session) = (QoS::from_u8(flags & 3)?, input.small()?);
    let order = if has(COPY_FROM_RETAINED) { input.number()? } else { 0 };
    let ids = if has(COPY_IDS) { input.number()? } else { 0 };
    let subscription_ids = (0..ids).map(|_| input.small()).collect::<Option<_>>()?;
    let group = if has(COPY_GROUP) { Some(take_filter(input)?) } else { None };
    let taken_over = has(COPY_TAKEN_OVER);
    let sent = if has(COPY_SENT) { Some(SentAs { serial: input.number()?, taken_over }) } else { None };
    let (retain, from_retained) = (has(COPY_RETAIN), has(COPY_FROM_RETAINED));
    Some(Some(NewCopy { session, qos, retain, from_retained, order, subscription_ids, group, sent }))
}

/// Texts are slices of what was read at once: what is kept is copied out.
pub(super) fn take_text(input: &mut Fields<'_>) -> Option<ByteString> {
    input.text().map(|text| ByteString::from(&*text))
}

pub(super) fn take_filter(input: &mut Fields<'_>) -> Option<TopicFilter> {
    TopicFilter::new(take_text(input)?).ok()
}

pub(super) fn take_message(input: &mut Fields<'_>) -> Option<Message> {
    let mut message = input.message()?;
    message.detach();
    Some(message)
}

pub(super) fn put_id(out: &mut Vec<u8>, id: CopyId) {
    put_number(out, id.item);
    put_number(out, u64::from(id.copy));
}

pub(super) fn take_id(input: &mut Fields<'_>) -> Option<CopyId> {
    Some(CopyId { item: input.number()?, copy: input.small()? })
}

pub(super) fn put_handover(out: &mut Vec<u8>, handover: Handover) {
    put_number(out, u64::from(handover.session));
    put_taken(out, (handover.packet_id, handover.taken));
}

pub(super) fn take_handover(input: &mut Fields<'_>) -> Option<Handover> {
    let session = input.small()?;
    let (packet_id, taken) = take_taken(input)?;
    Some(Handover { session, packet_id, taken })
}

pub(super) fn put_taken(out: &mut Vec<u8>, (packet_id, taken): (u16, Taken)) {
    put_number(out, u64::from(packet_id));
    out.push(u8::from(taken == Taken::Wholly));
}

pub(super) fn take_taken(input: &mut Fields<'_>) -> Option<(u16, Taken)> {
    let packet_id = input.number()?.try_into().ok()?;
    Some((packet_id, if input.byte()? == 1 { Taken::Wholly } else { Taken::Partly }))
}

const HEAD_USERNAME: u8 = 1;
const HEAD_BRIDGE: u8 = 1 << 1;
const HEAD_WILL: u8 = 1 << 2;

pub(super) fn put_head(out: &mut Vec<u8>, head: &Head) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(
        flag(head.username.is_some(), HEAD_USERNAME)
            | flag(head.bridge, HEAD_BRIDGE)
            | flag(head.will.is_some(), HEAD_WILL),
    );
    put_bytes(out, head.client_id.as_bytes());
    if let Some(name) = &head.username {
        put_bytes(out, name.as_bytes());
    }
    put_number(out, u64::from(head.expiry_s));
    put_number(out, u64::from(head.keep_alive_s));
    if let Some(will) = &head.will {
        put_number(out, u64::from(will.delay_s));
        put_message(out, &will.message);
    }
}

pub(super) fn take_head(input: &mut Fields<'_>) -> Option<Head> {
    let flags = input.byte()?;
    let has = |flag: u8| flags & flag != 0;
    Some(Head {
        client_id: take_text(input)?,
        username: if has(HEAD_USERNAME) { Some(take_text(input)?) } else { None },
        expiry_s: input.small()?,
        keep_alive_s: input.number()?.try_into().ok()?,
        bridge: has(HEAD_BRIDGE),
        will: if has(HEAD_WILL) { Some(Will { delay_s: input.small()?, message: take_message(input)? }) } else { None },
    })
}

const NO_LOCAL: u8 = 1 << 2;
const AS_PUBLISHED: u8 = 1 << 3;

pub(super) fn put_subscription(out: &mut Vec<u8>, subscription: &Subscription) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let Subscription { filter, qos, no_local, retain_as_published, id } = subscription;
    out.push(*qos as u8 | flag(*no_local, NO_LOCAL) | flag(*retain_as_published, AS_PUBLISHED));
    put_bytes(out, filter.as_str().as_bytes());
    put_number(out, u64::from(*id));
}

pub(super) fn take_subscription(input: &mut Fields<'_>) -> Option<Subscription> {
    let flags = input.byte()?;
    Some(Subscription {
        qos: QoS::from_u8(flags & 3)?,
        no_local: flags & NO_LOCAL != 0,
        retain_as_published: flags & AS_PUBLISHED != 0,
        filter: take_filter(input)?,
        id: input.small()?,
    })
}

pub(super) fn put_snapshot(out: &mut Vec<u8>, snapshot: &Snapshot) {
    put_head(out, &snapshot.head);
    // No time is 0.
    put_number(out, snapshot.away_since_ms.map_or(0, |ms| ms.max(1)));
    put_number(out, snapshot.subscriptions.len() as u64);
    for subscription in &snapshot.subscriptions {
        put_subscription(out, subscription);
    }
    put_number(out, snapshot.taken.len() as u64);
    for taken in &snapshot.taken {
        put_taken(out, *taken);
    }
}

pub(super) fn take_snapshot(input: &mut Fields<'_>) -> Option<Snapshot> {
    let head = take_head(input)?;
    let away_since_ms = Some(input.number()?).filter(|ms| *ms != 0);
    let subscriptions = (0..input.number()?).map(|_| take_subscription(input)).collect::<Option<_>>()?;
    let taken = (0..input.number()?).map(|_| take_taken(input)).collect::<Option<_>>()?;
    Some(Snapshot { head, away_since_ms, subscriptions, taken })
}
