//! Any bytes as a Dockerfile, and what it says as triggers of another.

use hako_build::dockerfile::{Instruction, parse, triggers};

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match parse(&text, "Dockerfile") {
        Err(error) => assert!(!error.faults.is_empty() && error.to_string().len() < 100_000),
        Ok(file) => {
            for step in file.stages.iter().flat_map(|stage| &stage.steps) {
                assert!(step.line > 0 && step.line <= step.last_line);
                if let Instruction::Onbuild(trigger) = &step.instruction {
                    let _ = triggers(std::slice::from_ref(trigger), file.escape, "base");
                }
            }
        }
    }
}
