//! From flags to the builder's request. The builder is on this machine: paths are made absolute and go as they are.

use super::args::BuildArgs;
use super::{attest, cache, limits};
use anyhow::{Context, bail};
use hako_build::{
    BuildRequest, Output, RunNetwork, Secret, extra_host, image_field, in_lower_case, is_repository,
};
use hako_image::LayerForm;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The request, and whether standard input is the context's tar.
pub(super) fn request(args: &BuildArgs) -> anyhow::Result<(BuildRequest, bool)> {
    let Wanted { outputs, names, annotations } = outputs(args)?;
    let mut request = BuildRequest {
        tags: args.tags.iter().chain(&names).map(|tag| tag.parse()).collect::<Result<_, _>>()?,
        args: build_args(&args.build_args)?,
        contexts: build_contexts(&args.build_contexts)?,
        secrets: secrets(&args.secrets)?,
        target: args.target.clone(),
        platforms: args.platform.clone(),
        pull: args.pull,
        labels: labels(&args.labels)?,
        network: network(&args.network)?,
        extra_hosts: args.extra_hosts.iter().map(|text| extra_host(text)).collect::<Result<_, _>>()?,
        allow: args
            .allow
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(anyhow::Error::msg)?,
        limits: limits::limits(&args.limits)?,
        outputs,
        annotations,
        cache_from: args.cache_from.iter().map(|text| cache::source(text)).collect::<anyhow::Result<_>>()?,
        cache_to: args.cache_to.iter().map(|text| cache::export(text)).collect::<anyhow::Result<_>>()?,
        sbom: attest::sbom(args)?,
        provenance: attest::provenance(args)?,
        keep_failed: args.on_error.is_some(),
        check: args.check,
        ..BuildRequest::default()
    };
    match args.no_cache.as_deref() {
        None => {}
        Some([all]) if all.is_empty() => request.no_cache = true,
        Some(stages) => request.no_cache_stages = stages.to_vec(),
    }
    request.no_cache_stages.extend_from_slice(&args.no_cache_filter);
    let is_tar = context(args, &mut request)?;
    Ok((request, is_tar))
}

fn context(args: &BuildArgs, request: &mut BuildRequest) -> anyhow::Result<bool> {
    let file = args.file.as_deref();
    if file == Some("-") {
        if args.context == "-" {
            bail!("standard input cannot be both the context and the Dockerfile");
        }
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut text).context("read the Dockerfile")?;
        request.dockerfile_text = Some(String::from_utf8_lossy(&text).into_owned());
    } else {
        request.dockerfile = file.map(PathBuf::from);
    }
    let context = args.context.as_str();
    if context == "-" {
        // A name of the tar, never one of this machine.
        request.dockerfile = request.dockerfile.take().map(|file| match file.strip_prefix("/") {
            Ok(below) => below.to_owned(),
            Err(_) => file,
        });
        return Ok(true);
    }
    let is_remote =
        ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|p| context.starts_with(p))
            || context.starts_with("github.com/") && !Path::new(context).exists();
    if is_remote {
        request.remote = Some(context.to_owned());
        return Ok(false);
    }
    if context.is_empty() {
        bail!("the build context is empty: name a directory, - or an address");
    }
    let path = std::path::absolute(context)?;
    if !path.is_dir() {
        bail!("build context {} is not a directory", path.display());
    }
    // Whole names: a directory of this machine may have its Dockerfile by a link from elsewhere.
    if let Some(file) = file.filter(|file| *file != "-") {
        // As docker has it: from where the command runs, or from the context.
        let here = std::path::absolute(file)?;
        let inside = path.join(file);
        match (inside.is_file(), here.is_file()) {
            (true, _) => request.dockerfile = Some(inside),
            (false, true) => request.dockerfile = Some(here),
            _ if inside.exists() => {
                bail!("{} is no Dockerfile, it is no regular file: name one with --file", inside.display())
            }
            _ => bail!("no Dockerfile at {}: name one with --file", inside.display()),
        }
    } else if file.is_none() {
        let usual = path.join("Dockerfile");
        let Some(found) =
            [Some(usual.clone()), in_lower_case(&usual)].into_iter().flatten().find(|it| it.is_file())
        else {
            bail!("no Dockerfile at {}: name one with --file", usual.display());
        };
        request.dockerfile = Some(found);
    }
    request.context = path;
    Ok(false)
}

