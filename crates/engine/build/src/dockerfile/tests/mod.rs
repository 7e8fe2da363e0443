use super::*;
use hako_error::{Classify, Kind};

mod copy;
mod coverage;
mod expand;
mod heredoc;
mod lines;
mod run;

fn parsed(text: &str) -> Dockerfile {
    parse(text, "Dockerfile").unwrap()
}

fn steps(text: &str) -> Vec<Instruction> {
    parsed(&format!("FROM x\n{text}"))
        .stages
        .remove(0)
        .steps
        .into_iter()
        .map(|step| step.instruction)
        .collect()
}

fn fails(text: &str) -> DockerfileError {
    parse(text, "Dockerfile").unwrap_err()
}

fn shell(line: &str) -> Command {
    Command::Shell(line.into())
}

fn exec(words: &[&str]) -> Command {
    Command::Exec(owned(words))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// RUN without flags.
fn run(program: Program) -> Instruction {
    let (mounts, devices) = (Vec::new(), Vec::new());
    Instruction::Run(Run { program, mounts, network: Network::Default, security: Security::Sandbox, devices })
}

fn run_shell(text: &str) -> Instruction {
    run(Program::Shell(text.into()))
}

#[test]
fn stages_have_names_bases_and_lines() {
    let file = parsed(
        "# a comment\nARG V=1\nFROM --platform=linux/amd64 a:$V AS Build\n\nFROM scratch\nCOPY --from=build /a /b\n",
    );
    assert_eq!(file.global_args.len(), 1);
    let [build, last] = file.stages.as_slice() else { panic!("{file:?}") };
    assert_eq!((build.name.as_deref(), build.base.as_str(), build.line), (Some("build"), "a:$V", 3));
    assert_eq!(build.platform.as_deref(), Some("linux/amd64"));
    assert_eq!((last.name.as_deref(), last.base.as_str(), last.steps[0].line), (None, "scratch", 6));
}

#[test]
fn lines_continue_over_comments_and_blank_lines() {
    let text = "RUN a && \\\n# why\n\n   b \\\n  && c\nRUN d";
    assert_eq!(steps(text), [run_shell("a &&    b   && c"), run_shell("d"),]);
}

#[test]
fn the_escape_character_can_be_a_backtick() {
    let file = parsed("# escape=`\nFROM x\nRUN a `\n  b\nENV P=c:\\dir");
    assert_eq!(file.escape, '`');
    assert_eq!(file.stages[0].steps[0].instruction, run_shell("a   b"));
    let late = parsed("FROM x\n# escape=`\nRUN a");
    assert_eq!(late.escape, '\\', "a directive counts only at the top");
}

#[test]
fn commands_have_two_forms() {
    assert_eq!(steps("RUN [\"a\", \"b c\"]"), [run(Program::Exec(owned(&["a", "b c"])))]);
    assert_eq!(steps("CMD [a]"), [Instruction::Cmd(shell("[a]"))], "what is no JSON is for the shell");
    assert_eq!(steps("ENTRYPOINT a b"), [Instruction::Entrypoint(shell("a b"))]);
    assert_eq!(steps("CMD []"), [Instruction::Cmd(exec(&[]))]);
}

#[test]
fn copy_has_flags_and_a_json_form() {
    let [Instruction::Copy(copy)] = &steps("COPY --from=0x --chown=a:b --chmod=755 a b/ c/")[..] else {
        panic!()
    };
    assert_eq!(
        (copy.from.as_deref(), copy.chown.as_deref(), copy.chmod.as_deref()),
        (Some("0x"), Some("a:b"), Some("755"))
    );
    assert_eq!((copy.sources.len(), copy.destination.as_str(), copy.is_add), (2, "c/", false));
    let [Instruction::Copy(copy)] = &steps("ADD [\"a b\", \"c\"]")[..] else { panic!() };
    assert_eq!((copy.sources[0].as_str(), copy.is_add), ("a b", true));
}

#[test]
fn pairs_have_quotes_and_an_old_form() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        steps(r#"ENV a=1 b="x y" c=x\ y"#),
        [Instruction::Env(vec![pair("a", "1"), pair("b", "\"x y\""), pair("c", "x\\ y"),])]
    );
    assert_eq!(steps("ENV key some words"), [Instruction::Env(vec![pair("key", "some words")])]);
    assert_eq!(
        steps("ARG a b=c"),
        [Instruction::Arg(vec![("a".into(), None), ("b".into(), Some("c".into()))])]
    );
}

