//! Failures as people and scripts see them: one line and an exit code.

use std::process::ExitCode;

/// Prints the whole chain of causes on one line and gives the exit code: 1, or 125 as Docker answers where a
/// container could not even be made.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    crate::output::error(&format!("hako: {}", one_line(error)));
    ExitCode::from(error.downcast_ref::<EngineFailed>().map_or(1, |_| 125))
}

/// The error chain without a cause that its context already says.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.ends_with(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line
}

/// The engine refused before a container's process could run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EngineFailed(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_chain_is_one_line_without_repetition() {
        let error = Err::<(), _>(anyhow::anyhow!("disk full"))
            .context("write x: disk full")
            .context("build")
            .unwrap_err();
        assert_eq!(one_line(&error), "build: write x: disk full");
    }
}
