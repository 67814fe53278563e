//! What became of messages, as data: how it is recorded, and how two decisions on one message differ.
//!
//! | Room | What is in it |
//! |---|---|
//! | `decision` | a message as it came, and what was decided on it |
//! | `recording` | the entries of a recording, and the blocks that they are written in and read from |
//! | `fields` | two payloads of JSON, field by field |
//! | `differences` | decisions that differ, grouped by how they do |
//! | `words` | decisions for people |
//!
//! Nothing here sends, asks or waits; reading and writing are the caller's.

mod decision;
mod differences;
mod fields;
mod recording;
mod words;

pub use decision::{Content, Decision, End, Payload, Payloads, Properties, Sent};
pub use differences::{Differences, Group, Sample};
pub use fields::{FieldPath, FieldPathError};
pub use recording::{Begin, Entries, Entry, Error, MAGIC, Message, PluginBegin, Tick, Writer, whole_bytes};
pub use words::Harmless;
