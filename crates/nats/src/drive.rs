//! A connection that is up: its turns.

use crate::connect::{ANSWER_TIMEOUT, Events, causes};
use crate::headers::headers_of;
use crate::intake::{Intake, acknowledge};
use crate::nats::Shared;
use crate::prepare::{StreamFacts, prepare_consumer, serves};
use crate::subject::{MAX_SUBJECT_BYTES, covers, subject_of};
use crate::{NatsError, Outgoing, Port, Refused, Settings, Status, shown};
use async_nats::Client;
use async_nats::jetstream::context::{Context, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, ErrorCode};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it is looked what has become overdue.
const LOOK: Duration = Duration::from_millis(500);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// The answer to a publish, by the number of the message.
type Answer = LocalBoxFuture<'static, (u64, Result<PublishAck, PublishError>)>;

/// One connection.
pub(crate) struct Drive<'d, P> {
    pub(crate) settings: &'d Settings,
    pub(crate) shared: Rc<Shared>,
    pub(crate) port: Rc<RefCell<P>>,
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) events: Events,
    pub(crate) stream: StreamFacts,
    pub(crate) intake: Option<Intake>,
    answers: FuturesUnordered<Answer>,
    /// The server refuses messages for now, in these words: nothing is sent before all answers are there.
    refusal: Option<String>,
    /// Nothing is pulled before.
    rests_until: Option<Instant>,
}

impl<'d, P: Port> Drive<'d, P> {
    pub(crate) fn new(
        settings: &'d Settings,
        shared: Rc<Shared>,
        port: Rc<RefCell<P>>,
        (client, events): (Client, Events),
        context: Context,
        stream: StreamFacts,
    ) -> Self {
        let answers = FuturesUnordered::new();
        let (intake, refusal, rests_until) = (None, None, None);
        Self { settings, shared, port, client, context, events, stream, intake, answers, refusal, rests_until }
    }

    /// Makes the way in as it is wanted now, or takes it away.
    pub(crate) async fn subscribe(&mut self) -> Result<(), NatsError> {
        self.shared.wants_other.set(false);
        let wanted = self.shared.wanted.borrow().clone();
        if self.intake.as_ref().is_some_and(|intake| !wanted.is_empty() && serves(&intake.consumer, &wanted)) {
            return Ok(());
        }
        self.intake = None;
        if wanted.is_empty() {
            return Ok(());
        }
        let port = self.port.clone();
        let tell = move |status| port.borrow_mut().status(&status);
        let consumer = prepare_consumer(&self.stream.handle, self.settings, &wanted, tell).await?;
        self.intake = Some(Intake::new(&self.client, consumer, Instant::now()).await?);
        Ok(())
    }

    /// Carries messages until the connection is of no use any more. `None`: it was stopped.
    pub(crate) async fn run(&mut self, stop: &CancellationToken) -> Option<NatsError> {
        // What was acknowledged on an earlier connection may have been lost with it.
        let again: Vec<_> = self.shared.inbox.borrow().acknowledged().cloned().collect();
        if let Err(error) = acknowledge(&self.client, again).await {
            return Some(error);
        }
        loop {
            match self.turn(stop).await {
                Ok(true) => {}
                Ok(false) => {
                    let _ = tokio::time::timeout(GOODBYE, self.goodbye()).await;
                    return None;
                }
                Err(NatsError::Lost(None)) => return Some(NatsError::Lost(self.events.words())),
                Err(error) => return Some(error),
            }
        }
    }

    /// What the owner has taken care of is acknowledged still.
    async fn goodbye(&mut self) -> Result<(), NatsError> {
        self.acknowledge().await?;
        self.client.flush().await.map_err(|_| NatsError::Lost(None))
    }

