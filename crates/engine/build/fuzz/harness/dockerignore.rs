//! Any bytes as a .dockerignore, for the name that its last line gives.

use hako_build::check::{CheckInput, check};
use std::collections::BTreeMap;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (ignore, name) = text.rsplit_once('\n').unwrap_or((&text, "a/b"));
    let dockerfile = format!("FROM scratch\nCOPY {name} /x\n");
    let input =
        CheckInput { args: &BTreeMap::new(), ignore: Some(ignore), base_env: &|_| None, foreign: &[] };
    let _ = check(&dockerfile, "Dockerfile", &input);
}
