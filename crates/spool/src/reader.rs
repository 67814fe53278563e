//! The reading half: what waits for a queue and is not in memory any more.

use crate::files::segment_name;
use crate::record::{ItemId, NameId, decode_transaction, holds_items};
use crate::scan::{HEADER, Piece, Scan};
use crate::storage::Storage;
use std::collections::BTreeSet;
use std::io;
use tidegate_message::Message;

/// One item as read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) item: ItemId,
    pub(crate) route: NameId,
    pub(crate) received_ms: u64,
    pub(crate) message: Message,
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first sequence of the segment.
    pub(crate) segment: u64,
    /// In the file.
    pub(crate) offset: u64,
    /// The last sequence before it.
    pub(crate) last: u64,
}

/// Asks for what comes next in a queue.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) queue: NameId,
    /// Items before this one are known.
    pub(crate) from: ItemId,
    pub(crate) place: Place,
    /// All segments there are, by first sequence.
    pub(crate) segments: Vec<u64>,
    /// Reads no record behind this one: it may not be written yet.
    pub(crate) until: u64,
    pub(crate) skip: BTreeSet<ItemId>,
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
}

/// What was there.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) queue: NameId,
    pub(crate) items: Vec<Loaded>,
    /// Everything before it was read.
    pub(crate) next: ItemId,
    pub(crate) place: Place,
    pub(crate) damaged: u64,
    pub(crate) error: Option<io::Error>,
}

/// Reads until something is full or there is no more.
pub(crate) fn serve(storage: &dyn Storage, request: Request) -> Answer {
    let Request { queue, from, place, .. } = request;
    let mut answer = Answer { queue, items: Vec::new(), next: from, place, damaged: 0, error: None };
    if let Err(error) = read(storage, &request, &mut answer) {
        answer.error = Some(error);
    }
    answer
}

fn read(storage: &dyn Storage, request: &Request, answer: &mut Answer) -> io::Result<()> {
    // The segment that holds the start is the last one that begins before it. Others may be gone by now.
    let at = request.segments.partition_point(|first| *first <= request.from.sequence).saturating_sub(1);
    let mut bytes = 0;
    for first in request.segments.get(at..).unwrap_or_default() {
        if *first > request.until {
            break;
        }
        if answer.place.segment != *first {
            answer.place = Place { segment: *first, offset: HEADER as u64, last: first.saturating_sub(1) };
        }
        let file = storage.open(&segment_name(*first))?;
        let mut scan = Scan::new(&*file, answer.place.offset, answer.place.last);
        loop {
            if scan.last() >= request.until || answer.items.len() >= request.max_items || bytes >= request.max_bytes {
                return Ok(());
            }
            match scan.next()? {
                None => break,
                Some(Piece::Tail | Piece::Damage) => {
                    answer.damaged += 1;
                    answer.place.offset = scan.place();
                }
                Some(Piece::Record { sequence, .. }) if sequence > request.until => {
                    // Between here and the end of what was asked for, all is damaged.
                    answer.next = answer.next.max(ItemId { sequence: request.until + 1, index: 0 });
                    return Ok(());
                }
                Some(Piece::Record { sequence, kind, body, end }) => {
                    answer.place = Place { segment: *first, offset: end, last: sequence };
                    answer.next = answer.next.max(ItemId { sequence: sequence + 1, index: 0 });
                    if !holds_items(kind) || sequence < request.from.sequence {
                        continue;
                    }
                    let Some(transaction) = decode_transaction(&body) else {
                        answer.damaged += 1;
                        continue;
                    };
                    let mut index = 0;
                    for delivery in transaction.deliveries {
                        for to in &delivery.queues {
                            let item = ItemId { sequence, index };
                            index += 1;
                            if *to != request.queue || item < request.from || request.skip.contains(&item) {
                                continue;
                            }
                            let mut message = delivery.message.clone();
                            // Not the whole chunk for one message.
                            message.detach();
                            bytes += message.weight_bytes();
                            let (route, received_ms) = (delivery.route, transaction.received_ms);
                            answer.items.push(Loaded { item, route, received_ms, message });
                        }
                    }
                }
            }
        }
        // What is damaged at the end of a segment is passed over.
        let next = request.segments.iter().find(|next| **next > *first);
        if let Some(next) = next.filter(|next| **next <= request.until + 1) {
            answer.place = Place { segment: *next, offset: HEADER as u64, last: next - 1 };
            answer.next = answer.next.max(ItemId { sequence: *next, index: 0 });
        }
    }
    answer.next = answer.next.max(ItemId { sequence: request.until + 1, index: 0 });
    Ok(())
}
