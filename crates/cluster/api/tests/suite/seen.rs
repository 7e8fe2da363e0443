//! Which verbs of which resources the tests have seen at work: what a server was asked and answered becomes words of
//! facts/api-1.36.txt with their state, one file a test in `target/kubernetes-api`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use hako_api::{Exchange, Recorder};
use http::{Method, StatusCode};
use parking_lot::Mutex;

/// Every resource of the stable groups of version 1.36, and of what is served besides, with its verbs, one a line, `GROUP/VERSION RESOURCE[/PART] VERB...`,
/// and the paths that are not of resources, `- PATH get`.
const FACTS: &str = include_str!("../facts/api-1.36.txt");

/// The four formats of patches, by the words of the table.
pub const PATCHES: [(&str, &str); 4] = [
    ("patch:json", "application/json-patch+json"),
    ("patch:merge", "application/merge-patch+json"),
    ("patch:strategic", "application/strategic-merge-patch+json"),
    ("patch:apply", "application/apply-patch+yaml"),
];

/// A line of the facts.
#[derive(Clone, Debug)]
pub struct Fact {
    pub group_version: &'static str,
    /// The resource with its part, or a path.
    pub resource: &'static str,
    /// With a verb for each format of patches.
    pub verbs: Vec<&'static str>,
}

pub fn facts() -> impl Iterator<Item = Fact> {
    FACTS.lines().map(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let (group_version, resource) = (word(), word());
        // To a proxy all patches are alike.
        let is_proxy = resource.ends_with("/proxy");
        let formats = |verb| match verb {
            "patch" if !is_proxy => PATCHES.map(|(name, _)| name).to_vec(),
            verb => vec![verb],
        };
        Fact { group_version, resource, verbs: words.flat_map(formats).collect() }
    })
}

/// Where the files are.
pub fn directory() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("kubernetes-api")
}

/// What each test of this process has seen, by the name of its thread.
static SEEN: LazyLock<Mutex<BTreeMap<String, BTreeSet<String>>>> = LazyLock::new(Mutex::default);

/// Keeps what is asked for the test that runs on this thread.
pub fn recorder() -> Recorder {
    let test = std::thread::current().name().unwrap_or("main").to_owned();
    Recorder::new(move |exchange| {
        if let Some(line) = line(&exchange) {
            SEEN.lock().entry(test.clone()).or_default().insert(line);
        }
    })
}

/// Writes down what this thread's test has seen. A test that was run by itself overwrites what it saw before.
pub fn write() {
    let test = std::thread::current().name().unwrap_or("main").to_owned();
    let seen = SEEN.lock();
    let Some(lines) = seen.get(&test) else { return };
    std::fs::create_dir_all(directory()).unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(directory().join(test.replace("::", ".")), text).unwrap();
}

/// `GROUP/VERSION RESOURCE[/PART] VERB` of an exchange that came to something.
fn line(exchange: &Exchange) -> Option<String> {
    let works = exchange.status.is_success() || exchange.status == StatusCode::SWITCHING_PROTOCOLS;
    if !works {
        return None;
    }
    let segments: Vec<&str> = exchange.path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (group_version, rest) = match segments[..] {
        ["api", version, ref rest @ ..] if !rest.is_empty() => (version.to_owned(), rest),
        ["apis", group, version, ref rest @ ..] if !rest.is_empty() => (format!("{group}/{version}"), rest),
        _ => return Some(format!("- {} get", template(&segments))),
    };
    let (resource, has_name) = resource(rest)?;
    let is_proxy = resource.ends_with("/proxy");
    Some(format!("{group_version} {resource} {}", verb(exchange, has_name, is_proxy)?))
}

/// The path of a document or a check, with its variables.
fn template(segments: &[&str]) -> String {
    match segments {
        ["apis", _] => "/apis/{group}".into(),
        ["apis", _, _] => "/apis/{group}/{version}".into(),
        ["openapi", "v3", _, ..] => "/openapi/v3/{path}".into(),
        [health @ ("healthz" | "livez" | "readyz"), _] => format!("/{health}/{{check}}"),
        _ => format!("/{}", segments.join("/")),
    }
}

/// The resource with its part, and whether one object is named.
fn resource(rest: &[&str]) -> Option<(String, bool)> {
    Some(match *rest {
        ["namespaces", _, part @ ("status" | "finalize")] => (format!("namespaces/{part}"), true),
        ["namespaces", _, plural] => (plural.to_owned(), false),
        ["namespaces", _, plural, _] => (plural.to_owned(), true),
        ["namespaces", _, plural, _, part, ..] => (format!("{plural}/{part}"), true),
        [plural] => (plural.to_owned(), false),
        [plural, _] => (plural.to_owned(), true),
        [plural, _, part, ..] => (format!("{plural}/{part}"), true),
        [] => return None,
    })
}

fn verb(exchange: &Exchange, has_name: bool, is_proxy: bool) -> Option<&'static str> {
    Some(match (&exchange.method, has_name) {
        (&Method::GET, true) => "get",
        (&Method::GET, false) if exchange.is_watch => "watch",
        (&Method::GET, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) if is_proxy => "patch",
        (&Method::PATCH, _) => {
            let format = exchange.content_type.split(';').next().unwrap_or_default().trim();
            PATCHES.iter().find(|(_, known)| *known == format)?.0
        }
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => return None,
    })
}

#[test]
fn paths_say_what_is_asked_for() {
    let told = |method: Method, path: &str, status: u16| {
        let status = StatusCode::from_u16(status).unwrap();
        let content_type = "application/merge-patch+json; charset=utf-8".to_owned();
        line(&Exchange { method, path: path.into(), is_watch: false, content_type, status })
    };
    for (method, path, expected) in [
        (Method::GET, "/api/v1/pods", "v1 pods list"),
        (Method::PATCH, "/apis/apps/v1/namespaces/n/deployments/d", "apps/v1 deployments patch:merge"),
        (Method::PUT, "/api/v1/namespaces/n/status", "v1 namespaces/status update"),
        (Method::GET, "/api/v1/namespaces/n/status", "v1 namespaces/status get"),
        (Method::DELETE, "/api/v1/namespaces/n/pods", "v1 pods deletecollection"),
        (Method::POST, "/api/v1/nodes/x/proxy/a/b", "v1 nodes/proxy create"),
        (Method::PATCH, "/api/v1/namespaces/n/pods/p/proxy/a", "v1 pods/proxy patch"),
        (Method::GET, "/readyz/store", "- /readyz/{check} get"),
        (Method::GET, "/apis/apps", "- /apis/{group} get"),
    ] {
        assert_eq!(told(method, path, 200).as_deref(), Some(expected));
    }
    assert_eq!(told(Method::GET, "/api/v1/pods", 404), None);
}
