//! Which state a read shows, rule by rule as the API's documentation has them ("Resource versions", "Retrieving large
//! results sets in chunks", "Efficient detection of changes"): run in-process and over HTTPS, and for objects of
//! a definition.

use bytes::Bytes;
use hako_client::{Api, Client, DeleteOptions};
use hako_store::Store as _;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::contract::contract;
use crate::plain::Plain;
use crate::support::World;

contract!(
    plain: [
        a_list_shows_the_newest_state_unless_it_is_asked_for_another,
        a_list_at_an_exact_version_is_as_it_was_then,
        a_limit_without_a_rule_makes_a_version_exact,
        version_zero_is_any_state_and_never_an_exact_one,
        a_rule_needs_a_version_and_has_to_be_known,
        a_continued_list_takes_neither_a_version_nor_a_rule,
        a_version_that_is_no_number_is_refused,
        numbers_that_are_none_are_refused_and_those_below_zero_are_none_at_all,
        a_version_to_come_is_too_large_for_lists_and_objects,
        an_exact_version_that_is_gone_is_expired,
        a_token_that_is_too_old_comes_with_one_for_the_rest,
        a_token_of_another_collection_or_of_nobody_is_refused,
        what_is_left_is_counted_unless_something_is_selected,
        a_limit_with_a_selector_fills_its_pages,
        a_list_takes_no_initial_events,
        a_watch_without_a_version_or_from_zero_begins_with_the_present_state,
        a_watch_from_a_version_tells_what_came_after,
        a_watch_from_a_version_that_is_gone_is_expired,
        a_watch_from_a_version_to_come_tells_what_comes_after_it,
        initial_events_of_a_version_to_come_are_an_error_among_the_events,
        initial_events_and_their_rule_need_each_other,
        initial_events_end_with_an_annotated_bookmark,
        initial_events_may_be_declined,
        bookmarks_come_only_to_who_asks_for_them,
        who_names_an_object_sees_none_whose_name_only_begins_like_it,
    ],
    others: [],
);

