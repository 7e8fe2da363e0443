//! What an aggregated server says of its resources, in the form of aggregated discovery.

use serde_json::{Value, json};

/// Of an `APIResourceList` (meta/v1) the resources of an `APIVersionDiscovery` (`apidiscovery.k8s.io`); none if it is no
/// such list. A resource without a name or a kind is left out, and so is a part of none.
pub(super) fn of(group: &str, version: &str, list: &Value) -> Option<Value> {
    if list.get("kind")?.as_str()? != "APIResourceList" {
        return None;
    }
    let mut found: Vec<Value> = Vec::new();
    for resource in list.get("resources")?.as_array()? {
        let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or("");
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        let (name, kind) = (text("name"), text("kind"));
        if name.is_empty() || kind.is_empty() {
            continue;
        }
        let response =
            json!({"group": or(text("group"), group), "version": or(text("version"), version), "kind": kind});
        match name.split_once('/') {
            None => found.push(whole(resource, name, &response)),
            Some((whole, part)) => {
                let part =
                    json!({"subresource": part, "responseKind": response, "verbs": texts(resource, "verbs")});
                add_part(&mut found, whole, part);
            }
        }
    }
    Some(Value::Array(found))
}

fn whole(resource: &Value, name: &str, response: &Value) -> Value {
    let is_namespaced = resource.get("namespaced").and_then(Value::as_bool).unwrap_or_default();
    let singular = resource.get("singularName").and_then(Value::as_str).unwrap_or("");
    let mut whole = json!({
        "resource": name, "responseKind": response, "scope": if is_namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": singular, "verbs": texts(resource, "verbs"),
    });
    for list in ["shortNames", "categories"] {
        let texts = texts(resource, list);
        if !texts.is_empty() {
            whole[list] = json!(texts);
        }
    }
    whole
}

fn add_part(found: &mut [Value], whole: &str, part: Value) {
    let Some(whole) = found.iter_mut().find(|it| it["resource"] == whole) else { return };
    match whole["subresources"].as_array_mut() {
        Some(parts) => parts.push(part),
        None => whole["subresources"] = json!([part]),
    }
}

fn texts<'a>(resource: &'a Value, name: &str) -> Vec<&'a str> {
    let list = resource.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_resources_with_their_parts_and_what_is_none_is_left_out() {
        let list = json!({"kind": "APIResourceList", "groupVersion": "g.example/v1", "resources": [
            {"name": "foos", "singularName": "foo", "namespaced": true, "kind": "Foo", "verbs": ["get", 7],
             "shortNames": ["f"]},
            {"name": "foos/scale", "namespaced": true, "kind": "Scale", "group": "autoscaling", "version": "v1",
             "verbs": ["get"]},
            {"name": "bars/status", "kind": "Bar", "verbs": []},
            {"name": "", "kind": "None"}, {"name": 1}, "text",
        ]});
        let wanted = json!([{
            "resource": "foos", "singularResource": "foo", "scope": "Namespaced", "verbs": ["get"],
            "shortNames": ["f"], "responseKind": {"group": "g.example", "version": "v1", "kind": "Foo"},
            "subresources": [{"subresource": "scale", "verbs": ["get"],
                "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}],
        }]);
        assert_eq!(of("g.example", "v1", &list), Some(wanted));
        for rubbish in [json!({"kind": "Status"}), json!([]), json!({"kind": "APIResourceList"}), json!("x")]
        {
            assert_eq!(of("g", "v1", &rubbish), None, "{rubbish}");
        }
    }
}
