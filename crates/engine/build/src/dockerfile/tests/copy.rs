use super::*;

fn copy(text: &str) -> Copy {
    let [Instruction::Copy(copy)] = &steps(text)[..] else { panic!("{text}") };
    copy.clone()
}

#[test]
fn every_flag_of_copy_is_kept() {
    let copy = copy(
        "COPY --from=b --chown=a:$G --chmod=u=rwX,go=rX --link --parents=true --exclude=*.md --exclude=\"a b\" x /y",
    );
    let expected = Copy {
        sources: owned(&["x"]),
        destination: "/y".into(),
        from: Some("b".into()),
        chown: Some("a:$G".into()),
        chmod: Some("u=rwX,go=rX".into()),
        is_link: true,
        keeps_parents: true,
        excludes: owned(&["*.md", "a b"]),
        ..Copy::default()
    };
    assert_eq!(copy, expected);
}

#[test]
fn every_flag_of_add_is_kept() {
    let sum = format!("sha256:{}", "0a".repeat(32));
    let add = copy(&format!("ADD --checksum={sum} --unpack=false --link=false --exclude=x https://e.x/a /y"));
    assert_eq!(
        (add.checksum.as_deref(), add.unpack, add.is_link, add.is_add),
        (Some(sum.as_str()), Some(false), false, true)
    );
    let add = copy("ADD --keep-git-dir --checksum=0a1b git@e.x:a/b.git#v1 /y");
    assert_eq!((add.keep_git_dir, add.checksum.as_deref()), (Some(true), Some("0a1b")));
    assert_eq!(copy("ADD a /b").unpack, None);
}

#[test]
fn a_lone_dash_pair_ends_the_flags() {
    assert_eq!(copy("COPY -- --a /b").sources, ["--a"]);
}

#[test]
fn remote_sources_are_known_by_how_they_start() {
    for source in ["http://a", "https://a/b", "git@a:b", "git://a/b", "ssh://git@a/b"] {
        assert!(is_remote(source), "{source}");
    }
    for source in ["a", "httpx://a", "./https://a", "github.com/a/b"] {
        assert!(!is_remote(source), "{source}");
    }
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for (text, part) in [
        ("COPY --form=a b c", "did you mean --from?"),
        ("COPY --keep-git-dir a b", "COPY has no flag --keep-git-dir"),
        ("ADD --from=a b c", "ADD has no flag --from"),
        ("COPY --link=maybe a b", "true or false"),
        ("COPY --from a b", "needs a value"),
        ("COPY --chown=a --chown=b c d", "given twice"),
        ("COPY --from=$A b c", "cannot have variables"),
        ("COPY --chmod=999 a b", "an octal mode"),
        ("COPY --chmod=u+rz a b", "an octal mode"),
        ("ADD --checksum=sha256:0 https://a/b c", "64 digits"),
        ("ADD --checksum=0a a b", "exactly one source that is a URL"),
        ("ADD --checksum=0a https://a/b https://a/c d/", "exactly one source"),
        ("ADD --keep-git-dir a b", "for git repositories"),
        ("COPY [\"a\"]", "at least one source"),
    ] {
        let error = fails(&format!("FROM x\n{text}")).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
