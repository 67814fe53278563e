//! `share = "gateways"` of a route's source: its filters become those of a shared subscription (MQTT 5.0 section 4.8.2).

use crate::tree::{At, Context, Section};
use crate::values::shown;
use tidegate_message::TopicFilter;

/// The filters of a source, shared if it says so, and where it does.
pub(super) fn read_share(
    section: &mut Section<'_, '_, '_, '_>,
    topics: Vec<At<TopicFilter>>,
) -> (Vec<At<TopicFilter>>, Option<crate::problem::Span>) {
    let Some(group) = section.text("share") else { return (topics, None) };
    let context = section.context;
    // MQTT-4.8.2-1 and -2.
    if group.value.is_empty() || group.value.contains(['/', '+', '#']) {
        let what = format!("{} cannot be the name of a share: it is one level without wildcards", shown(group.value));
        context.error(&group.at, what, "write a name without `/`, `+` and `#`, such as \"gateways\"");
        return (topics, None);
    }
    let shared = topics.into_iter().filter_map(|filter| share(context, group.value, filter)).collect();
    (shared, Some(group.at))
}

fn share(context: &Context<'_>, group: &str, filter: At<TopicFilter>) -> Option<At<TopicFilter>> {
    let At { value, at } = filter;
    if value.share().is_some() {
        let what = format!("`{value}` names a share itself, beside `share`");
        context.error(&at, what, format!("write `{}`, or leave out `share`", value.pattern()));
        return None;
    }
    match TopicFilter::new(format!("$share/{group}/{value}")) {
        Ok(value) => Some(At { value, at }),
        Err(error) => {
            let what = format!("`{value}` cannot be shared as `{group}`: {error}");
            context.error(&at, what, "write a shorter name in `share`");
            None
        }
    }
}
