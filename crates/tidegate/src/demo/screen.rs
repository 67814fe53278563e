//! The terminal, drawn anew as a whole every time: whatever its size has become, nothing of an older picture stays.

use super::layout::{Line, Style};
use std::io::{self, IsTerminal, Write};

/// What a terminal has that does not say.
const COLUMNS: usize = 80;
const ROWS: usize = 24;

/// The other screen, no cursor, and no line that flows into the next; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A terminal on stdout, given back as it was when dropped.
#[derive(Debug)]
pub(crate) struct Screen {
    colors: bool,
}

impl Screen {
    /// None if stdout is no terminal that can be drawn on.
    pub(crate) fn enter() -> Option<Self> {
        let can_draw = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        // https://no-color.org
        let colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        (can_draw && write(ENTER).is_ok()).then(|| Self { colors })
    }

    /// Columns and rows, as they are now.
    pub(crate) fn size(&self) -> (usize, usize) {
        match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (COLUMNS, ROWS),
        }
    }

    /// Shows these lines and nothing else. An error is a terminal that is gone.
    pub(crate) fn draw(&self, lines: &[Line]) -> io::Result<()> {
        let (_, rows) = self.size();
        let mut out = String::from("\x1b[H");
        for (number, line) in lines.iter().take(rows).enumerate() {
            // Erased first: behind a full line the cursor stands on its last character.
            out += if number > 0 { "\r\n\x1b[2K" } else { "\x1b[2K" };
            let style = match line.style {
                Style::Plain => "",
                Style::Strong => "\x1b[1m",
                Style::Bad => "\x1b[31m",
                Style::Good => "\x1b[32m",
            };
            match self.colors && !style.is_empty() {
                true => out += &format!("{style}{}\x1b[0m", line.text),
                false => out += &line.text,
            }
        }
        if lines.len() < rows {
            out += "\r\n\x1b[J";
        }
        write(&out)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that is gone.
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
