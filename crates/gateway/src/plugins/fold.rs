//! What becomes of each message of a batch: the decisions of a chain of plugins as one [`Verdict`] a message.
//!
//! In comes a batch of [`Input`]s and something that [`Ask`]s the plugins; out goes one [`Folded`] for each input, in
//! order. Pure: asking and waiting are the caller's, so that all of it is tested without thread, clock or Wasm.
//!
//! The batch is a row of [`Part`]s. Each plugin replaces every part that is still on its way by what it makes of it, in
//! the same place; so the outputs of a message leave in the order in which its plugins listed them, and messages in the
//! order in which they came. When a plugin fails on one part of a message, nothing of that message goes out.

use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{OnFailure, Retry};
use tidegate_message::{ByteString, Message};
use tidegate_pacing::Doubling;
use tidegate_plugin::{Destination, Input, Outcome};
use tidegate_router::{Parking, To, Verdict};

/// A plugin was to be asked again later, but a swap of plugins or the end comes first. Nothing is decided then.
#[derive(Debug, PartialEq)]
pub(crate) struct Interrupted;

/// What the fold has to know of one plugin.
pub(crate) struct Rules<'a> {
    pub(crate) name: &'a Arc<str>,
    /// The names behind [`Destination::Target`].
    pub(crate) targets: &'a [Arc<str>],
    pub(crate) on_failure: OnFailure,
    pub(crate) retry: Retry,
}

/// A chain of plugins, numbered from 0. Asking and waiting may give a borrowed thread back, and go on on another.
pub(crate) trait Ask: Send {
    fn stages(&self) -> usize;

    fn rules(&self, stage: usize) -> Rules<'_>;

    /// Asks one plugin: pushes exactly one outcome for each input, in order.
    fn ask(
        &mut self,
        stage: usize,
        inputs: &[Input<'_>],
        outcomes: &mut Vec<Outcome>,
    ) -> impl Future<Output = ()> + Send;

    /// Lets this much time pass before that plugin is asked again about one message.
    ///
    /// # Errors
    /// Something that cannot wait came in between.
    fn wait(&mut self, stage: usize, wait: Duration) -> impl Future<Output = Result<(), Interrupted>> + Send;

    /// Is told of each message that ends because a plugin failed on it.
    fn failed(&mut self, stage: usize, message: &Message, reason: &str);
}

/// What the chain made of one input.
#[derive(Debug, PartialEq)]
pub(crate) enum Folded {
    /// Onward as it came.
    Unchanged,
    /// Onward as this message: the common case of a change, without an allocation.
    Changed(Message),
    Ended(Verdict),
}

impl Folded {
    /// As a verdict on `message`, which takes the change.
    pub(crate) fn into_verdict(self, message: &mut Message) -> Verdict {
        match self {
            Self::Unchanged => Verdict::Onward,
            Self::Changed(changed) => {
                *message = changed;
                Verdict::Onward
            }
            Self::Ended(verdict) => verdict,
        }
    }
}

/// One output on its way through the chain, or at its end.
struct Part {
    /// Which input it was made of.
    of: usize,
    /// The target that a plugin sent it to, past the plugins behind; `None` while it is on its way.
    target: Option<Arc<str>>,
    /// `None` while it is the input as it came.
    message: Option<Message>,
}

impl Part {
    fn message<'a>(&'a self, inputs: &[Input<'a>]) -> &'a Message {
        self.message.as_ref().unwrap_or(inputs[self.of].message)
    }
}

/// What is known of one input besides its parts.
enum End {
    Open,
    /// What a plugin dropped a part of it for. Only counts if nothing else of it goes out.
    Dropped(ByteString),
    Failed,
    Parked(Parking),
}

impl End {
    fn is_failure(&self) -> bool {
        matches!(self, Self::Failed | Self::Parked(_))
    }
}

/// Runs the plugins from number `first` on over all inputs; pushes one result an input, in order.
///
/// # Errors
/// [`Interrupted`] as [`Ask::wait`] said; plugins may have been asked already, and nothing is pushed.
pub(crate) async fn fold(
    chain: &mut impl Ask,
    first: usize,
    inputs: &[Input<'_>],
    folded: &mut Vec<Folded>,
) -> Result<(), Interrupted> {
    let stages = chain.stages();
    if first >= stages || inputs.is_empty() {
        Row::new(inputs).collect(folded);
        return Ok(());
    }
    let mut outcomes = Vec::with_capacity(inputs.len());
    ask_until_decided(chain, first, inputs, &mut outcomes).await?;
    if first + 1 == stages && outcomes.iter().all(is_one_onward) {
        // The common chain is one plugin, which answers each message with one.
        folded.extend(inputs.iter().zip(outcomes).map(|(input, outcome)| one_onward(input.message, outcome)));
        return Ok(());
    }
    let mut row = Row::new(inputs);
    row.advance(chain, first, &mut outcomes);
    for stage in first + 1..stages {
        let asked = row.on_its_way();
        if asked.is_empty() {
            break; // the plugins before have decided everything
        }
        ask_until_decided(chain, stage, &asked, &mut outcomes).await?;
        drop(asked);
        row.advance(chain, stage, &mut outcomes);
    }
    row.collect(folded);
    Ok(())
}

fn is_one_onward(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Pass => true,
        Outcome::Forward(outputs) => matches!(&outputs[..], [only] if only.to == Destination::Onward),
        _ => false,
    }
}

/// What becomes of a message whose outcome [`is_one_onward`].
fn one_onward(message: &Message, outcome: Outcome) -> Folded {
    match outcome {
        Outcome::Forward(mut outputs) => match outputs.pop() {
            Some(output) => Folded::Changed(output.applied_to(message)),
            None => Folded::Unchanged,
        },
        _ => Folded::Unchanged,
    }
}

/// A batch between two plugins.
struct Row<'a> {
    inputs: &'a [Input<'a>],
    /// Those of one input stand side by side, and inputs in their order.
    parts: Vec<Part>,
    /// The parts to be, while a plugin's outcomes are gone through; otherwise empty.
    next: Vec<Part>,
    /// One an input.
    ends: Vec<End>,
}

