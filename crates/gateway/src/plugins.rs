//! The plugins of a route: on the data path's thread while they are quick, on a thread of their own when they are not.
//!
//! The plugins are a worker's, which rests in the route's [`Inbox`]. A few parcels that nothing of the route waits before
//! are decided at once on the data path's thread ([`Inbox::decide_here`]): the call is left, whole, to the route's thread
//! as soon as it would wait, or after one slice of computing, so that no socket waits longer. Everything else waits in the
//! inbox; the thread takes as much as there is, up to a bound, runs each plugin over all of it at once, and hands the
//! verdicts back by the [`Outbox`] in the order the messages came. A swap of plugins takes effect between two batches, so a
//! message is decided by one version. A plugin that loops is cut by the host.
//!
//! | Room | What is in it |
//! |---|---|
//! | `build` | everything slow: read, compile, link, instantiate, configure; what a reload hands over |
//! | `compile` | components compiled side by side |
//! | `candidate`, `shadow`, `canary` | another version that is tried beside one that runs |
//! | `stage` | a plugin that runs, with its circuit and its counters |
//! | `chain` | the plugins of a route, one after the other; a swap |
//! | `crew` | the workers of a route, and whose message is whose |
//! | `fold` | what becomes of each message: pure, without thread, clock or Wasm |
//! | `rerun` | a route's plugins on messages of a recording |
//! | `worker` | takes, ticks, waits, hands back; its thread |
//! | `migration` | what a plugin remembers, brought to another version |
//! | `instances` | a plugin's instances, one for each worker |
//! | `mailbox` | the way in and the way out; who decides where |

pub(crate) mod build;
mod canary;
mod candidate;
mod chain;
pub(crate) mod compile;
mod crew;
mod fold;
mod instances;
mod mailbox;
mod migration;
mod rerun;
mod shadow;
mod stage;
mod worker;

pub(crate) use chain::{NewStage, Swap};
pub(crate) use crew::{Crew, Post};
pub(crate) use mailbox::{Here, Outbox};
pub(crate) use rerun::Rerun;
pub(crate) use stage::Stage;
pub(crate) use worker::removed;

/// Where parcels wait for the plugins of a route.
pub(crate) type Inbox = mailbox::Inbox<worker::Worker>;
