//! How a trial ends: everything is delivered, and the space is given back.

use super::Trial;
use crate::disk::SEGMENT_BYTES;
use crate::model::*;
use std::collections::VecDeque;

impl Trial {
    /// Everything is delivered.
    pub(crate) fn drain(&mut self) {
        for _ in 0..10_000 {
            self.work();
            self.poll();
            for queue in 0..QUEUES {
                // The newest first, sometimes.
                while let Some(last) = self.live[queue].len().checked_sub(1) {
                    self.done(queue, if self.next_number.is_multiple_of(2) { last } else { 0 });
                }
            }
            let is_read = self.spool.queues().all(|queue| !self.spool.has_backlog(queue));
            if is_read
                && self.expected.iter().all(VecDeque::is_empty)
                && self.live.iter().all(Vec::is_empty)
                && self.model.acked == self.spool.sequence()
            {
                break;
            }
        }
        for queue in self.spool.queues() {
            assert_eq!(self.spool.pending(queue), (0, 0));
        }
        assert!(self.expected.iter().all(VecDeque::is_empty), "not everything came: {:?}", self.expected);
    }

    /// A spool works on after whatever happened to it: what comes is delivered, and nothing is left.
    pub(crate) fn works_on(&mut self) {
        self.append(0b111, 40, true, 0b1010_1011);
        self.drain();
        self.append(0b101, 10, false, 0);
        self.drain();
        assert!(self.close(true), "the disk is good");
        self.drain();
    }

    /// The same in short.
    pub(crate) fn works_on_a_little(&mut self) {
        self.append(0b110, 20, false, 0b1001);
        self.drain();
    }

    /// When all is done, segments are given back.
    pub(crate) fn gives_back(&mut self) {
        self.drain();
        for _ in 0..6 {
            let segments = self.spool.segments();
            for _ in 0..100 {
                self.append(0b111, 200, false, 0);
                self.drain();
                if self.spool.segments() > segments {
                    break;
                }
            }
        }
        self.work();
        self.poll();
        self.work();
        let files = self.disk.files();
        let segments = files.iter().filter(|(name, _)| name.ends_with(".log")).count();
        assert_eq!(segments, self.spool.segments());
        // Two checkpoints are covered, and one is written when the log has grown by eight times its length.
        let bytes: u64 = files.iter().filter(|(name, _)| name.ends_with(".log")).map(|(_, bytes)| bytes).sum();
        let longest = files.iter().filter(|(name, _)| name.ends_with(".checkpoint")).map(|(_, bytes)| *bytes).max();
        let enough = 2 * (longest.unwrap_or(0) * 8 + 3 * SEGMENT_BYTES);
        assert!(bytes <= enough, "{bytes} bytes are left where {enough} suffice: {files:?}");
        let checkpoints = files.iter().filter(|(name, _)| name.ends_with(".checkpoint")).count();
        assert!(checkpoints <= 3, "{checkpoints} checkpoints are left");
    }
}
