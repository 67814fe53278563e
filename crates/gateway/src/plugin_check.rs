//! The third look at a configuration: its plugins, compiled, linked and configured as for a start.

use crate::plugins::build::allows_control_characters;
use crate::plugins::compile::{File, compile};
use crate::{Error, compile_cache};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use tidegate_config::{self as config, Loaded, Places, Problem, Severity};
use tidegate_plugin::{Component, Diagnostic, Host, HostConfig, Plugin, Spec, StateStore};

/// What speaks against starting the plugins, and what of them is hardly meant. Slow: it may compile.
///
/// `cache` is where the caller keeps compiled code; the gateway's own is read and not written.
///
/// # Errors
/// The engine does not start, or may not make memory executable: that says nothing of the plugins.
pub fn check_plugins(loaded: &Loaded, cache: Option<&Path>) -> Result<Vec<Problem>, Error> {
    let Loaded { config, places, .. } = loaded;
    if config.plugins.is_empty() {
        return Ok(Vec::new());
    }
    let cache_dir = compile_cache::beside(&config.gateway.data_dir, cache);
    let host = Host::new(&HostConfig { cache_dir, interpreter: config.gateway.interpreter })
        .map_err(|error| Error::Engine(error.into()))?;
    let (mut plugins, mut found) = (BTreeMap::new(), Vec::new());
    let mut sources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for route in &config.routes {
        for plugin in &route.plugins {
            sources.entry(plugin).or_default().extend(route.from.brokers.iter().map(String::as_str));
        }
    }
    let components = components(&host, config);
    let candidates = config.plugins.iter().filter_map(|(name, plugin)| Some((name, plugin.as_candidate()?)));
    let candidates: Vec<(&String, config::Plugin)> = candidates.collect();
    let is_candidate = |settings: &config::Plugin| candidates.iter().any(|(_, known)| std::ptr::eq(known, settings));
    let all = config.plugins.iter().chain(candidates.iter().map(|(name, plugin)| (*name, plugin)));
    for (name, settings) in all {
        let part = if is_candidate(settings) { "candidate." } else { "" };
        let component = &components[settings.path.as_path()];
        let plugin = component.as_ref().map_err(Clone::clone).and_then(|component| {
            let spec = Spec {
                allow_control_characters: allows_control_characters(config),
                ..Spec::configured(name, settings, StateStore::default())
            };
            let plugin = Plugin::new(&host, component, spec).map_err(wrong)?;
            plugin.instantiate().map_err(wrong)?;
            Ok(plugin)
        });
        match plugin {
            Ok(plugin) => {
                plugins.entry(name.as_str()).or_insert(plugin.has_timer());
            }
            Err(Wrong::NotThePlugin(words)) => return Err(Error::Engine(words.into())),
            Err(Wrong::Path(words, hint)) => {
                let words = format!("`{}`: {words}; {hint}", settings.path.display());
                found.push(places.plugin_problem(Severity::Error, name, &format!("{part}path"), &words));
            }
            Err(Wrong::Key(key, words)) => {
                let key = if key == "config" { format!("{part}{key}") } else { key.to_owned() };
                found.push(places.plugin_problem(Severity::Error, name, &key, &words));
            }
            Err(Wrong::Config(diagnostics)) => {
                found.extend(diagnostics.iter().map(|said| refused(places, name, part, said)));
            }
        }
        if is_candidate(settings) {
            let runs = &config.plugins[name];
            if (&settings.path, &settings.config) == (&runs.path, &runs.config) {
                let words =
                    "it is the plugin itself, so nothing is tried; name another component, or give it another `config`";
                found.push(places.plugin_problem(Severity::Warning, name, "candidate.path", words));
            }
            continue;
        }
        if let Ok(component) = component
            && let Some(words) = small_memory(component, &settings.limits)
        {
            found.push(places.plugin_problem(Severity::Warning, name, "limits", &words));
        }
        found.extend(ungranted(config, places, name, settings, sources.get(name.as_str())));
    }
    found.extend(timed(config, places, &plugins));
    Ok(found)
}

