//! The paths of a package: one spelling that means the same file on every file system, or a refusal.
//!
//! Nothing here touches a file. What is refused is refused both when a package is made and when one is opened.

use std::{collections::HashMap, fmt};

use unicode_normalization_alignments::UnicodeNormalization;

use crate::limits::{MAX_PART_BYTES, MAX_PATH_BYTES, MAX_PATH_DEPTH};

/// A path inside a package: relative, `/` between its parts, in Unicode normal form C, with nothing that climbs, hides or collides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackagePath(String);

/// Why a path was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// No character at all.
    #[error("the path is empty")]
    Empty,
    /// Longer than every file system takes.
    #[error("the path has {found} bytes, at most {MAX_PATH_BYTES} are allowed")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// One part is longer than every file system takes.
    #[error("a part of the path has {found} bytes, at most {MAX_PART_BYTES} are allowed")]
    PartTooLong {
        /// Bytes found.
        found: usize,
    },
    /// More folders in folders than anyone needs.
    #[error("the path has {found} parts, at most {MAX_PATH_DEPTH} are allowed")]
    TooDeep {
        /// Parts found.
        found: usize,
    },
    /// Starts at the root of the file system.
    #[error("the path is absolute")]
    Absolute,
    /// Starts at a Windows drive.
    #[error("the path names a drive")]
    Drive,
    /// A separator elsewhere, a plain character here: two readers would disagree.
    #[error("the path has a backslash")]
    Backslash,
    /// Leaves its folder.
    #[error("the path climbs with `..`")]
    Climbs,
    /// Another spelling of the same path.
    #[error("the path has a part `.`")]
    Here,
    /// Another spelling of the same path.
    #[error("the path has an empty part")]
    EmptyPart,
    /// A folder: packages list files, folders follow from them.
    #[error("the path is a folder's: packages hold files only")]
    Folder,
    /// Ends the name early, or steers a terminal.
    #[error("the path has the control character U+{0:04X}")]
    Control(u32),
    /// Changes what is read without being seen.
    #[error("the path has the invisible character U+{0:04X}")]
    Invisible(u32),
    /// Means something to a shell or another file system.
    #[error("the path has `{0}`, which not every file system takes")]
    Forbidden(char),
    /// Silently dropped by another file system.
    #[error("a part of the path begins or ends with a space, or ends with a dot")]
    Edge,
    /// A device elsewhere.
    #[error("the path has the reserved word `{0}`")]
    Reserved(String),
    /// The same text can be written in other bytes.
    #[error("the path is not in Unicode normal form C")]
    NotNormal,
}

/// Two paths that can't both be in one package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// The same path twice: readers differ in which one counts.
    #[error("the path is there twice")]
    Twice,
    /// The same name on a file system that folds case or normal forms.
    #[error("the path is the same as `{0}` where case and normal forms do not count")]
    Folded(String),
    /// One path is a file, and a folder in another.
    #[error("`{0}` is a file and a folder at once")]
    FileAndFolder(String),
}

impl PackagePath {
    /// Takes a path, or says what is wrong with it.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(path: &str) -> Result<Self, PathProblem> {
        if path.is_empty() {
            return Err(PathProblem::Empty);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(PathProblem::TooLong { found: path.len() });
        }
        characters(path)?;
        if path.starts_with('/') {
            return Err(PathProblem::Absolute);
        }
        if path.ends_with('/') {
            return Err(PathProblem::Folder);
        }
        let depth = path.split('/').count();
        if depth > MAX_PATH_DEPTH {
            return Err(PathProblem::TooDeep { found: depth });
        }
        path.split('/').try_for_each(part)?;
        if path.nfc().map(|(character, _)| character).ne(path.chars()) {
            return Err(PathProblem::NotNormal);
        }
        Ok(Self(path.to_owned()))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its folders, outermost first, and its file name.
    pub(crate) fn split(&self) -> (Vec<&str>, &str) {
        let mut parts: Vec<&str> = self.0.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        (parts, name)
    }
}

impl fmt::Display for PackagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn characters(path: &str) -> Result<(), PathProblem> {
    let mut all = path.chars();
    if all.next().is_some_and(|first| first.is_ascii_alphabetic()) && all.next() == Some(':') {
        return Err(PathProblem::Drive);
    }
    for character in path.chars() {
        match character {
            '\\' => return Err(PathProblem::Backslash),
            '<' | '>' | ':' | '"' | '|' | '?' | '*' => return Err(PathProblem::Forbidden(character)),
            _ if character.is_control() => return Err(PathProblem::Control(character.into())),
            _ if invisible(character) => return Err(PathProblem::Invisible(character.into())),
            _ => {}
        }
    }
    Ok(())
}

