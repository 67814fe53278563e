//! The subscriptions against a broker that loses, refuses and forgets.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidegate_message::QoS;
use tidegate_mqtt::RetainHandling;

fn filter(text: &str, qos: u8) -> SubscribeFilter {
    SubscribeFilter::new(TopicFilter::new(text.to_owned()).unwrap(), QoS::from_u8(qos).unwrap())
}

/// As it is asked for once what is stored has come.
fn again(filter: SubscribeFilter) -> SubscribeFilter {
    SubscribeFilter { retain_handling: RetainHandling::SendIfNew, ..filter }
}

fn terms(version: Version, session_present: bool) -> Terms {
    Terms { version, session_present, wildcards: true, shared: true, bridge: false }
}

/// A broker, the link between, and what survives a restart of the gateway.
struct World {
    subscriptions: Subscriptions,
    /// What the broker's session has: filter to QoS.
    at_broker: BTreeMap<String, u8>,
    /// Durable on our side.
    memory: Known,
    /// Packets on their way to the broker.
    sent: Vec<(u64, Ask)>,
    wanted: Vec<SubscribeFilter>,
    now: Instant,
    id: u64,
    is_up: bool,
    version: Version,
    /// The broker ends the connection when it is asked for this.
    hangs_up_on: Option<&'static str>,
    refuses: Option<&'static str>,
}

impl World {
    fn new(version: Version) -> Self {
        Self {
            subscriptions: Subscriptions::default(),
            at_broker: BTreeMap::new(),
            memory: Known::default(),
            sent: Vec::new(),
            wanted: Vec::new(),
            now: Instant::now(),
            id: 0,
            is_up: false,
            version,
            hangs_up_on: None,
            refuses: None,
        }
    }

    fn connect(&mut self, keep_session: bool) {
        self.cut(false);
        if !keep_session {
            self.at_broker.clear();
        }
        // 3.1 cannot say; the session is there if it was kept.
        let present = keep_session || self.version == Version::V31;
        self.subscriptions.connected(terms(self.version, present), self.now);
        self.is_up = true;
        self.turn();
    }

    fn cut(&mut self, by_peer: bool) {
        if std::mem::replace(&mut self.is_up, false) {
            self.sent.clear();
            self.subscriptions.disconnected(by_peer.then_some("cut"), self.now);
        }
    }

    fn restart(&mut self) {
        self.cut(false);
        self.subscriptions = Subscriptions::default();
        self.subscriptions.restore(self.memory.clone(), true);
        self.subscriptions.want(&self.wanted);
    }

    fn want(&mut self, wanted: &[(&str, u8)]) {
        self.wanted = wanted.iter().map(|(text, qos)| filter(text, *qos)).collect();
        self.subscriptions.want(&self.wanted);
        self.turn();
    }

    /// What the link does in a turn.
    fn turn(&mut self) {
        while let Some(ask) = self.subscriptions.next() {
            self.id += 1;
            let count = match &ask {
                Ask::Subscribe(filters) => filters.len(),
                Ask::Unsubscribe(filters) => filters.len(),
            };
            self.subscriptions.asked(&ask, &[(self.id, count)], self.now);
            if let Some(memory) = self.subscriptions.take_changed_memory() {
                self.memory = memory; // durable before the bytes leave
            }
            self.sent.push((self.id, ask));
        }
        if let Some(memory) = self.subscriptions.take_changed_memory() {
            self.memory = memory;
        }
    }

    /// The broker takes the next packet; whether its answer arrives is another question.
    fn broker_takes_one(&mut self, answers: bool) {
        if self.sent.is_empty() {
            return;
        }
        let (id, ask) = self.sent.remove(0);
        let mut codes = Vec::new();
        match &ask {
            Ask::Subscribe(filters) => {
                for one in filters {
                    let text = one.filter.as_ref().unwrap().as_str();
                    if self.hangs_up_on == Some(text) {
                        return self.cut(true);
                    }
                    if self.refuses == Some(text) {
                        codes.push(ReasonCode::QUOTA_EXCEEDED);
                        continue;
                    }
                    self.at_broker.insert(text.to_owned(), one.qos as u8);
                    codes.push(ReasonCode(one.qos as u8));
                }
                if answers {
                    self.subscriptions.on_suback(id, &codes, self.now);
                }
            }
            Ask::Unsubscribe(filters) => {
                for one in filters {
                    self.at_broker.remove(one.as_str());
                }
                if answers {
                    self.subscriptions.on_unsuback(id, &[], self.now);
                }
            }
        }
        self.turn();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.is_up {
            self.subscriptions.on_time(self.now);
            self.turn();
        }
    }

    /// From here on nothing goes wrong but what the broker does by habit.
    fn settle(&mut self) {
        for _ in 0..200 {
            if !self.is_up {
                self.connect(true);
            }
            while self.is_up && !self.sent.is_empty() {
                self.broker_takes_one(true);
            }
            self.pass(Duration::from_secs(7));
        }
    }

