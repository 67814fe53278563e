//! When to stop asking a plugin that keeps failing: a circuit breaker without a clock of its own.

use std::time::{Duration, Instant};
use tidegate_pacing::Doubling;

/// How many of the latest decisions the fault rate is taken over: the bits of a `u64`.
const WINDOW: u32 = u64::BITS;

/// When a [`Circuit`] opens and how long it stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitSettings {
    /// Opens after this many faults in a row.
    pub faults_in_a_row: u32,
    /// Opens when this many of the latest 64 decisions were faults.
    pub faults_of_64: u32,
    /// How long it stays open the first time; doubles each time a probe fails.
    pub backoff_min: Duration,
    /// The longest it stays open.
    pub backoff_max: Duration,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        Self {
            faults_in_a_row: 8,
            faults_of_64: 32,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}

/// What a circuit says to the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Closed: go ahead.
    Go,
    /// Half open: this one message may try; its outcome decides.
    Probe,
    /// Open: not before then.
    Wait(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// A probe is out. Should its outcome never be recorded, another may go at `until`.
    HalfOpen {
        until: Instant,
    },
}

/// Opens on repeated failure, lets a probe through after a backoff, closes when the probe succeeds.
///
/// Pure: every method that needs the time is given it, so a test can let years pass.
#[derive(Debug, Clone)]
pub struct Circuit {
    settings: CircuitSettings,
    state: State,
    in_a_row: u32,
    /// One bit a decision, the latest lowest; 1 is a fault.
    window: u64,
    /// How long it stays open the next time.
    backoff: Doubling,
    opened: u64,
}

impl Circuit {
    /// A closed circuit.
    pub fn new(settings: CircuitSettings) -> Self {
        let backoff = Doubling::new(settings.backoff_min, settings.backoff_max);
        Self { settings, state: State::Closed, in_a_row: 0, window: 0, backoff, opened: 0 }
    }

    /// May the next message go to the plugin?
    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed => Admission::Go,
            State::Open { until } | State::HalfOpen { until } if now < until => Admission::Wait(until),
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { until: now + self.backoff.peek() };
                Admission::Probe
            }
        }
    }

    /// The plugin decided a message. Outcomes of messages that were still under way when it opened change nothing.
    pub fn record_ok(&mut self) {
        match self.state {
            State::Closed => {
                self.in_a_row = 0;
                self.window <<= 1;
                if self.window == 0 {
                    self.backoff.reset(); // a whole window without a fault: forgiven
                }
            }
            State::Open { .. } => {}
            State::HalfOpen { .. } => {
                self.state = State::Closed;
                self.in_a_row = 0;
                // Not forgiven yet: a relapse within a window opens for longer.
                self.window = 1 << (WINDOW - 1);
            }
        }
    }

    /// The plugin failed on a message. True when this opened the circuit.
    pub fn record_fault(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.window = self.window << 1 | 1;
                let opens = self.in_a_row >= self.settings.faults_in_a_row
                    || self.window.count_ones() >= self.settings.faults_of_64;
                if opens {
                    self.open(now);
                }
                opens
            }
            State::Open { .. } => false,
            State::HalfOpen { .. } => {
                self.open(now);
                true
            }
        }
    }

    /// Open or half open.
    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// How often it opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open { until: now + self.backoff.advance() };
        self.in_a_row = 0;
        self.window = 0;
        self.opened += 1;
    }
}

impl Default for Circuit {
    fn default() -> Self {
        Self::new(CircuitSettings::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_after_faults_in_a_row_and_closes_after_a_good_probe() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for _ in 0..7 {
            assert!(!circuit.record_fault(now));
        }
        circuit.record_ok();
        for _ in 0..7 {
            assert!(!circuit.record_fault(now));
        }
        assert_eq!(circuit.admit(now), Admission::Go);
        assert!(circuit.record_fault(now));
        assert_eq!(circuit.admit(now), Admission::Wait(now + SECOND));
        circuit.record_ok(); // a straggler
        assert!(circuit.is_open());
        assert_eq!(circuit.admit(now + SECOND), Admission::Probe);
        assert_eq!(circuit.admit(now + SECOND), Admission::Wait(now + 3 * SECOND), "one probe at a time");
        circuit.record_ok();
        assert_eq!(circuit.admit(now + SECOND), Admission::Go);
    }

    #[test]
    fn a_failed_probe_doubles_the_backoff_up_to_its_maximum() {
        let (mut circuit, mut now) = (Circuit::default(), Instant::now());
        for _ in 0..8 {
            circuit.record_fault(now);
        }
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let Admission::Wait(until) = circuit.admit(now) else { panic!("open") };
            assert_eq!(until - now, expected * SECOND);
            now = until;
            assert_eq!(circuit.admit(now), Admission::Probe);
            assert!(circuit.record_fault(now));
        }
    }

    #[test]
    fn it_opens_on_a_rate_and_forgives_after_a_clean_window() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        let opened = (0..64).any(|n| {
            if n % 2 == 0 {
                circuit.record_ok();
                false
            } else {
                circuit.record_fault(now)
            }
        });
        assert!(opened, "every second one");
        assert_eq!(circuit.admit(now + SECOND), Admission::Probe);
        circuit.record_ok();
        for _ in 0..64 {
            circuit.record_ok();
        }
        for _ in 0..8 {
            circuit.record_fault(now);
        }
        assert_eq!(circuit.admit(now), Admission::Wait(now + SECOND), "the backoff starts again at its minimum");
    }

    #[test]
    fn a_lost_probe_does_not_keep_it_shut_for_ever() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for _ in 0..8 {
            circuit.record_fault(now);
        }
        assert_eq!(circuit.admit(now + SECOND), Admission::Probe);
        assert_eq!(circuit.admit(now + 3 * SECOND), Admission::Probe);
    }
}
