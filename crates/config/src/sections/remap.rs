//! Reads `remap` of a route.

use super::text;
use crate::model::{Remap, Renaming, Rewrite, Template};
use crate::tree::{At, Context, Section};
use crate::values::{shown, why_and_hint};
use tidegate_message::Topic;

/// `{ strip, prefix }` or `{ from, to }`.
pub(super) fn read_remap(mut section: Section<'_, '_, '_, '_>, allow_control: bool) -> Option<Remap> {
    let context = section.context;
    let (strip, prefix) = (section.text("strip"), section.text("prefix"));
    let by_levels = section.has("from") || section.has("to");
    let from = section.text("from").and_then(|text| template(context, "from", &text));
    let to_text = section.text("to");
    let to = to_text.as_ref().and_then(|text| template(context, "to", text));
    if section.has("from") != section.has("to") {
        let (there, missing) = if section.has("from") { ("from", "to") } else { ("to", "from") };
        let hint = format!("add `{missing} = \"...\"`, or write `strip` and `prefix` instead");
        context.error(&section.at, format!("`remap` has a `{there}` and no `{missing}`"), hint);
    }
    let response_topic = section.flag("response_topic", false);
    let at = section.at.clone();
    section.finish();
    if by_levels && (strip.is_some() || prefix.is_some()) {
        let what = "`remap` has `from` and `to`, and `strip` or `prefix` too";
        context.error(
            &at,
            what,
            "keep one of the two: `strip` and `prefix` are for the front, `from` and `to` for all",
        );
        return None;
    }
    if !allow_control {
        let made = prefix.iter().map(|text| ("prefix", text)).chain(to_text.iter().map(|text| ("to", text)));
        made.for_each(|(key, text)| text::check_portable(context, key, text));
    }
    let renaming = match by_levels {
        false => {
            if let Some(prefix) = &prefix
                && !prefix.value.is_empty()
                && let Err(error) = Topic::new(prefix.value.to_owned())
            {
                let hint = "write the levels that topics are to begin with, such as \"site/cottage/\"";
                let why = why_and_hint(&error, hint).0;
                context.error(&prefix.at, format!("`prefix` would make topics that cannot be: {why}"), hint);
                return None;
            }
            let text = |text: Option<At<&str>>| text.map(|text| text.value.to_owned()).unwrap_or_default();
            Renaming::Front { strip: text(strip), prefix: text(prefix) }
        }
        true => match Rewrite::new(from?, to?) {
            Ok(rewrite) => Renaming::Levels(rewrite),
            Err(error) => {
                let at = to_text.map_or(at, |text| text.at);
                context.error(&at, error.to_string(), "use the captures of `from` in `to`, each as it is there");
                return None;
            }
        },
    };
    let same = matches!(&renaming, Renaming::Levels(rewrite) if rewrite.from() == rewrite.to());
    if same || (renaming.is_nothing() && !response_topic) {
        let hint = if same { "change `to`, or leave it out" } else { "set `strip` or `prefix`, or leave it out" };
        context.warning(&at, "this `remap` changes nothing", hint);
    }
    Some(Remap::from(renaming).with_response_topic(response_topic))
}

fn template(context: &Context<'_>, key: &str, text: &At<&str>) -> Option<Template> {
    let error = match Template::new(text.value) {
        Ok(template) => return Some(template),
        Err(error) => error,
    };
    let what = format!("`{key}` cannot be {}: {error}", shown(text.value));
    context.error(&text.at, what, "write levels such as \"dev/{room}/{kind}\" or \"dev/{rest...}\"");
    None
}