/// Characters that are not seen, or reorder what is seen: soft hyphen, joiners, direction marks, variation selectors, tags, and odd blanks.
const fn invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn part(part: &str) -> Result<(), PathProblem> {
    match part {
        "" => return Err(PathProblem::EmptyPart),
        "." => return Err(PathProblem::Here),
        ".." => return Err(PathProblem::Climbs),
        _ => {}
    }
    if part.len() > MAX_PART_BYTES {
        return Err(PathProblem::PartTooLong { found: part.len() });
    }
    if part.ends_with('.') || part.starts_with(char::is_whitespace) || part.ends_with(char::is_whitespace) {
        return Err(PathProblem::Edge);
    }
    // `aux.tar.gz` is the device `aux` there, too.
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered = |word: &str| {
        stem.strip_prefix(word)
            .is_some_and(|rest| rest.chars().count() == 1 && rest.contains(|c| matches!(c, '0'..='9' | '¹' | '²' | '³')))
    };
    if matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" | "clock$")
        || numbered("com")
        || numbered("lpt")
    {
        return Err(PathProblem::Reserved(stem));
    }
    Ok(())
}

/// The paths of one package so far.
#[derive(Debug, Default)]
pub(crate) struct PathSet {
    /// By folded spelling: the spelling that came first, and what it is.
    known: HashMap<String, (String, Kind)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

impl PathSet {
    /// Adds a path, unless it can't lie beside those that are there.
    pub(crate) fn add(&mut self, path: &PackagePath) -> Result<(), Clash> {
        for (at, _) in path.as_str().match_indices('/') {
            self.put(path.as_str().get(..at).unwrap_or_default(), Kind::Folder)?;
        }
        self.put(path.as_str(), Kind::File)
    }

    fn put(&mut self, path: &str, kind: Kind) -> Result<(), Clash> {
        let Some((known, was)) = self.known.get(&folded(path)) else {
            self.known.insert(folded(path), (path.to_owned(), kind));
            return Ok(());
        };
        match (known == path, *was, kind) {
            (true, Kind::Folder, Kind::Folder) => Ok(()),
            (true, Kind::File, Kind::File) => Err(Clash::Twice),
            (true, ..) => Err(Clash::FileAndFolder(path.to_owned())),
            (false, ..) => Err(Clash::Folded(known.clone())),
        }
    }
}

/// A spelling that is the same for all paths that some file system takes for one: compatibility forms and case folded away. Upper case before
/// lower case, so that letters with several small forms (`ß`, `ſ`, `ς`) meet.
fn folded(path: &str) -> String {
    let compatible: String = path.nfkc().map(|(character, _)| character).collect();
    let upper = compatible.to_uppercase();
    let lower = upper.to_lowercase().replace('ς', "σ");
    lower.nfkc().map(|(character, _)| character).collect()
}

#[cfg(test)]
mod tests {
    use super::{Clash, PackagePath, PathProblem, PathSet};

    #[test]
    fn ordinary_paths_are_taken() {
        for path in [
            "plugin.yaml",
            "a/b/c.py",
            ".github/x",
            "données/été.txt",
            "com/comma.txt",
            "console.py",
            "a b/c-d_e.txt",
            "漢字/ファイル",
        ] {
            assert_eq!(PackagePath::parse(path).map(|path| path.to_string()), Ok(path.to_owned()));
        }
    }

    #[test]
    fn each_bad_path_has_its_reason() {
        let long = "a/".repeat(20) + "b";
        for (path, problem) in [
            ("", PathProblem::Empty),
            ("/etc/passwd", PathProblem::Absolute),
            ("C:/x", PathProblem::Drive),
            ("a\\b", PathProblem::Backslash),
            ("a/../b", PathProblem::Climbs),
            ("./a", PathProblem::Here),
            ("a//b", PathProblem::EmptyPart),
            ("a/", PathProblem::Folder),
            ("a\0b", PathProblem::Control(0)),
            ("a\u{202e}b", PathProblem::Invisible(0x202e)),
            ("ab:c", PathProblem::Forbidden(':')),
            ("a./b", PathProblem::Edge),
            ("lib/Aux.tar.gz", PathProblem::Reserved("aux".to_owned())),
            ("COM1", PathProblem::Reserved("com1".to_owned())),
            ("e\u{301}te", PathProblem::NotNormal),
            (&long, PathProblem::TooDeep { found: 21 }),
        ] {
            assert_eq!(PackagePath::parse(path), Err(problem), "{path:?}");
        }
    }

    #[test]
    fn what_another_file_system_takes_for_one_clashes() {
        let clash = |paths: &[&str]| {
            let mut set = PathSet::default();
            paths.iter().map(|path| set.add(&PackagePath::parse(path).unwrap())).find(Result::is_err).unwrap_or(Ok(()))
        };
        assert_eq!(clash(&["a/b", "a/c", "b/a"]), Ok(()));
        assert_eq!(clash(&["a", "a"]), Err(Clash::Twice));
        for (one, two) in
            [("README", "readme"), ("lib/a", "LIB/b"), ("ﬁle", "file"), ("straße", "STRASSE"), ("K", "k"), ("ÉTÉ", "été")]
        {
            assert!(matches!(clash(&[one, two]), Err(Clash::Folded(_))), "{one} {two}");
        }
        assert_eq!(clash(&["a", "a/b"]), Err(Clash::FileAndFolder("a".to_owned())));
        assert_eq!(clash(&["a/b", "a"]), Err(Clash::FileAndFolder("a".to_owned())));
    }
}
