//! The data path's side of the spool: what to write, what waits, what is done.

mod keep;

use crate::engine::{Engine, Op};
use crate::flusher::{DiskStatus, Hands, Wake};
use crate::queue::{Queue, Slot, WINDOW_BYTES, WINDOW_ITEMS};
use crate::reader::{Answer, Loaded, Request, serve};
use crate::record::{ItemId, NameId, NameKind, Parked, Record, Transaction, queue_key, queue_text};
use crate::recover::{Found, OpenError, recover};
use crate::scan::header;
use crate::state::{SentItem, State};
use crate::storage::Storage;
use crate::types::{DoneItem, Key, News, Ready, Settings, Waiting};
use crate::{DiskStats, QueueId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tidegate_message::Message;

/// How much room for the next batch is made at once, in bytes, if the last one was as long.
const BUFFER_KEPT: usize = 1024 * 1024;

struct Fresh {
    queue: QueueId,
    slot: Slot,
    message: Message,
}

/// The spool of a running gateway. One thread owns it.
pub struct Spool {
    hands: Hands,
    storage: Arc<dyn Storage>,
    settings: Settings,
    state: State,
    queues: Vec<Queue>,
    by_name: BTreeMap<NameId, QueueId>,
    buffer: Vec<u8>,
    ops: Vec<Op>,
    /// Of the last record.
    sequence: u64,
    /// The first record of this run.
    began: u64,
    durable: u64,
    next_name: NameId,
    fresh: VecDeque<Fresh>,
    /// First sequences of the segments.
    segments: Vec<u64>,
    segment_used: u64,
    checkpoints: Vec<u64>,
    /// The newest that is durable, and the one before it.
    checkpoint: u64,
    previous: u64,
    since_checkpoint: u64,
    generation: u64,
    cursors_moved: bool,
    damaged: u64,
    found_damaged: u64,
    torn_bytes: u64,
    read_error: Option<String>,
    answers: Vec<Answer>,
    window_items: usize,
}

impl Spool {
    /// Opens the spool in a folder, with two threads that write and read; they call `wake`.
    ///
    /// # Errors
    /// It was written by a later version, or the disk fails.
    pub fn open(storage: Arc<dyn Storage>, settings: Settings, wake: Wake) -> Result<Self, OpenError> {
        Self::build(storage, settings, |engine, storage| Hands::threads(engine, storage, settings.commit_delay, wake))
    }

    /// Opens the spool without threads: everything is written and read in [`step`](Self::step). For tests.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_stepwise(storage: Arc<dyn Storage>, settings: Settings) -> Result<Self, OpenError> {
        Self::build(storage, settings, |engine, storage| Ok(Hands::mine(engine, storage)))
    }

    fn build(
        storage: Arc<dyn Storage>,
        settings: Settings,
        hands: impl FnOnce(Engine, Arc<dyn Storage>) -> std::io::Result<Hands>,
    ) -> Result<Self, OpenError> {
        let found = recover(&*storage, true)?;
        let engine = Engine::new(storage.clone(), settings.segment_bytes, found.last, found.older_cursors);
        let hands = hands(engine, storage.clone());
        let hands = hands.map_err(|error| OpenError::Io { file: "the threads of the spool".to_owned(), error })?;
        let Found { state, segments, checkpoint, previous, checkpoints, last, .. } = found;
        let next_name = if last == 0 { 0 } else { state.highest_name + 1 };
        let mut spool = Self {
            hands,
            storage,
            settings,
            queues: Vec::new(),
            by_name: BTreeMap::new(),
            buffer: Vec::new(),
            ops: Vec::new(),
            sequence: last,
            began: last + 1,
            durable: last,
            next_name,
            fresh: VecDeque::new(),
            segments,
            segment_used: 0,
            checkpoints,
            checkpoint,
            previous,
            since_checkpoint: if found.wants_checkpoint { u64::MAX / 2 } else { found.replayed_bytes },
            generation: found.cursor_generation,
            cursors_moved: false,
            damaged: 0,
            found_damaged: found.damaged,
            torn_bytes: found.torn_bytes,
            read_error: None,
            answers: Vec::new(),
            window_items: WINDOW_ITEMS,
            state,
        };
        // A queue whose name was torn off has only what was not durable.
        let known = |name: &&NameId| spool.state.names.get(name).is_some_and(|(kind, _)| *kind == NameKind::Queue);
        let known: Vec<NameId> = spool.state.queues.keys().filter(known).copied().collect();
        for name in known {
            spool.add_queue(name);
        }
        spool.roll();
        spool.flush();
        Ok(spool)
    }

    fn add_queue(&mut self, name: NameId) -> QueueId {
        if let Some(id) = self.by_name.get(&name) {
            return *id;
        }
        let found = self.state.queues.entry(name).or_default();
        let mut queue = Queue::new(name, found);
        // The state keeps only what is small; what waits is here.
        found.beyond.clear();
        if queue.backlog_until.is_none() {
            queue.loaded = ItemId { sequence: self.sequence + 1, index: 0 };
        }
        queue.window_items = self.window_items;
        self.queues.push(queue);
        let id = (self.queues.len() - 1) as QueueId;
        self.by_name.insert(name, id);
        id
    }

    /// The number of a name; it is written down if it is new.
    pub fn name(&mut self, kind: NameKind, text: &str) -> NameId {
        if let Some(id) = self.state.id(kind, text) {
            return id;
        }
        let id = self.next_name;
        self.next_name += 1;
        // Twice: what rots of it must not take with it all that goes by this name.
        let record = Record::Name { id, kind, text: text.to_owned() };
        self.record(&record);
        self.record(&record);
        self.roll_if_full();
        id
    }

    /// What a number stands for.
    pub fn text(&self, id: NameId) -> &str {
        self.state.text(id).unwrap_or("?")
    }

    /// The queue of a target and class.
    pub fn queue(&mut self, key: &Key) -> QueueId {
        let name = self.name(NameKind::Queue, &queue_text(key));
        self.add_queue(name)
    }

    /// The name of a queue, for [`Delivery::queues`](crate::Delivery).
    pub fn queue_name(&self, queue: QueueId) -> NameId {
        self.queues[usize::from(queue)].name
    }

    /// What a queue stands for.
    pub fn key(&self, queue: QueueId) -> Key {
        let text = self.state.text(self.queues[usize::from(queue)].name);
        text.and_then(queue_key).unwrap_or(Key { target: "?".to_owned(), class: 0 })
    }

    /// All queues there are.
    pub fn queues(&self) -> impl Iterator<Item = QueueId> + use<> {
        0..self.queues.len() as QueueId
    }

    /// Writes a record and returns its sequence: once [`News::durable`] has reached it, all of it has happened.
    pub fn append(&mut self, transaction: Transaction) -> u64 {
        for name in transaction.deliveries.iter().flat_map(|delivery| &delivery.queues) {
            self.add_queue(*name);
        }
        let record = Record::Transaction(transaction);
        let sequence = self.record(&record);
        let Record::Transaction(transaction) = record else { return sequence };
        let mut index = 0;
        for delivery in transaction.deliveries {
            let bytes = delivery.message.weight_bytes() as u32;
            for name in &delivery.queues {
                let id = self.add_queue(*name);
                let queue = &mut self.queues[usize::from(id)];
                queue.appended.items += 1;
                queue.appended.bytes += u64::from(bytes);
                let item = ItemId { sequence, index };
                index += 1;
                if let Some(until) = &mut queue.backlog_until {
                    if until.sequence != u64::MAX {
                        *until = item;
                    }
                    continue;
                }
                if !queue.has_room() {
                    queue.backlog_until = Some(item);
                    continue;
                }
                queue.fresh += 1;
                queue.fresh_bytes += u64::from(bytes);
                let slot =
                    Slot { item, route: delivery.route, bytes, received_ms: transaction.received_ms, done: false };
                self.fresh.push_back(Fresh { queue: id, slot, message: delivery.message.clone() });
            }
        }
        // Not before: a checkpoint counts what is in the queues.
        self.roll_if_full();
        sequence
    }

    fn record(&mut self, record: &Record) -> u64 {
        self.sequence += 1;
        let before = self.buffer.len();
        record.encode(self.sequence, &mut self.buffer);
        let length = (self.buffer.len() - before) as u64;
        self.state.apply(self.sequence, record);
        self.segment_used += length;
        self.since_checkpoint += length;
        self.sequence
    }

    fn roll_if_full(&mut self) {
        if self.segment_used >= self.settings.segment_bytes {
            self.roll();
        }
    }

    fn record_alone(&mut self, record: &Record) -> u64 {
        let sequence = self.record(record);
        self.roll_if_full();
        sequence
    }

    /// An item is about to be sent at QoS 2. Returns the sequence that must be durable before it is.
    pub fn sent(&mut self, queue: QueueId, ordinal: u32, link: NameId, serial: u64) -> u64 {
        let queue = &self.queues[usize::from(queue)];
        let Some(slot) = queue.slot(ordinal).filter(|slot| !slot.done) else { return 0 };
        self.record_alone(&Record::Sent { link, serial, queue: queue.name, item: slot.item })
    }

    /// The target has taken an item over. Returns the sequence that must be durable before PUBREL is sent.
    pub fn taken_over(&mut self, queue: QueueId, ordinal: u32) -> u64 {
        let queue = &self.queues[usize::from(queue)];
        let Some(slot) = queue.slot(ordinal) else { return 0 };
        let Some(SentItem { link, serial, .. }) = self.state.sent.get(&(queue.name, slot.item)).copied() else {
            return 0;
        };
        self.record_alone(&Record::TakenOver { link, serial })
    }

    /// A source has seen our PUBREC. Returns the sequence that must be durable before PUBCOMP is sent.
    pub fn released(&mut self, source: NameId, packet_id: u16) -> u64 {
        if !self.state.taken.get(&source).is_some_and(|ids| ids.contains(&packet_id)) {
            return 0;
        }
        self.record_alone(&Record::Released { source, packet_id })
    }

    /// A source has forgotten our session. Returns the sequence that must be durable before anything is sent there.
    pub fn forgotten(&mut self, source: NameId) -> u64 {
        if self.state.taken.get(&source).is_none_or(|ids| ids.is_empty()) {
            return 0;
        }
        self.record_alone(&Record::Forgotten { source })
    }

    /// The packet ids of a source's QoS 2 messages that were taken over and not released.
    pub fn taken(&self, source: NameId) -> Vec<u16> {
        self.state.taken.get(&source).map_or_else(Vec::new, |ids| ids.iter().copied().collect())
    }

    /// An item needs no more care. Returns what it was; `None` if it was done before.
    pub fn done(&mut self, queue: QueueId, ordinal: u32) -> Option<DoneItem> {
        let queue = &mut self.queues[usize::from(queue)];
        let slot = queue.finish(ordinal)?;
        let name = queue.name;
        self.state.finished(name, slot.item);
        self.cursors_moved = true;
        Some(DoneItem { route: slot.route, received_ms: slot.received_ms })
    }

    /// What waits in a queue and what it weighs in bytes.
    pub fn pending(&self, queue: QueueId) -> (u64, u64) {
        let pending = self.queues[usize::from(queue)].pending();
        (pending.items, pending.bytes)
    }

    /// Whether an item is in the window and not done.
    pub fn waits(&self, queue: QueueId, ordinal: u32) -> bool {
        self.queues[usize::from(queue)].slot(ordinal).is_some_and(|slot| !slot.done)
    }

    /// When an item in the window was received, in milliseconds since the epoch.
    pub fn route(&self, queue: QueueId, ordinal: u32) -> Option<NameId> {
        self.queues.get(usize::from(queue))?.slot(ordinal).map(|slot| slot.route)
    }

    /// When an item was received, in milliseconds since the epoch; `None` if it does not wait.
    pub fn received_ms(&self, queue: QueueId, ordinal: u32) -> Option<u64> {
        Some(self.queues[usize::from(queue)].slot(ordinal)?.received_ms)
    }

    /// True if some of a queue is only on disk.
    pub fn has_backlog(&self, queue: QueueId) -> bool {
        self.queues[usize::from(queue)].backlog_until.is_some()
    }

    /// What waits, queue by queue.
    pub fn waiting(&self) -> Vec<Waiting> {
        let one = |id: QueueId| {
            let (items, bytes) = self.pending(id);
            let oldest_ms = self.queues[usize::from(id)].window.front().map(|slot| slot.received_ms);
            Waiting { key: self.key(id), items, bytes, oldest_ms }
        };
        self.queues().map(one).collect()
    }

    /// Parked messages by number.
    pub fn parked(&self) -> &BTreeMap<u64, Parked> {
        &self.state.parked
    }

    /// A number for the next parked message.
    pub fn next_parked(&self) -> u64 {
        self.state.last_parked + 1
    }

    /// The state of a plugin.
    pub fn plugin_state(&self, plugin: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.state_of(NameKind::Plugin, plugin)
    }

    /// What is kept under a name: the state of a plugin, or what is known of the broker at the end of a link.
    pub fn state_of(&self, kind: NameKind, name: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.state.plugins.get(&self.state.id(kind, name)?)
    }

    /// The names of all plugins that have state.
    pub fn plugins_with_state(&self) -> Vec<String> {
        self.state.plugins_with_state().map(str::to_owned).collect()
    }

    /// The sequence of the last record.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Everything up to here is durable, as of the last [`poll`](Self::poll).
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// How the disk is doing.
    pub fn status(&self) -> DiskStatus {
        match &self.read_error {
            Some(error) => DiskStatus::Failed(error.clone()),
            None => self.hands.news().status,
        }
    }

    /// Counted since the start.
    pub fn stats(&self) -> DiskStats {
        self.hands.news().stats
    }

    /// Records and pieces of files that are damaged: found at the start and since.
    pub const fn damaged(&self) -> u64 {
        self.damaged + self.found_damaged
    }

    /// How much was cut off at the end of the log at the start, in bytes: torn by a power loss, or rotten.
    pub const fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Keeps this many items of each queue in memory at most, 8,192 if nothing is said.
    pub fn set_window_items(&mut self, items: usize) {
        self.window_items = items.max(1);
        for queue in &mut self.queues {
            queue.window_items = self.window_items;
        }
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Hands everything over to be written. Call it once for each batch.
    pub fn flush(&mut self) {
        self.take_buffer();
        if std::mem::take(&mut self.cursors_moved) {
            self.generation += 1;
            let mut bytes = header().to_vec();
            let mut records = 0;
            // Cursors may reach the disk when the log does not: they speak only of what is durable. What was done was, and
            // so is everything before it and the queue's name.
            for queue in self.queues.iter().filter(|queue| queue.done.items > 0) {
                Record::Mark(queue.mark()).encode(self.generation, &mut bytes);
                records += 1;
            }
            Record::End { records }.encode(self.generation, &mut bytes);
            self.ops.push(Op::Cursors { bytes });
        }
        self.hands.push(&mut self.ops);
    }

    /// Does the work of the threads, where there are none.
    pub fn step(&mut self) {
        self.flush();
        self.hands.step();
    }

    /// Takes what has become durable and what was read, asks for more, gives space back.
    pub fn poll(&mut self, news: &mut News) {
        let hands = self.hands.news();
        self.durable = hands.durable;
        if hands.checkpoint > self.checkpoint {
            (self.previous, self.checkpoint) = (self.checkpoint, hands.checkpoint);
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
        self.hands.answers(&mut answers);
        for answer in answers.drain(..) {
            self.answered(answer, &mut news.ready);
        }
        self.answers = answers;
        for at in 0..self.queues.len() {
            if self.queues[at].wants_more() {
                let request = self.request(at);
                if request.until >= request.from.sequence {
                    self.queues[at].is_reading = true;
                    self.hands.request(request);
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

    /// Writes everything there is, and ends. False if it could not all be written.
    pub fn close(mut self, patience: Duration) -> bool {
        self.finish(patience)
    }

    /// As [`close`](Self::close), for an owner that cannot let go of it: nothing is written from here on.
    pub fn finish(&mut self, patience: Duration) -> bool {
        self.cursors_moved = true;
        self.flush();
        self.hands.finish(patience)
    }
}
