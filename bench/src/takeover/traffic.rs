//! Devices that publish, and who reads what arrives.

use super::site::{FILTER, PATIENCE};
use crate::messages::now_ns;
use anyhow::{Result, bail};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_testkit::{Client, ClientOptions, Version, within};

/// How long a turn waits for something to come.
const TURN: Duration = Duration::from_millis(1);

/// Published and not acknowledged, at most.
const WINDOW: usize = 500;

const PAYLOAD_BYTES: usize = 200;

/// Publishes at QoS 1 to topics in turn, until it is stopped.
pub(super) struct Feed {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Feed {
    /// So many messages a second, or with 0 as fast as they are acknowledged.
    pub(super) fn start(port: u16, topics: u64, per_s: u32) -> Result<Self> {
        let client = Client::connect(port, &ClientOptions::new(Version::V5, "devices").window(WINDOW))?;
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || publish(client, topics, per_s, None, &stopped, &count));
        Ok(Self { stop, sent, thread: Some(thread) })
    }

    /// Messages so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// No more; returns how many were sent when all of them are acknowledged.
    pub(super) fn stop(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            return Err(error);
        }
        Ok(self.sent())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// One message to each of so many topics, all acknowledged when it returns.
pub(super) fn one_each(port: u16, topics: u64) -> Result<()> {
    let client = Client::connect(port, &ClientOptions::new(Version::V5, "devices").window(WINDOW))?;
    publish(client, topics, 0, Some(topics), &AtomicBool::new(false), &AtomicU64::new(0))
}

fn publish(
    mut client: Client,
    topics: u64,
    per_s: u32,
    count: Option<u64>,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<()> {
    let begin = Instant::now();
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) && count.is_none_or(|count| n < count) {
        let payload = format!("{:~<PAYLOAD_BYTES$}", format!("{n},{},", now_ns()));
        client.send(&format!("d/{}", n % topics), payload.as_bytes(), 1, false)?;
        n += 1;
        sent.store(n, Ordering::SeqCst);
        client.completed();
        if per_s > 0 {
            let due = begin + Duration::from_secs_f64(n as f64 / f64::from(per_s));
            while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
                client.turn(early.min(TURN))?;
            }
        }
    }
    let end = Instant::now() + PATIENCE;
    while client.in_flight() > 0 {
        if Instant::now() > end {
            bail!("{} messages were not acknowledged within {PATIENCE:?}", client.in_flight());
        }
        client.turn(TURN)?;
    }
    Ok(client.disconnect()?)
}

/// One message as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) topic: u32,
    pub(super) n: u64,
    pub(super) at: Instant,
    /// From the device's write to here.
    pub(super) took_ns: u64,
}

/// Reads everything at a broker, until it is dropped or the broker is gone.
pub(super) struct Tap {
    stop: Arc<AtomicBool>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Tap {
    pub(super) fn start(port: u16) -> Result<Self> {
        // No receive maximum of its own: it is sent as much as there is.
        let options = ClientOptions::new(Version::V5, "reader").receive_maximum(u16::MAX);
        let mut client = Client::connect(port, &options)?;
        client.subscribe(&[(FILTER, 1)])?;
        let (stop, arrivals) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Arrival>>>::default());
        let (stopped, all) = (Arc::clone(&stop), Arc::clone(&arrivals));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                match client.receive(TURN * 20) {
                    Ok(Some(came)) => {
                        if let Some(arrival) = Arrival::of(&came.topic, &came.payload) {
                            all.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
                        }
                    }
                    Ok(None) => {}
                    // Its broker was killed: what came before counts.
                    Err(_) => return,
                }
            }
        });
        Ok(Self { stop, arrivals })
    }

    pub(super) fn received(&self) -> usize {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What has come since the last call.
    pub(super) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the first message after the last call of `take`, and says when it came.
    pub(super) fn first(&self) -> Option<Instant> {
        within(PATIENCE, || self.received() > 0);
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).first().map(|first| first.at)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl Arrival {
    fn of(topic: &str, payload: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(payload).ok()?.split(',');
        let (n, sent_ns) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let topic = topic.strip_prefix("d/")?.parse().ok()?;
        Some(Self { topic, n, at: Instant::now(), took_ns: now_ns().saturating_sub(sent_ns) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_testkit::Mosquitto;

    #[test]
    fn what_is_fed_is_read_with_its_number_and_its_time() {
        let broker = Mosquitto::start();
        let tap = Tap::start(broker.port()).unwrap();
        one_each(broker.port(), 100).unwrap();
        assert!(within(PATIENCE, || tap.received() == 100));
        let came = tap.take();
        assert!(came.iter().enumerate().all(|(n, came)| came.n == n as u64 && u64::from(came.topic) == came.n));
        assert!(came.iter().all(|came| came.took_ns > 0 && came.took_ns < PATIENCE.as_nanos() as u64));
        let feed = Feed::start(broker.port(), 3, 0).unwrap();
        assert!(tap.first().is_some());
        let sent = feed.stop().unwrap();
        assert!(within(PATIENCE, || tap.received() as u64 == sent));
        assert!(tap.take().iter().all(|came| came.topic < 3));
    }
}
