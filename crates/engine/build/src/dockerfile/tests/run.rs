use super::*;

fn flags(text: &str) -> Run {
    let [Instruction::Run(run)] = &steps(&format!("RUN {text} x"))[..] else { panic!("{text}") };
    run.clone()
}

fn mount(text: &str) -> Mount {
    flags(&format!("--mount={text}")).mounts[0].resolve(&mut |word| Ok(word.to_owned())).unwrap()
}

const ROOT: Owner = Owner { mode: 0o400, uid: 0, gid: 0 };

#[test]
fn binds_are_read_only_and_of_the_context_unless_they_say_more() {
    let bind = |target: &str, from: Option<&str>, source: &str, is_read_only| Mount::Bind {
        target: target.into(),
        from: from.map(str::to_owned),
        source: source.into(),
        is_read_only,
    };
    assert_eq!(mount("target=/a"), bind("/a", None, "/", true));
    assert_eq!(mount("type=bind,dst=a,from=b,src=/c,rw"), bind("a", Some("b"), "/c", false));
    assert_eq!(mount("destination=/a,readwrite=false,source=d"), bind("/a", None, "d", true));
    assert_eq!(flags("--mount=from=b,target=/a").mounts[0].from.as_deref(), Some("b"));
}

#[test]
fn caches_have_an_id_a_mode_and_a_way_to_share() {
    let cache = |target: &str, id: &str, sharing, owner| Mount::Cache {
        target: target.into(),
        id: id.into(),
        sharing,
        from: None,
        source: "/".into(),
        is_read_only: false,
        owner,
    };
    let default = Owner { mode: 0o755, uid: 0, gid: 0 };
    assert_eq!(mount("type=cache,target=/a//b/"), cache("/a//b/", "/a/b", Sharing::Shared, default));
    let own = Owner { mode: 0o700, uid: 5, gid: 6 };
    assert_eq!(
        mount("type=cache,target=/a,id=i,sharing=locked,mode=0700,uid=5,gid=6"),
        cache("/a", "i", Sharing::Locked, own)
    );
    let Mount::Cache { is_read_only, sharing, from, .. } =
        mount("type=cache,target=/a,ro,sharing=private,from=b")
    else {
        panic!()
    };
    assert_eq!((is_read_only, sharing, from.as_deref()), (true, Sharing::Private, Some("b")));
}

#[test]
fn memory_may_have_a_size() {
    for (size, bytes) in [("64m", 64 << 20), ("1.5g", 3 << 29), ("100", 100), ("2KiB", 2048), ("1kb", 1024)] {
        let expected = Mount::Tmpfs { target: "/a".into(), size_bytes: Some(bytes), is_read_only: false };
        assert_eq!(mount(&format!("type=tmpfs,target=/a,size={size}")), expected, "{size}");
    }
    let expected = Mount::Tmpfs { target: "/a".into(), size_bytes: None, is_read_only: true };
    assert_eq!(mount("type=tmpfs,target=/a,ro"), expected);
}

#[test]
fn secrets_are_files_or_variables() {
    let secret = |id: &str, target: Option<&str>, env: Option<&str>, is_required| Mount::Secret {
        id: id.into(),
        target: target.map(str::to_owned),
        env: env.map(str::to_owned),
        is_required,
        owner: ROOT,
    };
    assert_eq!(mount("type=secret,id=a"), secret("a", Some("/run/secrets/a"), None, false));
    assert_eq!(mount("type=secret,target=/x/y"), secret("y", Some("/x/y"), None, false));
    assert_eq!(mount("type=secret,id=a,env=B,required"), secret("a", None, Some("B"), true));
    assert_eq!(mount("type=secret,id=a,env=,required=false"), secret("a", None, Some("a"), false));
    assert_eq!(mount("type=secret,src=a,env=B,target=/t"), secret("a", Some("/t"), Some("B"), false));
}

#[test]
fn agents_have_a_default_name() {
    let owner = Owner { mode: 0o600, uid: 1, gid: 0 };
    let ssh = Mount::Ssh { id: "default".into(), target: None, is_required: true, owner };
    assert_eq!(mount("type=ssh,required=1,uid=1"), ssh);
}

#[test]
fn variables_in_mounts_are_expanded_later() {
    let flag = &flags("--mount='type=cache,target=/$D,\"id=a,$I\"'").mounts[0];
    let mount = flag.resolve(&mut |word| expand(word, '\\', &|name| Some(name.to_lowercase()))).unwrap();
    assert!(matches!(&mount, Mount::Cache { target, id, .. } if target == "/d" && id == "a,i"), "{mount:?}");
    assert!(flag.resolve(&mut |_| Err("no".into())).is_err());
}

#[test]
fn network_security_and_devices_are_kept() {
    let run = flags("--network=none --security=insecure --device=a.b/c=d,required --device=name=e");
    assert_eq!((run.network, run.security), (Network::None, Security::Insecure));
    let device = |name: &str, is_required| Device { name: name.into(), is_required };
    assert_eq!(run.devices, [device("a.b/c=d", true), device("e", false)]);
    assert_eq!(flags("--network=host").network, Network::Host);
    assert_eq!(flags("--network=default --security=sandbox").network, Network::Default);
    assert_eq!(flags("--mount=target=/a \\\n  --mount=target=/b").mounts.len(), 2);
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for (text, part) in [
        ("--mounts=target=/a", "did you mean --mount?"),
        ("--mount=type=chace,target=/a", "did you mean cache?"),
        ("--mount=tagret=/a", "did you mean target?"),
        ("--mount=type=cache", "needs a target"),
        ("--mount=target=/", "cannot be the root"),
        ("--mount=target=/a/..", "cannot be the root"),
        ("--mount=target", "target needs a value"),
        ("--mount=from=$A,target=/a", "cannot have variables"),
        ("--mount=type=secret", "needs an id or a target"),
        ("--mount=type=secret,id=a,src=b", "not both"),
        ("--mount=type=secret,id=a,from=b", "cannot have from"),
        ("--mount=target=/a,sharing=locked", "cannot have sharing"),
        ("--mount=type=cache,target=/a,sharing=loked", "did you mean locked?"),
        ("--mount=type=cache,target=/a,required", "cannot have required"),
        ("--mount=type=tmpfs,target=/a,mode=700", "cannot have mode"),
        ("--mount=type=cache,target=/a,mode=9", "a number"),
        ("--mount=type=cache,target=/a,mode=17777", "an octal mode"),
        ("--mount=type=tmpfs,target=/a,size=big", "a size"),
        ("--mount=target=/a,ro=maybe", "true or false"),
        ("--mount='\"target=/a'", "not closed"),
        ("--network=hots", "did you mean host?"),
        ("--security=unsafe", "expected sandbox or insecure"),
        ("--device=,required", "names no device"),
    ] {
        let error = fails(&format!("FROM x\nRUN {text} y")).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(
        fails("FROM x\nRUN --mount=from=later,target=/a b\nFROM y AS later")
            .to_string()
            .contains("no earlier stage")
    );
}
