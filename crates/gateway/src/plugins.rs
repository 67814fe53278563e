//! The plugins of a route, on a thread of their own.
//!
//! What waits for them comes in by the [`Inbox`]; the thread takes as much as there is, up to a bound, runs each plugin
//! over all of it at once, and hands the verdicts back by the [`Outbox`] in the order the messages came. A swap of plugins
//! takes effect between two takes, so a message is decided by one version. A plugin that loops is cut by the host;
//! whatever it does, no socket waits.
//!
//! | Room | What is in it |
//! |---|---|
//! | `build` | everything slow: read, compile, link, instantiate, configure; what a reload hands over |
//! | `chain` | the plugins that run, each with its circuit and its counters; a swap |
//! | `fold` | what becomes of each message: pure, without thread, clock or Wasm |
//! | `worker` | the thread: takes, ticks, waits, hands back |
//! | `mailbox` | the way in and the way out |

pub(crate) mod build;
mod chain;
mod fold;
mod mailbox;
mod worker;

pub(crate) use chain::NewStage;
pub(crate) use chain::Stage;
pub(crate) use mailbox::{Inbox, Outbox};
pub(crate) use worker::spawn;
