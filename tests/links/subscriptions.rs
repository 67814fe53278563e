//! What is subscribed is what a SUBACK has granted: a SUBSCRIBE or UNSUBSCRIBE is owed until it is answered.

use super::*;
use crate::fixture::{Dice, run};
use std::collections::BTreeSet;
use tidegate_testkit::{End, Habit, Packet, Property, Script};

fn quiet() -> ScriptedBroker {
    ScriptedBroker::start(Script::new())
}

fn asks(s: &ScriptedBroker) -> usize {
    s.heard(|packet| matches!(packet, Packet::Subscribe(..)))
}

/// One lost answer, at the start, with a session that is kept.
#[track_caller]
fn recovers_from(habit: Habit, version: &str) {
    let (s, t) = (ScriptedBroker::start(Script::new().once(habit)), quiet());
    let tidegate = Tidegate::builder(&line(&s, &t, version, &["a/#"])).spawn();
    let asked_again = within(PATIENCE, || asks(&s) == 2);
    assert!(asked_again, "SUBSCRIBE is owed until it is answered{}", s.tail());
    ready(&tidegate);
    assert_eq!(s.filters(), ["a/#"]);
    send(&s, "a/b", 1, ["m1".to_owned()]);
    arrives(&t, "m1");
}

#[test]
fn a_subscribe_that_is_lost_with_its_connection_is_sent_again() {
    for version in VERSIONS {
        recovers_from(Habit::LoseSubscribe, version);
    }
}

#[test]
fn a_subscribe_whose_answer_is_lost_with_its_connection_is_sent_again() {
    for version in VERSIONS {
        recovers_from(Habit::LoseSuback, version);
    }
}

#[test]
fn a_subscription_without_an_answer_is_not_ready_and_named() {
    for version in ["3.1.1", "5"] {
        let (s, t) = (ScriptedBroker::start(Script::new().always(Habit::HoldSuback)), quiet());
        let tidegate = Tidegate::builder(&line(&s, &t, version, &["a/#"])).spawn();
        not_ready(&tidegate, &["s", "a/#"]);
        s.release();
        ready(&tidegate);
    }
}

#[test]
fn a_subscribe_that_was_never_answered_is_sent_again_in_the_next_connection() {
    for version in ["3.1.1", "5"] {
        let (s, t) = (ScriptedBroker::start(Script::new().once(Habit::IgnoreSubscribe)), quiet());
        let tidegate = Tidegate::builder(&line(&s, &t, version, &["a/#"])).spawn();
        eventually("it asks", PATIENCE, || asks(&s) == 1);
        s.cut(&End::reset());
        eventually("it is subscribed", PATIENCE, || s.filters() == ["a/#"]);
        ready(&tidegate);
    }
}

/// Filters change while both run; what is lost is the first packet that says so.
#[track_caller]
fn a_reload_ends_with(habit: Habit, version: &str, before: &[&str], after: &[&str]) {
    let (s, t) = (quiet(), quiet());
    let tidegate = Tidegate::start(&line(&s, &t, version, before));
    s.learn(Script::new().once(habit));
    tidegate.edit_config(&line(&s, &t, version, after));
    let wanted = within(PATIENCE, || s.filters() == after && s.welcomed() > 1);
    assert!(wanted, "{version}: {after:?} are wanted, {:?} are there{}", s.filters(), s.tail());
    ready(&tidegate);
}

#[test]
fn a_filter_that_is_added_at_a_reload_is_owed_too() {
    for version in ["3.1.1", "5"] {
        a_reload_ends_with(Habit::LoseSubscribe, version, &["a/#"], &["a/#", "b/#"]);
        a_reload_ends_with(Habit::LoseSuback, version, &["a/#"], &["a/#", "b/#"]);
    }
}

#[test]
fn a_filter_that_is_taken_out_at_a_reload_is_unsubscribed_whatever_is_lost() {
    for version in ["3.1.1", "5"] {
        a_reload_ends_with(Habit::LoseUnsubscribe, version, &["a/#", "b/#"], &["a/#"]);
        a_reload_ends_with(Habit::LoseUnsuback, version, &["a/#", "b/#"], &["a/#"]);
    }
}

