//! Where a connection comes from, as far as it counts: how many there are, how fast they come, how often they fail to log in.

use super::end::End;
use crate::addresses::place;
use crate::listener::Peer;
use crate::settings::Settings;
use crate::shared::SharedBroker;
use std::io;
use std::rc::Rc;
use std::time::Instant;
use tidegate_mqtt::ReasonCode;
use tidegate_transport::Socket;

/// A connection, counted where it comes from for as long as this is there.
pub(super) struct Arrival {
    shared: Rc<SharedBroker>,
    pub(super) peer: Peer,
    /// Why its client is not to be let in.
    limited: Result<(), ReasonCode>,
}

/// Counts a connection; of one that a proxy hands on reads first who it is.
pub(super) async fn arrive(
    shared: &Rc<SharedBroker>,
    mut socket: Socket,
    peer: Peer,
    settings: &Settings,
    deadline: tokio::time::Instant,
) -> Result<(Socket, Arrival), End> {
    let peer = match &mut socket {
        Socket::Tcp(stream) if settings.proxies.iter().any(|range| range.contains(&peer.address().to_canonical())) => {
            // Boxed, as what only the beginning needs is in the whole of a connection's life.
            let header = Box::pin(tokio::time::timeout_at(deadline, tidegate_transport::proxied(stream)));
            match header.await {
                Ok(Ok(client)) => client.map_or(peer, Peer::Ip),
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => return Err(End::Handshake(error)),
                Ok(Err(error)) => return Err(End::Broken(error)),
                Err(_) => return Err(End::TooLate),
            }
        }
        _ => peer,
    };
    let limited = {
        let mut state = shared.state.borrow_mut();
        let settings = state.settings.clone();
        state.addresses.open(peer.address(), &settings.limits, Instant::now())
    };
    Ok((socket, Arrival { shared: shared.clone(), peer, limited }))
}

impl Arrival {
    /// Whether its client, which calls itself so, may say who it is. One that has a connection from there, and loses it to this one,
    /// is none too many.
    ///
    /// # Errors
    /// What it is to be told.
    pub(super) fn may_log_in(&self, client_id: &str) -> Result<(), ReasonCode> {
        let state = self.shared.state.borrow();
        let known = state.sessions.of_client(client_id).and_then(|slot| state.sessions.get(slot));
        let there = known.and_then(|session| session.connection.as_ref()).map(|there| place(there.peer.address()));
        match self.limited {
            Err(ReasonCode::QUOTA_EXCEEDED) if there == Some(place(self.peer.address())) => {}
            limited => limited?,
        }
        match state.addresses.may_try(self.peer.address()) {
            true => Ok(()),
            false => Err(ReasonCode::SERVER_BUSY),
        }
    }

    /// Its client has said a wrong password: that costs time. Returns how often somebody did from there.
    pub(super) async fn failed_to_log_in(&self) -> u32 {
        let (address, settings) = (self.peer.address(), self.shared.settings());
        let (count, delay) = {
            let mut state = self.shared.state.borrow_mut();
            state.stats.failed_logins += 1;
            state.addresses.failed(address, settings.failed_login_delay, Instant::now())
        };
        let waiting = Waiting(self);
        // It is told before its time is over.
        tokio::time::sleep(delay.min(settings.connect_timeout / 2)).await;
        drop(waiting);
        count
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // Borrowed only if this is a panic's doing.
        if let Ok(mut state) = self.shared.state.try_borrow_mut() {
            state.addresses.close(self.peer.address(), Instant::now());
        }
    }
}

/// A client that waits to be told that it failed.
struct Waiting<'a>(&'a Arrival);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.shared.state.try_borrow_mut() {
            state.addresses.told(self.0.peer.address());
        }
    }
}
