//! The spool as a gateway runs it: with its two threads, on a real folder, with more than memory is given for.

use crate::model::{message, number_of};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tidegate_spool::*;

/// More than two windows.
const MESSAGES: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);

struct Gateway {
    spool: Spool,
    woken: Arc<(Mutex<bool>, Condvar)>,
    news: News,
}

impl Gateway {
    fn open(folder: &std::path::Path) -> Self {
        let woken = Arc::new((Mutex::new(false), Condvar::new()));
        let wake = {
            let woken = woken.clone();
            Arc::new(move || {
                *woken.0.lock().expect("a test on good ground") = true;
                woken.1.notify_all();
            })
        };
        let settings = Settings { segment_bytes: 256 * 1024, ..Settings::default() };
        let disk = Arc::new(Disk::open(folder).expect("nobody else has it"));
        let spool = Spool::open(disk, settings, wake).expect("a spool");
        Self { spool, woken, news: News::default() }
    }

    fn wait(&mut self) {
        let (mutex, condvar) = &*self.woken;
        let guard = mutex.lock().expect("a test on good ground");
        let (mut guard, wait) =
            condvar.wait_timeout_while(guard, PATIENCE, |woken| !*woken).expect("a test on good ground");
        assert!(!wait.timed_out(), "nothing happens");
        *guard = false;
        drop(guard);
        self.spool.poll(&mut self.news);
    }
}

#[test]
fn a_backlog_larger_than_memory_goes_through_threads_and_a_restart_in_order() {
    let folder = tempfile::tempdir().expect("a test on good ground");
    let key = |target: &str| Key::new(target, 0);
    let (mut fast, mut slow) = (0, 0);
    let mut gateway = Gateway::open(folder.path());
    let queues = [gateway.spool.queue(&key("fast")), gateway.spool.queue(&key("slow"))];
    let names = queues.map(|queue| gateway.spool.queue_name(queue));
    let route = gateway.spool.name(NameKind::Route, "all");
    let mut last = 0;
    let take = |gateway: &mut Gateway, fast: &mut u64, slow: &mut u64, slow_too: bool| {
        for ready in std::mem::take(&mut gateway.news.ready) {
            let count = if ready.queue == queues[0] { &mut *fast } else { &mut *slow };
            if ready.queue == queues[0] || slow_too {
                assert_eq!(number_of(&ready.message), *count, "in order");
                *count += 1;
                gateway.spool.done(ready.queue, ready.ordinal).expect("it waits");
            }
        }
        gateway.spool.flush();
    };
    for number in 0..MESSAGES {
        let deliveries = smallvec::smallvec![Delivery {
            route,
            queues: names.into_iter().collect(),
            message: message(number, 30, false),
        }];
        last = gateway.spool.append(Transaction { received_ms: number, deliveries, ..Transaction::default() });
        if number.is_multiple_of(100) {
            gateway.spool.flush();
            gateway.spool.poll(&mut gateway.news);
            take(&mut gateway, &mut fast, &mut slow, false);
        }
    }
    gateway.spool.flush();
    while gateway.spool.durable() < last || fast < MESSAGES {
        gateway.wait();
        take(&mut gateway, &mut fast, &mut slow, false);
    }
    assert!(gateway.spool.has_backlog(queues[1]), "it does not fit into memory");
    assert_eq!(gateway.spool.pending(queues[1]).0, MESSAGES);
    assert!(matches!(Disk::open(folder.path()), Err(DiskError::InUse(_))));
    assert!(gateway.spool.stats().syncs > 10);
    assert!(gateway.spool.close(PATIENCE));

    // The threads let go of the folder a moment after they are done.
    while Disk::open(folder.path()).is_err() {
        std::thread::yield_now();
    }
    let mut gateway = Gateway::open(folder.path());
    assert_eq!(gateway.spool.queues().map(|queue| gateway.spool.pending(queue).0).sum::<u64>(), MESSAGES);
    gateway.spool.poll(&mut gateway.news);
    while slow < MESSAGES {
        take(&mut gateway, &mut fast, &mut slow, true);
        if slow < MESSAGES {
            gateway.wait();
        }
    }
    assert_eq!(fast, MESSAGES, "what was done does not come back");
    assert!(gateway.spool.waiting().iter().all(|waiting| waiting.items == 0));
    assert!(gateway.spool.close(PATIENCE));
}

