//! Connecting to what objects run and serve: `exec`, `attach`, `portforward` and `proxy`. Webhooks and policies are asked
//! about it as about a write, with what was asked for as the object, and what they make of that is carried out.

use serde_json::{Map, Value, json};

use super::ownership::Writer;
use super::target::Target;
use crate::admission::{self, Operation};
use crate::http::{Failure, Outcome, Query, Request};
use crate::proxy;
use crate::server::Inner;

/// What `exec` and `attach` are told in a query.
const STREAMS: [&str; 4] = ["stdin", "stdout", "stderr", "tty"];
const SESSION: [&str; 6] = ["stdin", "stdout", "stderr", "tty", "container", "command"];

/// Asks webhooks and policies about a connection, and puts what they make of it into the request.
///
/// # Errors
/// What they say; 500 where what they make is nothing that can be connected to.
pub(crate) async fn admit_connection(
    server: &Inner,
    request: &mut Request,
    target: &Target,
    part: &str,
) -> Outcome<()> {
    let before = options(request, target, part);
    let mut options = before.clone();
    {
        let writer = Writer::of(request, part);
        admission::ask_others(&writer.change(server, Operation::Connect, target, None), &mut options).await?;
    }
    if options == before {
        return Ok(());
    }
    take(request, part, &options).map_err(|field| {
        let kind = options.get("kind").and_then(Value::as_str).unwrap_or("");
        let text = format!("a webhook made of {kind} what is none: {field} has the wrong type");
        Failure::from(hako_error::Error::new(hako_error::Kind::Internal, text))
    })
}

/// What was asked for, as the options of core/v1.
fn options(request: &Request, target: &Target, part: &str) -> Value {
    let kind = target.row.subresource(part).map_or("", |part| &*part.kind);
    let mut options = Map::new();
    options.insert("kind".to_owned(), kind.into());
    options.insert("apiVersion".to_owned(), "v1".into());
    let query = &request.query;
    match part {
        "proxy" => {
            let path = request.path.split_once("/proxy").map_or("", |(_, path)| path);
            options.insert("path".to_owned(), path.into());
        }
        "portforward" => {
            let ports: Vec<i64> = query
                .all("ports")
                .flat_map(|ports| ports.split(','))
                .filter_map(|it| it.parse().ok())
                .collect();
            if !ports.is_empty() {
                options.insert("ports".to_owned(), json!(ports));
            }
        }
        _ => session(query, &mut options),
    }
    Value::Object(options)
}

fn session(query: &Query, options: &mut Map<String, Value>) {
    for stream in STREAMS {
        if query.flag(stream) {
            options.insert(stream.to_owned(), true.into());
        }
    }
    if let Some(container) = query.text("container") {
        options.insert("container".to_owned(), container.into());
    }
    let command: Vec<&str> = query.all("command").collect();
    if !command.is_empty() {
        options.insert("command".to_owned(), json!(command));
    }
}

/// Makes a request that which asks for these options; the error is the field that has the wrong type.
fn take(request: &mut Request, part: &str, options: &Value) -> Result<(), &'static str> {
    match part {
        "proxy" => {
            let path = text(options, "path")?.unwrap_or("");
            if let Some(path) = proxy::onto(&request.path, path) {
                request.path = path;
            }
        }
        "portforward" => request.query.replace(&["ports"], &ports(options)?),
        _ => request.query.replace(&SESSION, &pairs(options)?),
    }
    Ok(())
}

fn given<'a>(options: &'a Value, name: &str) -> Option<&'a Value> {
    options.get(name).filter(|value| !value.is_null())
}

fn text<'a>(options: &'a Value, name: &'static str) -> Result<Option<&'a str>, &'static str> {
    given(options, name).map(|value| value.as_str().ok_or(name)).transpose()
}

fn list<'a>(options: &'a Value, name: &'static str) -> Result<&'a [Value], &'static str> {
    given(options, name).map_or(Ok(&[][..]), |value| value.as_array().map(Vec::as_slice).ok_or(name))
}

fn ports(options: &Value) -> Result<Vec<(&'static str, String)>, &'static str> {
    let port = |port: &Value| port.as_i64().map(|port| ("ports", port.to_string())).ok_or("ports");
    list(options, "ports")?.iter().map(port).collect()
}

/// The query of a session.
fn pairs(options: &Value) -> Result<Vec<(&'static str, String)>, &'static str> {
    let mut pairs = Vec::new();
    for word in list(options, "command")? {
        pairs.push(("command", word.as_str().ok_or("command")?.to_owned()));
    }
    if let Some(container) = text(options, "container")?.filter(|container| !container.is_empty()) {
        pairs.push(("container", container.to_owned()));
    }
    for stream in STREAMS {
        if given(options, stream).map_or(Ok(false), |value| value.as_bool().ok_or(stream))? {
            pairs.push((stream, "true".to_owned()));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_a_session_is_its_query_and_other_types_are_refused_by_name() {
        let mut query = Query::parse("command=ls&stdout=1&x=y");
        let made = json!({"command": ["a b", "c"], "container": "side", "tty": true, "stdout": false});
        query.replace(&SESSION, &pairs(&made).unwrap());
        assert_eq!(query.raw(), "x=y&command=a%20b&command=c&container=side&tty=true");
        assert!(query.flag("tty") && !query.flag("stdout"));
        for (made, field) in [
            (json!({"command": "ls"}), "command"),
            (json!({"command": [1]}), "command"),
            (json!({"container": {}}), "container"),
            (json!({"stdin": "yes"}), "stdin"),
        ] {
            assert_eq!(pairs(&made), Err(field));
        }
        assert_eq!(ports(&json!({"ports": [80, 81]})).unwrap().len(), 2);
        assert_eq!(ports(&json!({"ports": ["80"]})), Err("ports"));
    }
}
