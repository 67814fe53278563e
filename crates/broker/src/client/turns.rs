//! One turn after another of a connected client: read what is there, distribute it, write what waits, sleep.

use super::again;
use super::end::End;
use super::pace::Pace;
use crate::broker_state::BrokerState;
use crate::connection::Connection;
use crate::session::SessionKey;
use crate::settings::Rates;
use crate::shared::SharedBroker;
use bytes::{Buf, BytesMut};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tidegate_mqtt::{Batch, Control, ProtocolError, ReasonCode};
use tidegate_transport::{ByteStream, Turn, WriteSide, write_turn};

/// The beginning of a packet longer than this is read on where it lies; a shorter one is moved to the shared buffer.
const READ_IN_PLACE: usize = 32 * 1024;

/// A client that makes us answer and does not read the answers is not read from beyond this, in bytes...
const UNREAD_ANSWERS_MAX: usize = 512 * 1024;

/// ...and is thrown out when it then takes nothing for this long.
const UNREAD_ANSWERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Who is held up for the gateway is looked after so often: is there still anybody?
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every CONNECT begins with it.
const CONNECT_FIRST_BYTE: u8 = 0x10;

/// The task's side of a connection.
pub(crate) struct Client<S> {
    pub(super) shared: Rc<SharedBroker>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) stream: S,
    /// The beginning of a packet whose end has not come yet.
    rest: BytesMut,
    /// The first bytes that came.
    first: [u8; 4],
    has_begun: bool,
    /// Read and not charged to its pace.
    read_bytes: usize,
    /// How fast it publishes, while that is limited.
    pace: Option<Box<Pace>>,
    /// Whole packets may be left in `rest`: it may not publish more at a time.
    is_cut: bool,
    /// It has closed its side while it was held up for the gateway: what it has said before is taken, there is no more of it.
    is_leaving: bool,
    /// When to look whether it has, while it is held up for the gateway.
    look_at: Option<Instant>,
    write_side: WriteSide,
}

impl<S: ByteStream> Client<S> {
    pub(crate) fn new(shared: Rc<SharedBroker>, connection: Rc<Connection>, stream: S) -> Self {
        Self {
            shared,
            connection,
            stream,
            rest: BytesMut::new(),
            first: [0; 4],
            has_begun: false,
            read_bytes: 0,
            pace: None,
            is_cut: false,
            is_leaving: false,
            look_at: None,
            write_side: WriteSide::default(),
        }
    }

    /// Whether what was read so far can be the beginning of a CONNECT.
    pub(crate) fn may_begin_connect(&self) -> bool {
        self.rest.first().is_none_or(|first| *first == CONNECT_FIRST_BYTE)
    }

    /// The first bytes that came; zeros, where there were fewer.
    pub(crate) const fn first(&self) -> &[u8] {
        &self.first
    }

    /// So many bytes were written before there are turns.
    pub(super) fn count_written(&self, bytes: usize) {
        self.connection.wrote(bytes);
        let traffic = &self.shared.traffic;
        traffic.sent.set(traffic.sent.get() + bytes as u64);
    }

    /// From CONNACK to the end.
    pub(crate) async fn turns(&mut self, key: SessionKey) -> End {
        if let Err(end) = self.take_rest(key) {
            return end;
        }
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        // It has had turns in a row.
        let mut goes_on = false;
        poll_fn(|cx| {
            self.connection.wake.begin(cx);
            loop {
                match self.turn(key, cx) {
                    Err(end) => return Poll::Ready(end),
                    Ok(Turn::Again) => {
                        // One batch at a time: its receivers write it before the next is read.
                        if std::mem::replace(&mut goes_on, true) {
                            // Whoever's bytes have come meanwhile has a turn, too: the waker waits until the sockets were looked at.
                            let _ = pin!(tokio::task::yield_now()).poll(cx);
                        } else {
                            cx.waker().wake_by_ref();
                        }
                        return Poll::Pending;
                    }
                    Ok(Turn::Wait) => goes_on = false,
                }
                if let Some(deadline) = self.next_deadline() {
                    // A deadline that moved away is looked at again when the old one passes.
                    if timer.is_elapsed() || timer.deadline() > deadline.into() {
                        timer.as_mut().reset(deadline.into());
                    }
                    if timer.as_mut().poll(cx).is_ready() {
                        match self.on_time(Instant::now()) {
                            Ok(()) => continue,
                            Err(end) => return Poll::Ready(end),
                        }
                    }
                }
                self.connection.wake.sleep();
                return Poll::Pending;
            }
        })
        .await
    }

    /// Takes what was read before: behind CONNECT, or at a time when it could not be taken.
    fn take_rest(&mut self, key: SessionKey) -> Result<(), End> {
        let mut batch = self.shared.batch.take();
        let now = Instant::now();
        let position = self.connection.position();
        let frames_max = self.shared.frames_max.get();
        let mut session = self.connection.session.borrow_mut();
        session.set_frames_max(frames_max);
        let length = self.rest.len();
        let decoded = session.on_bytes(&mut self.rest, now, &mut batch);
        drop(session);
        self.is_cut = is_cut(frames_max, length, self.rest.len());
        let taken = self.take_batch(key, batch, position, now);
        taken.and(decoded.map_err(End::from))
    }

