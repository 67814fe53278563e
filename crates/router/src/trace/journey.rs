//! The way of one message with the time of each step, for people and programs.

use super::context::TraceContext;
use crate::tap::{Said, Shown};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The way of one received message, through all its routes and to all its targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// They are numbered. One that is told again before its end keeps its number.
    pub number: u64,
    /// When it came.
    pub at: SystemTime,
    /// From this broker.
    pub broker: Arc<str>,
    /// As it came.
    pub came: Shown,
    /// What has happened to it, in order.
    pub steps: Vec<Step>,
    /// Nothing of it is under way any more. One that is not, is told as far as it has come.
    pub is_complete: bool,
    /// Those who follow it, a bit each.
    pub followers: u32,
    /// Where it is in a trace, if somebody collects those.
    pub context: Option<TraceContext>,
    /// So many of the steps were told before.
    pub told_before: usize,
}

/// One thing that happens to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// So long after its receipt.
    pub after: Duration,
    /// In this route; none where it is about all of the message.
    pub route: Option<Arc<str>>,
    /// On the way to this target: a broker, or a set.
    pub target: Option<Arc<str>>,
    /// What it is.
    pub what: What,
}

/// What happens to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It has come, and is for these routes, or for none.
    Received {
        /// By name.
        routes: Vec<Arc<str>>,
    },
    /// The broker that brings it is not the first one of its source to do so.
    Twin,
    /// It is held back for a moment, to see whether its route is in a loop.
    HeldBack,
    /// It goes to the plugins of its route.
    Asked,
    /// They have decided.
    Decided {
        /// What each of them has said, in order.
        said: Vec<Said>,
        /// What is to become of it.
        outcome: Outcome,
    },
    /// It goes into the spool for its target.
    Filed {
        /// As it is there.
        topic: Box<str>,
        /// 0, 1 or 2.
        qos: u8,
    },
    /// It goes past the spool.
    Passed {
        /// As it is sent.
        topic: Box<str>,
        /// 0, 1 or 2.
        qos: u8,
    },
    /// A record of the spool has it, and the disk will.
    Recorded {
        /// The number of that record.
        sequence: u64,
    },
    /// The disk has it, and it waits for its target.
    Durable,
    /// An operator, or the configuration, has moved it to another target.
    Moved,
    /// It has been written to this broker.
    Sent {
        /// A member, where the target is a set.
        broker: Arc<str>,
    },
    /// This broker has acknowledged it.
    Acknowledged {
        /// A member, where the target is a set.
        broker: Arc<str>,
        /// By taking it, and not by a reason code that says that it will not.
        taken: bool,
    },
    /// It is put aside, for its target hangs up on it.
    Parked {
        /// What it is replayed by.
        number: u64,
    },
    /// It goes no further.
    Ended {
        /// As it is counted.
        reason: Box<str>,
    },
    /// Its source has been told that it is taken care of.
    Settled,
}

/// What the plugins of a route make of a message; why stands in what they have said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Onward,
    /// Others go on in its place.
    Replaced,
    /// It is dropped.
    Dropped,
    /// A plugin failed, and it is dropped.
    Failed,
    /// It is put aside.
    Parked,
}
