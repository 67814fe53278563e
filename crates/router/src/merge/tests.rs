use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidegate_message::{Properties, QoS, Topic};

const LASTS: Duration = Duration::from_secs(10);

fn window(brokers: usize) -> Window {
    let brokers: Vec<BrokerId> = (0..brokers).map(BrokerId::new).collect();
    Window::new(LASTS, TwinKey::Payload, &brokers)
}

fn by(broker: usize) -> Passage {
    Passage { broker, debt: None, packet_id: None, redelivered: false }
}

/// What became of messages of the same content, of these brokers in order.
fn news(window: &mut Window, content: Content, brokers: &[usize], now: Instant) -> Vec<bool> {
    brokers.iter().map(|broker| window.see(content, by(*broker), now) == Sight::News).collect()
}

#[test]
fn twins_go_on_once_and_two_equal_readings_twice() {
    let (mut window, now) = (window(2), Instant::now());
    assert_eq!(news(&mut window, 1, &[0, 1], now), [true, false]);
    assert_eq!(news(&mut window, 1, &[0, 0, 1, 1], now), [true, true, false, false]);
    assert_eq!(news(&mut window, 1, &[1, 0, 0, 1], now), [true, false, true, false]);
    assert_eq!(news(&mut window, 2, &[0], now), [true], "another content");
    assert_eq!((window.copies.len(), window.count), (1, 1), "what both have brought is forgotten");
}

#[test]
fn of_three_brokers_each_may_be_the_first() {
    let (mut window, now) = (window(3), Instant::now());
    assert_eq!(news(&mut window, 1, &[2, 0, 0, 2, 1, 1], now), [true, false, true, false, false, false]);
    assert!(window.copies.is_empty());
}

#[test]
fn a_twin_that_comes_after_the_window_is_news() {
    let (mut window, now) = (window(2), Instant::now());
    assert_eq!(news(&mut window, 1, &[0], now), [true]);
    assert_eq!(news(&mut window, 1, &[0], now + LASTS / 2), [true]);
    assert_eq!(news(&mut window, 1, &[1], now + LASTS), [false], "the twin of the second");
    assert_eq!(news(&mut window, 1, &[1], now + LASTS), [true], "the first is forgotten");
}

#[test]
fn of_too_many_copies_the_oldest_are_forgotten() {
    let (mut window, now) = (window(2), Instant::now());
    for content in 0..2 * COPIES_MAX as u128 {
        assert_eq!(news(&mut window, content, &[0], now), [true]);
        assert!(
            window.count <= COPIES_MAX && window.copies.len() <= COPIES_MAX && window.order.len() <= 2 * COPIES_MAX
        );
    }
    assert_eq!(news(&mut window, COPIES_MAX as u128 - 1, &[1], now), [true], "once more rather than never");
    assert_eq!(news(&mut window, 2 * COPIES_MAX as u128 - 1, &[1], now), [false]);
    // Copies that have left are in no list for long.
    for content in 0..4 * COPIES_MAX as u128 {
        news(&mut window, content << 64, &[0, 1], now);
    }
    assert!(window.order.len() <= 2 * COPIES_MAX + 1);
}

#[test]
fn what_a_broker_sends_again_is_known_by_its_packet_identifier() {
    let (mut window, now) = (window(2), Instant::now());
    let first = Some(First { debt: DebtId::new(7), number: 70 });
    let sent = |debt, id, redelivered| Passage { broker: 0, debt, packet_id: Some(id), redelivered };
    assert_eq!(window.see(1, sent(first, 1, false), now), Sight::News);
    assert_eq!(window.see(1, sent(None, 2, false), now), Sight::News, "an equal reading");
    assert_eq!(window.see(1, sent(None, 1, true), now), Sight::Twin(first), "its broker waits for what waits already");
    assert_eq!(window.see(1, sent(None, 3, true), now), Sight::News, "it never came before");
    assert_eq!(window.see(1, sent(None, 3, true), now + LASTS), Sight::News, "long ago");
    assert_eq!(window.see(2, sent(None, 2, true), now + LASTS), Sight::News, "another message by now");
    window.forget_sent(BrokerId::new(0));
    assert_eq!(window.see(1, sent(None, 3, true), now + LASTS), Sight::News, "another session");
    // A broker that gives the lowest identifier that is free.
    window.see(5, sent(None, 9, false), now);
    window.see(6, sent(None, 9, false), now);
    assert_eq!(window.see(6, sent(None, 9, true), now), Sight::News, "its identifiers say nothing");
}

