//! The configuration once it is known to be good. Only these types leave the crate.

mod admin;
mod broker;
mod candidate;
mod config;
mod embedded;
mod nats;
mod remap;
mod rewrite;
mod source;
mod spool;
mod status;
mod template;
mod traces;

pub use admin::{Admin, AdminAddr, AdminTls};
pub use broker::{
    Announcement, BridgeMode, Broker, BrokerUrl, Header, HeaderValue, LinkBroker, Probe, Reconnect, Scheme, Tls,
    Version, Will,
};
pub use candidate::{Candidate, Promote, Trial};
pub use config::{
    Ack, Config, Gateway, Grants, Limits, OnFailure, Plugin, Policy, Priority, Probation, Relief, Retain, Retry, Route,
    StateGrant, TargetSet, Workers,
};
pub use embedded::{
    AccessEntry, AccessLists, AccessTopics, EmbeddedBroker, EmbeddedLimits, Identity, ListenAddr, ListenScheme,
    ListenTls, ServerCertificate,
};
pub use nats::{NatsBroker, NatsServer};
pub(crate) use remap::WayBack;
pub use remap::{Remap, RemapError, Renaming};
pub use rewrite::{Rewrite, RewriteError};
pub use source::{Retained, Source, SourcePolicy, SourceSet, TwinKey};
pub use spool::{SpoolSettings, WhenFull};
pub use status::Status;
pub(crate) use template::Part;
pub use template::{Template, TemplateError};
pub use traces::{CollectorUrl, Traces};
