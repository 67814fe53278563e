//! Sleeps in a WASI poll for each message: no instruction of its own runs while it does, so a deadline that counts
//! those alone would never cut it.

use tidegate_sdk::{Decision, Failure, Message, Plugin, Problems, config::Interval};

#[allow(missing_docs, unsafe_code, unreachable_pub)]
mod bindings {
    tidegate_sdk::wit_bindgen::generate!({
        path: "wit",
        world: "sleep",
        runtime_path: "::tidegate_sdk::wit_bindgen::rt",
        generate_all,
    });
}

use bindings::wasi::{clocks::monotonic_clock::subscribe_duration, io::poll};

/// The plugin's `config` table.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How long, for each message.
    #[serde(default = "an_hour", rename = "for")]
    span: Interval,
    /// By `poll` over a list, not by `block`.
    #[serde(default)]
    poll: bool,
}

fn an_hour() -> Interval {
    Interval { ms: 3_600_000 }
}

struct Sleep(Config);

impl Plugin for Sleep {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        Ok(Self(config))
    }

    fn handle(&mut self, _source: &str, _message: Message) -> Result<Decision, Failure> {
        let pollable = subscribe_duration(self.0.span.ms.saturating_mul(1_000_000));
        if self.0.poll {
            poll::poll(&[&pollable]);
        } else {
            pollable.block();
        }
        Ok(Decision::pass())
    }
}

tidegate_sdk::plugin!(Sleep);
