//! The fold against a model that takes one message at a time.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use tidegate_message::{QoS, Topic};
use tidegate_plugin::{Fault, Output, run_here};

/// What a plugin of the tables does with one message, each time it is asked.
#[derive(Debug, Clone)]
enum Act {
    Pass,
    /// Onward, or to the plugin's own target, each as a message of its own.
    Forward(Vec<bool>),
    Drop,
    Reject,
    /// So often, then what follows.
    Retry(u32, Box<Act>),
    Fault(u32, Box<Act>),
}

#[derive(Debug, Clone)]
struct Plugin {
    on_failure: OnFailure,
    attempts: u32,
    /// What it does with a message, chosen by the message's name.
    acts: Vec<Act>,
}

impl Plugin {
    fn act(&self, message: &Message) -> &Act {
        let name = message.payload.iter().fold(7_usize, |hash, byte| hash.wrapping_mul(31) + usize::from(*byte));
        &self.acts[name % self.acts.len()]
    }
}

const MIN: Duration = Duration::from_millis(10);
const MAX: Duration = Duration::from_millis(40);
const NAMES: [&str; 4] = ["p0", "p1", "p2", "p3"];

/// A message that says how it was made: `2` is the third input, `2.0` its first output, and so on.
fn message(name: &str) -> Message {
    Message::new(Topic::new("t").unwrap(), name.to_owned(), QoS::AtLeastOnce)
}

fn child(parent: &Message, at: usize) -> Message {
    message(&format!("{}.{at}", std::str::from_utf8(&parent.payload).unwrap()))
}

fn outcome(act: &Act, message: &Message, asked: u32) -> Outcome {
    match act {
        Act::Pass => Outcome::Pass,
        Act::Forward(outputs) => Outcome::Forward(
            outputs
                .iter()
                .enumerate()
                .map(|(at, onward)| Output {
                    to: if *onward { Destination::Onward } else { Destination::Target(0) },
                    topic: None,
                    payload: Some(child(message, at).payload),
                    qos: None,
                    retain: None,
                    properties: None,
                })
                .collect(),
        ),
        Act::Drop => Outcome::Drop("dropped".into()),
        Act::Reject => Outcome::Reject("never".to_owned()),
        Act::Retry(times, _) if asked < *times => Outcome::Retry("later".to_owned()),
        Act::Fault(times, _) if asked < *times => Outcome::Fault(Fault::EmptyForward),
        Act::Retry(times, then) | Act::Fault(times, then) => outcome(then, message, asked - times),
    }
}

/// The chain of the tables, by its word. It writes down what it is asked.
struct Table {
    plugins: Vec<Plugin>,
    names: Vec<Arc<str>>,
    targets: Vec<[Arc<str>; 1]>,
    /// How often each plugin was asked about each message.
    asked: HashMap<(usize, Vec<u8>), u32>,
    waits: Vec<Duration>,
    /// So many waits are let pass.
    patience: usize,
    failed: usize,
}

impl Table {
    fn new(plugins: &[Plugin]) -> Self {
        let count = plugins.len();
        Self {
            plugins: plugins.to_vec(),
            names: NAMES[..count].iter().map(|name| Arc::from(*name)).collect(),
            targets: NAMES[..count].iter().map(|name| [format!("target of {name}").into()]).collect(),
            asked: HashMap::new(),
            waits: Vec::new(),
            patience: usize::MAX,
            failed: 0,
        }
    }
}

impl Ask for Table {
    fn stages(&self) -> usize {
        self.plugins.len()
    }

    fn rules(&self, stage: usize) -> Rules<'_> {
        let Plugin { on_failure, attempts, .. } = self.plugins[stage];
        let retry = Retry { attempts, min: MIN, max: MAX };
        Rules { name: &self.names[stage], targets: &self.targets[stage], on_failure, retry }
    }

    async fn ask(&mut self, stage: usize, inputs: &[Input<'_>], outcomes: &mut Vec<Outcome>) {
        assert!(!inputs.is_empty(), "asked about nothing");
        for input in inputs {
            let asked = self.asked.entry((stage, input.message.payload.to_vec())).or_default();
            assert_eq!(input.redelivered, *asked > 0, "what may have been seen says so");
            outcomes.push(outcome(self.plugins[stage].act(input.message), input.message, *asked));
            *asked += 1;
        }
    }

    async fn wait(&mut self, _: usize, wait: Duration) -> Result<(), Interrupted> {
        self.waits.push(wait);
        if self.waits.len() > self.patience { Err(Interrupted) } else { Ok(()) }
    }

    fn failed(&mut self, _: usize, _: &Message, _: &str) {
        self.failed += 1;
    }
}

