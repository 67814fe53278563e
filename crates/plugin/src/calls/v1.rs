//! Contract 1.

super::functions::calls!(v1, "1.0.0", V1, configure: wit::Verdict, handle: Vec<wit::Decision>);

impl Calls {
    pub(super) async fn configure(&self, store: &mut Store<Guest>, config: &str) -> wasmtime::Result<Verdict> {
        Ok(match self.handler.call_configure(store, config).await? {
            wit::Verdict::Accepted => Ok(()),
            wit::Verdict::Refused(diagnostics) => Err(diagnostics.into_iter().map(own).collect()),
        })
    }
}

/// What crosses the boundary borrows from the message; only the guest gets a copy.
fn lower<'a>(input: &Input<'a>, users: &mut &'a [(&'a str, &'a str)]) -> wit::Message<'a> {
    let message = input.message;
    let properties = match message.properties.as_deref() {
        None => wit::Properties {
            content_type: None,
            response_topic: None,
            correlation_data: None,
            message_expiry_seconds: None,
            payload_is_utf8: false,
            user: &[],
        },
        Some(own) => {
            let (user, rest) = users.split_at(own.user.len());
            *users = rest;
            wit::Properties {
                content_type: own.content_type.as_deref(),
                response_topic: own.response_topic.as_ref().map(|topic| topic.as_str()),
                correlation_data: own.correlation_data.as_deref(),
                message_expiry_seconds: own.message_expiry_seconds,
                payload_is_utf8: own.payload_is_utf8,
                user,
            }
        }
    };
    wit::Message {
        id: input.id,
        topic: message.topic.as_str(),
        payload: &message.payload,
        qos: match message.qos {
            QoS::AtMostOnce => wit::Qos::AtMostOnce,
            QoS::AtLeastOnce => wit::Qos::AtLeastOnce,
            QoS::ExactlyOnce => wit::Qos::ExactlyOnce,
        },
        retain: message.retain,
        properties,
        received_ms: input.received_ms,
        redelivered: input.redelivered,
    }
}
