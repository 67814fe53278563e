//! What a message is when it has waited, was sent, and waits once more; and when its source is told.

use crate::source::Token;
use crate::started::{US, started};
use crate::target::Shared;
use std::time::{Duration, Instant};
use tidegate_message::{Message, Properties, QoS, Topic};
use tidegate_router::{Arrival, Audience, BrokerId, Moment, Refused, Router, Ticket};

/// Brokers `a`, `b` and `c`, a set `s` of the last two, and what is added to that.
struct Small {
    router: Router<Token, Shared>,
    ids: Vec<BrokerId>,
    start: Instant,
    elapsed: Duration,
}

impl Small {
    fn new(rest: &str) -> Self {
        let spool = if rest.contains("spool =") { "" } else { "spool = { mark_late = \"1s\" }" };
        let text = format!(
            "[gateway]\nname = \"g\"\ndata_dir = \"/d\"\n\
             [brokers.a]\nurl = \"mqtt://a\"\n[brokers.b]\nurl = \"mqtt://b\"\n{spool}\n[brokers.c]\nurl = \"mqtt://c\"\n\
             [targets.s]\npolicy = \"failover\"\nmembers = [\"b\", \"c\"]\n{rest}"
        );
        let start = Instant::now();
        let (router, ids, _) = started(&text, &["a", "b", "c"].map(|name| (name, false, true)), start);
        Self { router, ids, start, elapsed: Duration::ZERO }
    }

    fn now(&self) -> Moment {
        Moment { at: self.start + self.elapsed, us: US + self.elapsed.as_micros() as u64 }
    }

    fn wait(&mut self, seconds: u64) {
        self.elapsed += Duration::from_secs(seconds);
    }

    fn receive(&mut self, from: usize, message: Message) {
        self.receive_again(from, message, false);
    }

    fn receive_again(&mut self, from: usize, message: Message, redelivered: bool) {
        let ack = (message.qos > QoS::AtMostOnce).then_some(Token { attempt: 1, packet_id: None });
        let arrival =
            Arrival { message, ack, redelivered, subscription_id: None, audience: Audience::All, topic_id: None };
        let now = self.now();
        self.router.received(self.ids[from], [arrival].into_iter(), now, now.us / 1000);
        self.router.step_log();
        self.router.spool_news(now);
    }

    fn pull(&mut self, from: usize) -> Option<(Ticket, Message)> {
        let now = self.now();
        self.router.pull(self.ids[from], true, now)
    }

    fn dropped(&self) -> u64 {
        let (_, route) = self.router.routes().next().expect("a route");
        route.account.dropped_total()
    }
}

fn message(qos: QoS, expiry_seconds: Option<u32>) -> Message {
    let mut message = Message::new(Topic::new("t").expect("a topic"), "x", qos);
    message.properties = Some(Box::new(Properties { message_expiry_seconds: expiry_seconds, ..Properties::default() }));
    message
}

fn expiry(message: &Message) -> Option<u32> {
    message.properties.as_ref().and_then(|properties| properties.message_expiry_seconds)
}

/// MQTT 5.0 section 3.3.2.3.3: the time that a message has waited is taken off once.
#[test]
fn a_message_that_was_refused_for_now_expires_when_it_would_have() {
    let mut small = Small::new("[[routes]]\nname = \"r\"\nfrom = { broker = \"a\", topics = [\"t\"] }\nto = [\"b\"]\n");
    small.receive(0, message(QoS::AtLeastOnce, Some(100)));
    small.wait(40);
    let (ticket, sent) = small.pull(1).expect("it is durable");
    assert_eq!(expiry(&sent), Some(60));
    let refused = Refused { ticket, message: sent, for_now: true };
    let now = small.now();
    let rest = small.router.refused(small.ids[1], [refused].into_iter(), now);
    assert!(rest.is_some(), "the broker is left alone");
    small.wait(30);
    let (_, again) = small.pull(1).expect("it waits in front");
    assert_eq!(expiry(&again), Some(30));
    let late: Vec<_> = again.properties.iter().flat_map(|properties| &properties.user).collect();
    assert_eq!(late.len(), 1, "how late it is, once: {late:?}");
    assert_eq!(&*late[0].1, "70");
}