#[test]
fn a_key_stands_in_place_of_the_payload_where_there_is_one() {
    let hasher = RandomState::new();
    let message = |topic: &str, payload: &str, id: &str| {
        let mut message = Message::new(Topic::new(topic).unwrap(), payload.to_owned(), QoS::AtMostOnce);
        let user = vec![("x".into(), "y".into()), ("id".into(), id.into())];
        message.properties = (!id.is_empty()).then(|| Box::new(Properties { user, ..Properties::default() }));
        message
    };
    let same = |key: &TwinKey, one: &Message, other: &Message| {
        let window = Window::new(LASTS, key.clone(), &[BrokerId::new(0), BrokerId::new(1)]);
        window.content_of(one, true, &hasher) == window.content_of(other, true, &hasher)
    };
    let property = TwinKey::UserProperty("id".to_owned());
    assert!(same(&property, &message("t", "a", "1"), &message("t", "b", "1")));
    assert!(!same(&property, &message("t", "a", "1"), &message("t", "a", "2")));
    assert!(!same(&property, &message("t", "a", "1"), &message("u", "a", "1")), "beside the topic");
    assert!(!same(&property, &message("t", "a", ""), &message("t", "b", "")), "without it the payload tells");
    assert!(!same(&property, &message("t", "1", ""), &message("t", "b", "1")), "and is never taken for one");
    let json = TwinKey::Json("/head/id".to_owned());
    let text = |id: &str, n: u8| message("t", &format!("{{\"n\":{n},\"head\":{{ \"id\" : {id} }}}}"), "");
    assert!(same(&json, &text("7", 1), &text("7", 2)));
    assert!(!same(&json, &text("7", 1), &text("\"7\"", 1)));
    assert!(!same(&json, &message("t", "no json", ""), &message("t", "none", "")));
    let window = window(2);
    let (a, qos) = (message("t", "a", ""), [true, false]);
    let [owed, not] = qos.map(|is_owed| window.content_of(&a, is_owed, &hasher));
    assert_ne!(owed, not, "what may be lost does not stand for what may not");
}

/// One thing that happens at a broker that brings the stream.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The next message of the stream comes from it.
    Brings,
    /// It has lost the next one.
    Loses,
    /// It brings the last one once more, without saying so.
    Repeats,
    /// Time passes, in milliseconds.
    Waits(u64),
}

fn steps(brokers: usize) -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        8 => Just(Step::Brings),
        1 => Just(Step::Loses),
        1 => Just(Step::Repeats),
        1 => (0u64..15_000).prop_map(Step::Waits),
    ];
    proptest::collection::vec((0..brokers, step), 0..400)
}

/// How often each content came from each broker, and how often it went on.
#[derive(Default)]
struct Counts {
    came: BTreeMap<(usize, Content), u32>,
    went: BTreeMap<Content, u32>,
}

impl Counts {
    fn most_of(&self, content: Content, brokers: usize) -> u32 {
        (0..brokers).map(|at| self.came.get(&(at, content)).copied().unwrap_or(0)).max().unwrap_or(0)
    }
}

/// A few contents, so that a device often says the same.
fn play(brokers: usize, stream: &[u8], steps: &[(usize, Step)], see_after: impl Fn(&Counts, Content)) -> Counts {
    let (mut window, mut now, mut counts) = (window(brokers), Instant::now(), Counts::default());
    let mut places = vec![0; brokers];
    for (broker, step) in steps {
        let broker = broker % brokers;
        let (place, mut brings) = (&mut places[broker], None);
        match step {
            Step::Brings => {
                brings = stream.get(*place);
                *place += 1;
            }
            Step::Loses => *place += 1,
            Step::Repeats => brings = place.checked_sub(1).and_then(|before| stream.get(before)),
            Step::Waits(ms) => now += Duration::from_millis(*ms),
        }
        let Some(content) = brings.map(|content| Content::from(*content)) else { continue };
        *counts.came.entry((broker, content)).or_default() += 1;
        if window.see(content, by(broker), now) == Sight::News {
            *counts.went.entry(content).or_default() += 1;
        }
        see_after(&counts, content);
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever brokers lag, lose and repeat: never less goes on than any of them has brought.
    #[test]
    fn nothing_that_a_broker_brings_is_lost(
        brokers in 2usize..5,
        stream in proptest::collection::vec(0u8..4, 200),
        all in steps(5),
    ) {
        play(brokers, &stream, &all, |counts, content| {
            assert!(counts.went.get(&content).copied().unwrap_or(0) >= counts.most_of(content, brokers));
        });
    }

    /// Within the window exactly what the broker has brought that has brought most: each message once, if one of them has
    /// lost none.
    #[test]
    fn within_the_window_each_message_goes_on_once(
        brokers in 2usize..5,
        stream in proptest::collection::vec(0u8..4, 200),
        all in steps(5),
    ) {
        let within: Vec<_> = all.into_iter().filter(|(_, step)| !matches!(step, Step::Waits(_))).collect();
        play(brokers, &stream, &within, |counts, content| {
            assert_eq!(counts.went.get(&content).copied().unwrap_or(0), counts.most_of(content, brokers));
        });
    }
}
