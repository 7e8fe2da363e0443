//! `POST /images/create`: a root file system becomes an image, or one is pulled.

use super::{body_reader, lines, target};
use crate::DockerState;
use crate::error::{Answer, Failure, blocking, invalid, unimplemented};
use crate::params::Params;
use axum::extract::{Request, State};
use hako_oci::image::ImageConfiguration;
use serde_json::json;

/// `?fromSrc=-` imports a root file system from the body; `?fromImage=` pulls.
pub(crate) async fn create(State(state): State<DockerState>, params: Params, request: Request) -> Answer {
    if let Some(image) = params.get("fromImage") {
        return super::pull::pull(state.clone(), image, &params, request.headers()).await;
    }
    if params.get("fromSrc") != Some("-") {
        return Err(unimplemented(
            "importing from an address is unimplemented: send the tar as the body with fromSrc=-",
        ));
    }
    let name = match params.get("repo") {
        Some(_) => target(&params)?,
        None => return Err(invalid("repo is missing: name the image that is to be made")),
    };
    let config = import_config(&params)?;
    let images = state.images.clone();
    let body = body_reader(request.into_body());
    let image = blocking(move || images.import_rootfs(body, &name, config)).await?;
    state.events.image("import", &image.id.to_string(), &image.display_name(), &image);
    Ok(lines(&[json!({ "status": image.id })]))
}

/// `changes=CMD ["sh"]` and the like; each is one Dockerfile instruction without a step.
fn import_config(params: &Params) -> Result<ImageConfiguration, Failure> {
    let mut config = json!({});
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
                    "change {change:?} is not an instruction that an import can have"
                )));
            }
        }
    }
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let now = jiff::Timestamp::now().to_string();
    let comment = params.get("message").unwrap_or("Imported from -");
    let whole = json!({
        "created": now, "architecture": architecture, "os": "linux", "config": config,
        "rootfs": { "type": "layers", "diff_ids": [] }, "history": [{ "created": now, "comment": comment }],
    });
    serde_json::from_value(whole).map_err(|error| invalid(format!("changes: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::FromRequestParts;

    #[tokio::test]
    async fn changes_of_an_import_become_its_configuration() {
        let uri = "/?changes=CMD+%5B%22sh%22%5D&changes=ENV+A+1&changes=EXPOSE+80&changes=LABEL+a%3Db";
        let mut parts = http::Request::builder().uri(uri).body(()).unwrap().into_parts().0;
        let params = Params::from_request_parts(&mut parts, &()).await.unwrap();
        let config = import_config(&params).unwrap();
        let config = config.config().as_ref().unwrap();
        assert_eq!(config.cmd().as_ref().unwrap(), &["sh"]);
        assert_eq!(config.env().as_ref().unwrap(), &["A=1"]);
        assert_eq!(config.exposed_ports().as_ref().unwrap(), &["80/tcp"]);
    }
}
