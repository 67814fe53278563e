//! What a Tidegate plugin in Rust depends on: messages in, decisions out, one macro.
//!
//! The gateway hands a plugin its `config` table once, then batches of messages. [`Plugin::configure`] turns the first
//! into a value of the plugin's own type, [`Plugin::handle`] turns each message into a [`Decision`], and [`plugin!`]
//! makes a WebAssembly component of the type:
//!
//! ```
//! use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     above: f64,
//!     send_to: String,
//! }
//!
//! struct Alarm(Config);
//!
//! impl Plugin for Alarm {
//!     type Config = Config;
//!
//!     fn configure(config: Config) -> Result<Self, Problems> {
//!         Ok(Self(config))
//!     }
//!
//!     fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
//!         let value: f64 = message.text().and_then(|t| t.trim().parse().ok()).ok_or(Failure::reject("not a number"))?;
//!         Ok(if value > self.0.above { Output::target(&self.0.send_to).into() } else { Decision::pass() })
//!     }
//! }
//!
//! tidegate_sdk::plugin!(Alarm);
//! ```
//!
//! A plugin that acts on time also implements [`Timed`] and says `plugin!(Alarm, timer)`. One that must remember
//! across restarts uses [`state`], and [`Migrates`] once what it remembers has another shape. What is kept in the plugin's own fields is lost when it traps or is replaced.
//!
//! The same code runs natively: `Alarm::configure` and `Alarm::handle` are ordinary functions, and [`testing`] gives
//! them a configuration as JSON. So `cargo test` needs no WebAssembly.
//!
//! Invariants: one decision for each message, in order (the macro's loop sees to it). The payload of a message that
//! passes, or whose output changes only the topic, is never copied. The only `unsafe` code is what the
//! binding macros generate, and the allocator (`memory.rs`). A panic traps, and its message is in the gateway's log.
//!
//! Start reading at [`Plugin`]; [`json`] finds and replaces a field of a payload without building a tree, [`decimal`] computes
//! with its numbers as they are written.

extern crate self as tidegate_sdk; // The generated bindings name their runtime by the path a plugin sees.

#[doc(hidden)]
pub mod bindings;
pub mod config;
pub mod decimal;
mod decision;
#[doc(hidden)]
pub mod export;
pub mod json;
pub mod ledger;
pub mod log;
#[cfg(any(test, target_arch = "wasm32"))]
mod memory;
mod message_key;
pub mod missing;
#[doc(hidden)]
pub mod packed;
pub mod size;
pub mod state;
pub mod template;
pub mod testing;

#[doc(hidden)]
pub use wit_bindgen;

pub use bindings::tidegate::gateway::types::{Diagnostic, Message, Properties, Qos};
pub use config::Problems;
pub use decision::{Decision, Destination, Failure, Output};
pub use message_key::MessageKey;

/// Decides messages: what every plugin is.
pub trait Plugin: Sized + 'static {
    /// The plugin's `config` table. Derive `serde::Deserialize`, with `deny_unknown_fields`, so that a misspelt key is
    /// refused by name and path.
    type Config: serde::de::DeserializeOwned;

    /// Called once, before any message.
    ///
    /// # Errors
    /// Every problem with the configuration, at its path. The gateway refuses the plugin and keeps the version that ran
    /// before.
    fn configure(config: Self::Config) -> Result<Self, Problems>;

    /// Decides one message that came from the broker named `source`.
    ///
    /// # Errors
    /// A [`Failure`] when the plugin cannot decide: the route's `on_failure` says what happens then.
    fn handle(&mut self, source: &str, message: Message) -> Result<Decision, Failure>;
}

/// Acts on time as well, at the interval set in the route.
pub trait Timed: Plugin {
    /// What to send now; `now_ms` is milliseconds since the Unix epoch, the same clock as [`Message::received_ms`].
    ///
    /// Each output must name its topic. [`Output::onward`] goes through the plugins behind this one, like any message.
    fn tick(&mut self, now_ms: u64) -> Vec<Output>;
}

/// Remembers in another way than an earlier version of it did, and brings what that one has left to its own.
///
/// Without it whoever changes what is in the [`state`] must read both.
pub trait Migrates: Plugin {
    /// Which version of the state this plugin reads and writes: any text but the empty one, such as `"2"`. Another one whenever
    /// an earlier version could not read it.
    const STATE_VERSION: &'static str;

