//! What belongs to one running guest: its limits, its clock, its log, the state it is writing.

use crate::contract::{v0, v1};
use crate::last_words::LastWords;
use crate::log::{Level, Line, PluginLog};
use crate::messaging::Messaging;
use crate::outcome::Fault;
use crate::spec::Spec;
use crate::state::{Overlay, StateStore, Write, is_own_key};
use crate::thread::{is_borrowed, leave_borrowed};
use crate::ticker::ticks;
use crate::wasi::Wasi;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_config::Limits;
use wasmtime::{ResourceLimiter, Trap, UpdateDeadline};

/// A call keeps a borrowed thread at least this long, and [`TICK`](crate::ticker::TICK) longer at most.
const SLICE_LEAST: Duration = Duration::from_micros(500);

/// So many deadlines a call may take that waits for a core.
const PATIENCE: u32 = 20;

/// Core modules, memories and tables in one component, each; an interpreter's component has dozens.
const PARTS_MAX: usize = 100;

/// The data of a wasmtime `Store`.
pub(crate) struct Guest {
    pub(crate) limits: Limits,
    log: Arc<PluginLog>,
    state: StateStore,
    /// Of the state when this guest began.
    epoch: u64,
    pub(crate) overlay: Overlay,
    /// What calls that returned have written, for the owner to make durable, and what stood there before.
    pub(crate) written: Vec<(Write, Option<Vec<u8>>)>,
    pub(crate) wasi: Wasi,
    pub(crate) messaging: Messaging,
    memory_bytes: usize,
    table_elements: usize,
    /// More memory or table was refused during the call in progress.
    refused: bool,
    started: Instant,
    deadline: Duration,
    /// The call in progress was looked at beyond its deadline: how long it had taken, and how much of a core its thread had had.
    looked: Option<(Duration, Duration)>,
    /// Lines that wait for a thread that may write them.
    lines: Vec<(Level, Line)>,
    /// Of the call in progress: standard error, which becomes one line of the log at its end, and what was logged as errors.
    printed: LastWords,
    errors: LastWords,
}

/// How much of a core this thread has had.
fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Carries a fault of ours through wasmtime's error out of an import.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Stop(pub(crate) Fault);

impl Guest {
    pub(crate) fn new(spec: &Spec, state: &StateStore, log: Arc<PluginLog>) -> Self {
        Self {
            deadline: spec.limits.deadline,
            limits: spec.limits.clone(),
            log,
            state: state.clone(),
            epoch: state.epoch(),
            overlay: Overlay::default(),
            written: Vec::new(),
            wasi: Wasi::new(spec.replays),
            messaging: Messaging::new(spec.grants.targets.clone()),
            memory_bytes: 0,
            table_elements: 0,
            refused: false,
            started: Instant::now(),
            looked: None,
            lines: Vec::new(),
            printed: LastWords::default(),
            errors: LastWords::default(),
        }
    }

    /// A call begins now and may take this long.
    pub(crate) fn begin(&mut self, deadline: Duration) {
        self.started = Instant::now();
        self.deadline = deadline;
        self.looked = None;
        self.refused = false;
        self.printed.clear();
        self.errors.clear();
    }

    /// What the clocks of a guest say that decides what was decided before.
    pub(crate) fn set_now(&mut self, now_ms: u64) {
        if let Some(replayed) = &mut self.wasi.replayed {
            replayed.set_now(now_ms);
        }
    }