/// Status code and body of a GET.
async fn get(client: &Client, path: &str) -> (u16, Bytes) {
    let response = client.send(http::Request::get(path).body(Bytes::new()).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    (code, response.into_body().collect().await.unwrap().to_bytes())
}

async fn list<K: Plain>(client: &Client, query: &str) -> (u16, Value) {
    let (code, body) = get(client, &format!("{}?{query}", K::PATH)).await;
    (code, serde_json::from_slice(&body).unwrap())
}

/// The lines of a watch that the server ends after a second: what is told, of whom, and the object.
async fn watch<K: Plain>(client: &Client, query: &str) -> Vec<(String, String, Value)> {
    let (code, body) = get(client, &format!("{}?watch=true&timeoutSeconds=1&{query}", K::PATH)).await;
    assert_eq!(code, 200, "{}", String::from_utf8_lossy(&body));
    let line = |line: &[u8]| {
        let mut line: Value = serde_json::from_slice(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let (told, name) = (text(&line["type"]), text(&line["object"]["metadata"]["name"]));
        (told, name, line["object"].take())
    };
    body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(line).collect()
}

fn told(lines: &[(String, String, Value)]) -> Vec<(&str, &str)> {
    lines.iter().map(|(told, name, _)| (told.as_str(), name.as_str())).collect()
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn all<K: Plain>(client: &Client) -> Api<K> {
    client.namespaced("default")
}

/// Makes objects of the label `x`; answers the version after the last.
async fn fill<K: Plain>(client: &Client, names: &[&str]) -> String {
    let mut version = String::new();
    for name in names {
        let made = all::<K>(client).create(&K::labelled(name, "x")).await.unwrap();
        version = made.metadata().resource_version.clone().unwrap();
    }
    version
}

async fn forget(world: &World) {
    let now = world.store.revision().await.unwrap();
    world.store.compact(now).await.unwrap();
}

/// A refusal of the options themselves, with its message.
fn assert_refused((code, status): &(u16, Value), message: &str) {
    assert_eq!((*code, status["reason"].as_str().unwrap()), (422, "Invalid"), "{status}");
    assert_eq!(status["details"]["kind"], "ListOptions");
    let text = status["message"].as_str().unwrap();
    assert!(
        text.starts_with("ListOptions.meta.k8s.io \"\" is invalid: ") && text.contains(message),
        "{text}"
    );
}

async fn a_list_shows_the_newest_state_unless_it_is_asked_for_another<K: Plain>(_: &World, client: Client) {
    let then = fill::<K>(&client, &["a"]).await;
    let now = fill::<K>(&client, &["b"]).await;
    let not_older = format!("resourceVersion={then}&resourceVersionMatch=NotOlderThan");
    let limited = format!("{not_older}&limit=5");
    for query in ["", &format!("resourceVersion={then}"), &not_older, &limited] {
        let (code, list) = list::<K>(&client, query).await;
        assert_eq!((code, names(&list)), (200, vec!["a", "b"]), "{query}");
        let shown: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(shown >= now.parse().unwrap());
    }
}

async fn a_list_at_an_exact_version_is_as_it_was_then<K: Plain>(_: &World, client: Client) {
    let then = fill::<K>(&client, &["a", "b"]).await;
    fill::<K>(&client, &["c"]).await;
    all::<K>(&client).delete("a", &DeleteOptions::default()).await.unwrap();
    for limit in ["", "&limit=5"] {
        let query = format!("resourceVersion={then}&resourceVersionMatch=Exact{limit}");
        let (code, list) = list::<K>(&client, &query).await;
        assert_eq!((code, names(&list)), (200, vec!["a", "b"]));
        assert_eq!(list["metadata"]["resourceVersion"], then.as_str());
    }
}

async fn a_limit_without_a_rule_makes_a_version_exact<K: Plain>(_: &World, client: Client) {
    let then = fill::<K>(&client, &["a", "b"]).await;
    fill::<K>(&client, &["c"]).await;
    let (_, first) = list::<K>(&client, &format!("resourceVersion={then}&limit=1")).await;
    assert_eq!((names(&first), &first["metadata"]["resourceVersion"]), (vec!["a"], &json!(then)));
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = list::<K>(&client, &format!("limit=5&continue={token}")).await;
    assert_eq!(names(&rest), ["b"]);
}

async fn version_zero_is_any_state_and_never_an_exact_one<K: Plain>(_: &World, client: Client) {
    fill::<K>(&client, &["a", "b"]).await;
    for rule in ["", "&resourceVersionMatch=NotOlderThan", "&limit=5"] {
        let (code, list) = list::<K>(&client, &format!("resourceVersion=0{rule}")).await;
        assert_eq!((code, names(&list)), (200, vec!["a", "b"]), "{rule}");
    }
    let exact = list::<K>(&client, "resourceVersion=0&resourceVersionMatch=Exact").await;
    assert_refused(
        &exact,
        "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for",
    );
}

async fn a_rule_needs_a_version_and_has_to_be_known<K: Plain>(_: &World, client: Client) {
    for rule in ["Exact", "NotOlderThan"] {
        let refused = list::<K>(&client, &format!("resourceVersionMatch={rule}")).await;
        assert_refused(&refused, "resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    let refused = list::<K>(&client, "resourceVersion=1&resourceVersionMatch=Newest").await;
    assert_refused(&refused, "resourceVersionMatch: Unsupported value: \"Newest\"");
}

async fn a_continued_list_takes_neither_a_version_nor_a_rule<K: Plain>(_: &World, client: Client) {
    let then = fill::<K>(&client, &["a", "b"]).await;
    let (_, first) = list::<K>(&client, "limit=1").await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (code, status) = list::<K>(&client, &format!("continue={token}&resourceVersion={then}")).await;
    let text = "specifying resource version is not allowed when using continue";
    assert_eq!((code, &status["message"]), (400, &json!(text)));
    let ruled = format!("continue={token}&resourceVersion={then}&resourceVersionMatch=Exact");
    assert_refused(
        &list::<K>(&client, &ruled).await,
        "resourceVersionMatch is forbidden when continue is provided",
    );
    let (code, rest) = list::<K>(&client, &format!("continue={token}&resourceVersion=0")).await;
    assert_eq!((code, names(&rest)), (200, vec!["b"]));
}

async fn a_version_that_is_no_number_is_refused<K: Plain>(_: &World, client: Client) {
    fill::<K>(&client, &["a"]).await;
    // As upstream has it, only lists take it for the fault of who asked.
    for (path, version, code, head) in [
        ("", "x", 400, "invalid resource version: "),
        ("", "99999999999999999999", 400, "invalid resource version: "),
        ("/a", "x", 500, ""),
        ("", "-1&watch=true", 500, ""),
        ("", "%2B1&watch=true", 500, ""),
    ] {
        let (status, body) = get(&client, &format!("{}{path}?resourceVersion={version}", K::PATH)).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let shown = version.replace("&watch=true", "").replace("%2B", "+");
        let why = if shown.len() > 9 { "value out of range" } else { "invalid syntax" };
        let told = format!(
            "{head}resourceVersion: Invalid value: {shown:?}: strconv.ParseUint: parsing {shown:?}: {why}"
        );
        assert_eq!((status, body["message"].as_str()), (code, Some(told.as_str())), "{path} {version}");
    }
}

async fn numbers_that_are_none_are_refused_and_those_below_zero_are_none_at_all<K: Plain>(
    _: &World,
    client: Client,
) {
    fill::<K>(&client, &["a", "b"]).await;
    for (query, told) in [
        ("limit=abc", "strconv.ParseInt: parsing \"abc\": invalid syntax"),
        ("limit=", "strconv.ParseInt: parsing \"\": invalid syntax"),
        ("limit=1.5", "strconv.ParseInt: parsing \"1.5\": invalid syntax"),
        (
            "limit=9223372036854775808",
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range",
        ),
        ("timeoutSeconds=abc&limit=x", "strconv.ParseInt: parsing \"abc\": invalid syntax"),
        ("watch=true&limit=abc", "strconv.ParseInt: parsing \"abc\": invalid syntax"),
        ("watch=true&timeoutSeconds=1s", "strconv.ParseInt: parsing \"1s\": invalid syntax"),
    ] {
        let (status, body) = list::<K>(&client, query).await;
        assert_eq!((status, body["message"].as_str()), (400, Some(told)), "{query}");
    }
    let (status, all) = list::<K>(&client, "limit=-1&watch=FALSE&timeoutSeconds=-1").await;
    assert_eq!((status, all["items"].as_array().unwrap().len()), (200, 2));
    assert!(all["metadata"].get("continue").is_none());
    let (status, told) = get(&client, &format!("{}?watch=f&timeoutSeconds=1", K::PATH)).await;
    let told = String::from_utf8(told.to_vec()).unwrap();
    assert!(status == 200 && told.lines().all(|line| line.starts_with("{\"type\":\"ADDED\"")), "{told}");
}

async fn a_version_to_come_is_too_large_for_lists_and_objects<K: Plain>(_: &World, client: Client) {
    let now: u64 = fill::<K>(&client, &["a"]).await.parse().unwrap();
    assert_eq!(get(&client, &format!("{}/a?resourceVersion={now}", K::PATH)).await.0, 200);
    let later = now + 1_000_000;
    for path in [
        format!("{}/a?resourceVersion={later}", K::PATH),
        format!("{}?resourceVersion={later}", K::PATH),
        format!("{}?resourceVersion={later}&resourceVersionMatch=NotOlderThan", K::PATH),
        format!("{}?resourceVersion={later}&resourceVersionMatch=Exact", K::PATH),
    ] {
        let (code, body) = get(&client, &path).await;
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((code, status["reason"].as_str()), (504, Some("Timeout")), "{path}");
        assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
        assert_eq!(status["details"]["retryAfterSeconds"], 1);
    }
}

async fn an_exact_version_that_is_gone_is_expired<K: Plain>(world: &World, client: Client) {
    let then = fill::<K>(&client, &["a"]).await;
    fill::<K>(&client, &["b"]).await;
    forget(world).await;
    let (code, status) =
        list::<K>(&client, &format!("resourceVersion={then}&resourceVersionMatch=Exact")).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
}

async fn a_token_that_is_too_old_comes_with_one_for_the_rest<K: Plain>(world: &World, client: Client) {
    fill::<K>(&client, &["a", "b", "d"]).await;
    let (_, first) = list::<K>(&client, "limit=1").await;
    let old = first["metadata"]["continue"].as_str().unwrap();
    fill::<K>(&client, &["c"]).await;
    forget(world).await;
    let (code, status) = list::<K>(&client, &format!("limit=2&continue={old}")).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    let text = status["message"].as_str().unwrap();
    assert!(text.contains("or use the continue token in this response"), "{text}");
    let token = status["metadata"]["continue"].as_str().unwrap();
    let (code, next) = list::<K>(&client, &format!("limit=2&continue={token}")).await;
    assert_eq!((code, names(&next)), (200, vec!["b", "c"]), "the rest is as it is now");
    let token = next["metadata"]["continue"].as_str().unwrap();
    let (_, last) = list::<K>(&client, &format!("limit=2&continue={token}")).await;
    assert_eq!((names(&last), last["metadata"].get("continue")), (vec!["d"], None));
}

async fn a_token_of_another_collection_or_of_nobody_is_refused<K: Plain>(_: &World, client: Client) {
    fill::<K>(&client, &["a", "b"]).await;
    let (_, first) = list::<K>(&client, "limit=1").await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let elsewhere = K::PATH.replace("default", "kube-system");
    let other = format!("{elsewhere}?limit=1&continue={token}");
    assert_eq!(get(&client, &other).await.0, 400);
    let (status, told) = list::<K>(&client, "limit=1&continue=rubbish").await;
    assert_eq!(status, 400);
    let told = told["message"].as_str().unwrap();
    assert!(told.starts_with("invalid continue token: continue key is not valid"), "{told}");
}

async fn what_is_left_is_counted_unless_something_is_selected<K: Plain>(_: &World, client: Client) {
    fill::<K>(&client, &["a", "b", "c"]).await;
    let (_, page) = list::<K>(&client, "limit=1").await;
    assert_eq!(page["metadata"]["remainingItemCount"], 2);
    for selector in ["labelSelector=app%3Dx", "fieldSelector=metadata.name!%3Dc"] {
        let (_, page) = list::<K>(&client, &format!("limit=1&{selector}")).await;
        assert!(page["metadata"].get("continue").is_some(), "{page}");
        assert!(page["metadata"].get("remainingItemCount").is_none(), "{page}");
    }
    let (_, whole) = list::<K>(&client, "limit=3").await;
    assert!(whole["metadata"].get("continue").is_none());
    assert!(whole["metadata"].get("remainingItemCount").is_none());
}

async fn a_limit_with_a_selector_fills_its_pages<K: Plain>(_: &World, client: Client) {
    for at in 0..12 {
        let label = if at % 3 == 0 { "x" } else { "y" };
        all::<K>(&client).create(&K::labelled(&format!("c{at:02}"), label)).await.unwrap();
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let (_, page) = list::<K>(&client, &format!("labelSelector=app%3Dx&limit=3&continue={token}")).await;
        seen.push(names(&page).into_iter().map(str::to_owned).collect::<Vec<_>>());
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.concat(), ["c00", "c03", "c06", "c09"]);
    assert_eq!(seen[0].len(), 3);
}

async fn a_list_takes_no_initial_events<K: Plain>(_: &World, client: Client) {
    let refused = list::<K>(&client, "sendInitialEvents=true").await;
    assert_refused(&refused, "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
}

async fn a_watch_without_a_version_or_from_zero_begins_with_the_present_state<K: Plain>(
    _: &World,
    client: Client,
) {
    fill::<K>(&client, &["a", "b"]).await;
    let (unset, zero) = tokio::join!(watch::<K>(&client, ""), watch::<K>(&client, "resourceVersion=0"));
    for lines in [unset, zero] {
        assert_eq!(told(&lines), [("ADDED", "a"), ("ADDED", "b")]);
    }
}

async fn a_watch_from_a_version_tells_what_came_after<K: Plain>(_: &World, client: Client) {
    let then = fill::<K>(&client, &["a"]).await;
    fill::<K>(&client, &["b"]).await;
    all::<K>(&client).delete("a", &DeleteOptions::default()).await.unwrap();
    let lines = watch::<K>(&client, &format!("resourceVersion={then}")).await;
    assert_eq!(told(&lines), [("ADDED", "b"), ("DELETED", "a")]);
}

async fn a_watch_from_a_version_that_is_gone_is_expired<K: Plain>(world: &World, client: Client) {
    let then = fill::<K>(&client, &["a"]).await;
    fill::<K>(&client, &["b"]).await;
    forget(world).await;
    // Not in the answer's code: watchers of other people look for it among the events.
    let lines = watch::<K>(&client, &format!("resourceVersion={then}")).await;
    let [(told, _, status)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(
        (told.as_str(), &status["code"], &status["reason"]),
        ("ERROR", &json!(410), &json!("Expired"))
    );
}

async fn a_watch_from_a_version_to_come_tells_what_comes_after_it<K: Plain>(_: &World, client: Client) {
    let now: u64 = fill::<K>(&client, &["a"]).await.parse().unwrap();
    let query = format!("resourceVersion={}&allowWatchBookmarks=true", now + 1_000_000);
    assert_eq!(told(&watch::<K>(&client, &query).await), []);
    // Other parts of the server may write meanwhile, and each of these writes is one version at least.
    let path = format!("{}?watch=true&resourceVersion={}&labelSelector=app%3Dx", K::PATH, now + 30);
    let request = http::Request::get(path).body(Bytes::new()).unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    let mut versions = Vec::new();
    for count in 0..40 {
        versions.push(fill::<K>(&client, &[&format!("later-{count}")]).await.parse::<u64>().unwrap());
    }
    let first = versions.into_iter().find(|version| *version > now + 30).unwrap();
    let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let line: Value = serde_json::from_slice(line.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(line["object"]["metadata"]["resourceVersion"], first.to_string());
}

async fn initial_events_of_a_version_to_come_are_an_error_among_the_events<K: Plain>(
    _: &World,
    client: Client,
) {
    let now: u64 = fill::<K>(&client, &["a"]).await.parse().unwrap();
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let lines = watch::<K>(&client, &format!("{query}&resourceVersion={}", now + 1_000_000)).await;
    let [(told, _, status)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(
        (told.as_str(), &status["code"], &status["reason"]),
        ("ERROR", &json!(504), &json!("Timeout"))
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

async fn initial_events_and_their_rule_need_each_other<K: Plain>(_: &World, client: Client) {
    let refused = async |query: &str| list::<K>(&client, &format!("watch=true&{query}")).await;
    for query in [
        "sendInitialEvents=true",
        "sendInitialEvents=false",
        "sendInitialEvents=true&resourceVersionMatch=Exact",
    ] {
        assert_refused(
            &refused(query).await,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
    }
    let alone = refused("resourceVersionMatch=NotOlderThan&resourceVersion=1").await;
    assert_refused(
        &alone,
        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
    );
}

async fn initial_events_end_with_an_annotated_bookmark<K: Plain>(_: &World, client: Client) {
    let now = fill::<K>(&client, &["a", "b"]).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    for version in ["", "0", &now] {
        let lines = watch::<K>(&client, &format!("{query}&resourceVersion={version}")).await;
        assert_eq!(told(&lines)[..3], [("ADDED", "a"), ("ADDED", "b"), ("BOOKMARK", "")], "{version:?}");
        let bookmark = &lines[2].2;
        assert_eq!((&bookmark["kind"], &bookmark["apiVersion"]), (&json!(K::KIND), &json!(K::API_VERSION)));
        let metadata = &bookmark["metadata"];
        assert_eq!(metadata["annotations"], json!({"k8s.io/initial-events-end": "true"}));
        let shown: u64 = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(shown >= now.parse().unwrap());
        for later in &lines[3..] {
            assert!(
                later.2["metadata"].get("annotations").is_none(),
                "only that bookmark is marked: {later:?}"
            );
        }
    }
}

async fn initial_events_may_be_declined<K: Plain>(_: &World, client: Client) {
    fill::<K>(&client, &["a"]).await;
    let lines = watch::<K>(&client, "sendInitialEvents=false&resourceVersionMatch=NotOlderThan").await;
    assert_eq!(told(&lines), []);
}

async fn bookmarks_come_only_to_who_asks_for_them<K: Plain>(_: &World, client: Client) {
    let then = fill::<K>(&client, &["a"]).await;
    // Nothing that is selected happens any more, and still the version moves on.
    fill::<K>(&client, &["other"]).await;
    let query = format!("resourceVersion={then}&fieldSelector=metadata.name%3Da");
    let asked = format!("{query}&allowWatchBookmarks=true");
    let (without, with) = tokio::join!(watch::<K>(&client, &query), watch::<K>(&client, &asked));
    assert_eq!(told(&without), []);
    assert_eq!(told(&with), [("BOOKMARK", "")]);
    let shown: u64 = with[0].2["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(shown > then.parse().unwrap());
}

async fn who_names_an_object_sees_none_whose_name_only_begins_like_it<K: Plain>(_: &World, client: Client) {
    let then = fill::<K>(&client, &["a"]).await;
    fill::<K>(&client, &["a-b", "ab"]).await;
    all::<K>(&client).delete("a", &DeleteOptions::default()).await.unwrap();
    fill::<K>(&client, &["a"]).await;
    let (_, listed) = list::<K>(&client, "fieldSelector=metadata.name%3Da").await;
    assert_eq!(names(&listed), ["a"]);
    let query = format!("fieldSelector=metadata.name%3Da&resourceVersion={then}");
    assert_eq!(told(&watch::<K>(&client, &query).await), [("DELETED", "a"), ("ADDED", "a")]);
    let everywhere = K::PATH.replace("/namespaces/default", "");
    let (code, body) = get(&client, &format!("{everywhere}?fieldSelector=metadata.name%3Dab")).await;
    assert_eq!((code, names(&serde_json::from_slice(&body).unwrap())), (200, vec!["ab"]));
}
