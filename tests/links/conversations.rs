//! Random conversations with brokers that lose, repeat, refuse, delay and invent answers end drained, or with a reason in
//! `/ready` and a metric: none is silent.

use super::*;
use crate::fixture::Dice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidegate_testkit::{Answer, End, Habit, Match, Metrics, Script};

/// How many conversations; `TIDEGATE_CONVERSATIONS` says another number.
const CONVERSATIONS: u64 = 60;

/// At a time, beside other tests and alone; most of them wait.
const AT_A_TIME: usize = 6;
const AT_A_TIME_ALONE: usize = 64;

/// What is not answered is named after a minute.
const LONG: Duration = Duration::from_secs(150);

/// Messages of one conversation, each way.
const MESSAGES: u64 = 12;

/// One habit of those that end sooner or later, and how often it shows.
fn with_some_habit(script: Script, dice: &mut Dice) -> Script {
    let times = dice.between(1, 5) as u32;
    let end = match dice.between(0, 3) {
        0 => End::fin(),
        1 => End::reset(),
        _ => End::says([0x87, 0x8b, 0x90, 0x95, 0x97, 0x9a][dice.between(0, 6) as usize]),
    };
    let which = match dice.between(0, 4) {
        0 => Match::any(),
        1 => Match::topic("a/odd"),
        2 => Match::qos(2),
        _ => Match::larger_than(500),
    };
    match dice.between(0, 24) {
        0 => script.times(times, Habit::LoseSubscribe),
        1 => script.times(times, Habit::LoseSuback),
        2 => script.once(Habit::IgnoreSubscribe),
        3 => script.times(times, Habit::RefuseFilter("a/#", 0x97)),
        4 => script.always(Habit::HangUpOnFilter("b/#", end)),
        5 => script.always(Habit::GrantAtMost(1)),
        6 => script.always(Habit::HangUpOnPublish(which, end)),
        7 => script.times(times, Habit::HangUpOnPublish(which, end)),
        8 => script.times(times, Habit::RefusePublish(which, 0x97, "busy")),
        9 => script.always(Habit::RefusePublish(which, 0x87, "no")),
        10 => script.times(times, Habit::LosePuback(which)),
        11 => script.always(Habit::PubackForQos2),
        12 => script.times(times, Habit::LosePubcomp),
        13 => script.times(times, Habit::HangUpOnPubrel),
        14 => script.always(Habit::HangUpOnUnknownPubrel),
        15 => script.times(times, Habit::PubrecForPubrel),
        16 => script.always(Habit::AnswerTwice),
        17 => script.always(Habit::AnswerWrongId),
        18 => script.times(times, Habit::EndAfterConnack(end)),
        19 => script.times(times, Habit::ForgetSession),
        20 => script.always(Habit::NoDup),
        21 => script.always(Habit::RaiseQos),
        22 => script.always(Habit::AnswerHello(&[5], Answer::End(End::fin()))),
        _ => match dice.between(0, 4) {
            0 => script.once(Habit::IgnorePublish(which)),
            1 => script.always(Habit::IgnoreUnknownPubrel),
            2 => script.times(times, Habit::IgnorePubrel),
            _ => script.always(Habit::NeverAnswerQos2),
        },
    }
}

fn habits(dice: &mut Dice) -> Script {
    (0..dice.between(1, 4)).fold(Script::new(), |script, _| with_some_habit(script, dice))
}

fn metrics(tidegate: &Tidegate) -> Metrics {
    tidegate.get("/metrics").map_or(Metrics::default(), |(_, text)| Metrics::parse(&text))
}

