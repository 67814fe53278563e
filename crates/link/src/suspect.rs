//! Which message a broker hangs up on: found by trial, and never by what merely coincides with an outage. No I/O, no clock.
//!
//! A connection that the broker ends while an exchange is unanswered makes the first such exchange a suspect. When
//! connections have ended [`ENDS`] times with the same one first, the next ones are *trials*: first nothing is sent for
//! as long as the connection before lived but PINGREQs, which must be answered (the connection holds without the message);
//! then the suspect is sent alone. If that ends the connection [`ALONE`] times in a row, it is the message: it is sent at a
//! lower QoS, and if that does not help it is given up. Any answer to it clears it. A connection that ends while nothing
//! is sent proves the network bad and clears it, too.
//!
//! The same way a PUBREL that is never answered but by hanging up is taken as done: the broker has the message since its
//! PUBREC.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidegate_message::{Message, QoS};
use tidegate_mqtt::ReasonCode;

/// How many connections must end with the same exchange first among the unanswered before it is tried alone; fewer once
/// a message was convicted on this link.
const ENDS: u32 = 3;
const ENDS_EXPERIENCED: u32 = 1;

/// How many trials in a row must end the connection before the message is convicted.
const ALONE: u32 = 2;

/// PINGREQs make the pause of a trial longer than the message, both ways, and that of the next one twice as long: what ends
/// connections after about the same number of bytes ends the second of two trials in its pause.
const PINGS_MIN: usize = 16;
const PINGS_MAX: usize = 512;
const PINGREQ_BYTES: usize = 2;

/// How long nothing is sent in a trial: twice what the connection before lived, within these bounds.
const HOLD_MIN: Duration = Duration::from_millis(200);
const HOLD_MAX: Duration = Duration::from_secs(3);

/// The exchange that was first among the unanswered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) serial: u64,
    /// Of the message. Another process, in which serials are others, knows the message by it again.
    pub(crate) fingerprint: u64,
    /// `None` for a PUBREL.
    pub(crate) qos: Option<QoS>,
    /// About how long its packet is.
    pub(crate) bytes: usize,
}

impl First {
    pub(crate) fn of(unanswered: &tidegate_mqtt::Unanswered<'_>) -> Self {
        let fingerprint = unanswered.message.map_or(0, fingerprint);
        let bytes = unanswered.message.map_or(0, |message| message.topic.len() + message.payload.len());
        Self { serial: unanswered.serial, fingerprint, qos: unanswered.message.map(|message| message.qos), bytes }
    }
}

fn fingerprint(message: &Message) -> u64 {
    ahash::RandomState::with_seeds(2, 4, 6, 8).hash_one((message.topic.as_str(), &message.payload[..]))
}

/// What is known of a suspect; outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Suspect {
    fingerprint: u64,
    is_pubrel: bool,
    /// Connections that ended with it first.
    ends: u32,
    /// Of those, trials in a row.
    alone: u32,
    /// Its own QoS, if it was tried at a lower one.
    lowered: Option<u8>,
    #[serde(skip)]
    serial: Option<u64>,
}

/// What is to be done about a connection that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is known for certain.
    Open,
    /// Send the message of this serial again with a lower QoS.
    Lower { serial: u64, qos: QoS },
    /// It is this message: put it aside.
    GiveUp { serial: u64, trials: u32, qos: QoS },
    /// The broker has the message, and will never answer PUBREL.
    TakeAsDone { serial: u64 },
}

/// Where a connection stands in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No trial.
    Free,
    /// Nothing is sent.
    Hold,
    /// One message at a time.
    OneByOne,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// The broker ended it: no silence, no failing write, no goodbye of ours.
    pub(crate) by_peer: bool,
    /// Everything was written that was to be written.
    pub(crate) all_written: bool,
    /// How long it was up.
    pub(crate) lived: Duration,
    /// What DISCONNECT said.
    pub(crate) reason: Option<ReasonCode>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Suspicion {
    suspect: Option<Suspect>,
    phase: Phase,
    /// How many exchanges were unanswered when the trials began: so many are sent one by one.
    left: usize,
    hold: Duration,
    pings: usize,
    /// A message was found before.
    experienced: bool,
    changed: bool,
}

