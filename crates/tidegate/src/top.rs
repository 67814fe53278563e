//! `tidegate top`: how a running gateway does, live and sorted, until `q`.

mod views;

use crate::admin_client::read;
use crate::table::Tone;
use crate::{Failure, admin_client, check};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};
use ratatui::{DefaultTerminal, Frame};
use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;
use tidegate_admin::model::Status;
use views::{View, head};

/// Of `tidegate top`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
}

/// How often keys are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// What is written at the foot.
const KEYS: &str = " 1-4 tab: view   left/right: sort by   r: reverse   up/down: scroll   q: quit";

/// Shows it until somebody has seen enough.
pub(crate) fn top(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    if !std::io::stdout().is_terminal() {
        return Err(Failure::Usage("`top` is for a terminal; for programs there is `status --json`".to_owned()));
    }
    // Before the screen is taken: who does not answer is told as ever.
    let first: Status = read(&admin_client::ask(&config, "GET", "/api/v1/status")?)?;
    let (hears, told) = channel();
    std::thread::spawn(move || {
        let ended = admin_client::listen(&config, "/api/v1/stream", |name, data| {
            if name == "status" {
                return Ok(hears.send(Ok(read::<Status>(data)?)).is_ok());
            }
            Ok(true)
        });
        let _ = hears.send(Err(ended.err().unwrap_or(Failure::Unavailable("the gateway has ended".to_owned()))));
    });
    let mut terminal = ratatui::init();
    let outcome = Screen::new(first).show(&mut terminal, &told);
    ratatui::restore();
    outcome
}

/// What is shown, and how.
struct Screen {
    status: Status,
    view: usize,
    /// Of each view: by which column, and whether from the other end.
    sorts: [(usize, bool); View::COUNT],
    scroll: TableState,
}

impl Screen {
    fn new(status: Status) -> Self {
        Self { status, view: 0, sorts: [(0, false); View::COUNT], scroll: TableState::default().with_selected(0) }
    }

    fn show(mut self, terminal: &mut DefaultTerminal, told: &Receiver<Result<Status, Failure>>) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::Unavailable(format!("the terminal: {error}"));
        loop {
            loop {
                match told.try_recv() {
                    Ok(status) => self.status = status?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            terminal.draw(|frame| self.draw(frame)).map_err(failed)?;
            if event::poll(LOOK).map_err(failed)?
                && let Event::Key(key) = event::read().map_err(failed)?
                && key.kind == KeyEventKind::Press
            {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if control => return Ok(()),
                    code => self.press(code),
                }
            }
        }
    }

    fn press(&mut self, key: KeyCode) {
        let columns = View::of(&self.status, self.view).columns.len();
        let (by, reversed) = &mut self.sorts[self.view];
        match key {
            KeyCode::Tab => self.look_at((self.view + 1) % View::COUNT),
            KeyCode::BackTab => self.look_at((self.view + View::COUNT - 1) % View::COUNT),
            KeyCode::Char(c @ '1'..='4') => self.look_at(c as usize - '1' as usize),
            KeyCode::Right => (*by, *reversed) = ((*by + 1) % columns, false),
            KeyCode::Left => (*by, *reversed) = ((*by + columns - 1) % columns, false),
            KeyCode::Char('r') => *reversed = !*reversed,
            KeyCode::Down => self.scroll.select_next(),
            KeyCode::Up => self.scroll.select_previous(),
            KeyCode::PageDown => self.scroll.scroll_down_by(10),
            KeyCode::PageUp => self.scroll.scroll_up_by(10),
            _ => {}
        }
    }

    fn look_at(&mut self, view: usize) {
        self.view = view;
        self.scroll.select_first();
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let head: Vec<Line<'_>> =
            head(&self.status).into_iter().map(|(tone, text)| Line::styled(text, style(tone))).collect();
        let [top, names, table, foot] = Layout::vertical([
            Constraint::Length(head.len() as u16),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(head), top);
        let name = |(at, name): (usize, &&'static str)| {
            let style = if at == self.view { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
            Span::styled(format!(" {} {name} ", at + 1), style)
        };
        frame.render_widget(Line::from(View::NAMES.iter().enumerate().map(name).collect::<Vec<_>>()), names);
        let mut view = View::of(&self.status, self.view);
        let (by, reversed) = self.sorts[self.view];
        view.sort(by, reversed);
        let heads = view.columns.iter().enumerate().map(|(at, (name, _))| {
            let mark = if at != by {
                ""
            } else if reversed {
                "^"
            } else {
                "v"
            };
            Cell::new(format!("{name}{mark}"))
        });
        let widths = view.widths();
        let rows = view.rows.iter().map(|row| {
            let cells = row.cells.iter().enumerate().map(|(at, cell)| match view.columns[at].1 {
                true => format!("{cell:>width$}", width = usize::from(widths[at])),
                false => cell.clone(),
            });
            Row::new(cells).style(style(row.tone))
        });
        // The last column takes what is left.
        let constraints = widths.iter().enumerate().map(|(at, width)| match at + 1 == widths.len() {
            true => Constraint::Fill(1),
            false => Constraint::Length(*width),
        });
        let heads = Row::new(heads.collect::<Vec<_>>()).style(Style::new().add_modifier(Modifier::BOLD));
        let drawn = Table::new(rows.collect::<Vec<_>>(), constraints).header(heads).column_spacing(2);
        frame.render_stateful_widget(
            drawn.row_highlight_style(Style::new().add_modifier(Modifier::UNDERLINED)),
            table,
            &mut self.scroll,
        );
        frame.render_widget(Line::styled(KEYS, style(Tone::Soft)), foot);
    }
}

fn style(tone: Tone) -> Style {
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match tone {
        Tone::Good if colours => Style::new().fg(Color::Green),
        Tone::Bad if colours => Style::new().fg(Color::Red),
        Tone::Soft => Style::new().add_modifier(Modifier::DIM),
        _ => Style::new(),
    }
}
