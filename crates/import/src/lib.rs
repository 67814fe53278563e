//! Other brokers' configurations made into Tidegate's: a `mosquitto.conf` becomes TOML with comments that say where each
//! line came from, what has no counterpart, and what differs.
//!
//! The path of a file: [`parse`] reads it line by line as mosquitto does, traps included (`words` is the C library,
//! `keywords` the table of all keywords, `topic_line` the one line with a grammar of its own); [`translate`] makes a
//! [`Document`] of the settings; [`Document::to_toml`] writes it.
//!
//! Invariants:
//! - what mosquitto 2.0 refuses is refused, with the line and what to do; what it takes is taken to mean what it makes of it;
//! - nothing is lost in silence: each setting becomes a key, a comment, or stays with the mosquitto that goes on;
//! - a password is in no document, message or `Debug`: only in [`Translation::secrets`];
//! - no bytes make it panic, and it does no I/O but through [`Files`].
//!
//! Start reading at [`parse`], then `translate`.

mod document;
mod dynamic_security;
mod keywords;
mod parse;
mod problem;
mod settings;
mod topic_line;
mod translate;
mod words;

pub use document::Document;
pub use keywords::Keyword;
pub use parse::{Files, MAX_FILE_BYTES, parse};
pub use problem::{Place, Problem, Problems};
pub use settings::{Address, Bridge, Direction, Listener, Mosquitto, Remark, Setting, Side, TopicLine, Value};
pub use translate::{Lost, SecretFile, Translation, Wishes, translate};
