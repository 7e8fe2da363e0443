//! `changes=CMD ["sh"]` and the like: Dockerfile instructions without a step, for imports and commits.

use crate::error::{Failure, invalid};
use crate::params::Params;
use serde_json::{Value, json};

/// Applies the request's changes to the `config` of an image's configuration.
pub(crate) fn apply(params: &Params, config: &mut Value) -> Result<(), Failure> {
    for change in params.all("changes") {
        let (word, rest) = change.trim().split_once(char::is_whitespace).unwrap_or((change, ""));
        let rest = rest.trim();
        let words = || {
            serde_json::from_str::<Vec<String>>(rest)
                .unwrap_or_else(|_| vec!["/bin/sh".into(), "-c".into(), rest.into()])
        };
        match word.to_ascii_uppercase().as_str() {
            "CMD" => config["Cmd"] = json!(words()),
            "ENTRYPOINT" => config["Entrypoint"] = json!(words()),
            "ENV" => {
                let pair = if rest.contains('=') {
                    rest.to_owned()
                } else {
                    rest.replacen(char::is_whitespace, "=", 1)
                };
                let mut env = config["Env"].as_array().cloned().unwrap_or_default();
                let name = pair.split_once('=').map_or(pair.as_str(), |(name, _)| name).to_owned() + "=";
                env.retain(|old| !old.as_str().is_some_and(|old| old.starts_with(&name)));
                env.push(json!(pair));
                config["Env"] = json!(env);
            }
            "USER" => config["User"] = json!(rest),
            "WORKDIR" => config["WorkingDir"] = json!(rest),
            "EXPOSE" => {
                config["ExposedPorts"]
                    [if rest.contains('/') { rest.to_owned() } else { format!("{rest}/tcp") }] = json!({})
            }
            "LABEL" => {
                let (key, value) = rest
                    .split_once('=')
                    .ok_or_else(|| invalid(format!("change {change:?} is not LABEL key=value")))?;
                config["Labels"][key] = json!(value.trim_matches('"'));
            }
            "STOPSIGNAL" => config["StopSignal"] = json!(rest),
            "VOLUME" => config["Volumes"][rest.trim_matches(['[', ']', '"'])] = json!({}),
            _ => {
                return Err(invalid(format!(
                    "change {change:?} is none of CMD, ENTRYPOINT, ENV, USER, WORKDIR, EXPOSE, LABEL, STOPSIGNAL, VOLUME"
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::FromRequestParts;

    #[tokio::test]
    async fn changes_become_configuration() {
        let uri = "/?changes=CMD+%5B%22sh%22%5D&changes=ENV+A+1&changes=EXPOSE+80&changes=LABEL+a%3Db";
        let mut parts = http::Request::builder().uri(uri).body(()).unwrap().into_parts().0;
        let params = Params::from_request_parts(&mut parts, &()).await.unwrap();
        let mut config = json!({ "Env": ["A=0", "B=2"], "Cmd": ["old"] });
        apply(&params, &mut config).unwrap();
        let expected = json!({
            "Env": ["B=2", "A=1"], "Cmd": ["sh"], "ExposedPorts": { "80/tcp": {} }, "Labels": { "a": "b" },
        });
        assert_eq!(config, expected);
    }
}
