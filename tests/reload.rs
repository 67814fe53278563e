//! The gateway follows its files while traffic flows, and refuses bad ones with every reason.
//!
//! | Module | What it shows |
//! |---|---|
//! | `swaps` | plugins saved in every way an editor or a deployment saves them |
//! | `told` | what the log says of a reload: each change once, by its key; warnings as warnings |
//! | `watched` | which files are followed: the configuration under any name, secrets, users; whatever else is written there |
//! | `backlog` | what is in the spool is dropped by no edit, and can be moved or discarded by hand |
//! | `fearless` | rules changed in every way there is, by chance, under load and through kills |
//! | `foretold` | what an edit means to messages that wait is said with it, and before it by `check --running` |
//! | `full` | a full queue, for which sources wait, that nothing is sent to any more |
//! | `history` | the configurations that ran, how they differ, and back to one |
//! | `included` | a configuration of several files, with variables |
//! | `many_routes` | one of 10,000 routes is changed |
//! | `migrated` | what a plugin remembers is brought to another version, whole, and back |
//! | `candidates` | another version is tried beside the one that runs |
//! | `edits` | the configuration edited, every third time wrongly |
//! | `planned` | what an edit would change, and what would be decided otherwise, before it is saved |
//! | `probation` | a version that fails goes by itself, and what it put aside is decided by the one before |
//! | `refused` | what is no good leaves the old one running and says why |
//! | `replayed` | messages are recorded with what is decided on each, and decided again elsewhere |
//! | `rollback` | an earlier version of a plugin runs again, until another one is saved |

mod backlog;
mod candidates;
mod edits;
mod fearless;
mod foretold;
mod full;
mod history;
mod included;
mod many_routes;
mod migrated;
mod planned;
mod probation;
mod refused;
pub(crate) mod replayed;
mod rollback;
mod swaps;
mod told;
mod watched;

use crate::fixture::{PATIENCE, Witness, assert_balanced, plugin};
use std::process::{Command, Output};
use tidegate_testkit::{
    ClientOptions, Ledger, Metrics, Mosquitto, Publisher, PublisherOptions, Tidegate, TidegateBuilder, Version,
    eventually, within,
};

/// Messages a second of the main route.
const RATE: u32 = 3_000;

/// Where the plugin of most tests is, beside the configuration.
const PLUGIN: &str = "plugins/marked.wasm";

/// One route from `dev/+/temp` at home to `main/#` at the office, through a plugin that marks each message.
const MAIN: &str = r#"
    [plugins.marked]
    path = "plugins/marked.wasm"
    limits = { deadline = "5s" }
    [[routes]]
    name = "main"
    from = { broker = "home", topics = ["dev/+/temp"] }
    plugins = ["marked"]
    to = ["office"]
    remap = { strip = "dev/", prefix = "main/" }
"#;

/// Two brokers, and what was published on one and seen on the other.
struct House {
    home: Mosquitto,
    office: Mosquitto,
    ledger: Ledger,
}

impl House {
    #[track_caller]
    fn new() -> Self {
        Self { home: Mosquitto::start(), office: Mosquitto::start(), ledger: Ledger::new() }
    }

    /// The brokers, and `rest`.
    fn config(&self, rest: &str) -> String {
        let (home, office) = (self.home.url(), self.office.url());
        format!("[brokers.home]\nurl = \"{home}\"\n[brokers.office]\nurl = \"{office}\"\n{rest}")
    }

    /// A gateway with `rest`, and `versioned-v1` as the plugin.
    fn gateway(&self, rest: &str) -> TidegateBuilder {
        Tidegate::builder(&self.config(rest)).file(PLUGIN, plugin("versioned-v1"))
    }

    /// Publishes to `<folder>/<key>/temp` at QoS 1; the keys begin with the folder.
    #[track_caller]
    fn publish(&self, folder: &str, rate: u32) -> Publisher {
        let client = ClientOptions::new(Version::V5, &format!("publisher-{folder}"));
        let mut options = PublisherOptions::new(client, &format!("{folder}/{{key}}/temp"));
        (options.rate, options.key_prefix) = (rate, folder.to_owned());
        Publisher::start(self.home.port(), options, &self.ledger)
    }

    #[track_caller]
    fn witness(&self, name: &str) -> Witness {
        Witness::start(self.office.port(), name, &format!("{name}/#"), &self.ledger)
    }

    /// Stops publishing, waits for all of it, and checks that it came once and in order.
    #[track_caller]
    fn assert_all_came(&self, folder: &str, publisher: Publisher, witness: &Witness, name: &str, at_least: usize) {
        let sent = publisher.stop() as usize;
        // If not, the check says what is missing.
        within(PATIENCE, || witness.count() >= sent);
        let check = self.ledger.check_of(name, |id| id.key.starts_with(folder));
        check.assert_exactly_once().assert_in_order().assert_nothing_missing().assert_published(at_least);
    }
}

/// `tidegate GROUP WORDS...` about this gateway.
fn command_of(tidegate: &Tidegate, group: &str, words: &[&str]) -> Output {
    let file = tidegate.dir().join("tidegate.toml").display().to_string();
    let mut command = Command::new(Tidegate::binary());
    command.arg(group).args(words).args(["--config", &file]).output().expect("tidegate runs")
}

/// What a command has printed that has to be well.
#[track_caller]
fn good(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A counter or gauge without labels, or the sum over all of them.
fn value(metrics: &Metrics, name: &str) -> u64 {
    metrics.get(name, &[]).unwrap_or_default() as u64
}

fn reloads(tidegate: &Tidegate) -> u64 {
    value(&tidegate.metrics(), "tidegate_reloads_total")
}

fn refused(tidegate: &Tidegate) -> u64 {
    value(&tidegate.metrics(), "tidegate_reloads_refused_total")
}

/// Does something, and waits until it has made for one more applied reload.
#[track_caller]
fn applied_after(tidegate: &Tidegate, change: impl FnOnce()) {
    let before = reloads(tidegate);
    change();
    eventually("the change is applied", PATIENCE, || reloads(tidegate) > before);
}

/// Does something, and waits until it has made for one more refused reload; returns what the log says about it.
#[track_caller]
fn refused_after(tidegate: &Tidegate, change: impl FnOnce()) -> String {
    let (before, logged) = (refused(tidegate), tidegate.log().len());
    change();
    eventually("the change is refused", PATIENCE, || refused(tidegate) > before);
    let reason = || tidegate.log()[logged..].to_owned();
    eventually("the reason is logged", PATIENCE, || reason().contains("reload refused, what ran keeps running: "));
    reason()
}

/// Nothing reconnected since the start, and no session was lost.
#[track_caller]
fn assert_undisturbed(metrics: &Metrics, brokers: &[&str]) {
    for broker in brokers {
        let of = [("broker", *broker)];
        assert_eq!(metrics.get("tidegate_broker_connects_total", &of), Some(1.0), "{broker} was reconnected");
        assert_eq!(metrics.get("tidegate_broker_sessions_lost_total", &of), Some(0.0), "{broker} lost its session");
    }
}
