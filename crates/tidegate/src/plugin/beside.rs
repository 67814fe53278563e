//! What a running gateway says and does with a plugin while it is developed: its lines of the log, and what it decides.

use crate::tap::told;
use crate::{Failure, admin_client};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate_admin::model::{LogLine, Way};
use tidegate_config::Config;
use tidegate_gateway::harmless;

/// A gateway that is not there is asked again after so long: it may be started later, or anew.
const AGAIN: Duration = Duration::from_secs(2);

/// The width of a line.
const WIDTH: usize = 200;

/// Follows the gateway of a configuration that has this component as a plugin, on threads of their own, until the process ends.
///
/// # Errors
/// No plugin of it is this component.
pub(super) fn follow(config: Config, component: &Path) -> Result<(), Failure> {
    let same = |path: &Path| path == component || path.canonicalize().ok() == component.canonicalize().ok();
    let is_it = |path: &Path| same(path) && path.file_name() == component.file_name();
    let names = config.plugins.iter().filter(|(_, plugin)| is_it(&plugin.path));
    let names: Arc<[String]> = names.map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        let words = format!("no plugin of the configuration has `path = \"{}\"`", component.display());
        return Err(Failure::Config(words));
    }
    let config = Arc::new(config);
    let (lines, ways) = ((config.clone(), names.clone()), (config, names));
    std::thread::spawn(move || listen(&lines.0, "/api/v1/stream", |name, data| log(&lines.1, name, data)));
    std::thread::spawn(move || listen(&ways.0, "/api/v1/tap?payloads=true", |name, data| decided(&ways.1, name, data)));
    Ok(())
}

/// For ever; a gateway that does not answer is said once.
fn listen(config: &Config, path: &str, mut each: impl FnMut(&str, &str)) {
    let mut is_told = false;
    loop {
        let outcome = admin_client::listen(config, path, |name, data| {
            is_told = false;
            each(name, data);
            Ok(true)
        });
        if let Err(failure) = outcome
            && !std::mem::replace(&mut is_told, true)
        {
            println!("gateway: {}", failure.words().unwrap_or_default());
        }
        std::thread::sleep(AGAIN);
    }
}

/// What is about one of these, or about a reload.
fn log(names: &[String], event: &str, data: &str) {
    let Ok(line) = serde_json::from_str::<LogLine>(data) else { return };
    let is_ours = line.fields.get("plugin").is_some_and(|plugin| names.contains(plugin));
    let is_reload = matches!(line.event.as_deref(), Some("reloaded" | "reload_refused"));
    if event == "log" && (is_ours || is_reload) {
        let about = line.fields.iter().filter(|(name, _)| *name != "plugin");
        let about: String = about.map(|(name, value)| format!(" {name}={}", harmless(value))).collect();
        println!("gateway: {} {}{about}", line.level, harmless(&line.message));
    }
}

/// A message that came to one of these.
fn decided(names: &[String], event: &str, data: &str) {
    if event != "way" {
        return;
    }
    let Ok(way) = serde_json::from_str::<Way>(data) else { return };
    if way.said.iter().any(|said| names.contains(&said.plugin)) {
        told(&way, WIDTH).into_iter().for_each(|line| println!("gateway: {}", line.text));
    }
}