    fn turn(&mut self, key: SessionKey, cx: &mut Context<'_>) -> Result<Turn, End> {
        if self.connection.told_to_go.get() {
            return Err(End::ToldToGo);
        }
        // What was counted by other rates means nothing any more.
        self.pace.take_if(|pace| pace.rates() != self.shared.settings().limits.rates());
        let mut read = Turn::Wait;
        let was_held_up = self.is_held_up();
        if was_held_up {
            // Later.
        } else if std::mem::take(&mut self.is_cut) {
            self.take_rest(key)?;
            read = Turn::Again;
        } else {
            let mut batch = self.shared.batch.take();
            // What the client is told of this batch begins here.
            let position = self.connection.position();
            let polled = self.poll_read(cx, &mut batch);
            if let Poll::Ready(outcome) = polled {
                // What was received before an error is good.
                let taken = self.take_batch(key, batch, position, Instant::now());
                taken.and(outcome)?;
                read = Turn::Again;
            } else {
                self.shared.batch.replace(batch);
            }
        }
        let written = self.write(key, cx)?;
        if self.connection.session.borrow().is_closed() && !self.connection.told_to_go.get() {
            return Err(End::Protocol(ProtocolError::Unexpected("an answer to it is larger than it takes")));
        }
        if was_held_up && !self.is_held_up() {
            // Its socket was not asked, so that nobody would wake it for what has come meanwhile.
            read = Turn::Again;
        }
        Ok(written.and(read))
    }

    /// Whether this client is not to be read from now.
    fn is_held_up(&self) -> bool {
        let connection = &self.connection;
        let paused = self.shared.paused.get() && connection.fed_in_pause.get() == self.shared.pauses.get();
        let is_ahead = self.pace.as_ref().is_some_and(|pace| pace.held_until().is_some());
        is_ahead
            || paused
            || self.waits_for_gateway()
            || connection.session.borrow_mut().tx().len() > UNREAD_ANSWERS_MAX
    }

    /// Whether the gateway has as many of its messages as it may, unacknowledged.
    fn waits_for_gateway(&self) -> bool {
        self.connection.window_used_up.get() && !self.is_leaving
    }

