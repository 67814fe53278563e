//! The workers of a route: each with its inbox and its thread, and the parcels dealt out among them by their topics.
//!
//! Most routes have one. If a reload wants another number, or another key, a topic's messages get another worker, which must
//! not begin before the last one is through. So the threads leave after the batch that they are in; until then parcels are
//! dealt out as before, and wait; then the next workers begin with all that waits.

use super::Inbox;
use super::chain::Swap;
use super::mailbox::Outbox;
use super::worker::spawn;
use std::sync::Arc;
use tidegate_config::Workers;
use tidegate_router::{Parcel, RouteId};

/// Of which route they are, and where their verdicts go.
#[derive(Clone, Copy)]
pub(crate) struct Post<'a> {
    pub(crate) route: RouteId,
    /// The route's name.
    pub(crate) name: &'a str,
    pub(crate) outbox: &'a Arc<Outbox>,
}

/// All of them. None while the route has never had plugins.
#[derive(Default)]
pub(crate) struct Crew {
    inboxes: Vec<Arc<Inbox>>,
    workers: Workers,
    /// Those that take over when the threads have left.
    next: Option<(Workers, Vec<Swap>)>,
    /// Their first plugins are not there yet: parcels wait.
    held: bool,
    stopped: bool,
    /// By worker; kept for their allocations, always empty.
    dealt: Vec<Vec<Parcel>>,
}

impl Crew {
    /// Takes over plugins, those of each worker, between two batches.
    pub(crate) fn change(&mut self, workers: Workers, swaps: Vec<Swap>, post: Post<'_>) {
        self.held = false;
        match self.next.take() {
            Some((before, earlier)) if before == workers => {
                let swaps = swaps.into_iter().zip(earlier).map(|(swap, earlier)| swap.after(earlier));
                self.next = Some((workers, swaps.collect()));
            }
            Some(_) => self.next = Some((workers, swaps)),
            None if self.inboxes.is_empty() => {
                if swaps.iter().any(|swap| !swap.stages.is_empty()) {
                    self.start(workers, swaps, post);
                }
            }
            None if self.workers == workers => {
                self.inboxes.iter().zip(swaps).for_each(|(inbox, swap)| inbox.swap(swap));
            }
            None => {
                self.inboxes.iter().for_each(|inbox| inbox.leave());
                self.next = Some((workers, swaps));
            }
        }
    }

    /// Workers without plugins: parcels wait until some come.
    pub(crate) fn hold(&mut self, workers: Workers, post: Post<'_>) {
        self.held = true;
        self.begin(workers, workers.count, Inbox::hold, post);
    }

    /// Whether parcels wait for the first plugins.
    pub(crate) const fn is_held(&self) -> bool {
        self.held
    }

    fn start(&mut self, workers: Workers, swaps: Vec<Swap>, post: Post<'_>) {
        let mut swaps = swaps.into_iter();
        self.begin(workers, swaps.len(), |inbox| swaps.next().into_iter().for_each(|swap| inbox.swap(swap)), post);
    }

    /// As many workers, each inbox made ready before its thread looks into it.
    fn begin(&mut self, workers: Workers, count: usize, mut ready: impl FnMut(&Inbox), post: Post<'_>) {
        let Post { route, name, outbox } = post;
        self.workers = workers;
        self.dealt.resize_with(count, Vec::new);
        for _ in 0..count {
            let inbox = Arc::new(Inbox::default());
            ready(&inbox);
            if let Err(error) = spawn(route, name, inbox.clone(), outbox.clone()) {
                tracing::error!(route = name, %error, "no thread for the plugins of this route");
            }
            self.inboxes.push(inbox);
        }
    }

    /// Whether other workers are to take over.
    pub(crate) fn is_leaving(&self) -> bool {
        self.next.is_some()
    }

    /// Lets those that are to take over begin, once the threads have left.
    pub(crate) fn take_over(&mut self, post: Post<'_>) {
        if !self.inboxes.iter().all(|inbox| inbox.has_left()) {
            return;
        }
        let Some((workers, swaps)) = self.next.take() else { return };
        let left = std::mem::take(&mut self.inboxes);
        self.start(workers, swaps, post);
        let mut waiting = left.iter().flat_map(|inbox| inbox.take_waiting()).collect();
        self.deal(&mut waiting, |inbox, parcels| inbox.push(parcels, usize::MAX));
        if self.stopped {
            self.stop();
        }
    }

