//! Where the box's own brokers listen: bound anew, or taken over from one that stops.

use std::cell::RefCell;
use std::rc::Rc;
use tidegate_broker::{Listener, Scheme};
use tidegate_config::{self as config, ListenAddr};

/// Where a broker listens now.
pub(crate) type Addresses = Rc<RefCell<Vec<Listening>>>;

/// One of its sockets.
#[derive(Clone)]
pub(crate) struct Listening {
    /// With the port that the system has chosen.
    pub(crate) at: ListenAddr,
    pub(super) listener: Listener,
}

/// Where it listens, with the port that the system has chosen.
pub(super) fn bound(listen: &ListenAddr, listener: &Listener) -> ListenAddr {
    match (listen, listener.local_addr()) {
        (ListenAddr::Ip { scheme, .. }, Ok(addr)) => ListenAddr::Ip { scheme: *scheme, addr },
        _ => listen.clone(),
    }
}

/// The socket of a broker that runs, if one listens just there.
pub(super) async fn bind_or_take(listen: &ListenAddr, here: &[Listening]) -> std::io::Result<Listener> {
    let ours = here.iter().find(|one| listen.is_fixed() && one.at.place() == listen.place());
    match ours {
        Some(ours) => Ok(ours.listener.speaking(scheme(listen))),
        None => bind(listen).await,
    }
}

fn scheme(listen: &ListenAddr) -> Scheme {
    match listen {
        ListenAddr::Unix(_) => Scheme::Unix,
        ListenAddr::Ip { scheme, .. } => match scheme {
            config::ListenScheme::Mqtt => Scheme::Mqtt,
            config::ListenScheme::Mqtts => Scheme::Mqtts,
            config::ListenScheme::Ws => Scheme::Ws,
            config::ListenScheme::Wss => Scheme::Wss,
        },
    }
}

pub(super) async fn bind(listen: &ListenAddr) -> std::io::Result<Listener> {
    let bound = match listen {
        ListenAddr::Ip { addr, .. } => tidegate_broker::bind(addr, scheme(listen)).await,
        ListenAddr::Unix(path) => tidegate_broker::bind_unix(path),
    };
    bound.map_err(|error| match error {
        tidegate_broker::Error::Bind { source, .. } => source,
        other => std::io::Error::other(other),
    })
}
