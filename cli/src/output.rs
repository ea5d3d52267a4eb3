//! Everything the program shows: tables and colours for people, one JSON document for machines, errors for both.
//!
//! The only place that writes to stdout and stderr (logs apart). `serve` never writes to stdout: there it belongs to the protocol.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Color, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    clean,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// How output looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// One JSON document on stdout instead of text.
    pub(crate) json: bool,
    /// Errors as a document go to stderr, because stdout belongs to a protocol.
    pub(crate) stdout_taken: bool,
    /// Results go to stderr, too.
    aside: bool,
    colour_out: bool,
    colour_err: bool,
}

/// What a piece of text means; its colour follows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    /// Fine.
    Good,
    /// Needs the operator.
    Care,
    /// Wrong.
    Bad,
    /// Less important.
    Dim,
    /// A name, a heading.
    Strong,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Care => "33",
            Self::Bad => "31",
            Self::Dim => "2",
            Self::Strong => "1",
        }
    }
}

impl Output {
    /// Colours only on a terminal, and never against `NO_COLOR` or a dumb terminal.
    pub(crate) fn new(json: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let wanted = !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            json,
            stdout_taken: false,
            aside: false,
            colour_out: wanted && io::stdout().is_terminal(),
            colour_err: wanted && io::stderr().is_terminal(),
        }
    }

    /// The same without colours, for text that is cleaned as a whole before it is shown, such as what a question is about.
    pub(crate) const fn plain(self) -> Self {
        Self { colour_out: false, colour_err: false, ..self }
    }

    /// The same with stderr in the place of stdout, for a command whose stdout belongs to a protocol.
    pub(crate) const fn aside(self) -> Self {
        Self { aside: true, colour_out: self.colour_err, ..self }
    }

    /// Text for stdout in a tone; cleaned.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        coloured(self.colour_out, tone, text)
    }

    /// Prints the machine's document, or the people's text; exactly one of them.
    pub(crate) fn show(&self, document: &impl Serialize, text: impl FnOnce(&Self) -> String) -> Outcome {
        if self.json { self.document(document) } else { self.text(&text(self)) }
    }

    /// Prints one JSON document.
    pub(crate) fn document(&self, document: &impl Serialize) -> Outcome {
        let text =
            serde_json::to_string_pretty(document).map_err(|error| anyhow::anyhow!("could not encode the result: {error}"))?;
        self.text(&clean::json(&text))
    }

    /// Prints text as it is: what comes from others must be cleaned before.
    pub(crate) fn text(&self, text: &str) -> Outcome {
        let mut out: Box<dyn Write> = if self.aside { Box::new(io::stderr().lock()) } else { Box::new(io::stdout().lock()) };
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(newline.as_bytes())).and_then(|()| out.flush()).map_err(
            |error| {
                if error.kind() == io::ErrorKind::BrokenPipe {
                    Failure::closed_pipe()
                } else {
                    Failure::new(Exit::Internal, "file", format!("could not write to standard output: {error}"))
                }
            },
        )
    }

    /// A line beside the result, on stderr; silent with `--json`, where stderr is for errors and logs.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            eprint_line(&clean::block(text));
        }
    }

    /// A question's line on stderr, whatever the mode; without a line break when it does not end in one.
    pub(crate) fn ask(&self, text: &str) {
        let mut err = io::stderr().lock();
        // A terminal that went away can't be asked; reading the answer finds out.
        let _ = err.write_all(clean::block(text).as_bytes()).and_then(|()| err.flush());
    }

    /// Shows a failure and says how to end.
    pub(crate) fn failure(&self, failure: &Failure) -> Exit {
        if failure.silent {
            return failure.exit;
        }
        if self.json {
            let mut document = failure.document.as_deref().cloned().unwrap_or_else(|| json!({}));
            if let Value::Object(map) = &mut document {
                let mut error = json!({"code": failure.code, "message": failure.message});
                if let (Some(hint), Value::Object(error)) = (&failure.hint, &mut error) {
                    error.insert("hint".to_owned(), json!(hint));
                }
                map.insert("error".to_owned(), error);
            }
            if self.stdout_taken {
                eprint_line(&clean::json(&document.to_string()));
            } else if self.document(&document).is_err() {
                return Exit::Internal;
            }
        } else {
            eprint_line(&format!("{} {}", coloured(self.colour_err, Tone::Bad, "error:"), clean::block(&failure.message)));
            if let Some(hint) = &failure.hint {
                eprint_line(&format!("{} {}", coloured(self.colour_err, Tone::Care, "hint:"), clean::block(hint)));
            }
        }
        failure.exit
    }

    /// A table for people: as wide as the terminal; one row a line when piped, for grep.
    pub(crate) fn table(&self, header: &[&str], rows: Vec<Vec<Cell>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        // A terminal that does not know its width, or has hardly any, gets whole lines as a pipe does.
        if let Some(width) = table.width().filter(|width| *width >= 40 && io::stdout().is_terminal()) {
            table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        }
        if self.colour_out {
            table.enforce_styling().style_text_only();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.iter().map(|text| Cell::toned(Tone::Dim, text).styled()));
        for row in rows {
            table.add_row(row.into_iter().map(Cell::styled));
        }
        table.to_string().lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end())).collect()
    }
}

/// One cell of a table; its text is cleaned.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    tone: Option<Tone>,
    text: String,
}

impl Cell {
    /// A cell in a tone.
    pub(crate) fn toned(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { tone: Some(tone), text: clean::line(text.as_ref()) }
    }

    fn styled(self) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(self.text);
        match self.tone {
            None => cell,
            Some(Tone::Good) => cell.fg(Color::DarkGreen),
            Some(Tone::Care) => cell.fg(Color::DarkYellow),
            Some(Tone::Bad) => cell.fg(Color::DarkRed),
            Some(Tone::Dim) => cell.add_attribute(Attribute::Dim),
            Some(Tone::Strong) => cell.add_attribute(Attribute::Bold),
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { tone: None, text: clean::line(text.as_ref()) }
    }
}

fn coloured(colour: bool, tone: Tone, text: &str) -> String {
    let text = clean::block(text);
    if colour { format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()) } else { text.into_owned() }
}

fn eprint_line(text: &str) {
    // Nothing is left to tell when stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
