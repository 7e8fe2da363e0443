//! `GET /containers/{id}/top`: a container's processes as the host's `ps` shows them.

use crate::DockerState;
use crate::error::{Answer, Failure, invalid};
use crate::events::note;
use crate::params::Params;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use hako_container::ContainerEngine;
use hako_error::{Error, Kind};
use serde_json::{Value, json};
use std::collections::HashSet;
use tokio::process::Command;

const DEFAULT: &str = "-ef";

pub(crate) async fn top(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let pids: HashSet<u32> = state.engine.processes(&id).await?.into_iter().collect();
    let args = params.get("ps_args").unwrap_or(DEFAULT);
    let run = Command::new("ps").args(args.split_whitespace()).env("LC_ALL", "C").kill_on_drop(true).output();
    let failed = |error| Failure(Error::new(Kind::Internal, "cannot run ps on the host").with_source(error));
    let output = run.await.map_err(failed)?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(invalid(format!("ps {args}: {}", why.trim())));
    }
    let shown = table(&String::from_utf8_lossy(&output.stdout), &pids);
    let shown = shown.ok_or_else(|| invalid(format!("ps {args}: couldn't find PID field in ps output")))?;
    note(&state, &id, "top").await;
    Ok(Json(shown).into_response())
}

/// The rows of `pids`; `None` where no column is the process id. The last column takes what is left of a line.
fn table(text: &str, pids: &HashSet<u32>) -> Option<Value> {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next()?.split_whitespace().collect();
    let place = titles.iter().position(|title| *title == "PID")?;
    let cells = |line: &'_ str| -> Option<Vec<String>> {
        let mut cells: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if cells.len() > titles.len() {
            let rest = cells.split_off(titles.len() - 1).join(" ");
            cells.push(rest);
        }
        let pid = cells.get(place)?.parse().ok()?;
        pids.contains(&pid).then_some(cells)
    };
    let rows: Vec<Vec<String>> = lines.filter_map(cells).collect();
    Some(json!({ "Titles": titles, "Processes": rows }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_others_are_left_out_and_the_command_keeps_its_words() {
        let text = "UID PID CMD\nroot 1 init\nroot 22 sh -c sleep 9\n";
        let shown = table(text, &HashSet::from([22])).unwrap();
        assert_eq!(
            shown,
            json!({ "Titles": ["UID", "PID", "CMD"], "Processes": [["root", "22", "sh -c sleep 9"]] })
        );
        assert_eq!(table("CMD\ninit\n", &HashSet::from([1])), None);
    }
}
