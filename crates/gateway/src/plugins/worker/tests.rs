//! The worker without its thread, with plugins that are shipped.

use super::*;
use crate::plugins::stage::NewTrial;
use crate::plugins::{NewStage, Stage};
use tidegate_config::{OnFailure, Retry};
use tidegate_message::{QoS, Topic, TopicFilter};
use tidegate_plugin::{Host, HostConfig, Plugin, Spec, StateGrant};
use tidegate_router::Parking;

const THROTTLE: &[u8] = include_bytes!("../../../../../plugins/dist/throttle.wasm");
const CONVERT: &[u8] = include_bytes!("../../../../../plugins/dist/convert.wasm");
const ALARM: &[u8] = include_bytes!("../../../../../plugins/dist/alarm.wasm");
const CHOOSE: &[u8] = include_bytes!("../../../../../plugins/dist/route-by-field.wasm");

const CELSIUS: &str = r#"{"field": "temp", "from": "fahrenheit", "to": "celsius", "round": 0}"#;
/// To a target that nobody granted: a fault of every message.
const NOWHERE: &str = r#"{"by": {"level": 0}, "table": {"x": "nowhere"}, "default": "nowhere"}"#;

struct Workshop {
    host: Host,
    worker: Box<Worker>,
}

impl Workshop {
    fn new() -> Self {
        let worker = Box::new(Worker::new(RouteId::new(3), "readings", Arc::default(), Arc::default()));
        Self { host: Host::new(&HostConfig::default()).unwrap(), worker }
    }

    fn fresh(&self, name: &str, component: &[u8], config_json: &str, on_failure: OnFailure) -> NewStage {
        let mut spec = Spec { config_json: config_json.to_owned(), ..Spec::new(name) };
        spec.grants.topics = vec![TopicFilter::new("dev/#").unwrap(), TopicFilter::new("alarm/#").unwrap()];
        spec.grants.state = StateGrant::Granted;
        // A busy machine is not what these tests are about.
        spec.limits.deadline = Duration::from_secs(10);
        spec.limits.configure_deadline = Duration::from_secs(10);
        let component = self.host.compile(component).unwrap();
        let instance = Plugin::new(&self.host, &component, spec).unwrap().instantiate().unwrap();
        let rules = (on_failure, RETRY);
        NewStage::Fresh(Box::new(Stage::new(
            name.into(),
            instance,
            Arc::default(),
            rules,
            Arc::default(),
            Arc::default(),
        )))
    }

