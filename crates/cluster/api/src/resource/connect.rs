//! Connecting to what objects run and serve: `exec`, `attach`, `portforward` and `proxy`. Webhooks and policies are asked
//! about it as about a write, with what was asked for as the object.

use serde_json::{Map, Value, json};

use super::ownership::Writer;
use super::target::Target;
use crate::admission::{self, Operation};
use crate::http::{Failure, Outcome, Query, Request};
use crate::server::Inner;

/// Asks webhooks and policies about a connection.
///
/// # Errors
/// What they say; 501 where one changes what is connected to.
pub(crate) async fn admit_connection(
    server: &Inner,
    request: &Request,
    target: &Target,
    part: &str,
) -> Outcome<()> {
    let writer = Writer::of(request, part);
    let mut options = options(request, target, part);
    let before = options.clone();
    admission::ask_others(&writer.change(server, Operation::Connect, target, None), &mut options).await?;
    if options == before {
        return Ok(());
    }
    let text = "a webhook or policy changes what is connected to, which is not carried out";
    Err(Failure::from(hako_error::Error::new(hako_error::Kind::Unimplemented, text)))
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
    for stream in ["stdin", "stdout", "stderr", "tty"] {
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
