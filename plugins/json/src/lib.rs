//! `json` changes JSON payloads, step by step: fields are picked, removed, renamed, set and merged, objects flattened and
//! unflattened, texts filled in; where a step must calculate or decide, it is written in jq.
//!
//! A payload is read once into a tree that keeps numbers as they are written, each step changes the tree, and it is written
//! once. A message whose payload no step changed goes onward with the bytes that it came with.
//!
//! Invariants: what is not JSON, nested too deep or too large for the plugin's memory is refused before anything is built
//! of it, never a trap. A message makes at most `max_outputs` messages.
//!
//! Start reading at [`Json::handle`], then `apply.rs`; `expression.rs` is jq.

mod apply;
mod config;
mod expression;
mod flat;
mod path;
mod read;
mod step;
mod template;
mod write;

pub use config::Config;

use apply::{Run, Stop, Work};
use config::{OnError, OnNotJson};
use step::Step;
use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems, log};

/// The plugin.
pub struct Json {
    steps: Vec<Step>,
    on_not_json: OnNotJson,
    on_error: OnError,
    max_outputs: usize,
    /// Messages that went onward unchanged although a step did not fit.
    misfits: u64,
}

impl Plugin for Json {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let Config { steps, on_not_json, on_error, max_outputs } = config;
        let mut problems = Problems::none();
        if steps.is_empty() {
            problems.add("steps", "nothing to do: write `steps = [{ pick = [\"temp\"] }]`");
        }
        if steps.len() > step::MAX_STEPS {
            return Err(Problems::one("steps", format!("at most {} steps", step::MAX_STEPS)));
        }
        if !(1..=config::MAX_OUTPUTS).contains(&max_outputs) {
            problems.add("max_outputs", format!("must be from 1 to {}", config::MAX_OUTPUTS));
        }
        let checked =
            steps.into_iter().enumerate().filter_map(|(i, step)| step::check(step, i, &mut problems)).collect();
        problems.or(|| Self { steps: checked, on_not_json, on_error, max_outputs, misfits: 0 })
    }

    fn handle(&mut self, source: &str, message: Message) -> Result<Decision, Failure> {
        match self.decide(source, &message) {
            Ok(decision) => Ok(decision),
            Err(Stop::Drop(reason)) => Ok(Decision::drop(reason)),
            Err(Stop::NotJson(why)) => match self.on_not_json {
                OnNotJson::Reject => Err(Failure::reject(why)),
                OnNotJson::Drop => Ok(Decision::drop("not JSON")),
                OnNotJson::Pass => Ok(self.misfit(&why, &message)),
            },
            Err(Stop::Misfit(why)) => match self.on_error {
                OnError::Reject => Err(Failure::reject(why)),
                OnError::Drop => Ok(Decision::drop("a step does not fit")),
                OnError::Pass => Ok(self.misfit(&why, &message)),
            },
        }
    }
}

impl Json {
    fn decide(&self, source: &str, message: &Message) -> Result<Decision, Stop> {
        let value = read::read(&message.payload)?;
        let mut run = Run::new(source, message, self.max_outputs);
        run.steps(&self.steps, 0, Work::new(value))?;
        let (done, dropped) = run.done();
        if done.is_empty() {
            return Err(Stop::Drop(dropped));
        }
        if let [only] = done.as_slice()
            && only.is_untouched()
        {
            return Ok(Decision::pass());
        }
        let outputs: Result<Vec<Output>, Stop> = done.into_iter().map(output).collect();
        Ok(Decision::forward(outputs?))
    }

    /// Onward all the same: a message for each power of ten of them, and one that is only seen by who looks closely.
    fn misfit(&mut self, why: &str, message: &Message) -> Decision {
        self.misfits += 1;
        if self.misfits.ilog10() != (self.misfits - 1).checked_ilog10().unwrap_or(u32::MAX) {
            let (count, topic) = (self.misfits, &message.topic);
            log::warn!("{count} went onward unchanged, as the configuration says, the last on {topic}: {why}");
        } else {
            log::debug!("onward unchanged: {why}");
        }
        Decision::pass()
    }
}

fn output(work: Work) -> Result<Output, Stop> {
    let Work { value, is_changed, topic } = work;
    let mut output = Output::onward();
    if is_changed {
        output = output.payload(write::written(&value).map_err(|why| Stop::Misfit(format!("the new payload: {why}")))?);
    }
    Ok(match topic {
        Some(topic) => output.topic(topic),
        None => output,
    })
}

tidegate_sdk::plugin!(Json);

#[cfg(test)]
mod tests;