    /// Keeps the last message of a topic for an hour after the first, by the time it was received.
    fn throttle(&self) -> NewStage {
        self.fresh("calm", THROTTLE, r#"{"every": "1h"}"#, OnFailure::Park)
    }

    fn swap(&mut self, stages: Vec<NewStage>) {
        self.worker.change(Swap { source: "home".into(), tick: None, stages, meetings: Vec::new() });
    }

    /// Two messages, received long ago: the second is held back, and due.
    fn two_readings(&mut self) {
        let job = |(id, payload): (u64, &'static str)| {
            let message = Message::new(Topic::new("dev/1").unwrap(), payload, QoS::AtLeastOnce);
            Parcel { message, debt: None, id, received_ms: 1_000, received_us: 1_000_000, redelivered: false }
        };
        let mut jobs = [(1, r#"{"temp": 32}"#), (2, r#"{"temp": 212}"#)].map(job).into();
        let decided = run_here(self.worker.decide(&mut jobs)).unwrap();
        let [Decided::Parcel(..), Decided::Parcel(second, Verdict::Drop(_))] = &decided[..] else {
            panic!("{decided:?}")
        };
        assert_eq!(second.id, 2);
    }

    /// What was handed back since this was asked last.
    fn decided(&self) -> Vec<Decided> {
        let mut all = Vec::new();
        self.worker.outbox.take(&mut all);
        assert!(all.iter().all(|(route, _)| *route == RouteId::new(3)));
        all.into_iter().flat_map(|(_, decided)| decided).collect()
    }
}

const RETRY: Retry = Retry { attempts: 0, min: Duration::from_secs(3600), max: Duration::from_secs(3600) };

fn keep(name: &str) -> NewStage {
    NewStage::Keep { name: name.into(), on_failure: OnFailure::Park, retry: RETRY, trial: NewTrial::Keep(None) }
}

#[track_caller]
fn one_tick(decided: Vec<Decided>) -> (Parcel, Verdict) {
    match <[Decided; 1]>::try_from(decided) {
        Ok([Decided::Tick(job, verdict)]) => (job, verdict),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_said_on_a_tick_goes_through_the_plugins_behind_and_no_other() {
    let mut shop = Workshop::new();
    let before = shop.fresh("before", CONVERT, r#"{"field": "temp", "offset": 1000}"#, OnFailure::Park);
    let celsius = shop.fresh("celsius", CONVERT, CELSIUS, OnFailure::Park);
    shop.swap(vec![before, shop.throttle(), celsius]);
    shop.two_readings();
    shop.worker.call_timers();
    let (job, verdict) = one_tick(shop.decided());
    assert_eq!((&job.message.payload[..], verdict), (&br#"{"temp": 656}"#[..], Verdict::Onward));
    assert_eq!((job.debt, job.redelivered), (None, false));
    assert!(job.id & OF_TICK != 0 && job.id < 1 << 53, "{}", job.id);
}

#[test]
fn what_a_plugin_behind_fails_on_is_parked_with_its_name() {
    let mut shop = Workshop::new();
    let nowhere = shop.fresh("choose", CHOOSE, NOWHERE, OnFailure::Park);
    shop.swap(vec![shop.throttle()]);
    shop.two_readings();
    shop.swap(vec![keep("calm"), nowhere]);
    shop.worker.call_timers();
    let (job, verdict) = one_tick(shop.decided());
    let Verdict::Park(Parking { plugin, kind, .. }) = verdict else { panic!("{verdict:?}") };
    assert_eq!((&*plugin, kind, &job.message.payload[..]), ("choose", "foreign_target", &br#"{"temp": 212}"#[..]));
}

#[test]
fn what_a_swap_interrupts_goes_on_with_the_plugins_that_were_ahead() {
    let mut shop = Workshop::new();
    let nowhere = shop.fresh("choose", CHOOSE, NOWHERE, OnFailure::Block);
    let celsius = shop.fresh("celsius", CONVERT, CELSIUS, OnFailure::Park);
    shop.swap(vec![shop.throttle()]);
    shop.two_readings();
    shop.swap(vec![keep("calm"), nowhere, celsius]);
    // The one that blocks goes, and so does the one that said it; another stands before the one that is left.
    let before = shop.fresh("before", CONVERT, r#"{"field": "temp", "offset": 1000}"#, OnFailure::Park);
    shop.worker.inbox.swap(Swap {
        source: "home".into(),
        tick: None,
        stages: vec![before, keep("celsius")],
        meetings: Vec::new(),
    });
    shop.worker.call_timers();
    assert!(shop.decided().is_empty());
    let inbox = shop.worker.inbox.clone();
    let Turn::Do(worker, Next::Swap(swap)) = inbox.take(shop.worker, &mut Vec::new(), None) else { panic!("no swap") };
    shop.worker = worker;
    shop.worker.change(swap);
    shop.worker.go_on();
    let (job, verdict) = one_tick(shop.decided());
    assert_eq!((&job.message.payload[..], verdict), (&br#"{"temp": 100}"#[..], Verdict::Onward));
    assert!(job.redelivered);
}

#[test]
fn what_a_swap_interrupts_has_written_nothing() {
    let mut shop = Workshop::new();
    let alarm = shop.fresh("alarm", ALARM, r#"{"field": "temp", "above": 50}"#, OnFailure::Park);
    let nowhere = shop.fresh("choose", CHOOSE, NOWHERE, OnFailure::Block);
    shop.swap(vec![alarm, nowhere]);
    let message = Message::new(Topic::new("dev/1").unwrap(), r#"{"temp": 70}"#, QoS::AtLeastOnce);
    let job = Parcel { message, debt: None, id: 1, received_ms: 1_000, received_us: 1_000_000, redelivered: false };
    let mut jobs = [job].into();
    let state = |shop: &Workshop| shop.worker.chain.stages()[0].instance.plugin().spec().state.snapshot();
    shop.worker.inbox.swap(Swap {
        source: "home".into(),
        tick: None,
        stages: vec![keep("alarm")],
        meetings: Vec::new(),
    });
    assert!(run_here(shop.worker.decide(&mut jobs)).is_err(), "the one behind blocks until the swap");
    assert_eq!(state(&shop), Default::default());
    let inbox = shop.worker.inbox.clone();
    let Turn::Do(worker, Next::Swap(swap)) = inbox.take(shop.worker, &mut Vec::new(), None) else { panic!("no swap") };
    shop.worker = worker;
    shop.worker.change(swap);
    let decided = run_here(shop.worker.decide(&mut jobs)).unwrap();
    let [Decided::Remember(plugin, _), Decided::Parcel(_, Verdict::Outputs(outputs))] = &decided[..] else {
        panic!("{decided:?}")
    };
    assert_eq!((&**plugin, outputs.len()), ("alarm", 2), "the event, and the reading");
    assert_ne!(state(&shop), Default::default());
}

#[test]
fn numbers_of_ticks_are_never_given_twice() {
    let ids: std::collections::BTreeSet<u64> = (0..10_000).map(|_| next_of_tick()).collect();
    assert_eq!(ids.len(), 10_000);
}
