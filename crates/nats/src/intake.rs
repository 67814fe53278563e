//! Messages from the consumer: asked for, as many as the owner may have, taken, acknowledged.

use crate::NatsError;
use crate::ack_subject::delivery_of;
use crate::connect::ANSWER_TIMEOUT;
use crate::headers::message_of;
use crate::inbox::Verdict;
use crate::nats::Shared;
use crate::subject::topic_of;
use crate::{Arrived, Status, shown};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::{Client, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a request for messages waits at the server.
const REQUEST_EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it still has a request, and after what silence it has not.
const HEARTBEAT: Duration = Duration::from_secs(3);
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// So many messages at most are taken at a time.
const BATCH_MAX: usize = 256;

const ACK: Bytes = Bytes::from_static(b"+ACK");
const IN_PROGRESS: Bytes = Bytes::from_static(b"+WPI");
const PENDING: &str = "Nats-Pending-Messages";

/// The way in of one connection.
pub(crate) struct Intake {
    pub(crate) consumer: PullConsumer,
    name: String,
    /// Where messages are asked for.
    next: String,
    inbox: Subject,
    messages: Subscriber,
    /// How many the server may still send.
    asked: usize,
    /// How many may be asked for at a time.
    batch_max: usize,
    heard: Instant,
    /// How often the server is told that we still have a message.
    told_every: Duration,
}

impl Intake {
    pub(crate) async fn new(client: &Client, consumer: PullConsumer, now: Instant) -> Result<Self, NatsError> {
        let info = consumer.cached_info();
        let name = info.name.clone();
        let inbox = Subject::from(client.new_inbox());
        let messages = client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| NatsError::Consumer { consumer: name.clone(), words: error.to_string() })?;
        let batch_max = usize::try_from(info.config.max_batch).ok().filter(|max| *max > 0).unwrap_or(usize::MAX);
        Ok(Self {
            next: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", info.stream_name),
            // Also two words that are lost leave time for a third. Zero would be a consumer that never waits.
            told_every: (info.config.ack_wait / 4).max(Duration::from_millis(100)),
            consumer,
            name,
            inbox,
            messages,
            asked: 0,
            batch_max,
            heard: now,
        })
    }

    fn silent(&self, words: impl Into<String>) -> NatsError {
        NatsError::Consumer { consumer: self.name.clone(), words: words.into() }
    }

    /// Asks for as many messages as there is room for, if that is worth it.
    pub(crate) async fn ask(&mut self, client: &Client, shared: &Shared, max: usize) -> Result<(), NatsError> {
        let room = max.saturating_sub(shared.inbox.borrow().held() + self.asked).min(self.batch_max);
        if room == 0 || shared.paused.get() || (self.asked > 0 && room < max.div_ceil(2).min(self.batch_max)) {
            return Ok(());
        }
        let request = serde_json::json!({
            "batch": room,
            "expires": REQUEST_EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        let request = Bytes::from(request.to_string());
        let asked = client.publish_with_reply(self.next.clone(), self.inbox.clone(), request).await;
        asked.map_err(|error| self.silent(error.to_string()))?;
        if self.asked == 0 {
            self.heard = Instant::now();
        }
        self.asked += room;
        Ok(())
    }

    /// Waits for something from the server, and takes what has come. Nothing is lost when it is not waited for to its end.
    pub(crate) async fn receive(&mut self, shared: &Shared) -> Received {
        let mut received = Received::default();
        let mut next = self.messages.next().await;
        let mut count = 0;
        loop {
            self.heard = Instant::now();
            match next {
                None => received.error = Some(NatsError::Lost(None)),
                Some(message) => match message.status {
                    Some(status) => received.error = self.status(status, &message).err(),
                    None => self.take(message, shared, &mut received),
                },
            }
            count += 1;
            if received.error.is_some() || count == BATCH_MAX {
                return received;
            }
            match self.messages.next().now_or_never() {
                Some(more) => next = more,
                None => return received,
            }
        }
    }

    /// What is no message: how it stands with what was asked for (NATS ADR-9 and ADR-13).
    fn status(&mut self, status: StatusCode, message: &Message) -> Result<(), NatsError> {
        if status == StatusCode::IDLE_HEARTBEAT {
            return Ok(());
        }
        let pending = message.headers.as_ref().and_then(|headers| headers.get(PENDING)?.as_str().parse::<usize>().ok());
        match (status, pending) {
            // A request is over, with so many messages to go.
            (StatusCode::TIMEOUT | StatusCode::NOT_FOUND, Some(pending)) => {
                self.asked = self.asked.saturating_sub(pending);
                Ok(())
            }
            _ => {
                let words = message.description.as_deref().unwrap_or_default();
                Err(self.silent(shown(&format!("{} {words}", status.as_u16()))))
            }
        }
    }

    fn take(&mut self, message: Message, shared: &Shared, received: &mut Received) {
        self.asked = self.asked.saturating_sub(1);
        let Some(reply) = message.reply.as_ref() else { return };
        // Without its identity it cannot be acknowledged either: the server has changed how it writes them.
        let Some(delivery) = delivery_of(reply) else {
            return received.skipped.push(("unknown_reply", message.subject));
        };
        let number = match shared.inbox.borrow_mut().take(&delivery, reply, Instant::now()) {
            Verdict::New(number) => number,
            Verdict::Held => return,
            Verdict::Done => return received.done.push(reply.clone()),
        };
        let Some(topic) = topic_of(&message.subject) else {
            received.done.extend(shared.inbox.borrow_mut().done(number));
            return received.skipped.push(("topic", message.subject));
        };
        if !shared.wanted.borrow().iter().any(|filter| filter.matches(&topic)) {
            // The consumer's filter is wider than what is wanted.
            return received.done.extend(shared.inbox.borrow_mut().done(number));
        }
        let since_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
        let age_s = u64::try_from((since_ns - delivery.published_ns) / 1_000_000_000).unwrap_or(0);
        let message = message_of(topic, message.payload, message.headers.as_ref(), age_s);
        received.arrived.push(Arrived { message, number, redelivered: delivery.delivered > 1 });
    }

    /// Tells the server of messages that we still have, and looks whether it still is there.
    pub(crate) async fn look_after(&mut self, client: &Client, shared: &Shared, now: Instant) -> Result<(), NatsError> {
        let overdue = shared.inbox.borrow_mut().overdue(self.told_every, now);
        for reply in overdue {
            say(client, reply, IN_PROGRESS).await?;
        }
        if self.asked > 0 && now.saturating_duration_since(self.heard) > SILENCE_MAX {
            return Err(self.silent(format!("not even a heartbeat in {SILENCE_MAX:?}")));
        }
        Ok(())
    }
}

/// What has come.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) arrived: Vec<Arrived>,
    /// Where to acknowledge what needs nobody's care.
    pub(crate) done: Vec<Subject>,
    pub(crate) skipped: Vec<(&'static str, Subject)>,
    /// Nothing more will come.
    pub(crate) error: Option<NatsError>,
}

impl Received {
    /// What cannot be taken, for the owner.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = Status> {
        self.skipped.iter().map(|(reason, subject)| Status::Skipped { reason, subject: shown(subject) })
    }
}

/// Acknowledges messages.
pub(crate) async fn acknowledge(client: &Client, replies: impl IntoIterator<Item = Subject>) -> Result<(), NatsError> {
    for reply in replies {
        say(client, reply, ACK).await?;
    }
    Ok(())
}

async fn say(client: &Client, reply: Subject, what: Bytes) -> Result<(), NatsError> {
    let said = tokio::time::timeout(ANSWER_TIMEOUT, client.publish(reply, what)).await;
    match said {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(NatsError::Lost(None)),
    }
}
