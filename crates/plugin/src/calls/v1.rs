//! Contract 1.

super::functions::calls!(
    v1, "1.0.0", V1,
    configure: wit::Verdict,
    handle: Vec<wit::Decision>,
    properties: Properties
);

impl Calls {
    pub(super) async fn configure(&self, store: &mut Store<Guest>, config: &str) -> wasmtime::Result<Verdict> {
        Ok(match self.handler.call_configure(store, config).await? {
            wit::Verdict::Accepted => Ok(()),
            wit::Verdict::Refused(diagnostics) => Err(diagnostics.into_iter().map(own).collect()),
        })
    }
}

/// A message from an MQTT 3.1.1 broker has empty ones.
fn properties(filled: Option<wit::Properties<'_>>) -> wit::Properties<'_> {
    filled.unwrap_or(wit::Properties {
        content_type: None,
        response_topic: None,
        correlation_data: None,
        message_expiry_seconds: None,
        payload_is_utf8: false,
        user: &[],
    })
}