    /// How long the call in progress took so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The call returned: what it wrote becomes visible.
    ///
    /// # Errors
    /// The state is that of another version by now: nothing was written.
    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        match self.overlay.commit(&self.state, self.epoch, &mut self.written) {
            true => Ok(()),
            false => Err(Fault::Trap("what it remembers is of another version by now".to_owned())),
        }
    }

    /// Linear memory in use, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The clock has cut the call in progress: it goes on elsewhere, or its deadline is over.
    pub(crate) fn cut(&mut self) -> UpdateDeadline {
        let took = self.elapsed();
        let left = self.deadline.saturating_sub(took);
        match is_borrowed() {
            // The clock's next beat may be near when a call begins.
            true if took < SLICE_LEAST => UpdateDeadline::Continue(1),
            true => UpdateDeadline::Yield(ticks(left)),
            // It has left a borrowed thread before the end of its slice.
            false if !left.is_zero() => UpdateDeadline::Continue(ticks(left)),
            false if self.waits_for_a_core(took) => UpdateDeadline::Continue(1),
            false => UpdateDeadline::Interrupt,
        }
    }

    /// Beyond its deadline: whether it is the machine that holds the call up, and not the plugin. A call is looked at twice at least, a
    /// quarter of the deadline apart: one that has computed for less than half of the time between has waited for a core.
    fn waits_for_a_core(&mut self, took: Duration) -> bool {
        let had = thread_cpu();
        match self.looked {
            _ if took > self.deadline * PATIENCE => false,
            Some((then, _)) if took - then < self.deadline / 4 => true,
            Some((then, had_then)) if had.saturating_sub(had_then) > (took - then) / 2 => false,
            _ => {
                self.looked = Some((took, had));
                true
            }
        }
    }

    /// Sleeps for a guest, but never past its deadline, and on no borrowed thread.
    pub(crate) async fn sleep(&mut self, wanted: Option<Duration>) -> wasmtime::Result<()> {
        leave_borrowed().await;
        let left = self.deadline.saturating_sub(self.elapsed());
        match wanted {
            Some(wanted) if wanted < left => {
                std::thread::sleep(wanted);
                Ok(())
            }
            _ => {
                std::thread::sleep(left);
                Err(stop(Fault::Deadline(self.deadline)))
            }
        }
    }

    /// A line of standard error.
    pub(crate) fn complain(&mut self, line: &str) {
        self.printed.push(line);
    }

    /// A line for the log, which may be slow: from a borrowed thread it is not written.
    pub(crate) fn line(&mut self, level: Level, text: &str) {
        if matches!(level, Level::Error) {
            self.errors.push(text);
        }
        self.log.keep(text);
        let Some(line) = self.log.admit(level, text) else { return };
        if is_borrowed() {
            self.lines.push((level, line));
        } else {
            self.write_lines();
            self.log.write(level, &line);
        }
    }

    /// At the end of a call: what was said on a borrowed thread, on one that may wait, and what it printed on standard error.
    pub(crate) async fn say(&mut self) {
        if !self.printed.is_empty() {
            let text = self.printed.joined();
            self.line(Level::Warn, &text);
        }
        if !self.lines.is_empty() {
            leave_borrowed().await;
            self.write_lines();
        }
    }

    fn write_lines(&mut self) {
        for (level, line) in self.lines.drain(..) {
            self.log.write(level, &line);
        }
    }

    /// What went wrong in the call in progress.
    pub(crate) fn fault(&mut self, error: &wasmtime::Error) -> Fault {
        crate::wasi::end_line(self);
        let said = [&self.printed, &self.errors].into_iter().find(|words| !words.is_empty()).map(LastWords::joined);
        let with = |trap: String| match said {
            Some(said) => format!("{trap}; it said: {said}"),
            None => trap,
        };
        if let Some(Stop(fault)) = error.downcast_ref() {
            return fault.clone();
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => return Fault::Deadline(self.deadline),
            _ if self.refused => return Fault::Memory { limit_bytes: self.limits.memory_bytes },
            Some(trap) => return Fault::Trap(with(trap.to_string())),
            None => {}
        }
        let text = format!("{error:#}");
        // The type of this error is wasmtime's own secret; `tests/plugin/limits.rs` notices should its words change.
        if text.contains("fuel allocated for hostcalls has been exhausted") {
            return Fault::TooLarge { limit_bytes: self.limits.output_bytes };
        }
        Fault::Trap(with(crate::decide::shorten(text)))
    }
}

/// An error that makes the call end with this fault.
pub(crate) fn stop(fault: Fault) -> wasmtime::Error {
    wasmtime::Error::new(Stop(fault))
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        let growth = Growth { current, desired, max };
        Ok(growth.fits(&mut self.memory_bytes, self.limits.memory_bytes, &mut self.refused))
    }

    fn table_growing(&mut self, current: usize, desired: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        let growth = Growth { current, desired, max };
        Ok(growth.fits(&mut self.table_elements, self.limits.table_elements, &mut self.refused))
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }
}

/// What one memory or table has, wants, and may have by what it says itself.
struct Growth {
    current: usize,
    desired: usize,
    max: Option<usize>,
}

impl Growth {
    /// Whether it may be, with what all memories or tables together have, and may have; if so, they have it.
    fn fits(self, total: &mut usize, total_max: usize, refused: &mut bool) -> bool {
        if self.max.is_some_and(|max| self.desired > max) {
            return false; // its own limit, not ours
        }
        let grown = total.saturating_add(self.desired.saturating_sub(self.current));
        let fits = grown <= total_max;
        if fits {
            *total = grown;
        }
        *refused |= !fits;
        fits
    }
}

impl v1::tidegate::gateway::types::Host for Guest {}

impl v1::tidegate::gateway::log::Host for Guest {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.line(level, &message);
        Ok(())
    }
}

impl v1::tidegate::gateway::state::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(if is_own_key(&key) { None } else { self.overlay.get(&self.state, &key) })
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<()> {
        self.write(key, Some(value))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.write(key, None)
    }

    fn keys(&mut self, prefix: String) -> wasmtime::Result<Vec<String>> {
        Ok(self.overlay.keys(&self.state, &prefix))
    }
}

impl v0::tidegate::gateway::types::Host for Guest {}

impl v0::tidegate::gateway::log::Host for Guest {
    fn log(&mut self, level: v0::tidegate::gateway::log::Level, message: String) -> wasmtime::Result<()> {
        use v0::tidegate::gateway::log::Level as Old;
        let level = match level {
            Old::Debug => Level::Debug,
            Old::Info => Level::Info,
            Old::Warn => Level::Warn,
            Old::Error => Level::Error,
        };
        self.line(level, &message);
        Ok(())
    }
}

/// The same four functions.
impl v0::tidegate::gateway::state::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        v1::tidegate::gateway::state::Host::get(self, key)
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<()> {
        v1::tidegate::gateway::state::Host::set(self, key, value)
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        v1::tidegate::gateway::state::Host::delete(self, key)
    }

    fn keys(&mut self, prefix: String) -> wasmtime::Result<Vec<String>> {
        v1::tidegate::gateway::state::Host::keys(self, prefix)
    }
}

impl Guest {
    fn write(&mut self, key: String, value: Option<Vec<u8>>) -> wasmtime::Result<()> {
        if is_own_key(&key) {
            return Err(stop(Fault::Trap(
                "a key of its state begins with U+0000; those are the gateway's own".to_owned(),
            )));
        }
        let limit_bytes = self.limits.state_bytes;
        match self.overlay.set(&self.state, limit_bytes, key, value) {
            true => Ok(()),
            false => Err(stop(Fault::State { limit_bytes })),
        }
    }
}
