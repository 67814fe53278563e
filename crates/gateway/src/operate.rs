//! What an operator does with a running gateway: looks at what is kept aside and what waits, and has it go on, elsewhere or
//! nowhere.

use crate::data_path::Kind;
use crate::running::Gateway;
use crate::snapshot::LinkSnapshot;
use crate::waiting::{self, Redirect, RedirectError};
use std::collections::BTreeMap;
use std::time::Instant;
use tidegate_broker::{Client, ClientDetails, ClientsWanted, FailedLogins, Local};
use tidegate_plugin::is_own_key;
use tidegate_router::{Dropped, ReplayError};
use tidegate_spool::Parked;

/// What plugins remember: by plugin, by key.
pub type States = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Clients of one of the box's own brokers.
#[derive(Debug, Clone)]
pub struct ClientsFound {
    /// By their identifiers, as many as were wanted.
    pub clients: Vec<Client>,
    /// How many there are of these.
    pub count: usize,
    /// Addresses from which somebody failed to log in of late.
    pub failed_logins: Vec<FailedLogins>,
}

/// Why there is no client to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoClients {
    /// There is no such broker.
    #[error("there is no such broker")]
    NoBroker,
    /// It is none of the box's own: only it knows its clients.
    #[error("it is none of the box's own brokers: it knows its clients itself")]
    NotOwn,
    /// Nobody there knows it.
    #[error("no client of this identifier is connected, and none has a session")]
    NoClient,
}

impl Gateway {
    /// Looks at each message that is kept aside, by its number, in order.
    pub fn parked<T>(&self, mut look: impl FnMut(u64, &Parked) -> T) -> Vec<T> {
        let path = self.path().borrow();
        path.router.spool().parked().iter().map(|(number, parked)| look(*number, parked)).collect()
    }

    /// Looks at one of them.
    pub fn parked_one<T>(&self, number: u64, look: impl FnOnce(&Parked) -> T) -> Option<T> {
        self.path().borrow().router.spool().parked().get(&number).map(look)
    }

    /// Lets a message that is kept aside enter its route again, or sends it to the target that did not take it, or to this
    /// one as it is.
    ///
    /// # Errors
    /// Why not.
    pub fn replay(&self, number: u64, to: Option<&str>) -> Result<(), ReplayError> {
        self.path().borrow_mut().replay(number, to, Instant::now())
    }

    /// Forgets a message that is kept aside. False if there is none of this number.
    pub fn delete_parked(&self, number: u64) -> bool {
        self.path().borrow_mut().router.delete_parked(number)
    }

    /// Moves or discards what waits for a target. Returns how many messages that are.
    ///
    /// # Errors
    /// Why not.
    pub fn redirect(&self, what: &Redirect) -> Result<u64, RedirectError> {
        let mut path = self.path().borrow_mut();
        let now = Instant::now();
        let moment = path.moment(now);
        let outcome = waiting::redirect(&mut path.router, what, moment);
        path.flush(now);
        outcome.map_err(RedirectError::from)
    }

    /// Sends nothing more to a broker, or goes on. What is for it waits; as a member of a set with others that are well it is
    /// given up: its messages go to those. It lasts until the gateway ends. False if there is no such broker.
    pub fn pause(&self, name: &str, paused: bool) -> bool {
        let mut path = self.path().borrow_mut();
        let Some(at) = path.router.brokers().find(|(_, it)| !it.is_gone() && &*it.name == name).map(|(at, _)| at)
        else {
            return false;
        };
        let now = Instant::now();
        if std::mem::replace(&mut path.router.broker_mut(at).paused, paused) != paused {
            tracing::warn!(
                name: "paused",
                broker = name,
                "{}",
                if paused { "paused by an operator" } else { "goes on" }
            );
        }
        path.look_at_members(now);
        path.look.notify_one();
        path.router.touch(at);
        path.flush(now);
        true
    }

    /// The connections that there were to a broker, the newest last, and what it was asked to send; `None` if there is none.
    pub fn link(&self, name: &str) -> Option<LinkSnapshot> {
        let path = self.path().borrow();
        let (at, _) = path.router.brokers().find(|(_, it)| !it.is_gone() && &*it.name == name)?;
        Some(path.link_snapshot(at))
    }

    /// The clients of one of the box's own brokers that are wanted.
    ///
    /// # Errors
    /// Why there are none to list.
    pub fn clients(&self, broker: &str, wanted: &ClientsWanted) -> Result<ClientsFound, NoClients> {
        self.own(broker).map(|own| {
            let (clients, count) = own.clients(wanted);
            ClientsFound { clients, count, failed_logins: own.failed_logins() }
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn client(&self, broker: &str, client_id: &str) -> Result<ClientDetails, NoClients> {
        self.own(broker)?.client(client_id).ok_or(NoClients::NoClient)
    }

    /// Ends the connection of one of them; `forget`: and its session, with all that waits for it. False if it was not connected, and is
    /// not to be forgotten.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn disconnect(&self, broker: &str, client_id: &str, forget: bool) -> Result<bool, NoClients> {
        let ended = self.own(broker)?.disconnect(client_id, forget).ok_or(NoClients::NoClient)?;
        if ended {
            let client = tidegate_message::text::Escaped(client_id);
            tracing::warn!(name: "client_disconnected", broker, %client, forget, "disconnected by an operator");
        }
        Ok(ended)
    }

    fn own(&self, broker: &str) -> Result<Local, NoClients> {
        let path = self.path().borrow();
        let found = path.router.brokers().find(|(_, it)| !it.is_gone() && &*it.name == broker);
        let (at, _) = found.ok_or(NoClients::NoBroker)?;
        match &path.end(at).kind {
            Kind::Embedded { local, .. } => Ok(local.clone()),
            _ => Err(NoClients::NotOwn),
        }
    }

    /// The last messages that ended without being delivered, the oldest first, and how many there have been in all.
    pub fn dropped(&self) -> (Vec<Dropped>, u64) {
        self.path().borrow().router.dropped()
    }

    /// What plugins remember.
    pub fn states(&self) -> States {
        let path = self.path().borrow();
        let spool = path.router.spool();
        let state = |plugin: String| {
            let keys = spool.plugin_state(&plugin).into_iter().flatten();
            let keys = keys.filter(|(key, _)| !is_own_key(key));
            let keys = keys.map(|(key, value)| (key.clone(), value.to_vec())).collect();
            (plugin, keys)
        };
        spool.plugins_with_state().into_iter().map(state).collect()
    }
}
