//! What a Dockerfile may say and the builder does not do yet: refused before anything runs.

use super::{Dockerfile, DockerfileError, Fault, Instruction, Network, Program, Security, is_remote};

/// Fails with every place of the file that cannot be carried out.
pub(crate) fn refuse_unbuilt(file: &Dockerfile, name: &str) -> Result<(), DockerfileError> {
    let steps = file.stages.iter().flat_map(|stage| &stage.steps);
    let faults: Vec<Fault> = steps
        .filter_map(|step| {
            let what = unbuilt(&step.instruction)?;
            let message = format!("{what} is not implemented");
            Some(Fault { line: step.line, message, text: step.text.clone(), is_unimplemented: true })
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(DockerfileError { file: name.to_owned(), faults }) }
}

fn unbuilt(instruction: &Instruction) -> Option<&'static str> {
    match instruction {
        Instruction::Run(run) if !run.mounts.is_empty() => Some("RUN --mount"),
        Instruction::Run(run) if run.network != Network::Default => Some("RUN --network"),
        Instruction::Run(run) if run.security != Security::Sandbox => Some("RUN --security=insecure"),
        Instruction::Run(run) if !run.devices.is_empty() => Some("RUN --device"),
        Instruction::Run(run) if matches!(run.program, Program::Script { .. }) => Some("RUN with a script"),
        Instruction::Copy(copy) if !copy.files.is_empty() => Some("a heredoc as a source"),
        Instruction::Copy(copy) if copy.keeps_parents => Some("COPY --parents"),
        Instruction::Copy(copy) if !copy.excludes.is_empty() => Some("--exclude"),
        Instruction::Copy(copy) if copy.unpack.is_some() => Some("ADD --unpack"),
        Instruction::Copy(copy) if copy.is_add && copy.sources.iter().any(|source| is_remote(source)) => {
            Some("ADD of a URL or a git repository")
        }
        Instruction::Copy(copy) if copy.chmod.as_deref().is_some_and(is_symbolic) => {
            Some("a symbolic --chmod")
        }
        Instruction::Onbuild(_) => Some("ONBUILD"),
        _ => None,
    }
}

fn is_symbolic(mode: &str) -> bool {
    !mode.starts_with(|c: char| c.is_ascii_digit() || c == '$')
}