#[test]
fn healthchecks_are_kept_as_docker_stores_them() {
    let [Instruction::Healthcheck(check)] = &steps("HEALTHCHECK --interval=1m30s --retries=3 CMD true")[..]
    else {
        panic!()
    };
    assert_eq!(check["Interval"], 90_000_000_000_i64);
    assert_eq!(check["Test"], serde_json::json!(["CMD-SHELL", "true"]));
    assert_eq!(check["Retries"], 3);
    let [Instruction::Healthcheck(check)] =
        &steps("HEALTHCHECK --timeout=1.5s --start-period=0 --start-interval=500ms cmd [\"a\", \"b\"]")[..]
    else {
        panic!()
    };
    assert_eq!(
        *check,
        serde_json::json!({"Timeout": 1_500_000_000_i64, "StartInterval": 500_000_000, "Test": ["CMD", "a", "b"]})
    );
    assert_eq!(steps("HEALTHCHECK none"), [Instruction::Healthcheck(serde_json::json!({"Test": ["NONE"]}))]);
}

#[test]
fn all_faults_are_reported_at_once_with_their_lines() {
    let error = fails("FROM x\nRNU a\nCOPY a\nENV =x\nUSER a b\nRUN ok\nWORKDIR ${a\n");
    let lines: Vec<usize> = error.faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 7]);
    assert_eq!(error.kind(), Kind::Invalid);
    let text = error.to_string();
    assert!(
        text.starts_with("Dockerfile:2: unknown instruction RNU, did you mean RUN?\n  2 | RNU a\n"),
        "{text}"
    );
    assert_eq!(error.causes().len(), 5);
}

#[test]
fn files_that_make_no_sense_are_refused() {
    for (text, part) in [
        ("", "no FROM"),
        ("RUN a", "before FROM"),
        ("FROM", "FROM takes an image"),
        ("FROM a b", "FROM takes an image"),
        ("FROM a AS 1x", "not a name"),
        ("FROM a AS b\nCOPY --from=b x y", "no earlier stage"),
        ("FROM a\nCOPY --from=c x y\nFROM b AS c", "no earlier stage"),
        ("FROM x\nRUN", "at least one argument"),
        ("FROM x\nCOPY --chmod=u+z a b", "octal"),
        ("FROM x\nSHELL /bin/sh", "JSON"),
        ("FROM x\nENV a='b", "single quote"),
        ("# escape=x\nFROM x", "escape"),
        ("FROM x\nCOPPY a b", "did you mean COPY?"),
        ("FROM --platfrom=a x", "did you mean --platform?"),
        ("FROM --platform=a --platform=b x", "given twice"),
        ("FROM x\nENV --a b=c", "ENV has no flag --a"),
        ("FROM x\nONBUILD ONBUILD RUN a", "ONBUILD ONBUILD"),
        ("FROM x\nONBUILD FROM a", "not allowed as a trigger"),
        ("FROM x\nONBUILD MAINTAINER a", "not allowed as a trigger"),
        ("FROM x\nONBUILD COPY a", "at least one source"),
        ("FROM x\nSTOPSIGNAL SIGTREM", "did you mean TERM?"),
        ("FROM x\nSTOPSIGNAL 65", "is no signal"),
        ("FROM x\nSTOPSIGNAL 0", "is no signal"),
        ("FROM x\nHEALTHCHECK --intervall=1s CMD a", "did you mean --interval?"),
        ("FROM x\nHEALTHCHECK --interval=1 CMD a", "is no duration"),
        ("FROM x\nHEALTHCHECK --interval=1us CMD a", "less than a millisecond"),
        ("FROM x\nHEALTHCHECK --retries=-1 CMD a", "a number from 0"),
        ("FROM x\nHEALTHCHECK NONE a", "takes no arguments"),
        ("FROM x\nHEALTHCHECK CMD", "and a command"),
        ("FROM x\nVOLUME [\"\"]", "an empty one"),
        ("FROM x\nARG =a", "no name"),
        ("FROM x\nENV a", "has no value"),
        ("FROM x\nENV a=b c", "key=value"),
        ("FROM x\nRUN []", "no program"),
        ("FROM x\nSHELL []", "JSON"),
    ] {
        let error = fails(text).to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

fn assert_lines(file: &Dockerfile, lines: usize) {
    for step in file.stages.iter().flat_map(|stage| &stage.steps) {
        assert!(step.line > 0 && step.line <= step.last_line && step.last_line <= lines);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(FROM|RUN|COPY|ENV|ARG|#|<<|\\\\\n|\n|[ -~]|\\[|\"|\\$\\{|é){0,80}") {
        let _ = parse(&text, "f");
    }

    #[test]
    fn no_lines_make_the_parser_panic(
        text in "((FROM|RUN|COPY|ADD|ENV|ARG|ONBUILD|HEALTHCHECK|SHELL|VOLUME|EXPOSE|STOPSIGNAL) ?(--[a-z]{1,8}(=[ -~]{0,8})? )?[ -~é\\t]{0,20}(<<-?[\"']?E[\"']?)?(\\\\)?\n|E\n|#.{0,5}\n|\u{feff}|\r){0,12}",
    ) {
        match parse(&text, "f") {
            Ok(file) => assert_lines(&file, text.split('\n').count()),
            Err(error) => assert!(!error.to_string().is_empty() && error.faults.iter().all(|fault| fault.line > 0)),
        }
    }
}
