//! One running plugin: batches in, one outcome for each message out, and a fresh guest after every failure.

use crate::answer::Decision;
use crate::calls::Calls;
use crate::decide;
use crate::granted_topics::GrantedTopics;
use crate::guest::Guest;
use crate::host::Host;
use crate::outcome::{Fault, Outcome, Output};
use crate::plugin::Plugin;
use crate::state::Write;
use crate::thread::{is_borrowed, leave_borrowed, run_here};
use crate::ticker::{Running, ticks};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tidegate_config::Limits;
use tidegate_message::Message;
use wasmtime::Store;

/// The largest batch handed to a guest in one call.
pub const MAX_BATCH_MESSAGES: usize = 128;
/// A batch of more than one message takes at most this part of the guest's memory.
const MEMORY_PART: usize = 4;
/// After this many calls cut at their deadline within one [`Instance::handle`], the rest is to be tried again later.
const GIVE_UP_AFTER_DEADLINES: u32 = 4;
/// As above, when failed calls and restarts together took this long: slow to start, and failing on everything.
const GIVE_UP_AFTER: Duration = Duration::from_secs(2);
/// From so many eighths of its memory on a guest that grows is about to fail.
const NEAR_EIGHTHS: usize = 7;
/// It begins anew when it has room for fewer steps of its growth than this: calls differ.
const STEPS_LEFT: usize = 2;
/// What a guest may always hand over in one call besides its outputs: log lines, reasons, state.
const LEAST_FUEL_BYTES: usize = 64 * 1024;

/// One message for a plugin.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The same for every delivery of this message to this plugin.
    pub id: u64,
    /// The message itself.
    pub message: &'a Message,
    /// When it was received, in milliseconds since the Unix epoch.
    pub received_ms: u64,
    /// True when an earlier call with this message may have happened. The host sets it for a message it decides again.
    pub redelivered: bool,
}

/// What an instance did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls of `handle` and `tick`.
    pub calls: u64,
    /// Messages in those calls, those decided again counted again.
    pub messages: u64,
    /// Calls that failed as a whole.
    pub failed_calls: u64,
    /// Fresh guests after a failure, or in place of one that was about to fail for want of memory.
    pub restarts: u64,
    /// Time spent in calls.
    pub busy: Duration,
}

/// A configured plugin that decides messages. Lives on one thread at a time.
#[derive(Debug)]
pub struct Instance {
    plugin: Plugin,
    /// `None` after a failure, until the next message.
    live: Option<Live>,
    /// How many messages the next call may have.
    batch: usize,
    stats: Stats,
    /// Time that failed calls and restarts took within the `handle` in progress.
    lost: Duration,
    /// Calls cut at their deadline within the `handle` in progress.
    cut: u32,
    /// What calls have written into the plugin's state and nobody has taken yet, and what stood there before.
    written: Vec<(Write, Option<Vec<u8>>)>,
    /// Why guests were thrown away since this was asked last, those included that did not fail.
    lost_guests: Vec<Fault>,
    topics: GrantedTopics,
    /// Set while another version waits for this one to end what it does.
    hurry: Option<Arc<AtomicBool>>,
}

/// A guest that is well.
pub(crate) struct Live {
    store: Store<Guest>,
    calls: Calls,
    /// No call yet: what fails now is not the fault of an earlier message.
    fresh: bool,
    /// The most bytes of memory that one call has taken when there was little left.
    last_steps: usize,
}

impl Live {
    pub(crate) const fn new(store: Store<Guest>, calls: Calls) -> Self {
        Self { store, calls, fresh: true, last_steps: 0 }
    }

    /// After a call: whether memory that has grown in it, with little left, fails at one of the next steps. Where a guest is that only
    /// holds much is no matter: it does not grow any more.
    fn check_memory(&mut self, before_bytes: usize, limit_bytes: usize) -> Result<(), Fault> {
        let bytes = self.store.data().memory_bytes();
        let grown = bytes.saturating_sub(before_bytes);
        if grown == 0 || before_bytes < limit_bytes / 8 * NEAR_EIGHTHS {
            return Ok(());
        }
        self.last_steps = self.last_steps.max(grown);
        match limit_bytes.saturating_sub(bytes) < self.last_steps.saturating_mul(STEPS_LEFT) {
            true => Err(Fault::MemoryNear { bytes, limit_bytes }),
            false => Ok(()),
        }
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("fresh", &self.fresh).finish_non_exhaustive()
    }
}

/// Sets the clock for a call; it runs until the guard is dropped. On a borrowed thread the first beat ends the slice.
pub(crate) fn begin<'a>(host: &'a Host, store: &mut Store<Guest>, deadline: Duration) -> Running<'a> {
    store.data_mut().begin(deadline);
    store.set_epoch_deadline(if is_borrowed() { 1 } else { ticks(deadline) });
    host.ticker().begin()
}

impl Instance {
    pub(crate) fn new(plugin: Plugin, live: Option<Live>) -> Self {
        Self {
            plugin,
            live,
            batch: MAX_BATCH_MESSAGES,
            stats: Stats::default(),
            lost: Duration::ZERO,
            cut: 0,
            written: Vec::new(),
            lost_guests: Vec::new(),
            topics: GrantedTopics::default(),
            hurry: None,
        }
    }

