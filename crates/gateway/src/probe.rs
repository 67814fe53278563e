//! Probes: a message that a broker is to send back to us, by which it is seen whether it passes on what it takes. Pure: who owns
//! it says what time it is, sends and listens.

use std::time::{Duration, Instant};
use tidegate_config::Probe;
use tidegate_message::{Message, QoS};

/// The probes of one broker.
#[derive(Debug)]
pub(crate) struct Probing {
    probe: Probe,
    /// Of this process: what others publish there is none of ours.
    mark: String,
    /// How many were sent since the start.
    sent: u64,
    /// The last one, until it is back.
    away: Option<Instant>,
    /// Since when none has come back that was sent.
    unanswered_since: Option<Instant>,
    next: Option<Instant>,
    /// How long the last one was away.
    took: Option<Duration>,
    lost: u64,
}

impl Probing {
    pub(crate) fn new(probe: Probe, mark: String) -> Self {
        Self { probe, mark, sent: 0, away: None, unanswered_since: None, next: None, took: None, lost: 0 }
    }

    pub(crate) const fn probe(&self) -> &Probe {
        &self.probe
    }

    /// The next one, if its time has come; `is_ready`: the broker is connected, and has granted the subscription.
    pub(crate) fn due(&mut self, is_ready: bool, now: Instant) -> Option<Message> {
        if !is_ready {
            (self.away, self.unanswered_since, self.next) = (None, None, None);
            return None;
        }
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.lost += u64::from(self.away.is_some());
        self.sent += 1;
        (self.away, self.next) = (Some(now), Some(now + self.probe.every));
        self.unanswered_since.get_or_insert(now);
        Some(Message::new(self.probe.topic.clone(), format!("{}{}", self.mark, self.sent), QoS::AtMostOnce))
    }

    /// Whether a message that has come is one of ours; takes note of it.
    pub(crate) fn takes(&mut self, message: &Message, now: Instant) -> bool {
        if message.topic != self.probe.topic {
            return false;
        }
        let Some(number) = message.payload.strip_prefix(self.mark.as_bytes()) else { return false };
        // One that was given up, or comes a second time, tells that the broker is alive, and not how quick it is.
        self.unanswered_since = None;
        if number == self.sent.to_string().as_bytes()
            && let Some(since) = self.away.take()
        {
            self.took = Some(now.saturating_duration_since(since));
        }
        true
    }

    /// For how long nothing has come back.
    fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.unanswered_since.map(|since| now.saturating_duration_since(since))
    }

    /// Whether nothing has come back for so long.
    pub(crate) fn is_silent(&self, patience: Duration, now: Instant) -> bool {
        self.silent_for(now).is_some_and(|silent| silent >= patience)
    }

    /// What is wrong, in words, once a second one is missing.
    pub(crate) fn problem(&self, now: Instant) -> Option<String> {
        let silent = self.silent_for(now).filter(|silent| *silent >= 2 * self.probe.every)?;
        let silent = humantime::format_duration(Duration::from_secs(silent.as_secs()));
        Some(format!("no probe on `{}` has come back for {silent}", self.probe.topic.as_str().escape_debug()))
    }

    /// How long the last one that came back was away, and how many have not come back.
    pub(crate) const fn told(&self) -> (Option<Duration>, u64) {
        (self.took, self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::Topic;

    const SECOND: Duration = Duration::from_secs(1);

    fn probing() -> Probing {
        let probe = Probe { topic: Topic::new("probe").unwrap(), every: 10 * SECOND };
        Probing::new(probe, "mark ".to_owned())
    }

    #[test]
    fn one_at_a_time_is_sent_and_known_when_it_is_back() {
        let (mut probing, start) = (probing(), Instant::now());
        assert_eq!(probing.due(false, start), None);
        let first = probing.due(true, start).expect("at once");
        assert_eq!((&*first.payload, first.qos), (&b"mark 1"[..], QoS::AtMostOnce));
        assert_eq!(probing.due(true, start + 9 * SECOND), None);
        assert_eq!(probing.silent_for(start + 9 * SECOND), Some(9 * SECOND));
        assert!(probing.takes(&first, start + 9 * SECOND));
        assert_eq!((probing.told(), probing.silent_for(start + 9 * SECOND)), ((Some(9 * SECOND), 0), None));
        assert!(probing.takes(&first, start + 9 * SECOND), "a second copy is ours, too");
        let other = |topic: &str, text: &'static str| Message::new(Topic::new(topic).unwrap(), text, QoS::AtMostOnce);
        assert!(!probing.takes(&other("probe", "another's"), start) && !probing.takes(&other("b", "mark 1"), start));
    }

    #[test]
    fn those_that_do_not_come_back_are_counted_and_told() {
        let (mut probing, start) = (probing(), Instant::now());
        let first = probing.due(true, start).expect("at once");
        assert!(probing.due(true, start + 10 * SECOND).is_some());
        assert_eq!((probing.told().1, probing.problem(start + 19 * SECOND)), (1, None));
        let problem = probing.problem(start + 20 * SECOND);
        assert_eq!(problem.as_deref(), Some("no probe on `probe` has come back for 20s"));
        assert!(probing.takes(&first, start + 21 * SECOND), "late");
        assert_eq!((probing.problem(start + 21 * SECOND), probing.told()), (None, (None, 1)));
        // A connection that is lost says nothing of the next one.
        probing.due(true, start + 30 * SECOND);
        assert_eq!(probing.due(false, start + 60 * SECOND), None);
        assert_eq!(probing.silent_for(start + 60 * SECOND), None);
        assert!(probing.due(true, start + 60 * SECOND).is_some(), "at once");
    }
}
