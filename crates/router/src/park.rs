//! Messages put aside for a person: because a plugin cannot decide them, or because a target hangs up on them.

use crate::account::DropReason;
use crate::debt::{Ack, Creditor};
use crate::decide::Parking;
use crate::ids::RouteId;
use crate::lane::Entry;
use crate::parcel::Parcel;
use crate::route::{Part, RouteTarget, Target};
use crate::sessions::Sessions;
use crate::ticket::Ticket;
use crate::{Moment, Router};
use tidegate_message::Message;
use tidegate_spool::{NameKind, Parked, StateWrite, Transaction};

/// How many parked messages are kept, and how many bytes of them. What comes beyond is dropped and counted.
const PARKED_MAX: usize = 10_000;
const PARKED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The kind of a parked message that a target hangs up on; `plugin` is the target then.
pub const PARKED_FOR_TARGET: &str = "refused_by_target";

/// What a parked message takes of the room for them, in bytes.
pub(crate) fn weight(parked: &Parked) -> usize {
    parked.message.weight_bytes() + parked.reason.len()
}

/// Under this key, in the state of its route's name, stands the number by which plugins know a parked message.
fn parked_id_key(number: u64) -> String {
    format!("parked/{number}")
}

/// Why a parked message was not replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayError {
    /// There is none of that number, or it is in its route already.
    Unknown,
    /// The route of this name is not configured any more.
    NoRoute(String),
    /// Neither a broker nor a set has this name.
    NoTarget(String),
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// A message that a plugin cannot decide. Being put aside is a decision, too.
    pub(crate) fn park(&mut self, part: Part, parcel: Parcel, why: Parking, now: Moment) {
        let route = &self.routes[part.route.at()];
        let parked = Parked {
            route: route.name.to_string(),
            plugin: why.plugin.to_string(),
            kind: why.kind.to_owned(),
            reason: why.reason,
            received_ms: parcel.received_ms,
            message: parcel.message,
        };
        let Some(number) = self.reserve_parked(&parked) else {
            return self.end(part, &parked.message.topic, DropReason::ParkingFull);
        };
        let account = &mut self.routes[part.route.at()].account;
        account.parked += 1;
        account.in_flight -= 1;
        self.tell_parked(part.route, number, &parked, now);
        let id = self.remember_parked_id(part.route, number, parcel.id);
        let debt = self.debt_of(part);
        if let Some(debt) = self.debts.get_mut(debt) {
            debt.stash().parked.push((number, parked));
            debt.stash().state.push(id);
        }
        self.settle_decided(debt);
    }

    /// The number that plugins know a message by is recorded beside it, as state of its route: format 1 has no place for it
    /// in what is parked.
    fn remember_parked_id(&self, route: RouteId, number: u64, id: u64) -> StateWrite {
        let value = Some(id.to_le_bytes().to_vec());
        StateWrite { plugin: self.routes[route.at()].name_id, key: parked_id_key(number), value }
    }

    /// What plugins know a parked message by; one that was parked on its way to a target, or by an earlier version, has none.
    fn parked_id(&self, number: u64) -> Option<u64> {
        let parked = self.spool.parked().get(&number)?;
        let known = self.spool.state_of(NameKind::Route, &parked.route)?.get(&parked_id_key(number))?;
        Some(u64::from_le_bytes(known.as_slice().try_into().ok()?))
    }

    /// For the record that takes a message out of the parked ones.
    pub(crate) fn forget_parked_id(&mut self, number: u64) -> Option<StateWrite> {
        self.parked_id(number)?;
        let route = self.spool.parked().get(&number)?.route.clone();
        let plugin = self.spool.name(NameKind::Route, &route);
        Some(StateWrite { plugin, key: parked_id_key(number), value: None })
    }

    fn tell_parked(&mut self, route: RouteId, number: u64, parked: &Parked, now: Moment) {
        let Some(lines_kept_back) = self.notices.parked.allow(now.at) else { return };
        tracing::warn!(
            name: "parked",
            number,
            route = &*self.routes[route.at()].name,
            plugin = parked.plugin,
            kind = parked.kind,
            topic = %parked.message.topic.as_str().escape_debug(),
            reason = parked.reason,
            lines_kept_back = (lines_kept_back > 0).then_some(lines_kept_back),
            "put a message aside, see `tidegate parked`"
        );
    }

    /// Makes room for a parked message, and says under which number it will be; `None` if there is no room.
    fn reserve_parked(&mut self, parked: &Parked) -> Option<u64> {
        let weight = weight(parked);
        if self.spool.parked().len() >= PARKED_MAX || self.parked_bytes + weight > PARKED_BYTES_MAX {
            return None;
        }
        self.parked_bytes += weight;
        let number = self.spool.next_parked().max(self.last_parked + 1);
        self.last_parked = number;
        Some(number)
    }

    /// Puts a message aside that was on its way to a target, which hangs up on it. Returns its number; `None` without room
    /// for it, or if the spool has it no more.
    pub fn park_ticket(
        &mut self,
        target: &str,
        ticket: Ticket,
        message: Message,
        reason: String,
        now: Moment,
    ) -> Option<(RouteId, Option<u64>)> {
        let route = self.route_of_ticket(ticket)?;
        let Entry { message, received_us, .. } = self.entry(ticket, message, now);
        let parked = Parked {
            route: self.routes[route.at()].name.to_string(),
            plugin: target.to_owned(),
            kind: PARKED_FOR_TARGET.to_owned(),
            reason,
            received_ms: received_us / 1000,
            message,
        };
        let Some(number) = self.reserve_parked(&parked) else {
            self.drop_ticket(ticket, Some(&parked.message.topic), DropReason::ParkingFull);
            return Some((route, None));
        };
        if self.trace.is_on() {
            self.trace_put_aside(ticket, &parked.message, number);
        }
        let account = &mut self.routes[route.at()].account;
        account.parked += 1;
        account.in_flight -= 1;
        match ticket {
            Ticket::Spooled { .. } => {
                // First there, then gone from its queue: a crash between the two leaves it in both.
                let record = Transaction { parked: vec![(number, parked)], ..Transaction::default() };
                let sequence = self.spool.append(record);
                self.in_spool = self.in_spool.saturating_sub(1);
                self.replaced.push_back((sequence, ticket));
                self.spool.flush();
            }
            Ticket::Held { debt, .. } => {
                if let Some(debt) = self.debts.get_mut(debt) {
                    debt.stash().parked.push((number, parked));
                }
                if self.debts.is_decided(debt) {
                    self.commit(debt);
                }
                self.settle_delivered(debt);
            }
            Ticket::Loose { .. } => {
                let debt = self.debts.insert(Creditor::Nobody, received_us, 0);
                if let Some(debt) = self.debts.get_mut(debt) {
                    debt.stash().parked.push((number, parked));
                }
                self.settle_decided(debt);
            }
        }
        Some((route, Some(number)))
    }

    /// A parked message enters its route again, or goes to the target that did not take it. It stays parked until it is
    /// taken care of.
    ///
    /// # Errors
    /// There is no such message, route or target.
    pub fn replay(&mut self, number: u64, now: Moment) -> Result<(), ReplayError> {
        let target = self.parked_for(number)?;
        self.replay_parked(number, target, now)
    }

    /// A parked message goes to a target, past its route's plugins and remap.
    ///
    /// # Errors
    /// As [`replay`](Self::replay).
    pub fn replay_to(&mut self, number: u64, to: &str, now: Moment) -> Result<(), ReplayError> {
        let target = *self.targets.get(to).ok_or_else(|| ReplayError::NoTarget(to.to_owned()))?;
        self.replay_parked(number, Some(target), now)
    }

    /// Where a message was parked on its way to, if that was what failed.
    fn parked_for(&self, number: u64) -> Result<Option<Target>, ReplayError> {
        let parked = self.spool.parked().get(&number).ok_or(ReplayError::Unknown)?;
        if parked.kind != PARKED_FOR_TARGET {
            return Ok(None);
        }
        let target = self.targets.get(parked.plugin.as_str()).copied();
        target.map(Some).ok_or_else(|| ReplayError::NoTarget(parked.plugin.clone()))
    }

    fn replay_parked(&mut self, number: u64, target: Option<Target>, now: Moment) -> Result<(), ReplayError> {
        let parked = self.spool.parked().get(&number).ok_or(ReplayError::Unknown)?.clone();
        let found = self.routes_by_name.get(parked.route.as_str()).copied();
        let Some(at) = found.filter(|route| !self.routes[route.at()].removed) else {
            return Err(ReplayError::NoRoute(parked.route));
        };
        if !self.replaying.insert(number) {
            return Err(ReplayError::Unknown);
        }
        let debt = self.debts.insert(Creditor::Replayed, now.us, 0);
        if let Some(debt) = self.debts.get_mut(debt) {
            debt.stash().unparked.push(number);
        }
        if self.trace.is_on() {
            self.trace_replayed(at, debt, number);
        }
        let route = &mut self.routes[at.at()];
        route.account.replayed += 1;
        route.account.in_flight += 1;
        let Parked { message, received_ms, .. } = parked;
        if target.is_none() && !route.is_direct() {
            let id = self.parked_id(number).unwrap_or_else(|| self.new_id());
            let (debt, received_us) = (Some(debt), now.us);
            let parcel = Parcel { message, debt, id, received_ms, received_us, redelivered: true };
            self.give_to_plugins(at, parcel, now);
            return Ok(());
        }
        let part = self.part(at, Some(debt), now.us);
        match target {
            Some(to) => self.send(part, &[RouteTarget::new(to, true)], message, now),
            None => self.onward(part, message, now),
        }
        Ok(())
    }

    /// Forgets a parked message. False if there is none of that number.
    pub fn delete_parked(&mut self, number: u64) -> bool {
        let Some(weight) = self.spool.parked().get(&number).map(weight) else { return false };
        self.parked_bytes = self.parked_bytes.saturating_sub(weight);
        let state = self.forget_parked_id(number).into_iter().collect();
        self.spool.append(Transaction { unparked: vec![number], state, ..Transaction::default() });
        self.spool.flush();
        true
    }
}
