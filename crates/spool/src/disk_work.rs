//! Who does the work on disk: two threads in a running gateway, or whoever asks for a step of it: a test, or a
//! command that changes the log of a stopped gateway.

use crate::api::Settings;
use crate::log_writer::{DiskStats, LogWriter, Op, WriteError};
use crate::reader::{Answer, Request, serve};
use crate::storage::Storage;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait on a full disk before trying again.
const FULL_RETRY: Duration = Duration::from_millis(250);

/// How often the cursors are made durable while they move.
const CURSOR_SYNC: Duration = Duration::from_millis(200);

/// Called from another thread when there is something to [`poll`](crate::Spool::poll).
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// How the disk is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DiskStatus {
    /// It takes what it is given.
    #[default]
    Good,
    /// There is no room. Nothing is acknowledged until there is.
    Full,
    /// A write or an fsync failed. Nothing will be acknowledged any more; only a restart finds out what is durable.
    Failed(String),
}

/// What the data path and the writing thread hand each other, behind one lock that is taken once a batch.
#[derive(Default)]
struct Handover {
    ops: VecDeque<Op>,
    /// The writing thread sleeps until there is something to do.
    sleeps: bool,
    stop: bool,
    stopped: bool,
    progress: Progress,
}

/// What the writing half has to say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) durable: u64,
    pub(crate) checkpoint: u64,
    pub(crate) status: DiskStatus,
    pub(crate) stats: DiskStats,
}

/// Who does the work on disk.
pub(crate) enum DiskWork {
    Threads(Threads),
    /// Whoever calls [`DiskWork::step`].
    Stepwise(Box<Stepwise>),
}

/// No threads: everything is done in [`DiskWork::step`].
pub(crate) struct Stepwise {
    writer: LogWriter,
    storage: Arc<dyn Storage>,
    ops: VecDeque<Op>,
    requests: VecDeque<Request>,
    answers: Vec<Answer>,
    status: DiskStatus,
}

/// One thread writes, one reads.
pub(crate) struct Threads {
    shared: Arc<(Mutex<Handover>, Condvar)>,
    /// `None` where nothing is read again.
    reader: Option<(Sender<Request>, Receiver<Answer>)>,
}

fn lock(shared: &Mutex<Handover>) -> MutexGuard<'_, Handover> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DiskWork {
    pub(crate) fn stepwise(writer: LogWriter, storage: Arc<dyn Storage>) -> Self {
        Self::Stepwise(Box::new(Stepwise {
            writer,
            storage,
            ops: VecDeque::new(),
            requests: VecDeque::new(),
            answers: Vec::new(),
            status: DiskStatus::Good,
        }))
    }

    /// One thread that writes, and one that reads from `storage` if there is one; their names begin with `name`.
    pub(crate) fn threads(
        name: &str,
        writer: LogWriter,
        storage: Option<Arc<dyn Storage>>,
        settings: &Settings,
        wake: Wake,
    ) -> std::io::Result<Self> {
        let progress = Progress { durable: writer.durable(), ..Progress::default() };
        let shared = Arc::new((Mutex::new(Handover { progress, ..Handover::default() }), Condvar::new()));
        let (delay, interval) = (settings.commit_delay, settings.commit_interval);
        let writer = WriteThread { writer, shared: shared.clone(), delay, interval, wake: wake.clone() };
        std::thread::Builder::new().name(format!("{name}-write")).spawn(move || writer.run())?;
        let reader = match storage {
            Some(storage) => Some(reader(name, storage, wake)?),
            None => None,
        };
        Ok(Self::Threads(Threads { shared, reader }))
    }

    /// DiskWork over what is to be done; neighbouring writes become one.
    pub(crate) fn push(&mut self, new: &mut Vec<Op>) {
        if new.is_empty() {
            return;
        }
        match self {
            Self::Stepwise(stepwise) => new.drain(..).for_each(|op| add(&mut stepwise.ops, op)),
            Self::Threads(threads) => {
                let (mutex, ready) = &*threads.shared;
                let mut shared = lock(mutex);
                new.drain(..).for_each(|op| add(&mut shared.ops, op));
                if std::mem::take(&mut shared.sleeps) {
                    ready.notify_one();
                }
            }
        }
    }

    pub(crate) fn request(&mut self, request: Request) {
        match self {
            Self::Stepwise(stepwise) => stepwise.requests.push_back(request),
            // The reader goes only when the spool does.
            Self::Threads(threads) => drop(threads.reader.as_ref().map(|(requests, _)| requests.send(request))),
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        match self {
            Self::Stepwise(stepwise) => Progress {
                durable: stepwise.writer.durable(),
                checkpoint: stepwise.writer.checkpointed(),
                status: stepwise.status.clone(),
                stats: stepwise.writer.stats,
            },
            Self::Threads(threads) => lock(&threads.shared.0).progress.clone(),
        }
    }

    pub(crate) fn answers(&mut self, into: &mut Vec<Answer>) {
        match self {
            Self::Stepwise(stepwise) => into.append(&mut stepwise.answers),
            Self::Threads(threads) => into.extend(threads.reader.iter().flat_map(|(_, answers)| answers.try_iter())),
        }
    }

    /// Does all the work there is, if nobody else does.
    pub(crate) fn step(&mut self) {
        let Self::Stepwise(stepwise) = self else { return };
        if !matches!(stepwise.status, DiskStatus::Failed(_)) {
            stepwise.status = match stepwise.writer.run(&mut stepwise.ops) {
                Ok(()) => DiskStatus::Good,
                Err(WriteError::Full) => DiskStatus::Full,
                Err(WriteError::Failed(error)) => DiskStatus::Failed(error.to_string()),
            };
            if stepwise.status == DiskStatus::Good {
                stepwise.writer.prepare();
            }
        }
        while let Some(request) = stepwise.requests.pop_front() {
            stepwise.answers.push(serve(&*stepwise.storage, request));
        }
    }

    /// Waits until everything is on disk, or cannot be. True if it is.
    pub(crate) fn finish(&mut self, patience: Duration) -> bool {
        match self {
            Self::Stepwise(_) => {
                self.step();
                let Self::Stepwise(stepwise) = self else { return false };
                let was_good = stepwise.ops.is_empty() && stepwise.status == DiskStatus::Good;
                stepwise.writer.sync_cursors().is_ok() && was_good
            }
            Self::Threads(threads) => {
                let (mutex, ready) = &*threads.shared;
                let mut shared = lock(mutex);
                shared.stop = true;
                ready.notify_all();
                let done = ready.wait_timeout_while(shared, patience, |shared| !shared.stopped);
                let (shared, _) = done.unwrap_or_else(PoisonError::into_inner);
                shared.stopped && shared.ops.is_empty() && shared.progress.status == DiskStatus::Good
            }
        }
    }
}