#[test]
fn a_change_of_qos_that_is_lost_is_asked_for_again() {
    for version in ["3.1.1", "5"] {
        let (s, t) = (quiet(), quiet());
        let config = line(&s, &t, version, &["a/#"]);
        let tidegate = Tidegate::start(&config);
        assert_eq!(s.subscriptions()["a/#"].qos, 2);
        s.learn(Script::new().once(Habit::LoseSubscribe));
        tidegate.edit_config(&config.replace("qos = 2", "qos = 1"));
        eventually("the new QoS is granted", PATIENCE, || s.subscriptions()["a/#"].qos == 1);
        ready(&tidegate);
    }
}

/// The filters change while the gateway is away, in a session that the broker keeps.
#[track_caller]
fn a_change_while_stopped_is_seen_at_the_start(version: &str, script: Script) {
    let (s, t) = (quiet(), quiet());
    let mut tidegate = Tidegate::start(&line(&s, &t, version, &["old/#", "same/#"]));
    tidegate.terminate(PATIENCE);
    s.learn(script);
    tidegate.edit_config(&line(&s, &t, version, &["new/#", "same/#"]));
    tidegate.relaunch();
    let wanted = within(PATIENCE, || s.filters() == ["new/#", "same/#"]);
    assert!(wanted, "{version}: {:?}{}", s.filters(), s.tail());
    ready(&tidegate);
}

#[test]
fn a_filter_that_was_removed_while_the_gateway_was_stopped_is_unsubscribed() {
    for version in ["3.1.1", "5"] {
        a_change_while_stopped_is_seen_at_the_start(version, Script::new());
    }
}

#[test]
fn a_filter_that_was_removed_while_stopped_is_unsubscribed_even_if_that_is_lost_at_first() {
    for version in ["3.1.1", "5"] {
        a_change_while_stopped_is_seen_at_the_start(version, Script::new().once(Habit::LoseUnsubscribe));
        a_change_while_stopped_is_seen_at_the_start(version, Script::new().once(Habit::LoseSubscribe));
    }
}

#[test]
fn a_filter_that_was_removed_after_a_kill_is_unsubscribed() {
    let (s, t) = (quiet(), quiet());
    let mut tidegate = Tidegate::start(&line(&s, &t, "5", &["a/#"]));
    tidegate.edit_config(&line(&s, &t, "5", &["a/#", "b/#"]));
    eventually("it is subscribed", PATIENCE, || s.filters() == ["a/#", "b/#"]);
    tidegate.kill();
    tidegate.edit_config(&line(&s, &t, "5", &["a/#"]));
    tidegate.relaunch();
    eventually("it is unsubscribed", PATIENCE, || s.filters() == ["a/#"]);
    ready(&tidegate);
}

/// Cuts, lost answers, reloads, restarts, sessions kept and lost, in any order: the broker ends with what is wanted.
#[test]
fn whatever_happens_the_broker_ends_with_the_wanted_filters() {
    const ROUNDS: u64 = 40;
    const FILTERS: [&str; 4] = ["a/#", "b/+", "c", "d/e/#"];
    let mut dice = Dice::new();
    println!("TIDEGATE_SEED={}", dice.seed);
    for version in ["3.1.1", "5"] {
        let (s, t) = (quiet(), quiet());
        let mut wanted = vec!["a/#"];
        let mut tidegate = Tidegate::start(&line(&s, &t, version, &wanted));
        for round in 0..ROUNDS {
            let lost = match dice.between(0, 6) {
                0 => Script::new().once(Habit::LoseSubscribe),
                1 => Script::new().once(Habit::LoseSuback),
                2 => Script::new().once(Habit::LoseUnsubscribe),
                3 => Script::new().once(Habit::LoseUnsuback),
                4 => Script::new().times(2, Habit::LoseSubscribe).once(Habit::LoseUnsubscribe),
                _ => Script::new(),
            };
            let lost = if dice.between(0, 3) == 0 { lost.once(Habit::ForgetSession) } else { lost };
            s.learn(lost);
            wanted = FILTERS.into_iter().filter(|_| dice.between(0, 2) == 0).collect();
            if wanted.is_empty() {
                wanted.push("c");
            }
            let config = line(&s, &t, version, &wanted);
            match dice.between(0, 4) {
                0 => {
                    tidegate.edit_config(&config);
                    s.cut(&End::reset());
                }
                1 => {
                    tidegate.terminate(PATIENCE);
                    tidegate.edit_config(&config);
                    tidegate.relaunch();
                }
                2 => {
                    tidegate.edit_config(&config);
                    tidegate.kill();
                    tidegate.relaunch();
                }
                _ => tidegate.edit_config(&config),
            }
            if dice.between(0, 2) == 0 {
                s.cut(&End::fin());
            }
            let expected: BTreeSet<&str> = wanted.iter().copied().collect();
            let settled =
                || s.filters().iter().map(String::as_str).collect::<BTreeSet<_>>() == expected && tidegate.is_ready();
            let seed = dice.seed;
            let done = within(PATIENCE, settled);
            assert!(
                done,
                "{version}, round {round}, seed {seed}: {expected:?} wanted, {:?} there{}",
                s.filters(),
                s.tail()
            );
        }
    }
}