    /// Called before anything else where another version has left the state: `None` is one that says nothing of it. Reads what
    /// that one wrote, and writes what this one reads, by [`state`]. It takes effect whole, or not at all. It is called on a copy
    /// first, so more than once.
    ///
    /// # Errors
    /// Why it cannot: the version before keeps running, and the state stays as it was.
    fn migrate(left_by: Option<&str>, config: Self::Config) -> Result<(), String>;
}

/// Makes a component of a type that implements [`Plugin`]; with `, timer`, of one that implements [`Timed`] too, with `, migrates` of
/// one that implements [`Migrates`], with `, timer, migrates` of one that implements both.
///
/// Once in a crate, whose `Cargo.toml` says `crate-type = ["cdylib"]` (and `"rlib"` for tests in other files).
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        $crate::__plugin_handler!($plugin);
    };
    ($plugin:ty, migrates) => {
        $crate::__plugin_handler!($plugin);
        $crate::__plugin_migrates!($plugin);
    };
    ($plugin:ty, timer, migrates) => {
        $crate::plugin!($plugin, timer);
        $crate::__plugin_migrates!($plugin);
    };
    ($plugin:ty, timer) => {
        $crate::__plugin_handler!($plugin);

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            struct Timer;

            impl $crate::bindings::timed::exports::tidegate::gateway::timer::Guest for Timer {
                fn tick(now_ms: u64) -> ::std::vec::Vec<$crate::bindings::tidegate::gateway::types::Output> {
                    __TIDEGATE_PLUGIN.with_borrow_mut(|plugin| $crate::export::tick(plugin, now_ms))
                }
            }

    $crate::bindings::timed::export_timer!(Timer with_types_in $crate::bindings::timed);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __plugin_migrates {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            struct Migration;

            impl $crate::bindings::migrating::exports::tidegate::gateway::migration::Guest for Migration {
                fn state_version() -> ::std::string::String {
                    <$plugin as $crate::Migrates>::STATE_VERSION.into()
                }

                fn migrate(
                    left_by: ::std::string::String,
                    config: ::std::string::String,
                ) -> $crate::bindings::migrating::exports::tidegate::gateway::migration::Migrated {
                    $crate::export::migrate::<$plugin>(&left_by, &config)
                }
            }

    $crate::bindings::migrating::export_migration!(Migration with_types_in $crate::bindings::migrating);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __plugin_handler {
    ($plugin:ty) => {
        const _: () = $crate::export::is_plugin::<$plugin>();

        #[cfg(target_arch = "wasm32")]
        ::std::thread_local! {
            static __TIDEGATE_PLUGIN: ::std::cell::RefCell<::std::option::Option<$plugin>> =
                const { ::std::cell::RefCell::new(::std::option::Option::None) };
        }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            struct Handler;

            impl $crate::bindings::exports::tidegate::gateway::handler::Guest for Handler {
                fn configure(config: ::std::string::String) -> $crate::bindings::tidegate::gateway::types::Verdict {
                    __TIDEGATE_PLUGIN.with_borrow_mut(|plugin| $crate::export::configure(plugin, &config))
                }

                fn handle(
                    source: ::std::string::String,
                    messages: ::std::vec::Vec<$crate::Message>,
                ) -> ::std::vec::Vec<$crate::bindings::tidegate::gateway::types::Decision> {
                    __TIDEGATE_PLUGIN.with_borrow_mut(|plugin| $crate::export::handle(plugin, &source, messages))
                }
            }

    $crate::bindings::export_handler!(Handler with_types_in $crate::bindings);

            impl $crate::bindings::packed::exports::tidegate::gateway::packed::Guest for Handler {
                fn handle_packed(source: ::std::string::String, messages: ::std::vec::Vec<u8>) -> ::std::vec::Vec<u8> {
                    __TIDEGATE_PLUGIN.with_borrow_mut(|plugin| $crate::export::handle_packed(plugin, &source, messages))
                }
            }

    $crate::bindings::packed::export_packed!(Handler with_types_in $crate::bindings::packed);
        };
    };
}
