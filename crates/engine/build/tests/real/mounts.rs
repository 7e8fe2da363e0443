//! RUN --mount, --network, --security, heredocs and scripts.

use crate::bed::Bed;
use hako_build::{BuildRequest, Entitlement, Secret, StepOutcome};
use hako_error::Kind;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixListener;

#[test]
fn a_bind_shows_the_context_a_stage_or_an_image_and_keeps_nothing() {
    let bed = Bed::new(
        "FROM busybox AS made\nRUN mkdir -p /out/sub && echo stage > /out/sub/f && ln -s /out /link\n\
         FROM busybox\n\
         RUN --mount=type=bind,target=/ctx cat /ctx/dir/a > /a && ! test -e /ctx/hidden && ! touch /ctx/x\n\
         RUN --mount=type=bind,source=dir/a,target=/one cat /one > /b\n\
         RUN --mount=type=bind,from=made,source=/link/sub,target=/mnt/deep/s cat /mnt/deep/s/f > /c\n\
         RUN --mount=type=bind,from=made,target=/m,rw echo x > /m/new && echo y > /m/out/sub/f\n\
         RUN --mount=from=busybox,target=/i test -x /i/bin/busybox && test ! -e /i/c\n",
    );
    bed.write("dir/a", "context\n");
    bed.write("hidden", "no");
    bed.write(".dockerignore", "hidden\n");
    let image = bed.build();
    assert_eq!(
        bed.read(&image, "a") + &bed.read(&image, "b") + &bed.read(&image, "c"),
        "context\ncontext\nstage\n"
    );
    bed.look(&image, |root| {
        for path in ["ctx", "one", "mnt/deep", "m", "i"] {
            assert!(!root.join(path).exists(), "{path} is no part of the image");
        }
    });
    // What is mounted counts, its times do not.
    fs::File::open(bed.context().join("dir/a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(bed.run(bed.request()).counts(StepOutcome::Cached), 5, "nobody asks for the stage");
    bed.write("dir/a", "changed\n");
    let image = bed.build();
    assert_eq!(bed.read(&image, "b"), "changed\n");
}

#[test]
fn a_bind_of_what_is_not_there_names_the_stage() {
    let bed = Bed::new(
        "FROM busybox AS a\nRUN true > /x\nFROM busybox\nRUN --mount=type=bind,from=a,source=/l,target=/m true\n",
    );
    let error = bed.fails(bed.request()).chain();
    assert!(error.contains("there is no \"/l\" in a"), "{error}");
}

#[test]
fn a_cache_outlives_builds_and_is_no_part_of_the_image() {
    let bed = Bed::new(
        "FROM busybox AS seed\nRUN mkdir /s && echo seeded > /s/f\n\
         FROM busybox\n\
         RUN --mount=type=cache,target=/c,uid=7,gid=8,mode=0750 stat -c %a:%u:%g /c > /how; echo x >> /c/n; wc -l < /c/n > /count\n\
         RUN --mount=type=cache,id=s,target=/d,from=seed,source=/s,sharing=locked cp /d/f /seeded\n\
         RUN --mount=type=cache,id=p,target=/e,ro,sharing=private ! touch /e/x\n",
    );
    let again = || bed.run(BuildRequest { no_cache: true, ..bed.request() }).image();
    let image = again();
    assert_eq!(bed.read(&image, "how"), "750:7:8\n");
    assert_eq!((bed.read(&image, "count").trim(), bed.read(&image, "seeded").trim()), ("1", "seeded"));
    let image = again();
    assert_eq!(bed.read(&image, "count").trim(), "2");
    bed.look(&image, |root| assert!(!root.join("c").exists() && !root.join("d").exists()));
    bed.builder.prune().unwrap();
    assert_eq!(bed.read(&again(), "count").trim(), "1");
}

#[test]
fn builds_at_the_same_time_share_caches_as_their_mounts_say() {
    let shared = "RUN --mount=type=cache,id=s,target=/s";
    let meet = |word: &str| {
        format!(
            "touch /s/{word}$WHO; i=0; until [ -e /s/{word}$OTHER ] || [ $((i+=1)) -gt 1200 ]; do sleep 0.05; done; test -e /s/{word}$OTHER"
        )
    };
    let bed = Bed::new(&format!(
        "FROM busybox\nARG WHO\nARG OTHER\n{shared} {}\n\
         {shared} --mount=type=cache,id=p,target=/p,sharing=private touch /p/$WHO; {} && test ! -e /p/$OTHER && {}\n\
         RUN --mount=type=cache,id=l,target=/l,sharing=locked mkdir /l/in && sleep 0.3 && rmdir /l/in && echo $WHO >> /l/log\n",
        meet("one"),
        meet("two"),
        meet("three"),
    ));
    let request = |who: &str, other: &str| {
        let args = [("WHO", who), ("OTHER", other)].map(|(key, value)| (key.to_owned(), value.to_owned()));
        BuildRequest { args: args.into(), ..bed.request() }
    };
    let build = |request| bed.builder.build(request, tokio::sync::mpsc::unbounded_channel().0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (one, other) =
        runtime.block_on(async { tokio::join!(build(request("a", "b")), build(request("b", "a"))) });
    one.unwrap();
    other.unwrap();
    bed.is_clean();
    bed.write("Dockerfile", "FROM busybox\nRUN --mount=type=cache,id=l,target=/l sort /l/log > /log\n");
    assert_eq!(bed.read(&bed.build(), "log"), "a\nb\n");
}

#[test]
fn a_secret_reaches_the_step_and_nothing_else() {
    let bed = Bed::new(
        "FROM busybox\n\
         RUN --mount=type=secret,id=key,uid=5,mode=0440 stat -c %a:%u /run/secrets/key > /how && wc -c < /run/secrets/key > /size\n\
         RUN --mount=type=secret,id=key,env=KEY test ${#KEY} = 14\n\
         RUN --mount=type=secret,id=key,target=/etc/deep/key test -s /etc/deep/key\n\
         RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n",
    );
    let with = |value: &str| BuildRequest {
        secrets: BTreeMap::from([("key".to_owned(), Secret(value.into()))]),
        ..bed.request()
    };
    let request = with("hunter2-secret");
    assert!(!format!("{request:?}").contains("hunter2"));
    let image = bed.run(request).image();
    assert_eq!((bed.read(&image, "how").trim(), bed.read(&image, "size").trim()), ("440:5", "14"));
    bed.look(&image, |root| assert!(!root.join("run/secrets").exists() && !root.join("etc/deep").exists()));
    // Another value is the same step.
    assert_eq!(bed.run(with("other-than-that")).counts(StepOutcome::Cached), 4);
    let found =
        std::process::Command::new("grep").args(["-r", "-l", "-a", "hunter2"]).arg(bed.dir.path()).output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    assert_eq!(
        found.lines().filter(|line| !line.ends_with("Dockerfile")).collect::<Vec<_>>(),
        Vec::<&str>::new()
    );
    bed.write("Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=x,required true\n");
    let error = bed.fails(bed.request());
    assert!(error.chain().contains("--secret id=x"), "{error:?}");
}

#[test]
fn an_agents_socket_is_there_for_the_step() {
    let bed = Bed::new(
        "FROM busybox\nRUN --mount=type=ssh,uid=9 test -S $SSH_AUTH_SOCK && stat -c %u $SSH_AUTH_SOCK > /who\n",
    );
    let path = bed.dir.path().join("agent");
    let _agent = UnixListener::bind(&path).unwrap();
    let request = BuildRequest { ssh: BTreeMap::from([("default".to_owned(), path)]), ..bed.request() };
    let image = bed.run(request).image();
    assert_eq!(bed.read(&image, "who"), "9\n");
    bed.look(&image, |root| assert!(!root.join("run/buildkit").exists()));
    bed.write("Dockerfile", "FROM busybox\nRUN --mount=type=ssh,required true\n");
    assert!(bed.fails(bed.request()).chain().contains("--ssh default"));
}

#[test]
fn a_tmpfs_is_bounded_and_forgotten() {
    let bed = Bed::new(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=64k ! dd if=/dev/zero of=/t/x bs=1k count=100 && \
         grep ' /t tmpfs' /proc/mounts\n",
    );
    let image = bed.build();
    bed.look(&image, |root| assert!(!root.join("t").exists()));
}

#[test]
fn rights_are_given_only_where_they_are_allowed() {
    let bed = Bed::new(
        "FROM busybox\nRUN ! mount -t tmpfs x /tmp\nRUN --security=insecure mount -t tmpfs x /tmp && mknod /dev/lo b 7 0\n",
    );
    let error = bed.fails(bed.request());
    assert_eq!(error.kind(), Kind::Forbidden);
    assert!(error.chain().contains("--allow security.insecure"), "{error:?}");
    let request = BuildRequest { allow: [Entitlement::SecurityInsecure].into(), ..bed.request() };
    bed.run(request).image();
    bed.write("Dockerfile", "FROM busybox\nRUN --network=host true\n");
    assert!(bed.fails(bed.request()).chain().contains("--allow network.host"));
    let links = "readlink /proc/self/ns/net > /n";
    bed.write(
        "Dockerfile",
        format!("FROM busybox\nRUN --network=host {links}\nRUN cp /n /host\nRUN --network=none {links}\n"),
    );
    let image = bed.run(BuildRequest { allow: [Entitlement::NetworkHost].into(), ..bed.request() }).image();
    let host = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_eq!(bed.read(&image, "host").trim(), host);
    assert_ne!(bed.read(&image, "n").trim(), host);
}

#[test]
fn heredocs_are_scripts_and_files() {
    let bed = Bed::new(
        "FROM busybox\nARG WHO=you\nRUN <<EOF\necho one > /a\necho two >> /a\nEOF\n\
         RUN <<EOF\n#!/bin/busybox sh\necho $0 > /b\nEOF\n\
         RUN cat <<X > /c && cat <<Y >> /c\nx\nX\ny\nY\n\
         COPY --chmod=600 <<F <<-\"G\" /d/\nhello $WHO\nF\n\traw $WHO\nG\n\
         SHELL [\"/bin/sh\", \"-ec\"]\nRUN false; true\n",
    );
    let error = bed.fails(bed.request());
    assert!(error.chain().contains("RUN false; true"), "SHELL counts: {error:?}");
    let text = fs::read_to_string(bed.context().join("Dockerfile")).unwrap();
    bed.write("Dockerfile", text.replace("RUN false; true", "RUN true"));
    let image = bed.build();
    for (path, text) in [
        ("a", "one\ntwo\n"),
        ("b", "/dev/pipes/EOF\n"),
        ("c", "x\ny\n"),
        ("d/F", "hello you\n"),
        ("d/G", "raw $WHO\n"),
    ] {
        assert_eq!(bed.read(&image, path), text, "{path}");
    }
}
