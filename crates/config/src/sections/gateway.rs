//! Reads `[gateway]`.

use crate::bounds;
use crate::model::Gateway;
use crate::tree::Section;
use std::path::PathBuf;

/// Who the gateway is; empty where it does not say.
pub(super) fn read_gateway(root: &mut Section<'_, '_, '_, '_>) -> Gateway {
    let mut gateway = Gateway {
        name: String::new(),
        data_dir: PathBuf::new(),
        commit_delay: bounds::COMMIT_DELAY.default,
        segment_size: bounds::SEGMENT_SIZE.default,
        allow_control_characters: false,
        hop_limit: bounds::HOP_LIMIT.default as u32,
        keep_versions: bounds::KEEP_VERSIONS.default as usize,
        recent_messages: bounds::RECENT_MESSAGES.default as usize,
        interpreter: false,
    };
    let context = root.context;
    let value = root.take("gateway");
    if value.is_none() {
        let hint = "add it, with `name = \"cottage\"` and `data_dir = \"/var/lib/tidegate\"`";
        context.error(&root.at, "there is no section `[gateway]`", hint);
    }
    if let Some(mut section) = value.and_then(|value| value.section("[gateway]")) {
        if let Some(name) = section.require("name", "\"cottage\"").and_then(|value| value.text()) {
            context.check_name("gateway", name.value, &name.at);
            gateway.name = name.value.to_owned();
        }
        if let Some(dir) = section.require("data_dir", "\"/var/lib/tidegate\"").and_then(|value| value.path()) {
            gateway.data_dir = dir.value;
        }
        gateway.commit_delay = section.duration("commit_delay", bounds::COMMIT_DELAY);
        gateway.segment_size = section.size("segment_size", bounds::SEGMENT_SIZE);
        gateway.allow_control_characters = section.choice("control_characters", &[("refuse", false), ("allow", true)]);
        gateway.hop_limit = section.number("hop_limit", bounds::HOP_LIMIT) as u32; // at most 64
        gateway.keep_versions = section.number("keep_versions", bounds::KEEP_VERSIONS) as usize; // at most 100
        gateway.recent_messages = section.number("recent_messages", bounds::RECENT_MESSAGES) as usize; // at most 100,000
        section.finish();
    }
    gateway
}
