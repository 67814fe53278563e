//! What stands between the generated exports and a [`Plugin`]; used by [`plugin!`](crate::plugin) alone.

use crate::bindings::migrating::exports::tidegate::gateway::migration::Migrated;
use crate::bindings::tidegate::gateway::types as wit;
use crate::packed::{Messages, Results};
use crate::{Decision, Failure, Message, Migrates, Output, Plugin, Timed, config, log};

const NOT_CONFIGURED: &str = "the gateway calls configure before anything else";

/// Holds natively what only a build for WebAssembly would use.
pub const fn is_plugin<P: Plugin>() {}

/// Reads the configuration and keeps the plugin it makes.
pub fn configure<P: Plugin>(slot: &mut Option<P>, config: &str) -> wit::Verdict {
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    match config::build(config) {
        Ok(plugin) => {
            *slot = Some(plugin);
            wit::Verdict::Accepted
        }
        Err(problems) => wit::Verdict::Refused(problems.into_diagnostics()),
    }
}

/// One decision a message, in order.
pub fn handle<P: Plugin>(slot: &mut Option<P>, source: &str, messages: Vec<Message>) -> Vec<wit::Decision> {
    let plugin = slot.as_mut().expect(NOT_CONFIGURED);
    messages.into_iter().map(|message| decided(plugin.handle(source, message))).collect()
}

fn decided(result: Result<Decision, Failure>) -> wit::Decision {
    match result {
        Ok(Decision::Pass) => wit::Decision::Pass,
        Ok(Decision::Forward(outputs)) => wit::Decision::Forward(outputs.into_iter().map(Output::into_wit).collect()),
        Ok(Decision::Drop(reason)) => wit::Decision::Drop(reason),
        Err(Failure::Reject(reason)) => wit::Decision::Reject(reason),
        Err(Failure::Retry(reason)) => wit::Decision::Retry(reason),
    }
}

/// The same, as one block of bytes each way.
pub fn handle_packed<P: Plugin>(slot: &mut Option<P>, source: &str, block: Vec<u8>) -> Vec<u8> {
    let plugin = slot.as_mut().expect(NOT_CONFIGURED);
    let messages = Messages::new(block);
    let mut results = Results::new(messages.size_hint().0);
    messages.for_each(|message| results.push(&plugin.handle(source, message)));
    results.into_block()
}

/// Brings the state to the version of this plugin.
pub fn migrate<P: Migrates>(left_by: &str, config: &str) -> Migrated {
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    let left_by = Some(left_by).filter(|version| !version.is_empty());
    let migrated = match config::read::<P>(config) {
        Ok(config) => P::migrate(left_by, config),
        Err(problems) => Err(problems.to_string()),
    };
    migrated.map_or_else(Migrated::Refused, |()| Migrated::Done)
}

/// What the timer sends.
pub fn tick<P: Timed>(slot: &mut Option<P>, now_ms: u64) -> Vec<wit::Output> {
    slot.as_mut().expect(NOT_CONFIGURED).tick(now_ms).into_iter().map(Output::into_wit).collect()
}
