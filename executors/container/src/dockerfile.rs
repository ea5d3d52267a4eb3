//! What a Dockerfile may not ask of the engine, found before anything is sent: the walls of a build hold its `RUN` steps, not the engine itself.
//!
//! `ADD` of an address is fetched by the engine, in its own network, loopback and the cloud's metadata included; `RUN --network=host` and the
//! like open the walls from inside. This reads no more of the language than that takes, and refuses what it can't tell.

/// Why a Dockerfile is not built.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("`{0}`: RUN takes no flags here, they would change the walls of the build")]
    RunFlag(String),
    #[error("`{0}`: ADD takes plain files of the build context only, for the engine would fetch anything else itself; use COPY")]
    Remote(String),
}

/// Whether the engine may be asked to build this. With a network, `ADD` may name addresses.
///
/// # Errors
/// [`Refused`], with the beginning of the instruction.
pub(crate) fn check(text: &str, network: bool) -> Result<(), Refused> {
    // Which of the two ends a line that goes on is said by a directive that builders read differently; and in a here-document every line may
    // look like an instruction. So every way to read it is tried, and a line counts wherever it may begin an instruction.
    for escape in [Some('\\'), Some('`'), None] {
        for line in joined(text, escape) {
            check_instruction(&line, network)?;
        }
    }
    Ok(())
}

/// Logical lines: a line that ends with `escape` goes on in the next that is neither empty nor a comment.
fn joined(text: &str, escape: Option<char>) -> Vec<String> {
    let (mut lines, mut open) = (Vec::new(), None::<String>);
    for line in text.lines() {
        let trimmed = line.trim();
        if open.is_some() && (trimmed.is_empty() || trimmed.starts_with('#')) {
            continue;
        }
        let (part, goes_on) = match escape.and_then(|escape| trimmed.strip_suffix(escape)) {
            Some(part) => (part, true),
            None => (trimmed, false),
        };
        let whole = open.take().unwrap_or_default() + part;
        if goes_on {
            open = Some(whole);
        } else {
            lines.push(whole);
        }
    }
    lines.extend(open);
    lines
}

fn check_instruction(line: &str, network: bool) -> Result<(), Refused> {
    let (mut word, mut rest) = first_word(line);
    if word.eq_ignore_ascii_case("ONBUILD") {
        (word, rest) = first_word(rest);
    }
    let shown = || line.chars().take(120).collect::<String>();
    if word.eq_ignore_ascii_case("RUN") && rest.starts_with("--") {
        return Err(Refused::RunFlag(shown()));
    }
    if word.eq_ignore_ascii_case("ADD") && !network {
        let mut sources = rest;
        while sources.starts_with("--") {
            sources = first_word(sources).1;
        }
        // A variable may hold an address, an escape may hide one, and `git@host:x` and `github.com/x` are addresses too.
        let plain = |character: char| character.is_alphanumeric() || " \t._-/*?[],\"+~=".contains(character);
        if !sources.chars().all(plain) || sources.to_ascii_lowercase().contains("github.com") {
            return Err(Refused::Remote(shown()));
        }
    }
    Ok(())
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_the_walls_is_refused_however_it_is_written() {
        for text in [
            "FROM scratch\nADD http://127.0.0.1/x /x",
            "FROM scratch\nadd\thttps://example.org/x /x",
            "FROM scratch\nAD\\\nD http://127.0.0.1/x /x",
            "FROM scratch\nADD \\\n# a comment\n\n  http://127.0.0.1/x /x",
            "# escape=`\nFROM scratch\nRUN echo \\\nADD http://127.0.0.1/x /x",
            "# escape=`\nFROM scratch\nADD `\nhttp://127.0.0.1/x /x",
            "FROM scratch\nARG U=http://127.0.0.1/x\nADD $U /x",
            "FROM scratch\nADD [\"http:\\u002f\\u002f127.0.0.1/x\", \"/x\"]",
            "FROM scratch\nADD --chown=1:1 git@example.org:a/b /x",
            "FROM scratch\nADD github.com/a/b /x",
            "FROM scratch\nONBUILD ADD http://127.0.0.1/x /x",
            "FROM scratch\nRUN <<E\nADD http://127.0.0.1/x /x\nE",
        ] {
            assert!(matches!(check(text, false), Err(Refused::Remote(_))), "{text}");
            assert_eq!(check(text, true), Ok(()), "{text}");
        }
        for text in
            ["RUN --network=host true", "run  --security=insecure true", "RU\\\nN --mount=type=bind,source=/,target=/x true"]
        {
            for network in [false, true] {
                assert!(matches!(check(text, network), Err(Refused::RunFlag(_))), "{text}");
            }
        }
    }

    #[test]
    fn ordinary_files_pass() {
        let text = "# a comment with ADD http://x\nFROM a AS b\nADD --chown=1:1 src/*.py [x].txt /app/\nADD [\"a b\", \"/c\"]\n\
                    RUN curl --help && echo --network\nCOPY --from=b /x /x\nENV U=http://x\nCMD [\"a\"]\n";
        assert_eq!(check(text, false), Ok(()));
    }
}