/// Why it is not over, if it is not.
fn waits(tidegate: &Tidegate, s: &ScriptedBroker) -> Option<String> {
    let now = metrics(tidegate);
    let gauge = |name: &str| now.get(name, &[]);
    let (status, said) = tidegate.get("/ready").unwrap_or_default();
    let flowing = ["tidegate_route_in_flight", "tidegate_unacknowledged", "tidegate_spool_queued"];
    let left: Vec<_> = flowing.iter().filter(|name| gauge(name).unwrap_or(0.0) > 0.0).collect();
    let named =
        gauge("tidegate_subscriptions_refused").unwrap_or(0.0) + gauge("tidegate_broker_unanswered").unwrap_or(0.0);
    let no_way_in = ["instead of answering CONNECT", "no answer to CONNECT", "refused the connection"];
    let is_named = named > 0.0 || no_way_in.iter().any(|words| said.contains(words));
    if status == 503 && is_named {
        return None;
    }
    // A link that is deaf has nothing left to do either.
    let filters = s.filters();
    if left.is_empty() && s.unacknowledged() == 0 && status == 200 && filters == ["a/#", "b/#"] {
        return None;
    }
    let unacknowledged = s.unacknowledged();
    Some(format!("{left:?}, {unacknowledged} unacknowledged at the source, {filters:?}, /ready {status} {said:?}"))
}

fn converse(seed: u64) {
    let mut dice = Dice::with(seed);
    let (at_s, at_t) = (habits(&mut dice), habits(&mut dice));
    let words = format!("seed {seed}: s has {at_s:?}, t has {at_t:?}");
    let (s, t) = (ScriptedBroker::start(at_s), ScriptedBroker::start(at_t));
    let version = ["auto", "3.1.1", "5"][dice.between(0, 3) as usize];
    let config = link("s", &s.url(), version, "")
        + &link("t", &t.url(), "auto", "")
        + &named_route("r", "s", &["a/#", "b/#"], 2, &["t"], "");
    let tidegate = Tidegate::builder(&config).spawn();
    within(Duration::from_secs(3), || !s.filters().is_empty());
    let mut sent = 0;
    for n in 0..MESSAGES {
        let topic = if dice.between(0, 4) == 0 { "a/odd" } else { "a/b" };
        let bytes = if dice.between(0, 4) == 0 { 2_000 } else { 10 };
        let (qos, payload) = (dice.between(1, 3) as u8, format!("m{n}-{}", "x".repeat(bytes)));
        if s.filters().iter().any(|filter| filter == "a/#") {
            sent += 1;
        }
        send(&s, topic, qos, [payload]);
        if dice.between(0, 6) == 0 {
            [&s, &t][dice.between(0, 2) as usize].cut(&End::reset());
        }
    }
    let over = within(LONG, || waits(&tidegate, &s).is_none());
    let why = waits(&tidegate, &s).unwrap_or_default();
    assert!(over, "silent: {why}\n{words}{}{}\n{}", s.tail(), t.tail(), tidegate.log());
    // What has left has gone somewhere.
    let now = metrics(&tidegate);
    let sum = |name: &str| now.get(name, &[]).unwrap_or(0.0) as usize;
    let went =
        sum("tidegate_route_out_total") + sum("tidegate_route_dropped_total") + sum("tidegate_route_parked_total");
    let flowing = sum("tidegate_route_in_flight");
    assert!(went + flowing >= sum("tidegate_route_received_total"), "{words}");
    assert!(sum("tidegate_route_imbalance") == 0 && sent <= MESSAGES, "{words}");
    assert!(!tidegate.log().contains("panicked"), "{words}\n{}", tidegate.log());
}

#[test]
fn no_conversation_ends_in_silence() {
    let asked: Option<u64> = std::env::var("TIDEGATE_CONVERSATIONS").ok().and_then(|n| n.parse().ok());
    let conversations = asked.unwrap_or(CONVERSATIONS);
    // Always the same few, unless more are asked for: what is new is for scripts/soak to find.
    let first = if asked.is_some() || std::env::var_os("TIDEGATE_SEED").is_some() { Dice::new().seed } else { 1 };
    println!("TIDEGATE_SEED={first}");
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..if asked.is_some() { AT_A_TIME_ALONE } else { AT_A_TIME } {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= conversations {
                        return;
                    }
                    if std::panic::catch_unwind(|| converse(first.wrapping_add(n))).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    if n % 500 == 499 {
                        println!("{} conversations", n + 1);
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "conversations of {conversations} that failed, each told above");
}
