//! Publishers and subscribers that run beside a test, survive lost connections, and write everything into a ledger.

use crate::client::{Client, ClientOptions};
use crate::{Id, Ledger, eventually};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a turn waits for something to come.
const TURN: Duration = Duration::from_millis(5);

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(20);

/// To subscribe, or to be acknowledged once nothing more is sent.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a publisher sends.
#[derive(Debug, Clone)]
pub struct PublisherOptions {
    /// How it connects.
    pub client: ClientOptions,
    /// `{key}` stands for the key.
    pub topic: String,
    /// Keys are numbered from 0.
    pub keys: u64,
    /// Put before each key's number, so that two publishers do not meet.
    pub key_prefix: String,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Messages a second; 0: as fast as it goes.
    pub rate: u32,
    /// At least so many bytes of payload.
    pub payload_bytes: usize,
    /// Ends by itself after so many messages.
    pub count: Option<u64>,
}

impl PublisherOptions {
    /// QoS 1, ten keys, 200 bytes, as fast as it goes, without an end.
    pub fn new(client: ClientOptions, topic: &str) -> Self {
        Self {
            client,
            topic: topic.to_owned(),
            keys: 10,
            key_prefix: String::new(),
            qos: 1,
            rate: 0,
            payload_bytes: 200,
            count: None,
        }
    }
}

/// Publishes until it is stopped; connects again and sends again what was not acknowledged.
#[derive(Debug)]
pub struct Publisher(Worker);

impl Publisher {
    /// Connects and begins.
    #[track_caller]
    pub fn start(port: u16, options: PublisherOptions, ledger: &Ledger) -> Self {
        let client = Client::connect(port, &options.client).expect("the publisher connects");
        let ledger = ledger.clone();
        Self(Worker::spawn(move |progress| publish(client, &options, &ledger, progress)))
    }

    /// How many were sent so far.
    pub fn sent(&self) -> u64 {
        self.0.progress.count.load(Ordering::SeqCst)
    }

    /// Sends no more, waits until all of it is acknowledged, and says how many were sent.
    #[track_caller]
    pub fn stop(self) -> u64 {
        self.0.stop()
    }

    /// Waits until it has sent its `count`, all of it acknowledged, and says how many.
    #[track_caller]
    pub fn finish(self, deadline: Duration) -> u64 {
        eventually("the publisher finishes", deadline, || self.0.is_finished());
        self.0.stop()
    }
}

/// What a subscriber takes.
#[derive(Debug, Clone)]
pub struct SubscriberOptions {
    /// How it connects.
    pub client: ClientOptions,
    /// Its name in the ledger.
    pub name: String,
    /// Filters and QoS.
    pub filters: Vec<(String, u8)>,
}

impl SubscriberOptions {
    /// One filter.
    pub fn new(client: ClientOptions, name: &str, filter: &str, qos: u8) -> Self {
        Self { client, name: name.to_owned(), filters: vec![(filter.to_owned(), qos)] }
    }
}

/// Receives until it is stopped; connects again with its session.
#[derive(Debug)]
pub struct Subscriber(Worker);

impl Subscriber {
    /// Connects, and returns when it is subscribed.
    #[track_caller]
    pub fn start(port: u16, options: SubscriberOptions, ledger: &Ledger) -> Self {
        let mut client = Client::connect(port, &options.client).expect("the subscriber connects");
        subscribe(&mut client, &options).expect("the subscriber subscribes");
        let ledger = ledger.clone();
        Self(Worker::spawn(move |progress| receive(client, &options, &ledger, progress)))
    }

    /// How many were received so far.
    pub fn received(&self) -> u64 {
        self.0.progress.count.load(Ordering::SeqCst)
    }

    /// Receives no more, and says how many were received.
    #[track_caller]
    pub fn stop(self) -> u64 {
        self.0.stop()
    }
}

#[derive(Debug)]
struct Worker {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// Between the thread that works and the test: stop, and how far it has come.
#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    count: AtomicU64,
}

impl Progress {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

impl Worker {
    fn spawn(work: impl FnOnce(&Progress) -> io::Result<()> + Send + 'static) -> Self {
        let progress = Arc::new(Progress::default());
        let theirs = Arc::clone(&progress);
        Self { progress, thread: Some(std::thread::spawn(move || work(&theirs))) }
    }

    fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    #[track_caller]
    fn stop(mut self) -> u64 {
        self.progress.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the thread does not panic").expect("the connection comes back in time");
        }
        self.progress.count.load(Ordering::SeqCst)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::SeqCst);
    }
}

