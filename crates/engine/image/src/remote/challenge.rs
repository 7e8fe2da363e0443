//! `WWW-Authenticate`: RFC 9110, section 11.6.1, as far as registries use it.

use http::{HeaderMap, header};

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user's name and password with each call.
    Basic,
    /// A token from `realm`.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What it is to name as its audience.
        service: Option<String>,
        /// What the call needs.
        scope: Option<String>,
        /// Why the present token is not enough.
        error: Option<String>,
    },
}

/// The strongest challenge of an answer: a token before Basic.
pub(super) fn of(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = None;
    for value in headers.get_all(header::WWW_AUTHENTICATE) {
        for challenge in parse(value.to_str().unwrap_or_default()) {
            match challenge {
                Challenge::Bearer { .. } => return Some(challenge),
                Challenge::Basic => found = Some(challenge),
            }
        }
    }
    found
}

/// Every challenge of one header that we can answer. Several may share a header, separated by commas, just as
/// the parameters of each are: a word that no `=` follows starts the next one.
fn parse(header: &str) -> Vec<Challenge> {
    let mut schemes: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = take_value(value.trim_start());
                if let Some((_, parameters)) = schemes.last_mut() {
                    parameters.push((word.to_ascii_lowercase(), value));
                }
                rest = after;
            }
            None => {
                schemes.push((word.to_ascii_lowercase(), Vec::new()));
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    schemes.into_iter().filter_map(|(scheme, parameters)| challenge(&scheme, parameters)).collect()
}

fn challenge(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let get = |key: &str| parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: get("realm")?,
            service: get("service"),
            scope: get("scope"),
            error: get("error"),
        }),
        _ => None,
    }
}

/// A token or a quoted string, and what follows it.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if is_escaped => {
                value.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
            error: None,
        }
    }

    #[test]
    fn challenges_of_real_registries_parse() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull""#;
        let expected = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:library/busybox:pull"),
        );
        assert_eq!(parse(hub), [expected]);
        assert_eq!(parse(r#"Basic realm="Registry Realm""#), [Challenge::Basic]);
    }

    #[test]
    fn a_comma_inside_quotes_separates_nothing() {
        let two = r#"Basic realm="x, y", Bearer realm="https://h/t" , scope="repository:a:pull,push""#;
        let expected = [Challenge::Basic, bearer("https://h/t", None, Some("repository:a:pull,push"))];
        assert_eq!(parse(two), expected);
    }

    #[test]
    fn tokens_escapes_and_unknown_schemes_are_understood() {
        assert_eq!(parse(r#"Negotiate, bearer REALM = "a\"b""#), [bearer("a\"b", None, None)]);
        assert_eq!(parse("Bearer realm=https://h/t"), [bearer("https://h/t", None, None)]);
        assert_eq!(parse("Bearer"), []);
        assert_eq!(parse(r#"Bearer realm="unfinished"#), [bearer("unfinished", None, None)]);
    }
}