impl<'a> Row<'a> {
    fn new(inputs: &'a [Input<'a>]) -> Self {
        let parts = (0..inputs.len()).map(|of| Part { of, target: None, message: None }).collect();
        Self { inputs, parts, next: Vec::new(), ends: inputs.iter().map(|_| End::Open).collect() }
    }

    fn on_its_way(&self) -> Vec<Input<'_>> {
        let open = self.parts.iter().filter(|part| part.target.is_none());
        open.map(|part| Input { message: part.message(self.inputs), ..self.inputs[part.of] }).collect()
    }

    /// Puts in the place of each part that is on its way what a plugin has made of it.
    fn advance(&mut self, chain: &mut impl Ask, stage: usize, outcomes: &mut Vec<Outcome>) {
        if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Pass)) {
            return outcomes.clear();
        }
        self.next.reserve(self.parts.len());
        let mut parts = std::mem::take(&mut self.parts);
        let mut outcomes = outcomes.drain(..);
        for part in parts.drain(..) {
            match part.target {
                Some(_) => self.next.push(part),
                None => {
                    // `Ask` promises an outcome for each.
                    let Some(outcome) = outcomes.next() else { break };
                    self.decide(chain, stage, part, outcome);
                }
            }
        }
        self.parts = std::mem::replace(&mut self.next, parts);
        if self.ends.iter().any(End::is_failure) {
            // Nothing of a message that has failed goes out, and the plugins behind do not see the rest of it.
            self.parts.retain(|part| !self.ends[part.of].is_failure());
        }
    }

    fn decide(&mut self, chain: &mut impl Ask, stage: usize, part: Part, outcome: Outcome) {
        let end = &mut self.ends[part.of];
        match outcome {
            _ if end.is_failure() => {}
            Outcome::Pass => self.next.push(part),
            Outcome::Forward(outputs) => {
                for output in outputs {
                    let target = match output.to {
                        Destination::Onward => None,
                        Destination::Target(at) => match chain.rules(stage).targets.get(usize::from(at)) {
                            Some(name) => Some(name.clone()),
                            None => continue, // the host has checked it against the same list
                        },
                    };
                    let message = Some(output.applied_to(part.message(self.inputs)));
                    self.next.push(Part { of: part.of, target, message });
                }
            }
            Outcome::Drop(reason) => {
                if matches!(end, End::Open) {
                    *end = End::Dropped(reason);
                }
            }
            Outcome::Reject(reason) => self.fail(chain, stage, part, "reject", reason),
            Outcome::Retry(reason) => self.fail(chain, stage, part, "retries_exhausted", reason),
            Outcome::Fault(fault) => self.fail(chain, stage, part, fault.kind(), fault.to_string()),
        }
    }

    fn fail(&mut self, chain: &mut impl Ask, stage: usize, part: Part, kind: &'static str, reason: String) {
        let Rules { on_failure, name, .. } = chain.rules(stage);
        let parked_by = match on_failure {
            OnFailure::Pass => return self.next.push(part),
            OnFailure::Drop => None,
            // `Block` ends here only when the plugin rejects: it will never decide, however long it is asked.
            OnFailure::Park | OnFailure::Block => Some(name.clone()),
        };
        chain.failed(stage, part.message(self.inputs), &reason);
        self.ends[part.of] = match parked_by {
            Some(plugin) => End::Parked(Parking { plugin, kind, reason }),
            None => End::Failed,
        };
    }

    /// The parts of each input and its end as one.
    fn collect(self, folded: &mut Vec<Folded>) {
        let inputs = self.inputs;
        let mut parts = self.parts.into_iter().peekable();
        let as_output = |part: Part| {
            let message = part.message.unwrap_or_else(|| inputs[part.of].message.clone());
            (part.target.map_or(To::Onward, To::Target), message)
        };
        folded.extend(self.ends.into_iter().enumerate().map(|(at, end)| {
            let Some(only) = parts.next_if(|part| part.of == at) else {
                return Folded::Ended(match end {
                    End::Open => Verdict::Drop(ByteString::from_static("no output")),
                    End::Dropped(reason) => Verdict::Drop(reason),
                    End::Failed => Verdict::Failed,
                    End::Parked(parking) => Verdict::Park(parking),
                });
            };
            let Some(second) = parts.next_if(|part| part.of == at) else {
                return match only {
                    Part { target: None, message: None, .. } => Folded::Unchanged,
                    Part { target: None, message: Some(message), .. } => Folded::Changed(message),
                    part => Folded::Ended(Verdict::Outputs(vec![as_output(part)])),
                };
            };
            let mut outputs = vec![as_output(only), as_output(second)];
            outputs.extend(std::iter::from_fn(|| parts.next_if(|part| part.of == at)).map(as_output));
            Folded::Ended(Verdict::Outputs(outputs))
        }));
    }
}

/// Asks one plugin about all inputs, and again, one by one, about those it is to be asked again.
async fn ask_until_decided(
    chain: &mut impl Ask,
    stage: usize,
    inputs: &[Input<'_>],
    outcomes: &mut Vec<Outcome>,
) -> Result<(), Interrupted> {
    chain.ask(stage, inputs, outcomes).await;
    let Rules { on_failure, retry, .. } = chain.rules(stage);
    let is_asked_again = |outcome: &Outcome, attempts: u32| match outcome {
        Outcome::Retry(_) if attempts < retry.attempts => true,
        Outcome::Retry(_) | Outcome::Fault(_) => on_failure == OnFailure::Block,
        _ => false,
    };
    let mut again = Vec::new();
    for (input, outcome) in inputs.iter().zip(outcomes) {
        let mut attempts = 0_u32;
        let mut waits = Doubling::new(retry.min, retry.max);
        while is_asked_again(outcome, attempts) {
            attempts = attempts.saturating_add(1);
            chain.wait(stage, waits.advance()).await?;
            chain.ask(stage, &[Input { redelivered: true, ..*input }], &mut again).await;
            if let Some(answer) = again.pop() {
                *outcome = answer;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
