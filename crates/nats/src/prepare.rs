//! Stream and consumer, before messages go: found, or made if the owner wants that, or else an error that says what to do.

use crate::connect::causes;
use crate::subject::{common_filter, covers, subjects_of};
use crate::{NatsError, Settings, Status, shown};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{Context, GetStreamErrorKind};
use async_nats::jetstream::{ErrorCode, stream};
use std::time::Duration;
use tidegate_message::TopicFilter;

/// How long a consumer that we make waits for an acknowledgement, or for word that we still have the message.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// How many messages may be unacknowledged at all gateways of a consumer that we make; each bounds its own.
const ACK_PENDING_MAX: i64 = 65_536;

/// What is known of the stream.
#[derive(Debug)]
pub(crate) struct StreamFacts {
    pub(crate) handle: stream::Stream,
    /// Whether a message of this subject is for it, by these filters.
    pub(crate) subjects: Vec<String>,
    /// The largest message it takes, headers included; `None` without a bound of its own.
    pub(crate) max_message_bytes: Option<usize>,
    pub(crate) created: String,
    pub(crate) notes: Vec<String>,
}

/// Finds the stream, or makes it.
pub(crate) async fn prepare_stream(
    context: &Context,
    settings: &Settings,
    tell: impl FnOnce(Status),
) -> Result<StreamFacts, NatsError> {
    let Settings { stream: name, subjects, .. } = settings;
    let found = match context.get_stream(name).await {
        Ok(found) => found,
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                if subjects.is_empty() {
                    let words = format!(
                        "there is no stream `{name}`; make it with `nats stream add {name} --subjects ...`, or set \
                         `subjects` and it is made"
                    );
                    return Err(NatsError::Stream(words));
                }
                let made = make_stream(context, settings).await?;
                tell(Status::Created { what: "stream", name: name.clone() });
                made
            }
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED => {
                return Err(NatsError::Stream(
                    "the server has no JetStream; start it with `--jetstream`, or with a `jetstream` block".to_owned(),
                ));
            }
            _ => return Err(NatsError::Stream(format!("asking for the stream `{name}`: {}", shown(&causes(&error))))),
        },
    };
    let info = found.cached_info();
    let (config, created) = (info.config.clone(), info.created.to_string());
    let mut notes = Vec::new();
    let missing: Vec<&str> = subjects
        .iter()
        .filter(|wanted| !config.subjects.iter().any(|has| covers(has, wanted)))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        notes.push(format!(
            "the stream `{name}` was made before, without {}: what goes there is put aside; `nats stream edit {name}` adds it",
            missing.join(", ")
        ));
    }
    let max_message_bytes = usize::try_from(config.max_message_size).ok().filter(|bytes| *bytes > 0);
    Ok(StreamFacts { handle: found, subjects: config.subjects, max_message_bytes, created, notes })
}

async fn make_stream(context: &Context, settings: &Settings) -> Result<stream::Stream, NatsError> {
    let config = stream::Config {
        name: settings.stream.clone(),
        subjects: settings.subjects.clone(),
        num_replicas: settings.replicas.into(),
        ..stream::Config::default()
    };
    context.create_stream(config).await.map_err(|error| {
        let words = shown(&causes(&error));
        NatsError::Stream(format!("the stream `{}` cannot be made: {words}", settings.stream))
    })
}

/// Whether a consumer's filter lets through what another one asks for; empty is all.
fn suffices(has: &str, filter: &str) -> bool {
    has.is_empty() || !filter.is_empty() && covers(has, filter)
}

/// The one filter of a consumer for these of MQTT; empty is all.
fn filter_for(wanted: &[TopicFilter]) -> String {
    let subjects: Vec<String> = wanted.iter().flat_map(subjects_of).collect();
    common_filter(subjects.iter().map(String::as_str)).unwrap_or_default()
}

/// Whether a consumer is as good for these filters as for those it was made for.
pub(crate) fn serves(consumer: &PullConsumer, wanted: &[TopicFilter]) -> bool {
    suffices(&consumer.cached_info().config.filter_subject, &filter_for(wanted))
}

/// Finds the consumer for these filters, or makes it.
pub(crate) async fn prepare_consumer(
    stream: &stream::Stream,
    settings: &Settings,
    wanted: &[TopicFilter],
    tell: impl FnOnce(Status),
) -> Result<PullConsumer, NatsError> {
    let name = &settings.client_id;
    let filter = filter_for(wanted);
    let fails = |doing: &str, error: &dyn std::error::Error| {
        NatsError::Stream(format!("{doing} the consumer `{name}`: {}", shown(&causes(error))))
    };
    let mut config = pull::Config {
        durable_name: Some(name.clone()),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ack_wait: ACK_WAIT,
        max_ack_pending: ACK_PENDING_MAX,
        filter_subject: filter.clone(),
        ..pull::Config::default()
    };
    let found = match stream.consumer_info(name).await {
        Ok(info) => info,
        Err(error) => match error.kind() {
            async_nats::jetstream::context::ConsumerInfoErrorKind::NotFound => {
                let made = stream.create_consumer(config).await.map_err(|error| fails("making", &error))?;
                tell(Status::Created { what: "consumer", name: name.clone() });
                return Ok(made);
            }
            _ => return Err(fails("asking for", &error)),
        },
    };
    if found.config.ack_policy != AckPolicy::Explicit || found.config.deliver_subject.is_some() {
        return Err(NatsError::Stream(format!(
            "the consumer `{name}` is not a pull consumer with explicit acknowledgements; delete it with `nats consumer \
             rm {} {name}` and it is made, or set another `client_id`",
            settings.stream
        )));
    }
    let has = &found.config.filter_subject;
    if !suffices(has, &filter) {
        // It keeps all else.
        (config.ack_wait, config.max_ack_pending) = (found.config.ack_wait, found.config.max_ack_pending);
        (config.deliver_policy, config.max_deliver) = (found.config.deliver_policy, found.config.max_deliver);
        (config.max_waiting, config.num_replicas) = (found.config.max_waiting, found.config.num_replicas);
        return stream.create_consumer(config).await.map_err(|error| fails("changing the filter of", &error));
    }
    stream.get_consumer(name).await.map_err(|error| fails("asking for", &*error))
}
