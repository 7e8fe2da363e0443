//! Semantic versions (Kubernetes' semver library; semver.org 2.0.0).

use super::{Args, Result};
use crate::opaque::Opaque;
use crate::overload::{Cost, Row};
use crate::{EvalError, Value};
use semver::Version;
use std::cmp::Ordering;
use std::sync::Arc;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("string_to_semver", "semver", "string", "kubernetes.Semver", Cost::Parse, |args| made(args, false)),
    Row("string_bool_to_semver", "semver", "string bool", "kubernetes.Semver", Cost::Parse, |args| made(args, Args(args).bool(1)?)),
    Row("is_semver_string", "isSemver", "string", "bool", Cost::Parse, |args| Ok(Value::Bool(made(args, false).is_ok()))),
    Row("is_semver_string_bool", "isSemver", "string bool", "bool", Cost::Parse, |args| Ok(Value::Bool(made(args, Args(args).bool(1)?).is_ok()))),
    Row("semver_is_greater_than", ".isGreaterThan", "kubernetes.Semver kubernetes.Semver", "bool", Cost::One, |args| Ok(Value::Bool(order(args)? == Ordering::Greater))),
    Row("semver_is_less_than", ".isLessThan", "kubernetes.Semver kubernetes.Semver", "bool", Cost::One, |args| Ok(Value::Bool(order(args)? == Ordering::Less))),
    Row("semver_compare_to", ".compareTo", "kubernetes.Semver kubernetes.Semver", "int", Cost::One, |args| Ok(Value::Int(order(args)? as i64))),
    Row("semver_major", ".major", "kubernetes.Semver", "int", Cost::One, |args| number(args, |version| version.major)),
    Row("semver_minor", ".minor", "kubernetes.Semver", "int", Cost::One, |args| number(args, |version| version.minor)),
    Row("semver_patch", ".patch", "kubernetes.Semver", "int", Cost::One, |args| number(args, |version| version.patch)),
];

fn made<'a>(args: &[Value<'a>], normalize: bool) -> Result<'a> {
    let text = Args(args).text(0)?;
    let parsed = if normalize { normalized(text) } else { text.parse().ok() };
    let wrong = || EvalError::data(format!("semver parse error during conversion from string: {text:?}"));
    Ok(Value::Opaque(Opaque::Semver(Arc::new(parsed.ok_or_else(wrong)?))))
}

/// `v1.2` as `1.2.0`: without the `v`, with the numbers that are missing, without leading zeros.
fn normalized(text: &str) -> Option<Version> {
    let mut parts: Vec<_> =
        text.strip_prefix('v').unwrap_or(text).splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 && parts.last()?.contains(['+', '-']) {
        return None;
    }
    parts.resize(3, "0".to_owned());
    parts.join(".").parse().ok()
}

fn without_zeros(part: &str) -> String {
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|c: char| c.is_ascii_digit()) || rest == part {
        rest.to_owned()
    } else {
        format!("0{rest}")
    }
}

fn version<'v>(args: &'v [Value<'_>], index: usize) -> std::result::Result<&'v Version, EvalError> {
    match args.get(index) {
        Some(Value::Opaque(Opaque::Semver(version))) => Ok(version),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn order(args: &[Value<'_>]) -> std::result::Result<Ordering, EvalError> {
    Ok(version(args, 0)?.cmp_precedence(version(args, 1)?))
}

fn number<'a>(args: &[Value<'a>], of: fn(&Version) -> u64) -> Result<'a> {
    i64::try_from(of(version(args, 0)?)).map(Value::Int).map_err(|_| EvalError::Overflow("integer"))
}
