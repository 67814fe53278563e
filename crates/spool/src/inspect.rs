//! Looks at the spool of a stopped gateway and changes nothing.

use crate::api::{Key, Waiting};
use crate::files::{CURSORS, checkpoint_sequence, segment_first, segment_name};
use crate::record::{ItemId, NameId, Record, decode_transaction, holds_items, queue_key};
use crate::recover::{Found, OpenError, header_of, named, recover};
use crate::scan::{HEADER, Header, Piece, Scan};
use crate::storage::{File, Storage};
use std::collections::BTreeMap;
use std::io;
use tidegate_message::Message;

/// A place that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
}

/// What a spool holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Segments of the log.
    pub segments: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Good records, in all files.
    pub records: u64,
    /// How long all files are together, in bytes.
    pub bytes: u64,
    /// What the next start will cut off: torn by a power loss, or rotten; in bytes.
    pub torn_bytes: u64,
    /// What is damaged otherwise, file by file.
    pub damaged: Vec<Damage>,
    /// What waits in each queue.
    pub queues: Vec<Waiting>,
    /// Parked messages.
    pub parked: u64,
    /// The names of all plugins that have state, sorted.
    pub plugins_with_state: Vec<String>,
    /// When the oldest message that waits was received, in milliseconds since the epoch.
    pub oldest_ms: Option<u64>,
    /// The sequence of the last record.
    pub sequence: u64,
}

/// A message that waits.
#[derive(Debug, Clone, Copy)]
pub struct ExportedItem<'a> {
    /// Where it waits.
    pub key: &'a Key,
    /// The route it came through.
    pub route: &'a str,
    /// When it was received, in milliseconds since the epoch.
    pub received_ms: u64,
    /// What was to be sent.
    pub message: &'a Message,
}

/// Reads every record of every file.
///
/// # Errors
/// It was written by a later version, or the disk fails. Damage is no error.
pub fn verify(storage: &dyn Storage) -> Result<Report, OpenError> {
    let found = recover(storage, false)?;
    let mut names = storage.list().map_err(named("the folder of the spool"))?;
    names.sort_unstable();
    let newest = found.segments.last().map(|first| segment_name(*first));
    let mut report = Report { sequence: found.last, ..Report::default() };
    let mut broken_cursors = Vec::new();
    for name in &names {
        let file = storage.open(name).map_err(named(name))?;
        report.bytes += file.len().map_err(named(name))?;
        let look = match segment_first(name) {
            Some(first) => {
                report.segments += 1;
                look_at_segment(&*file, name, first, newest.as_ref() == Some(name), &mut report)
            }
            None if checkpoint_sequence(name).is_some() => {
                report.checkpoints += 1;
                look_at_checkpoint(&*file, name, &mut report)
            }
            None if CURSORS.contains(&&**name) => look_at_cursors(&*file, name, &mut report, &mut broken_cursors),
            None => Ok(()),
        };
        look.map_err(named(name))?;
    }
    // One of the two may be torn; both are only if something rotted.
    if broken_cursors.len() == CURSORS.len() {
        report.damaged.append(&mut broken_cursors);
    }
    let mut queues: BTreeMap<Key, Waiting> = BTreeMap::new();
    for name in found.state.queues.keys() {
        // The parts of one target together.
        if let Some(Key { target, class, .. }) = found.state.text(*name).and_then(queue_key) {
            let key = Key::new(target, class);
            queues.insert(key.clone(), Waiting { key, items: 0, bytes: 0, oldest_ms: None });
        }
    }
    each_waiting(storage, &found, |item| {
        if let Some(waiting) = queues.get_mut(&Key { part: String::new(), ..item.key.clone() }) {
            waiting.items += 1;
            waiting.bytes += item.message.weight_bytes() as u64;
            waiting.oldest_ms = Some(waiting.oldest_ms.unwrap_or(u64::MAX).min(item.received_ms));
        }
    })?;
    report.oldest_ms = queues.values().filter_map(|waiting| waiting.oldest_ms).min();
    report.queues = queues.into_values().collect();
    report.parked = found.state.parked.len() as u64;
    report.plugins_with_state = found.state.plugins_with_state().map(str::to_owned).collect();
    report.plugins_with_state.sort_unstable();
    Ok(report)
}