fn publish(mut client: Client, options: &PublisherOptions, ledger: &Ledger, progress: &Progress) -> io::Result<()> {
    let begin = Instant::now();
    let mut waiting: HashMap<u64, Id> = HashMap::new();
    let mut sent = 0;
    while !progress.stopped() && options.count.is_none_or(|count| sent < count) {
        // Waited for here and not in `send`, so that from `send` on the client has the message, whatever happens.
        if options.qos > 0 && !client.has_room() {
            let result = client.turn(TURN);
            settle(&mut client, result, &mut waiting, ledger)?;
            continue;
        }
        let id = Id::new(format!("{}{}", options.key_prefix, sent % options.keys), sent / options.keys);
        let topic = options.topic.replace("{key}", &id.key);
        ledger.published(id.clone());
        if options.qos > 0 {
            // Tokens are numbered from 0, as these are.
            waiting.insert(sent, id.clone());
        }
        let result = client.send(&topic, &id.encode(options.payload_bytes), options.qos, false).map(drop);
        sent += 1;
        progress.count.store(sent, Ordering::SeqCst);
        settle(&mut client, result, &mut waiting, ledger)?;
        if options.rate > 0 {
            let due = begin + Duration::from_secs_f64(sent as f64 / f64::from(options.rate));
            while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
                let result = client.turn(early.min(TURN));
                settle(&mut client, result, &mut waiting, ledger)?;
            }
        }
    }
    let end = Instant::now() + DEADLINE;
    let result = client.flush();
    settle(&mut client, result, &mut waiting, ledger)?;
    while client.in_flight() > 0 && Instant::now() < end {
        let result = client.turn(TURN);
        settle(&mut client, result, &mut waiting, ledger)?;
    }
    if client.in_flight() > 0 { Err(io::ErrorKind::TimedOut.into()) } else { client.disconnect() }
}

/// Records what was acknowledged, and connects again if the connection is lost.
fn settle(
    client: &mut Client,
    result: io::Result<()>,
    waiting: &mut HashMap<u64, Id>,
    ledger: &Ledger,
) -> io::Result<()> {
    if result.is_err() {
        reconnect(client, |_| Ok(()))?;
    }
    for token in client.completed() {
        if let Some(id) = waiting.remove(&token) {
            ledger.acknowledged(&id);
        }
    }
    Ok(())
}

fn receive(mut client: Client, options: &SubscriberOptions, ledger: &Ledger, progress: &Progress) -> io::Result<()> {
    while !progress.stopped() {
        match client.receive(TURN) {
            Ok(Some(received)) => {
                ledger.received_payload(&options.name, &received.payload);
                progress.count.fetch_add(1, Ordering::SeqCst);
            }
            Ok(None) => {}
            Err(_) => reconnect(&mut client, |client| subscribe(client, options))?,
        }
    }
    client.disconnect()
}

/// Subscribes even where the session is kept: it may have been lost, and subscribing twice does no harm.
fn subscribe(client: &mut Client, options: &SubscriberOptions) -> io::Result<()> {
    if client.session_present() {
        return Ok(());
    }
    let filters: Vec<(&str, u8)> = options.filters.iter().map(|(filter, qos)| (filter.as_str(), *qos)).collect();
    client.subscribe(&filters).map(drop)
}

fn reconnect(client: &mut Client, then: impl Fn(&mut Client) -> io::Result<()>) -> io::Result<()> {
    let end = Instant::now() + DEADLINE;
    loop {
        match client.reconnect().and_then(|()| then(client)) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, FaultProxy, Mosquitto, Version};

    fn client(id: &str) -> ClientOptions {
        ClientOptions::new(Version::V311, id).clean(false)
    }

    #[test]
    fn traffic_is_written_into_the_ledger() {
        let broker = Mosquitto::start();
        let ledger = Ledger::new();
        let options = SubscriberOptions::new(client("sub"), "s", "dev/+/temp", 1);
        let subscriber = Subscriber::start(broker.port(), options, &ledger);
        let mut options = PublisherOptions::new(client("pub"), "dev/{key}/temp");
        options.count = Some(2_000);
        let sent = Publisher::start(broker.port(), options, &ledger).finish(DEADLINE);
        eventually("all of it arrives", DEADLINE, || subscriber.received() >= sent);
        assert_eq!((sent, subscriber.stop()), (2_000, 2_000));
        let check = ledger.check("s");
        check.assert_exactly_once().assert_in_order().assert_published(2_000);
        assert_eq!(check.acknowledged, 2_000);
    }

    #[test]
    fn a_rate_is_kept() {
        let broker = Mosquitto::start();
        let mut options = PublisherOptions::new(client("pub"), "dev/{key}/temp");
        (options.rate, options.count) = (500, Some(100));
        let begin = Instant::now();
        Publisher::start(broker.port(), options, &Ledger::new()).finish(DEADLINE);
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(190) && took < Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn qos_2_is_exactly_once_over_a_network_that_cuts() {
        let broker = Mosquitto::start();
        let (to_pub, to_sub) = (FaultProxy::start(broker.port()), FaultProxy::start(broker.port()));
        let ledger = Ledger::new();
        let options = SubscriberOptions::new(client("sub"), "s", "dev/+/temp", 2);
        let subscriber = Subscriber::start(to_sub.port(), options, &ledger);
        let mut options = PublisherOptions::new(client("pub"), "dev/{key}/temp");
        (options.qos, options.rate) = (2, 2_000);
        let publisher = Publisher::start(to_pub.port(), options, &ledger);
        for round in 0..10 {
            for (proxy, direction) in [(&to_pub, Direction::ToClient), (&to_sub, Direction::ToServer)] {
                proxy.cut_after(direction, 50 + 7 * round);
                eventually("the cut happens", DEADLINE, || !proxy.cut_is_pending());
            }
        }
        publisher.stop();
        let all = ledger.published_count();
        eventually("all of it arrives", DEADLINE, || ledger.received_count("s") >= all);
        subscriber.stop();
        assert!(to_pub.accepted() >= 11 && to_sub.accepted() >= 11);
        ledger.check("s").assert_exactly_once().assert_in_order().assert_published(100);
    }
}
