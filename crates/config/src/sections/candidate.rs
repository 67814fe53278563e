//! Reads `[plugins.<name>.candidate]`.

use super::lists::{filters, values_of};
use super::plugin::read_digest;
use super::probation::read_share;
use crate::bounds;
use crate::model::{Candidate, Promote, Trial};
use crate::tree::{FileKind, Section};
use tidegate_decisions::FieldPath;

/// A version that is tried; `place` is where its section is.
pub(super) fn read_candidate(mut section: Section<'_, '_, '_, '_>, place: &str) -> Option<Candidate> {
    let context = section.context;
    context.place(place.to_owned(), &section.at);
    let path = section.require("path", "\"plugins/next.wasm\"").and_then(|value| value.path());
    let config = section.take("config").and_then(|value| value.json(&format!("{place}.config")));
    let digest = read_digest(&mut section);
    let is_canary = section.choice("mode", &[("shadow", false), ("canary", true)]);
    let topics_at = section.has("topics");
    let topics = filters(context, section.texts("topics").unwrap_or_default());
    let share = section.take("share").and_then(|value| read_share(&value));
    if !is_canary {
        for (there, key) in [(topics_at, "topics"), (share.is_some(), "share")] {
            if there {
                let what = format!("`{key}` is of a canary, and a shadow decides every message");
                context.error(&section.at, what, format!("add `mode = \"canary\"`, or take out `{key}`"));
            }
        }
    }
    for filter in topics.iter().filter(|filter| filter.value.share().is_some()) {
        let what = format!("`{}` cannot be a shared subscription here", filter.value);
        context.error(&filter.at, what, format!("write \"{}\"", filter.value.pattern()));
    }
    let trial = match is_canary {
        false => Trial::Shadow,
        true => {
            let share_alone = if topics.is_empty() { bounds::CANARY_SHARE } else { 0 };
            let share_per_million = share.unwrap_or(share_alone);
            Trial::Canary { topics: values_of(&topics), share_per_million }
        }
    };
    let mut ignore = Vec::new();
    for text in section.texts("ignore").unwrap_or_default() {
        match text.value.parse::<FieldPath>() {
            Ok(path) => ignore.push(path),
            Err(error) => context.error(&text.at, error.to_string(), "such as \"$.ts\""),
        }
    }
    let promote = section.section("promote", "promote = { after = \"10m\" }").map(|mut section| {
        let promote = Promote {
            after: section.duration("after", bounds::PROMOTE_AFTER),
            messages: section.number("messages", bounds::PROMOTE_MESSAGES),
            differences: section.number("differences", bounds::PROMOTE_DIFFERENCES),
            failures_per_million: section.take("failures").and_then(|value| read_share(&value)).unwrap_or(0),
        };
        section.finish();
        promote
    });
    section.finish();
    let path = path?;
    context.place(format!("{place}.path"), &path.at);
    context.uses_file(FileKind::Plugin { path: path.value.clone(), digest: digest.clone() }, &path.at);
    Some(Candidate { path: path.value, config, digest, trial, ignore, promote })
}