/// DiskWork out every message that waits, in the order in which they came; returns how many there are.
///
/// # Errors
/// As [`verify`].
pub fn export(storage: &dyn Storage, mut each: impl FnMut(ExportedItem<'_>)) -> Result<u64, OpenError> {
    let found = recover(storage, false)?;
    let mut count = 0;
    each_waiting(storage, &found, |item| {
        count += 1;
        each(item);
    })?;
    Ok(count)
}

fn each_waiting(storage: &dyn Storage, found: &Found, mut each: impl FnMut(ExportedItem<'_>)) -> Result<(), OpenError> {
    let keys: BTreeMap<NameId, Key> =
        found.state.queues.keys().filter_map(|id| Some((*id, queue_key(found.state.text(*id)?)?))).collect();
    for first in &found.segments {
        let name = segment_name(*first);
        let file = storage.open(&name).map_err(named(&name))?;
        let mut scan = Scan::new(&*file, HEADER as u64, first.saturating_sub(1));
        while let Some(piece) = scan.next().map_err(named(&name))? {
            let Piece::Record { sequence, kind, body, .. } = piece else { continue };
            let Some(transaction) = holds_items(kind).then(|| decode_transaction(&body)).flatten() else { continue };
            let mut index = 0;
            for delivery in &transaction.deliveries {
                for queue in &delivery.queues {
                    let item = ItemId { sequence, index };
                    index += 1;
                    let waits = found.state.queues.get(queue).is_some_and(|done| !done.is_done(item));
                    if let Some(key) = keys.get(queue).filter(|_| waits) {
                        let route = found.state.text(delivery.route).unwrap_or("?");
                        let received_ms = transaction.received_ms;
                        each(ExportedItem { key, route, received_ms, message: &delivery.message });
                    }
                }
            }
        }
    }
    Ok(())
}

fn look_at_header(file: &dyn File, name: &str, report: &mut Report) -> io::Result<()> {
    if header_of(file)? == Header::Damaged {
        report.damaged.push(Damage { file: name.to_owned(), offset: 0 });
    }
    Ok(())
}

fn look_at_segment(file: &dyn File, name: &str, first: u64, is_newest: bool, report: &mut Report) -> io::Result<()> {
    look_at_header(file, name, report)?;
    let mut scan = Scan::new(file, HEADER as u64, first.saturating_sub(1));
    let mut offset = HEADER as u64;
    while let Some(piece) = scan.next()? {
        match piece {
            Piece::Record { kind, body, end, .. } => {
                if Record::decode(kind, &body).is_some() {
                    report.records += 1;
                } else {
                    report.damaged.push(Damage { file: name.to_owned(), offset });
                }
                offset = end;
            }
            Piece::Tail if is_newest => report.torn_bytes += file.len()?.saturating_sub(offset),
            Piece::Tail | Piece::Damage => report.damaged.push(Damage { file: name.to_owned(), offset }),
        }
    }
    Ok(())
}

fn look_at_checkpoint(file: &dyn File, name: &str, report: &mut Report) -> io::Result<()> {
    let mut scan = Scan::new(file, HEADER as u64, 0);
    let (mut offset, mut records, mut end_says) = (HEADER as u64, 0, None);
    let mut damaged = Vec::new();
    while let Some(piece) = scan.next()? {
        match piece {
            Piece::Record { kind, body, end, .. } => {
                match Record::decode(kind, &body) {
                    Some(Record::End { records: all }) => end_says = Some(all),
                    Some(_) => records += 1,
                    None => damaged.push(Damage { file: name.to_owned(), offset }),
                }
                offset = end;
            }
            Piece::Tail | Piece::Damage => damaged.push(Damage { file: name.to_owned(), offset }),
        }
    }
    report.records += records;
    match end_says {
        // It was being written when the power went.
        None => report.torn_bytes += file.len()?,
        Some(all) => {
            look_at_header(file, name, report)?;
            if all != records && damaged.is_empty() {
                damaged.push(Damage { file: name.to_owned(), offset });
            }
            report.damaged.append(&mut damaged);
        }
    }
    Ok(())
}

fn look_at_cursors(file: &dyn File, name: &str, report: &mut Report, broken: &mut Vec<Damage>) -> io::Result<()> {
    let mut scan = Scan::unordered(file, HEADER as u64);
    let (mut records, mut offset) = (0, HEADER as u64);
    while let Some(piece) = scan.next()? {
        let Piece::Record { kind, body, end, .. } = piece else { break };
        match Record::decode(kind, &body) {
            Some(Record::End { records: all }) if all == records => {
                report.records += records + 1;
                // Behind it may stand the rest of a longer list.
                return look_at_header(file, name, report);
            }
            Some(_) => records += 1,
            None => break,
        }
        offset = end;
    }
    report.records += records;
    broken.push(Damage { file: name.to_owned(), offset });
    Ok(())
}
