//! What a plugin costs: CPU time of a message by the size of its batch, and memory over many messages.

use crate::samples::Samples;
use crate::trial::{RECEIVED_MS, messages as messages_of, started};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tidegate_message::Message;
use tidegate_plugin::{Component, Host, Input, Instance, Outcome, run_here};

const BATCHES: [usize; 4] = [1, 8, 32, 128];
const ROUND: Duration = Duration::from_secs(1);
/// Of the long run: what a gateway under load makes.
const LONG_BATCH: usize = 32;
const LINES: u64 = 10;

/// Measures a component on the messages of a file of samples, with its configuration, grants and limits; each line is told as
/// soon as it is known. `messages` are decided in the long run; 0 leaves it out.
///
/// # Errors
/// The file is no file of samples, has no message, or the plugin does not start, in words.
pub fn bench(
    host: &Host,
    component: &Component,
    path: &Path,
    messages: u64,
    tell: &mut dyn FnMut(String),
) -> Result<(), String> {
    let samples = Samples::load(path)?;
    let here = |words: String| format!("{}: {words}", path.display());
    let came = messages_of(&samples).map_err(here)?;
    if came.is_empty() || samples.refused.is_some() {
        return Err(here("there is no message in it that a plugin could decide".to_owned()));
    }
    let mut bench = Bench {
        instance: started(host, component, &samples).map_err(here)?,
        came,
        source: samples.source,
        decided: 0,
        failed: None,
        lost: Lost::new(),
    };
    for batch in BATCHES {
        let (began, cpu, before) = (Instant::now(), thread_cpu(), bench.decided);
        while began.elapsed() < ROUND {
            bench.decide(batch);
        }
        let each = (thread_cpu() - cpu).as_secs_f64() * 1e6 / (bench.decided - before) as f64;
        tell(format!("batch {batch:>4}   {each:>9.2} µs of CPU a message"));
    }
    let (before, done) = (bench.instance.memory_bytes(), bench.decided);
    for line in 1..=LINES {
        while bench.decided - done < messages * line / LINES {
            bench.decide(LONG_BATCH);
        }
        if messages > 0 {
            let memory = bench.instance.memory_bytes() >> 10;
            tell(format!("{:>9} messages   {memory:>7} KiB   {}", bench.decided - done, bench.anew()));
        }
    }
    if messages > 0 {
        let grew = bench.instance.memory_bytes().saturating_sub(before) >> 10;
        tell(format!("memory     {grew} KiB more than before these messages"));
    }
    match bench.failed {
        Some(words) => tell(format!("it failed  {words}")),
        None => tell("it failed  on no message".to_owned()),
    }
    Ok(())
}

/// Calls that failed as a whole, by the kind of their fault; a second chance may have healed each.
type Lost = BTreeMap<&'static str, u64>;

struct Bench {
    instance: Instance,
    came: Vec<Message>,
    source: String,
    decided: u64,
    /// The first that it failed on.
    failed: Option<String>,
    lost: Lost,
}

impl Bench {
    fn anew(&self) -> String {
        let kinds: Vec<String> = self.lost.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        match kinds[..] {
            [] => "0 started anew".to_owned(),
            _ => format!("{} started anew: {}", self.instance.stats().restarts, kinds.join(", ")),
        }
    }

    fn decide(&mut self, batch: usize) {
        let inputs: Vec<Input<'_>> = (self.decided..)
            .zip(self.came.iter().cycle().skip(self.decided as usize % self.came.len()))
            .take(batch)
            .map(|(id, message)| Input { id, message, received_ms: RECEIVED_MS + id, redelivered: false })
            .collect();
        let mut outcomes = Vec::with_capacity(batch);
        run_here(self.instance.handle(&self.source, &inputs, &mut outcomes));
        self.decided += batch as u64;
        if self.failed.is_none()
            && let Some(Outcome::Fault(fault)) = outcomes.iter().find(|outcome| matches!(outcome, Outcome::Fault(_)))
        {
            self.failed = Some(fault.to_string());
        }
        for fault in self.instance.take_lost_guests() {
            *self.lost.entry(fault.kind()).or_default() += 1;
        }
        // What it says is not read, and must not gather.
        self.instance.plugin().take_lines();
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