fn reader(name: &str, storage: Arc<dyn Storage>, wake: Wake) -> std::io::Result<(Sender<Request>, Receiver<Answer>)> {
    let (requests, to_serve) = channel::<Request>();
    let (to_answer, answers) = channel();
    std::thread::Builder::new().name(format!("{name}-read")).spawn(move || {
        for request in to_serve {
            if to_answer.send(serve(&*storage, request)).is_err() {
                return;
            }
            wake();
        }
    })?;
    Ok((requests, answers))
}

impl Drop for Threads {
    fn drop(&mut self) {
        lock(&self.shared.0).stop = true;
        self.shared.1.notify_all();
    }
}

fn add(ops: &mut VecDeque<Op>, op: Op) {
    match (ops.back_mut(), op) {
        (Some(Op::Write { bytes, last }), Op::Write { bytes: more, last: later }) => {
            bytes.extend_from_slice(&more);
            *last = later;
        }
        (Some(Op::Cursors { bytes }), Op::Cursors { bytes: newer }) => *bytes = newer,
        (_, op) => ops.push_back(op),
    }
}

/// So many records are many: who has one written after the other, and waits for each, has two or three in a flush.
const CROWD: u64 = 16;

/// The thread that writes.
struct WriteThread {
    writer: LogWriter,
    shared: Arc<(Mutex<Handover>, Condvar)>,
    delay: Duration,
    interval: Duration,
    wake: Wake,
}

impl WriteThread {
    fn run(mut self) {
        let (mutex, ready) = &*self.shared.clone();
        let mut ops = VecDeque::new();
        let mut cursors_synced = Instant::now();
        let mut full = false;
        // When the last flush of many began.
        let mut crowded: Option<Instant> = None;
        loop {
            let stop = {
                let mut shared = lock(mutex);
                while !full && shared.ops.is_empty() && !shared.stop {
                    shared.sleeps = true;
                    if !self.writer.has_cursors_to_sync() {
                        shared = ready.wait(shared).unwrap_or_else(PoisonError::into_inner);
                        continue;
                    }
                    let (back, wait) = ready.wait_timeout(shared, CURSOR_SYNC).unwrap_or_else(PoisonError::into_inner);
                    shared = back;
                    if wait.timed_out() && shared.ops.is_empty() {
                        // Whoever has something to be written does not wait for this.
                        drop(shared);
                        let synced = self.writer.sync_cursors();
                        shared = lock(mutex);
                        if synced.is_err() {
                            break; // `run` says so
                        }
                    }
                }
                shared.sleeps = full;
                if full && !shared.stop {
                    shared = ready.wait_timeout(shared, FULL_RETRY).unwrap_or_else(PoisonError::into_inner).0;
                }
                shared.sleeps = false;
                let writes = shared.ops.iter().any(|op| matches!(op, Op::Write { .. }));
                if writes && !full {
                    let early = crowded.map_or(Duration::ZERO, |at| self.interval.saturating_sub(at.elapsed()));
                    let wait = self.delay.max(early);
                    if !wait.is_zero() {
                        let waited = ready.wait_timeout_while(shared, wait, |shared| !shared.stop);
                        shared = waited.unwrap_or_else(PoisonError::into_inner).0;
                    }
                }
                for op in shared.ops.drain(..) {
                    add(&mut ops, op);
                }
                shared.stop
            };
            let (began, before) = (Instant::now(), self.writer.durable());
            let outcome = self.writer.run(&mut ops);
            crowded = (self.writer.durable() - before >= CROWD).then_some(began);
            if cursors_synced.elapsed() >= CURSOR_SYNC && outcome.is_ok() {
                cursors_synced = Instant::now();
                let _ = self.writer.sync_cursors();
            }
            full = matches!(outcome, Err(WriteError::Full));
            let failed = matches!(outcome, Err(WriteError::Failed(_)));
            let status = match outcome {
                Ok(()) => DiskStatus::Good,
                Err(WriteError::Full) => DiskStatus::Full,
                Err(WriteError::Failed(error)) => DiskStatus::Failed(error.to_string()),
            };
            let mut shared = lock(mutex);
            shared.progress = Progress {
                durable: self.writer.durable(),
                checkpoint: self.writer.checkpointed(),
                status,
                stats: self.writer.stats,
            };
            if failed || (stop && (shared.ops.is_empty() || full)) {
                while let Some(op) = ops.pop_back() {
                    shared.ops.push_front(op);
                }
                shared.stopped = true;
                drop(shared);
                let _ = self.writer.sync_cursors();
                ready.notify_all();
                (self.wake)();
                return;
            }
            drop(shared);
            (self.wake)();
            if !full {
                self.writer.prepare();
            }
        }
    }
}
