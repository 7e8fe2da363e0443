//! What is wrong with a Dockerfile, all of it at once.

use hako_error::{Classify, FieldCause, Kind};
use std::fmt;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
    /// The line as written.
    pub text: String,
    /// Whether it is sound and merely not built.
    pub is_unimplemented: bool,
}

/// Why a Dockerfile cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerfileError {
    /// The file's name as the user gave it.
    pub file: String,
    /// At least one fault, by line.
    pub faults: Vec<Fault>,
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}: {}", self.file, fault.line, fault.message)?;
            if !fault.text.trim().is_empty() {
                write!(f, "\n  {} | {}", fault.line, fault.text.trim_end())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for DockerfileError {}

impl Classify for DockerfileError {
    fn kind(&self) -> Kind {
        if self.faults.iter().all(|fault| fault.is_unimplemented) {
            Kind::Unimplemented
        } else {
            Kind::Invalid
        }
    }

    fn causes(&self) -> Vec<FieldCause> {
        let cause = |fault: &Fault| FieldCause {
            reason: "FieldValueInvalid".into(),
            message: fault.message.clone(),
            field: format!("{}:{}", self.file, fault.line),
        };
        self.faults.iter().map(cause).collect()
    }
}
