//! `sparkplug` makes JSON of Sparkplug B, and Sparkplug B of JSON.
//!
//! A message on a topic of Sparkplug is read: its payload is taken apart (`payload.rs`, over `wire.rs`), what its metrics
//! are called and what datatypes they have is looked up in the birth of their edge node or device (`births.rs`), each
//! value is understood by its datatype (`value.rs`), and JSON is written of it (`read.rs`). A message on one of the topics of
//! `write` goes the other way (`write.rs`, `encode.rs`). Everything else passes.
//!
//! Invariants: a metric whose datatype is not known is never guessed at. A metric that cannot be read costs itself only, and says
//! so in an `error` of its own. Births are learnt of every message that holds one, whatever else becomes of it, and live in
//! the durable state: a swap or a restart costs none. A message that is delivered again is read as it was at first, for
//! nothing is dropped because it was seen. What is held is bounded before it is held: metrics, bytes of JSON, bytes of births.
//!
//! Start reading at [`Sparkplug::handle`](tidegate_sdk::Plugin::handle), then `read.rs`.

mod births;
mod config;
mod datatype;
mod encode;
mod json;
mod payload;
mod read;
mod topic;
mod value;
mod wire;
mod write;

use births::Births;
pub use config::Config;
use read::Rebirths;
use tidegate_sdk::{Decision, Failure, Message, Plugin, Problems, Properties};
use topic::{Template, Topic};
use write::Counters;

/// The plugin.
pub struct Sparkplug {
    config: Config,
    topic: Template,
    births: Births,
    rebirths: Rebirths,
    counters: Counters,
}

impl Plugin for Sparkplug {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        config.problems().or(|| Self {
            topic: config.topic(),
            births: Births::new(config.max_births_bytes),
            rebirths: Rebirths::default(),
            counters: Counters::default(),
            config,
        })
    }

    fn handle(&mut self, source: &str, message: Message) -> Result<Decision, Failure> {
        match Topic::parse(&message.topic) {
            Topic::Sparkplug(address) => self.read(source, &message, address),
            Topic::Wrong(why) => Err(Failure::reject(why)),
            Topic::Other if self.config.write.is_some() => self.write(&message),
            Topic::State | Topic::Other => Ok(Decision::pass()),
        }
    }
}

/// The properties of a message whose payload was replaced by one of this type; none if they are still true.
fn retyped(properties: &Properties, content_type: Option<&str>) -> Option<Properties> {
    let says_nothing = properties.content_type.is_none() && !properties.payload_is_utf8;
    (!says_nothing).then(|| Properties {
        content_type: content_type.map(str::to_owned),
        payload_is_utf8: content_type.is_some(),
        ..properties.clone()
    })
}

tidegate_sdk::plugin!(Sparkplug);

#[cfg(test)]
mod tests;
