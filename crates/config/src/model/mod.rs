//! The configuration once it is known to be good. Only these types leave the crate.

mod broker;
mod config;
mod remap;
mod spool;

pub use broker::{
    Announcement, BridgeMode, Broker, BrokerUrl, EmbeddedBroker, EmbeddedLimits, Header, HeaderValue, LinkBroker,
    ListenAddr, ListenScheme, Reconnect, Scheme, Tls, Version, Will,
};
pub use config::{
    Ack, Admin, AdminAddr, Config, Gateway, Grants, Limits, OnFailure, Plugin, Policy, Priority, Relief, Retain, Retry,
    Route, Source, StateGrant, TargetSet, Workers,
};
pub use remap::{Remap, RemapError};
pub use spool::{SpoolSettings, WhenFull};