    /// Reads once, and drains what is complete into the batch.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), End>> {
        let mut session = self.connection.session.borrow_mut();
        let in_place = self.rest.len() > READ_IN_PLACE;
        let mut scratch = self.shared.scratch.borrow_mut();
        let buffer = if in_place {
            &mut self.rest
        } else {
            scratch.clear();
            scratch.extend_from_slice(&self.rest);
            &mut *scratch
        };
        let count = ready!(tidegate_transport::poll_read(Pin::new(&mut self.stream), cx, buffer))?;
        let traffic = &self.shared.traffic;
        traffic.received.set(traffic.received.get() + count as u64);
        self.read_bytes += count;
        if !std::mem::replace(&mut self.has_begun, true) {
            let length = buffer.len().min(self.first.len());
            self.first[..length].copy_from_slice(&buffer[..length]);
        }
        let frames_max = self.shared.frames_max.get();
        session.set_frames_max(frames_max);
        let length = buffer.len();
        let result = session.on_bytes(buffer, Instant::now(), batch);
        if !in_place {
            self.rest.clear();
            if scratch.is_empty() {
                // An idle client holds no buffer.
                self.rest = BytesMut::new();
            } else {
                self.rest.extend_from_slice(&scratch);
                scratch.clear();
            }
        }
        self.is_cut = is_cut(frames_max, length, self.rest.len());
        Poll::Ready(result.map_err(End::Protocol))
    }

    /// Distributes a batch, in the order received.
    fn take_batch(&mut self, key: SessionKey, mut batch: Batch, position: u64, now: Instant) -> Result<(), End> {
        if batch.is_empty() {
            self.shared.batch.replace(batch);
            return Ok(());
        }
        let pause = self.shared.paused.get().then(|| self.shared.pauses.get());
        let mut outcome = Ok(());
        let (messages, bytes) = (batch.received.len(), std::mem::take(&mut self.read_bytes));
        {
            let mut state = self.shared.state.borrow_mut();
            let recorded = state.recorded();
            state.on_taken_over(key, &batch.taken_over);
            state.on_completed(key, &batch.completed);
            state.on_released(key, &batch.released);
            for skipped in batch.skipped.drain(..) {
                state.on_skipped(key, &skipped, now);
            }
            let mut received = batch.received.drain(..);
            let mut done = 0;
            for (before, control) in batch.control.drain(..) {
                for got in received.by_ref().take(before - done) {
                    state.receive(key, &self.connection, pause, got, now);
                }
                done = before;
                match control {
                    Control::Subscribe { packet_id, filters, subscription_id } => {
                        state.subscribe(key, &self.connection, packet_id, &filters, subscription_id.unwrap_or(0), now);
                    }
                    Control::Unsubscribe { packet_id, filters } => {
                        state.unsubscribe(key, &self.connection, packet_id, &filters);
                    }
                    Control::Auth { again: begins, method, data } => {
                        if let Err(end) = again::on_auth(&state, key, &self.connection, begins, &method, &data) {
                            outcome = Err(end);
                        }
                    }
                    Control::Disconnected { reason, session_expiry_s, .. } => {
                        outcome = Err(self.on_disconnect(&state, key, reason, session_expiry_s));
                    }
                    // The rest is for clients, or was dealt with.
                    _ => {}
                }
            }
            for got in received {
                state.receive(key, &self.connection, pause, got, now);
            }
            if let Some(wanted) = state.recorded_since(recorded) {
                state.hold(&self.connection, position, wanted);
            }
            if state.settings.limits.rates() != Rates::default() || self.pace.is_some() {
                let pace = self.pace.get_or_insert_default();
                if pace.published(messages, bytes, &state.settings.limits, now) {
                    state.on_held_up(key, now);
                }
            }
        }
        batch.clear();
        self.shared.batch.replace(batch);
        self.shared.settle();
        outcome
    }

    /// A session that was to end with its connection cannot be kept afterwards (MQTT 5.0 section 3.14.2.2.2).
    fn on_disconnect(&self, state: &BrokerState, key: SessionKey, reason: ReasonCode, expiry_s: Option<u32>) -> End {
        let had_expiry = state.sessions.find(key).is_some_and(|session| session.expiry_s > 0);
        if expiry_s.is_some_and(|seconds| seconds > 0) && !had_expiry {
            return End::Protocol(ProtocolError::Unexpected("a session expiry in DISCONNECT after none in CONNECT"));
        }
        End::Goodbye { reason, expiry_s }
    }

    /// Writes what waits, as far as the socket takes it.
    fn write(&mut self, key: SessionKey, cx: &mut Context<'_>) -> Result<Turn, End> {
        let turn = write_turn(|| self.write_once(key, cx))?;
        self.write_side.flush(Pin::new(&mut self.stream), cx)?;
        Ok(turn)
    }

    fn write_once(&mut self, key: SessionKey, cx: &mut Context<'_>) -> Result<Turn, End> {
        let has_more = self.connection.has_backlog.get() && self.send_backlog(key);
        let free = match self.connection.is_held() {
            true => self.connection.may_write(self.shared.settled.get()),
            false => usize::MAX,
        };
        let mut session = self.connection.session.borrow_mut();
        let length = session.tx().len().min(free);
        if length == 0 {
            return Ok(if has_more { Turn::Again } else { Turn::Wait });
        }
        let written = match self.write_side.poll_write(Pin::new(&mut self.stream), cx, &session.tx()[..length]) {
            Poll::Pending => return Ok(Turn::Wait),
            Poll::Ready(written) => written?,
        };
        session.tx().advance(written);
        self.count_written(written);
        let mut batch = self.shared.batch.borrow_mut();
        session.sent(&mut batch.completed);
        drop(session);
        if !batch.completed.is_empty() {
            self.shared.state.borrow_mut().on_completed(key, &batch.completed);
            batch.completed.clear();
        }
        Ok(Turn::Again)
    }

    fn send_backlog(&self, key: SessionKey) -> bool {
        let mut state = self.shared.state.borrow_mut();
        let has_more = state.send_backlog(key, Instant::now());
        self.shared.write_down_soon(&state);
        has_more
    }

    fn next_deadline(&mut self) -> Option<Instant> {
        if self.is_held_up() {
            // While it is not read from, its silence says nothing.
            let stuck = self.write_side.blocked_since().map(|since| since + UNREAD_ANSWERS_TIMEOUT);
            let held = self.pace.as_ref().and_then(|pace| pace.held_until());
            let waits = self.waits_for_gateway();
            let look = waits.then(|| *self.look_at.get_or_insert_with(|| Instant::now() + LOOK_EVERY));
            return stuck.into_iter().chain(held).chain(look).min();
        }
        self.connection.session.borrow().deadline()
    }

    fn on_time(&mut self, now: Instant) -> Result<(), End> {
        if self.is_held_up() {
            if let Some(pace) = &mut self.pace {
                pace.on_time(now);
            }
            if self.look_at.take_if(|at| *at <= now).is_some() {
                self.is_leaving = self.waits_for_gateway() && self.stream.is_closing();
            }
            let stuck = self.write_side.blocked_since().is_some_and(|since| now >= since + UNREAD_ANSWERS_TIMEOUT);
            return if stuck { Err(End::Stuck) } else { Ok(()) };
        }
        Ok(self.connection.session.borrow_mut().on_time(now)?)
    }
}

/// Whether whole packets may be left of what was read: no more than so many were taken, and some bytes were, whatever stood in them.
fn is_cut(frames_max: usize, before: usize, left: usize) -> bool {
    frames_max != usize::MAX && left > 0 && left < before
}
