//! From a container's log settings to what its shim is told: files, a log daemon, tags and attributes.

use crate::container::ContainerObject;
use crate::error::EngineError;
use crate::{Container, ContainerSpec, LogAddress, LogDriver, LogExtra, Resolved};
use hako_names::ContainerId;
use hako_runtime::{LogFile, LogFormat, SyslogAddress, SyslogTarget};
use regex::Regex;
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Sockets of a log daemon of this machine.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// The values of a tag's template.
#[derive(Debug, Default)]
struct Names {
    id: String,
    name: String,
    image_id: String,
    image: String,
    command: String,
}

impl ContainerObject {
    /// The file that output goes to, if it goes to one.
    pub(crate) fn log_path(&self) -> Option<PathBuf> {
        let log = self.dir.join("log");
        match &self.record.spec.log.driver {
            LogDriver::Cri => Some(log.join("container.log")),
            LogDriver::Json => Some(log.join(format!("{}-json.log", self.id))),
            LogDriver::Syslog { keeps_file, .. } => keeps_file.then(|| log.join("container.log")),
            LogDriver::None => None,
        }
    }

    /// The file as its shim is to write it.
    pub(crate) fn log_file(&self) -> Result<Option<LogFile>, EngineError> {
        let Some(path) = self.log_path() else { return Ok(None) };
        let settings = &self.record.spec.log;
        let is_json = settings.driver == LogDriver::Json;
        Ok(Some(LogFile {
            path,
            max_size: settings.max_size,
            max_files: settings.max_files,
            format: if is_json { LogFormat::Json } else { LogFormat::Cri },
            compress: settings.compress,
            attrs: match is_json {
                true => attributes(&settings.extra, &self.names(), &self.record.resolved)?,
                false => BTreeMap::new(),
            },
        }))
    }

    /// The log daemon, its address resolved as it is now. Blocking.
    pub(crate) fn log_daemon(&self) -> Result<Option<SyslogTarget>, EngineError> {
        let settings = &self.record.spec.log;
        let LogDriver::Syslog { address, format, facility, .. } = &settings.driver else { return Ok(None) };
        let tag = match settings.extra.tag.as_str() {
            "" => "{{.ID}}",
            tag => tag,
        };
        Ok(Some(SyslogTarget {
            address: resolve(address)?,
            format: *format,
            facility: *facility,
            tag: expand(tag, &self.names())?,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }))
    }

    fn names(&self) -> Names {
        let name = self.status.read().name.clone();
        Names::of(&self.id, name, &self.record.spec, &self.record.resolved)
    }
}

impl Names {
    fn of(id: &ContainerId, name: String, spec: &ContainerSpec, resolved: &Resolved) -> Self {
        Self {
            id: id.to_string(),
            name,
            image_id: resolved.image_id.trim_start_matches("sha256:").to_owned(),
            image: spec.image_as_written(),
            command: resolved.argv.join(" "),
        }
    }
}

/// What the options of a container's log ask to be told with its lines.
pub fn log_attributes(container: &Container) -> hako_error::Result<BTreeMap<String, String>> {
    let (spec, resolved) = (&container.spec, &container.resolved);
    let names = Names::of(&container.id, spec.name.clone(), spec, resolved);
    Ok(attributes(&spec.log.extra, &names, resolved)?)
}

fn attributes(
    extra: &LogExtra,
    names: &Names,
    resolved: &Resolved,
) -> Result<BTreeMap<String, String>, EngineError> {
    let env = resolved.env.iter().filter_map(|entry| entry.split_once('='));
    let labels = resolved.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut attributes = chosen(labels, &extra.labels, &extra.labels_regex)?;
    attributes.extend(chosen(env, &extra.env, &extra.env_regex)?);
    if !extra.tag.is_empty() {
        attributes.insert("tag".to_owned(), expand(&extra.tag, names)?);
    }
    Ok(attributes)
}

