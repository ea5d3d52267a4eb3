//! Where problems are gathered: places, paths, and the bounded list of diagnostics. What counts as a problem is decided elsewhere.

use std::fmt;

use granit_parser::Marker;

use crate::{Diagnostic, Diagnostics, MAX_DIAGNOSTICS, suggest::Misspelt};

/// A place in the text: one-based line, one-based column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    pub(crate) fn of(marker: Marker) -> Self {
        // A manifest has at most 64 KiB, so neither number saturates.
        Self {
            line: u32::try_from(marker.line()).unwrap_or(u32::MAX).max(1),
            column: u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1),
        }
    }
}

/// A path in the document, such as `mcps[0].name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    pub(crate) fn root() -> Self {
        Self(String::new())
    }

    /// The value of a key. A long key is cut, so that paths stay short however hostile the keys.
    pub(crate) fn key(&self, key: &str) -> Self {
        let plain = !key.is_empty()
            && key.len() <= 64
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$'));
        Self(match (plain, self.0.is_empty()) {
            (true, true) => key.to_owned(),
            (true, false) => format!("{}.{key}", self.0),
            (false, _) => {
                let cut: String = key.chars().take(64).flat_map(char::escape_debug).collect();
                let more = if key.chars().nth(64).is_some() { "…" } else { "" };
                format!("{}[\"{cut}{more}\"]", self.0)
            }
        })
    }

    /// An item of a list.
    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// More than this are counted, not kept: a hostile file costs bounded memory.
const KEPT: usize = 256;

/// The problems found so far.
pub(crate) struct Report {
    file: String,
    problems: Vec<Problem>,
    dropped: usize,
    scratch: Diagnostic,
}

/// A diagnostic, and what its hint is to be looked for: only those that are shown are worth the search.
struct Problem {
    diagnostic: Diagnostic,
    misspelt: Option<Misspelt>,
}

/// The diagnostic that was just added, to be completed.
pub(crate) struct Draft<'r>(&'r mut Diagnostic);

impl Draft<'_> {
    pub(crate) fn expected(self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    pub(crate) fn found(self, found: impl Into<String>) -> Self {
        self.0.found = Some(found.into());
        self
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
}

impl Report {
    pub(crate) fn new(file: &str) -> Self {
        let scratch = blank(file, "manifest.too_many_problems", Place::START);
        Self { file: file.to_owned(), problems: Vec::new(), dropped: 0, scratch }
    }

    pub(crate) fn add(&mut self, code: &'static str, place: Place, path: &Path, message: impl Into<String>) -> Draft<'_> {
        if self.is_full() {
            self.dropped += 1;
            return Draft(&mut self.scratch);
        }
        let mut diagnostic = blank(&self.file, code, place);
        diagnostic.path = path.to_string();
        diagnostic.message = message.into();
        Draft(&mut self.problems.push_mut(Problem { diagnostic, misspelt: None }).diagnostic)
    }

    /// Says that the diagnostic that was just added is about a misspelt word.
    pub(crate) fn misspelt(&mut self, misspelt: Misspelt) {
        if let Some(last) = self.problems.last_mut().filter(|_| self.dropped == 0) {
            last.misspelt = Some(misspelt);
        }
    }

    /// Counts problems that are of no interest any more.
    pub(crate) fn drop(&mut self, count: usize) {
        self.dropped += count;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// No further problem is kept: work that only makes a diagnostic better can be saved.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= KEPT
    }

    /// The problems in the order of the document, the first [`MAX_DIAGNOSTICS`] of them.
    pub(crate) fn finish(mut self) -> Diagnostics {
        self.problems.sort_by_key(|problem| (problem.diagnostic.line, problem.diagnostic.column));
        let total = self.problems.len() + self.dropped;
        if total > MAX_DIAGNOSTICS {
            self.problems.truncate(MAX_DIAGNOSTICS - 1);
        }
        let completed = |problem: Problem| {
            let mut diagnostic = problem.diagnostic;
            if let Some(misspelt) = problem.misspelt {
                diagnostic.hint = misspelt.hint();
            }
            diagnostic
        };
        let mut diagnostics: Vec<Diagnostic> = self.problems.into_iter().map(completed).collect();
        if total > MAX_DIAGNOSTICS {
            let place = diagnostics.last().map_or(Place::START, |last| Place { line: last.line, column: last.column });
            let mut rest = blank(&self.file, "manifest.too_many_problems", place);
            rest.message = format!("has {} more problems", total - diagnostics.len());
            diagnostics.push(rest);
        }
        Diagnostics(diagnostics)
    }
}

fn blank(file: &str, code: &'static str, place: Place) -> Diagnostic {
    Diagnostic {
        code,
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        path: String::new(),
        message: String::new(),
        expected: None,
        found: None,
        hint: None,
    }
}
