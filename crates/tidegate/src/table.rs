//! Tables for people: columns that fit, no control characters, colour on a terminal only.

use std::io::{self, IsTerminal, Write};
use tidegate_gateway::harmless;

/// A row that stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Soft,
}

/// A line with a tone, for standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Line {
    pub(crate) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Text, from the left.
    Text(&'static str),
    /// A number, to the right.
    Number(&'static str),
}

impl Column {
    const fn head(self) -> &'static str {
        match self {
            Self::Text(head) | Self::Number(head) => head,
        }
    }
}

/// Whether a list is to be JSON, `json` and `table` being what was asked for: a table is for a terminal.
pub(crate) fn wants_json(json: bool, table: bool) -> bool {
    json || !table && !io::stdout().is_terminal()
}

/// A table as lines of at most so many columns of a terminal; the last cell of a row is cut to fit.
pub(crate) fn lines(columns: &[Column], rows: &[(Tone, Vec<String>)], width: usize) -> Vec<Line> {
    let rows: Vec<(Tone, Vec<String>)> =
        rows.iter().map(|(tone, cells)| (*tone, cells.iter().map(|cell| harmless(cell)).collect())).collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|(_, cells)| cells.get(at));
            cells.map(|cell| cell.chars().count()).chain([column.head().chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[&str]| {
        let mut text = String::new();
        for (at, (cell, column)) in cells.iter().zip(columns).enumerate() {
            let (is_last, pad) = (at + 1 == columns.len(), widths[at] - cell.chars().count());
            match column {
                Column::Number(_) => text += &" ".repeat(pad),
                Column::Text(_) => {}
            }
            text += cell;
            if !is_last {
                let behind = if matches!(column, Column::Text(_)) { pad } else { 0 };
                text += &" ".repeat(behind + 2);
            }
        }
        cut(text.trim_end(), width)
    };
    let heads: Vec<&str> = columns.iter().map(|column| column.head()).collect();
    let mut lines = vec![Line::new(Tone::Soft, line(&heads))];
    lines.extend(rows.iter().map(|(tone, cells)| {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        Line::new(*tone, line(&cells))
    }));
    lines
}

/// No longer than this, with a sign that it is.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// How wide standard output is; very wide where it is no terminal, so that nothing is cut for a program.
pub(crate) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(usize::MAX / 2)
}

/// Whether colours are welcome (no-color.org).
fn has_colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes lines to standard output. Whoever reads may have seen enough.
pub(crate) fn print(lines: &[Line]) {
    let (mut out, colours) = (io::BufWriter::new(io::stdout().lock()), has_colours());
    for Line { text, tone } in lines {
        let code = match tone {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Bad => Some("31"),
            Tone::Soft => Some("2"),
        };
        let written = match code.filter(|_| colours) {
            Some(code) => writeln!(out, "\x1b[{code}m{text}\x1b[0m"),
            None => writeln!(out, "{text}"),
        };
        if written.is_err() {
            return;
        }
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_the_last_is_cut() {
        let columns = [Column::Text("name"), Column::Number("count"), Column::Text("why")];
        let row = |cells: [&str; 3]| (Tone::Plain, cells.map(str::to_owned).to_vec());
        let rows = [row(["ö", "1", "short"]), row(["longer", "12,345", "a\rlong reason"])];
        let lines: Vec<String> = lines(&columns, &rows, 26).into_iter().map(|line| line.text).collect();
        assert_eq!(lines, ["name     count  why", "ö            1  short", "longer  12,345  a\\rlong r…"]);
    }
}