    /// Deals parcels out: `give` takes those of one worker, and returns those that it had to drop. Returns all of these.
    pub(crate) fn deal(
        &mut self,
        parcels: &mut Vec<Parcel>,
        mut give: impl FnMut(&Inbox, &mut Vec<Parcel>) -> Vec<Parcel>,
    ) -> Vec<Parcel> {
        let Self { inboxes, workers, dealt, .. } = self;
        if let [only] = &inboxes[..] {
            return give(only, parcels);
        }
        if inboxes.is_empty() {
            return Vec::new();
        }
        for parcel in parcels.drain(..) {
            dealt[place(*workers, parcel.message.topic.as_str())].push(parcel);
        }
        let dealt = inboxes.iter().zip(dealt).filter(|(_, parcels)| !parcels.is_empty());
        dealt.flat_map(|(inbox, parcels)| give(inbox, parcels)).collect()
    }

    /// The threads end when they have nothing left.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.inboxes.iter().for_each(|inbox| inbox.stop());
    }

    /// The route is no more: the threads end. Returns what none of them will say anything about.
    pub(crate) fn retire(&mut self) -> Vec<Parcel> {
        self.next = None;
        self.inboxes.drain(..).flat_map(|inbox| inbox.retire()).collect()
    }
}

/// Whose message it is.
fn place(workers: Workers, topic: &str) -> usize {
    let key = workers.level.and_then(|level| topic.split('/').nth(level)).unwrap_or(topic);
    let hash = ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(key.as_bytes());
    (hash % workers.count as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::Here;
    use std::collections::HashMap;
    use tidegate_message::{Message, QoS, Topic};
    use tidegate_router::Decided;

    #[test]
    fn a_key_is_always_of_the_same_worker_and_all_workers_have_some() {
        let by_level = Workers { count: 4, level: Some(1) };
        let of = |workers, topic: &str| place(workers, topic);
        let mut of_level = [0; 4];
        let mut of_topic = [0; 4];
        for device in 0..1000 {
            let topics = ["temp", "hum"].map(|what| format!("site/{device}/{what}"));
            let [temp, hum] = topics.each_ref().map(|topic| of(by_level, topic));
            assert_eq!(temp, hum, "one device, one worker");
            of_level[temp] += 1;
            of_topic[of(Workers { level: None, ..by_level }, &topics[0])] += 1;
        }
        assert!(of_level.iter().chain(&of_topic).all(|count| (200..300).contains(count)), "{of_level:?} {of_topic:?}");
        // Without that level the whole topic is the key.
        assert_eq!(of(by_level, "site"), of(Workers { level: None, ..by_level }, "site"));
    }

    /// Chains without plugins: all goes onward.
    fn swaps(count: usize) -> Vec<Swap> {
        std::iter::repeat_with(|| Swap { source: "home".into(), tick: None, stages: Vec::new(), meetings: Vec::new() })
            .take(count)
            .collect()
    }

    fn parcel(id: u64, device: u64) -> Parcel {
        let message = Message::new(Topic::new(format!("dev/{device}")).unwrap(), "", QoS::AtMostOnce);
        Parcel { message, debt: None, id, received_ms: 0, received_us: 0, redelivered: false }
    }

    /// Takes what is decided; the parcels by their numbers, with their topics.
    fn take(outbox: &Outbox, seen: &mut Vec<(u64, String)>) {
        let mut decided = Vec::new();
        outbox.take(&mut decided);
        for one in decided.into_iter().flat_map(|(_, decided)| decided) {
            let Decided::Parcel(parcel, _) = one else { panic!("{one:?}") };
            seen.push((parcel.id, parcel.message.topic.as_str().to_owned()));
        }
    }

    /// Until it is so; not for ever.
    #[track_caller]
    fn wait(mut is_so: impl FnMut() -> bool) {
        let began = std::time::Instant::now();
        while !is_so() {
            assert!(began.elapsed().as_secs() < 20, "it never came");
            std::thread::yield_now();
        }
    }

    #[test]
    fn other_numbers_under_traffic_lose_nothing_and_keep_each_topic_in_order() {
        const TURNS: usize = 300;
        let outbox = Arc::new(Outbox::default());
        let post = Post { route: RouteId::new(3), name: "r", outbox: &outbox };
        let (mut crew, mut seen, mut sent) = (Crew::default(), Vec::new(), 0);
        crew.start(Workers::default(), swaps(1), post);
        for turn in 0..TURNS {
            let mut parcels: Vec<_> = (sent..sent + 50).map(|id| parcel(id, id % 7)).collect();
            sent += 50;
            let dropped = crew.deal(&mut parcels, |inbox, parcels| inbox.push(parcels, usize::MAX));
            assert!(dropped.is_empty() && parcels.is_empty());
            if turn % 3 == 0 {
                let count = 1 + turn % 4;
                crew.change(Workers { count, level: (turn % 2 == 0).then_some(1) }, swaps(count), post);
            }
            crew.take_over(post);
            take(&outbox, &mut seen);
        }
        crew.stop();
        wait(|| {
            crew.take_over(post);
            take(&outbox, &mut seen);
            seen.len() == sent as usize
        });
        let mut last = HashMap::new();
        for (id, topic) in seen {
            let before = last.insert(topic, id);
            assert!(before.is_none_or(|before| before + 7 == id), "{id} after {before:?}");
        }
    }

    #[test]
    fn nobody_begins_before_the_last_has_left() {
        let outbox = Arc::new(Outbox::default());
        let post = Post { route: RouteId::new(3), name: "r", outbox: &outbox };
        // Two without threads: they leave when the test says so.
        let two = Workers { count: 2, level: None };
        let inboxes: Vec<Arc<Inbox>> = vec![Arc::default(), Arc::default()];
        let mut crew = Crew { inboxes: inboxes.clone(), workers: two, ..Crew::default() };
        crew.dealt.resize_with(2, Vec::new);
        crew.change(Workers::default(), swaps(1), post);
        crew.deal(&mut vec![parcel(1, 1)], |inbox, parcels| inbox.push(parcels, usize::MAX));
        assert!(inboxes[0].left().is_none());
        crew.take_over(post);
        assert!(crew.is_leaving(), "one is still there");
        assert!(inboxes[1].left().is_none());
        crew.take_over(post);
        assert!(!crew.is_leaving());
        let mut seen = Vec::new();
        wait(|| {
            take(&outbox, &mut seen);
            !seen.is_empty()
        });
        assert_eq!(seen[0].0, 1, "what came meanwhile is decided by those that took over");
        crew.stop();
    }

    #[test]
    fn what_comes_before_the_first_plugins_waits_for_them() {
        let outbox = Arc::new(Outbox::default());
        let post = Post { route: RouteId::new(3), name: "r", outbox: &outbox };
        for (held, then) in [(1, 1), (2, 2), (2, 3)] {
            let [held, then] = [held, then].map(|count| Workers { count, level: None });
            let (mut crew, mut seen) = (Crew::default(), Vec::new());
            crew.hold(held, post);
            let mut parcels: Vec<_> = (0..500).map(|id| parcel(id, id % 7)).collect();
            for few in 0..3 {
                let mut some = parcels.drain(..10 * few).collect();
                crew.deal(&mut some, |inbox, parcels| {
                    assert!(matches!(inbox.decide_here(parcels, || false), Here::Refused));
                    inbox.push(parcels, usize::MAX)
                });
            }
            crew.deal(&mut parcels, |inbox, parcels| inbox.push(parcels, usize::MAX));
            std::thread::sleep(std::time::Duration::from_millis(20));
            take(&outbox, &mut seen);
            assert!(seen.is_empty() && crew.is_held());
            crew.change(then, swaps(then.count), post);
            assert!(!crew.is_held());
            wait(|| {
                crew.take_over(post);
                take(&outbox, &mut seen);
                seen.len() == 500
            });
            crew.stop();
        }
        // The end does not wait for them: sources send it again.
        let mut crew = Crew::default();
        crew.hold(Workers::default(), post);
        crew.deal(&mut vec![parcel(1, 1)], |inbox, parcels| inbox.push(parcels, usize::MAX));
        let inbox = Arc::downgrade(&crew.inboxes[0]);
        crew.stop();
        drop(crew);
        wait(|| inbox.upgrade().is_none());
    }

    #[test]
    fn of_a_route_that_is_removed_nothing_is_forgotten() {
        let outbox = Arc::new(Outbox::default());
        let post = Post { route: RouteId::new(3), name: "r", outbox: &outbox };
        for turn in 0..100 {
            let mut crew = Crew::default();
            crew.start(Workers::default(), swaps(1), post);
            let mut parcels: Vec<_> = (0..50).map(|id| parcel(id, id % 7)).collect();
            crew.deal(&mut parcels, |inbox, parcels| inbox.push(parcels, usize::MAX));
            crew.change(Workers { count: 2, level: None }, swaps(2), post);
            if turn % 2 == 0 {
                std::thread::yield_now();
            }
            let mut seen: Vec<_> = crew.retire().iter().map(|parcel| (parcel.id, String::new())).collect();
            wait(|| {
                take(&outbox, &mut seen);
                seen.len() == 50
            });
            seen.sort_unstable();
            assert!(seen.iter().map(|(id, _)| *id).eq(0..50), "{seen:?}");
        }
    }
}
