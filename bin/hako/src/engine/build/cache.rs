//! `--cache-from` and `--cache-to`.

use super::request::fields;
use anyhow::{Context, bail};
use hako_build::{CacheExport, CacheMode, CacheSource, CacheTarget};
use std::path::PathBuf;

/// What the manifest of a directory is called where nobody says.
const TAG: &str = "latest";

/// `NAME`, or `type=registry|inline,ref=NAME`, or `type=local,src=DIR[,tag=TAG][,digest=DIGEST]`.
pub(super) fn source(text: &str) -> anyhow::Result<CacheSource> {
    if !text.contains('=') {
        return Ok(CacheSource::Registry { reference: text.parse()? });
    }
    let (mut kind, mut reference, mut path) = ("", None, None);
    let (mut tag, mut digest) = (TAG.to_owned(), None);
    for (key, value) in fields(text) {
        match key {
            "type" => kind = value,
            "ref" => reference = Some(value.parse()?),
            "src" => path = Some(absolute(value)?),
            "tag" => value.clone_into(&mut tag),
            "digest" => digest = Some(value.parse()?),
            _ => bail!(
                "--cache-from {text}: there is no field {key:?}, expected type, ref, src, tag or digest"
            ),
        }
    }
    let needed =
        || format!("--cache-from {text}: it needs {}", if kind == "local" { "src=DIR" } else { "ref=NAME" });
    Ok(match kind {
        "registry" => CacheSource::Registry { reference: reference.with_context(needed)? },
        "inline" => CacheSource::Inline { reference: reference.with_context(needed)? },
        "local" => CacheSource::Local { path: path.with_context(needed)?, tag, digest },
        other => bail!("--cache-from {text}: {}", unknown(other)),
    })
}

/// `type=registry,ref=NAME`, `type=local,dest=DIR[,tag=TAG]` or `type=inline`, with `mode=min|max`,
/// `mounts=true|false`, `ignore-error=true|false`.
pub(super) fn export(text: &str) -> anyhow::Result<CacheExport> {
    let (mut kind, mut reference, mut path) = ("", None, None);
    let mut tag = TAG.to_owned();
    let (mut mode, mut mounts, mut ignore_error) = (CacheMode::Min, false, false);
    if !text.contains('=') {
        (kind, reference) = ("registry", Some(text.parse()?));
    } else {
        for (key, value) in fields(text) {
            match key {
                "type" => kind = value,
                "ref" => reference = Some(value.parse()?),
                "dest" => path = Some(absolute(value)?),
                "tag" => value.clone_into(&mut tag),
                "mode" => mode = of_mode(text, value)?,
                "mounts" => mounts = is_true(text, key, value)?,
                "ignore-error" => ignore_error = is_true(text, key, value)?,
                _ => bail!(
                    "--cache-to {text}: there is no field {key:?}, expected type, ref, dest, tag, mode, mounts or \
                     ignore-error"
                ),
            }
        }
    }
    let needed =
        || format!("--cache-to {text}: it needs {}", if kind == "local" { "dest=DIR" } else { "ref=NAME" });
    let target = match kind {
        "registry" => CacheTarget::Registry { reference: reference.with_context(needed)? },
        "inline" => CacheTarget::Inline,
        "local" => CacheTarget::Local { path: path.with_context(needed)?, tag },
        other => bail!("--cache-to {text}: {}", unknown(other)),
    };
    Ok(CacheExport { target, mode, mounts, ignore_error })
}

fn absolute(path: &str) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

fn of_mode(text: &str, value: &str) -> anyhow::Result<CacheMode> {
    Ok(match value {
        "min" => CacheMode::Min,
        "max" => CacheMode::Max,
        other => bail!("--cache-to {text}: mode {other:?}, expected min or max"),
    })
}

fn is_true(text: &str, key: &str, value: &str) -> anyhow::Result<bool> {
    Ok(match value {
        "true" | "1" => true,
        "false" | "0" => false,
        other => bail!("--cache-to {text}: {key}={other}, expected true or false"),
    })
}

fn unknown(kind: &str) -> String {
    match kind {
        "gha" | "s3" | "azblob" => {
            format!("type={kind} is unimplemented, expected registry, local or inline")
        }
        other => format!("there is no cache of type {other:?}, expected registry, local or inline"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_is_a_registrys() {
        let reference = "example.com/a:b".parse().unwrap();
        assert_eq!(source("example.com/a:b").unwrap(), CacheSource::Registry { reference });
        let exported = export("type=local,dest=/c,mode=max,mounts=true").unwrap();
        assert_eq!(exported.target, CacheTarget::Local { path: "/c".into(), tag: "latest".into() });
        assert!(exported.mode == CacheMode::Max && exported.mounts && !exported.ignore_error);
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        for (text, part) in [
            ("type=registry", "ref=NAME"),
            ("type=local", "dest=DIR"),
            ("type=s3,bucket=x", "bucket"),
            ("type=gha", "unimplemented"),
            ("type=inline,mode=most", "min or max"),
            ("type=inline,mounts=maybe", "true or false"),
        ] {
            let error = export(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(source("type=local,dest=/x").unwrap_err().to_string().contains("dest"));
    }
}