fn labels(all: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() {
            bail!("--label {text}: it has no name, expected NAME=VALUE");
        }
        Ok((key.to_owned(), value.to_owned()))
    };
    all.iter().map(pair).collect()
}

/// What settles every time in the image; the shell's counts without being named, as for other builders.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// `KEY=VALUE`, or `KEY` with the environment's value; a variable that is not set is no argument.
fn build_args(all: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut args: BTreeMap<String, String> =
        std::env::var(EPOCH).ok().map(|value| (EPOCH.to_owned(), value)).into_iter().collect();
    for text in all {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        if key.is_empty() {
            bail!("--build-arg {text}: it has no name, expected NAME=VALUE");
        }
        args.extend(value.or_else(|| std::env::var(key).ok()).map(|value| (key.to_owned(), value)));
    }
    Ok(args)
}

fn build_contexts(all: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut contexts = BTreeMap::new();
    for text in all {
        let (name, source) =
            text.split_once('=').with_context(|| format!("--build-context {text}: expected NAME=SOURCE"))?;
        if name.is_empty() || source.is_empty() {
            bail!("--build-context {text}: the name or the source is empty, expected NAME=SOURCE");
        }
        let source = match source.strip_prefix("oci-layout://") {
            Some(layout) => format!("oci-layout://{}", std::path::absolute(layout)?.display()),
            None if Path::new(source).is_dir() => std::path::absolute(source)?.display().to_string(),
            None if !source.contains("://") && !is_repository(source) => {
                bail!("--build-context {text}: {source} is no directory")
            }
            None => source.to_owned(),
        };
        contexts.insert(name.to_owned(), source);
    }
    Ok(contexts)
}

/// The fields of `a=b,c=d`.
pub(super) fn fields(text: &str) -> Vec<(&str, &str)> {
    let mut is_quoted = false;
    let all = text.split(|letter| {
        is_quoted ^= letter == '"';
        letter == ',' && !is_quoted
    });
    all.map(|field| field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field))
        .map(|field| field.split_once('=').unwrap_or((field, "")))
        .collect()
}

fn secrets(all: &[String]) -> anyhow::Result<BTreeMap<String, Secret>> {
    let mut secrets = BTreeMap::new();
    for text in all {
        let (mut id, mut file, mut variable, mut is_variable) = (None, None, None, false);
        for (key, value) in fields(text) {
            match key {
                "id" => id = Some(value),
                "src" | "source" => file = Some(value),
                "env" => variable = Some(value),
                "type" if matches!(value, "file" | "env") => is_variable = value == "env",
                _ => bail!("--secret {text}: expected id=ID with src=FILE or env=VARIABLE"),
            }
        }
        if is_variable && variable.is_none() {
            // With type=env, src names a variable.
            variable = file.take();
        }
        let id = id.or(variable).with_context(|| format!("--secret {text}: it needs an id"))?;
        if id.is_empty() || variable == Some("") {
            bail!(
                "--secret {text}: the id or variable is empty, expected id=ID with src=FILE or env=VARIABLE"
            );
        }
        let value = match (file, variable) {
            (Some(file), _) => {
                std::fs::read(file).with_context(|| format!("read the secret {id} from {file}"))?
            }
            (None, variable) => {
                let variable = variable.unwrap_or(id);
                match std::env::var(variable) {
                    Ok(value) => value.into_bytes(),
                    Err(_) if Path::new(id).is_file() => std::fs::read(id)?,
                    Err(_) => bail!("--secret {text}: the variable {variable} is not set"),
                }
            }
        };
        secrets.insert(id.to_owned(), Secret(value));
    }
    Ok(secrets)
}

fn network(mode: &str) -> anyhow::Result<RunNetwork> {
    Ok(match mode {
        "default" | "bridge" => RunNetwork::Bridge,
        "none" => RunNetwork::None,
        "host" => RunNetwork::Host,
        other => bail!("--network {other}: expected default, none or host"),
    })
}

/// `-o -` and `dest=-`.
const STDOUT: &str = "-";

