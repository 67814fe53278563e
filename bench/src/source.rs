//! The null broker at the beginning: it answers a client, and publishes as it is told.
//!
//! Nothing is encoded while it runs and nothing is stored. At QoS 1 it keeps a window full: the thread that reads the
//! acknowledgements writes as many messages as they have made room for.

use crate::messages::{Load, Messages, PACKETS};
use crate::wire::{self, Connect, Inbox};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the pacer waits for room in the window, and everybody for a subscriber, before looking again.
const LOOK: Duration = Duration::from_millis(20);

/// The one who publishes.
pub(crate) struct Source {
    port: u16,
    broker: Arc<Broker>,
    publishing: Option<JoinHandle<()>>,
}

/// What its threads have in common.
struct Broker {
    window: usize,
    load: Load,
    mode: AtomicU8,
    published: AtomicU64,
    // Answers that wait until nobody is in the middle of a packet.
    answers: Mutex<Vec<u8>>,
    answers_wait: AtomicBool,
    subscriber: Mutex<Option<Subscriber>>,
    changed: Condvar,
}

struct Subscriber {
    stream: TcpStream,
    messages: Messages,
    // Room in the window; QoS 0 needs none.
    room: Option<usize>,
}

const IDLE: u8 = 0;
const FULL: u8 = 1;
const PACED: u8 = 2;

impl Source {
    /// Listens. At QoS 1 `window` messages may be unacknowledged, or fewer if an MQTT 5 client says so.
    pub(crate) fn start(window: usize, load: Load) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("the source's listener")?;
        let port = listener.local_addr()?.port();
        let broker = Arc::new(Broker {
            window,
            load,
            mode: AtomicU8::new(IDLE),
            published: AtomicU64::new(0),
            answers: Mutex::default(),
            answers_wait: AtomicBool::new(false),
            subscriber: Mutex::new(None),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&broker);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let broker = Arc::clone(&accepting);
                // One that is lost is seen by who waits for its messages.
                std::thread::spawn(move || broker.serve(stream));
            }
        });
        Ok(Self { port, broker, publishing: None })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Messages written so far.
    pub(crate) fn published(&self) -> u64 {
        self.broker.published.load(Ordering::Relaxed)
    }

    /// Publishes as fast as the socket (QoS 0) or the window (QoS 1) takes it.
    pub(crate) fn full_speed(&mut self) {
        self.publish(FULL, |broker| broker.full_speed());
    }

    /// Publishes one message a write, so many a second, with the time in the payload. Begins with the subscription.
    pub(crate) fn paced(&mut self, per_s: u32) {
        let interval = Duration::from_secs(1) / per_s;
        self.publish(PACED, move |broker| broker.paced(interval));
    }

    /// Publishes no more.
    pub(crate) fn stop(&mut self) {
        self.broker.mode.store(IDLE, Ordering::SeqCst);
        self.broker.changed.notify_all();
        if let Some(thread) = self.publishing.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }

    fn publish(&mut self, mode: u8, work: impl FnOnce(&Broker) + Send + 'static) {
        self.stop();
        self.broker.mode.store(mode, Ordering::SeqCst);
        let broker = Arc::clone(&self.broker);
        self.publishing = Some(std::thread::spawn(move || work(&broker)));
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.broker.mode.store(IDLE, Ordering::SeqCst);
    }
}

impl Broker {
    fn mode(&self) -> u8 {
        self.mode.load(Ordering::SeqCst)
    }

