//! The syntax of names, labels and ports; each check returns what is wrong in the API's words, nothing if sound.

use hako_error::FieldCause;

use crate::field;

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
     must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation \
     is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_1123: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
     '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SUBDOMAIN_UNDERSCORES: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
     '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
     validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
     used for validation is '[-A-Za-z0-9]+')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
     validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
     '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
     used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
     'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

const HTTP_PATH: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn ends_with_alphanumeric(text: &str) -> bool {
    let is_alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_alphanumeric(text.as_bytes().first()) && is_alphanumeric(text.as_bytes().last())
}

fn is_lower_label(text: &str) -> bool {
    ends_with_alphanumeric(text)
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_qualified_part(text: &str) -> bool {
    ends_with_alphanumeric(text)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Checks an RFC 1123 label: pod hostnames, namespaces, container names.
#[must_use]
pub fn dns_label(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > LABEL_MAX {
        faults.push(too_long(LABEL_MAX));
    }
    if !is_lower_label(text) {
        let is_subdomain = text.split('.').all(is_lower_label);
        faults.push(if is_subdomain { "must not contain dots".to_owned() } else { LABEL_1123.to_owned() });
    }
    faults
}

/// Checks an RFC 1123 subdomain: the names of most objects.
#[must_use]
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        faults.push(too_long(SUBDOMAIN_MAX));
    }
    if !text.split('.').all(is_lower_label) {
        faults.push(SUBDOMAIN_1123.to_owned());
    }
    faults
}

/// Checks a domain, a slash and a path, as names of controllers and keys of what is known of a user are.
#[must_use]
pub fn domain_prefixed_path(field: &str, text: &str) -> Vec<FieldCause> {
    let invalid = |value: &str, detail: &str| field::invalid(field, value, detail);
    match text.split_once('/') {
        _ if text.is_empty() => vec![field::required(field, "")],
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            let mut faults: Vec<_> = dns_subdomain(host).iter().map(|fault| invalid(host, fault)).collect();
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
            if !path.bytes().all(is_allowed) {
                faults.push(invalid(path, HTTP_PATH));
            }
            faults
        }
        _ => vec![invalid(text, "must be a domain-prefixed path (such as \"acme.io/foo\")")],
    }
}

/// Checks a domain to search in, whose parts may have underscores.
#[must_use]
pub fn dns_subdomain_with_underscores(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        faults.push(too_long(SUBDOMAIN_MAX));
    }
    let is_label = |label: &str| {
        let rest = label.strip_prefix('_').unwrap_or(label);
        let is_edge =
            |byte: Option<u8>| byte.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
        let is_inner = |byte: u8| is_edge(Some(byte)) || matches!(byte, b'-' | b'_');
        is_edge(rest.bytes().next()) && is_edge(rest.bytes().last()) && rest.bytes().all(is_inner)
    };
    if !text.split('.').all(is_label) {
        faults.push(SUBDOMAIN_UNDERSCORES.to_owned());
    }
    faults
}

/// Checks the name of a header of HTTP.
#[must_use]
pub fn header_name(text: &str) -> Vec<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !text.is_empty() && text.bytes().all(is_allowed) {
        return Vec::new();
    }
    vec![HEADER.to_owned()]
}

/// Checks a DNS-1035 label: the names of services.
#[must_use]
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > LABEL_MAX {
        faults.push(too_long(LABEL_MAX));
    }
    if !is_lower_label(text) || !text.as_bytes().first().is_some_and(u8::is_ascii_lowercase) {
        faults.push(LABEL_1035.to_owned());
    }
    faults
}

/// Checks a label's value.
#[must_use]
pub fn label_value(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > LABEL_MAX {
        faults.push(too_long(LABEL_MAX));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        faults.push(LABEL_VALUE.to_owned());
    }
    faults
}

/// Checks a qualified name: the keys of labels and annotations, resources, finalizers.
#[must_use]
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut parts = text.split('/');
    let (first, second, rest) = (parts.next().unwrap_or(""), parts.next(), parts.next());
    if rest.is_some() {
        faults.push(format!(
            "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ));
        return faults;
    }
    let name = second.unwrap_or(first);
    if second.is_some() {
        if first.is_empty() {
            faults.push("prefix part must be non-empty".to_owned());
        } else {
            faults.extend(dns_subdomain(first).into_iter().map(|fault| format!("prefix part {fault}")));
        }
    }
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        faults.push(format!("name part {}", too_long(LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        faults.push(format!("name part {QUALIFIED}"));
    }
    faults
}

/// Checks the name of a port.
#[must_use]
pub fn port_name(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > 15 {
        faults.push("must be no more than 15 characters".to_owned());
    }
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.bytes().all(is_allowed) {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        faults.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        faults.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        faults.push("must not begin or end with a hyphen".to_owned());
    }
    faults
}

/// Checks the number of a port.
#[must_use]
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65_535).contains(&port) {
        Vec::new()
    } else {
        vec!["must be between 1 and 65535, inclusive".to_owned()]
    }
}

/// Checks the name of an environment variable.
#[must_use]
pub fn env_name(text: &str) -> Vec<String> {
    let is_allowed = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'=';
    if !text.is_empty() && text.bytes().all(is_allowed) {
        return Vec::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .to_owned(),
    ]
}

/// Checks a key of a ConfigMap or Secret.
#[must_use]
pub fn config_key(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        faults.push(too_long(SUBDOMAIN_MAX));
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(is_allowed) {
        faults.push(CONFIG_KEY.to_owned());
    }
    match text {
        "." => faults.push("must not be '.'".to_owned()),
        ".." => faults.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => faults.push("must not start with '..'".to_owned()),
        _ => {}
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_names_have_no_faults() {
        assert!(dns_label("my-name").is_empty());
        assert!(dns_subdomain("a.b-c.d1").is_empty());
        assert!(dns_1035_label("abc-123").is_empty());
        assert!(label_value("").is_empty());
        assert!(label_value("My_value.1").is_empty());
        assert!(qualified_name("example.com/MyName").is_empty());
        assert!(port_name("http-alt").is_empty());
        assert!(env_name("my.VAR-1").is_empty());
        assert!(config_key("app.properties").is_empty());
        assert!(dns_subdomain_with_underscores("_sip._tcp.example.com").is_empty());
        assert!(header_name("X-Forwarded-For").is_empty());
    }

    #[test]
    fn faulty_names_are_told_apart() {
        assert_eq!(dns_label("A"), [LABEL_1123]);
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns_label(&"a".repeat(64)), ["must be no more than 63 bytes"]);
        assert_eq!(dns_subdomain("a..b"), [SUBDOMAIN_1123]);
        assert_eq!(dns_1035_label("1a"), [LABEL_1035]);
        assert_eq!(label_value("-"), [LABEL_VALUE]);
        assert_eq!(qualified_name("/x"), ["prefix part must be non-empty"]);
        assert_eq!(qualified_name("a/b/c").len(), 1);
        assert_eq!(port_name("123"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_number(0).len(), 1);
        assert_eq!(env_name("a=b").len(), 1);
        assert_eq!(config_key("..a"), ["must not start with '..'"]);
        assert_eq!(dns_subdomain_with_underscores("a_.b"), [SUBDOMAIN_UNDERSCORES]);
        assert_eq!(header_name("X_A"), [HEADER]);
    }
}
