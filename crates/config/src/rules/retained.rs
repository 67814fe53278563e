//! What routes want of what is stored at their source, where one subscription or one protocol cannot give it to them.

use crate::model::{BridgeMode, LinkBroker, Retained, Version};
use crate::sections::Draft;
use crate::tree::Context;
use std::collections::HashMap;

/// Reports it.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    let mut first: HashMap<(&str, &str), (&str, Retained)> = HashMap::new();
    for (route, written) in draft.routes() {
        let source = &route.from;
        for (broker, filter) in source.brokers.iter().flat_map(|broker| written.topics.iter().map(move |f| (broker, f)))
        {
            let here = (route.name.as_str(), source.retained);
            let (other, wants) = *first.entry((broker, filter.value.as_str())).or_insert(here);
            if wants != source.retained {
                let what = format!(
                    "`{}` is one subscription, of which this route and `{other}` want different things that are stored",
                    filter.value
                );
                let hint = "write the same `retained` in both, or give this route a broker entry of its own";
                context.error(&filter.at, what, hint);
            }
        }
        let mut links = source.brokers.iter().filter_map(|broker| draft.config.brokers.get(broker)?.link());
        if source.retained == Retained::Never && links.any(may_say_bridge) {
            let what = "with the bridge bit nothing tells stored messages from live ones, so `retained = \"never\"` is as \"new\"";
            let hint = "set `bridge = \"off\"` in its broker, or `version = \"5\"` if the broker speaks that";
            context.warning(&written.at, what, hint);
        }
    }
}

/// Whether nothing but the bridge bit is tried first.
fn may_say_bridge(link: &LinkBroker) -> bool {
    matches!(link.version, Version::V31 | Version::V311) && link.bridge != BridgeMode::Off
}
