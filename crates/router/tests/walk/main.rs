//! The walk of messages through a router, told by chance and held against a model. The index:
//!
//! | module | what it shows |
//! |---|---|
//! | `stories` | 10,000 stories (`TIDEGATE_STORIES=1000000` for more, `TIDEGATE_SEED` for the same or others) of traffic, plugins, links, reloads, full disks and crashes: what was acknowledged arrives, is parked or is counted; in order; at QoS 2 once; accounts balance; what plugins remember is there with its decisions; everything ends |
//! | `regression` | stories that went wrong once |
//! | `again` | what a message is when it has waited, was sent and waits once more |
//! | `meshes` | up to four brokers that carry marks, keep to the bridge bit, or do neither, and three gateways: what crosses which route, how often, and that it ends |
//! | `twins` | the same message of two brokers of a source: who is told when |
//! | `story`, `setup` | what may happen, and what may be configured |
//! | `play` | does it to a router: `sending` as sources, `deciding` as plugins, `taking` as targets, `operating` as operators, `restarting` as the next process |
//! | `ledger`, `expect` | what happened to each message, and what must hold at each step and at the end |
//! | `started` | a router with its brokers connected, for tests that need no story |
//! | `source`, `target` | what brokers remember of our sessions; `disk`: the simulated disk behind the spool's door |
//!
//! That these tests can fail: see `docs/mutants.md`.

mod again;
mod deciding;
// The same as that of the spool's own tests.
#[path = "../../../spool/tests/disk.rs"]
mod disk;
mod expect;
mod ledger;
mod meshes;
mod operating;
mod play;
mod regression;
mod restarting;
mod sending;
mod setup;
mod source;
mod started;
mod stories;
mod story;
mod taking;
mod target;
mod twins;
