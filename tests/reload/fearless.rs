//! Rules changed in every way there is, by chance, under load and through kills: what decides is what is said to run, and what ran
//! before a kill runs after it.

use super::*;
use crate::fixture::Dice;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const STEPS: usize = 24;
const SECOND: &str = "plugins/next.wasm";

struct Story {
    // Dropped in this order.
    witness: Witness,
    tidegate: Tidegate,
    house: House,
    /// What each component leaves behind.
    marks: BTreeMap<String, &'static str>,
    candidate: String,
    is_second: bool,
    told: Vec<String>,
}

impl Story {
    fn command(&self, words: &[&str]) -> std::process::Output {
        command_of(&self.tidegate, "plugin", words)
    }

    /// The digest of the version that runs.
    fn runs(&self) -> String {
        let told = good(self.command(&["versions", "marked", "--json"]));
        let last: Value = serde_json::from_str(told.lines().last().expect("a version")).expect("JSON");
        last["digest"].as_str().expect("a digest").to_owned()
    }

    /// The mode of what is tried, and its digest.
    fn tried(&self) -> Option<(String, String)> {
        let told = self.command(&["diff", "marked", "--json"]);
        let found: Value = serde_json::from_slice(&told.stdout).ok()?;
        let text = |key: &str| found[key].as_str().expect("a text").to_owned();
        Some((text("mode"), text("digest")))
    }

    fn save_config(&mut self, candidate: &str) {
        self.candidate = candidate.to_owned();
        let rest = if candidate.is_empty() {
            MAIN.to_owned()
        } else {
            MAIN.replace(
                "    [[routes]]",
                &format!("    [plugins.marked.candidate]\n    path = \"{SECOND}\"\n    {candidate}\n    [[routes]]"),
            )
        };
        applied_after(&self.tidegate, || self.tidegate.edit_config(&self.house.config(&rest)));
    }

    /// What is seen is decided by what is said to run, and of a canary's topics by that.
    #[track_caller]
    fn check(&self) {
        let (runs, tried) = (self.runs(), self.tried());
        let mark = self.marks[&runs];
        let begin = self.witness.count() + 300;
        eventually("more comes", PATIENCE, || self.witness.count() > begin + 600);
        let seen: BTreeSet<(String, String)> =
            self.witness.arrivals().into_iter().skip(begin).map(|one| (one.topic, one.mark)).collect();
        let topics: BTreeSet<&String> = seen.iter().map(|(topic, _)| topic).collect();
        assert_eq!(topics.len(), seen.len(), "a topic has one decider: {seen:?} {:?}", self.told);
        let allowed = |seen: &str| match &tried {
            Some((mode, digest)) if mode == "canary" => seen == mark || seen == self.marks[digest],
            _ => seen == mark,
        };
        assert!(seen.iter().all(|(_, seen)| allowed(seen)), "{mark}, {tried:?}: {seen:?} {:?}", self.told);
    }

    fn step(&mut self, dice: &mut Dice) {
        let what = dice.between(0, 8);
        let told = match what {
            0 => {
                self.is_second = !self.is_second;
                let component = plugin(if self.is_second { "versioned-v2" } else { "versioned-v1" });
                applied_after(&self.tidegate, || self.tidegate.replace_file(PLUGIN, &component));
                assert_eq!(self.marks[&self.runs()], if self.is_second { " v2" } else { " v1" }, "{:?}", self.told);
                "save"
            }
            1 => {
                let before = self.runs();
                let said = self.command(&["rollback", "marked"]);
                assert!(!said.status.success() || self.runs() != before, "{:?}", self.told);
                "roll back"
            }
            2 if self.candidate != "mode = \"shadow\"" => {
                self.save_config("mode = \"shadow\"");
                "shadow"
            }
            3 | 4 => {
                let share = dice.between(1, 100);
                let candidate = format!("mode = \"canary\"\n    share = \"{share}%\"");
                if candidate != self.candidate {
                    self.save_config(&candidate);
                }
                "canary"
            }
            5 => {
                let tried = self.tried();
                let said = self.command(&["promote", "marked"]);
                assert_eq!(said.status.success(), tried.is_some(), "{said:?} {:?}", self.told);
                if let Some((_, digest)) = tried {
                    assert_eq!((self.runs(), self.tried()), (digest, None), "{:?}", self.told);
                }
                "promote"
            }
            6 => {
                let (runs, tried) = (self.runs(), self.tried());
                assert_eq!(self.command(&["abandon", "marked"]).status.success(), tried.is_some(), "{:?}", self.told);
                assert_eq!((self.runs(), self.tried()), (runs, None), "{:?}", self.told);
                "abandon"
            }
            _ => {
                let before = (self.runs(), self.tried());
                self.tidegate.kill();
                self.tidegate.restart();
                let after = || (self.runs(), self.tried());
                eventually("it carries again", PATIENCE, || {
                    let count = self.witness.count();
                    within(PATIENCE, || self.witness.count() > count);
                    true
                });
                assert_eq!(after(), before, "what ran before a kill runs after it: {:?}", self.told);
                "kill"
            }
        };
        self.told.push(told.to_owned());
    }
}

/// So many stories; one without it.
const STORIES_VARIABLE: &str = "TIDEGATE_VERSION_STORIES";

#[test]
fn whatever_is_done_what_decides_is_what_is_said_to_run() {
    let stories = std::env::var(STORIES_VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    let mut dice = Dice::new();
    println!("seed {}", dice.seed);
    for _ in 0..stories {
        tell(&mut dice);
    }
}

#[track_caller]
fn tell(dice: &mut Dice) {
    let house = House::new();
    let tidegate = house.gateway(MAIN).file(SECOND, plugin("versioned-v2")).start();
    let (witness, publisher) = (house.witness("main"), house.publish("dev", 2_000));
    let marks = BTreeMap::new();
    let (candidate, told) = (String::new(), Vec::new());
    let mut story = Story { house, tidegate, witness, marks, candidate, is_second: false, told };
    let first = story.runs();
    story.marks.insert(first, " v1");
    story.save_config("mode = \"shadow\"");
    let (_, second) = story.tried().expect("a shadow");
    story.marks.insert(second, " v2");
    for _ in 0..STEPS {
        story.step(dice);
        story.check();
    }
    let sent = publisher.stop() as usize;
    within(PATIENCE, || story.witness.count() >= sent);
    let check = || story.house.ledger.check_of("main", |id| id.key.starts_with("dev"));
    within(PATIENCE, || check().missing.is_empty());
    let check = check();
    let check = check.assert_at_least_once().assert_nothing_missing();
    // What was under way at a kill comes again, behind what came since.
    if !story.told.iter().any(|told| told == "kill") {
        check.assert_exactly_once().assert_in_order();
    }
}
