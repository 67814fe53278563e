//! Reads `[gateway]` and `[admin]`.

use crate::bounds;
use crate::model::{Admin, AdminAddr, Gateway};
use crate::tree::Section;
use crate::values;
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
        section.finish();
    }
    gateway
}

/// Where the admin server listens, if that can be.
pub(super) fn read_admin(mut section: Section<'_, '_, '_, '_>) -> Option<Admin> {
    let context = section.context;
    let listen = section.require("listen", "\"127.0.0.1:9180\"").and_then(|value| value.text());
    let allow_remote = section.flag("allow_remote", false);
    section.finish();
    let listen = listen?;
    let addr = values::admin_addr(listen.value).map_err(|(what, hint)| context.error(&listen.at, what, hint)).ok()?;
    if let AdminAddr::Tcp(tcp) = &addr
        && !tcp.ip().is_loopback()
        && !allow_remote
    {
        context.error(
            &listen.at,
            format!("the admin server asks for no password, and {tcp} can be reached from other machines"),
            "listen on 127.0.0.1 or a unix socket, or add `allow_remote = true` if the network is yours alone",
        );
    }
    Some(Admin { listen: addr })
}
