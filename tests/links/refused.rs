//! A refused subscription is a state: in `/ready`, in a metric, in the log; asked for again, while the others live.

use super::*;
use std::time::Duration;
use tidegate_testkit::{End, Habit, Packet, Property, Script};

const REFUSED: &str = "tidegate_subscriptions_refused";

/// It is asked for again slowly.
const SLOW: Duration = Duration::from_secs(120);

fn asks_for(s: &ScriptedBroker, filter: &str) -> usize {
    s.heard(
        |packet| matches!(packet, Packet::Subscribe(_, filters) if filters.iter().any(|(asked, _)| asked == filter)),
    )
}

fn quiet() -> ScriptedBroker {
    ScriptedBroker::start(Script::new())
}

#[test]
fn a_refused_subscription_is_seen_in_ready_the_metric_and_the_log() {
    let answers = [
        ("3.1.1", 0x80, ""),
        ("3.1.1", 0x8f, ""),
        ("5", 0x80, ""),
        ("5", 0x87, "not authorized"),
        ("5", 0x97, "quota"),
    ];
    for (version, code, reason) in answers {
        let (s, t) = (ScriptedBroker::start(Script::new().always(Habit::RefuseFilter("a/no", code))), quiet());
        let tidegate = Tidegate::builder(&line(&s, &t, version, &["a/yes", "a/no"])).spawn();
        not_ready(&tidegate, &["s", "a/no", reason]);
        let is_named = || tidegate.get("/ready").expect("an answer").1.contains("a/yes");
        eventually("the other one is there", PATIENCE, || !is_named());
        counts(&tidegate, REFUSED, &[("broker", "s")], 1);
        says(&tidegate, &["s", "a/no", reason]);
        send(&s, "a/yes", 1, ["yes".to_owned()]);
        arrives(&t, "yes");
        assert_eq!(s.welcomed(), 1, "the connection stays{}", s.tail());
    }
}

#[test]
fn a_refused_subscription_is_asked_for_again_while_connected() {
    for (version, code) in [("3.1.1", 0x80), ("5", 0x97)] {
        let (s, t) = (ScriptedBroker::start(Script::new().once(Habit::RefuseFilter("a/#", code))), quiet());
        let tidegate = Tidegate::builder(&line(&s, &t, version, &["a/#"])).spawn();
        let granted = within(SLOW, || s.filters() == ["a/#"]);
        assert!(granted, "{version}: asked {} times{}", asks_for(&s, "a/#"), s.tail());
        assert_eq!(s.welcomed(), 1);
        ready(&tidegate);
        counts(&tidegate, REFUSED, &[("broker", "s")], 0);
        send(&s, "a/b", 1, ["m".to_owned()]);
        arrives(&t, "m");
    }
}

#[test]
fn a_refused_subscription_is_asked_for_at_each_reload() {
    let (s, t) = (ScriptedBroker::start(Script::new().always(Habit::RefuseFilter("a/#", 0x87))), quiet());
    let mut tidegate = Tidegate::builder(&line(&s, &t, "5", &["a/#"])).spawn();
    not_ready(&tidegate, &["a/#"]);
    for _ in 0..5 {
        let before = asks_for(&s, "a/#");
        tidegate.sighup();
        eventually("it asks again", PATIENCE, || asks_for(&s, "a/#") > before);
    }
    s.learn(Script::new());
    tidegate.sighup();
    eventually("it is granted", PATIENCE, || s.filters() == ["a/#"]);
    ready(&tidegate);
}

#[test]
fn a_subscription_that_is_refused_after_it_was_granted_is_seen_too() {
    let (s, t) = (quiet(), quiet());
    let tidegate = Tidegate::start(&line(&s, &t, "5", &["a/#"]));
    s.learn(Script::new().always(Habit::ForgetSession).always(Habit::RefuseFilter("a/#", 0x87)));
    s.cut(&End::fin());
    not_ready(&tidegate, &["s", "a/#"]);
    counts(&tidegate, REFUSED, &[("broker", "s")], 1);
}

#[test]
fn a_refusal_ends_with_the_route_that_wanted_it() {
    let (s, t) = (ScriptedBroker::start(Script::new().always(Habit::RefuseFilter("a/no", 0x87))), quiet());
    let tidegate = Tidegate::builder(&line(&s, &t, "5", &["a/yes", "a/no"])).spawn();
    not_ready(&tidegate, &["a/no"]);
    tidegate.edit_config(&line(&s, &t, "5", &["a/yes"]));
    ready(&tidegate);
    counts(&tidegate, REFUSED, &[("broker", "s")], 0);
}

