//! One turn after another of a live connection: read what is there, fill the write buffer, write it, wait.

mod announce;

use crate::habits::{GaveUp, Habit};
use crate::link_state::LinkState;
use crate::live::{Ended, Live, Opening};
use crate::settings::Settings;
use crate::suspect::Phase;
use crate::watch::Watch;
use crate::{LinkError, Outgoing, Port, Status, hints};
use bytes::Buf;
use std::cell::RefCell;
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tidegate_message::{ByteString, Message};
use tidegate_mqtt::{AckToken, Batch, ClientConfig, Completion, Connected, Control, Published, ReasonCode};
use tidegate_transport::{Stream, Turn, WRITE_BYTES, poll_read, write_turn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// How long messages wait for the answers to our subscriptions, which answers to them may need.
const SUBSCRIBE_FIRST: Duration = Duration::from_secs(5);

/// How long the last words may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a link needs to drive connections, kept from one to the next.
pub(crate) struct Drive<P> {
    pub(crate) shared: Rc<LinkState>,
    pub(crate) port: Rc<RefCell<P>>,
    write_timeout: Duration,
    pub(crate) client_id: ByteString,
    session_expiry_s: u32,
    pub(crate) birth: Option<Message>,
    farewell: Option<Message>,
    pub(crate) batch: Batch,
    acks: Vec<AckToken>,
    pub(crate) watch: Watch,
    pub(crate) told: HashSet<Habit>,
    pub(crate) memory_changed: bool,
}

impl<P: Port> Drive<P> {
    pub(crate) fn new(shared: Rc<LinkState>, port: Rc<RefCell<P>>, settings: &Settings) -> Self {
        Self {
            shared,
            port,
            write_timeout: settings.write_timeout,
            client_id: settings.client_id.clone(),
            session_expiry_s: settings.session_expiry_s,
            birth: settings.birth.clone(),
            farewell: settings.farewell.clone(),
            batch: Batch::default(),
            acks: Vec::new(),
            watch: Watch::default(),
            told: HashSet::new(),
            memory_changed: false,
        }
    }

    /// Writes CONNECT.
    pub(crate) fn begin(&mut self, introduction: &ClientConfig, now: Instant) {
        self.shared.suspicion.borrow_mut().begin();
        self.shared.takes_at_once.set(false);
        let mut session = self.shared.session.borrow_mut();
        // Not before the subscriptions are there.
        session.set_window(0, &mut self.batch);
        session.connect(introduction, now);
    }

    /// From CONNECT to the end of the connection.
    pub(crate) async fn connection(&mut self, mut stream: Stream, opening: Opening, stop: &CancellationToken) -> Ended {
        let mut live = Live::new(opening);
        let result = match &mut stream {
            // The common case without a branch per call.
            Stream::Tcp(tcp) => self.turns(Pin::new(tcp), &mut live, stop).await,
            other => self.turns(Pin::new(other), &mut live, stop).await,
        };
        self.conclude(result.as_ref().err(), &live);
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
        let mut timer = pin!(tokio::time::sleep_until(live.opening.deadline.into()));
        poll_fn(|cx| {
            loop {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                // Take the wake-up before looking at what there is to do, so that none is missed.
                while woken.as_mut().poll(cx).is_ready() {
                    woken.set(shared.wake.notified());
                }
                self.ask_subscriptions(live);
                if live.subscribe_until.is_some() {
                    self.end_subscribing(live, Instant::now());
                }
                let written = self.write(stream.as_mut(), live, cx)?;
                let read = self.read(stream.as_mut(), live, cx)?;
                if written.and(read) == Turn::Again {
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
        let count = match poll_read(stream, cx, &mut live.rx) {
            Poll::Pending => return Ok(Turn::Wait),
            Poll::Ready(outcome) => outcome.map_err(|lost| live.lost(lost))?,
        };
        if live.up_since.is_none()
            && let Some(words) = hints::not_mqtt(&live.rx)
        {
            return Err(LinkError::NotMqtt(words));
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
        if !self.batch.completed.is_empty() || !self.batch.refused.is_empty() {
            self.answered();
        }
        if !self.batch.received.is_empty() {
            self.prove();
        }
        if !self.batch.is_empty() {
            self.port.borrow_mut().heard(&mut self.batch, now);
            self.batch.clear();
        }
        outcome
    }

    /// How many of these bytes, the first that wait to be written on this connection, may leave: as many as the owner's log
    /// is durable enough for.
    fn allowed(&self, live: &mut Live, waiting: usize) -> usize {
        let mut port = self.port.borrow_mut();
        if live.up_since.is_some() {
            live.gate.ask(port.gate(), waiting);
        }
        if live.gate.is_open() { waiting } else { waiting.min(live.gate.allowed(port.durable())) }
    }

    fn on_control(&mut self, control: Control, live: &mut Live, now: Instant) -> Result<(), LinkError> {
        match control {
            Control::Connected(connected) => self.on_connected(connected, live, now),
            Control::Refused { reason, words, server_reference } => {
                return Err(LinkError::Refused { reason, words, server_reference });
            }
            Control::Disconnected { reason, words, server_reference, .. } => {
                return Err(LinkError::Disconnected { reason, words, server_reference });
            }
            Control::SessionLost { republished } => {
                self.port.borrow_mut().status(&Status::SessionLost { republished });
            }
            Control::Subscribed { id, codes } => {
                let events = self.shared.subscriptions.borrow_mut().on_suback(id, &codes, now);
                self.tell_subscriptions(events, live);
            }
            Control::Unsubscribed { id, codes } => {
                let events = self.shared.subscriptions.borrow_mut().on_unsuback(id, &codes, now);
                self.tell_subscriptions(events, live);
            }
            Control::AnsweredAsQos1 => self.tell(Habit::AnswersQos2AsQos1),
            Control::PubrelUnheard => self.watch.lost_pubrel(),
            // The rest is for servers.
            _ => {}
        }
        Ok(())
    }

    fn on_connected(&mut self, connected: Connected, live: &mut Live, now: Instant) {
        live.up_since = Some(now);
        live.birth_due = self.birth.is_some();
        self.shared.own.borrow_mut().connected();
        live.subscribe_until = Some(now + SUBSCRIBE_FIRST);
        let mut stats = self.shared.stats.get();
        stats.connects += 1;
        self.shared.stats.set(stats);
        if self.shared.suspicion.borrow().phase() == Phase::Hold {
            live.hold_until = Some(now + self.shared.suspicion.borrow().hold());
            let pings = self.shared.suspicion.borrow().pings();
            (0..pings).for_each(|_| self.shared.session.borrow_mut().ping(now));
        }
        let version = {
            let session = self.shared.session.borrow();
            self.watch.connected(now, session.next_serial());
            session.version()
        };
        if self.watch.loses_pubrels() {
            // It does not answer a PUBREL for what it took over on an earlier connection.
            self.release_all(now);
        }
        self.memory_changed |= self.shared.memory.borrow_mut().set_hello(live.opening.hello);
        let bridge = live.opening.hello.bridge;
        self.subscriptions_of(&connected, version, bridge, now);
        let session_expiry_asked_s = self.session_expiry_s;
        let status = Status::Up { version, bridge, connected, session_expiry_asked_s };
        self.port.borrow_mut().status(&status);
        self.tell_refused_by_connack();
    }

    /// Fills the write buffer and writes it, until there is nothing left or the socket takes no more.
    fn write<S: AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut S>,
        live: &mut Live,
        cx: &mut Context<'_>,
    ) -> Result<Turn, LinkError> {
        let mut now = None;
        let turn = write_turn(|| self.write_once(stream.as_mut(), live, cx, &mut now))?;
        live.write_side.flush(stream, cx).map_err(|lost| live.lost(lost))?;
        Ok(turn)
    }

    fn write_once<S: AsyncWrite>(
        &mut self,
        stream: Pin<&mut S>,
        live: &mut Live,
        cx: &mut Context<'_>,
        now: &mut Option<Instant>,
    ) -> Result<Turn, LinkError> {
        if live.up_since.is_some() {
            self.acknowledge();
            self.fill(live, now);
        }
        let mut session = self.shared.session.borrow_mut();
        let ready = self.allowed(live, session.tx().len());
        if ready == 0 {
            // What waits for the owner's log does not wait for the socket.
            live.write_side.unblock();
            return Ok(Turn::Wait);
        }
        let written = match live.write_side.poll_write(stream, cx, &session.tx()[..ready]) {
            Poll::Pending => return Ok(Turn::Wait),
            Poll::Ready(outcome) => outcome.map_err(|lost| live.lost(lost))?,
        };
        session.tx().advance(written);
        live.gate.wrote(written);
        let mut stats = self.shared.stats.get();
        stats.writes += 1;
        stats.bytes_out += written as u64;
        self.shared.stats.set(stats);
        let at = *now.get_or_insert_with(Instant::now);
        session.sent(at, &mut self.batch);
        drop(session);
        self.hand_over(live, at)?;
        Ok(Turn::Again)
    }

    /// Takes acknowledgements from the port.
    fn acknowledge(&mut self) {
        self.port.borrow_mut().acks(&mut self.acks);
        if !self.acks.is_empty() {
            let mut session = self.shared.session.borrow_mut();
            self.acks.drain(..).for_each(|token| session.ack(token));
        }
    }

    /// Takes messages from the port while the session and the buffer have room.
    fn fill(&mut self, live: &mut Live, now: &mut Option<Instant>) {
        let phase = self.shared.suspicion.borrow().phase();
        self.shared.takes_at_once.set(false);
        if phase == Phase::Hold || live.subscribe_until.is_some() {
            return;
        }
        self.publish_birth(live);
        self.publish_own(live);
        self.shared.takes_at_once.set(phase == Phase::Free && !live.birth_due);
        let mut port = self.port.borrow_mut();
        let mut session = self.shared.session.borrow_mut();
        while session.tx().len() < WRITE_BYTES {
            let has_room = session.has_room();
            if phase == Phase::OneByOne && !has_room {
                break; // also what needs no room: one message at a time
            }
            let at = *now.get_or_insert_with(Instant::now);
            let Some(Outgoing { key, message }) = port.pull(has_room, at) else { break };
            if let Some(why) = self.shared.avoid.get().reason(&message) {
                port.gave_up(key, message, &GaveUp::untried(why));
                continue;
            }
            match session.publish(key, message) {
                Ok(Published::Sent) => self.batch.completed.push(Completion { key, reason: ReasonCode::SUCCESS }),
                Ok(Published::InFlight { exactly_once: Some(serial) }) => port.sent(key, serial),
                Ok(Published::InFlight { exactly_once: None }) => {}
                Err(error) => port.refused(key, &error),
            }
        }
        drop(session);
        if !self.batch.completed.is_empty() {
            let at = *now.get_or_insert_with(Instant::now);
            port.heard(&mut self.batch, at);
            self.batch.clear();
        }
    }

    fn next_deadline(&self, live: &Live) -> Option<Instant> {
        if live.up_since.is_none() {
            return Some(live.opening.deadline);
        }
        let write = live.write_side.blocked_since().map(|since| since + self.write_timeout);
        // While reading is paused, silence says nothing.
        let keep_alive = self.shared.session.borrow().deadline().filter(|_| !self.shared.paused.get());
        let others = [
            live.subscribe_until,
            write,
            keep_alive,
            live.hold_until,
            self.watch_deadline(),
            self.shared.subscriptions.borrow().deadline(),
        ];
        others.into_iter().flatten().min()
    }

    fn on_time(&mut self, live: &mut Live) -> Result<(), LinkError> {
        let now = Instant::now();
        if live.up_since.is_none() {
            if now < live.opening.deadline {
                return Ok(());
            }
            let waited = Duration::from_secs((now - live.opening.since).as_secs_f64().round() as u64);
            return Err(LinkError::NoConnack { hello: live.opening.hello.to_string(), waited });
        }
        if live.write_side.blocked_since().is_some_and(|since| now >= since + self.write_timeout) {
            return Err(LinkError::WriteTimeout(self.write_timeout));
        }
        self.shared.session.borrow_mut().on_time(now)?;
        self.end_hold(live, now);
        self.end_subscribing(live, now);
        for id in self.shared.subscriptions.borrow_mut().on_time(now) {
            self.shared.session.borrow_mut().forget_control(id);
        }
        self.look_at_unanswered(live, now)
    }
}
