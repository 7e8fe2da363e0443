use super::*;

fn files(text: &str) -> Vec<InlineFile> {
    let [Instruction::Copy(copy)] = &steps(text)[..] else { panic!("{text}") };
    copy.files.clone()
}

fn file(name: &str, content: &str, is_expanded: bool) -> InlineFile {
    InlineFile { name: name.into(), content: content.into(), is_expanded }
}

#[test]
fn a_heredoc_alone_is_what_the_shell_runs() {
    assert_eq!(steps("RUN <<EOF\na\n# no comment\n\nb \\\nEOF"), [run_shell("a\n# no comment\n\nb \\\n")]);
    assert_eq!(steps("RUN <<-EOF\n\t\ta\n\tEOF\nRUN b"), [run_shell("a\n"), run_shell("b")]);
    assert_eq!(steps("RUN << EOF\na\nEOF"), [run_shell("a\n")], "blanks before the name are possible");
    assert_eq!(steps("RUN <<'E F'\na\nE F"), [run_shell("a\n")]);
}

#[test]
fn a_heredoc_with_a_shebang_is_a_program() {
    let content = "#!/usr/bin/env python3\nprint(1)\n".to_owned();
    let [instruction] = &steps(&format!("RUN <<EOF\n{content}EOF"))[..] else { panic!() };
    assert_eq!(*instruction, run(Program::Script { name: "EOF".into(), content }));
    let Instruction::Run(run) = instruction else { panic!() };
    assert_eq!(run.program.words(&["sh".into()]), ["/dev/pipes/EOF"]);
}

#[test]
fn heredocs_beside_a_command_go_to_the_shell_as_they_are() {
    let text = "cat <<A >x && cat 3<<-B\na\nA\n\tb\nB";
    assert_eq!(steps(&format!("RUN {text}")), [run_shell("cat <<A >x && cat 3<<-B\na\nA\n\tb\nB")]);
    assert_eq!(
        steps("RUN python3 <<EOF\nx\nEOF\nRUN y"),
        [run_shell("python3 <<EOF\nx\nEOF"), run_shell("y")]
    );
    assert_eq!(
        steps("RUN cat <<EOF|sh\nx\nEOF\nRUN y")[1],
        run_shell("y"),
        "signs of the shell end the name"
    );
    assert_eq!(steps("RUN cat <<EOF; b\nx\nEOF\nRUN y")[1], run_shell("y"));
}

#[test]
fn what_looks_like_a_heredoc_and_is_none_stays_in_the_line() {
    for line in [
        "echo $((1 << 2))",
        "cat <<<x",
        "echo \"<<EOF\"",
        "echo '<<EOF'",
        "echo \\<<EOF",
        "a <<",
        "it's <<EOF",
    ] {
        assert_eq!(steps(&format!("RUN {line}\nRUN b")), [run_shell(line), run_shell("b")], "{line}");
    }
    assert_eq!(steps("RUN [\"cat\", \"<<EOF\"]\nRUN b").len(), 2);
    assert_eq!(steps("CMD cat <<EOF\nUSER a").len(), 2, "only RUN, COPY and ADD have them");
}

#[test]
fn copy_makes_files_of_them() {
    assert_eq!(files("COPY <<EOF /x\na $b\nEOF"), [file("EOF", "a $b\n", true)]);
    assert_eq!(files("COPY <<'EOF' /x\na $b\nEOF"), [file("EOF", "a $b\n", false)]);
    assert_eq!(files("ADD <<-\"a.txt\" /x\n\t\ta\n\t  b\n\ta.txt"), [file("a.txt", "a\n  b\n", false)]);
    assert_eq!(files("COPY <<E /x\nE"), [file("E", "", true)]);
    assert_eq!(files("COPY <<E /x\na\r\nE\r\n"), [file("E", "a\r\n", true)]);
    assert_eq!(
        files("COPY <<one a <<two /x/\n1\none\n2\ntwo"),
        [file("one", "1\n", true), file("two", "2\n", true)]
    );
}

#[test]
fn lines_after_a_heredoc_keep_their_numbers() {
    let file = parsed("FROM x\nCOPY <<A <<B /x/\na\nA\nb\nB\nRUN c\n");
    let lines: Vec<_> = file.stages[0].steps.iter().map(|step| (step.line, step.last_line)).collect();
    assert_eq!(lines, [(2, 6), (7, 7)]);
    assert_eq!(file.stages[0].steps[0].text, "COPY <<A <<B /x/");
}

#[test]
fn heredocs_that_make_no_sense_are_refused() {
    for (text, part) in [
        ("FROM x\nRUN <<EOF\na\n", "2: the heredoc is not closed: no line after this one is just \"EOF\""),
        ("FROM x\nRUN <<EOF\na\n EOF", "not closed"),
        ("FROM x\nCOPY a <<EOF\nb\nEOF", "as its destination"),
        ("FROM x\nCOPY <<A /x\n${a\nA", "no form of expansion"),
    ] {
        let error = fails(text).to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}