/// A source is subscribed before anything is published to it that its answer depends on.
#[test]
fn nothing_is_published_to_a_source_before_all_its_subacks() {
    let (s, t, other) = (ScriptedBroker::start(Script::new().always(Habit::HoldSuback)), quiet(), quiet());
    let config = link("s", &s.url(), "5", "")
        + &link("t", &t.url(), "5", "")
        + &link("other", &other.url(), "5", "")
        + &named_route("answers", "s", &["resp/#"], 1, &["t"], "")
        + &named_route("questions", "t", &["req/#"], 1, &["s", "other"], "");
    let tidegate = Tidegate::builder(&config).spawn();
    eventually("both sides ask", PATIENCE, || asks(&s) == 1 && t.filters() == ["req/#"]);
    for n in numbered(3) {
        send(&t, "req/x", 1, [n.clone()]);
        arrives(&other, &n);
    }
    assert_eq!(s.payloads(), Vec::<String>::new(), "a question before the answer could come{}", s.tail());
    s.release();
    arrives(&s, "n0002");
    ready(&tidegate);
}

/// Two routes, one of whose filters lies within the other's, at a broker that sends a copy for each.
#[track_caller]
fn each_route_gets_it_once(version: &str, script: Script) {
    let (s, t) = (ScriptedBroker::start(script), quiet());
    let brokers = link("s", &s.url(), version, "") + &link("t", &t.url(), version, "");
    let r0 = named_route("r0", "s", &["a/#"], 1, &["t"], "remap = { prefix = \"r0/\" }");
    let r1 = named_route("r1", "s", &["a/b"], 1, &["t"], "remap = { prefix = \"r1/\" }");
    let tidegate = Tidegate::start(&format!("{brokers}{r0}{r1}"));
    send(&s, "a/b", 1, ["once".to_owned()]);
    send(&s, "a/end", 1, ["end".to_owned()]);
    arrives(&t, "end");
    drained(&tidegate);
    let mut topics = t.topics();
    topics.sort();
    assert_eq!(topics, ["r0/a/b", "r0/a/end", "r1/a/b"], "{version}{}", s.tail());
    // The wider one goes: the narrower one must be asked for.
    tidegate.edit_config(&format!("{brokers}{r1}"));
    eventually("the narrower one is subscribed", PATIENCE, || s.filters() == ["a/b"]);
    send(&s, "a/b", 1, ["alone".to_owned()]);
    arrives(&t, "alone");
}

#[test]
fn overlapping_filters_do_not_double_where_there_are_no_ids() {
    let copies = || Script::new().always(Habit::CopyPerFilter);
    each_route_gets_it_once("3.1.1", copies());
    each_route_gets_it_once("5", copies().always(Habit::Connack(Property::no_ids())));
}

#[test]
fn overlapping_filters_do_not_double_with_ids_either() {
    each_route_gets_it_once("5", Script::new().always(Habit::CopyPerFilter));
}

#[test]
fn check_warns_of_filters_that_overlap_beyond_telling() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gw.toml");
    let config = "[gateway]\nname = \"g\"\ndata_dir = \"data\"\n".to_owned()
        + &link("s", "mqtt://127.0.0.1:1", "3.1.1", "")
        + &link("t", "mqtt://127.0.0.1:2", "3.1.1", "")
        + &named_route("r0", "s", &["a/+"], 1, &["t"], "")
        + &named_route("r1", "s", &["+/b"], 1, &["t"], "");
    std::fs::write(&path, config).expect("the configuration written");
    let output = run(&["check", "--config", &path.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let warns = said.lines().any(|line| line.contains("warning") && line.contains("a/+") && line.contains("+/b"));
    assert!(warns && output.status.success(), "{said}");
}
