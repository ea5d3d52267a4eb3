//! Sentences that give the model orders, as a table of word patterns; and names of other tools.

/// A word in lower case, and where it stands. An empty word ends a sentence.
pub(super) type Word = (String, usize);

/// A pattern is a row of steps. `a|b` is one of these words; `~3` allows up to three others in between. Nothing reaches over the end of a sentence.
pub(super) type Pattern = &'static str;

const TABLE: &[(&str, &[Pattern])] = &[
    (
        "TXT-OVERRIDE",
        &[
            "ignore|disregard|forget|override|bypass|overrides|supersedes ~2 previous|prior|earlier|above|preceding|existing|all|any|other|your ~3 instruction|instructions|prompt|prompts|rules|guidelines|directives|constraints|policies",
            "you are now ~1 a|an|in|the|allowed|unrestricted",
            "from now on ~2 you|always|never|respond|answer|act",
            "your ~1 new|real|actual|true|only ~1 instructions|task|objective|goal|purpose",
            "tool|server|function now grants|allows|enables|permits you",
            "new instructions|directive",
            "takes|take precedence over ~3 instructions|prompt|rules|tools|guidelines",
        ],
    ),
    (
        "TXT-CONCEAL",
        &[
            "do|must|should|shall|never|don't|without|avoid|not ~2 tell|telling|mention|mentioning|inform|informing|notify|notifying|reveal|revealing|disclose|disclosing|alert|alerting|warn|warning ~3 user|users|human|anyone|person|operator|him|them",
            "do|must|should|never|don't ~1 tell|mention|reveal|disclose|explain ~1 this|that|it|these|any ~3 step|steps|instruction|instructions|call|calls|detail|details|behavior|behaviour|file|note",
            "keep this|it ~2 secret|hidden|confidential|private|invisible",
            "hide|conceal|hidden|invisible|conceals ~3 from the user|users|human|operator",
            "user|users|human ~1 must|should|need|needs|does|do not|never ~2 know|see|notice|aware|realize|realise|told",
            "silently|secretly|covertly|discreetly ~2 send|forward|copy|call|include|read|append|add|pass|execute|run|upload|bcc",
            "without ~1 asking|requesting|waiting|user ~2 permission|confirmation|approval|consent|confirm",
            "do not|never|don't ask ~3 permission|confirmation|approval|consent|confirm",
        ],
    ),
    (
        "TXT-ORDER",
        &[
            "before|prior|after ~1 using|calling|invoking|running|executing|use|call|to ~2 any|other|another|all|every|each ~2 tool|tools|function|functions",
            "must|always|first|required ~3 call|use|invoke|run|execute|calling|using ~1 this|it ~1 tool|function|first|before",
            "always call|invoke|use|run|prefer",
            "instead of ~2 any|other|another|all|built-in|builtin|native|default ~2 tool|tools|function|functions",
            "do not|never|don't|avoid|stop ~1 use|call|using|calling|invoke ~2 any|other|another|all ~1 other ~1 tool|tools|server|servers",
            "with|after|before|in|for|on every|each ~1 message|response|reply|turn|prompt|answer|conversation",
            "when|whenever|if ~4 other|another|different tool|tools|server ~4 must|always|should|instead",
            "this tool must be called|used|run|invoked",
        ],
    ),
    (
        "TXT-READ",
        &[
            "must|always|first|need|please|required|should ~3 read|open|load|cat|fetch|access ~3 file|files|contents ~8 pass|include|send|provide|put|append|paste|sidenote|parameter|argument|and",
            "read|open|cat|load|access the|its|their|all ~3 file|files|content|contents ~6 pass|include|send|append|paste|sidenote",
            "must read ~2 file|files",
        ],
    ),
];

/// Files that hold secrets, or that configure clients: no description of an honest tool needs to name them to the model.
const FILES: &[&str] = &[
    ".ssh/",
    "id_rsa",
    "id_ed25519",
    "/etc/passwd",
    "/etc/shadow",
    ".aws/credentials",
    ".netrc",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
    ".kube/config",
    ".docker/config.json",
    ".cursor/mcp.json",
    ".claude.json",
    "claude_desktop_config.json",
    ".codex/config.toml",
    "mcp_config.json",
    ".bash_history",
    ".zsh_history",
    ".gnupg",
    "/proc/self/environ",
    "wallet.dat",
];

