//! Which endpoints and fields of the API the tests have seen at work: what a daemon was asked and answered becomes lines of
//! facts/api-1.51.txt with their state, one file a test in `target/docker-api`.

use hako_docker::Exchange;
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

/// Every endpoint, parameter and field: `METHOD PATH [query|header|body|answer NAME]`.
pub const FACTS: &str = include_str!("../facts/api-1.51.txt");

/// A line of the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    pub method: &'static str,
    pub path: &'static str,
    /// Empty for the endpoint itself.
    pub kind: &'static str,
    pub name: &'static str,
}

impl Fact {
    pub fn key(&self) -> String {
        format!("{} {} {} {}", self.method, self.path, self.kind, self.name).trim_end().to_owned()
    }
}

pub fn facts() -> impl Iterator<Item = Fact> {
    FACTS.lines().map(|line| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        Fact { method: word(), path: word(), kind: word(), name: word() }
    })
}

/// Where the files are.
pub fn directory() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("docker-api")
}

/// What one test has seen.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<BTreeSet<String>>>);

impl Seen {
    pub fn note(&self, exchange: &Exchange) {
        let lines = lines(exchange);
        self.0.lock().extend(lines);
    }

    /// Writes it down for this test, whose name is its thread's. A test that was run by itself overwrites what it saw before.
    pub fn write(&self, test: &str) {
        let directory = directory();
        std::fs::create_dir_all(&directory).unwrap();
        let text: String = self.0.lock().iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(directory.join(test.replace("::", ".")), text).unwrap();
    }
}

fn lines(exchange: &Exchange) -> Vec<String> {
    static ALL: LazyLock<Vec<Fact>> = LazyLock::new(|| facts().collect());
    let method = exchange.method.as_str();
    let asked = exchange.uri.path();
    let Some(path) = ALL
        .iter()
        .filter(|fact| fact.kind.is_empty() && fact.method == method && fits(fact.path, asked))
        // `/images/get` is not an image of that name.
        .min_by_key(|fact| fact.path.matches('{').count())
        .map(|fact| fact.path)
    else {
        return Vec::new();
    };
    let parsed = Parsed::new(exchange);
    let state = |fact: &Fact| parsed.state(fact).map(|state| format!("{state} {}", fact.key()));
    ALL.iter().filter(|fact| fact.method == method && fact.path == path).filter_map(state).collect()
}

/// Whether a path has the form of a template, whose variables may have slashes.
fn fits(template: &str, path: &str) -> bool {
    match template.split_once('{') {
        None => template == path,
        Some((front, rest)) => {
            let back = rest.split_once('}').map_or("", |(_, back)| back);
            path.strip_prefix(front).and_then(|path| path.strip_suffix(back)).is_some_and(|name| {
                !name.is_empty() && (!back.is_empty() || !name.contains('/') || front == "/images/")
            })
        }
    }
}

struct Parsed {
    status: StatusCode,
    query: Vec<(String, String)>,
    headers: http::HeaderMap,
    body: Value,
    answer: Value,
    message: String,
}

impl Parsed {
    fn new(exchange: &Exchange) -> Self {
        let json = |bytes: &Option<bytes::Bytes>| {
            bytes.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or(Value::Null)
        };
        let query = exchange.uri.query().unwrap_or_default();
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        };
        let answer = json(&exchange.answer);
        Self {
            status: exchange.status,
            query: query.split('&').map(pair).collect(),
            headers: exchange.headers.clone(),
            body: json(&exchange.body),
            message: answer["message"].as_str().unwrap_or_default().to_owned(),
            answer,
        }
    }

    /// `works`, `refused`, or nothing where the fact was not part of the exchange.
    fn state(&self, fact: &Fact) -> Option<&'static str> {
        let works = self.status.is_success()
            || [StatusCode::SWITCHING_PROTOCOLS, StatusCode::NOT_MODIFIED].contains(&self.status);
        let is_absent = [StatusCode::NOT_IMPLEMENTED, StatusCode::SERVICE_UNAVAILABLE].contains(&self.status);
        match (works, fact.kind) {
            (true, "answer") => is_answered(&self.answer, fact.name).then_some("works"),
            (true, _) => self.asks(fact).then_some("works"),
            (false, "") => (is_absent && !self.message.contains("field")).then_some("refused"),
            (false, "answer") => None,
            (false, _) => (self.asks(fact) && self.names(fact)).then_some("refused"),
        }
    }

    fn asks(&self, fact: &Fact) -> bool {
        match fact.kind {
            "" => true,
            "query" => self.query.iter().any(|(name, value)| {
                name == fact.name && !["", "0", "false", "null", "%7B%7D"].contains(&value.as_str())
            }),
            "header" => self.headers.contains_key(fact.name),
            _ => values(&self.body, fact.name).into_iter().any(|value| !asks_for_nothing(value)),
        }
    }

    /// Whether the refusal names it.
    fn names(&self, fact: &Fact) -> bool {
        let words: Vec<&str> =
            self.message.split(|c: char| !(c.is_alphanumeric() || ".[]-_*".contains(c))).collect();
        let parts: Vec<&str> = fact.name.split('.').collect();
        // Docker's own words name the client's option.
        let option = fact.name.rsplit('.').next().unwrap_or_default().chars().flat_map(|letter| {
            let dash = letter.is_ascii_uppercase().then_some('-');
            dash.into_iter().chain(letter.to_lowercase())
        });
        if words.contains(&format!("-{}", option.collect::<String>()).as_str()) {
            return true;
        }
        // A field may be refused with all that is in it, a list by its name.
        (0..parts.len()).any(|end| {
            let whole = parts[..=end].join(".");
            words.contains(&whole.as_str()) || words.contains(&whole.trim_end_matches("[]"))
        })
    }
}

fn is_answered(answer: &Value, name: &str) -> bool {
    values(answer, name).into_iter().any(|value| !value.is_null())
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

/// All values that a path leads to: `[]` stands for each member of a list, `*` for each value of a map.
fn values<'a>(json: &'a Value, path: &str) -> Vec<&'a Value> {
    path.split('.').fold(vec![json], |found, part| {
        let name = part.trim_end_matches("[]");
        let lists = (part.len() - name.len()) / 2;
        let mut members: Vec<&Value> = match name {
            "" => found,
            "*" => found.into_iter().filter_map(Value::as_object).flat_map(|map| map.values()).collect(),
            name => found.into_iter().filter_map(|value| value.get(name)).collect(),
        };
        for _ in 0..lists {
            members = members.into_iter().filter_map(Value::as_array).flatten().collect();
        }
        members
    })
}

#[test]
fn paths_lead_to_the_members_of_lists_and_maps() {
    let json = serde_json::json!([{ "Ports": { "80/tcp": [{ "HostPort": "1" }, { "HostPort": "2" }] } }]);
    assert_eq!(values(&json, "[].Ports.*[].HostPort"), ["1", "2"]);
    assert!(values(&json, "[].Ports.HostPort").is_empty());
}

#[test]
fn templates_fit_names_with_slashes() {
    assert!(fits("/images/{name}/json", "/images/host:1/a/b/json"));
    assert!(fits("/images/{name}", "/images/a/b"));
    assert!(fits("/containers/{id}/attach/ws", "/containers/x/attach/ws"));
    assert!(!fits("/volumes/{name}", "/volumes/a/b"));
    assert!(!fits("/containers/{id}/json", "/containers/json"));
}
