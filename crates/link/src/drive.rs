//! One turn after another of a live connection: read what is there, fill the write buffer, write it, wait.

use crate::dial::Transport;
use crate::gate::Gate;
use crate::run::{Ended, Shared, steps};
use crate::{LinkError, Port, READ_BYTES, Status, WRITE_BYTES};
use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tidegate_mqtt::{Batch, Completion, Control, Published, ReasonCode, SubscribeFilter};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::CancellationToken;

/// The read buffer is made larger when less than this is free, in bytes.
const READ_FREE_MIN: usize = 8 * 1024;

/// After this many writes it is the reader's turn.
const WRITES_PER_TURN: usize = 4;

/// How long the last words may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a link needs to drive connections, kept from one to the next.
pub(crate) struct Drive<P> {
    shared: Rc<Shared>,
    port: Rc<RefCell<P>>,
    write_timeout: Duration,
    batch: Batch,
    completed: Vec<Completion>,
    /// What the broker's session is subscribed to, as far as we know.
    subscribed: Vec<SubscribeFilter>,
    /// SUBSCRIBEs under way: id, and the filters of that packet.
    subscribing: VecDeque<(u64, Vec<SubscribeFilter>)>,
    first_connection: bool,
}

/// What is true for one connection only.
struct Live {
    rx: BytesMut,
    bridge: bool,
    up_since: Option<Instant>,
    connect_deadline: Instant,
    connect_timeout: Duration,
    /// Since when bytes wait that the socket does not take.
    blocked_since: Option<Instant>,
    needs_flush: bool,
    gate: Gate,
}

impl<P: Port> Drive<P> {
    pub(crate) fn new(shared: Rc<Shared>, port: Rc<RefCell<P>>, write_timeout: Duration) -> Self {
        Self {
            shared,
            port,
            write_timeout,
            batch: Batch::default(),
            completed: Vec::new(),
            subscribed: Vec::new(),
            subscribing: VecDeque::new(),
            first_connection: true,
        }
    }

    /// From CONNECT to the end of the connection.
    pub(crate) async fn connection(
        &mut self,
        mut stream: Transport,
        bridge: bool,
        connect_deadline: Instant,
        connect_timeout: Duration,
        stop: &CancellationToken,
    ) -> Ended {
        let mut live = Live {
            rx: BytesMut::with_capacity(READ_BYTES),
            bridge,
            up_since: None,
            connect_deadline,
            connect_timeout,
            blocked_since: None,
            needs_flush: false,
            gate: Gate::default(),
        };
        self.subscribing.clear();
        self.shared.settled.set(false);
        let result = match &mut stream {
            // The common case without a branch per call.
            Transport::Tcp(tcp) => self.turns(Pin::new(tcp), &mut live, stop).await,
            other => self.turns(Pin::new(other), &mut live, stop).await,
        };
        self.say_goodbye(&mut stream, &mut live, result.is_ok()).await;
        Ended { error: result.err(), up_for: live.up_since.map(|since| since.elapsed()) }
    }

