//! `tidegate plugin versions` and `rollback`: what has run in a gateway, and has one of those run again.

use crate::differences::told_differences;
use crate::operate::post;
use crate::people::{ago, count, span};
use crate::table::{Column, Line, Tone, lines, print, width};
use crate::tap::coded;
use crate::{Failure, admin_client};
use tidegate_admin::model::{Candidate, PluginDetails, PluginVersion};
use tidegate_config::Config;

/// Lists them, the newest first.
pub(super) fn versions(config: &Config, name: &str, json: bool) -> Result<(), Failure> {
    known(config, name)?;
    let answer = admin_client::ask(config, "GET", &format!("/api/v1/plugins/{}", coded(name)))?;
    let found: PluginDetails = admin_client::read(&answer)?;
    if json {
        found.versions.iter().for_each(|version| println!("{}", serde_json::json!(version)));
        return Ok(());
    }
    let columns = [
        Column::Number("NUMBER"),
        Column::Text("VERSION"),
        Column::Text("CAME"),
        Column::Text("WITH"),
        Column::Text("RAN FOR"),
        Column::Number("MESSAGES"),
        Column::Number("FAILED"),
        Column::Number("µS EACH"),
        Column::Text("CONFIG"),
    ];
    let rows: Vec<_> = found.versions.iter().rev().map(row).collect();
    let mut all = lines(&columns, &rows, width());
    if found.rolled_back {
        let words = "rolled back: the configuration says otherwise, and is followed again once it, or the component, is another one";
        all.push(Line::new(Tone::Soft, words));
    }
    print(&all);
    Ok(())
}

fn row(version: &PluginVersion) -> (Tone, Vec<String>) {
    let ran = match version.until_ms {
        Some(until) => span(until.saturating_sub(version.since_ms) as f64 / 1000.0),
        None => "runs".to_owned(),
    };
    let came = match version.came.as_str() {
        "start" => "a start",
        "saved" => "a reload",
        "promoted" => "a trial",
        _ => "a rollback",
    };
    let mean = version.mean_us.map_or_else(String::new, |mean| format!("{mean:.1}"));
    let tone = if version.until_ms.is_none() { Tone::Good } else { Tone::Plain };
    let cells = [
        version.number.to_string(),
        version.version.clone(),
        ago(version.since_ms),
        came.to_owned(),
        ran,
        count(version.messages),
        count(version.failures),
        mean,
        version.config.to_string(),
    ];
    (tone, cells.into())
}

/// Has one run again.
pub(super) fn roll_back(config: &Config, name: &str, to: Option<&str>) -> Result<(), Failure> {
    known(config, name)?;
    let to = to.map(|to| format!("?to={}", coded(to))).unwrap_or_default();
    post(config, &format!("/api/v1/plugins/{}/rollback{to}", coded(name)))
}

/// How its candidate does.
pub(super) fn diff(config: &Config, name: &str, json: bool) -> Result<(), Failure> {
    known(config, name)?;
    let answer = admin_client::ask(config, "GET", &format!("/api/v1/plugins/{}", coded(name)))?;
    let found: PluginDetails = admin_client::read(&answer)?;
    let Some(candidate) = found.candidate else {
        let words =
            format!("no candidate is tried beside `{name}`: add `[plugins.{name}.candidate]`, or save another one");
        return Err(Failure::Unavailable(words));
    };
    if json {
        println!("{}", serde_json::json!(candidate));
    } else {
        print!("{}", told_differences(&candidate.differences, ["runs", "tried"]));
        println!("{}", summary(&candidate, found.versions.last()));
    }
    if candidate.differ == 0 { Ok(()) } else { Err(Failure::Found) }
}

fn summary(candidate: &Candidate, runs: Option<&PluginVersion>) -> String {
    let Candidate { version, mode, messages, failures, rejects, missed, differ, .. } = candidate;
    let mut words = format!("{mode} {version}, tried for {}: {messages} messages", lasts(candidate.since_ms));
    if mode == "shadow" {
        words += &format!(", {differ} decided otherwise");
    }
    words += &format!(", {failures} failed, {rejects} refused");
    if *missed > 0 {
        words += &format!(", {missed} not seen");
    }
    if let Some(mean) = candidate.mean_us {
        let before = runs.and_then(|runs| runs.mean_us).map_or_else(String::new, |mean| format!(" (runs: {mean:.1})"));
        words += &format!(", {mean:.1} µs each{before}");
    }
    words
}

/// How long ago it was, as a time.
fn lasts(since_ms: u64) -> String {
    let now_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
    span(now_ms.saturating_sub(since_ms) as f64 / 1000.0)
}

/// It takes the plugin's place, or is tried no more.
pub(super) fn end_trial(config: &Config, name: &str, what: &str) -> Result<(), Failure> {
    known(config, name)?;
    post(config, &format!("/api/v1/plugins/{}/{what}", coded(name)))
}

fn known(config: &Config, name: &str) -> Result<(), Failure> {
    if config.plugins.contains_key(name) {
        return Ok(());
    }
    let known: Vec<_> = config.plugins.keys().map(String::as_str).collect();
    Err(Failure::Usage(format!("no plugin `{name}` in the configuration; there are {}", known.join(", "))))
}