/// Marks that separate roles.
const ROLES: &[&str] = &[
    "<important",
    "</important",
    "<system",
    "</system",
    "<assistant",
    "<instruction",
    "</instruction",
    "<secret",
    "<|im_start|>",
    "<|im_end|>",
    "<|system|>",
    "<|user|>",
    "<|endoftext|>",
    "[inst]",
    "[/inst]",
    "<<sys>>",
    "### system",
    "### instruction",
    "[system]",
    "<human>",
];

/// The words of a text in lower case, with where each stands; sentences are kept apart.
pub(super) fn words(text: &str) -> Vec<Word> {
    let part = |character: char| character.is_alphanumeric() || matches!(character, '\'' | '-' | '_' | '\u{2019}');
    let mut words: Vec<Word> = Vec::new();
    let mut current = String::new();
    let mut start = 0;
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        if part(character) {
            if current.is_empty() {
                start = at;
            }
            current.extend(character.to_lowercase().map(|lower| if lower == '\u{2019}' { '\'' } else { lower }));
            continue;
        }
        if !current.is_empty() {
            words.push((std::mem::take(&mut current), start));
        }
        let ends = matches!(character, '!' | '?' | ';')
            || (character == '.' && rest.peek().is_none_or(|(_, next)| next.is_whitespace()));
        let blank_line = character == '\n' && rest.peek().is_some_and(|(_, next)| *next == '\n');
        if ends || blank_line {
            words.push((String::new(), at));
        }
    }
    if !current.is_empty() {
        words.push((current, start));
    }
    words
}

/// Every rule of the tables that a text breaks, with where.
pub(super) fn find(words: &[Word]) -> Vec<(&'static str, usize)> {
    let mut found = Vec::new();
    for (id, patterns) in TABLE {
        if let Some(at) = patterns.iter().find_map(|pattern| place(words, pattern)) {
            found.push((*id, at));
        }
    }
    found
}

/// Files of secrets and marks of roles, with where.
pub(super) fn marks(text: &str) -> Vec<(&'static str, usize)> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    found.extend(FILES.iter().find_map(|file| lower.find(file)).map(|at| ("TXT-READ", at)));
    let line = ["system:", "assistant:", "developer:"].iter().find_map(|role| {
        lower.find(role).filter(|at| {
            lower.get(..*at).is_some_and(|before| before.trim_end_matches([' ', '#', '*']).is_empty() || before.ends_with('\n'))
        })
    });
    found.extend(ROLES.iter().find_map(|role| lower.find(role)).or(line).map(|at| ("TXT-ROLE", at)));
    found
}

/// Where a pattern begins in a text.
pub(super) fn place(words: &[Word], pattern: &str) -> Option<usize> {
    let steps: Vec<&str> = pattern.split(' ').collect();
    words.iter().enumerate().find(|(index, _)| fits(words, *index, &steps)).map(|(_, (_, at))| *at)
}

fn fits(words: &[Word], from: usize, steps: &[&str]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return true };
    if let Some(gap) = step.strip_prefix('~').and_then(|gap| gap.parse::<usize>().ok()) {
        for skipped in 0..=gap {
            if fits(words, from + skipped, rest) {
                return true;
            }
            if words.get(from + skipped).is_none_or(|(word, _)| word.is_empty()) {
                return false;
            }
        }
        return false;
    }
    words.get(from).is_some_and(|(word, _)| step.split('|').any(|option| option == word)) && fits(words, from + 1, rest)
}

/// Where a text speaks of another plugin's tool. A name that is a plain word, such as `search`, counts only in quotes or before "tool".
pub(super) fn other_tool(text: &str, others: &[&str]) -> Option<usize> {
    let lower = text.to_lowercase();
    others
        .iter()
        .filter(|name| name.len() >= 3)
        .find_map(|name| {
            let wanted = name.to_lowercase();
            let plain = name.chars().all(|character| character.is_ascii_lowercase());
            lower.match_indices(&wanted).map(|(at, _)| at).find(|at| {
                let before = lower.get(..*at).and_then(|before| before.chars().next_back());
                let after = lower.get(at + wanted.len()..).unwrap_or_default();
                let word = |character: Option<char>| {
                    character.is_some_and(|character| character.is_alphanumeric() || character == '_' || character == '-')
                };
                if word(before) || word(after.chars().next()) {
                    return false;
                }
                let quoted = before.is_some_and(|character| "`'\"<".contains(character));
                !plain || quoted || after.starts_with(" tool")
            })
        })
        // Lower case may be longer than the text: an offset that is no boundary of it stands for its beginning.
        .map(|at| if text.is_char_boundary(at) { at } else { 0 })
}