/// Those whose names are listed or match.
fn chosen<'a>(
    all: impl Iterator<Item = (&'a str, &'a str)>,
    names: &[String],
    regex: &str,
) -> Result<BTreeMap<String, String>, EngineError> {
    let bad = |_| EngineError::Value {
        what: "log option with a regular expression",
        value: regex.to_owned(),
        expected: "a regular expression",
    };
    let regex = if regex.is_empty() { None } else { Some(Regex::new(regex).map_err(bad)?) };
    let is_chosen = |name: &str| {
        names.iter().any(|one| one == name) || regex.as_ref().is_some_and(|regex| regex.is_match(name))
    };
    Ok(all.filter(|(name, _)| is_chosen(name)).map(|(name, value)| (name.into(), value.into())).collect())
}

/// Whether a tag can be expanded.
pub fn check_tag(template: &str) -> hako_error::Result<()> {
    Ok(expand(template, &Names::default()).map(drop)?)
}

/// Docker's template of a tag, as far as it names one of a container's own values.
fn expand(template: &str, names: &Names) -> Result<String, EngineError> {
    let bad = || EngineError::Value {
        what: "log tag",
        value: template.to_owned(),
        expected: "a text with {{.ID}}, {{.FullID}}, {{.Name}}, {{.ImageID}}, {{.ImageFullID}}, {{.ImageName}}, \
                   {{.Command}} or {{.DaemonName}}",
    };
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let (mut text, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{") {
        let (field, tail) = after.split_once("}}").ok_or_else(bad)?;
        text.push_str(before);
        text.push_str(&match field.trim() {
            ".ID" => short(&names.id),
            ".FullID" => names.id.clone(),
            ".Name" => names.name.clone(),
            ".ImageID" => short(&names.image_id),
            ".ImageFullID" => names.image_id.clone(),
            ".ImageName" => names.image.clone(),
            ".Command" => names.command.clone(),
            ".DaemonName" => "docker".to_owned(),
            _ => return Err(bad()),
        });
        rest = tail;
    }
    text.push_str(rest);
    Ok(text)
}

fn resolve(address: &LogAddress) -> Result<SyslogAddress, EngineError> {
    let found = |text: &String| -> Result<SocketAddr, EngineError> {
        let mut all = text.to_socket_addrs().map_err(crate::error::io("resolve the log daemon", text))?;
        all.next().ok_or_else(|| EngineError::NoLogDaemon { address: text.clone() })
    };
    Ok(match address {
        LogAddress::Local => {
            let place = LOCAL.into_iter().find(|path| Path::new(path).exists());
            let place = place.ok_or_else(|| EngineError::NoLogDaemon { address: LOCAL.join(", ") })?;
            SyslogAddress::Datagram(place.into())
        }
        LogAddress::Datagram(path) => SyslogAddress::Datagram(path.clone()),
        LogAddress::Stream(path) => SyslogAddress::Stream(path.clone()),
        LogAddress::Udp(text) => SyslogAddress::Udp(found(text)?),
        LogAddress::Tcp(text) => SyslogAddress::Tcp(found(text)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_made_of_a_container_s_own_values() {
        let names = Names {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            image_id: "fedcba9876543210".into(),
            image: "busybox".into(),
            command: "sh -c true".into(),
        };
        let said = |template| expand(template, &names).unwrap();
        assert_eq!(said("{{.ID}} {{ .Name }}/{{.ImageID}}"), "0123456789ab web/fedcba987654");
        assert_eq!(said("plain {{.DaemonName}} {{.ImageName}}"), "plain docker busybox");
        assert!(expand("{{.Node}}", &names).is_err() && expand("{{.ID", &names).is_err());
    }

    #[test]
    fn attributes_are_chosen_by_name_or_pattern() {
        let all = [("a", "1"), ("ab", "2"), ("c", "3")];
        let names = |list: &[&str], regex| -> Vec<String> {
            let list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
            chosen(all.into_iter(), &list, regex).unwrap().into_keys().collect()
        };
        assert_eq!(names(&["c", "d"], ""), ["c"]);
        assert_eq!(names(&["c"], "^a"), ["a", "ab", "c"]);
        assert!(chosen(all.into_iter(), &[], "(").is_err());
    }
}