fn payloads(pulled: &[(Ticket, Message)]) -> Vec<&[u8]> {
    pulled.iter().map(|(_, message)| &*message.payload).collect()
}

/// From `a` to `to`: by way of the log, past it with a source that waits, and with none.
fn each_way(to: &str, then: impl Fn(&mut Small, QoS)) {
    for (ack, qos) in [("", QoS::AtLeastOnce), ("ack = \"delivered\"", QoS::AtLeastOnce), ("", QoS::AtMostOnce)] {
        let from = "from = { broker = \"a\", topics = [\"t\"] }";
        then(&mut Small::new(&format!("[[routes]]\nname = \"r\"\n{from}\nto = [\"{to}\"]\n{ack}\n")), qos);
    }
}

fn receive_numbered(small: &mut Small, texts: &[&'static str], qos: QoS) {
    texts.iter().for_each(|text| small.receive(0, Message::new(Topic::new("t").expect("a topic"), *text, qos)));
}

#[test]
fn what_comes_back_leaves_again_in_its_order_also_if_what_left_first_comes_back_last() {
    each_way("b", |small, qos| {
        receive_numbered(small, &["1", "2", "3", "4"], qos);
        let mut pulled: Vec<_> = (0..3).filter_map(|_| small.pull(1)).collect();
        let (rest, now) = (pulled.split_off(1), small.now());
        assert_eq!(small.router.returned(small.ids[1], rest.into_iter(), false, now), Duration::ZERO);
        let rest = small.router.returned(small.ids[1], pulled.into_iter(), true, now);
        assert!(!rest.is_zero(), "it is left alone");
        let known = small.router.broker(small.ids[1]);
        assert_eq!((known.refuses_since(), known.slowest(now.at)), (Some(now.at), None));
        small.wait(1);
        let again: Vec<_> = std::iter::from_fn(|| small.pull(1)).collect();
        assert_eq!(payloads(&again), [b"1", b"2", b"3", b"4"]);
        let (now, done) = (small.now(), again.into_iter().map(|(ticket, _)| (ticket, true)));
        small.router.completed(small.ids[1], done, now);
        assert_eq!(small.router.broker(small.ids[1]).refuses_since(), None);
    });
}

#[test]
fn what_comes_back_from_a_member_that_has_lost_its_topic_goes_to_the_next_in_order() {
    each_way("s", |small, qos| {
        let (b, c, start) = (small.ids[1], small.ids[2], small.now());
        small.router.broker_mut(b).health.up_since = None;
        small.router.give_up(b, Vec::new(), start);
        receive_numbered(small, &["1", "2", "3"], qos);
        let mut pulled: Vec<_> = (0..3).filter_map(|_| small.pull(2)).collect();
        let of_c = |small: &mut Small, pulled: &[(Ticket, Message)]| {
            let keys = pulled.iter().map(|(ticket, _)| ticket.key()).collect();
            small.router.sessions_mut().0.borrow_mut().unfinished.insert(c, keys);
        };
        of_c(small, &pulled);
        small.router.broker_mut(b).health.up_since = Some(start.at);
        small.wait(3600);
        let now = small.now();
        small.router.look_at_sets(now);
        receive_numbered(small, &["4"], qos);
        assert!(small.pull(1).is_none(), "the other may have something of the topic");

        let unsent = pulled.split_off(1);
        of_c(small, &pulled);
        small.router.returned(c, unsent.into_iter(), false, now);
        assert!(small.pull(1).is_none() && small.pull(2).is_none());
        of_c(small, &[]);
        small.router.returned(c, pulled.into_iter(), true, now);
        let got: Vec<_> = std::iter::from_fn(|| small.pull(1)).collect();
        assert_eq!(payloads(&got), [b"1", b"2", b"3", b"4"], "{qos:?}");
    });
}

#[test]
fn a_message_that_ends_without_an_acknowledgement_makes_its_target_no_slower() {
    each_way("b", |small, qos| {
        receive_numbered(small, &["1"], qos);
        let (ticket, _) = small.pull(1).expect("it is there");
        small.wait(10);
        let (now, timed) = (small.now(), qos > QoS::AtMostOnce);
        assert_eq!(small.router.broker(small.ids[1]).slowest(now.at).is_some(), timed);
        small.router.withdrawn(small.ids[1], ticket);
        assert_eq!(small.router.broker(small.ids[1]).slowest(now.at), None);
    });
}

#[test]
fn what_nobody_waits_for_outlives_the_member_of_a_set_that_it_was_sent_to() {
    let mut small = Small::new(
        "[[routes]]\nname = \"r\"\nfrom = { broker = \"a\", topics = [\"t\"] }\nto = [\"a2\", \"s\"]\nrequired = [\"a2\"]\nack = \"delivered\"\n\
         remap = { prefix = \"p\" }\n[targets.a2]\npolicy = \"failover\"\nmembers = [\"c\"]\n",
    );
    small.receive(0, message(QoS::AtLeastOnce, Some(100)));
    let (ticket, sent) = small.pull(1).expect("the first member of the set");
    assert!(ticket.is_loose());
    small.wait(10);
    let now = small.now();
    small.router.broker_mut(small.ids[1]).health.up_since = None;
    assert_eq!(small.router.give_up(small.ids[1], vec![(ticket, sent)], now), 1);
    let got: Vec<_> = std::iter::from_fn(|| small.pull(2)).collect();
    assert_eq!(got.len(), 2, "its own, and what the other did not take; dropped: {}", small.dropped());
}

#[test]
fn a_full_queue_that_drops_its_oldest_takes_the_newest_though_nobody_waits_for_it() {
    let mut small = Small::new(
        "[[routes]]\nname = \"r\"\nfrom = { broker = \"a\", topics = [\"t\"] }\nto = [\"a2\"]\npersist_qos0 = true\n\
         [targets.a2]\npolicy = \"failover\"\nmembers = [\"c\"]\nspool = { max_messages = 2, when_full = \"drop-oldest\" }\n",
    );
    for text in ["1", "2", "3"] {
        small.receive(0, Message::new(Topic::new("t").expect("a topic"), text, QoS::AtMostOnce));
    }
    let got: Vec<_> = std::iter::from_fn(|| small.pull(2)).map(|(_, message)| message.payload).collect();
    assert_eq!(got, ["2", "3"]);
    assert_eq!(small.dropped(), 1);
}

/// A route that waits for deliveries to a set of `b` and `c`, both of which get all.
fn both(require: &str) -> Small {
    let mut small = Small::new(&format!(
        "[[routes]]\nname = \"r\"\nfrom = {{ broker = \"a\", topics = [\"t\"] }}\nto = [\"both\"]\nack = \"delivered\"\n\
         [targets.both]\npolicy = \"all\"\nmembers = [\"b\", \"c\"]\n{require}\n"
    ));
    small.receive(0, message(QoS::AtLeastOnce, None));
    small
}

/// A member takes its message, or refuses it. Returns how often the source is acknowledged with that.
fn answers(small: &mut Small, member: usize, takes: bool) -> usize {
    let (ticket, _) = small.pull(member).expect("each has its own");
    let now = small.now();
    small.router.completed(small.ids[member], [(ticket, takes)].into_iter(), now);
    small.router.take_acks(small.ids[0]).count()
}

#[test]
fn a_source_waits_for_as_many_members_as_it_requires() {
    for (require, acknowledged) in [("", [0, 1]), ("require = \"all\"", [0, 1]), ("require = 1", [1, 0])] {
        for first in [1, 2] {
            let mut small = both(require);
            assert_eq!(small.router.take_acks(small.ids[0]).count(), 0, "{require}: on disk is not enough");
            let counted = [answers(&mut small, first, true), answers(&mut small, 3 - first, true)];
            assert_eq!(counted, acknowledged, "{require}, {first} first");
            assert!(
                small.router.owed() == (0, 0) && small.router.waiting().iter().all(|(waiting, _)| waiting.items == 0)
            );
        }
    }
}

#[test]
fn a_member_that_refuses_is_not_one_that_has_it() {
    let mut small = both("require = \"any\"");
    assert_eq!([answers(&mut small, 1, false), answers(&mut small, 2, true)], [0, 1]);
    let mut small = both("require = \"any\"");
    assert_eq!([answers(&mut small, 1, false), answers(&mut small, 2, false)], [0, 1], "nobody is left to wait for");
    assert_eq!(small.dropped(), 2);
}

/// A message at a broker without marks that comes again 50 ms after it was carried, as in a loop; from some time on as one that is
/// sent again. Whether the route took it for a loop, and how many were dropped.
fn comes_again(redelivered_from: u32, reconnected: bool) -> (bool, u64) {
    let mut small = Small::new("[[routes]]\nname = \"r\"\nfrom = { broker = \"a\", topics = [\"t\"] }\nto = [\"b\"]\n");
    let (mut comes, mut times) = (true, 0);
    small.router.connected(small.ids[0], false, false, small.now());
    for _ in 0..1000 {
        small.elapsed += Duration::from_millis(50);
        let now = small.now();
        if comes {
            if reconnected {
                small.router.connected(small.ids[0], false, false, now);
            }
            small.receive_again(0, message(QoS::AtLeastOnce, None), times >= redelivered_from);
            times += 1;
        }
        let _ = small.router.read_on(now);
        small.router.step_log();
        small.router.spool_news(now);
        let carried: Vec<_> = std::iter::from_fn(|| small.pull(1)).collect();
        comes = !carried.is_empty();
        small.router.completed(small.ids[1], carried.into_iter().map(|(ticket, _)| (ticket, true)), now);
    }
    let (_, route) = small.router.routes().next().expect("a route");
    (route.sifts, small.dropped())
}

#[test]
fn what_a_broker_sends_again_is_no_loop_nor_is_what_comes_on_another_connection() {
    let (sifts, dropped) = comes_again(u32::MAX, false);
    assert!(sifts && dropped > 0, "else this shows nothing");
    assert_eq!(comes_again(0, false), (false, 0));
    assert_eq!(comes_again(5, false), (false, 0), "a trial has begun by then");
    assert_eq!(comes_again(u32::MAX, true), (false, 0));
}

#[test]
fn the_parts_of_a_set_have_one_quota_together() {
    let mut small = Small::new(
        "[[routes]]\nname = \"r\"\nfrom = { broker = \"a\", topics = [\"t/#\"] }\nto = [\"both\"]\n\
         [targets.both]\npolicy = \"balance\"\nmembers = [\"b\", \"c\"]\n\
         spool = { max_messages = 3, when_full = \"drop-newest\" }\n",
    );
    for n in 0..8 {
        let topic = Topic::new(format!("t/{n}")).expect("a topic");
        small.receive(0, Message::new(topic, "x", QoS::AtLeastOnce));
    }
    let waiting = small.router.waiting();
    let waits: Vec<(&str, u64)> = waiting.iter().map(|(queue, _)| (queue.key.target.as_str(), queue.items)).collect();
    assert_eq!((waits, small.dropped()), (vec![("both", 3)], 5), "told as one queue");
    assert_eq!(small.router.backlogs().len(), 1);
    let each: Vec<usize> = [1, 2].map(|at| std::iter::from_fn(|| small.pull(at)).count()).into();
    assert!(each.iter().all(|count| *count > 0), "both members have some: {each:?}");
}

/// Nothing leaves for a broker that is paused, by whatever way, and all of it in order when it goes on.
#[test]
fn what_is_for_a_broker_that_is_paused_waits_in_order() {
    each_way("b", |small, qos| {
        let b = small.ids[1];
        small.router.sessions_mut().0.borrow_mut().room.insert(b, 8);
        small.router.broker_mut(b).paused = true;
        receive_numbered(small, &["1", "2"], qos);
        assert!(small.router.sessions_mut().0.borrow().written.is_empty(), "not past the lane either");
        assert!(small.pull(1).is_none());
        small.router.broker_mut(b).paused = false;
        let pulled: Vec<_> = std::iter::from_fn(|| small.pull(1)).collect();
        assert_eq!(payloads(&pulled), [b"1", b"2"], "{qos:?}");
    });
}