/// The file of an output that goes to standard output.
pub(super) fn to_stdout(outputs: &mut [Output]) -> anyhow::Result<Option<&mut PathBuf>> {
    let files = outputs.iter_mut().filter_map(|output| match output {
        Output::Local { dest }
        | Output::Tar { dest }
        | Output::Oci { dest, .. }
        | Output::Docker { dest, .. } => Some(dest),
        Output::Image { .. } | Output::Cache => None,
    });
    let mut all: Vec<&mut PathBuf> = files.filter(|dest| dest.as_os_str() == STDOUT).collect();
    if all.len() > 1 {
        bail!("only one output can go to standard output");
    }
    Ok(all.pop())
}

/// What all outputs of a build ask for.
#[derive(Debug, Default)]
struct Wanted {
    outputs: Vec<Output>,
    /// More names for the image.
    names: Vec<String>,
    annotations: BTreeMap<String, String>,
}

fn outputs(args: &BuildArgs) -> anyhow::Result<Wanted> {
    let mut wanted = Wanted::default();
    for text in &args.outputs {
        let output = output(text, &mut wanted)?;
        wanted.outputs.push(output);
    }
    let Wanted { outputs, names, .. } = &mut wanted;
    let is_image = |output: &Output| matches!(output, Output::Image { .. });
    if args.push {
        if args.tags.is_empty() && names.is_empty() {
            bail!("--push needs a name to push: give one with --tag");
        }
        // One that is asked for already keeps its form.
        match outputs.iter_mut().find(|output| is_image(output)) {
            Some(Output::Image { push, .. }) => *push = true,
            _ => outputs.push(Output::Image { push: true, compression: None }),
        }
    }
    if args.load && !outputs.iter().any(is_image) {
        outputs.push(Output::Image { push: false, compression: None });
    }
    Ok(wanted)
}

fn output(text: &str, wanted: &mut Wanted) -> anyhow::Result<Output> {
    if text == STDOUT {
        return Ok(Output::Tar { dest: STDOUT.into() });
    }
    if text.is_empty() {
        bail!("--output is empty, expected DIR or type=TYPE,dest=PATH");
    }
    if !text.contains('=') {
        return Ok(Output::Local { dest: std::path::absolute(text)? });
    }
    let (mut kind, mut dest, mut push, mut tar, mut compression) = ("", None, false, true, None);
    let (mut named, mut is_of_image) = (Vec::new(), false);
    for (key, value) in fields(text) {
        match key {
            "type" => kind = value,
            "dest" if value == STDOUT => dest = Some(STDOUT.into()),
            "dest" if value.is_empty() => bail!("--output {text}: dest is empty, expected dest=PATH"),
            "dest" => dest = Some(std::path::absolute(value)?),
            "push" => push = value != "false",
            "tar" => tar = value != "false",
            "compression" => compression = Some(value.parse::<LayerForm>()?),
            "name" => named.extend(value.split(',').map(str::to_owned)),
            _ if image_field(&mut wanted.annotations, key, value)
                .with_context(|| format!("--output {text}"))? =>
            {
                is_of_image = true;
            }
            _ => bail!(
                "an output has no field {key:?}, expected type, name, dest, push, tar, compression or annotation.NAME"
            ),
        }
    }
    if matches!(kind, "local" | "tar" | "cacheonly") && (is_of_image || !named.is_empty()) {
        bail!("{text}: {kind} makes no image, so it takes type and dest alone");
    }
    if kind == "cacheonly" && (dest.is_some() || push || compression.is_some()) {
        bail!("{text}: cacheonly goes nowhere, so it takes the type alone");
    }
    wanted.names.append(&mut named);
    if dest.as_deref() == Some(Path::new(STDOUT)) && (kind == "local" || !tar) {
        bail!("{text}: a directory cannot go to standard output, a tar can: type=tar");
    }
    let needed = || dest.clone().with_context(|| format!("{text}: the output needs dest=PATH"));
    Ok(match kind {
        "local" => Output::Local { dest: needed()? },
        "tar" => Output::Tar { dest: needed()? },
        "oci" => Output::Oci { dest: needed()?, tar, compression },
        "docker" if dest.is_none() => Output::Image { push: false, compression },
        "docker" => Output::Docker { dest: needed()?, compression },
        "image" => Output::Image { push, compression },
        "registry" => Output::Image { push: true, compression },
        "cacheonly" => Output::Cache,
        other => {
            bail!(
                "there is no output of type {other:?}, expected local, tar, oci, docker, image, registry or cacheonly"
            )
        }
    })
}
