//! Manifests from files: several documents each, and the line of every field for messages about it.

use anyhow::{Context, bail};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// One object and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub object: Value,
    pub path: PathBuf,
    /// The first line of its document, counted from 1.
    pub line: u64,
    text: String,
}

impl Manifest {
    /// `Deployment "web"`, for messages.
    pub(crate) fn name(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {:?}", text(&self.object["kind"]), text(&self.object["metadata"]["name"]))
    }

    /// `FILE:LINE` of a field such as `spec.containers[0].image`, or of the document.
    pub(crate) fn position(&self, field: &str) -> String {
        let mut lines = BTreeMap::new();
        let recorder = LineRecorder { path: String::new(), lines: &mut lines };
        // The document parsed before; if not, its first line is what we know.
        let _ = serde_saphyr::with_deserializer_from_str(&self.text, |deserializer| {
            recorder.deserialize(deserializer)
        });
        let mut field = field;
        loop {
            if let Some(line) = lines.get(field) {
                return format!("{}:{}", self.path.display(), self.line + line - 1);
            }
            match field.rfind(['.', '[']) {
                Some(end) => field = &field[..end],
                None => return format!("{}:{}", self.path.display(), self.line),
            }
        }
    }
}

/// Reads files, directories (their *.yaml, *.yml and *.json, sorted) and standard input (`-`).
pub(crate) fn read_all(names: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for name in names {
        for path in files(name)? {
            manifests.extend(parse(&path, &read(&path)?)?);
        }
    }
    if manifests.is_empty() {
        bail!(
            "no objects in {}",
            names.iter().map(|name| name.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(manifests)
}

fn files(name: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !name.is_dir() {
        return Ok(vec![name.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(name).with_context(|| format!("read directory {}", name.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for (line, document) in documents(text) {
        // As in YAML 1.1, which kubectl reads: `defaultMode: 0400` is octal.
        let options = serde_saphyr::options! { legacy_octal_numbers: true };
        let object: Value = serde_saphyr::from_str_with_options(&document, options)
            .map_err(|error| describe(path, line, &error))?;
        match &object {
            Value::Null => {}
            Value::Object(map) if map.get("kind").and_then(Value::as_str) == Some("List") => {
                for item in object["items"].as_array().into_iter().flatten() {
                    manifests.push(Manifest {
                        object: item.clone(),
                        path: path.into(),
                        line,
                        text: String::new(),
                    });
                }
            }
            Value::Object(_) => manifests.push(Manifest { object, path: path.into(), line, text: document }),
            _ => {
                bail!("{}:{line}: a manifest is a mapping with apiVersion, kind and metadata", path.display())
            }
        }
    }
    for manifest in &manifests {
        for field in ["apiVersion", "kind"] {
            if manifest.object[field].as_str().is_none_or(str::is_empty) {
                bail!("{}: {field} is missing", manifest.position(field));
            }
        }
    }
    Ok(manifests)
}

/// A parser's error with the file's line instead of the document's.
fn describe(path: &Path, first_line: u64, error: &serde_saphyr::Error) -> anyhow::Error {
    let text = match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {key:?} is there twice: remove one")
        }
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    match error.location() {
        Some(location) => {
            anyhow::anyhow!(
                "{}:{}:{}: malformed YAML: {text}",
                path.display(),
                first_line + location.line() - 1,
                location.column()
            )
        }
        None => anyhow::anyhow!("{}:{first_line}: malformed YAML: {text}", path.display()),
    }
}

/// The documents of a stream, each with the number of its first line.
fn documents(text: &str) -> Vec<(u64, String)> {
    let mut documents = vec![(1, String::new())];
    for (index, line) in (1..).zip(text.lines()) {
        if line == "---" || line.starts_with("--- ") {
            documents.push((index + 1, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|(_, document)| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    });
    documents
}

/// Walks a document and notes the line of every field.
struct LineRecorder<'a> {
    path: String,
    lines: &'a mut BTreeMap<String, u64>,
}

impl<'de> DeserializeSeed<'de> for LineRecorder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LineRecorder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let path = if self.path.is_empty() { key.value } else { format!("{}.{}", self.path, key.value) };
            self.lines.insert(path.clone(), key.referenced.line());
            map.next_value_seed(LineRecorder { path, lines: self.lines })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            let path = format!("{}[{index}]", self.path);
            if items.next_element_seed(LineRecorder { path, lines: self.lines })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        IgnoredAny::visit_newtype_struct(IgnoredAny, deserializer).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# first\napiVersion: v1\nkind: A\nspec:\n  list:\n  - x: 1\n  - y: 2\n---\n\n---\napiVersion: v1\nkind: B\nspec: {z: 3}\n";

    #[test]
    fn fields_are_found_by_file_and_line() {
        let manifests = parse(Path::new("f.yaml"), TWO).unwrap();
        assert_eq!(manifests.len(), 2);
        assert_eq!(manifests[0].position("spec.list[1].y"), "f.yaml:7");
        assert_eq!(manifests[1].position("spec.z"), "f.yaml:13");
        assert_eq!(manifests[1].position("spec.z.deeper"), "f.yaml:13");
    }

    #[test]
    fn modes_of_files_are_octal_as_kubectl_reads_them() {
        let text = "apiVersion: v1\nkind: A\nspec: {a: 0400, b: 0o644, c: 010, d: \"0400\", e: 08, f: 0}\n";
        let spec = &parse(Path::new("f.yaml"), text).unwrap()[0].object["spec"];
        assert_eq!(spec, &serde_json::json!({"a": 256, "b": 420, "c": 8, "d": "0400", "e": 8.0, "f": 0}));
    }

    #[test]
    fn malformed_yaml_names_file_and_line() {
        let error = parse(Path::new("f.yaml"), "a: 1\n---\nb: [1\nc: 2\n").unwrap_err().to_string();
        assert!(error.starts_with("f.yaml:") && error.contains("malformed YAML"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_document_without_kind_is_named() {
        let error = parse(Path::new("f.yaml"), "apiVersion: v1\nmetadata: {}\n").unwrap_err().to_string();
        assert_eq!(error, "f.yaml:1: kind is missing");
    }
}
