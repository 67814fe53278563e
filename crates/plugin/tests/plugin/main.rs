//! The plugin host against guests that fail in every way the contract allows.
//!
//! - [`refusals`]: what is refused before it runs
//! - [`failures`]: what fails while it runs, and that only its own message pays
//! - [`limits`]: deadlines, memory, outputs, log
//! - [`state`]: writes that apply with their call or not at all
//! - [`wasi`]: the empty world of a component that imports WASI
//! - [`timer`]: plugins that act on time
//! - [`borrowed`]: what leaves a thread that serves sockets
//! - [`cache`]: compiled code on disk
//! - [`packed`]: the call with whole blocks
//! - [`messaging`]: handlers of `wasi:messaging`

#![allow(clippy::unwrap_used)] // a test may

mod borrowed;
mod cache;
mod contract;
mod failures;
mod guest;
mod imports;
mod limits;
mod messaging;
mod packed;
mod refusals;
mod state;
mod timer;
mod wasi;

use std::time::Duration;
use tidegate_message::{Message, QoS, Topic, TopicFilter};
use tidegate_plugin::{Host, HostConfig, Input, Instance, Limits, Outcome, Plugin, Spec, run_here};

fn host() -> Host {
    Host::new(&HostConfig::default()).unwrap()
}

/// Grants `site/#` and the targets `near` and `far`, and patience: a busy machine is not the plugin's fault.
fn spec() -> Spec {
    let mut spec = Spec::new("tested");
    spec.grants.targets = vec!["near".into(), "far".into()];
    spec.grants.topics = vec![TopicFilter::new("site/#").unwrap()];
    spec.limits.deadline = Duration::from_secs(30);
    spec.limits.configure_deadline = Duration::from_secs(30);
    spec
}

/// The same with the default deadline.
fn hasty() -> Spec {
    let mut spec = spec();
    spec.limits.deadline = Limits::default().deadline;
    spec
}

fn plugin(extra: guest::Extra, spec: Spec) -> Plugin {
    let host = host();
    let component = host.compile(&guest::component(extra)).unwrap();
    Plugin::new(&host, &component, spec).unwrap()
}

fn instance(extra: guest::Extra, spec: Spec) -> Instance {
    plugin(extra, spec).instantiate().unwrap()
}

/// Hands over one message for each byte; each outcome as a word.
fn handle(instance: &mut Instance, does: &[u8]) -> Vec<String> {
    outcomes(instance, does).iter().map(word).collect()
}

fn outcomes(instance: &mut Instance, does: &[u8]) -> Vec<Outcome> {
    let topic = Topic::new("dev/1").unwrap();
    let message = |byte: &u8| Message::new(topic.clone(), vec![*byte], QoS::AtLeastOnce);
    let messages: Vec<Message> = does.iter().map(message).collect();
    let inputs: Vec<Input<'_>> = (1..)
        .zip(&messages)
        .map(|(id, message)| Input { id, message, received_ms: 1_700_000_000_000, redelivered: false })
        .collect();
    let mut outcomes = vec![Outcome::Pass]; // what is there stays there
    run_here(instance.handle("home", &inputs, &mut outcomes));
    assert_eq!(outcomes.len(), 1 + inputs.len(), "exactly one outcome for each");
    outcomes.split_off(1)
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pass => "pass".into(),
        Outcome::Forward(outputs) => format!("forward {}", outputs.len()),
        Outcome::Drop(reason) => format!("drop {reason}"),
        Outcome::Reject(reason) => format!("reject {reason}"),
        Outcome::Retry(reason) => format!("retry {reason}"),
        Outcome::Fault(fault) => fault.kind().into(),
    }
}

#[test]
fn plugins_can_be_shared_and_instances_moved_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Host>();
    shared::<Plugin>();
    moved::<Instance>();
}
