//! The wire between the two: frames that were written, bytes that arrive, packets that arrive twice.

use super::{CLIENT, Model, SERVER, ended, number};
use crate::frames::{self, Frame};
use bytes::BytesMut;
use std::collections::VecDeque;
use tidegate_mqtt::{Batch, ReasonCode, Version};

/// One way of the wire.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) frames: VecDeque<Vec<u8>>,
    /// How much of the first frame has been delivered.
    pub(super) eaten: usize,
    /// What the receiver has of an unfinished frame, for the model.
    pub(super) heard: Vec<u8>,
}

impl Model {
    pub(super) fn tx(&mut self, side: usize) -> Option<&mut BytesMut> {
        match (side, &mut self.server) {
            (CLIENT, Some(_)) => Some(self.client.tx()),
            (_, Some(server)) => Some(server.tx()),
            _ => None,
        }
    }

    pub(super) fn flush(&mut self, from: usize) {
        let Some(tx) = self.tx(from) else { return };
        let mut bytes = tx.split().to_vec();
        self.pipes[from].frames.extend(frames::split(&mut bytes));
        assert!(bytes.is_empty(), "sessions write whole packets");
        self.tapped[from] = 0;
        let mut batch = Batch::default();
        match (from, &mut self.server) {
            (CLIENT, _) => self.client.sent(self.now, &mut batch),
            (_, Some(server)) => server.sent(&mut batch.completed),
            _ => {}
        }
        self.completed(from, &ended(&batch));
        self.tap(from);
    }

    pub(super) fn deliver(&mut self, to: usize, mut count: usize) {
        if self.server.is_none() {
            return;
        }
        let pipe = &mut self.pipes[1 - to];
        let mut bytes = Vec::new();
        while count > 0 {
            let Some(frame) = pipe.frames.front() else { break };
            let take = count.min(frame.len() - pipe.eaten);
            bytes.extend_from_slice(&frame[pipe.eaten..pipe.eaten + take]);
            (pipe.eaten, count) = (pipe.eaten + take, count - take);
            if pipe.eaten == frame.len() {
                pipe.frames.pop_front();
                pipe.eaten = 0;
            }
        }
        pipe.heard.extend_from_slice(&bytes);
        let heard = frames::split(&mut pipe.heard);
        for frame in heard {
            self.heard(to, frames::parse(&frame, self.version));
        }
        self.rx[to].extend_from_slice(&bytes);
        self.on_bytes(to);
    }

    pub(super) fn on_bytes(&mut self, to: usize) {
        let mut batch = Batch::default();
        let rx = &mut self.rx[to];
        match (to, &mut self.server) {
            (CLIENT, _) => self.client.on_bytes(rx, self.now, &mut batch).expect("the server keeps to the protocol"),
            (_, Some(server)) => server.on_bytes(rx, self.now, &mut batch).expect("the client keeps to the protocol"),
            _ => return,
        }
        for (_, control) in std::mem::take(&mut batch.control) {
            self.control(control);
        }
        self.completed(to, &ended(&batch));
        self.tap(to);
        let any = !batch.is_empty();
        for received in batch.received {
            self.received(to, &received);
        }
        if any && to == SERVER && !self.rx[to].is_empty() {
            self.on_bytes(to); // what stood behind CONNECT
        }
    }

    pub(super) fn repeat(&mut self, from: usize, pick: u8) {
        let v5 = self.version == Version::V5;
        let pipe = &mut self.pipes[from];
        let first = usize::from(pipe.eaten > 0);
        if pipe.frames.len() <= first {
            return;
        }
        let at = first + usize::from(pick) % (pipe.frames.len() - first);
        let mut frame = pipe.frames[at].clone();
        let n = match frames::parse(&frame, self.version) {
            // MQTT 5 forbids to send a PUBLISH again on one connection; the id of QoS 2 tells all the same.
            Frame::Publish { qos: 0, .. } | Frame::Other(_) | Frame::Disconnect { .. } => return,
            Frame::Publish { qos: 1, .. } if v5 => return,
            Frame::Publish { payload, .. } => {
                frame[0] |= 8;
                let n = number(&payload, from);
                if self.directions[from].sent[n].answer.is_some_and(ReasonCode::is_error) {
                    return;
                }
                Some(n)
            }
            _ => None,
        };
        if let Some(n) = n {
            self.directions[from].sent[n].repeats += 1;
        }
        pipe.frames.insert(at + 1, frame);
    }

    /// What a side has just written, before anybody reads it.
    pub(super) fn tap(&mut self, side: usize) {
        let tapped = self.tapped[side];
        let Some(tx) = self.tx(side) else { return };
        let mut fresh = tx[tapped..].to_vec();
        self.tapped[side] = tx.len();
        for bytes in frames::split(&mut fresh) {
            self.written(side, frames::parse(&bytes, self.version));
        }
        assert!(fresh.is_empty(), "sessions write whole packets");
    }
}