    async fn turns<S: AsyncRead + AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut S>,
        live: &mut Live,
        stop: &CancellationToken,
    ) -> Result<(), LinkError> {
        let shared = self.shared.clone();
        let mut stopped = pin!(stop.cancelled());
        let mut woken = pin!(shared.wake.notified());
        let mut timer = pin!(tokio::time::sleep_until(live.connect_deadline.into()));
        poll_fn(|cx| {
            loop {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                // Take the wake-up before looking at what there is to do, so that none is missed.
                while woken.as_mut().poll(cx).is_ready() {
                    woken.set(shared.wake.notified());
                }
                self.change_subscriptions();
                let written = self.write(stream.as_mut(), live, cx)?;
                let read = self.read(stream.as_mut(), live, cx)?;
                if Turn::Again == written || Turn::Again == read {
                    // One batch at a time: the targets of this one write it before the next is read.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match self.next_deadline(live) {
                    Some(deadline) if timer.deadline() != deadline.into() => timer.as_mut().reset(deadline.into()),
                    Some(_) => {}
                    None => return Poll::Pending,
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.on_time(live)?;
            }
        })
        .await
    }

    /// Reads once and hands the batch over.
    fn read<S: AsyncRead>(
        &mut self,
        stream: Pin<&mut S>,
        live: &mut Live,
        cx: &mut Context<'_>,
    ) -> Result<Turn, LinkError> {
        if self.shared.paused.get() {
            return Ok(Turn::Wait);
        }
        if live.rx.capacity() - live.rx.len() < READ_FREE_MIN {
            live.rx.reserve(READ_BYTES);
        }
        let count = match poll_read_buf(stream, cx, &mut live.rx) {
            Poll::Pending => return Ok(Turn::Wait),
            Poll::Ready(Err(error)) if live.up_since.is_none() && is_reset(&error) => {
                return Err(LinkError::Closed { during_handshake: true });
            }
            Poll::Ready(count) => count?,
        };
        if count == 0 {
            return Err(LinkError::Closed { during_handshake: live.up_since.is_none() });
        }
        let now = Instant::now();
        let mut stats = self.shared.stats.get();
        stats.reads += 1;
        stats.bytes_in += count as u64;
        self.shared.stats.set(stats);
        let result = self.shared.session.borrow_mut().on_bytes(&mut live.rx, now, &mut self.batch);
        self.hand_over(live, now)?;
        result?;
        Ok(Turn::Again)
    }

    /// Gives the owner what the session found.
    fn hand_over(&mut self, live: &mut Live, now: Instant) -> Result<(), LinkError> {
        let mut control = std::mem::take(&mut self.batch.control);
        let outcome = control.drain(..).try_for_each(|(_, control)| self.on_control(control, live, now));
        self.batch.control = control;
        if !self.batch.taken_over.is_empty() {
            self.port.borrow_mut().taken_over(&self.batch.taken_over);
            self.batch.taken_over.clear();
        }
        if !self.batch.released.is_empty() {
            self.port.borrow_mut().released(&self.batch.released);
            self.batch.released.clear();
        }
        for refusal in self.batch.refused.drain(..) {
            self.batch.completed.push(Completion { key: refusal.key, reason: refusal.reason });
        }
        self.batch.skipped.clear();
        if !self.batch.completed.is_empty() {
            self.port.borrow_mut().completed(&self.batch.completed, now);
            self.batch.completed.clear();
        }
        if !self.batch.received.is_empty() {
            self.port.borrow_mut().received(&mut self.batch.received, now);
            self.batch.received.clear();
        }
        self.ask_gate(live);
        outcome
    }

    /// Holds what is in the write buffer, and what will be, for as long as the owner wants it. To be called after
    /// whatever may have made the owner's log longer, and before the buffer is written.
    fn ask_gate(&self, live: &mut Live) {
        if live.up_since.is_some() {
            let sequence = self.port.borrow_mut().gate();
            live.gate.ask(sequence, self.shared.session.borrow_mut().tx().len());
        }
    }

    /// How many bytes of the write buffer may leave.
    fn allowed(&self, live: &mut Live) -> usize {
        if live.gate.is_open() { usize::MAX } else { live.gate.allowed(self.port.borrow().durable()) }
    }

    fn on_control(&mut self, control: Control, live: &mut Live, now: Instant) -> Result<(), LinkError> {
        match control {
            Control::Connected(connected) => {
                live.up_since = Some(now);
                let mut stats = self.shared.stats.get();
                stats.connects += 1;
                self.shared.stats.set(stats);
                // A session from before our start may hold anything: ask for everything again.
                if !connected.session_present || std::mem::take(&mut self.first_connection) {
                    self.subscribed.clear();
                }
                self.first_connection = false;
                self.shared.wanted_changed.set(true);
                let version = self.shared.session.borrow().version();
                self.port.borrow_mut().status(&Status::Up { version, bridge: live.bridge, connected });
            }
            Control::Refused { reason, words, .. } => return Err(LinkError::Refused { reason, words }),
            Control::Disconnected { reason, words, .. } => return Err(LinkError::Disconnected { reason, words }),
            Control::SessionLost { republished } => {
                self.port.borrow_mut().status(&Status::SessionLost { republished });
            }
            Control::Subscribed { id, codes } => self.on_suback(id, &codes),
            // The rest is for servers.
            _ => {}
        }
        Ok(())
    }

    fn on_suback(&mut self, id: u64, codes: &[ReasonCode]) {
        let Some(at) = self.subscribing.iter().position(|(sent, _)| *sent == id) else { return };
        let Some((_, filters)) = self.subscribing.remove(at) else { return };
        self.shared.settled.set(self.subscribing.is_empty());
        for (asked, code) in filters.into_iter().zip(codes) {
            let Ok(filter) = asked.filter.clone() else { continue };
            if code.is_error() {
                self.subscribed.retain(|known| known.filter != asked.filter);
                self.port.borrow_mut().status(&Status::SubscribeRefused { filter, reason: *code });
            } else if code.0 < asked.qos as u8 {
                tracing::warn!(%filter, asked = asked.qos as u8, granted = code.0, "the broker grants a lower QoS");
            }
        }
    }

    /// Asks the broker for what is wanted and not there, and the other way round.
    fn change_subscriptions(&mut self) {
        if !self.shared.wanted_changed.get() || !self.shared.session.borrow().is_up() {
            return;
        }
        self.shared.wanted_changed.set(false);
        let wanted = self.shared.wanted.borrow().clone();
        let steps = steps(&self.subscribed, &wanted);
        self.ask(&steps.subscribe);
        if !steps.unsubscribe.is_empty() {
            self.shared.session.borrow_mut().unsubscribe(&steps.unsubscribe);
        }
        self.ask(&steps.subscribe_again);
        self.subscribed = wanted;
        self.shared.settled.set(self.subscribing.is_empty());
    }

    fn ask(&mut self, filters: &[SubscribeFilter]) {
        let mut rest = filters;
        for (id, count) in self.shared.session.borrow_mut().subscribe(filters) {
            let (sent, later) = rest.split_at(count);
            self.subscribing.push_back((id, sent.to_vec()));
            rest = later;
        }
    }

    /// Fills the write buffer and writes it, until there is nothing left or the socket takes no more.
    fn write<S: AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut S>,
        live: &mut Live,
        cx: &mut Context<'_>,
    ) -> Result<Turn, LinkError> {
        let (mut now, mut turn) = (None, Turn::Again);
        for _ in 0..WRITES_PER_TURN {
            if live.up_since.is_some() {
                self.fill(&mut now);
                self.ask_gate(live);
            }
            let allowed = self.allowed(live);
            let mut session = self.shared.session.borrow_mut();
            let ready = session.tx().len().min(allowed);
            if ready == 0 {
                // What waits for the owner's log does not wait for the socket.
                live.blocked_since = None;
                turn = Turn::Wait;
                break;
            }
            let written = match stream.as_mut().poll_write(cx, &session.tx()[..ready]) {
                Poll::Pending => {
                    drop(session);
                    live.blocked_since.get_or_insert_with(Instant::now);
                    turn = Turn::Wait;
                    break;
                }
                Poll::Ready(Err(error)) if live.up_since.is_none() && is_reset(&error) => {
                    return Err(LinkError::Closed { during_handshake: true });
                }
                Poll::Ready(Ok(0)) => return Err(LinkError::Closed { during_handshake: live.up_since.is_none() }),
                Poll::Ready(written) => written?,
            };
            session.tx().advance(written);
            live.gate.wrote(written);
            live.blocked_since = None;
            live.needs_flush = true;
            let mut stats = self.shared.stats.get();
            stats.writes += 1;
            stats.bytes_out += written as u64;
            self.shared.stats.set(stats);
            let at = *now.get_or_insert_with(Instant::now);
            session.sent(at, &mut self.batch);
            drop(session);
            self.hand_over(live, at)?;
        }
        if live.needs_flush && stream.poll_flush(cx)?.is_ready() {
            live.needs_flush = false;
        }
        Ok(turn)
    }

    /// Takes messages from the port while the session and the buffer have room.
    fn fill(&mut self, now: &mut Option<Instant>) {
        let mut port = self.port.borrow_mut();
        loop {
            // Not held while the port is asked: it may acknowledge something on this very session.
            let has_room = {
                let mut session = self.shared.session.borrow_mut();
                if session.tx().len() >= WRITE_BYTES {
                    break;
                }
                session.has_room()
            };
            let at = *now.get_or_insert_with(Instant::now);
            let Some(outgoing) = port.pull(has_room, at) else { break };
            let published = self.shared.session.borrow_mut().publish(outgoing.key, outgoing.message);
            match published {
                Ok(Published::Sent) => {
                    self.completed.push(Completion { key: outgoing.key, reason: ReasonCode::SUCCESS });
                }
                Ok(Published::InFlight { exactly_once: Some(serial) }) => port.sent(outgoing.key, serial),
                Ok(Published::InFlight { exactly_once: None }) => {}
                Err(error) => port.refused(outgoing.key, &error),
            }
        }
        if !self.completed.is_empty() {
            let at = *now.get_or_insert_with(Instant::now);
            port.completed(&self.completed, at);
            self.completed.clear();
        }
    }

    fn next_deadline(&self, live: &Live) -> Option<Instant> {
        if live.up_since.is_none() {
            return Some(live.connect_deadline);
        }
        let write = live.blocked_since.map(|since| since + self.write_timeout);
        // While reading is paused, silence says nothing.
        let keep_alive = self.shared.session.borrow().deadline().filter(|_| !self.shared.paused.get());
        match (write, keep_alive) {
            (Some(write), Some(keep_alive)) => Some(write.min(keep_alive)),
            (one, other) => one.or(other),
        }
    }

    fn on_time(&mut self, live: &mut Live) -> Result<(), LinkError> {
        let now = Instant::now();
        if live.up_since.is_none() {
            return if now >= live.connect_deadline {
                Err(LinkError::ConnectTimeout(live.connect_timeout))
            } else {
                Ok(())
            };
        }
        if live.blocked_since.is_some_and(|since| now >= since + self.write_timeout) {
            return Err(LinkError::WriteTimeout(self.write_timeout));
        }
        self.shared.session.borrow_mut().on_time(now)?;
        Ok(())
    }

    /// Tells the broker that we go, if we go of our own will or it broke the protocol; never waits long for it. What
    /// may not leave is not said, nor what is behind it.
    async fn say_goodbye(&mut self, stream: &mut Transport, live: &mut Live, by_will: bool) {
        let last_words = {
            let mut session = self.shared.session.borrow_mut();
            if by_will {
                session.disconnect(ReasonCode::SUCCESS);
            }
            session.tx().split()
        };
        let goodbye = async {
            while self.allowed(live) < last_words.len() {
                if !by_will {
                    return;
                }
                self.shared.wake.notified().await;
            }
            let _ = stream.write_all(&last_words).await;
            let _ = stream.shutdown().await;
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Again,
    Wait,
}

fn is_reset(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted | UnexpectedEof)
}
