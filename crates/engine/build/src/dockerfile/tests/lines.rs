//! Directives, continued lines, bounds, and instructions inside of others.

use super::*;

#[test]
fn directives_stand_at_the_top() {
    let text = "#!/usr/bin/env docker-build\n# Syntax = docker/dockerfile:1.7 \n#escape=`\n# check=skip=all;error=true\nFROM x";
    let directives = parsed(text).directives;
    assert_eq!(directives.syntax.as_deref(), Some("docker/dockerfile:1.7"));
    assert_eq!(directives.escape, '`');
    assert_eq!(directives.check, Some((4, "skip=all;error=true".into())));
    for late in ["# a\n# escape=`\nFROM x", "\n# escape=`\nFROM x", "# other=1\n# escape=`\nFROM x"] {
        assert_eq!(parsed(late).escape, '\\', "{late:?}");
    }
    assert_eq!(parsed("\u{feff}# escape=`\r\nFROM x\r\n").escape, '`');
    assert!(fails("# escape=`\n# escape=`\nFROM x").to_string().contains("two escape directives"));
}

#[test]
fn an_escape_that_is_escaped_does_not_continue() {
    assert_eq!(steps("RUN a\\\\\nRUN b"), [run_shell("a\\\\"), run_shell("b")]);
    assert_eq!(steps("RUN a \\  \t\n  b"), [run_shell("a   b")], "blanks after it do not matter");
    assert_eq!(steps("RUN a \\\r\n  b\r\n"), [run_shell("a   b")]);
    assert_eq!(steps("RUN a \\"), [run_shell("a")], "the file may end in one");
}

#[test]
fn a_hash_inside_a_line_is_no_comment() {
    assert_eq!(steps("  # one\n  RUN echo '# two'"), [run_shell("echo '# two'")]);
}

#[test]
fn stages_of_one_name_are_possible() {
    let file = parsed("FROM a AS x\nFROM b AS X\nFROM x");
    assert_eq!(file.stages.iter().filter(|stage| stage.name.as_deref() == Some("x")).count(), 2);
}

#[test]
fn triggers_are_kept_as_text_and_read_later() {
    let text = "OnBuild  COPY --from=later \\\n a /b\nONBUILD RUN <<EOF\necho\nEOF\n";
    let [Instruction::Onbuild(text), Instruction::Onbuild(heredoc)] = &steps(text)[..] else { panic!() };
    assert_eq!(text, "COPY --from=later  a /b");
    let read = triggers(&[text.clone(), heredoc.clone()], '\\', "base").unwrap();
    assert!(matches!(&read[0].instruction, Instruction::Copy(copy) if copy.from.as_deref() == Some("later")));
    assert_eq!((&read[1].instruction, read[1].line), (&run_shell("echo\n"), 2));
    let error = triggers(&["RUN a".into(), "RNU a".into(), "FROM a".into()], '\\', "base").unwrap_err();
    assert_eq!(error.faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2, 3]);
    assert!(triggers(&["RUN a\nRUN b".into()], '\\', "base").is_err(), "a trigger is one instruction");
}

#[test]
fn words_that_are_not_strings_are_no_json_form() {
    for text in ["CMD [1]", "RUN [\"a\", null]", "COPY [\"a\", [\"b\"]]", "VOLUME [true]", "ENTRYPOINT [{}]"]
    {
        assert!(fails(&format!("FROM x\n{text}")).to_string().contains("array of strings"), "{text}");
    }
    assert_eq!(steps("CMD [\"a\", ]"), [Instruction::Cmd(shell("[\"a\", ]"))]);
    assert_eq!(steps("VOLUME [\"/a b\", \"/c\"]"), [Instruction::Volume(owned(&["/a b", "/c"]))]);
    assert_eq!(steps("VOLUME /a  /b"), [Instruction::Volume(owned(&["/a", "/b"]))]);
    assert_eq!(steps("EXPOSE 80 8000-8010/udp"), [Instruction::Expose(owned(&["80", "8000-8010/udp"]))]);
}

#[test]
fn ports_are_listed_one_by_one_with_their_protocol() {
    for (word, ports) in [
        ("80", &["80/tcp"] as &[&str]),
        ("53/UDP", &["53/udp"]),
        ("80/", &["80/tcp"]),
        ("5000-5002/sctp", &["5000/sctp", "5001/sctp", "5002/sctp"]),
        ("8080:80", &["80/tcp"]),
        ("127.0.0.1:8080:80/udp", &["80/udp"]),
        ("[::1]::80", &["80/tcp"]),
        ("1-2:3-4", &["3/tcp", "4/tcp"]),
    ] {
        assert_eq!(exposed_ports(word).unwrap(), ports, "{word}");
    }
    for word in
        ["", "a", "-", "80-", "81-80", "65536", "+80", "80/icmp", "1-3:4-5", "x:80:80", "300.0.0.1:80:80"]
    {
        assert!(exposed_ports(word).is_err(), "{word}");
        assert!(word.is_empty() || parse(&format!("FROM x\nEXPOSE {word}"), "f").is_err(), "{word}");
    }
}

#[test]
fn files_that_are_too_long_are_refused() {
    for (text, part) in [
        ("FROM x\nRUN ".to_owned() + &"a".repeat(70_000), "longer than 65535 bytes"),
        (
            "FROM x\nRUN ".to_owned() + &format!("{}\\\n", "a".repeat(60_000)).repeat(20),
            "longer than 1048576",
        ),
        ("FROM x\n".to_owned() + &"#\n".repeat(MAX_FILE_BYTES / 2), "the file is longer"),
        ("FROM x\nRUN ".to_owned() + &"<<E ".repeat(100) + "\n", "more than 64 heredocs"),
        ("FROM x\nENV A=".to_owned() + &"${A:-".repeat(100), "nested"),
        ("FROM x\n".to_owned() + &"NO\n".repeat(1000), "unknown instruction"),
    ] {
        let error = fails(&text);
        let shown: String = error.to_string().chars().take(300).collect();
        assert!(error.to_string().contains(part), "{part}: {shown}");
        assert!(error.faults.len() <= 50 && error.to_string().len() < 100_000);
    }
}
