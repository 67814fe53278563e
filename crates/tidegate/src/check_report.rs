//! What `tidegate check` answers, for people and for programs.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use tidegate_config::{Ack, Change, ChangeKind, Config, Note, Problem, Route};
use tidegate_gateway::Comparison;

/// How the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A line for each problem, as `file:line:column: what is wrong; what to do`.
    Text,
    /// One JSON object.
    Json,
}

/// What was found of one configuration.
#[derive(Debug)]
pub(crate) struct Report {
    /// As messages call it.
    pub(crate) file: PathBuf,
    /// In the order of the file.
    pub(crate) problems: Vec<Problem>,
    /// What was asked for beside that.
    pub(crate) notes: Vec<Note>,
    /// What it says, if it can be used.
    pub(crate) config: Option<Config>,
    /// The plugins were left out on demand.
    pub(crate) no_plugins: bool,
    /// What it would change of what runs, if that was asked.
    pub(crate) running: Option<Comparison>,
}

impl Report {
    /// Whether the check succeeds; `strict` takes no warnings either.
    pub(crate) fn is_good(&self, strict: bool) -> bool {
        self.config.is_some() && !self.problems.iter().any(|problem| strict || problem.is_error())
    }

    /// The whole answer, with its last line ended.
    pub(crate) fn text(&self, format: Format, strict: bool) -> String {
        match format {
            Format::Json => format!("{}\n", self.json(strict)),
            Format::Text => self.lines(strict),
        }
    }

    fn lines(&self, strict: bool) -> String {
        let mut lines = String::new();
        let file = self.file.display();
        // Writing to a string cannot fail.
        for problem in &self.problems {
            let _ = writeln!(lines, "{problem}");
        }
        for note in &self.notes {
            let _ = writeln!(lines, "{note}");
        }
        let has_plugins = self.config.as_ref().is_none_or(|config| !config.plugins.is_empty());
        if self.no_plugins && has_plugins {
            let _ = writeln!(
                lines,
                "{file}: the plugins were left out: what is in their files and in their `config` is not checked"
            );
        }
        match &self.config {
            Some(config) if self.is_good(strict) => {
                let Config { brokers, routes, plugins, .. } = config;
                let counts = [(brokers.len(), "broker"), (routes.len(), "route"), (plugins.len(), "plugin")];
                let words = counts.map(|(count, what)| counted(count, what)).join(", ");
                let _ = writeln!(lines, "{file}: good, {words}{}", in_memory_only(routes));
            }
            Some(_) if !self.problems.iter().any(Problem::is_error) => {
                let words = counted(self.problems.len(), "warning");
                let _ = writeln!(lines, "{file}: {words}, and `--strict` takes none");
            }
            _ => {}
        }
        if let Some(compared) = &self.running {
            self.compared(compared, &mut lines);
        }
        lines
    }

    fn compared(&self, compared: &Comparison, lines: &mut String) {
        let Comparison { gateway, changes, next_start, touched, not_compared } = compared;
        let file = self.file.display();
        let mut say = |words: String| {
            let _ = writeln!(lines, "{file}: {words}");
        };
        changes.iter().for_each(|change| say(format!("would change now: {change}")));
        next_start.iter().for_each(|change| say(format!("would change at the next start: {change}")));
        touched.iter().for_each(|touched| say(touched.to_string()));
        if *not_compared > 0 {
            let values = counted(*not_compared, "value");
            say(format!("not compared, since they may be secrets and `data_dir` cannot be read: {values}"));
        }
        let count = counted(changes.len() + next_start.len(), "change");
        let messages = touched.iter().map(|touched| touched.messages).sum::<u64>() as usize;
        say(match (changes.len() + next_start.len(), messages) {
            (0, _) => format!("the running gateway `{gateway}` has it already: nothing would change"),
            (_, 0) => format!("{count} to the running gateway `{gateway}`, which no waiting message is touched by"),
            (_, many) => {
                format!("{count} to the running gateway `{gateway}`, touching {}", counted(many, "waiting message"))
            }
        });
    }

    /// `file`, `ok`, whether the plugins were looked at, and each problem with its place: `null` where it is the file's as
    /// a whole.
    fn json(&self, strict: bool) -> Value {
        let place = |at: usize| (at > 0).then_some(at);
        let problem = |problem: &Problem| {
            let severity = if problem.is_error() { "error" } else { "warning" };
            let Problem { line, column, what, hint, .. } = problem;
            json!({
                "severity": severity, "line": place(*line), "column": place(*column), "message": what, "hint": hint,
            })
        };
        let mut answer = json!({
            "file": self.file.display().to_string(),
            "ok": self.is_good(strict),
            // What cannot be read has no plugins.
            "plugins_checked": self.config.is_some() && !self.no_plugins,
            "problems": self.problems.iter().map(problem).collect::<Vec<_>>(),
        });
        if let (false, Some(object)) = (self.notes.is_empty(), answer.as_object_mut()) {
            let note = |note: &Note| json!({"line": note.line, "column": note.column, "message": note.what});
            object.insert("notes".to_owned(), self.notes.iter().map(note).collect());
        }
        if let (Some(compared), Some(object)) = (&self.running, answer.as_object_mut()) {
            object.insert("running".to_owned(), running_json(compared));
        }
        answer
    }
}

/// What would change, by key, and what that means to messages that wait.
fn running_json(compared: &Comparison) -> Value {
    let Comparison { gateway, changes, next_start, touched, not_compared } = compared;
    let change = |change: &Change| {
        let (what, values) = match &change.kind {
            ChangeKind::Added => ("added", None),
            ChangeKind::Removed => ("removed", None),
            ChangeKind::Reordered => ("reordered", None),
            ChangeKind::Changed { values } => ("changed", values.as_ref()),
        };
        json!({
            "key": change.key, "what": what,
            "from": values.map(|(from, _)| from), "to": values.map(|(_, to)| to),
        })
    };
    json!({
        "gateway": gateway,
        "changes": changes.iter().map(change).collect::<Vec<_>>(),
        "next_start": next_start.iter().map(change).collect::<Vec<_>>(),
        "waiting": touched.iter().map(tidegate_gateway::touched_json).collect::<Vec<_>>(),
        "not_compared": not_compared,
    })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What a spool does not keep unless told to, which is easily thought otherwise.
fn in_memory_only(routes: &[Route]) -> String {
    let keeps = |route: &&Route| route.ack == Ack::Spooled;
    let mut not_all = routes.iter().filter(|route| keeps(route) && !route.persist_qos0).map(|route| &route.name);
    let Some(first) = not_all.next() else { return String::new() };
    let more = match not_all.count() {
        0 => String::new(),
        1 => " and one more".to_owned(),
        count => format!(" and {count} more"),
    };
    format!(
        "; what is published with QoS 0 is kept in memory only, and lost in a power cut or a long outage: set `persist_qos0 \
         = true` in route `{first}`{more} if it matters"
    )
}
