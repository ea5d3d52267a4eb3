//! What was tested and how it ended: a table for people, a document for machines, JUnit XML for build servers.

use std::{fmt::Write as _, io::Write as _, path::Path};

use manifest_schema::Manifest;
use serde_json::{Value, json};

use crate::{
    clean,
    commands::packages,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Output, Tone},
};

/// What kind of test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An example of the manifest.
    Example,
    /// A test of the plugin's own.
    Code,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Example => "example",
            Self::Code => "code",
        }
    }
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed,
    /// It could not be run to its end.
    Error,
    /// A key is missing.
    Denied,
    /// It was not run.
    Skipped,
}

impl Verdict {
    const fn word(self) -> (&'static str, Tone) {
        match self {
            Self::Passed => ("passed", Tone::Good),
            Self::Failed => ("failed", Tone::Bad),
            Self::Error => ("error", Tone::Bad),
            Self::Denied => ("denied", Tone::Care),
            Self::Skipped => ("skipped", Tone::Dim),
        }
    }

    const ALL: [Self; 5] = [Self::Passed, Self::Failed, Self::Error, Self::Denied, Self::Skipped];
}

/// One test.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) verdict: Verdict,
    pub(super) seconds: f64,
    pub(super) message: Option<String>,
    pub(super) detail: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Report {
    plugin: String,
    version: String,
    cases: Vec<Case>,
    notes: Vec<&'static str>,
}

impl Report {
    pub(super) fn new(manifest: &Manifest) -> Self {
        Self { plugin: manifest.name.to_string(), version: manifest.version.to_string(), cases: Vec::new(), notes: Vec::new() }
    }

    pub(super) fn add(&mut self, case: Case) {
        self.cases.push(case);
    }

    pub(super) fn note(&mut self, note: &'static str) {
        self.notes.push(note);
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        self.cases.iter().filter(|case| case.kind == kind).count()
    }

    fn of(&self, verdict: Verdict) -> usize {
        self.cases.iter().filter(|case| case.verdict == verdict).count()
    }

    /// Shows it and ends as the tests did.
    pub(super) fn end(&self, output: &Output) -> Outcome {
        let document = self.document();
        let Some(failure) = self.failure() else { return output.show(&document, |output| self.text(output)) };
        if !output.json {
            output.text(&self.text(output))?;
        }
        Err(failure.document(document))
    }

    fn failure(&self) -> Option<Failure> {
        let (wrong, denied) = (self.of(Verdict::Failed) + self.of(Verdict::Error), self.of(Verdict::Denied));
        let run = wrong + denied + self.of(Verdict::Passed);
        if wrong > 0 {
            return Some(Failure::new(Exit::ToolFailed, "test.failed", format!("{} of {run} failed", wrong + denied)));
        }
        if denied > 0 {
            let message = format!("{denied} of {run} were denied: the plugin asks for more than it was granted");
            return Some(Failure::new(Exit::Denied, "test.denied", message));
        }
        let hint = "give a tool of plugin.yaml `examples` with `args` and `result`, or write tests/test_main.py";
        (run == 0).then(|| Failure::not_found("test.nothing", "there is nothing to test").hint(hint))
    }

    fn summary(&self) -> String {
        let counted = Verdict::ALL.into_iter().filter(|verdict| self.of(*verdict) > 0);
        let words: Vec<String> = counted.map(|verdict| format!("{} {}", self.of(verdict), verdict.word().0)).collect();
        words.join(", ")
    }

    fn document(&self) -> Value {
        let cases: Vec<Value> = self
            .cases
            .iter()
            .map(|case| {
                json!({
                    "kind": case.kind.as_str(), "name": case.name, "outcome": case.verdict.word().0,
                    "elapsed_ms": (case.seconds * 100_000.0).round() / 100.0, "message": case.message, "detail": case.detail,
                })
            })
            .collect();
        let counts = Verdict::ALL.into_iter().map(|verdict| (verdict.word().0.to_owned(), json!(self.of(verdict))));
        json!({
            "plugin": self.plugin, "version": self.version, "counts": counts.collect::<serde_json::Map<_, _>>(), "tests": cases, "notes": self.notes,
        })
    }

