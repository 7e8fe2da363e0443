//! COPY and ADD.

use super::flags::{Flags, Takes};
use super::heredoc::{Heredoc, heredoc};
use super::instruction::{Refused, blank_separated, check_mode, json_words, refuse};

/// COPY and ADD, variables unexpanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Paths or patterns; of ADD also URLs and git repositories.
    pub sources: Vec<String>,
    /// Files whose text stands in the Dockerfile.
    pub files: Vec<InlineFile>,
    /// Where to.
    pub destination: String,
    /// The stage, image or named context to take them from; `None` for the context. Has no variables.
    pub from: Option<String>,
    /// `USER[:GROUP]` for everything copied.
    pub chown: Option<String>,
    /// Mode for everything copied, for [`super::FileMode`].
    pub chmod: Option<String>,
    /// Whether the files are a layer that does not depend on those below: `--link`.
    pub is_link: bool,
    /// Whether the directories above each source are made too: `--parents`.
    pub keeps_parents: bool,
    /// Patterns of what is left out.
    pub excludes: Vec<String>,
    /// What a remote source must be: `sha256:…`, or (the start of) a commit for git.
    pub checksum: Option<String>,
    /// Whether `.git` of a git source is copied; `None` leaves it to the URL.
    pub keep_git_dir: Option<bool>,
    /// Whether archives are unpacked; `None` for local ones only.
    pub unpack: Option<bool>,
    /// Whether it is ADD.
    pub is_add: bool,
}

/// A source that is a here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineFile {
    /// The file's name.
    pub name: String,
    /// Its text; leading tabs are gone already where `<<-` asks for that.
    pub content: String,
    /// Whether variables in it are expanded, with [`super::expand_heredoc`].
    pub is_expanded: bool,
}

pub(super) const COPY_FLAGS: [(&str, Takes); 6] = [
    ("from", Takes::Text),
    ("chown", Takes::Text),
    ("chmod", Takes::Text),
    ("link", Takes::Bool),
    ("parents", Takes::Bool),
    ("exclude", Takes::List),
];
pub(super) const ADD_FLAGS: [(&str, Takes); 7] = [
    ("chown", Takes::Text),
    ("chmod", Takes::Text),
    ("link", Takes::Bool),
    ("keep-git-dir", Takes::Bool),
    ("checksum", Takes::Text),
    ("unpack", Takes::Bool),
    ("exclude", Takes::List),
];

/// Whether a source of ADD is fetched: a URL or a git repository.
#[must_use]
pub fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|prefix| source.starts_with(prefix))
}

pub(super) fn copy(
    keyword: &str,
    rest: &str,
    flags: Vec<String>,
    heredocs: &[Heredoc],
) -> Result<Copy, Refused> {
    let is_add = keyword == "ADD";
    let flags = Flags::parse(keyword, flags, if is_add { &ADD_FLAGS } else { &COPY_FLAGS })?;
    let mut copy = Copy {
        from: flags.text("from"),
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        is_link: flags.switch("link").unwrap_or(false),
        keeps_parents: flags.switch("parents").unwrap_or(false),
        excludes: flags.all("exclude").map(str::to_owned).collect(),
        checksum: flags.text("checksum"),
        keep_git_dir: flags.switch("keep-git-dir"),
        unpack: flags.switch("unpack"),
        is_add,
        ..Copy::default()
    };
    let json = json_words(keyword, rest)?;
    let is_json = json.is_some();
    let mut words = json.unwrap_or_else(|| blank_separated(rest));
    let destination = words.pop();
    if words.is_empty() {
        return refuse(format!("{keyword} needs at least one source and a destination"));
    }
    copy.destination = destination.unwrap_or_default();
    if !is_json && heredoc(&copy.destination).is_some() {
        return refuse(format!("{keyword} cannot have a heredoc as its destination"));
    }
    for word in words {
        match heredoc(&word).filter(|_| !is_json) {
            Some(found) => copy.files.push(inline(keyword, &found, heredocs)?),
            None => copy.sources.push(word),
        }
    }
    check(keyword, &copy)?;
    Ok(copy)
}

fn inline(keyword: &str, found: &Heredoc, heredocs: &[Heredoc]) -> Result<InlineFile, Refused> {
    // As with the shell, of two of the same name the last one counts.
    match heredocs.iter().rev().find(|heredoc| heredoc.name == found.name) {
        Some(heredoc) => Ok(InlineFile {
            name: heredoc.name.clone(),
            content: heredoc.text(),
            is_expanded: found.is_expanded,
        }),
        None => refuse(format!("{keyword}: the heredoc {:?} has no text", found.name)),
    }
}

fn check(keyword: &str, copy: &Copy) -> Result<(), Refused> {
    if let Some(from) = copy.from.as_deref().filter(|from| from.contains('$')) {
        let way = "name a stage for it: FROM image AS name, with the variable in FROM";
        return refuse(format!("{keyword} --from={from} cannot have variables; {way}"));
    }
    if let Some(mode) = &copy.chmod {
        check_mode(keyword, mode)?;
    }
    if let Some(sum) = &copy.checksum {
        check_checksum(copy, sum)?;
    }
    if copy.keep_git_dir.is_some() && !copy.sources.iter().any(|source| may_be_remote(source)) {
        return refuse("ADD --keep-git-dir is for git repositories, there is none among the sources");
    }
    Ok(())
}

fn may_be_remote(source: &str) -> bool {
    is_remote(source) || source.contains('$')
}

/// A checksum is `sha256:` and 64 digits, or for git a commit; and there is one remote source it can be of.
fn check_checksum(copy: &Copy, sum: &str) -> Result<(), Refused> {
    if copy.sources.len() != 1 || !copy.files.is_empty() || !may_be_remote(&copy.sources[0]) {
        return refuse("ADD --checksum is for exactly one source that is a URL or a git repository");
    }
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let is_possible = sum.contains('$')
        || sum.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && is_hex(hex))
        || (is_hex(sum) && sum.len() <= 64);
    if !is_possible {
        return refuse(format!(
            "ADD --checksum={sum}: expected sha256: and 64 digits, or a commit of a git repository"
        ));
    }
    Ok(())
}
