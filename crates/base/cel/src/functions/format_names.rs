//! Formats that texts are checked against (Kubernetes' format library).

use super::{Args, Result};
use crate::opaque::Opaque;
use crate::overload::{Cost, Row};
use crate::{EvalError, Value, time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hako_kube::names;

/// A format with its check, which says everything that is wrong.
#[derive(Debug)]
pub struct NamedFormat {
    pub(crate) name: &'static str,
    check: fn(&str) -> Vec<String>,
    /// Characters of the expression that it is counted as.
    pub(crate) pattern_size: u64,
}

static FORMATS: &[NamedFormat] = &[
    NamedFormat { name: "dns1123Label", check: names::dns_label, pattern_size: 30 },
    NamedFormat { name: "dns1123Subdomain", check: names::dns_subdomain, pattern_size: 60 },
    NamedFormat { name: "dns1035Label", check: names::dns_1035_label, pattern_size: 30 },
    NamedFormat { name: "qualifiedName", check: names::qualified_name, pattern_size: 60 },
    NamedFormat {
        name: "dns1123LabelPrefix",
        check: |text| names::dns_label(&completed(text)),
        pattern_size: 30,
    },
    NamedFormat {
        name: "dns1123SubdomainPrefix",
        check: |text| names::dns_subdomain(&completed(text)),
        pattern_size: 60,
    },
    NamedFormat {
        name: "dns1035LabelPrefix",
        check: |text| names::dns_1035_label(&completed(text)),
        pattern_size: 30,
    },
    NamedFormat { name: "labelValue", check: names::label_value, pattern_size: 40 },
    NamedFormat {
        name: "uri",
        check: |text| one(is_uri(text), format!("parse {text:?}: invalid URI for request")),
        pattern_size: 1_024,
    },
    NamedFormat {
        name: "uuid",
        check: |text| one(is_uuid(text), "does not match the UUID format".into()),
        pattern_size: 64,
    },
    NamedFormat {
        name: "byte",
        check: |text| one(STANDARD.decode(text).is_ok(), "invalid base64".into()),
        pattern_size: 84,
    },
    NamedFormat {
        name: "date",
        check: |text| one(text.len() == 10 && time::timestamp(text).is_some(), "invalid date".into()),
        pattern_size: 100,
    },
    NamedFormat {
        name: "datetime",
        check: |text| one(text.len() > 10 && time::timestamp(text).is_some(), "invalid datetime".into()),
        pattern_size: 100,
    },
];

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("format.dns1123Label", "format.dns1123Label", "", "kubernetes.NamedFormat", Cost::One, |_| called("dns1123Label")),
    Row("format.dns1123Subdomain", "format.dns1123Subdomain", "", "kubernetes.NamedFormat", Cost::One, |_| called("dns1123Subdomain")),
    Row("format.dns1035Label", "format.dns1035Label", "", "kubernetes.NamedFormat", Cost::One, |_| called("dns1035Label")),
    Row("format.qualifiedName", "format.qualifiedName", "", "kubernetes.NamedFormat", Cost::One, |_| called("qualifiedName")),
    Row("format.dns1123LabelPrefix", "format.dns1123LabelPrefix", "", "kubernetes.NamedFormat", Cost::One, |_| called("dns1123LabelPrefix")),
    Row("format.dns1123SubdomainPrefix", "format.dns1123SubdomainPrefix", "", "kubernetes.NamedFormat", Cost::One, |_| called("dns1123SubdomainPrefix")),
    Row("format.dns1035LabelPrefix", "format.dns1035LabelPrefix", "", "kubernetes.NamedFormat", Cost::One, |_| called("dns1035LabelPrefix")),
    Row("format.labelValue", "format.labelValue", "", "kubernetes.NamedFormat", Cost::One, |_| called("labelValue")),
    Row("format.uri", "format.uri", "", "kubernetes.NamedFormat", Cost::One, |_| called("uri")),
    Row("format.uuid", "format.uuid", "", "kubernetes.NamedFormat", Cost::One, |_| called("uuid")),
    Row("format.byte", "format.byte", "", "kubernetes.NamedFormat", Cost::One, |_| called("byte")),
    Row("format.date", "format.date", "", "kubernetes.NamedFormat", Cost::One, |_| called("date")),
    Row("format.datetime", "format.datetime", "", "kubernetes.NamedFormat", Cost::One, |_| called("datetime")),
    Row("format-named", "format.named", "string", "optional(kubernetes.NamedFormat)", Cost::One, named),
    Row("format-validate", ".validate", "kubernetes.NamedFormat string", "optional(list(string))", Cost::Validate, validate),
];

fn find(name: &str) -> Option<&'static NamedFormat> {
    FORMATS.iter().find(|format| format.name == name)
}

fn called<'a>(name: &str) -> Result<'a> {
    find(name).map(|format| Value::Opaque(Opaque::Format(format))).ok_or(EvalError::NoSuchOverload)
}

fn named<'a>(args: &[Value<'a>]) -> Result<'a> {
    let found = find(Args(args).text(0)?);
    Ok(found.map_or(Value::Optional(None), |format| Value::some(Value::Opaque(Opaque::Format(format)))))
}

fn validate<'a>(args: &[Value<'a>]) -> Result<'a> {
    let Some(Value::Opaque(Opaque::Format(format))) = args.first() else {
        return Err(EvalError::NoSuchOverload);
    };
    let faults: Vec<_> = (format.check)(Args(args).text(1)?).into_iter().map(Value::text).collect();
    Ok(if faults.is_empty() { Value::Optional(None) } else { Value::some(Value::list(faults)) })
}

/// A prefix may end in a dash, because more follows.
fn completed(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) => format!("{rest}a"),
        None => text.to_owned(),
    }
}

fn one(holds: bool, fault: String) -> Vec<String> {
    if holds { Vec::new() } else { vec![fault] }
}

fn is_uri(text: &str) -> bool {
    super::urls::is_valid(text)
}

fn is_uuid(text: &str) -> bool {
    let digits: Vec<_> = text.chars().filter(|c| *c != '-').collect();
    digits.len() == 32 && digits.iter().all(char::is_ascii_hexdigit)
}