/// Compiles every plugin into the gateway's own cache, so that its next start, or a reload, has nothing to compile. A gateway may
/// run meanwhile. Returns what is in the cache now, and in words what could not be compiled.
///
/// # Errors
/// This is not the gateway's user, whose cache must hold nothing of others; or the engine does not start.
pub fn compile_plugins(config: &config::Config) -> Result<(usize, Vec<String>), Error> {
    let data_dir = &config.gateway.data_dir;
    compile_cache::is_ours(data_dir).map_err(|words| Error::Engine(words.into()))?;
    let host =
        Host::new(&HostConfig { cache_dir: Some(data_dir.join("cache")), interpreter: config.gateway.interpreter })
            .map_err(|error| Error::Engine(error.into()))?;
    let components = components(&host, config);
    let told = |(path, error): (&Path, Wrong)| match error {
        Wrong::Path(words, hint) => format!("{}: {words}; {hint}", path.display()),
        Wrong::Key(_, words) | Wrong::NotThePlugin(words) => format!("{}: {words}", path.display()),
        Wrong::Config(_) => path.display().to_string(),
    };
    let all = components.len();
    let mut wrong: Vec<String> =
        components.into_iter().filter_map(|(path, compiled)| Some((path, compiled.err()?))).map(told).collect();
    wrong.sort();
    Ok((all - wrong.len(), wrong))
}

/// Why there is no plugin, by what is to be mended.
#[derive(Debug, Clone)]
enum Wrong {
    /// Its file, and what to do.
    Path(String, &'static str),
    /// What stands at another key of it; what to do is behind a semicolon.
    Key(&'static str, String),
    /// Its configuration.
    Config(Vec<Diagnostic>),
    /// This process.
    NotThePlugin(String),
}

/// Components of this size bring the interpreter of a language, which needs memory of its own.
const LARGE_BYTES: usize = 10 << 20;
/// What such an interpreter needs at least, to run for long.
const LARGE_MEMORY_BYTES: usize = 64 << 20;

/// What is to be said of a component that will run out of memory, but only under load.
pub(crate) fn small_memory(component: &Component, limits: &config::Limits) -> Option<String> {
    let is_small = component.size_bytes() > LARGE_BYTES && limits.memory_bytes < LARGE_MEMORY_BYTES;
    is_small.then(|| {
        let (size, memory) = (component.size_bytes() >> 20, limits.memory_bytes >> 20);
        format!(
            "a component of {size} MiB brings an interpreter, which runs out of {memory} MiB of memory under load: set \
             `memory = \"128MiB\"`"
        )
    })
}

/// Every file that a plugin names, compiled side by side.
fn components<'a>(host: &Host, config: &'a config::Config) -> HashMap<&'a Path, Result<Component, Wrong>> {
    let (mut components, mut files) = (HashMap::new(), Vec::new());
    let named = config.plugins.iter().flat_map(|(name, plugin)| {
        let candidate = plugin.candidate.as_deref().map(|candidate| candidate.path.as_path());
        candidate.into_iter().chain([plugin.path.as_path()]).map(move |path| (path, name))
    });
    let paths: BTreeMap<_, _> = named.collect();
    for (path, plugin) in paths {
        match std::fs::read(path) {
            Ok(bytes) => files.push(File { plugin, path, bytes }),
            Err(error) => {
                components.insert(path, Err(Wrong::Path(error.to_string(), "let the gateway's user read it")));
            }
        }
    }
    let compiled = compile(host, &files);
    components.extend(files.iter().zip(compiled).map(|(file, compiled)| (file.path, compiled.map_err(wrong))));
    components
}

