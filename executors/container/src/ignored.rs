//! `.dockerignore`: what stays out of the build context, by the patterns that builders of images know.
//!
//! A pattern is anchored at the context's root; `*` and `?` stop at a slash, `**` as a whole part of a path does not; `!` takes back; the last
//! line that fits decides; what fits a folder fits all that is in it.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobMatcher};

/// Its name.
pub(crate) const FILE: &str = ".dockerignore";
/// Bytes of it, and patterns in it, at most.
const MOST_BYTES: usize = 64 << 10;
const MOST_PATTERNS: usize = 1000;

/// The patterns of one file.
#[derive(Debug, Default)]
pub(crate) struct Ignored {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    fits: GlobMatcher,
    takes_back: bool,
}

impl Ignored {
    /// Reads the patterns.
    ///
    /// # Errors
    /// Which line is none, or that there are too many.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("`{FILE}` has more than {MOST_BYTES} bytes"));
        }
        let mut rules = Vec::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let line = line.trim();
            let (takes_back, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim_start()));
            let pattern = clean(pattern);
            if pattern.is_empty() {
                continue;
            }
            let fits = glob(&pattern).map_err(|error| format!("`{FILE}`, line {}: {}", number + 1, error.kind()))?;
            rules.push(Rule { fits: fits.compile_matcher(), takes_back });
        }
        if rules.len() > MOST_PATTERNS {
            return Err(format!("`{FILE}` has more than {MOST_PATTERNS} patterns"));
        }
        Ok(Self { rules })
    }

    /// Whether a path, relative to the context, stays out.
    pub(crate) fn leaves_out(&self, path: &Path) -> bool {
        let fits =
            |rule: &&Rule| path.ancestors().filter(|part| !part.as_os_str().is_empty()).any(|part| rule.fits.is_match(part));
        self.rules.iter().rev().find(fits).is_some_and(|rule| !rule.takes_back)
    }

    /// Whether something inside a folder that stays out may have been taken back.
    pub(crate) fn takes_back(&self) -> bool {
        self.rules.iter().any(|rule| rule.takes_back)
    }
}

/// Without `/` at either end, `.`, and `..`, as paths are cleaned.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Braces mean themselves here, and alternatives to the matcher.
fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    let (mut text, mut escaped, mut class) = (String::with_capacity(pattern.len()), false, false);
    for character in pattern.chars() {
        if !escaped && !class && matches!(character, '{' | '}') {
            text.push('\\');
        }
        class = !escaped && ((class && character != ']') || character == '[');
        escaped = !escaped && character == '\\';
        text.push(character);
    }
    GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, out: &[&str], kept: &[&str]) {
        let ignored = Ignored::parse(text).unwrap();
        for path in out {
            assert!(ignored.leaves_out(Path::new(path)), "{text:?} keeps {path}");
        }
        for path in kept {
            assert!(!ignored.leaves_out(Path::new(path)), "{text:?} leaves out {path}");
        }
    }

    #[test]
    fn patterns_fit_as_builders_have_it() {
        check("", &[], &["a"]);
        check("# x\n\n a/b \n", &["a/b", "a/b/c"], &["a", "x", "b", "d/a/b"]);
        check("/secret\n./other/\n", &["secret", "secret/x", "other/y"], &["a/secret"]);
        check("*.md", &["a.md", "x.md/y"], &["d/a.md"]);
        check("*/*.md", &["d/a.md"], &["a.md", "d/e/a.md"]);
        check("**/*.md", &["a.md", "d/e/a.md"], &["a.mdx"]);
        check("a/**", &["a/b", "a/b/c"], &["b"]);
        check("?.t", &["a.t"], &["ab.t", "/.t"]);
        check("{a,b}", &["{a,b}"], &["a", "b"]);
        check("[ab].t", &["a.t"], &["c.t"]);
        check("*.md\n!README.md\n", &["a.md"], &["README.md"]);
        check("*\n!src\nsrc/x", &["a", "src/x", "src/x/y"], &["src", "src/y"]);
        check("a/../b", &["b"], &["a"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert!(Ignored::parse("ok\n[a").unwrap_err().contains("line 2"));
        assert!(Ignored::parse(&"a\n".repeat(2000)).unwrap_err().contains("patterns"));
        assert!(Ignored::parse(&"#".repeat(70_000)).unwrap_err().contains("bytes"));
    }
}
