//! Members of sets that are connected and do not do what they are there for: when others take over, and when not.

use super::*;
use crate::fixture::assert_balanced;
use std::time::Duration;
use tidegate_testkit::{Direction, End, FaultProxy, Habit, Match, Mosquitto, MosquittoSub, Script};

/// From `s` to the set `u` of `first` and `second`, with more of the set's keys.
fn set(s: &ScriptedBroker, first: &str, second: &str, keys: &str) -> Tidegate {
    let brokers = link("s", &s.url(), "5", "") + &link("first", first, "5", "") + &link("second", second, "5", "");
    let set = format!("[targets.u]\nmembers = [\"first\", \"second\"]\n{keys}\n");
    Tidegate::start(&(brokers + &set + &named_route("r", "s", &["d/#"], 2, &["u"], "")))
}

/// Taken over from after the shortest time there is.
const SOON_OVER: &str = "takeover_after = \"1s\"";

fn dropped(tidegate: &Tidegate) -> f64 {
    tidegate.metrics().get("tidegate_route_dropped_total", &[]).unwrap_or(0.0)
}

#[test]
fn one_that_acknowledges_nothing_is_taken_over_from_and_comes_back() {
    let s = ScriptedBroker::start(Script::new());
    let (first, second) = (Mosquitto::start(), ScriptedBroker::start(Script::new()));
    let proxy = FaultProxy::start(first.port());
    let at_first = MosquittoSub::start(first.port(), &["-q", "1", "-t", "d/#"]);
    let tidegate = set(&s, &proxy.url(), &second.url(), &format!("{SOON_OVER}\nfailback = \"1s\""));
    send(&s, "d/a", 1, ["well".to_owned()]);
    eventually("the first has it", PATIENCE, || at_first.lines().len() == 1);
    drained(&tidegate);

    proxy.freeze(Direction::ToClient, true);
    send(&s, "d/a", 1, numbered(50));
    arrives(&second, "n0049");
    arrive_in_order(&second, &numbered(50));
    says(&tidegate, &["warn", "failover", "acknowledged nothing for 1s"]);
    let share = |member: &str| tidegate.metrics().get("tidegate_set_share", &[("broker", member)]);
    assert_eq!((share("first"), share("second")), (Some(0.0), Some(1.0)));

    proxy.freeze(Direction::ToClient, false);
    eventually("it goes to the first again", PATIENCE, || share("first") == Some(1.0));
    send(&s, "d/a", 1, ["back".to_owned()]);
    eventually("the first has it", PATIENCE, || at_first.lines().iter().any(|line| line.ends_with("back")));
    drained(&tidegate);
    acknowledged(&s);
    assert!(!second.payloads().contains(&"back".to_owned()));
    assert_eq!(dropped(&tidegate), 0.0);
    assert_balanced(&tidegate);
}

#[test]
fn one_that_refuses_everything_is_taken_over_from_and_nothing_is_dropped() {
    for (code, words) in [(0x87, "not authorized"), (0x97, "quota"), (0x89, "busy")] {
        let s = ScriptedBroker::start(Script::new());
        let refuses = Script::new().always(Habit::RefusePublish(Match::any(), code, "not here"));
        let (first, second) = (ScriptedBroker::start(refuses), ScriptedBroker::start(Script::new()));
        let tidegate = set(&s, &first.url(), &second.url(), &format!("{SOON_OVER}\nfailback = \"1h\""));
        send(&s, "d/a", 1, numbered(20));
        arrives(&second, "n0019");
        arrive_in_order(&second, &numbered(20));
        drained(&tidegate);
        acknowledged(&s);
        assert_eq!(dropped(&tidegate), 0.0, "{words}");
        says(&tidegate, &["warn", "failover"]);
        assert_balanced(&tidegate);
    }
}