fn wrong(error: tidegate_plugin::Error) -> Wrong {
    use tidegate_plugin::Error;
    let words = error.to_string();
    match error {
        Error::Compile(_) => Wrong::Path(words, "build it for wasm32-wasip2, or correct the path"),
        Error::WrongWorld(_) => Wrong::Path(words, "build it with the contract of this gateway"),
        Error::Start(_) | Error::State(_) => Wrong::Path(words, "mend the plugin, or give it more in its `limits`"),
        Error::Ungranted { .. } => Wrong::Key("grants", words),
        Error::Limits { .. } => Wrong::Key("limits", words + "; raise it"),
        // It names no key.
        Error::Configure(diagnostics) if diagnostics.is_empty() => Wrong::Key("config", words),
        Error::Configure(diagnostics) => Wrong::Config(diagnostics),
        Error::Engine(_) | Error::NoExecutableMemory(_) => Wrong::NotThePlugin(words),
    }
}

/// What a plugin refuses of its `config`, at the key that it names.
fn refused(places: &Places, plugin: &str, part: &str, said: &Diagnostic) -> Problem {
    let key = match said.at.as_str() {
        "" => "config".to_owned(),
        at if at.starts_with('[') => format!("config{at}"),
        at => format!("config.{at}"),
    };
    let key = format!("{part}{key}");
    places.plugin_problem(Severity::Error, plugin, &key, &format!("it refuses its configuration: {said}"))
}

/// Targets that the `config` of a plugin names and its grants do not.
///
/// Nothing in the contract says where a plugin sends to. One that sends by name has that name from its author or from its
/// `config`, and a text there that is exactly a target's name is hardly anything else. A broker that its routes take from
/// is not looked at: a plugin is told its source by name.
fn ungranted(
    config: &config::Config,
    places: &Places,
    name: &str,
    plugin: &config::Plugin,
    sources: Option<&BTreeSet<&str>>,
) -> Vec<Problem> {
    let mut texts = Vec::new();
    gather("config".to_owned(), &plugin.config, &mut texts);
    let is_target = |text: &str| config.brokers.contains_key(text) || config.targets.contains_key(text);
    let is_granted = |text: &str| plugin.grants.targets.iter().any(|target| target == text);
    let is_source = |text: &str| sources.is_some_and(|sources| sources.contains(text));
    let missing = texts.into_iter().filter(|(_, text)| is_target(text) && !is_granted(text) && !is_source(text));
    let problem = |(key, text): (String, &str)| {
        let words = format!(
            "its `config` names the target `{text}`, which it is not granted, so what it sends there would fail; add \
             \"{text}\" to the `targets` of its `grants`"
        );
        places.plugin_problem(Severity::Warning, name, &key, &words)
    };
    missing.map(problem).collect()
}

/// All texts in a value, with their keys.
fn gather<'v>(key: String, value: &'v serde_json::Value, texts: &mut Vec<(String, &'v str)>) {
    match value {
        serde_json::Value::String(text) => texts.push((key, text)),
        serde_json::Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| gather(format!("{key}[{at}]"), value, texts));
        }
        serde_json::Value::Object(table) => {
            table.iter().for_each(|(name, value)| gather(format!("{key}.{name}"), value, texts));
        }
        _ => {}
    }
}

