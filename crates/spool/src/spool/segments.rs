//! What is done beside the traffic: segments begin, checkpoints are written, space is given back.

use super::{BUFFER_KEPT, Spool};
use crate::files::{checkpoint_name, segment_name};
use crate::log_writer::Op;
use crate::queue::Queue;
use crate::record::{QueueMark, Record};
use crate::scan::header;

impl Spool {
    /// Starts a new segment, with all names at its head, and a checkpoint behind it.
    pub(super) fn roll(&mut self) {
        self.take_buffer();
        self.has_new_names = false;
        let upto = self.sequence;
        let first = upto + 1;
        let mut head = header().to_vec();
        let mut names: Vec<_> = self.state.names.iter().collect();
        names.sort_unstable_by_key(|(id, _)| **id);
        for (id, (kind, text)) in names {
            self.sequence += 1;
            Record::Name { id: *id, kind: *kind, text: text.clone() }.encode(self.sequence, &mut head);
        }
        if self.sequence == upto {
            // A segment has a record, so that the next one has another name.
            self.sequence += 1;
            Record::End { records: 0 }.encode(self.sequence, &mut head);
        }
        self.segment_used = head.len() as u64;
        self.segments.push(first);
        self.ops.push(Op::Roll { first, head, last: self.sequence });
        self.checkpoint_if_due(upto);
    }

    /// A checkpoint of everything up to here, if it is small beside what was written since the last one.
    fn checkpoint_if_due(&mut self, upto: u64) {
        let marks: Vec<QueueMark> = self.queues.iter().map(Queue::mark).collect();
        let mut bytes = header().to_vec();
        let mut records = self.state.records(&marks);
        let count = records.len() as u64;
        records.push(Record::End { records: count });
        for (at, record) in records.iter().enumerate() {
            record.encode(at as u64 + 1, &mut bytes);
        }
        if self.since_checkpoint < bytes.len() as u64 * 8 && self.checkpoint > 0 && self.since_checkpoint < 1 << 28 {
            return;
        }
        self.since_checkpoint = 0;
        self.checkpoints.push(upto);
        self.ops.push(Op::Checkpoint { sequence: upto, bytes });
    }

    pub(super) fn take_buffer(&mut self) {
        if !self.buffer.is_empty() {
            // The next batch will be about as long.
            let room = self.buffer.len().min(BUFFER_KEPT);
            let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(room));
            self.ops.push(Op::Write { bytes, last: self.sequence });
        }
    }

    /// Removes segments that every queue has passed and two checkpoints cover: if the newest rots, the log reaches back to
    /// the one before it.
    pub(super) fn give_back(&mut self) {
        if self.segments.len() < 2 {
            return;
        }
        let waits = self.queues.iter().filter(|queue| !queue.is_empty()).map(|queue| queue.cursor().sequence).min();
        let needed = waits.unwrap_or(u64::MAX).min(self.previous + 1).min(self.durable);
        let mut names = Vec::new();
        while self.segments.len() > 1 && self.segments[1] <= needed {
            names.push(segment_name(self.segments.remove(0)));
        }
        let (checkpoint, previous) = (self.checkpoint, self.previous);
        self.checkpoints.retain(|sequence| {
            let goes = *sequence < checkpoint && *sequence != previous;
            if goes {
                names.push(checkpoint_name(*sequence));
            }
            !goes
        });
        if !names.is_empty() {
            self.cursors_moved = true;
            self.flush();
            self.ops.push(Op::Remove { names });
            self.work.push(&mut self.ops);
        }
    }
}