impl Default for Suspicion {
    fn default() -> Self {
        Self {
            suspect: None,
            phase: Phase::Free,
            left: 0,
            hold: HOLD_MIN,
            pings: PINGS_MIN,
            experienced: false,
            changed: false,
        }
    }
}

impl Suspicion {
    /// What an earlier run knew.
    pub(crate) fn restore(&mut self, suspect: Option<Suspect>) {
        self.suspect = suspect;
    }

    /// What to remember, if that has changed since last asked. A single end is no news: it happens in every outage.
    pub(crate) fn take_changed(&mut self) -> Option<Option<Suspect>> {
        std::mem::take(&mut self.changed).then(|| self.suspect.filter(|suspect| suspect.ends > 1))
    }

    fn is_on_trial(&self) -> bool {
        let ends = if self.experienced { ENDS_EXPERIENCED } else { ENDS };
        self.suspect.is_some_and(|suspect| suspect.ends >= ends)
    }

    /// Whether the next connection is a trial: then it is not waited for long.
    pub(crate) fn wants_trial(&self) -> bool {
        self.is_on_trial() || self.left > 0
    }

    /// The message that must not be sent elsewhere: it may be what breaks every connection.
    pub(crate) fn held(&self) -> Option<u64> {
        self.suspect.filter(|suspect| suspect.ends > 1).and_then(|suspect| suspect.serial)
    }

    /// Nothing is to be found out.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Free && self.suspect.is_none()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// A connection begins. Returns how many messages may be sent at a time: [`window`](Self::window).
    pub(crate) fn begin(&mut self) -> u16 {
        self.phase = if self.wants_trial() { Phase::Hold } else { Phase::Free };
        self.window()
    }

    pub(crate) fn window(&self) -> u16 {
        match self.phase {
            Phase::Free => u16::MAX,
            Phase::Hold => 0,
            Phase::OneByOne => 1,
        }
    }

    /// How many PINGREQs must be answered in a trial.
    pub(crate) fn pings(&self) -> usize {
        self.pings
    }

    /// How long nothing is sent in a trial.
    pub(crate) fn hold(&self) -> Duration {
        self.hold
    }

    /// The connection has lived without the message, and the broker has answered a ping.
    pub(crate) fn held_out(&mut self) {
        self.phase = Phase::OneByOne;
    }

    /// `count` exchanges were answered. Returns true when the last of a trial was.
    pub(crate) fn answered(&mut self, count: usize, first: Option<u64>) -> bool {
        let is_pending = |suspect: &Suspect| suspect.serial.is_some() && suspect.serial == first;
        if self.suspect.as_ref().is_some_and(|suspect| !is_pending(suspect)) {
            self.clear();
        }
        if self.phase != Phase::OneByOne {
            return false;
        }
        self.left = self.left.saturating_sub(count);
        if self.left > 0 {
            return false;
        }
        self.phase = Phase::Free;
        true
    }

    fn clear(&mut self) {
        self.changed |= self.suspect.take().is_some_and(|suspect| suspect.ends > 1);
    }