    /// While this is set, a call that was cut at its deadline is the last one of its [`handle`](Self::handle): what comes behind
    /// it is to be tried again later.
    pub fn hurry_while(&mut self, hurry: Arc<AtomicBool>) {
        self.hurry = Some(hurry);
    }

    /// What calls have written into the plugin's state since this was asked last, in order.
    pub fn take_written(&mut self) -> Vec<Write> {
        self.written.drain(..).map(|(write, _)| write).collect()
    }

    /// Takes back what calls have written since it was asked for last: their decisions will never be. The guest goes too if there
    /// was any, for what it holds in memory stands beside a state that is no more; the next call has a fresh one.
    pub fn take_back_written(&mut self) {
        if !self.written.is_empty() {
            self.plugin.spec().state.take_back(self.written.drain(..));
            self.live = None;
        }
    }

    /// Why guests were thrown away since this was asked last: one for each call that failed as a whole, whether or not a second
    /// chance healed it, and [`Fault::MemoryNear`] where none failed. Whatever such a guest held in memory is gone.
    pub fn take_lost_guests(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.lost_guests)
    }

    /// Decides messages from one source: pushes exactly one outcome for each, in order.
    ///
    /// Messages go to the guest in batches. When a call fails as a whole (a trap, the deadline, the wrong number of
    /// results) the guest is thrown away and the messages of that call are decided again one by one by a fresh one,
    /// marked `redelivered`, so that only those it fails on get [`Outcome::Fault`]. A single message gets a second
    /// chance too if what earlier messages left in the guest may be to blame; a deadline is not such a case. Batches
    /// stay at one message after a failure and double with each success.
    ///
    /// The deadline holds for each call and is kept to within 5 ms, so a message that hangs costs its batch one
    /// deadline and itself another. When four calls were cut, the remaining messages get [`Outcome::Retry`], so that the
    /// caller's circuit can have its say; when no fresh guest can be had, they get [`Fault::Restart`].
    pub async fn handle(&mut self, source: &str, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        let before = outcomes.len();
        outcomes.reserve(inputs.len());
        (self.lost, self.cut) = (Duration::ZERO, 0);
        loop {
            let rest = &inputs[outcomes.len() - before..];
            let verdict = match &rest[..self.cut(rest)] {
                [] => return,
                [one] => self.decide_one(source, *one, outcomes).await,
                batch => self.decide_batch(source, batch, outcomes).await,
            };
            if let Err(verdict) = verdict {
                outcomes.resize(before + inputs.len(), verdict);
            }
        }
    }

    /// Calls the plugin's timer; without one nothing comes out. Of its outputs all are good, or none goes out.
    ///
    /// # Errors
    /// What the plugin did wrong. After a trap the next call finds a fresh guest.
    pub async fn tick(&mut self, now_ms: u64) -> Result<Vec<Output>, Fault> {
        if !self.plugin.has_timer() {
            return Ok(Vec::new());
        }
        let ask = async |live: &mut Live| {
            live.store.data_mut().set_now(now_ms);
            live.calls.tick(&mut live.store, now_ms).await.map(Ok)
        };
        let list = self.call(0, ask).await?;
        Ok(decide::outputs(self.plugin.spec(), &mut self.topics, None, list)?.into_vec())
    }

    /// Begins now, if it is one that begins later: its first call does not have to. What is wrong with it the first call says.
    pub fn begin(&mut self) {
        if self.live.is_none() && self.stats.calls == 0 {
            self.live = run_here(self.plugin.start()).ok();
        }
    }

    /// What this instance did so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// What it is an instance of.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The digest of its component: its version.
    pub fn digest(&self) -> &str {
        self.plugin.digest()
    }

    /// Linear memory the guest has now, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.store.data().memory_bytes())
    }

    /// How many of these go into the next call: at least one, as many as the guest's memory takes comfortably.
    fn cut(&self, inputs: &[Input<'_>]) -> usize {
        let mut left = self.plugin.spec().limits.memory_bytes / MEMORY_PART;
        let fits = |input: &&Input<'_>| {
            let fits = left.checked_sub(input.message.weight_bytes());
            left = fits.unwrap_or(0);
            fits.is_some()
        };
        inputs.iter().take(self.batch).take_while(fits).count().max(1).min(inputs.len())
    }

    /// Pushes an outcome for each. `Err` is the outcome of all that come after these.
    async fn decide_batch(
        &mut self,
        source: &str,
        batch: &[Input<'_>],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Outcome> {
        match self.ask(source, batch).await {
            Ok(results) => {
                let (spec, topics) = (self.plugin.spec(), &mut self.topics);
                let decided = batch.iter().zip(results);
                outcomes.extend(decided.map(|(input, result)| decide::outcome(spec, topics, input.message, result)));
                Ok(())
            }
            Err(restart @ Fault::Restart(_)) => Err(Outcome::Fault(restart)),
            // Somebody in this batch is guilty: ask about each alone.
            Err(_) => {
                for input in batch {
                    self.decide_one(source, Input { redelivered: true, ..*input }, outcomes).await?;
                }
                Ok(())
            }
        }
    }

    /// As [`decide_batch`](Self::decide_batch) for one message, which may get a second chance.
    async fn decide_one(
        &mut self,
        source: &str,
        mut input: Input<'_>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Outcome> {
        loop {
            let was_fresh = self.live.as_ref().is_none_or(|live| live.fresh);
            match self.ask(source, std::slice::from_ref(&input)).await {
                Ok(results) => {
                    let (spec, topics) = (self.plugin.spec(), &mut self.topics);
                    let outcome = |result| decide::outcome(spec, topics, input.message, result);
                    outcomes.extend(results.into_iter().map(outcome));
                    return Ok(());
                }
                Err(restart @ Fault::Restart(_)) => return Err(Outcome::Fault(restart)),
                Err(fault) if was_fresh || !fault.may_be_inherited() => {
                    outcomes.push(Outcome::Fault(fault));
                    let hurries = self.hurry.as_ref().is_some_and(|hurry| hurry.load(Relaxed));
                    let most = if hurries { 1 } else { GIVE_UP_AFTER_DEADLINES };
                    return match self.cut >= most || self.lost > GIVE_UP_AFTER {
                        true => Err(Outcome::Retry("the plugin failed too often on messages before this one".into())),
                        false => Ok(()),
                    };
                }
                Err(_) => input.redelivered = true,
            }
        }
    }

    /// One call of `handle`: a decision on each of these messages, or one fault of the whole call.
    async fn ask(&mut self, source: &str, inputs: &[Input<'_>]) -> Result<Vec<Decision>, Fault> {
        let outputs_max = self.plugin.spec().limits.outputs as usize;
        let now_ms = inputs.last().map_or(0, |input| input.received_ms);
        let ask = async |live: &mut Live| {
            live.store.data_mut().set_now(now_ms);
            live.calls.handle(&mut live.store, source, inputs, outputs_max).await
        };
        self.call(inputs.len(), ask).await
    }

    /// Calls a guest, a fresh one if need be, under the deadline. Whatever goes wrong, the guest is thrown away.
    async fn call<R>(
        &mut self,
        messages: usize,
        ask: impl AsyncFnOnce(&mut Live) -> wasmtime::Result<Result<R, Fault>>,
    ) -> Result<R, Fault> {
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self.restart().await?,
        };
        let limits = &self.plugin.spec().limits;
        live.store.set_hostcall_fuel(fuel(limits, messages));
        let running = begin(self.plugin.host(), &mut live.store, limits.deadline);
        let before_bytes = live.store.data().memory_bytes();
        let answer = ask(&mut live).await;
        drop(running);
        let took = live.store.data().elapsed();
        let answer = match answer {
            Ok(Ok(answer)) => live.store.data_mut().commit().map(|()| answer),
            Ok(Err(fault)) => Err(fault),
            Err(error) => Err(live.store.data_mut().fault(&error)),
        };
        live.store.data_mut().say().await;
        self.stats.calls += 1;
        self.stats.messages += messages as u64;
        self.stats.busy += took;
        let fault = match answer {
            Ok(answer) => {
                self.pace(messages, took);
                self.written.append(&mut live.store.data_mut().written);
                live.fresh = false;
                match live.check_memory(before_bytes, self.plugin.spec().limits.memory_bytes) {
                    Ok(()) => self.live = Some(live),
                    Err(fault) => self.lost_guests.push(fault),
                }
                return Ok(answer);
            }
            Err(fault) => fault,
        };
        self.stats.failed_calls += 1;
        self.batch = 1;
        self.lost += took;
        self.cut += u32::from(matches!(fault, Fault::Deadline(_)));
        self.lost_guests.push(fault.clone());
        Err(fault)
    }

    async fn restart(&mut self) -> Result<Live, Fault> {
        leave_borrowed().await;
        self.stats.restarts += 1;
        let began = Instant::now();
        let live = self.plugin.start().await;
        self.lost += began.elapsed();
        live.map_err(|error| Fault::Restart(decide::shorten(error.to_string())))
    }

    /// Batches grow while they are quick, and shrink before they come near the deadline.
    fn pace(&mut self, messages: usize, took: Duration) {
        let deadline = self.plugin.spec().limits.deadline;
        if took > deadline / 2 {
            self.batch = (messages / 2).max(1);
        } else if took < deadline / 4 && messages == self.batch {
            self.batch = (self.batch * 2).min(MAX_BATCH_MESSAGES);
        }
    }
}

/// How much a guest may hand to the host in one go: what its outputs may be, but no more than its memory holds, so
/// that pointing at one buffer many times gains it nothing.
fn fuel(limits: &Limits, messages: usize) -> usize {
    let outputs = (limits.outputs as usize).saturating_mul(size_of::<Output>());
    let one = limits.output_bytes.saturating_add(outputs).saturating_add(LEAST_FUEL_BYTES);
    one.saturating_mul(messages.max(1)).min(limits.memory_bytes.max(one))
}
