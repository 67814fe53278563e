//! Contract 0.1.

super::functions::calls!(v0, "0.1.0", V0, configure: Result<(), Vec<wit::Diagnostic>>, handle: Vec<Result<wit::Decision, wit::Failure>>);

impl Calls {
    pub(super) async fn configure(&self, store: &mut Store<Guest>, config: &str) -> wasmtime::Result<Verdict> {
        let verdict = self.handler.call_configure(store, config).await?;
        Ok(verdict.map_err(|diagnostics| diagnostics.into_iter().map(own).collect()))
    }
}

/// What crosses the boundary borrows from the message; only the guest gets a copy.
fn lower<'a>(input: &Input<'a>, users: &mut &'a [(&'a str, &'a str)]) -> wit::Message<'a> {
    let message = input.message;
    let properties = message.properties.as_deref().map(|p| {
        let (user, rest) = users.split_at(p.user.len());
        *users = rest;
        wit::PropertiesParam {
            content_type: p.content_type.as_deref(),
            response_topic: p.response_topic.as_ref().map(|topic| topic.as_str()),
            correlation_data: p.correlation_data.as_deref(),
            message_expiry_seconds: p.message_expiry_seconds,
            payload_is_utf8: p.payload_is_utf8,
            user,
        }
    });
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
