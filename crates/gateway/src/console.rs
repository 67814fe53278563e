//! What other threads may ask of a running gateway, and have it do.
//!
//! The gateway lives on one thread, and so do its messages. A [`Console`] is a handle to it for any thread: a question is run
//! there between two batches and its answer comes back. Whoever serves people does so elsewhere, however slow they are: what
//! is asked costs the messages the question itself, and only so many questions wait at a time.

use crate::running::Gateway;
use crate::snapshot::Snapshot;
use crate::versions::{CandidateError, RollbackError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Questions that wait for the gateway's thread.
const WAITING_MAX: usize = 64;

/// Snapshots are taken no closer to each other: whoever asks meanwhile gets the next.
const APART: Duration = Duration::from_millis(20);

/// How long an operator waits for the disk.
const DURABLE_WITHIN: Duration = Duration::from_secs(5);

type Question = Box<dyn FnOnce(&Gateway) + Send>;

/// The gateway has too much before it, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// Asks a gateway from any thread. Clones ask the same one.
#[derive(Debug, Clone)]
pub struct Console {
    asking: mpsc::Sender<Question>,
    last: Arc<Mutex<Option<Taken>>>,
    /// How many snapshots have been asked for.
    wanted: Arc<AtomicU64>,
}

/// The last snapshot, and which requests it is an answer to.
#[derive(Debug)]
struct Taken {
    at: Instant,
    answers: u64,
    snapshot: Arc<Snapshot>,
}

impl Console {
    /// For a gateway on this thread.
    pub(crate) fn new(gateway: Gateway) -> Self {
        let (asking, mut asked) = mpsc::channel::<Question>(WAITING_MAX);
        tokio::task::spawn_local(async move {
            while let Some(question) = asked.recv().await {
                question(&gateway);
                // Messages first, then the next one.
                tokio::task::yield_now().await;
            }
        });
        Self { asking, last: Arc::default(), wanted: Arc::default() }
    }

    /// Runs a question on the gateway's thread: it has to be quick.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Gateway) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (reply, answer) = oneshot::channel();
        let question = Box::new(move |gateway: &Gateway| _ = reply.send(question(gateway)));
        self.asking.try_send(question).map_err(|_| Busy)?;
        answer.await.map_err(|_| Busy)
    }

    /// The same, for whoever does not want to know.
    pub(crate) fn tell(&self, what: impl FnOnce(&Gateway) + Send + 'static) {
        let asking = self.asking.clone();
        let what: Question = Box::new(what);
        if let Err(mpsc::error::TrySendError::Full(what)) = asking.try_send(what)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { _ = asking.send(what).await });
        }
    }

    /// Has something done on the gateway's thread that may wait there; messages go on meanwhile.
    async fn perform<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        task: impl FnOnce(Gateway) -> F + Send + 'static,
    ) -> Result<T, Busy> {
        let (reply, answer) = oneshot::channel();
        let start = move |gateway: &Gateway| {
            let task = task(gateway.clone());
            tokio::task::spawn_local(async move { _ = reply.send(task.await) });
        };
        self.asking.try_send(Box::new(start)).map_err(|_| Busy)?;
        answer.await.map_err(|_| Busy)
    }

    /// Puts a version of a plugin back, as [`Gateway::roll_back`] does.
    ///
    /// # Errors
    /// [`Busy`], or why not.
    pub async fn roll_back(
        &self,
        plugin: String,
        digest: Option<String>,
    ) -> Result<Result<String, RollbackError>, Busy> {
        self.perform(|gateway| async move { gateway.roll_back(&plugin, digest.as_deref()).await }).await
    }

    /// Has a candidate run in the place of its plugin, as [`Gateway::promote`] does, or tries it no more.
    ///
    /// # Errors
    /// [`Busy`], or why not.
    pub async fn end_trial(&self, plugin: String, promote: bool) -> Result<Result<String, CandidateError>, Busy> {
        self.perform(move |gateway| async move {
            if promote { gateway.promote(&plugin).await } else { gateway.abandon(&plugin).await }
        })
        .await
    }

    /// Waits until all that was done so far is on disk, so that a crash does not undo it. False if that takes too long.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn durable(&self) -> Result<bool, Busy> {
        self.perform(|gateway| async move {
            let wanted = gateway.path().borrow().router.spool().sequence();
            let started = Instant::now();
            while gateway.path().borrow().router.spool().durable() < wanted {
                if started.elapsed() > DURABLE_WITHIN {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            true
        })
        .await
    }

    /// Everything that is counted, as it is now. Those who ask at the same time share one, so that a crowd costs the gateway
    /// no more than fifty of them a second.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, Busy> {
        let mine = self.wanted.fetch_add(1, Relaxed) + 1;
        let mut last = self.last.lock().await;
        if let Some(taken) = &*last {
            if taken.answers >= mine {
                return Ok(taken.snapshot.clone());
            }
            tokio::time::sleep_until((taken.at + APART).into()).await;
        }
        // All who have asked until now are answered with what is taken from here on.
        let answers = self.wanted.load(Relaxed);
        let snapshot = Arc::new(self.ask(Gateway::snapshot).await?);
        *last = Some(Taken { at: Instant::now(), answers, snapshot: snapshot.clone() });
        Ok(snapshot)
    }
}