    /// A connection has ended with this exchange first among `unanswered`.
    pub(crate) fn ended(&mut self, first: Option<First>, unanswered: usize, end: End) -> Verdict {
        let phase = std::mem::replace(&mut self.phase, Phase::Free);
        if !end.by_peer {
            return Verdict::Open;
        }
        if phase == Phase::Hold {
            // It breaks without the message, too.
            self.clear();
            self.left = 0;
            return Verdict::Open;
        }
        let Some(first) = first else {
            self.clear();
            return Verdict::Open;
        };
        let known = self.suspect.filter(|suspect| match suspect.serial {
            Some(serial) => serial == first.serial,
            // Of an earlier run.
            None => suspect.fingerprint == first.fingerprint && suspect.is_pubrel == first.qos.is_none(),
        });
        let mut suspect = known.unwrap_or(Suspect {
            fingerprint: first.fingerprint,
            is_pubrel: first.qos.is_none(),
            ends: 0,
            alone: 0,
            lowered: None,
            serial: None,
        });
        suspect.serial = Some(first.serial);
        suspect.is_pubrel = first.qos.is_none();
        suspect.ends += 1;
        suspect.alone = if phase == Phase::OneByOne && end.all_written { suspect.alone + 1 } else { 0 };
        self.hold = (end.lived * 2).clamp(HOLD_MIN, HOLD_MAX);
        // A little more than the packet, for what else a connection says.
        let packet = first.bytes / PINGREQ_BYTES + PINGS_MIN;
        self.pings = (packet * (1 + suspect.alone as usize)).min(PINGS_MAX);
        self.changed = true;
        self.suspect = Some(suspect);
        if phase == Phase::Free && self.is_on_trial() {
            self.left = unanswered;
        }
        // The broker says itself what is wrong.
        let says_qos = end.reason == Some(ReasonCode::QOS_NOT_SUPPORTED);
        if says_qos && first.qos == Some(QoS::ExactlyOnce) && suspect.lowered.is_none() {
            self.suspect = Some(Suspect { ends: suspect.ends.max(ENDS), ..suspect });
            self.left = self.left.max(unanswered);
            return self.lower(first.serial);
        }
        if suspect.alone < ALONE {
            return Verdict::Open;
        }
        self.judge(suspect, &first)
    }

    fn judge(&mut self, suspect: Suspect, first: &First) -> Verdict {
        let serial = first.serial;
        match first.qos {
            None => {
                self.found();
                Verdict::TakeAsDone { serial }
            }
            Some(QoS::ExactlyOnce) if suspect.lowered.is_none() => self.lower(serial),
            Some(qos) => {
                self.found();
                let qos = suspect.lowered.and_then(QoS::from_u8).unwrap_or(qos);
                Verdict::GiveUp { serial, trials: suspect.ends, qos }
            }
        }
    }

    /// Tries it at QoS 1.
    fn lower(&mut self, serial: u64) -> Verdict {
        if let Some(suspect) = &mut self.suspect {
            (suspect.lowered, suspect.alone) = (Some(QoS::ExactlyOnce as u8), 0);
        }
        Verdict::Lower { serial, qos: QoS::AtLeastOnce }
    }

    fn found(&mut self) {
        self.experienced = true;
        self.left = self.left.saturating_sub(1);
        self.clear();
    }

