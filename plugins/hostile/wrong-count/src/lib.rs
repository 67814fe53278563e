//! Answers a batch with the wrong number of results: one too few, or as many more as its configuration says.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only a component uses it"))]

use tidegate_sdk::bindings::exports::tidegate::gateway::handler::Guest;
use tidegate_sdk::bindings::tidegate::gateway::types::{Decision, Verdict};
use tidegate_sdk::{Diagnostic, Message};

/// The plugin's `config` table.
#[derive(serde::Deserialize)]
struct Config {
    /// How many results more than messages; may be negative.
    #[serde(default = "one_too_few")]
    surplus: isize,
}

fn one_too_few() -> isize {
    -1
}

std::thread_local! {
    static SURPLUS: std::cell::Cell<isize> = const { std::cell::Cell::new(-1) };
}

struct WrongCount;

impl Guest for WrongCount {
    fn configure(config: String) -> Verdict {
        match serde_json::from_str::<Config>(&config) {
            Ok(config) => {
                SURPLUS.set(config.surplus);
                Verdict::Accepted
            }
            Err(error) => Verdict::Refused(vec![Diagnostic { at: String::new(), message: error.to_string() }]),
        }
    }

    fn handle(_source: String, messages: Vec<Message>) -> Vec<Decision> {
        vec![Decision::Pass; messages.len().saturating_add_signed(SURPLUS.get())]
    }
}

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code)]
const _: () = {
    tidegate_sdk::bindings::export_handler!(WrongCount with_types_in tidegate_sdk::bindings);
};
