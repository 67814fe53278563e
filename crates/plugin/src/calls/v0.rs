//! Contract 0.1.

super::functions::calls!(
    v0, "0.1.0", V0,
    configure: Result<(), Vec<wit::Diagnostic>>,
    handle: Vec<Result<wit::Decision, wit::Failure>>,
    properties: PropertiesParam
);

impl Calls {
    pub(super) async fn configure(&self, store: &mut Store<Guest>, config: &str) -> wasmtime::Result<Verdict> {
        let verdict = self.handler.call_configure(store, config).await?;
        Ok(verdict.map_err(|diagnostics| diagnostics.into_iter().map(own).collect()))
    }
}

/// A message from an MQTT 3.1.1 broker has none.
const fn properties(filled: Option<wit::PropertiesParam<'_>>) -> Option<wit::PropertiesParam<'_>> {
    filled
}
