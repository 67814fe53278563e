//! Two sessions, a wire that loses, slices, repeats and breaks, and a small model that knows what may be seen.
//!
//! `steps` carries out what a story says, `wire` moves the bytes, `rules` holds what each side writes, reads and is told
//! against the model.

mod rules;
mod steps;
mod wire;

use wire::Pipe;

use bytes::BytesMut;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;
use tidegate_message::Message;
use tidegate_mqtt::{AckToken, Batch, ClientSession, Completion, Flow, ReasonCode, ServerSession, Version};

/// The sending side of a direction; `1 - side` is the other.
pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

/// What both sides say about one connection, `[client, server]`.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) receive_maximum: [u16; 2],
    pub(crate) max_packet_size: [u32; 2],
    pub(crate) topic_alias_max: [u16; 2],
}

/// One step of a story. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Connect,
    Publish {
        from: usize,
        qos: u8,
        topic: u8,
        pad: u8,
        rich: bool,
    },
    /// What is in the write buffer goes onto the wire.
    Flush {
        from: usize,
    },
    /// So many bytes come off the wire.
    Deliver {
        to: usize,
        bytes: u16,
    },
    /// The owner acknowledges one message that it holds; a server may refuse it.
    Ack {
        by: usize,
        pick: u8,
        refuse: bool,
    },
    /// The owner uses a token that it used before, or one of a session that is gone.
    Stale {
        by: usize,
        pick: u8,
    },
    /// A packet on the wire arrives twice, where the protocol has an answer to that.
    Repeat {
        from: usize,
        pick: u8,
    },
    /// The connection breaks; so many bytes still arrive on either side.
    Cut {
        arrive: [u16; 2],
    },
    /// One side starts over with nothing, after a cut.
    Lose {
        side: usize,
    },
}

/// A message as the model knows it.
#[derive(Debug)]
struct Sent {
    message: Message,
    /// A completion is due.
    in_flight: bool,
    published_on: usize,
    completed: Option<ReasonCode>,
    /// The epoch of each delivery.
    delivered: Vec<usize>,
    /// What the receiving owner said, and that it said it since the last delivery.
    answer: Option<ReasonCode>,
    /// A packet with it was on the wire, last on this connection and in this epoch.
    seen: Option<(usize, usize)>,
    repeats: usize,
}

/// Messages one way.
#[derive(Debug, Default)]
struct Direction {
    sent: Vec<Sent>,
    last_delivered: [Option<usize>; 2],
    // In this epoch:
    ids: HashMap<u16, usize>,
    taken_over: HashSet<u16>,
    finished: HashSet<u16>,
    // On this connection:
    window: HashSet<u16>,
    last_written: [Option<usize>; 2],
    aliases: HashMap<u16, String>,
    to_puback: VecDeque<usize>,
    to_pubrec: VecDeque<u16>,
    pubrels: usize,
    pubcomps: usize,
}

pub(crate) struct Model {
    version: Version,
    terms: Vec<Terms>,
    now: Instant,
    client: ClientSession,
    client_is_new: bool,
    server: Option<ServerSession>,
    kept: Option<Flow>,
    /// The client has seen the answer to its CONNECT.
    introduced: bool,
    connection: usize,
    epoch: usize,
    /// The epoch in which either side last came up.
    epoch_known: usize,
    rx: [BytesMut; 2],
    pipes: [Pipe; 2],
    /// How much of each write buffer the model has seen.
    tapped: [usize; 2],
    directions: [Direction; 2],
    held: [Vec<(AckToken, usize)>; 2],
    spent: [Vec<AckToken>; 2],
    /// Somebody refused something: such messages may come again.
    refused: bool,
}

fn limit(size: u32) -> usize {
    size as usize
}

impl Model {
    pub(crate) fn new(version: Version, terms: Vec<Terms>) -> Self {
        let now = Instant::now();
        Self {
            version,
            terms,
            now,
            client: ClientSession::new(now),
            client_is_new: true,
            server: None,
            kept: None,
            introduced: false,
            connection: 0,
            epoch: 0,
            epoch_known: 0,
            rx: Default::default(),
            pipes: Default::default(),
            tapped: [0, 0],
            directions: Default::default(),
            held: Default::default(),
            spent: Default::default(),
            refused: false,
        }
    }

    fn terms(&self) -> &Terms {
        &self.terms[self.connection % self.terms.len()]
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect => self.connect(),
            Step::Publish { from, qos, topic, pad, rich } => self.publish(from, qos, topic, pad, rich),
            Step::Flush { from } => self.flush(from),
            Step::Deliver { to, bytes } => self.deliver(to, usize::from(bytes)),
            Step::Ack { by, pick, refuse } => {
                if !self.held[by].is_empty() {
                    let at = usize::from(pick) % self.held[by].len();
                    self.ack(by, at, refuse);
                }
            }
            Step::Stale { by, pick } => self.stale(by, pick),
            Step::Repeat { from, pick } => self.repeat(from, pick),
            Step::Cut { arrive } => self.cut(arrive),
            Step::Lose { side } => self.lose(side),
        }
    }

    /// The wire is whole from now on, and owners answer: everything must come to its end in bounded steps.
    pub(crate) fn heal(&mut self) {
        let messages: usize = self.directions.iter().map(|d| d.sent.len()).sum();
        for _ in 0..(20 + 6 * messages) {
            self.connect();
            for side in [CLIENT, SERVER] {
                self.flush(side);
                self.deliver(1 - side, usize::MAX);
                while !self.held[1 - side].is_empty() {
                    self.ack(1 - side, 0, false);
                }
            }
            let quiet = self.pipes.iter().all(|pipe| pipe.frames.is_empty()) && self.client.is_up();
            let unsent = self.client.tx().len() + self.server.as_mut().map_or(1, |server| server.tx().len());
            let in_flight = self.client.in_flight() + self.server.as_ref().map_or(0, |server| server.in_flight());
            if quiet && unsent == 0 && in_flight == 0 {
                self.check_the_end();
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn check_the_end(&self) {
        for direction in &self.directions {
            for (n, sent) in direction.sent.iter().enumerate().filter(|(_, sent)| sent.in_flight) {
                let reason = sent.completed.unwrap_or_else(|| panic!("message {n} never completed"));
                assert!(reason.is_error() || !sent.delivered.is_empty(), "message {n} acknowledged and lost");
            }
        }
        assert_eq!(self.client.unacknowledged(), 0);
        assert!(self.client.has_room() && self.server.as_ref().is_some_and(ServerSession::has_room));
    }
}

impl Direction {
    /// The sending side is gone, and its keys with it.
    fn forget_sender(&mut self) {
        for sent in &mut self.sent {
            sent.in_flight &= sent.completed.is_some();
        }
    }
}

/// The number of a message, and that it goes this way.
fn number(payload: &[u8], from: usize) -> usize {
    assert_eq!(usize::from(payload[0]), from, "invented");
    u32::from_be_bytes([payload[1], payload[2], payload[3], payload[4]]) as usize
}

/// What needs no more care, well or refused.
fn ended(batch: &Batch) -> Vec<Completion> {
    let refused = batch.refused.iter().map(|refusal| Completion { key: refusal.key, reason: refusal.reason });
    batch.completed.iter().copied().chain(refused).collect()
}
