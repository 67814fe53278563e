//! Reads `probe` of a broker.

use super::announcement::read_topic;
use crate::bounds;
use crate::model::{BridgeMode, Gateway, Probe, Version};
use crate::tree::Section;
use toml::de::DeValue;

/// The message by which it is seen whether a broker passes on what it takes, if there is one.
pub(super) fn read_probe(
    section: &mut Section<'_, '_, '_, '_>,
    gateway: &Gateway,
    version: Version,
    bridge: BridgeMode,
) -> Option<Probe> {
    let value = section.take("probe")?;
    let (context, allow) = (section.context, gateway.allow_control_characters);
    if version != Version::V5 && bridge != BridgeMode::Off {
        let what = "a probe does not come back over a connection with the bridge bit, which MQTT 3 may have here";
        value.error(what, "set `version = \"5\"`, or `bridge = \"off\"`");
    }
    if !matches!(value.any(), DeValue::Table(_)) {
        let topic = read_topic(context, "probe", &value.text()?, allow)?;
        return Some(Probe { topic, every: bounds::PROBE.default });
    }
    let mut inner = value.section("probe = { topic = \"tidegate/probe\", every = \"10s\" }")?;
    let topic = inner.require("topic", "\"tidegate/probe\"").and_then(|value| value.text());
    let every = inner.duration("every", bounds::PROBE);
    inner.finish();
    Some(Probe { topic: read_topic(context, "topic", &topic?, allow)?, every })
}
