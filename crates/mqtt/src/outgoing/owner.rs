//! What the owner of a session asks of unfinished exchanges, and how it takes them back or ends them.

use super::{Exchange, OutgoingFlow, Phase, Unanswered, packet_id};
use crate::reason::ReasonCode;
use crate::wire::{PUBREL, put_ack};
use bytes::BytesMut;
use tidegate_message::{Message, QoS};

impl OutgoingFlow {
    /// Gives back every message the peer has not taken over, in order, and says no more about the rest.
    pub(crate) fn take_unfinished(&mut self) -> Vec<(u64, Message)> {
        let taken = self.take_back(|_| true);
        for entry in self.entries.iter_mut().filter(|entry| entry.phase != Phase::WaitsForControl) {
            entry.key = None;
        }
        taken
    }

    /// Gives back those messages with such a key that the peer has not taken over, in order, and forgets them.
    pub(crate) fn take_back(&mut self, wanted: impl Fn(u64) -> bool) -> Vec<(u64, Message)> {
        let mut taken = Vec::new();
        for entry in &mut self.entries {
            let Some(key) = entry.key.filter(|key| entry.message.is_some() && wanted(*key)) else { continue };
            let Some(message) = entry.message.take() else { continue };
            entry.key = None;
            match entry.phase {
                Phase::WaitsForPubrec => {} // PUBREL is owed to the peer, here or on the next connection
                Phase::Unsent { dup: true } if message.qos == QoS::ExactlyOnce => entry.phase = Phase::UnsentPubrel,
                Phase::Unsent { .. } => {
                    self.unsent -= 1;
                    entry.phase = Phase::Done;
                }
                _ => {
                    self.in_flight -= 1;
                    entry.phase = Phase::Done;
                }
            }
            taken.push((key, message));
        }
        self.pop_done();
        taken
    }

    /// The first exchange that the peer has not answered, of those that were begun, or taken up again, on the current or
    /// last connection.
    pub(crate) fn first_unanswered(&self) -> Option<Unanswered<'_>> {
        self.unanswered().next()
    }

    /// All of them, in the order of sending.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = Unanswered<'_>> {
        let waits = |phase| matches!(phase, Phase::WaitsForPuback | Phase::WaitsForPubrec | Phase::WaitsForPubcomp);
        let entries = self.entries.iter().enumerate().filter(move |(_, entry)| waits(entry.phase));
        entries.map(|(at, entry)| Unanswered {
            serial: self.base + at as u64,
            key: entry.key,
            message: entry.message.as_ref(),
        })
    }

    /// The keys of what is not over, in the order of sending.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.iter().filter(|entry| entry.phase != Phase::Done).filter_map(|entry| entry.key)
    }

    pub(crate) const fn largest_taken(&self) -> usize {
        self.largest_taken
    }

    pub(crate) const fn is_waiting(&self) -> bool {
        self.in_flight > 0
    }

    /// The serial that the next packet id handed out will have.
    pub(crate) fn next_serial(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Takes an exchange for ended, whatever the peer thinks of it. Returns the key and what was not taken over.
    pub(crate) fn abandon(&mut self, serial: u64) -> Option<(Option<u64>, Option<Message>)> {
        let at = usize::try_from(serial.checked_sub(self.base)?).ok()?;
        let entry = self.entries.get_mut(at)?;
        match entry.phase {
            Phase::Done | Phase::WaitsForControl => return None,
            Phase::Unsent { .. } | Phase::UnsentPubrel => self.unsent -= 1,
            phase => {
                self.in_flight -= 1;
                self.exactly_once -= usize::from(phase.is_exactly_once());
            }
        }
        entry.phase = Phase::Done;
        let taken = (entry.key.take(), entry.message.take());
        self.pop_done();
        Some(taken)
    }

    /// Ends every exchange whose message the peer has taken over. Returns their keys.
    pub(crate) fn release_all(&mut self, out: &mut BytesMut, v5: bool) -> Vec<u64> {
        let mut keys = Vec::new();
        for at in 0..self.entries.len() {
            let phase = self.entries[at].phase;
            match phase {
                Phase::UnsentPubrel => {
                    self.unsent -= 1;
                    put_ack(out, PUBREL, packet_id(self.base + at as u64), ReasonCode::SUCCESS, v5);
                }
                Phase::WaitsForPubcomp => {
                    self.in_flight -= 1;
                    self.exactly_once -= 1;
                }
                _ => continue,
            }
            let entry = &mut self.entries[at];
            entry.phase = Phase::Done;
            keys.extend(entry.key.take());
        }
        self.pop_done();
        keys
    }

    /// Lowers the QoS of a message that is to be sent again. False if there is no such message.
    pub(crate) fn lower(&mut self, serial: u64, qos: QoS) -> bool {
        let at = serial.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        let message = at.and_then(|at| self.entries.get_mut(at)).and_then(|entry| entry.message.as_mut());
        message.is_some_and(|message| {
            message.qos = message.qos.min(qos);
            true
        })
    }

    /// Keys of messages the peer took over but has not finished with.
    pub(crate) fn released_keys(&self) -> impl Iterator<Item = u64> {
        let released = |e: &&Exchange| matches!(e.phase, Phase::UnsentPubrel | Phase::WaitsForPubcomp);
        self.entries.iter().filter(released).filter_map(|e| e.key)
    }
}