/// What a plugin says in the end of one message, alone, and how often it was asked again.
fn asked_alone(plugin: &Plugin, message: &Message) -> (Outcome, u32) {
    let mut asked = 0;
    loop {
        let outcome = outcome(plugin.act(message), message, asked);
        let again = match &outcome {
            Outcome::Retry(_) => plugin.on_failure == OnFailure::Block || asked < plugin.attempts,
            Outcome::Fault(_) => plugin.on_failure == OnFailure::Block,
            _ => false,
        };
        if !again {
            return (outcome, asked);
        }
        asked += 1;
    }
}

/// One message through all plugins from `first` on, level by level.
fn model(plugins: &[Plugin], first: usize, input: &Message) -> Folded {
    let mut row = vec![(None, input.clone())];
    let mut reason = None;
    for (at, plugin) in plugins.iter().enumerate().skip(first) {
        let mut next = Vec::new();
        for (target, message) in row {
            if target.is_some() {
                next.push((target, message));
                continue;
            }
            let (kind, why) = match asked_alone(plugin, &message).0 {
                Outcome::Pass => {
                    next.push((None, message));
                    continue;
                }
                Outcome::Forward(outputs) => {
                    for output in outputs {
                        let target = match output.to {
                            Destination::Onward => None,
                            Destination::Target(_) => Some(format!("target of {}", NAMES[at])),
                        };
                        next.push((target, output.applied_to(&message)));
                    }
                    continue;
                }
                Outcome::Drop(why) => {
                    reason.get_or_insert(why);
                    continue;
                }
                Outcome::Reject(why) => ("reject", why),
                Outcome::Retry(why) => ("retries_exhausted", why),
                Outcome::Fault(fault) => (fault.kind(), fault.to_string()),
            };
            match plugin.on_failure {
                OnFailure::Pass => next.push((None, message)),
                OnFailure::Drop => return Folded::Ended(Verdict::Failed),
                OnFailure::Park | OnFailure::Block => {
                    let plugin = NAMES[at].into();
                    return Folded::Ended(Verdict::Park(Parking { plugin, kind, reason: why }));
                }
            }
        }
        row = next;
    }
    let to = |target: Option<String>| target.map_or(To::Onward, |name| To::Target(name.into()));
    match &row[..] {
        [] => Folded::Ended(Verdict::Drop(reason.unwrap_or_else(|| "no output".into()))),
        [(None, message)] if message == input => Folded::Unchanged,
        [(None, message)] => Folded::Changed(message.clone()),
        _ => Folded::Ended(Verdict::Outputs(row.into_iter().map(|(target, one)| (to(target), one)).collect())),
    }
}

fn run(table: &mut Table, first: usize, inputs: &[Message]) -> Result<Vec<Folded>, Interrupted> {
    let input = |(n, message)| Input { id: n as u64, message, received_ms: 0, redelivered: false };
    let inputs: Vec<_> = inputs.iter().enumerate().map(input).collect();
    let mut folded = Vec::new();
    run_here(fold(table, first, &inputs, &mut folded)).map(|()| folded)
}

fn act() -> impl Strategy<Value = Act> {
    let decides = prop_oneof![
        3 => Just(Act::Pass),
        3 => proptest::collection::vec(any::<bool>(), 1..4).prop_map(Act::Forward),
        1 => Just(Act::Drop),
        1 => Just(Act::Reject),
    ];
    decides.prop_recursive(2, 4, 1, |then| {
        prop_oneof![
            (1_u32..5, then.clone()).prop_map(|(times, then)| Act::Retry(times, then.into())),
            (1_u32..5, then).prop_map(|(times, then)| Act::Fault(times, then.into())),
        ]
    })
}

