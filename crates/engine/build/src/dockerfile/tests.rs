use super::*;
use hako_error::{Classify, Kind};
use std::collections::HashMap;

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
fn what_is_not_built_says_so_with_its_line() {
    for text in
        ["FROM x\nONBUILD RUN a", "FROM x\nADD https://example.com/x /x", "FROM x\nCOPY --parents a b"]
    {
        let error = refuse_unbuilt(&parsed(text), "Dockerfile").unwrap_err();
        assert_eq!(
            (error.kind(), error.faults.len(), error.faults[0].line),
            (Kind::Unimplemented, 1, 2),
            "{error}"
        );
    }
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
        ("FROM x\nCOPY a b c", "ends in"),
        ("FROM x\nSHELL /bin/sh", "JSON"),
        ("FROM x\nENV a='b", "single quote"),
        ("# escape=x\nFROM x", "escape"),
    ] {
        let error = fails(text).to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

fn expanded(word: &str) -> Result<String, String> {
    let variables = HashMap::from([("a", "1"), ("empty", ""), ("b_2", "two")]);
    expand(word, '\\', &|name| variables.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn variables_expand_in_all_their_forms() {
    for (word, value) in [
        ("$a", "1"),
        ("${a}x", "1x"),
        ("$b_2-", "two-"),
        ("$nothing", ""),
        ("${nothing:-d}", "d"),
        ("${nothing-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${a:-d}", "1"),
        ("${a:+s}", "s"),
        ("${empty:+s}", ""),
        ("${empty+s}", "s"),
        ("${nothing:-${a}}", "1"),
        ("\\$a", "$a"),
        ("'$a'", "$a"),
        ("\"$a b\"", "1 b"),
        ("\"\\$a\\x\"", "$a\\x"),
        ("a\\ b", "a b"),
        ("$", "$"),
        ("x$-", "x"),
        ("${a:?no}", "1"),
    ] {
        assert_eq!(expanded(word).as_deref(), Ok(value), "{word}");
    }
    for word in ["${a", "${}", "'a", "\"a", "${nothing:?it is needed}", "${a:=x}"] {
        assert!(expanded(word).is_err(), "{word}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(FROM|RUN|COPY|ENV|ARG|#|<<|\\\\\n|\n|[ -~]|\\[|\"|\\$\\{|é){0,80}") {
        let _ = parse(&text, "f");
    }

    #[test]
    fn plain_words_expand_to_themselves(word in "[a-zA-Z0-9 /:._-]{0,40}") {
        proptest::prop_assert_eq!(expanded(&word), Ok(word));
    }
}
