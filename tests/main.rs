//! End-to-end tests: the real binary, real brokers, real clients.
//!
//! | Module | What it shows |
//! |---|---|
//! | `architecture` | the arrows between crates point one way; every file is a room of its own, and every dependency is used |
//! | `book` | the documentation: its links, its commands, its recipes |
//! | `delivery` | every QoS, version and transport, fan-out, remap, retained, wills, reconnect, target sets |
//! | `embedded` | the box's own broker with paho, mqtt.js and mosquitto's clients |
//! | `examples` | each example, by its one command |
//! | `reload` | swaps of plugins and edits of the configuration under traffic; bad candidates |
//! | `import` | a mosquitto.conf: its grammar, its bridges, held against mosquitto itself; docs/from-mosquitto.md |
//! | `habits` | `test`, `check --connect`, the schema, completions, manual pages, a service that systemd watches |
//! | `hostile` | every hostile plugin beside an honest route |
//! | `kills` | `kill -9` of the gateway at random instants, and SIGTERM, with messages on its disk; `plugin state` |
//! | `languages` | `plugin new`, `build` and `test` in each language, with its compiler |
//! | `links` | brokers with habits: what one loses, refuses or cannot take costs that message at most |
//! | `spool` | quotas, ages, priorities and paces of what waits on disk; full disks; slow targets |
//! | `operate` | the interface, the page in Chromium, the terminal; who may look and who may change something |
//! | `nats` | NATS JetStream as a target and as a source, with gateways and servers that are killed |
//! | `tutorial` | docs/plugins/tutorial.md, in each language |
//! | `check` | what `check` finds, where it says so, in which form |
//! | `clients` | `pub` and `sub` against mosquitto and the own broker, and the demo on a terminal |
//! | `cookbook` | docs/plugins/cookbook.md: each rule does what it says there |
//! | `command` | `explain`, `demo`, `parked`, exit codes |
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod architecture;
mod book;
mod check;
mod clients;
mod command;
mod cookbook;

mod delivery;
mod embedded;
mod examples;
mod fixture;
mod habits;
mod hostile;
mod import;
mod kills;
mod languages;
mod links;
mod nats;
mod operate;
mod reload;
mod spool;
mod tutorial;
