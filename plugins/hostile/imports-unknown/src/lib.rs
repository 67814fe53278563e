//! Imports `tidegate:hostile/teleport`, which nobody grants: must be refused with that name.

use tidegate_sdk::{Decision, Failure, Message, Plugin, Problems};

#[allow(missing_docs, unsafe_code, unreachable_pub)]
mod bindings {
    tidegate_sdk::wit_bindgen::generate!({
        inline: "package tidegate:hostile; interface teleport { there: func() -> u32; } world unknown { import teleport; }",
        runtime_path: "::tidegate_sdk::wit_bindgen::rt",
    });
}

struct Teleport;

impl Plugin for Teleport {
    type Config = serde::de::IgnoredAny;

    fn configure(_: Self::Config) -> Result<Self, Problems> {
        Ok(Self)
    }

    fn handle(&mut self, _source: &str, _message: Message) -> Result<Decision, Failure> {
        Ok(Decision::drop(bindings::tidegate::hostile::teleport::there().to_string()))
    }
}

tidegate_sdk::plugin!(Teleport);