    /// False when stopped.
    async fn turn(&mut self, stop: &CancellationToken) -> Result<bool, NatsError> {
        if self.shared.wants_other.get() {
            self.subscribe().await?;
        }
        self.acknowledge().await?;
        self.publish().await?;
        if let Some(intake) = &mut self.intake {
            intake.ask(&self.client, &self.shared, self.settings.receive_maximum.into()).await?;
        }
        let received = async {
            match &mut self.intake {
                Some(intake) => intake.receive(&self.shared).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shared.wake.notified() => {}
            () = self.events.lost() => return Err(NatsError::Lost(None)),
            () = stop.cancelled() => return Ok(false),
            Some(answer) = self.answers.next(), if !self.answers.is_empty() => self.answered(answer)?,
            mut received = received => {
                {
                    let mut port = self.port.borrow_mut();
                    received.statuses().for_each(|status| port.status(&status));
                    if !received.arrived.is_empty() {
                        port.arrived(&mut received.arrived, Instant::now());
                    }
                }
                acknowledge(&self.client, received.done.drain(..)).await?;
                if let Some(error) = received.error {
                    return Err(error);
                }
            }
            () = tokio::time::sleep(LOOK) => {
                if let Some(intake) = &mut self.intake {
                    intake.look_after(&self.client, &self.shared, Instant::now()).await?;
                }
            }
        }
        Ok(true)
    }

    async fn acknowledge(&mut self) -> Result<(), NatsError> {
        let mut numbers = Vec::new();
        self.port.borrow_mut().acks(&mut numbers);
        let replies: Vec<_> = {
            let mut inbox = self.shared.inbox.borrow_mut();
            numbers.into_iter().filter_map(|number| inbox.done(number)).collect()
        };
        acknowledge(&self.client, replies).await
    }

    /// Pulls what there is room for, and sends what nothing is before.
    async fn publish(&mut self) -> Result<(), NatsError> {
        let now = Instant::now();
        if self.refusal.is_some() {
            return Ok(());
        }
        if self.rests_until.is_none_or(|until| now >= until) {
            self.rests_until = None;
            while self.shared.outbox.borrow().has_room() {
                let Some(outgoing) = self.port.borrow_mut().pull(now) else { break };
                self.accept(outgoing);
            }
        }
        loop {
            let (number, subject, publish) = {
                let mut outbox = self.shared.outbox.borrow_mut();
                let Some((number, entry)) = outbox.send() else { return Ok(()) };
                let Outgoing { id, message, .. } = &entry.outgoing;
                let publish = PublishMessage::build().headers(headers_of(message, id)).payload(message.payload.clone());
                (number, entry.subject.clone(), publish)
            };
            match self.context.send_publish(subject, publish).await {
                Ok(answer) => self.answers.push(Box::pin(async move { (number, answer.await) })),
                Err(error) => self.answered((number, Err(error)))?,
            }
            if self.refusal.is_some() {
                return Ok(());
            }
        }
    }

    /// A pulled message: into the outbox, unless the stream can never take it.
    fn accept(&mut self, outgoing: Outgoing) {
        let subject = subject_of(&outgoing.message.topic);
        let why = if subject.len() > MAX_SUBJECT_BYTES {
            let words = format!("its subject has {} bytes, and NATS takes {MAX_SUBJECT_BYTES}", subject.len());
            Some(Refused::TooLarge(words))
        } else if !self.stream.subjects.iter().any(|filter| covers(filter, &subject)) {
            let (name, subjects) = (&self.settings.stream, self.stream.subjects.join(", "));
            let words = format!("the stream `{name}` is for {subjects}, and not for `{}`", shown(&subject));
            Some(Refused::NoSubject(words))
        } else {
            self.stream.max_message_bytes.filter(|max| outgoing.message.payload.len() > *max).map(|max| {
                Refused::TooLarge(format!("the stream `{}` takes {max} bytes at most", self.settings.stream))
            })
        };
        match why {
            Some(why) => self.port.borrow_mut().refused(outgoing, &why),
            None => self.shared.outbox.borrow_mut().push(outgoing, subject),
        }
    }

    /// The stream has answered, or nobody has: this, and all that has come with it.
    fn answered(&mut self, first: (u64, Result<PublishAck, PublishError>)) -> Result<(), NatsError> {
        let (mut next, mut delivered, mut outcome) = (Some(first), Vec::new(), Ok(()));
        while let Some((number, answer)) = next {
            match answer {
                // Also if it is a repeat: the stream has it.
                Ok(_) => {
                    let done = self.shared.outbox.borrow_mut().settle(number);
                    delivered.extend(done.map(|done| done.key));
                }
                Err(error) => outcome = outcome.and(self.not_taken(number, &error)),
            }
            next = self.answers.next().now_or_never().flatten();
        }
        if !delivered.is_empty() {
            self.port.borrow_mut().delivered(&mut delivered, Instant::now());
        }
        outcome?;
        if self.refusal.is_some() && self.shared.outbox.borrow().sent() == 0 {
            self.give_back(Instant::now());
        }
        Ok(())
    }

    fn not_taken(&mut self, number: u64, error: &PublishError) -> Result<(), NatsError> {
        let refused = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
        let code = refused.map(jetstream::Error::error_code);
        match (error.kind(), code) {
            (PublishErrorKind::MaxPayloadExceeded, _)
            | (_, Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM)) => {
                let gone = self.shared.outbox.borrow_mut().settle(number);
                if let Some(gone) = gone {
                    self.port.borrow_mut().refused(gone, &Refused::TooLarge(shown(&causes(error))));
                }
                Ok(())
            }
            (_, Some(_)) => {
                self.shared.outbox.borrow_mut().unsend(number);
                let words = refused.map_or_else(String::new, ToString::to_string);
                self.refusal.get_or_insert_with(|| shown(&words));
                Ok(())
            }
            // It was taken back, and nobody waits for it.
            (PublishErrorKind::TimedOut, None) if !self.shared.outbox.borrow().has(number) => Ok(()),
            (PublishErrorKind::TimedOut, None) => {
                let (count, waited) = (self.shared.outbox.borrow().sent(), ANSWER_TIMEOUT);
                Err(NatsError::Unanswered { count, waited, words: self.events.words() })
            }
            (PublishErrorKind::StreamNotFound, None) => Err(NatsError::NoResponders(self.settings.stream.clone())),
            _ => Err(NatsError::Lost(None)),
        }
    }

    /// All that is not in the stream goes back to the owner, which asks again later.
    fn give_back(&mut self, now: Instant) {
        let refusal = self.refusal.take();
        let messages = self.shared.outbox.borrow_mut().take_unsent();
        let rest = self.port.borrow_mut().returned(messages, refusal.as_deref(), now);
        self.rests_until = Some(now + rest);
    }

    /// What the owner is told of a connection that is ready.
    pub(crate) fn up(&self) -> Status {
        let info = self.client.server_info();
        Status::Up { version: info.version, server: info.server_name, notes: self.stream.notes.clone() }
    }
}
