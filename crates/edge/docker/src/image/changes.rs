//! `changes=CMD ["sh"]` and the like: Dockerfile instructions without a step, for imports and commits.

use crate::error::{Failure, invalid};
use crate::params::Params;
use ::hako_build::absolute;
use ::hako_build::dockerfile::{Instruction, check_signal, expand, expand_words, exposed_ports, triggers};
use serde_json::{Map, Value, json};

/// What a shell form is run by where the image names no shell.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies the request's changes to the `config` of an image's configuration.
pub(crate) fn apply(params: &Params, config: &mut Value) -> Result<(), Failure> {
    let texts: Vec<String> =
        params.all("changes").map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    // The builder's own reader, which takes an image's ONBUILD in just this form.
    let steps = triggers(&texts, '\\', "changes").map_err(|error| invalid(error.to_string()))?;
    let mut changes = Changes { config, is_cmd_own: false };
    for (step, text) in steps.into_iter().zip(&texts) {
        changes.apply(step.instruction, text)?;
    }
    Ok(())
}

struct Changes<'a> {
    config: &'a mut Value,
    /// Whether a change before has set CMD; else ENTRYPOINT makes it meaningless.
    is_cmd_own: bool,
}

impl Changes<'_> {
    fn apply(&mut self, instruction: Instruction, text: &str) -> Result<(), Failure> {
        match instruction {
            Instruction::Cmd(command) => {
                self.config["Cmd"] = json!(command.words(&self.shell()));
                self.is_cmd_own = true;
            }
            Instruction::Entrypoint(command) => {
                self.config["Entrypoint"] = json!(command.words(&self.shell()));
                if !self.is_cmd_own {
                    self.config["Cmd"] = Value::Null;
                }
            }
            Instruction::Env(pairs) => {
                // All values see the environment before the change.
                for (name, value) in self.expand_pairs(&pairs)? {
                    self.set_env(&name, &value);
                }
            }
            Instruction::Label(pairs) => {
                let pairs = self.expand_pairs(&pairs)?;
                self.extend("Labels", pairs.into_iter().map(|(key, value)| (key, json!(value))));
            }
            Instruction::Expose(words) => {
                for word in words {
                    let words = expand_words(&word, '\\', &|name| self.variable(name)).map_err(invalid)?;
                    for word in words {
                        let ports = exposed_ports(&word).map_err(invalid)?;
                        self.extend("ExposedPorts", ports.into_iter().map(|port| (port, json!({}))));
                    }
                }
            }
            Instruction::Volume(words) => {
                let words = words.iter().map(|word| self.expand(word)).collect::<Result<Vec<_>, _>>()?;
                self.extend("Volumes", words.into_iter().map(|path| (path, json!({}))));
            }
            Instruction::User(user) => self.config["User"] = json!(self.expand(&user)?),
            Instruction::Workdir(path) => {
                let path = self.expand(&path)?;
                let now = self.config["WorkingDir"].as_str().filter(|now| !now.is_empty()).unwrap_or("/");
                self.config["WorkingDir"] = json!(absolute(now, &path));
            }
            Instruction::StopSignal(signal) => {
                let signal = self.expand(&signal)?;
                check_signal(&signal).map_err(invalid)?;
                self.config["StopSignal"] = json!(signal);
            }
            Instruction::Healthcheck(check) => self.config["Healthcheck"] = check,
            Instruction::Onbuild(trigger) => {
                let mut all = self.config["OnBuild"].as_array().cloned().unwrap_or_default();
                all.push(json!(trigger));
                self.config["OnBuild"] = json!(all);
            }
            Instruction::Run(_)
            | Instruction::Copy(_)
            | Instruction::Arg(_)
            | Instruction::Shell(_)
            | Instruction::Maintainer(_) => {
                let word = text.split_whitespace().next().unwrap_or_default().to_lowercase();
                return Err(invalid(format!("{word} is not a valid change command")));
            }
        }
        Ok(())
    }

    fn shell(&self) -> Vec<String> {
        let own = serde_json::from_value::<Vec<String>>(self.config["Shell"].clone()).unwrap_or_default();
        if own.is_empty() { SHELL.map(str::to_owned).to_vec() } else { own }
    }

    fn variable(&self, name: &str) -> Option<String> {
        let pairs = self.config["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    fn expand(&self, word: &str) -> Result<String, Failure> {
        expand(word, '\\', &|name| self.variable(name)).map_err(invalid)
    }

    fn expand_pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, Failure> {
        pairs.iter().map(|(key, value)| Ok((self.expand(key)?, self.expand(value)?))).collect()
    }

    fn set_env(&mut self, name: &str, value: &str) {
        let mut env = self.config["Env"].as_array().cloned().unwrap_or_default();
        let front = format!("{name}=");
        env.retain(|old| !old.as_str().is_some_and(|old| old.starts_with(&front)));
        env.push(json!(front + value));
        self.config["Env"] = json!(env);
    }

    fn extend(&mut self, field: &str, new: impl IntoIterator<Item = (String, Value)>) {
        let mut all: Map<String, Value> = self.config[field].as_object().cloned().unwrap_or_default();
        all.extend(new);
        self.config[field] = Value::Object(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::FromRequestParts;

    async fn changed(changes: &[&str], mut config: Value) -> Result<Value, String> {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let query: Vec<String> = changes.iter().map(|text| format!("changes={}", encode(text))).collect();
        let request = http::Request::builder().uri(format!("/?{}", query.join("&")));
        let mut parts = request.body(()).unwrap().into_parts().0;
        let params = Params::from_request_parts(&mut parts, &()).await.unwrap();
        apply(&params, &mut config).map_err(|failure| failure.0.chain())?;
        Ok(config)
    }

    #[tokio::test]
    async fn changes_become_configuration() {
        let config = json!({ "Env": ["A=0", "B=2"], "Cmd": ["old"], "WorkingDir": "/srv" });
        let changes = [
            "CMD [\"sh\"]",
            "ENV A 1",
            "ENV C=\"x y\" D=${B}z",
            "EXPOSE 80 443/udp",
            "label a=b c='d e'",
            "VOLUME /a /b",
            "VOLUME [\"/c\",\"/d\"]",
            "WORKDIR rel/../x",
            "USER me",
            "STOPSIGNAL SIGUSR1",
            "ONBUILD RUN true",
            "HEALTHCHECK CMD true",
        ];
        let expected = json!({
            "Env": ["B=2", "A=1", "C=x y", "D=2z"], "Cmd": ["sh"], "ExposedPorts": { "80/tcp": {}, "443/udp": {} },
            "Labels": { "a": "b", "c": "d e" }, "Volumes": { "/a": {}, "/b": {}, "/c": {}, "/d": {} },
            "WorkingDir": "/srv/x", "User": "me", "StopSignal": "SIGUSR1", "OnBuild": ["RUN true"],
            "Healthcheck": { "Test": ["CMD-SHELL", "true"] },
        });
        assert_eq!(changed(&changes, config).await, Ok(expected));
    }

    #[tokio::test]
    async fn an_entry_point_makes_an_older_command_meaningless_and_a_new_one_not() {
        let config = json!({ "Cmd": ["old"], "Shell": ["ash", "-c"] });
        let alone = changed(&["ENTRYPOINT run"], config.clone()).await.unwrap();
        assert_eq!((&alone["Entrypoint"], &alone["Cmd"]), (&json!(["ash", "-c", "run"]), &Value::Null));
        let both = changed(&["CMD [\"x\"]", "ENTRYPOINT [\"run\"]"], config).await.unwrap();
        assert_eq!((&both["Entrypoint"], &both["Cmd"]), (&json!(["run"]), &json!(["x"])));
    }

    #[tokio::test]
    async fn what_is_no_change_is_refused_by_its_name() {
        for (change, words) in [
            ("RUN true", "run is not a valid change command"),
            ("COPY a b", "copy is not a valid change command"),
            ("USER", "USER needs at least one argument"),
            ("ENV", "ENV needs at least one argument"),
            ("EXPOSE http", "EXPOSE http"),
            ("FROM x", "not FROM"),
        ] {
            let refused = changed(&[change], json!({})).await.unwrap_err();
            assert!(refused.contains(words), "{change}: {refused}");
        }
    }
}
