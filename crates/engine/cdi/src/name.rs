//! `vendor/class=device`.

/// Whether a text is a device's full name, as opposed to a path.
#[must_use]
pub fn is_qualified(text: &str) -> bool {
    let Some((kind, device)) = text.split_once('=') else { return false };
    is_kind(kind) && is_device(device)
}

/// `vendor/class`.
pub(crate) fn is_kind(text: &str) -> bool {
    let Some((vendor, class)) = text.split_once('/') else { return false };
    is_word(vendor, "_-.") && is_word(class, "_-.")
}

/// A letter first, a letter or digit last.
fn is_word(text: &str, between: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && is_spelled(text, between)
}

/// A device's own name begins with a letter or digit.
pub(crate) fn is_device(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && is_spelled(text, "_-.:")
}

fn is_spelled(text: &str, between: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || between.contains(c))
        && text.ends_with(|last: char| last.is_ascii_alphanumeric())
}