    /// Whether the message that is tried alone was lowered before: if it is answered, its QoS was what the broker hung up on.
    pub(crate) fn was_lowered(&self) -> bool {
        self.phase == Phase::OneByOne && self.suspect.is_some_and(|suspect| suspect.lowered.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: End = End { by_peer: true, all_written: true, lived: Duration::from_millis(30), reason: None };

    fn publish(serial: u64, qos: QoS) -> Option<First> {
        Some(First { serial, fingerprint: serial * 7, qos: Some(qos), bytes: 20 })
    }

    /// Connections that end with this exchange first, until there is a verdict; the hold of each trial holds.
    fn until_verdict(suspicion: &mut Suspicion, first: &Option<First>, unanswered: usize) -> (Verdict, u32) {
        for ends in 1..20 {
            if suspicion.begin() == 0 {
                suspicion.held_out();
            }
            let verdict = suspicion.ended(first.clone(), unanswered, CUT);
            if verdict != Verdict::Open {
                return (verdict, ends);
            }
        }
        panic!("no verdict")
    }

    #[test]
    fn a_message_that_ends_connections_also_alone_is_given_up_and_the_next_one_sooner() {
        let mut suspicion = Suspicion::default();
        let verdict = until_verdict(&mut suspicion, &publish(4, QoS::AtLeastOnce), 3);
        assert_eq!(verdict, (Verdict::GiveUp { serial: 4, trials: 5, qos: QoS::AtLeastOnce }, 5));
        // The other two that were unanswered then go one by one, and all is free again.
        assert_eq!(suspicion.begin(), 0);
        suspicion.held_out();
        assert!(!suspicion.answered(1, Some(6)));
        assert!(suspicion.answered(1, None));
        assert_eq!(suspicion.window(), u16::MAX);
        let (_, ends) = until_verdict(&mut suspicion, &publish(9, QoS::AtLeastOnce), 1);
        assert_eq!(ends, 3);
    }

    #[test]
    fn qos_2_is_lowered_before_it_is_given_up() {
        let mut suspicion = Suspicion::default();
        let (verdict, _) = until_verdict(&mut suspicion, &publish(4, QoS::ExactlyOnce), 1);
        assert_eq!(verdict, Verdict::Lower { serial: 4, qos: QoS::AtLeastOnce });
        suspicion.begin();
        suspicion.held_out();
        assert!(suspicion.was_lowered());
        let (verdict, _) = until_verdict(&mut suspicion, &publish(4, QoS::AtLeastOnce), 1);
        assert!(matches!(verdict, Verdict::GiveUp { serial: 4, qos: QoS::ExactlyOnce, .. }), "with its own QoS");
        let mut suspicion = Suspicion::default();
        let end = End { reason: Some(ReasonCode::QOS_NOT_SUPPORTED), ..CUT };
        let says_so = suspicion.ended(publish(1, QoS::ExactlyOnce), 1, end);
        assert_eq!(says_so, Verdict::Lower { serial: 1, qos: QoS::AtLeastOnce }, "the broker says so");
        assert!(suspicion.wants_trial(), "and whether that helps is seen next");
    }

    #[test]
    fn a_pubrel_that_only_ends_connections_is_taken_as_done() {
        let first = Some(First { serial: 3, fingerprint: 0, qos: None, bytes: 0 });
        let (verdict, _) = until_verdict(&mut Suspicion::default(), &first, 1);
        assert_eq!(verdict, Verdict::TakeAsDone { serial: 3 });
    }

    #[test]
    fn connections_that_end_while_nothing_is_sent_clear_every_suspect() {
        let mut suspicion = Suspicion::default();
        for _ in 0..500 {
            // A network that breaks every connection at once, whatever is sent.
            suspicion.begin();
            assert_eq!(suspicion.ended(publish(1, QoS::AtLeastOnce), 9, CUT), Verdict::Open);
        }
    }

    #[test]
    fn what_is_answered_and_what_ends_otherwise_is_no_evidence() {
        let mut suspicion = Suspicion::default();
        for serial in 0..500 {
            suspicion.begin();
            assert_eq!(suspicion.ended(publish(serial, QoS::AtLeastOnce), 20, CUT), Verdict::Open);
        }
        let silence = End { by_peer: false, ..CUT };
        for _ in 0..500 {
            suspicion.begin();
            assert_eq!(suspicion.ended(publish(7, QoS::AtLeastOnce), 20, silence), Verdict::Open);
        }
        let half = End { all_written: false, ..CUT };
        for _ in 0..50 {
            if suspicion.begin() == 0 {
                suspicion.held_out();
            }
            assert_eq!(suspicion.ended(publish(8, QoS::AtLeastOnce), 20, half), Verdict::Open, "it never left");
        }
    }

    #[test]
    fn a_suspect_is_known_again_after_a_restart() {
        let mut before = Suspicion::default();
        for _ in 0..3 {
            before.begin();
            before.ended(publish(5, QoS::AtLeastOnce), 1, CUT);
        }
        let remembered = before.take_changed().unwrap();
        let text = serde_json::to_string(&remembered).unwrap();
        let mut after = Suspicion::default();
        after.restore(serde_json::from_str(&text).unwrap());
        assert!(after.wants_trial());
        let again = Some(First { serial: 0, fingerprint: 35, qos: Some(QoS::AtLeastOnce), bytes: 20 });
        let (verdict, ends) = until_verdict(&mut after, &again, 1);
        assert_eq!((verdict, ends), (Verdict::GiveUp { serial: 0, trials: 5, qos: QoS::AtLeastOnce }, 2));
    }
}