/// Plugins that act on time where nobody calls them, and ticks that call nobody. `plugins` are those that could be built,
/// and whether they act on time.
fn timed(config: &config::Config, places: &Places, plugins: &BTreeMap<&str, bool>) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut mute = BTreeSet::new();
    for route in &config.routes {
        let timed: Vec<&str> =
            route.plugins.iter().map(String::as_str).filter(|name| plugins.get(name) == Some(&true)).collect();
        if route.tick.is_none() {
            found.extend(timed.iter().map(|name| {
                let words = format!(
                    "plugin `{name}` acts on time and is never called on time, so what it holds back never goes out; \
                     add `tick = \"1s\"` to the route, which does no harm if it holds nothing back"
                );
                places.route_problem(Severity::Warning, &route.name, name, &words)
            }));
            continue;
        }
        let is_known = |name: &String| plugins.contains_key(name.as_str());
        if let (Some(first), true, true) = (route.plugins.first(), timed.is_empty(), route.plugins.iter().all(is_known))
        {
            let words = "`tick` calls plugins that act on time, and none of these does; leave it out";
            found.push(places.route_problem(Severity::Warning, &route.name, first, words));
        }
        mute.extend(timed.into_iter().filter(|name| config.plugins[*name].grants.topics.is_empty()));
    }
    found.extend(mute.into_iter().map(|name| {
        let words = "what it sends at a `tick` needs a topic that it is granted, and it is granted none, so all of that is \
                     dropped; add `topics = [\"...\"]` to its `grants`";
        places.plugin_problem(Severity::Warning, name, "grants", words)
    }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A home, an office that is granted to nobody, and the shipped plugins.
    const HEAD: &str = "[gateway]\nname = \"g\"\ndata_dir = \"data\"\n[brokers.home]\nurl = \"mqtt://h\"\n\
                        [brokers.office]\nurl = \"mqtt://o\"\n";

    fn shipped(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist").join(name)
    }

    /// What is found of plugins and routes below [`HEAD`], without the directory.
    fn found(rest: &str) -> Vec<String> {
        let place = tempfile::tempdir().unwrap();
        for name in ["throttle.wasm", "convert.wasm", "route-by-field.wasm"] {
            std::fs::copy(shipped(name), place.path().join(name)).unwrap();
        }
        std::fs::write(place.path().join("text.wasm"), "no component").unwrap();
        let file = place.path().join("gw.toml");
        std::fs::write(&file, format!("{HEAD}{rest}")).unwrap();
        let loaded = tidegate_config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
        // Compiled once for all tests.
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/compiled");
        let found = check_plugins(&loaded, Some(&cache)).unwrap();
        assert!(!place.path().join("data").exists(), "the data directory is the gateway's");
        let directory = format!("{}/", place.path().display());
        found.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
    }

    fn route(plugin: &str, more: &str) -> String {
        format!(
            "[[routes]]\nname = \"r\"\nfrom = {{ broker = \"home\", topics = [\"dev/#\"] }}\nplugins = [\"{plugin}\"]\n\
             to = [\"office\"]\n{more}\n"
        )
    }

    #[track_caller]
    fn assert_one(found: &[String], start: &str, parts: &[&str]) {
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(start) && found[0].contains("; "), "{} has not {start}", found[0]);
        for part in parts {
            assert!(found[0].contains(part), "{} has not {part}", found[0]);
        }
    }

    #[test]
    fn what_a_plugin_refuses_is_told_at_the_key_that_it_names() {
        let with = |config: &str| found(&format!("[plugins.c]\npath = \"convert.wasm\"\n{config}\n{}", route("c", "")));
        let good = "config = { field = \"temp\", from = \"fahrenheit\", to = \"celsius\" }";
        assert_eq!(with(good), [""; 0]);
        assert_one(&with(&good.replace("from =", "unit_from =")), "gw.toml:10:28: plugin `c`", &["unit_from"]);
        let table = "[plugins.c.config]\nfield = \"temp\"\nfrom = \"fahrenheit\"\nto = \"celsius\"\nround = \"one\"";
        assert_one(&with(table), "gw.toml:14:1: plugin `c`", &["it refuses its configuration", "round"]);
        assert_one(&with(""), "gw.toml:8:10: plugin `c`", &["it refuses its configuration"]);
    }

    #[test]
    fn a_candidate_is_checked_as_a_plugin_is_and_must_be_another_one() {
        let good = "config = { field = \"temp\", from = \"fahrenheit\", to = \"celsius\" }";
        let with = |candidate: &str| {
            let plugin = format!("[plugins.c]\npath = \"convert.wasm\"\n{good}\n[plugins.c.candidate]\n{candidate}\n");
            found(&format!("{plugin}{}", route("c", "")))
        };
        assert_eq!(
            with("path = \"convert.wasm\"\nconfig = { field = \"t\", from = \"celsius\", to = \"kelvin\" }"),
            [""; 0]
        );
        assert_one(&with("path = \"convert.wasm\""), "gw.toml:12:8: warning: plugin `c`", &["nothing is tried"]);
        let wrong = with("path = \"convert.wasm\"\nconfig = { field = \"t\", to = \"kelvin\" }");
        assert_one(&wrong, "gw.toml:13:10: plugin `c`", &["it refuses its configuration"]);
        assert_one(&with("path = \"text.wasm\""), "gw.toml:12:8: plugin `c`: `text.wasm`: not a component", &[]);
    }

    #[test]
    fn what_was_compiled_beforehand_is_found_by_the_next_start() {
        let place = tempfile::tempdir().unwrap();
        std::fs::copy(shipped("throttle.wasm"), place.path().join("throttle.wasm")).unwrap();
        std::fs::write(place.path().join("text.wasm"), "no component").unwrap();
        let file = place.path().join("gw.toml");
        let text =
            "[plugins.t]\npath = \"throttle.wasm\"\nconfig = { every = \"5s\" }\n[plugins.c]\npath = \"text.wasm\"\n";
        std::fs::write(&file, format!("{HEAD}{text}{}{}", route("t", ""), route("c", "").replace("\"r\"", "\"s\"")))
            .unwrap();
        let config = tidegate_config::load(&file).unwrap_or_else(|problems| panic!("{problems}")).config;
        let (compiled, wrong) = compile_plugins(&config).unwrap();
        assert_eq!((compiled, wrong.len()), (1, 1), "{wrong:?}");
        assert!(wrong[0].contains("text.wasm: not a component"), "{wrong:?}");
        let host = Host::new(&HostConfig { cache_dir: Some(place.path().join("data/cache")), ..HostConfig::default() })
            .unwrap();
        host.compile(&std::fs::read(shipped("throttle.wasm")).unwrap()).unwrap();
        assert_eq!(host.cache_hits_and_misses(), (1, 0));
    }

    #[test]
    fn what_is_no_plugin_is_told_at_its_path() {
        let text = found(&format!("[plugins.c]\npath = \"text.wasm\"\n{}", route("c", "")));
        assert_one(&text, "gw.toml:9:8: plugin `c`: `text.wasm`: not a component", &["wasm32-wasip2"]);
    }

    #[test]
    fn targets_in_a_config_that_are_not_granted_are_worth_a_look() {
        let with = |grants: &str| {
            let by =
                "config = { by = { field = \"kind\" }, table = { alarm = [\"office\", \"onward\"], own = \"home\" } }";
            let found =
                found(&format!("[plugins.k]\npath = \"route-by-field.wasm\"\n{by}\n{grants}\n{}", route("k", "")));
            found.into_iter().filter(|line| line.contains("grant")).collect::<Vec<_>>()
        };
        assert_one(&with(""), "gw.toml:10:56: warning: plugin `k`", &["names the target `office`"]);
        assert_eq!(with("grants = { targets = [\"office\"] }"), [""; 0]);
    }

    #[test]
    fn a_plugin_that_acts_on_time_wants_a_tick_and_a_topic() {
        let calm = |grants: &str, more: &str| {
            let config = "config = { every = \"5s\" }";
            found(&format!("[plugins.t]\npath = \"throttle.wasm\"\n{config}\n{grants}\n{}", route("t", more)))
        };
        let topics = "grants = { topics = [\"dev/#\"] }";
        assert_eq!(calm(topics, "tick = \"1s\""), [""; 0]);
        assert_one(&calm(topics, ""), "gw.toml:15:12: warning: route `r`: plugin `t` acts on time", &["tick = \"1s\""]);
        assert_one(&calm("", "tick = \"1s\""), "gw.toml:8:10: warning: plugin `t`", &["topics = "]);
        let convert = "[plugins.c]\npath = \"convert.wasm\"\nconfig = { field = \"temp\", from = \"fahrenheit\", to = \"celsius\" }\n";
        let useless = found(&format!("{convert}{}", route("c", "tick = \"1s\"")));
        assert_one(&useless, "gw.toml:14:12: warning: route `r`: `tick` calls", &["leave it out"]);
    }
}