    fn wanted_set(&self) -> BTreeMap<String, u8> {
        let wanted = self.wanted.iter().filter_map(|one| Some((one.filter.as_ref().ok()?.to_string(), one.qos as u8)));
        wanted.collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Connect { keep: bool },
    Cut { by_peer: bool },
    Want(u8),
    Take { answers: bool },
    Restart,
    Pass(u8),
}

const SETS: [&[(&str, u8)]; 5] =
    [&[("a/#", 1)], &[("a/#", 2), ("b", 0)], &[("b", 1), ("c/+", 1)], &[], &[("a/#", 0), ("b", 1), ("c/+", 2)]];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(|keep| Step::Connect { keep }),
        any::<bool>().prop_map(|by_peer| Step::Cut { by_peer }),
        (0..SETS.len() as u8).prop_map(Step::Want),
        any::<bool>().prop_map(|answers| Step::Take { answers }),
        any::<bool>().prop_map(|answers| Step::Take { answers }),
        any::<bool>().prop_map(|answers| Step::Take { answers }),
        Just(Step::Restart),
        (1..40u8).prop_map(Step::Pass),
    ]
}

fn versions() -> impl Strategy<Value = Version> {
    prop::sample::select(&[Version::V31, Version::V311, Version::V5][..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// Any sequence of cuts, sessions kept and lost, reloads, restarts and lost answers ends with the broker's set equal to
    /// the wanted one, or with a refusal that is to be seen.
    #[test]
    fn the_brokers_set_becomes_the_wanted_one(
        version in versions(),
        steps in prop::collection::vec(step(), 0..60),
        habit in 0..3u8,
    ) {
        let mut world = World::new(version);
        world.hangs_up_on = (habit == 1).then_some("b");
        world.refuses = (habit == 2).then_some("b");
        for step in steps {
            match step {
                Step::Connect { keep } => world.connect(keep),
                Step::Cut { by_peer } => world.cut(by_peer),
                Step::Want(at) => world.want(SETS[usize::from(at)]),
                Step::Take { answers } => world.broker_takes_one(answers),
                Step::Restart => world.restart(),
                Step::Pass(seconds) => world.pass(Duration::from_secs(seconds.into())),
            }
        }
        world.settle();
        let mut wanted = world.wanted_set();
        let problems = world.subscriptions.problems();
        if habit > 0 && wanted.contains_key("b") && wanted.len() > 1 {
            wanted.remove("b");
            world.at_broker.remove("b"); // from before it was refused at another QoS
            prop_assert!(problems.iter().all(|problem| problem.filter.as_str() == "b" && problem.refused), "{problems:?}");
            prop_assert_eq!(problems.len(), 1);
        } else if habit == 0 {
            prop_assert!(world.subscriptions.is_settled(), "{:?}", problems);
        }
        if habit == 0 || world.wanted.len() != 1 {
            prop_assert_eq!(&world.at_broker, &wanted);
            let mut remembered: Vec<_> = world.memory.filters.iter().map(|filter| filter.to_string()).collect();
            remembered.retain(|filter| filter != "b" || habit == 0);
            remembered.sort();
            prop_assert_eq!(remembered, wanted.into_keys().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_refusal_is_a_state_asked_again_with_growing_pauses_and_at_once_at_a_reload() {
    let mut world = World::new(Version::V5);
    world.refuses = Some("a/#");
    world.want(&[("a/#", 1), ("b", 1)]);
    world.connect(false);
    world.broker_takes_one(true);
    assert!(!world.subscriptions.is_settled());
    let problems = world.subscriptions.problems();
    assert_eq!((problems.len(), problems[0].refused), (1, true));
    assert_eq!(problems[0].words, "quota exceeded (0x97)");
    let mut asked = 0;
    for _ in 0..600 {
        world.pass(Duration::from_secs(1));
        asked += world.sent.len();
        while !world.sent.is_empty() {
            world.broker_takes_one(true);
        }
    }
    assert!((10..20).contains(&asked), "in ten minutes: {asked}");
    let wanted = world.wanted.clone();
    world.subscriptions.want(&wanted);
    world.refuses = None;
    world.turn();
    assert_eq!(world.sent.len(), 1, "a reload asks at once");
    world.broker_takes_one(true);
    assert!(world.subscriptions.is_settled());
}

#[test]
fn a_filter_that_ends_the_connection_is_found_and_left_out_so_that_the_others_live() {
    let mut world = World::new(Version::V5);
    world.hangs_up_on = Some("bad");
    world.want(&[("bad", 1), ("a", 1), ("b", 1)]);
    let mut connections = 0;
    while world.subscriptions.problems().iter().any(|problem| problem.filter.as_str() != "bad") || !world.is_up {
        world.connect(true);
        connections += 1;
        for _ in 0..10 {
            world.broker_takes_one(true);
        }
        assert!(connections < 10);
    }
    let problems = world.subscriptions.problems();
    assert!(problems[0].refused && problems[0].words.contains("ends the connection"), "{problems:?}");
    assert_eq!(world.at_broker.len(), 2);
    // Tried again, rarely, and it costs one connection then.
    let mut cuts = 0;
    for _ in 0..3600 {
        world.pass(Duration::from_secs(1));
        world.broker_takes_one(true);
        if !world.is_up {
            cuts += 1;
            world.connect(true);
            for _ in 0..10 {
                world.broker_takes_one(true);
            }
        }
    }
    assert!((2..10).contains(&cuts), "in an hour: {cuts}");
}

#[test]
fn what_connack_does_not_offer_is_refused_at_once() {
    let mut subscriptions = Subscriptions::default();
    subscriptions.want(&[filter("$share/g/a", 1), filter("a/#", 1), filter("plain", 1)]);
    let none = Terms { wildcards: false, shared: false, ..terms(Version::V5, false) };
    subscriptions.connected(none, Instant::now());
    let refused: Vec<_> = subscriptions.refused_by_connack().map(|(filter, _)| filter.to_string()).collect();
    assert_eq!(refused, ["$share/g/a", "a/#"]);
    assert_eq!(subscriptions.next(), Some(Ask::Subscribe(vec![again(filter("plain", 1))])));
}

#[test]
fn a_resumed_session_of_3_1_1_is_believed_until_nothing_comes_for_a_while() {
    let mut world = World::new(Version::V311);
    world.want(&[("a/#", 1), ("b", 1)]);
    world.connect(false);
    world.broker_takes_one(true);
    world.connect(true);
    assert_eq!(world.sent, [], "asking again would bring everything retained once more");
    world.subscriptions.heard(&tidegate_message::Topic::new("a/x").unwrap());
    // The broker was set back to what it had saved.
    world.at_broker.clear();
    world.pass(Duration::from_secs(31));
    assert_eq!(
        world.sent.iter().map(|(_, ask)| ask.clone()).collect::<Vec<_>>(),
        [Ask::Subscribe(vec![again(filter("b", 1))])]
    );
}

/// What is stored comes with a new subscription only: on 3.1.1, where it comes with each SUBSCRIBE, there is one a session.
#[test]
fn what_a_session_was_granted_is_not_asked_for_again_where_stored_messages_would_come() {
    for (handling, bridge, asked_again) in
        [(RetainHandling::SendIfNew, false, 0), (RetainHandling::Never, true, 0), (RetainHandling::Never, false, 1)]
    {
        let mut world = World::new(Version::V311);
        world.wanted = vec![SubscribeFilter { retain_handling: handling, ..filter("a", 1) }];
        world.subscriptions.want(&world.wanted);
        let connect = |world: &mut World, session_present| {
            let terms = Terms { bridge, ..terms(Version::V311, session_present) };
            world.subscriptions.connected(terms, world.now);
            world.is_up = true;
            world.turn();
        };
        connect(&mut world, false);
        // Asked, and not known to be granted: asked again by the next process.
        world.restart();
        connect(&mut world, true);
        assert_eq!(world.sent.len(), 1);
        world.broker_takes_one(true);
        world.restart();
        connect(&mut world, true);
        assert_eq!(world.sent.len(), asked_again, "{handling:?}");
        world.restart();
        connect(&mut world, false);
        assert_eq!(world.sent.len(), 1, "another session");
    }
}

#[test]
fn only_the_difference_is_asked_for_in_an_order_without_gaps() {
    let numbered = |text: &str, id| SubscribeFilter { subscription_id: Some(id), ..filter(text, 1) };
    let mut subscriptions = Subscriptions::default();
    let now = Instant::now();
    subscriptions.want(&[filter("gone", 1), numbered("plain", 1), filter("numbered", 1), filter("same", 1)]);
    subscriptions.connected(terms(Version::V5, false), now);
    let ask = subscriptions.next().unwrap();
    subscriptions.asked(&ask, &[(1, 4)], now);
    subscriptions.on_suback(1, &[ReasonCode(1); 4], now);
    subscriptions.want(&[filter("plain", 1), numbered("numbered", 2), filter("same", 1), filter("new", 1)]);
    let mut asks = Vec::new();
    for id in 2.. {
        let Some(ask) = subscriptions.next() else { break };
        let count = if let Ask::Subscribe(filters) = &ask { filters.len() } else { 1 };
        subscriptions.asked(&ask, &[(id, count)], now);
        asks.push(ask);
    }
    let gone = Ask::Unsubscribe(vec![TopicFilter::new("gone").unwrap()]);
    let first = Ask::Subscribe(vec![again(numbered("numbered", 2)), again(filter("new", 1))]);
    assert_eq!(asks, [first, gone, Ask::Subscribe(vec![again(filter("plain", 1))])]);
}

#[test]
fn an_answer_that_never_comes_is_asked_for_again() {
    let mut world = World::new(Version::V5);
    world.want(&[("a", 1)]);
    world.connect(false);
    world.broker_takes_one(false);
    world.pass(Duration::from_secs(19));
    assert!(world.sent.is_empty());
    world.pass(Duration::from_secs(2));
    world.broker_takes_one(true);
    assert!(world.subscriptions.is_settled());
}
