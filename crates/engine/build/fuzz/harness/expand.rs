//! Any bytes as a word with variables, a heredoc and a mode.

use hako_build::dockerfile::{
    FileMode, MAX_EXPANDED_BYTES, expand, expand_heredoc, expand_words, split_words,
};

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (value, word) = text.split_once('\n').unwrap_or(("a/b.c", &text));
    let lookup = |name: &str| (!name.starts_with('u')).then(|| value.to_owned());
    for escape in ['\\', '`'] {
        if let Ok(expanded) = expand(word, escape, &lookup) {
            // One character may be added after the bound is looked at, and no more than a value.
            assert!(expanded.len() <= 2 * MAX_EXPANDED_BYTES);
        }
        let _ = (expand_words(word, escape, &lookup), split_words(word, escape));
    }
    let _ = expand_heredoc(word, &lookup);
    if let Ok(mode) = FileMode::parse(word) {
        assert!(mode.apply(0o644, false) <= 0o7777);
    }
}