/// SUBSCRIBE with one of these filters ends the connection: the others are subscribed, and carry.
#[track_caller]
fn the_others_live(version: &str, script: Script, bad: &[&str], good: &[&str]) {
    let (s, t) = (ScriptedBroker::start(script), quiet());
    let mut topics: Vec<&str> = Vec::new();
    topics.extend(&good[..1]);
    topics.extend(bad);
    topics.extend(&good[1..]);
    let tidegate = Tidegate::builder(&line(&s, &t, version, &topics)).spawn();
    let live = within(PATIENCE, || s.filters() == good);
    assert!(live, "{version}: {:?} are subscribed{}", s.filters(), s.tail());
    for filter in bad {
        not_ready(&tidegate, &["s", filter]);
        says(&tidegate, &["s", filter]);
    }
    counts(&tidegate, REFUSED, &[("broker", "s")], bad.len() as u64);
    eventually("it is back without the bad ones", PATIENCE, || s.is_connected() && s.filters() == good);
    let welcomed = s.welcomed();
    for (n, filter) in good.iter().enumerate() {
        send(&s, &filter.replace('#', "x"), 1, [format!("n{n}")]);
        arrives(&t, &format!("n{n}"));
    }
    assert_eq!(s.welcomed(), welcomed, "the connection stays{}", s.tail());
    // They come back with the connection, without the bad ones.
    s.cut(&End::reset());
    let is_back = || s.welcomed() > welcomed && s.is_connected() && s.filters() == good;
    eventually("it is back, and subscribed", PATIENCE, is_back);
    send(&s, &good[0].replace('#', "x"), 1, ["back".to_owned()]);
    arrives(&t, "back");
    not_ready(&tidegate, bad);
}

#[test]
fn a_filter_whose_subscribe_ends_the_connection_is_found_and_left_out() {
    for version in ["3.1.1", "5"] {
        for end in [End::says(0x9e), End::reset()] {
            let script = Script::new().always(Habit::HangUpOnFilter("$share/g/x/#", end));
            the_others_live(version, script, &["$share/g/x/#"], &["a/#", "b/#"]);
        }
    }
}

#[test]
fn it_is_found_where_the_session_is_not_kept_too() {
    let script = Script::new().always(Habit::HangUpOnFilter("$SYS/#", End::fin())).always(Habit::ForgetSession);
    the_others_live("3.1.1", script, &["$SYS/#"], &["a/#", "b/#"]);
}

#[test]
fn several_of_them_are_found() {
    let script = Script::new()
        .always(Habit::HangUpOnFilter("x/1", End::fin()))
        .always(Habit::HangUpOnFilter("x/2", End::fin()))
        .always(Habit::HangUpOnFilter("x/3", End::fin()));
    the_others_live("5", script, &["x/1", "x/2", "x/3"], &["a/#", "b/#", "c", "d/#"]);
}

#[test]
fn a_filter_that_was_left_out_is_asked_for_at_a_reload() {
    let script = Script::new().always(Habit::HangUpOnFilter("x/#", End::fin()));
    let (s, t) = (ScriptedBroker::start(script), quiet());
    let mut tidegate = Tidegate::builder(&line(&s, &t, "5", &["a/#", "x/#"])).spawn();
    not_ready(&tidegate, &["x/#"]);
    eventually("the other one lives", PATIENCE, || s.filters() == ["a/#"]);
    s.learn(Script::new());
    tidegate.sighup();
    eventually("it is subscribed", PATIENCE, || s.filters() == ["a/#", "x/#"]);
    ready(&tidegate);
}

#[test]
fn what_connack_rules_out_is_refused_at_once() {
    for (property, filter, word) in
        [(Property::no_shared(), "$share/g/x/#", "shared"), (Property::no_wildcards(), "x/+/y", "wildcard")]
    {
        let (s, t) = (ScriptedBroker::start(Script::new().always(Habit::Connack(property))), quiet());
        let tidegate = Tidegate::builder(&line(&s, &t, "5", &["a/b", filter])).spawn();
        not_ready(&tidegate, &["s", filter, word]);
        counts(&tidegate, REFUSED, &[("broker", "s")], 1);
        eventually("the other one lives", PATIENCE, || s.filters() == ["a/b"]);
        assert_eq!(asks_for(&s, filter), 0, "{}", s.tail());
        send(&s, "a/b", 1, ["m".to_owned()]);
        arrives(&t, "m");
    }
}
