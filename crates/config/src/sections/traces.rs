//! Reads `[traces]`.

use super::headers::read_headers;
use super::tls::{Carrier, read_tls};
use crate::bounds;
use crate::model::Traces;
use crate::tree::Section;
use crate::values;

/// A collector, and which messages it is told of, if that can be so.
pub(super) fn read_traces(mut section: Section<'_, '_, '_, '_>) -> Option<Traces> {
    let context = section.context;
    let endpoint = section.require("endpoint", "\"http://127.0.0.1:4318/v1/traces\"").and_then(|value| value.text());
    let endpoint = endpoint.and_then(|text| {
        values::collector_url(text.value).map_err(|(what, hint)| context.error(&text.at, what, hint)).ok()
    });
    let headers = section.take("headers").map(|value| {
        context.place("traces.headers".to_owned(), &value.at);
        read_headers(&value, None)
    });
    let carrier = endpoint.as_ref().map(|url| Carrier {
        to: "a collector",
        scheme: if url.is_tls { "https" } else { "http" },
        is_tls: url.is_tls,
        with_tls: "https://",
    });
    let tls = read_tls(&mut section, "traces", carrier);
    let one_in = section.number("one_in", bounds::TRACES_ONE_IN) as u32; // at most a million
    let rate = section.number("rate", bounds::TRACES_RATE) as u32; // at most 1,000
    section.finish();
    Some(Traces { endpoint: endpoint?, headers: headers.unwrap_or_default(), tls, one_in, rate })
}
