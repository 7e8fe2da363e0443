//! Volumes over iSCSI: names of targets and initiators.

use super::super::place::{Faults, Place};
use super::source::Holder;
use hako_kube::field;

/// The longest name that a volume and its portal may have together, where an initiator is named after them.
const NAME_MAX: usize = 64;
const TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
     iscsi.initiatorName is specified.";

/// All faults of a source beside the name of its volume.
pub(super) fn validate(source: &Place<'_>, holder: Holder<'_>, name: &Place<'_>, faults: &mut Faults) {
    let (iqn, lun, initiator) = (source.at(&["iqn"]), source.at(&["lun"]), source.at(&["initiatorName"]));
    // The original writes the name of this field in small letters.
    let initiator = source.at(&["initiatorname"]).with(initiator.value);
    if !iqn.is_empty() {
        qualified(&iqn, holder, faults);
    }
    if !(0..=255).contains(&lun.number()) {
        faults.push(lun.invalid("must be between 0 and 255, inclusive"));
    }
    let secret = source.at(&["secretRef"]);
    let needs_secret = ["chapAuthDiscovery", "chapAuthSession"].iter().any(|it| source.at(&[it]).is_true());
    if needs_secret && !secret.is_set() {
        faults.push(secret.required(""));
    }
    if secret.is_set() && secret.at(&["name"]).is_empty() && matches!(holder, Holder::Volume(_)) {
        faults.push(secret.at(&["name"]).required(""));
    }
    if initiator.is_set() {
        qualified(&initiator, holder, faults);
        length(source, holder, name, faults);
    }
}

fn length(source: &Place<'_>, holder: Holder<'_>, name: &Place<'_>, faults: &mut Faults) {
    let portal = source.at(&["targetPortal"]);
    let (Holder::Pod(volume) | Holder::Volume(volume)) = holder;
    if volume.len() + 1 + portal.text().len() <= NAME_MAX {
        return;
    }
    faults.push(match holder {
        Holder::Pod(volume) => field::invalid(name.path(), volume, TOO_LONG),
        Holder::Volume(_) => {
            field::invalid(field::child(&source.path(), "targetportal"), portal.text(), TOO_LONG)
        }
    });
}

/// A name of one of three kinds, each with its form.
fn qualified(place: &Place<'_>, holder: Holder<'_>, faults: &mut Faults) {
    let text = place.text();
    let is_sound = match text.get(..3) {
        Some("iqn") => is_iqn(text),
        Some("eui") => is_hex(text, "eui.", 16),
        Some("naa") => is_hex(text, "naa.", 32),
        _ if matches!(holder, Holder::Pod(_)) => {
            return faults.push(place.invalid_text("must be valid format starting with iqn, eui, or naa"));
        }
        _ => false,
    };
    if !is_sound {
        faults.push(place.invalid_text("must be valid format"));
    }
}

fn is_hex(text: &str, prefix: &str, count: usize) -> bool {
    let rest = text.strip_prefix(prefix).unwrap_or("");
    rest.len() == count && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `iqn.`, the month a domain was had, the domain, and after a colon anything without blanks and a few signs.
fn is_iqn(text: &str) -> bool {
    let Some((authority, rest)) = text.strip_prefix("iqn.").and_then(|text| text.split_once(':')) else {
        return false;
    };
    let Some((date, domain)) = authority.split_once('.') else { return false };
    let is_date = date.len() == 7
        && date
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 { byte == b'-' } else { byte.is_ascii_digit() });
    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_plain = |char: char| !char.is_whitespace() && !matches!(char, ',' | ';' | '*' | '&' | '$' | '|');
    is_date
        && !domain.is_empty()
        && domain.bytes().all(is_domain)
        && !rest.is_empty()
        && rest.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_targets_have_one_of_three_forms() {
        assert!(is_iqn("iqn.2015-02.example.com:test"));
        for faulty in
            ["iqn.2015-02.example.com", "iqn.15-02.example.com:t", "iqn.2015-02.example.com:a b", "iqn."]
        {
            assert!(!is_iqn(faulty), "{faulty}");
        }
        assert!(is_hex("eui.0123456789abcdef", "eui.", 16));
        assert!(!is_hex("eui.0123456789abcde", "eui.", 16));
    }
}
