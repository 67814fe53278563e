//! One who publishes to itself every millisecond, and sees how long it takes while others want much of the broker.

use crate::blocking::Client;
use crate::report::quantile_us;
use crate::wire;
use anyhow::{Result, anyhow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two messages.
const BEAT: Duration = Duration::from_millis(1);

/// Publishes to itself every millisecond.
pub(crate) struct Beat {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<u64>>>,
}

/// How long its messages took, in nanoseconds, sorted.
pub(crate) struct Times(Vec<u64>);

impl Beat {
    pub(crate) fn start(port: u16) -> Result<Self> {
        let mut client = Client::connect(port, "beat", true)?;
        client.subscribe("beat", 0)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.publish("beat", 0, false)?;
                client.flush()?;
                client.until(wire::PUBLISH)?;
                times.push(began.elapsed().as_nanos() as u64);
                std::thread::sleep(BEAT);
            }
            times.sort_unstable();
            Ok(times)
        });
        Ok(Self { stop, thread })
    }

    pub(crate) fn ended(self) -> Result<Times> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the beat has stopped"))?.map(Times)
    }
}

impl Times {
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        quantile_us(&self.0, quantile)
    }

    pub(crate) fn longest_us(&self) -> f64 {
        self.0.last().map_or(f64::NAN, |&ns| ns as f64 / 1e3)
    }
}
