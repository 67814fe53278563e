//! What follows from a configuration without being written there: what a preset sets, and the way back of a route.

use crate::problem::Span;
use crate::sections::Draft;
use crate::tree::Context;
use crate::values::shown;
use std::fmt;
use std::path::PathBuf;

/// Something worth knowing about a configuration, printed as `file:line:column: note: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file as it was named.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: note: {}", self.file.display(), self.line, self.column, self.what)
    }
}

/// Takes down what there is to say.
pub(crate) fn take(context: &Context<'_>, draft: &Draft) {
    for (name, filled) in &draft.written.presets {
        let keys = match filled.keys.join(", ") {
            keys if keys.is_empty() => "nothing".to_owned(),
            keys => keys,
        };
        let what = format!("preset `{}` of broker {} sets {keys}", filled.preset.name, shown(name));
        context.note(&filled.at, what);
    }
    let mut routes = draft.routes().peekable();
    while let Some((route, written)) = routes.next() {
        let Some(both) = &written.both else { continue };
        // The way back stands behind its route, where there is one.
        let Some((back, _)) = routes.peek().filter(|(back, _)| back.to == [route.from.name()]) else {
            continue;
        };
        let topics = back.from.topics.iter().map(|filter| filter.as_str()).collect::<Vec<_>>().join(", ");
        let (source, target) = (shown(route.from.name()), shown(back.from.name()));
        let (route, back) = (shown(&route.name), shown(&back.name));
        let what =
            format!("two routes: {route} from {source} to {target}, {back} from {target} to {source}, of {topics}");
        context.note(both, what);
    }
}

/// All that was taken down, in the order of the file.
pub(crate) fn of(context: &Context<'_>) -> Vec<Note> {
    let mut notes = context.notes.borrow_mut();
    notes.sort_by_key(|(at, _)| at.start);
    let note = |(at, what): &(Span, String)| {
        let (file, line, column) = context.findings.position(at.start);
        Note { file, line, column, what: what.replace(char::is_control, "\u{fffd}") }
    };
    notes.iter().map(note).collect()
}
