//! What comes back: items that are durable, items that were read.

use super::{Fresh, Spool};
use crate::api::{News, Ready};
use crate::queue::{Slot, WINDOW_BYTES};
use crate::reader::{Answer, Loaded, Request, serve};
use crate::record::ItemId;

impl Spool {
    /// Takes what has become durable and what was read, asks for more, gives space back.
    pub fn poll(&mut self, news: &mut News) {
        let work = self.work.progress();
        self.durable = work.durable;
        if work.checkpoint > self.checkpoint {
            (self.previous, self.checkpoint) = (self.checkpoint, work.checkpoint);
        }
        news.durable = self.durable;
        while let Some(fresh) = self.fresh.front() {
            if fresh.slot.item.sequence > self.durable {
                break;
            }
            let Some(Fresh { queue: id, slot, message }) = self.fresh.pop_front() else { break };
            let queue = &mut self.queues[usize::from(id)];
            queue.fresh -= 1;
            queue.fresh_bytes -= u64::from(slot.bytes);
            let ordinal = queue.push(slot);
            let Slot { route, received_ms, .. } = slot;
            news.ready.push(Ready { queue: id, ordinal, route, received_ms, message, sent: None, recovered: false });
        }
        let mut answers = std::mem::take(&mut self.answers);
        self.work.answers(&mut answers);
        for answer in answers.drain(..) {
            self.answered(answer, &mut news.ready);
        }
        self.answers = answers;
        for at in 0..self.queues.len() {
            if self.queues[at].wants_more() {
                let request = self.request(at);
                if request.until >= request.from.sequence {
                    self.queues[at].is_reading = true;
                    self.work.request(request);
                }
            }
        }
        self.give_back();
    }

    fn request(&self, at: usize) -> Request {
        let queue = &self.queues[at];
        Request {
            queue: queue.name,
            from: queue.loaded,
            place: queue.place,
            segments: self.segments.clone(),
            until: self.durable,
            skip: queue.done_beyond.range(queue.loaded..).copied().collect(),
            max_items: queue.window_items.div_ceil(2),
            max_bytes: WINDOW_BYTES as usize / 2,
        }
    }

    fn answered(&mut self, answer: Answer, ready: &mut Vec<Ready>) {
        let Some(id) = self.by_name.get(&answer.queue).copied() else { return };
        self.damaged += answer.damaged;
        if let Some(error) = answer.error {
            self.read_error.get_or_insert_with(|| format!("reading the spool: {error}"));
        }
        let began = self.began;
        let queue = &mut self.queues[usize::from(id)];
        queue.is_reading = false;
        queue.place = answer.place;
        for Loaded { item, route, received_ms, message } in answer.items {
            let sent = self.state.sent.get(&(answer.queue, item)).copied();
            let bytes = message.weight_bytes() as u32;
            let ordinal = queue.push(Slot { item, route, bytes, received_ms, done: false });
            let recovered = item.sequence < began;
            ready.push(Ready { queue: id, ordinal, route, received_ms, message, sent, recovered });
        }
        queue.loaded = queue.loaded.max(answer.next);
        queue.moved = true;
        queue.done_beyond = queue.done_beyond.split_off(&queue.cursor());
        let caught_up = match queue.backlog_until {
            // Nothing of it came after the start.
            Some(until) if until.sequence == u64::MAX => queue.loaded.sequence > self.sequence,
            Some(until) => queue.loaded > until,
            None => true,
        };
        if caught_up {
            queue.backlog_until = None;
            if queue.is_empty() {
                queue.done = queue.appended;
            }
        } else if let Some(until) = &mut queue.backlog_until
            && until.sequence == u64::MAX
            && queue.loaded.sequence >= began
        {
            // From here on every item appended is known: up to the last record there is.
            *until = ItemId { sequence: self.sequence, index: u32::MAX - 1 };
        }
    }

    /// Reads, now, until everything is in memory that was being sent at QoS 2. To be called once, before anything is sent.
    pub fn recover_sent(&mut self) -> Vec<Ready> {
        let mut ready = Vec::new();
        for at in 0..self.queues.len() {
            let name = self.queues[at].name;
            let last = self.state.sent.keys().filter(|(queue, _)| *queue == name).map(|(_, item)| *item).max();
            let Some(last) = last else { continue };
            // One pass after another as long as there is progress: the window may grow over its limit here.
            while self.queues[at].loaded <= last && self.queues[at].backlog_until.is_some() {
                let mut request = self.request(at);
                request.until = self.began - 1;
                let from = request.from;
                let answer = serve(&*self.storage, request);
                self.answered(answer, &mut ready);
                if self.queues[at].loaded <= from || self.read_error.is_some() {
                    break;
                }
            }
        }
        ready
    }
}
