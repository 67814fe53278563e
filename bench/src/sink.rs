//! The null broker at the end: it counts what comes, and acknowledges it in batches.

use crate::messages::{self, device, device_after};
use crate::wire::{self, Connect, Inbox};
use anyhow::{Context, Result};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidegate_testkit::{Process, within};

/// The one who receives.
pub(crate) struct Sink {
    port: u16,
    broker: Arc<Broker>,
}

/// What its threads have in common.
#[derive(Default)]
struct Broker {
    received: AtomicU64,
    foreign: AtomicU64,
    gaps: AtomicU64,
    // The device that must be next; 0: any.
    expected: AtomicU64,
    first: Mutex<Option<Instant>>,
    // When the last batch came, and the longest time between two.
    last_ns: AtomicU64,
    silence_ns: AtomicU64,
    timing: AtomicBool,
    latencies_ns: Mutex<Vec<u64>>,
    payload_begins: &'static str,
}

/// What came, besides a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Messages whose topic, or the beginning of their payload, is not what it must be.
    pub(crate) foreign: u64,
    /// Places where a message is missing, repeated, or out of order.
    pub(crate) gaps: u64,
}

impl Sink {
    /// Listens. Every payload must begin so.
    pub(crate) fn start(payload_begins: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("the sink's listener")?;
        let port = listener.local_addr()?.port();
        let broker = Arc::new(Broker { payload_begins, ..Broker::default() });
        let accepting = Arc::clone(&broker);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let broker = Arc::clone(&accepting);
                // One that is lost is seen by who waits for its messages.
                std::thread::spawn(move || broker.serve(stream));
            }
        });
        Ok(Self { port, broker })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Messages so far.
    pub(crate) fn received(&self) -> u64 {
        self.broker.received.load(Ordering::Relaxed)
    }

    /// When the first message came.
    pub(crate) fn first(&self) -> Option<Instant> {
        *self.broker.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first message of a subject, and says when it came.
    pub(crate) fn wait_for_first(&self, of: &mut Process, patience: Duration) -> Result<Instant> {
        within(patience, || self.first().is_some() || !of.is_running());
        self.first().with_context(|| format!("no message came through within {patience:?}{}", of.tail()))
    }

    /// What was wrong since the last call; the next message may be of any device.
    pub(crate) fn take_faults(&self) -> Faults {
        self.broker.expected.store(0, Ordering::Relaxed);
        Faults {
            foreign: self.broker.foreign.swap(0, Ordering::Relaxed),
            gaps: self.broker.gaps.swap(0, Ordering::Relaxed),
        }
    }

    /// The longest time between two batches since the last call.
    pub(crate) fn take_silence_ns(&self) -> u64 {
        self.broker.silence_ns.swap(0, Ordering::Relaxed)
    }

    /// From now on, or no longer, the time in each payload is compared with the clock.
    pub(crate) fn set_timing(&self, on: bool) {
        self.broker.timing.store(on, Ordering::SeqCst);
    }

    /// Source to sink, in nanoseconds, unsorted.
    pub(crate) fn take_latencies_ns(&self) -> Vec<u64> {
        std::mem::take(&mut *self.broker.latencies_ns.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What one read brought.
#[derive(Default)]
struct Batch {
    begun: bool,
    timing: bool,
    received: u64,
    foreign: u64,
    gaps: u64,
    expected: u16,
    payload_begins: &'static str,
    answers: Vec<u8>,
    latencies_ns: Vec<u64>,
}

impl Broker {
    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut writer = stream.try_clone()?;
        let mut inbox = Inbox::new();
        let mut connect = None;
        let mut batch = Batch::default();
        loop {
            let open = inbox.turn(&mut stream, |first, body| match (first >> 4, connect) {
                (wire::PUBLISH, Some(Connect { v5, .. })) => {
                    if !batch.begun {
                        batch.begin(self);
                    }
                    batch.publish(first, body, v5);
                }
                (wire::CONNECT, None) => {
                    if let Ok(read) = Connect::read(body) {
                        batch.answers.extend_from_slice(read.connack());
                        connect = Some(read);
                    }
                }
                (wire::SUBSCRIBE, Some(Connect { v5, .. })) => {
                    batch.answers.extend(wire::suback(body, v5).map(|(suback, _)| suback).unwrap_or_default());
                }
                (wire::PINGREQ, _) => batch.answers.extend([0xd0, 0]),
                _ => {}
            })?;
            if !open {
                return Ok(());
            }
            self.record(&mut batch);
            if !batch.answers.is_empty() {
                writer.write_all(&batch.answers)?;
                batch.answers.clear();
            }
        }
    }

    fn record(&self, batch: &mut Batch) {
        if !std::mem::take(&mut batch.begun) {
            return;
        }
        if batch.received > 0 {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(Instant::now);
        }
        let now = messages::now_ns();
        let last = self.last_ns.swap(now, Ordering::Relaxed);
        if last > 0 {
            self.silence_ns.fetch_max(now.saturating_sub(last), Ordering::Relaxed);
        }
        self.expected.store(batch.expected.into(), Ordering::Relaxed);
        self.foreign.fetch_add(std::mem::take(&mut batch.foreign), Ordering::Relaxed);
        self.gaps.fetch_add(std::mem::take(&mut batch.gaps), Ordering::Relaxed);
        self.received.fetch_add(std::mem::take(&mut batch.received), Ordering::Relaxed);
        if !batch.latencies_ns.is_empty() {
            self.latencies_ns.lock().unwrap_or_else(PoisonError::into_inner).append(&mut batch.latencies_ns);
        }
    }
}

impl Batch {
    /// After the read has returned: while it waited, somebody may have asked for something else.
    fn begin(&mut self, broker: &Broker) {
        self.begun = true;
        self.timing = broker.timing.load(Ordering::Relaxed);
        self.expected = broker.expected.load(Ordering::Relaxed) as u16;
        self.payload_begins = broker.payload_begins;
    }

    #[inline]
    fn publish(&mut self, first: u8, body: &[u8], v5: bool) {
        let Some((topic, mut rest)) = wire::text(body) else {
            self.foreign += 1;
            return;
        };
        if first & 6 != 0
            && let Some((id, after)) = rest.split_at_checked(2)
        {
            self.answers.extend([0x40, 2, id[0], id[1]]);
            rest = after;
        }
        let payload = if v5 { wire::after_properties(rest).unwrap_or(rest) } else { rest };
        let device = device(topic).filter(|_| payload.starts_with(self.payload_begins.as_bytes()));
        if self.timing && device.is_some() {
            let sent = messages::stamp(payload);
            self.latencies_ns.extend(sent.map(|sent| messages::now_ns().saturating_sub(sent)));
        }
        match device {
            Some(device) => {
                self.received += 1;
                self.gaps += u64::from(self.expected != 0 && self.expected != device);
                self.expected = device_after(device);
            }
            // A status message of the subject, or one that was not changed as it should be.
            None => self.foreign += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tidegate_testkit::{Client, ClientOptions, Version, within};

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn it_counts_acknowledges_and_notices_what_is_missing() {
        for version in [Version::V311, Version::V5] {
            let sink = Sink::start("{").unwrap();
            let mut client = Client::connect(sink.port(), &ClientOptions::new(version, "x")).unwrap();
            for device in [100, 101, 102, 199, 100] {
                client.publish(&format!("site/cottage/{device}/temp"), b"{}", 1, false).unwrap();
            }
            client.publish("dev/101/temp", b"{}", 0, false).unwrap();
            client.publish("site/cottage/101/temp", b"[]", 0, false).unwrap();
            assert!(within(SOON, || sink.broker.foreign.load(Ordering::Relaxed) == 2));
            assert_eq!(sink.received(), 5);
            assert_eq!(sink.take_faults(), Faults { foreign: 2, gaps: 1 });
            assert!(sink.first().is_some());
        }
    }

    #[test]
    fn it_reads_the_time() {
        let sink = Sink::start("").unwrap();
        let mut client = Client::connect(sink.port(), &ClientOptions::new(Version::V5, "x")).unwrap();
        sink.set_timing(true);
        let payload = format!(r#"{{"t":{}}}"#, 1_000_000_000_000_001u64 + messages::now_ns());
        std::thread::sleep(Duration::from_millis(3));
        client.publish("site/cottage/100/temp", payload.as_bytes(), 1, false).unwrap();
        let latencies = sink.take_latencies_ns();
        assert_eq!(latencies.len(), 1);
        assert!((3_000_000..2_000_000_000).contains(&latencies[0]), "{latencies:?}");
    }
}