/// A million messages, received over an hour; fewer in a build that is not optimised.
#[test]
fn a_target_that_is_away_for_an_hour_gets_a_million_messages_in_order_and_memory_holds_a_window_of_them() {
    const HOUR_MS: u64 = 3_600_000;
    const BATCH: u64 = 256;
    // As in `queue.rs`; a read may be under way for another half.
    const WINDOW: u64 = 8 * 1024;
    let messages: u64 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
    let folder = tempfile::tempdir().expect("a test on good ground");
    let mut gateway = Gateway::open(folder.path());
    let queue = gateway.spool.queue(&Key::new("away", 1));
    let (name, route) = (gateway.spool.queue_name(queue), gateway.spool.name(NameKind::Route, "all"));
    let mut in_memory = std::collections::VecDeque::new();
    let mut last = 0;
    for number in 0..messages {
        let deliveries = smallvec::smallvec![Delivery {
            route,
            queues: [name].into_iter().collect(),
            message: message(number, 30, false)
        }];
        let received_ms = number * HOUR_MS / messages;
        last = gateway.spool.append(Transaction { received_ms, deliveries, ..Transaction::default() });
        if number % BATCH == BATCH - 1 {
            gateway.spool.flush();
            gateway.spool.poll(&mut gateway.news);
            in_memory.extend(gateway.news.ready.drain(..));
            assert!(in_memory.len() as u64 <= WINDOW, "what waits is on disk");
        }
    }
    gateway.spool.flush();
    while gateway.spool.durable() < last {
        gateway.wait();
        in_memory.extend(gateway.news.ready.drain(..));
    }
    assert_eq!(gateway.spool.pending(queue).0, messages);
    // It is back.
    let mut next = 0;
    while next < messages {
        while let Some(ready) = in_memory.pop_front() {
            assert_eq!(number_of(&ready.message), next, "in order");
            assert_eq!(ready.received_ms, next * HOUR_MS / messages);
            gateway.spool.done(queue, ready.ordinal).expect("it waits");
            next += 1;
        }
        gateway.spool.flush();
        if next < messages {
            gateway.wait();
            in_memory.extend(gateway.news.ready.drain(..));
            assert!(in_memory.len() as u64 <= WINDOW, "memory holds a window of it");
        }
    }
    assert_eq!(gateway.spool.pending(queue), (0, 0));
    assert!(gateway.spool.close(PATIENCE));
}

/// Behind many records what is flushed in a row is written down together; who waits for each, and the last when all ends, wait for nothing.
#[test]
fn flushes_keep_their_distance() {
    let folder = tempfile::tempdir().expect("a test on good ground");
    let disk = Arc::new(Disk::open(folder.path()).expect("nobody else has it"));
    // No test takes an hour.
    let settings = Settings { commit_interval: Duration::from_secs(3600), ..Settings::default() };
    let woken = Arc::new((Mutex::new(0), Condvar::new()));
    let wake = {
        let woken = woken.clone();
        Arc::new(move || {
            *woken.0.lock().expect("a test on good ground") += 1;
            woken.1.notify_all();
        })
    };
    let (mut journal, _) = Journal::open("test", disk, settings, 1, wake, &mut |_| true).expect("a journal");
    let mut last = 0;
    // One after the other, and then many at once.
    for count in [1, 1, 2, 1, 100] {
        for _ in 0..count {
            last = journal.append(1, |out| out.extend_from_slice(b"one")).0;
        }
        journal.flush();
        while journal.poll() < last {
            let guard = woken.0.lock().expect("a test on good ground");
            let (mut guard, waited) =
                woken.1.wait_timeout_while(guard, PATIENCE, |woken| *woken == 0).expect("a test on good ground");
            assert!(!waited.timed_out(), "it waits");
            *guard = 0;
        }
    }
    let (first, syncs) = (last, journal.stats().syncs);
    for _ in 0..100 {
        last = journal.append(1, |out| out.extend_from_slice(b"more")).0;
        journal.flush();
        std::thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(journal.poll(), first);
    assert!(journal.finish(PATIENCE));
    assert_eq!((journal.poll(), journal.stats().syncs), (last, syncs + 1));
}
