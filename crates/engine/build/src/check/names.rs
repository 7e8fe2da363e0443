//! Names that look like secrets.

const SECRETS: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
/// With one of these in it, a name is of something about a secret.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// Whether a variable's name says that its value is secret: one of its words, between underscores, does.
pub(super) fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|word| words.contains(&word));
    has(&SECRETS) && !has(&HARMLESS)
}
