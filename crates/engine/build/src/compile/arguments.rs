//! ARG: what the request gives, what the platform gives, what the file says before its first FROM.

use super::refuse;
use crate::dockerfile::{Dockerfile, Instruction, Step, expand};
use crate::platform::Platform;
use crate::request::BuildRequest;
use hako_error::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn globals(
    file: &Dockerfile,
    name: &str,
    request: &BuildRequest,
    target: &Platform,
) -> Result<BTreeMap<String, String>> {
    let mut globals = BTreeMap::new();
    for (side, platform) in [("TARGET", target), ("BUILD", &Platform::own())] {
        globals.insert(format!("{side}PLATFORM"), platform.to_string());
        globals.insert(format!("{side}OS"), platform.os.clone());
        globals.insert(format!("{side}ARCH"), platform.architecture.clone());
        globals.insert(format!("{side}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    globals.insert("TARGETSTAGE".into(), request.target.clone().unwrap_or_else(|| "default".into()));
    for Step { line, text, instruction, .. } in &file.global_args {
        let Instruction::Arg(arguments) = instruction else {
            continue;
        };
        for (key, default) in arguments {
            let given = request.args.get(key).cloned();
            let default =
                default.as_ref().map(|word| expand(word, file.escape, &|name| globals.get(name).cloned()));
            let value = match (given, default) {
                (Some(value), _) => Some(value),
                (None, Some(value)) => Some(value.map_err(|message| refuse(name, *line, text, message))?),
                (None, None) => None,
            };
            if let Some(value) = value {
                globals.insert(key.clone(), value);
            }
        }
    }
    Ok(globals)
}

/// The argument that is every time's end: <https://reproducible-builds.org/docs/source-date-epoch/>.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// `SOURCE_DATE_EPOCH` of the one who builds, whose environment is not this process's, else what an ARG before the first
/// FROM says, for the first of several platforms. An empty one is none: so a build can be without what the file says.
pub(crate) fn epoch(file: &Dockerfile, name: &str, request: &BuildRequest) -> Result<Option<i64>> {
    if let Some(given) = request.args.get(EPOCH) {
        return seconds(given).map_err(|message| Error::new(Kind::Invalid, message));
    }
    let is_it = |step: &&Step| match &step.instruction {
        Instruction::Arg(arguments) => {
            arguments.iter().any(|(key, default)| key == EPOCH && default.is_some())
        }
        _ => false,
    };
    let Some(step) = file.global_args.iter().rfind(is_it) else { return Ok(None) };
    let target = Platform::all(&request.platforms)?.into_iter().next().unwrap_or_else(Platform::own);
    let said = globals(file, name, request, &target)?.remove(EPOCH).unwrap_or_default();
    Ok(seconds(&said).map_err(|message| refuse(name, step.line, &step.text, message))?)
}

fn seconds(text: &str) -> Result<Option<i64>, String> {
    match text {
        "" => Ok(None),
        "context" => {
            Err(format!("{EPOCH}=context is unimplemented: give it the number of seconds since 1970"))
        }
        _ => text
            .parse()
            .map(Some)
            .map_err(|_| format!("{EPOCH}={text} is not a number of seconds since 1970")),
    }
}

/// BuildKit's word for an index also where there is one platform.
const ALWAYS_INDEX: &str = "BUILDKIT_MULTI_PLATFORM";

/// What is asked for by an argument and not done.
pub(super) fn not_done(request: &BuildRequest) -> Option<String> {
    let is_asked = request.args.get(ALWAYS_INDEX).is_some_and(|value| is_true(value));
    (is_asked && request.platforms.len() < 2)
        .then(|| format!("build argument {ALWAYS_INDEX} is unimplemented: one platform is one image"))
}

/// Go's booleans.
pub(crate) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Build arguments that no ARG of the file asks for.
pub(super) fn unused(file: &Dockerfile, request: &BuildRequest) -> Vec<String> {
    let steps = file.global_args.iter().chain(file.stages.iter().flat_map(|stage| &stage.steps));
    let mut asked: BTreeSet<&str> = BTreeSet::from([EPOCH]);
    for step in steps {
        if let Instruction::Arg(arguments) = &step.instruction {
            asked.extend(arguments.iter().map(|(name, _)| name.as_str()));
        }
    }
    let is_unused = |name: &&String| {
        !asked.contains(name.as_str()) && !is_predefined(name) && !name.starts_with("BUILDKIT_")
    };
    request.args.keys().filter(is_unused).cloned().collect()
}

/// Proxy settings need no ARG, and count for the cache only where there is one.
pub(crate) fn is_predefined(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "http_proxy" | "https_proxy" | "ftp_proxy" | "no_proxy" | "all_proxy"
    )
}

/// What a RUN is told of proxies besides its environment: in both spellings, as some programs read one and some the
/// other. What is set stays.
pub(super) fn in_both_spellings(proxies: &BTreeMap<String, String>, env: &[String]) -> Vec<String> {
    let mut told: BTreeMap<String, &String> =
        proxies.iter().map(|(name, value)| (name.clone(), value)).collect();
    for (name, value) in proxies {
        told.entry(name.to_ascii_uppercase()).or_insert(value);
        told.entry(name.to_ascii_lowercase()).or_insert(value);
    }
    told.retain(|name, _| !env.iter().any(|pair| pair.split('=').next() == Some(name)));
    told.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}
