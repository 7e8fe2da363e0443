//! `--sbom`, `--provenance`, `--attest`.

use super::args::BuildArgs;
use super::request::fields;
use anyhow::bail;
use hako_build::{Provenance, ProvenanceMode};

/// Whether a list of packages is wanted: the flag of its own counts before `--attest`.
pub(super) fn sbom(args: &BuildArgs) -> anyhow::Result<bool> {
    let mut wanted = false;
    for text in args.attest.iter().filter(|text| kind(text) == Some("sbom")) {
        wanted = sbom_of(text)?;
    }
    args.sbom.as_ref().map_or(Ok(wanted), |text| sbom_of(text))
}

/// How fully it is said how the image was made.
pub(super) fn provenance(args: &BuildArgs) -> anyhow::Result<Option<Provenance>> {
    let mut wanted = None;
    for text in &args.attest {
        match kind(text) {
            Some("sbom") => {}
            Some("provenance") => wanted = provenance_of(text)?,
            _ => bail!("--attest {text}: expected type=sbom or type=provenance"),
        }
    }
    args.provenance.as_ref().map_or(Ok(wanted), |text| provenance_of(text))
}

fn kind(text: &str) -> Option<&str> {
    fields(text).into_iter().find(|(key, _)| *key == "type").map(|(_, value)| value)
}

fn sbom_of(text: &str) -> anyhow::Result<bool> {
    let mut wanted = true;
    for (key, value) in fields(text) {
        match (key, value) {
            ("true", "") | ("type", "sbom") => {}
            ("false", "") => wanted = false,
            ("disabled", value) => wanted = value == "false",
            ("generator" | "image", _) => {
                bail!("an SBOM generator is unimplemented: leave generator= out, the builder makes it")
            }
            (key, _) => bail!("an SBOM has no field {key:?}, expected true or false"),
        }
    }
    Ok(wanted)
}

fn provenance_of(text: &str) -> anyhow::Result<Option<Provenance>> {
    let (mut told, mut is_wanted) = (Provenance::default(), true);
    for (key, value) in fields(text) {
        match (key, value) {
            ("true", "") | ("type", "provenance") | ("version", "v1") => {}
            // As BuildKit has it, the mode alone will do.
            ("mode", "min") | ("min", "") => told.mode = ProvenanceMode::Min,
            ("mode", "max") | ("max", "") => told.mode = ProvenanceMode::Max,
            ("builder-id", uri) if !uri.is_empty() => told.builder_id = Some(uri.to_owned()),
            ("false", "") => is_wanted = false,
            ("disabled", value) => is_wanted = value == "false",
            ("version", other) => bail!("SLSA provenance {other} is unimplemented, expected version=v1"),
            (key, value) => {
                bail!(
                    "provenance cannot have {key}={value:?}, expected true, false, mode=min|max or builder-id=URI"
                )
            }
        }
    }
    Ok(is_wanted.then_some(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(sbom: Option<&str>, provenance: Option<&str>, attest: &[&str]) -> BuildArgs {
        BuildArgs {
            sbom: sbom.map(str::to_owned),
            provenance: provenance.map(str::to_owned),
            attest: attest.iter().map(ToString::to_string).collect(),
            ..BuildArgs::default()
        }
    }

    #[test]
    fn attestations_are_asked_for_by_either_flag() {
        let asked = |args: &BuildArgs| {
            let told = provenance(args).unwrap();
            (sbom(args).unwrap(), told.as_ref().map(|told| told.mode), told.and_then(|told| told.builder_id))
        };
        assert_eq!(asked(&args(None, None, &[])), (false, None, None));
        assert_eq!(
            asked(&args(Some("true"), Some("mode=max,builder-id=urn:me"), &[])),
            (true, Some(ProvenanceMode::Max), Some("urn:me".into()))
        );
        let both = ["type=sbom", "type=provenance,mode=min"];
        assert_eq!(asked(&args(None, None, &both)), (true, Some(ProvenanceMode::Min), None));
        assert_eq!(asked(&args(Some("false"), Some("false"), &both)), (false, None, None));
        assert_eq!(asked(&args(None, None, &["type=sbom,disabled=true"])), (false, None, None));
    }

    #[test]
    fn what_is_not_made_is_refused_by_name() {
        let refused = |args: &BuildArgs| sbom(args).and(provenance(args).map(drop)).unwrap_err().to_string();
        assert!(refused(&args(Some("generator=x/y"), None, &[])).contains("unimplemented"));
        assert!(refused(&args(None, Some("version=v0.2"), &[])).contains("v0.2"));
        assert!(refused(&args(None, Some("mode=most"), &[])).contains("most"));
        assert!(refused(&args(None, None, &["type=vex"])).contains("type=vex"));
    }
}