    fn text(&self, output: &Output) -> String {
        let rows = self.cases.iter().map(|case| {
            let (word, tone) = case.verdict.word();
            let message = case.message.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
            let millis = format!("{:.1} ms", case.seconds * 1000.0);
            vec![Cell::toned(tone, word), case.kind.as_str().into(), case.name.as_str().into(), millis.into(), message.into()]
        });
        let mut text = String::new();
        if !self.cases.is_empty() {
            text.push_str(&output.table(&["outcome", "kind", "test", "took", ""], rows.collect()));
        }
        for case in self.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Passed | Verdict::Skipped)) {
            let Some(detail) = &case.detail else { continue };
            let _ =
                write!(text, "\n{}\n{}\n", output.paint(Tone::Strong, &clean::line(&case.name)), clean::block(detail.trim_end()));
        }
        text.extend(self.notes.iter().map(|note| format!("note: {note}\n")));
        if !self.cases.is_empty() {
            let tone = if self.failure().is_none() { Tone::Good } else { Tone::Bad };
            let _ = writeln!(text, "{}", output.paint(tone, &self.summary()));
        }
        text
    }

    /// Writes it as JUnit XML, whole or not at all.
    pub(super) fn write_junit(&self, path: &Path) -> Outcome {
        let mut file = packages::beside(path)?;
        file.write_all(self.junit().as_bytes()).map_err(|error| Failure::file("write", path, &error))?;
        packages::persist(file, path)
    }

    fn junit(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        for kind in [Kind::Example, Kind::Code] {
            let cases: Vec<&Case> = self.cases.iter().filter(|case| case.kind == kind).collect();
            if cases.is_empty() {
                continue;
            }
            let count = |verdicts: &[Verdict]| cases.iter().filter(|case| verdicts.contains(&case.verdict)).count();
            let _ = writeln!(
                xml,
                "  <testsuite name=\"{}.{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.6}\">",
                escaped(&self.plugin),
                kind.as_str(),
                cases.len(),
                count(&[Verdict::Failed]),
                count(&[Verdict::Error, Verdict::Denied]),
                count(&[Verdict::Skipped]),
                cases.iter().map(|case| case.seconds).sum::<f64>(),
            );
            xml.extend(cases.into_iter().map(|case| self.junit_case(case)));
            xml.push_str("  </testsuite>\n");
        }
        xml.push_str("</testsuites>\n");
        xml
    }

    fn junit_case(&self, case: &Case) -> String {
        let head = format!(
            "    <testcase classname=\"{}.{}\" name=\"{}\" time=\"{:.6}\"",
            escaped(&self.plugin),
            case.kind.as_str(),
            escaped(&case.name),
            case.seconds
        );
        let element = match case.verdict {
            Verdict::Passed => return format!("{head}/>\n"),
            Verdict::Failed => "failure",
            Verdict::Error | Verdict::Denied => "error",
            Verdict::Skipped => "skipped",
        };
        let message = escaped(case.message.as_deref().unwrap_or_default());
        let detail = escaped(case.detail.as_deref().unwrap_or_default());
        format!("{head}>\n      <{element} message=\"{message}\">{detail}</{element}>\n    </testcase>\n")
    }
}

/// Text that XML 1.0 can hold: what it can't is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junit_holds_whatever_a_test_says() {
        let case = |verdict, message: Option<&str>| Case {
            kind: Kind::Code,
            name: "a < b & \"c\"\u{1b}[2J".to_owned(),
            verdict,
            seconds: 0.25,
            message: message.map(str::to_owned),
            detail: Some("line\nline".to_owned()),
        };
        let mut report = Report { plugin: "plain".to_owned(), version: "1.0.0".to_owned(), cases: Vec::new(), notes: Vec::new() };
        report.add(case(Verdict::Passed, None));
        report.add(case(Verdict::Failed, Some("x <> y")));
        report.add(case(Verdict::Skipped, Some("later")));
        let xml = report.junit();
        assert!(xml.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"0.750000\""), "{xml}");
        assert!(xml.contains("name=\"a &lt; b &amp; &quot;c&quot;\u{fffd}[2J\""), "{xml}");
        assert!(xml.contains("<failure message=\"x &lt;&gt; y\">line&#10;line</failure>"), "{xml}");
        assert_eq!(xml.matches("</testcase>").count(), 2, "{xml}");
    }
}
