//! Two components on the same messages: whether they decide alike, and on what kinds of messages they do not.

use crate::generate::Generator;
use crate::samples::Samples;
use crate::trial::{RECEIVED_MS, messages, started, told};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use tidegate_message::Message;
use tidegate_plugin::{Component, Host, Input, Instance, Outcome, run_here};

/// From here on an f64 has whole numbers only, and not all of them: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What two components made of the same messages.
#[derive(Debug)]
pub struct Compared {
    /// So many messages were decided.
    pub messages: usize,
    /// By what the message was made by: how many differ, of how many.
    pub differ: BTreeMap<&'static str, (usize, usize)>,
    /// The first difference of each kind, in words.
    pub firsts: Vec<String>,
}

/// Lets two components decide the messages of a file of samples, and so many that are generated from them.
///
/// # Errors
/// The file is no file of samples, or one of the two does not start, in words.
pub fn compare(
    host: &Host,
    components: [&Component; 2],
    path: &Path,
    generated: usize,
    seed: u64,
) -> Result<Compared, String> {
    let samples = Samples::load(path)?;
    let here = |words: String| format!("{}: {words}", path.display());
    let start = |component: &Component| started(host, component, &samples).map_err(here);
    let mut instances = [start(components[0])?, start(components[1])?];
    let came = messages(&samples).map_err(here)?;
    let plain = came.iter().map(|message| ("as it is", message.clone()));
    let mut compared = Compared { messages: 0, differ: BTreeMap::new(), firsts: Vec::new() };
    for (kind, message) in plain.chain(Generator::new(&came, seed).take(generated)) {
        let [one, other] =
            instances.each_mut().map(|instance| decided(instance, &samples.source, &message, compared.messages));
        compared.messages += 1;
        let counts = compared.differ.entry(kind).or_default();
        counts.1 += 1;
        if one != other {
            counts.0 += 1;
            if counts.0 == 1 {
                compared.firsts.push(first(kind, &message, &one, &other));
            }
        }
    }
    compared.differ.retain(|_, (differ, _)| *differ > 0);
    Ok(compared)
}

fn decided(instance: &mut Instance, source: &str, message: &Message, id: usize) -> Vec<String> {
    let input = Input { id: id as u64, message, received_ms: RECEIVED_MS + id as u64, redelivered: false };
    let mut outcomes = Vec::with_capacity(1);
    run_here(instance.handle(source, &[input], &mut outcomes));
    instance.plugin().take_lines();
    let targets = instance.plugin().spec().grants.targets.clone();
    match outcomes.pop() {
        // The words of a failure are each language's own.
        Some(Outcome::Fault(_)) | None => vec!["fails".to_owned()],
        Some(Outcome::Reject(_)) => vec!["reject".to_owned()],
        Some(outcome) => {
            told(outcome, message, &targets, |_| true).1.into_iter().map(|line| as_floats(&line)).collect()
        }
    }
}

/// Numbers that are more than an f64 holds are told by their f64: 17804894060712077000 is 1.7804894060712077e19.
fn as_floats(line: &str) -> String {
    let is_of_number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    let mut told = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit() || c == '-') {
        let number = &rest[start..];
        let len = number.find(|c| !is_of_number(c)).unwrap_or(number.len());
        told.push_str(&rest[..start]);
        match number[..len].parse::<f64>() {
            Ok(float) if float.abs() >= EXACT => told.push_str(&format!("{float:e}")),
            _ => told.push_str(&number[..len]),
        }
        rest = &number[len..];
    }
    told + rest
}

fn first(kind: &str, message: &Message, one: &[String], other: &[String]) -> String {
    const SHOWN: usize = 200;
    let payload = String::from_utf8_lossy(&message.payload).escape_debug().to_string();
    let shown: String = payload.chars().take(SHOWN).collect();
    let rest = if payload.len() > shown.len() { "..." } else { "" };
    let mut words = format!("{kind}: {shown}{rest}");
    for (sign, lines) in [("one", one), ("other", other)] {
        let lines: Vec<String> = lines.iter().map(|line| line.chars().take(SHOWN).collect()).collect();
        let _ = write!(words, "\n  {sign:<5} {}", lines.join("\n        "));
    }
    words
}