#[test]
fn one_message_that_is_refused_ends_there_and_moves_nothing() {
    let s = ScriptedBroker::start(Script::new());
    let refuses = Script::new().always(Habit::RefusePublish(Match::topic("d/deny"), 0x87, "not this"));
    let (first, second) = (ScriptedBroker::start(refuses), ScriptedBroker::start(Script::new()));
    let tidegate = set(&s, &first.url(), &second.url(), SOON_OVER);
    send(&s, "d/a", 1, numbered(5));
    send(&s, "d/deny", 1, ["no".to_owned()]);
    send(&s, "d/a", 1, ["behind".to_owned()]);
    arrives(&first, "behind");
    drained(&tidegate);
    // Also if nothing comes behind it.
    send(&s, "d/deny", 1, ["no".to_owned()]);
    drained(&tidegate);
    acknowledged(&s);
    assert_eq!(tidegate.metrics().get("tidegate_route_dropped_total", &[("reason", "refused_by_target")]), Some(2.0));
    assert_eq!((second.payloads().len(), lines_with(&tidegate, &["failover"])), (0, 0));
    assert_balanced(&tidegate);
}

#[test]
fn a_message_that_breaks_one_member_is_never_taken_along_to_another() {
    let s = ScriptedBroker::start(Script::new());
    let hangs_up = || Script::new().always(Habit::HangUpOnPublish(Match::topic("d/bad"), End::fin()));
    let (first, second) = (ScriptedBroker::start(hangs_up()), ScriptedBroker::start(hangs_up()));
    let tidegate = set(&s, &first.url(), &second.url(), SOON_OVER);
    send(&s, "d/a", 1, ["before".to_owned()]);
    send(&s, "d/bad", 1, ["bad".to_owned()]);
    send(&s, "d/a", 1, numbered(20));
    arrives(&first, "n0019");
    drained(&tidegate);
    assert_eq!(are_parked(&tidegate, 1)[0]["topic"], "d/bad");
    assert_eq!((second.payloads(), lines_with(&tidegate, &["failover"])), (Vec::<String>::new(), 0));
    assert_balanced(&tidegate);
}

#[test]
fn a_member_that_is_slow_gets_fewer_topics_and_all_again_when_it_is_well() {
    let s = ScriptedBroker::start(Script::new());
    let (first, second) = (Mosquitto::start(), Mosquitto::start());
    let proxy = FaultProxy::start(first.port());
    let subs = [&first, &second].map(|member| MosquittoSub::start(member.port(), &["-q", "1", "-t", "d/#"]));
    let keys = "policy = \"balance\"\nrelief = { latency = \"100ms\" }\nfailback = \"1s\"\ntakeover_after = \"1m\"";
    let tidegate = set(&s, &proxy.url(), &second.url(), keys);
    let share = |member: &str| tidegate.metrics().get("tidegate_set_share", &[("broker", member)]).unwrap_or(0.0);
    let (mut round, mut sent) = (0, 0);
    let mut send_all = || {
        round += 1;
        for topic in 0..40 {
            s.publish(Message::new(format!("d/{topic}"), format!("{round}")).at(1));
        }
        sent += 40;
        sent
    };
    send_all();
    eventually("both get some", PATIENCE, || subs.iter().all(|sub| !sub.lines().is_empty()));
    proxy.latency(Duration::from_millis(300));
    eventually("the slow one gets less", PATIENCE, || {
        send_all();
        share("first") < 0.2
    });
    says(&tidegate, &["warn", "relief", "first", "percent=50"]);
    proxy.latency(Duration::ZERO);
    eventually("it gets its half again", PATIENCE * 4, || {
        send_all();
        (share("first") - 0.5).abs() < 0.01
    });
    let sent = send_all();
    eventually("all have come", PATIENCE, || subs.iter().map(|sub| sub.lines().len()).sum::<usize>() >= sent);
    drained(&tidegate);
    let mut numbers: std::collections::BTreeMap<String, Vec<u32>> = std::collections::BTreeMap::new();
    for line in subs.iter().flat_map(MosquittoSub::lines) {
        let (topic, number) = (line.split(' ').next().unwrap_or_default(), line.rsplit(' ').next().unwrap_or_default());
        numbers.entry(topic.to_owned()).or_default().push(number.parse().expect("a number"));
    }
    for (topic, mut all) in numbers {
        all.sort_unstable();
        assert!(all.iter().copied().eq(1..=round), "{topic}: each once, {all:?}");
    }
    assert_balanced(&tidegate);
}