fn plugin() -> impl Strategy<Value = Plugin> {
    let on_failure =
        prop_oneof![Just(OnFailure::Park), Just(OnFailure::Drop), Just(OnFailure::Pass), Just(OnFailure::Block)];
    let plugin = (on_failure, 0_u32..4, proptest::collection::vec(act(), 1..6));
    plugin.prop_map(|(on_failure, attempts, acts)| Plugin { on_failure, attempts, acts })
}

fn inputs(count: usize) -> Vec<Message> {
    (0..count).map(|n| message(&n.to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_batch_is_decided_as_its_messages_are_one_by_one(
        plugins in proptest::collection::vec(plugin(), 0..5), first in 0_usize..5, count in 0_usize..12,
    ) {
        let (mut table, inputs) = (Table::new(&plugins), inputs(count));
        let folded = run(&mut table, first, &inputs).unwrap();
        let expected: Vec<_> = inputs.iter().map(|input| model(&plugins, first, input)).collect();
        prop_assert_eq!(&folded, &expected);
        let failures = |one: &&Folded| matches!(one, Folded::Ended(Verdict::Failed | Verdict::Park(_)));
        prop_assert_eq!(table.failed, expected.iter().filter(failures).count(), "each is told of once");
        // As often as each would be alone, and no oftener: a message that has failed is not asked about further on.
        for ((stage, payload), asked) in &table.asked {
            let (_, again) = asked_alone(&plugins[*stage], &message(std::str::from_utf8(payload).unwrap()));
            prop_assert_eq!(*asked, again + 1);
        }
    }

    #[test]
    fn an_interruption_decides_nothing(plugins in proptest::collection::vec(plugin(), 1..5), patience in 0_usize..8) {
        let (mut whole, mut table, inputs) = (Table::new(&plugins), Table::new(&plugins), inputs(6));
        table.patience = patience;
        let expected = run(&mut whole, 0, &inputs).unwrap();
        match run(&mut table, 0, &inputs) {
            Ok(folded) => prop_assert!(whole.waits.len() <= patience && folded == expected),
            Err(Interrupted) => prop_assert!(whole.waits.len() > patience),
        }
    }
}

fn alone(on_failure: OnFailure, attempts: u32, act: Act) -> Plugin {
    Plugin { on_failure, attempts, acts: vec![act] }
}

#[test]
fn waits_double_within_their_bounds_and_start_over_with_each_message() {
    let plugin = alone(OnFailure::Block, 1, Act::Retry(2, Act::Fault(3, Act::Pass.into()).into()));
    let mut table = Table::new(&[plugin]);
    assert_eq!(run(&mut table, 0, &inputs(2)).unwrap(), [Folded::Unchanged, Folded::Unchanged]);
    let ms: Vec<_> = table.waits.iter().map(Duration::as_millis).collect();
    assert_eq!(ms, [10, 20, 40, 40, 40, 10, 20, 40, 40, 40]);
}

#[test]
fn a_route_that_blocks_waits_for_what_is_not_decided_but_not_for_what_never_will_be() {
    let mut table = Table::new(&[alone(OnFailure::Block, 0, Act::Reject)]);
    let folded = run(&mut table, 0, &inputs(1)).unwrap();
    assert!(matches!(&folded[..], [Folded::Ended(Verdict::Park(parking))] if parking.kind == "reject"), "{folded:?}");
    assert!(table.waits.is_empty());
}

#[test]
fn outputs_leave_in_the_order_of_the_list_wherever_they_go() {
    let both = alone(OnFailure::Park, 0, Act::Forward(vec![true, false, true]));
    let pass = alone(OnFailure::Park, 0, Act::Pass);
    let folded = run(&mut Table::new(&[both, pass]), 0, &inputs(1)).unwrap();
    let [Folded::Ended(Verdict::Outputs(outputs))] = &folded[..] else { panic!("{folded:?}") };
    let names: Vec<_> = outputs.iter().map(|(to, message)| (matches!(to, To::Onward), &message.payload[..])).collect();
    assert_eq!(names, [(true, &b"0.0"[..]), (false, b"0.1"), (true, b"0.2")]);
}