    fn subscriber(&self) -> MutexGuard<'_, Option<Subscriber>> {
        self.subscriber.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut writer = stream.try_clone()?;
        let mut inbox = Inbox::new();
        let mut connect = None;
        let mut subscribed = false;
        loop {
            let mut acked = 0;
            let mut answers = Vec::new();
            let mut wish = None;
            let mut wrong = None;
            let open = inbox.turn(&mut stream, |first, body| match (first >> 4, connect) {
                (wire::PUBACK, _) => acked += 1,
                (wire::CONNECT, None) => match Connect::read(body) {
                    Ok(read) => {
                        answers.extend_from_slice(read.connack());
                        connect = Some(read);
                    }
                    Err(error) => wrong = Some(error),
                },
                (wire::SUBSCRIBE, Some(connect)) => {
                    if let Some((suback, qos)) = wire::suback(body, connect.v5) {
                        answers.extend(suback);
                        wish = Some((qos.min(1), connect));
                    }
                }
                (wire::UNSUBSCRIBE, Some(connect)) => answers.extend(unsuback(body, connect.v5)),
                (wire::PINGREQ, _) => answers.extend([0xd0, 0]),
                (wire::PUBLISH, _) if first & 6 == 2 => {
                    // A status message of the subject: thanked for, not looked at.
                    answers.extend(wire::puback(body));
                }
                _ => {}
            })?;
            if let Some(error) = wrong {
                return Err(error);
            }
            if !open {
                if subscribed {
                    *self.subscriber() = None;
                }
                return Ok(());
            }
            if subscribed {
                self.answer(&answers)?;
            } else {
                writer.write_all(&answers)?;
            }
            if let Some((qos, connect)) = wish {
                subscribed = true;
                self.subscribe(writer.try_clone()?, qos, connect);
            }
            if acked > 0 {
                self.make_room(acked)?;
            }
        }
    }

    fn subscribe(&self, stream: TcpStream, qos: u8, connect: Connect) {
        let window = connect.receive_maximum.map_or(self.window, |maximum| self.window.min(maximum.into()));
        let room = (qos > 0).then_some(window);
        *self.subscriber() = Some(Subscriber { stream, messages: Messages::new(qos, connect.v5, self.load), room });
        self.changed.notify_all();
    }

    fn make_room(&self, acked: usize) -> Result<()> {
        if let Some(subscriber) = &mut *self.subscriber() {
            match &mut subscriber.room {
                Some(room) => *room += acked,
                None => bail!("an acknowledgement at QoS 0"),
            }
            if self.mode() == FULL {
                self.fill(subscriber)?;
            } else {
                self.changed.notify_all();
            }
        }
        Ok(())
    }

    /// Writes until the window is full.
    fn fill(&self, subscriber: &mut Subscriber) -> Result<()> {
        while let Some(room) = subscriber.room.filter(|&room| room > 0) {
            let (count, bytes) = subscriber.messages.take(room);
            subscriber.stream.write_all(bytes)?;
            subscriber.room = Some(room - count);
            self.published.fetch_add(count as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn answer(&self, answers: &[u8]) -> Result<()> {
        if answers.is_empty() {
            return Ok(());
        }
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(answers);
        self.answers_wait.store(true, Ordering::SeqCst);
        match &mut *self.subscriber() {
            Some(subscriber) => self.flush_answers(subscriber),
            None => Ok(()),
        }
    }

    fn flush_answers(&self, subscriber: &mut Subscriber) -> Result<()> {
        if self.answers_wait.swap(false, Ordering::SeqCst) {
            let answers = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
            subscriber.stream.write_all(&answers)?;
        }
        Ok(())
    }

    fn full_speed(&self) {
        while self.mode() == FULL {
            let mut guard = self.subscriber();
            let result = match &mut *guard {
                None => {
                    drop(self.changed.wait_timeout(guard, LOOK));
                    continue;
                }
                // From now on the reader does it.
                Some(subscriber) if subscriber.room.is_some() => {
                    let _ = self.fill(subscriber);
                    return;
                }
                Some(subscriber) => self.flush_answers(subscriber).and_then(|()| {
                    let (count, bytes) = subscriber.messages.take(PACKETS);
                    subscriber.stream.write_all(bytes)?;
                    self.published.fetch_add(count as u64, Ordering::Relaxed);
                    Ok(())
                }),
            };
            if result.is_err() {
                *guard = None;
            }
            drop(guard);
            if self.answers_wait.load(Ordering::SeqCst) {
                // A lock that is let go and taken again at once leaves no room for the one who waits.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn paced(&self, interval: Duration) {
        // Sleep to the point, and not to within 50 µs of it; without the right to do so, the rate is what it is.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut due = None;
        while self.mode() == PACED {
            let mut guard = self.subscriber();
            let Some(subscriber) = guard.as_mut().filter(|subscriber| subscriber.room != Some(0)) else {
                drop(self.changed.wait_timeout(guard, LOOK));
                continue;
            };
            let written = subscriber.stream.write_all(subscriber.messages.take_stamped());
            if let Some(room) = &mut subscriber.room {
                *room -= 1;
            }
            match written {
                Ok(()) => drop(self.published.fetch_add(1, Ordering::Relaxed)),
                Err(_) => *guard = None,
            }
            drop(guard);
            let next = due.unwrap_or_else(Instant::now) + interval;
            due = Some(next);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}

fn unsuback(body: &[u8], v5: bool) -> Vec<u8> {
    let id = body.get(..2).unwrap_or(&[0, 0]);
    let more: &[u8] = if v5 { &[0, 0] } else { &[] };
    [&[0xb0, 2 + more.len() as u8], id, more].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_testkit::{Client, ClientOptions, Version, within};

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn it_publishes_at_the_qos_and_version_asked_for_and_keeps_the_window() {
        for (version, qos) in [(Version::V311, 0), (Version::V311, 1), (Version::V5, 0), (Version::V5, 1)] {
            let mut source = Source::start(7, Load::default()).unwrap();
            let mut client = Client::connect(source.port(), &ClientOptions::new(version, "x").manual_acks()).unwrap();
            client.subscribe(&[(crate::messages::FILTER, qos)]).unwrap();
            source.full_speed();
            let mut received = Vec::new();
            for _ in 0..if qos == 0 { 1000 } else { 7 } {
                received.push(client.receive(SOON).unwrap().unwrap());
            }
            assert_eq!((received[0].topic.as_str(), received[0].qos), ("dev/100/temp", qos));
            assert_eq!(received[0].payload.len(), crate::messages::PAYLOAD_BYTES);
            if qos == 1 {
                assert!(client.receive(Duration::from_millis(30)).unwrap().is_none(), "the window is full");
                assert_eq!(source.published(), 7);
                for received in &received[..3] {
                    client.ack(received);
                }
                client.flush().unwrap();
                assert!(within(SOON, || source.published() == 10));
            }
            // At QoS 0 the source may be in the middle of a write that nobody reads.
            client.abort();
            source.stop();
        }
    }

    #[test]
    fn the_pace_is_kept() {
        let mut source = Source::start(1000, Load::default()).unwrap();
        let mut client = Client::connect(source.port(), &ClientOptions::new(Version::V311, "x")).unwrap();
        source.paced(1000);
        client.subscribe(&[(crate::messages::FILTER, 0)]).unwrap();
        let begin = Instant::now();
        for _ in 0..200 {
            let received = client.receive(SOON).unwrap().unwrap();
            assert!(crate::messages::stamp(&received.payload).is_some());
        }
        assert!(begin.elapsed() >= Duration::from_millis(190), "{:?}", begin.elapsed());
        source.stop();
        let published = source.published();
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(source.published(), published);
    }
}
