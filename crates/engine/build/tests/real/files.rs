//! COPY and ADD of files, the cache of their layers, and what stages hand on.

use crate::bed::{Bed, Ran};
use hako_build::{BuildEvent, BuildRequest, Builder, BuilderConfig, Output, StepOutcome};
use hako_error::Kind;
use hako_image::SaveFormat;
use hako_image::layer::{Entry, EntryKind, TarWriter};
use hako_image::transfer::Progress;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The plain files below a directory, sorted.
fn files(root: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn parents_excludes_modes_and_owners() {
    let bed = Bed::new(
        "FROM busybox\n\
         COPY --parents src/./lib/**/*.txt src/main.rs /p/\n\
         COPY --exclude=*.log --exclude=sub/x src /e\n\
         COPY --chmod=u=rwX,go=rX src/main.rs src/lib /m/\n\
         RUN echo 'web:x:33:34::/:/bin/sh' >> /etc/passwd && echo 'www:x:35:' >> /etc/group\n\
         COPY --chown=web:www src/main.rs /o\n\
         COPY --chown=web src/main.rs /u\n",
    );
    for path in [
        "src/main.rs",
        "src/a.log",
        "src/lib/a.txt",
        "src/lib/deep/b.txt",
        "src/lib/c.bin",
        "src/sub/x",
        "src/sub/y",
    ] {
        bed.write(path, path);
    }
    let image = bed.build();
    bed.look(&image, |root| {
        let files = |dir: &str| files(&root.join(dir));
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode("m/deep"), mode("m/main.rs")), (0o755, 0o644));
        assert_eq!(files("p"), ["lib/a.txt", "lib/deep/b.txt", "src/main.rs"]);
        assert_eq!(files("e"), ["lib/a.txt", "lib/c.bin", "lib/deep/b.txt", "main.rs", "sub/y"]);
        assert_eq!(files("m"), ["a.txt", "c.bin", "deep/b.txt", "main.rs"]);
        let owner = |path: &str| fs::metadata(root.join(path)).map(|m| (m.uid(), m.gid())).unwrap();
        assert_eq!((owner("o"), owner("u")), ((33, 35), (33, 34)));
    });
}

#[test]
fn a_linked_layer_survives_a_change_of_the_base() {
    let text = |base: &str| {
        format!(
            "FROM busybox\nRUN echo {base} > /base\nCOPY --link a /tmp/x/\nRUN cat /base /tmp/x/a > /both\n"
        )
    };
    let bed = Bed::new(&text("one"));
    bed.write("a", "a");
    let first = bed.build();
    bed.write("Dockerfile", text("two"));
    let ran = bed.run(bed.request());
    assert_eq!(ran.counts(StepOutcome::Cached), 1, "only the linked one");
    let second = ran.image();
    assert_eq!(bed.read(&second, "both"), "two\na");
    assert_eq!(first.layers[2], second.layers[2]);
    bed.look(&second, |root| {
        let mode = fs::metadata(root.join("tmp")).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o1777, "the directory that was there is as it was");
    });
}

#[test]
fn what_comes_out_the_same_is_not_built_upon_again() {
    let text = |comment: &str| {
        format!(
            "FROM busybox AS made\nRUN : {comment}; mkdir /o && echo same > /o/f && touch -d @0 /o/f /o\n\
             FROM busybox\nCOPY --from=made /o/f /f\nRUN cat /f > /g\n"
        )
    };
    let bed = Bed::new(&text("one"));
    bed.build();
    bed.write("Dockerfile", text("two"));
    let ran = bed.run(bed.request());
    assert_eq!(ran.counts(StepOutcome::Cached), 2, "{:?}", ran.events);
}

#[test]
fn archives_are_unpacked_by_what_is_in_them() {
    let bed = Bed::new(
        "FROM scratch\nADD plain.tar /a/\nADD gz /b/\nADD bz2 /c/\nADD xz /d/\nADD zst /e/\n\
         ADD --unpack=false gz /f/\nADD file.gz /g/\nCOPY plain.tar /h/\n",
    );
    bed.write("in/file", "packed");
    let dir = bed.context();
    for (flag, name) in [("", "plain.tar"), ("-z", "gz"), ("-j", "bz2"), ("-J", "xz"), ("--zstd", "zst")] {
        let mut tar = Command::new("tar");
        tar.current_dir(&dir).args(["-C", "in", "-cf", name]);
        if !flag.is_empty() {
            tar.arg(flag);
        }
        assert!(tar.arg("file").status().unwrap().success(), "{name}");
    }
    assert!(
        Command::new("sh")
            .current_dir(&dir)
            .args(["-c", "echo x | gzip > file.gz"])
            .status()
            .unwrap()
            .success()
    );
    let image = bed.build();
    for path in ["a/file", "b/file", "c/file", "d/file", "e/file"] {
        assert_eq!(bed.read(&image, path), "packed", "{path}");
    }
    bed.look(&image, |root| {
        assert!(
            root.join("f/gz").is_file()
                && root.join("g/file.gz").is_file()
                && root.join("h/plain.tar").is_file()
        );
    });
}

#[test]
fn triggers_run_where_an_image_is_built_upon() {
    let bed = Bed::new(
        "FROM busybox\nONBUILD COPY in /in\nONBUILD RUN cat /in > /out\nONBUILD ENV X=y\nRUN test ! -e /in\n",
    );
    bed.write("in", "hello");
    let tags = vec!["parent".parse().unwrap()];
    let parent = bed.run(BuildRequest { tags, ..bed.request() }).image();
    assert_eq!(parent.raw_config["config"]["OnBuild"].as_array().unwrap().len(), 3);
    bed.write("Dockerfile", "FROM parent\nRUN test $X = y\n");
    let image = bed.build();
    assert_eq!(bed.read(&image, "out"), "hello");
    assert!(image.raw_config["config"].get("OnBuild").is_none(), "triggers are for the next one only");
}

#[test]
fn named_contexts_take_the_place_of_stages_and_images() {
    let bed = Bed::new(
        "FROM base\nCOPY --from=extra f /f\nCOPY --from=made /m /m\nFROM busybox AS unused\nRUN exit 1\n",
    );
    bed.write("../extra/f", "extra");
    bed.write("../made/m", "made");
    let path = |name: &str| bed.dir.path().join(name).display().to_string();
    let contexts = BTreeMap::from([
        ("base".to_owned(), "docker-image://busybox".to_owned()),
        ("extra".to_owned(), path("extra")),
        ("made".to_owned(), path("made")),
    ]);
    let image = bed.run(BuildRequest { contexts, target: Some("0".into()), ..bed.request() }).image();
    assert_eq!(bed.read(&image, "f") + &bed.read(&image, "m"), "extramade");
    assert!(bed.read(&image, "etc/passwd").contains("root"));
}

#[test]
fn a_result_can_be_a_directory_or_a_tar() {
    let bed = Bed::new("FROM scratch\nCOPY f /dir/f\n");
    bed.write("f", "text");
    let (dir, file) = (bed.dir.path().join("out"), bed.dir.path().join("out.tar"));
    let outputs = vec![Output::Local { dest: dir.clone() }, Output::Tar { dest: file.clone() }];
    let built = bed.run(BuildRequest { outputs, ..bed.request() }).result.unwrap();
    assert!(built.image.is_none() && bed.images.list().unwrap().len() == 1, "no image was made");
    assert_eq!(fs::read_to_string(dir.join("dir/f")).unwrap(), "text");
    let listed = Command::new("tar").arg("-tf").arg(&file).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "dir\ndir/f\n");
}

#[test]
fn with_an_epoch_the_same_file_gives_the_same_image_anywhere() {
    let text = "FROM busybox\nCOPY . /c\nRUN date +%N > /dev/null; mkdir /d; echo x > /d/f\n\
                RUN ls -l --full-time /d /c > /times\n\
                COPY --link f /l/f\nWORKDIR /w\nLABEL b=1 a=2\n";
    let args = BTreeMap::from([("SOURCE_DATE_EPOCH".to_owned(), "1700000000".to_owned())]);
    let digest = |no_cache| {
        let bed = Bed::new(text);
        bed.write("f", "x");
        bed.run(BuildRequest { args: args.clone(), no_cache, ..bed.request() }).image().manifest_digest
    };
    assert_eq!(digest(false), digest(true));
}

#[test]
fn a_failed_step_can_be_entered() {
    let bed = Bed::new("FROM busybox\nWORKDIR /w\nENV A=b\nRUN echo half > half; exit 3\n");
    let ran = bed.run(BuildRequest { keep_failed: true, ..bed.request() });
    assert!(ran.result.is_err());
    let kept = ran.events.iter().find_map(|event| match event {
        hako_build::BuildEvent::Kept { image } => Some(image.clone()),
        _ => None,
    });
    let image = bed.images.find(&kept.unwrap()).unwrap();
    assert_eq!(bed.read(&image, "w/half"), "half\n");
    assert_eq!(image.config.config().as_ref().unwrap().working_dir().as_deref(), Some("/w"));
}

/// How many different files those names are.
fn inodes(root: &Path, names: &[&str]) -> usize {
    let inode = |name: &&str| fs::symlink_metadata(root.join(name)).unwrap().ino();
    names.iter().map(inode).collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn hard_links_stay_hard_links_wherever_they_are_copied() {
    let bed = Bed::new(
        "FROM busybox AS made\n\
         RUN mkdir /d /d/sub; echo x > /d/a; ln /d/a /d/b; ln /d/a /d/sub/c; ln -s a /d/s; ln /d/s /d/t\n\
         FROM scratch\nCOPY --from=made /d /tree\nCOPY --from=made /d/? /flat/\n\
         COPY --link --from=made /d /linked\nCOPY own /own\n",
    );
    bed.write("own/1", "same");
    fs::hard_link(bed.context().join("own/1"), bed.context().join("own/2")).unwrap();
    let (dir, file) = (bed.dir.path().join("out"), bed.dir.path().join("out.tar"));
    let outputs = vec![
        Output::Local { dest: dir.clone() },
        Output::Tar { dest: file.clone() },
        Output::Image { push: false, compression: None },
    ];
    let image = bed.run(BuildRequest { outputs, ..bed.request() }).image();
    let look = |root: &Path| {
        assert_eq!(inodes(root, &["tree/a", "tree/b", "tree/sub/c"]), 1);
        assert_eq!(inodes(root, &["tree/s", "tree/t"]), 1);
        assert_eq!(inodes(root, &["flat/a", "flat/b"]), 2, "a pattern is as many copies as it has matches");
        assert_eq!(inodes(root, &["linked/a", "linked/b", "linked/sub/c"]), 1);
        assert_eq!(inodes(root, &["own/1", "own/2"]), 1);
        assert_eq!(inodes(root, &["tree/a", "flat/a", "linked/a", "own/1"]), 4);
    };
    bed.look(&image, look);
    look(&dir);
    let unpacked = bed.dir.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let mut tar = Command::new("tar");
    assert!(tar.arg("-C").arg(&unpacked).arg("-xf").arg(&file).status().unwrap().success());
    look(&unpacked);
    // The same bytes in files of their own are something else, also for the cache.
    fs::remove_file(bed.context().join("own/2")).unwrap();
    bed.write("own/2", "same");
    let image = bed.build();
    bed.look(&image, |root| assert_eq!(inodes(root, &["own/1", "own/2"]), 2));
}

#[test]
fn a_link_in_the_place_of_the_destination_is_written_through() {
    let bed = Bed::new(
        "FROM busybox\n\
         RUN mkdir -p /a/b; echo old > /a/file; ln -s file /a/near; ln -s ../near /a/b/far; ln -s /new/x /none; \
         ln -s /a/made /dir; ln -s loop /loop\n\
         COPY f /a/b/far\nCOPY f /none\nCOPY d /dir\n",
    );
    bed.write("f", "new");
    bed.write("d/inner", "inner");
    let image = bed.build();
    bed.look(&image, |root| {
        let text = |name: &str| fs::read_to_string(root.join(name)).unwrap();
        let is_link = |name: &str| root.join(name).symlink_metadata().unwrap().is_symlink();
        assert_eq!([text("a/file"), text("new/x"), text("a/made/inner")], ["new", "new", "inner"]);
        assert!(["a/near", "a/b/far", "none", "dir"].into_iter().all(is_link));
    });
    let dockerfile = fs::read_to_string(bed.context().join("Dockerfile")).unwrap();
    bed.write("Dockerfile", format!("{dockerfile}COPY f /loop\n"));
    let error = bed.fails(bed.request()).chain();
    assert!(error.contains("follow the links of \"/loop\""), "{error}");
}

#[test]
fn links_on_the_way_lead_to_what_is_not_there_yet() {
    let bed = Bed::new(
        "FROM busybox\nRUN ln -s /data/app /app && ln -s ../../data/w /w\n\
         COPY s/a /app/x\nWORKDIR /w/made\nRUN pwd -P > /where\nWORKDIR /w\nCOPY s/a .\nCOPY s /app/deep/\n",
    );
    bed.write("s/a", "a");
    let image = bed.build();
    bed.look(&image, |root| {
        for path in ["data/app/x", "data/w/a", "data/app/deep/a"] {
            assert_eq!(fs::read_to_string(root.join(path)).unwrap(), "a", "{path}");
        }
        assert_eq!(fs::read_to_string(root.join("where")).unwrap(), "/data/w/made\n");
        assert!(root.join("app").symlink_metadata().unwrap().is_symlink());
    });
}

#[test]
fn of_several_files_without_a_directory_to_go_to_the_last_stays_and_that_is_said() {
    let bed = Bed::new("FROM busybox\nRUN mkdir /there\nCOPY s/* /there\nCOPY s/a* /one\n");
    bed.write("s/a", "a");
    bed.write("s/b", "b");
    let warned = |ran: &Ran| {
        let warning = |event: &BuildEvent| match event {
            BuildEvent::Warning { line, message } => Some((*line, message.clone())),
            _ => None,
        };
        ran.events.iter().find_map(warning)
    };
    let ran = bed.run(bed.request());
    assert_eq!(warned(&ran), None);
    let image = ran.image();
    assert_eq!(["there/a", "there/b", "one"].map(|path| bed.read(&image, path)), ["a", "b", "a"]);
    for copy in ["COPY s/* /last", "COPY s/a s/b /last", "COPY --link s/* /last", "ADD s/? /last"] {
        bed.write("Dockerfile", format!("FROM busybox\n{copy}\n"));
        let ran = bed.run(bed.request());
        let (line, message) = warned(&ran).unwrap();
        assert!(line == 2 && message.contains("2 files") && message.contains("\"/last\""), "{message}");
        assert_eq!(bed.read(&ran.image(), "last"), "b");
    }
    bed.write("Dockerfile", "FROM busybox\nCOPY s/a s /one\n");
    let error = bed.fails(bed.request()).chain();
    assert!(error.contains("/one"), "{error}");
}

#[test]
fn a_tree_deeper_than_paths_and_the_stack_fails_the_step_alone() {
    let deep = "for i in $(seq 20); do mkdir -p $(printf 'd/%.0s' $(seq 300)) && cd -P $(printf 'd/%.0s' $(seq 300)); done";
    let bed = Bed::new(&format!("FROM busybox\nRUN {deep}\n"));
    let error = bed.fails(bed.request());
    assert!(error.chain().contains("list"), "{}", error.chain());
    bed.write("Dockerfile", format!("FROM busybox\nRUN --mount=type=cache,target=/c cd /c; {deep}\n"));
    bed.build();
    bed.builder.prune().unwrap();
}

#[test]
fn a_request_with_names_that_nothing_can_have_is_refused_at_once() {
    let bed = Bed::new("FROM busybox\n");
    let one = |name: &str| BTreeMap::from([(name.to_owned(), "x".to_owned())]);
    let foreign = format!("zz@sha256:{}", "1".repeat(64));
    for (request, part) in [
        (BuildRequest { tags: vec![foreign.parse().unwrap()], ..bed.request() }, "invalid tag \"zz@sha256:1"),
        (BuildRequest { args: one(""), ..bed.request() }, "build argument \"=x\" has no name"),
        (BuildRequest { labels: one(""), ..bed.request() }, "label \"=x\" has no name"),
    ] {
        let error = bed.fails(request);
        assert!(error.chain().contains(part) && error.kind() == Kind::Invalid, "{error:?}");
    }
    assert_eq!(bed.images.list().unwrap().len(), 1, "the base alone");
}

#[test]
fn an_argument_that_nothing_asks_for_is_told() {
    let bed = Bed::new("ARG BASE=busybox\nFROM $BASE\nARG USED\nLABEL used=$USED\n");
    let given = ["USED", "UNUSED", "http_proxy", "BUILDKIT_INLINE_CACHE"];
    let args = given.map(|name| (name.to_owned(), "1".to_owned())).into();
    let told: Vec<String> =
        bed.run(BuildRequest { args, ..bed.request() }).events.iter().filter_map(warning).collect();
    assert_eq!(told, ["build argument UNUSED is not used, no ARG asks for it"]);
}

fn warning(event: &BuildEvent) -> Option<String> {
    match event {
        BuildEvent::Warning { message, .. } => Some(message.clone()),
        _ => None,
    }
}

#[test]
fn copy_takes_no_address_and_says_what_does() {
    let bed = Bed::new("FROM scratch\nCOPY https://host.invalid/f /f\n");
    let error = bed.fails(bed.request()).chain();
    assert!(
        error.contains("Dockerfile:2") && error.contains("source can't be a URL for COPY: use ADD"),
        "{error}"
    );
}

#[test]
fn a_pattern_that_matches_nothing_copies_nothing() {
    let bed = Bed::new(
        "FROM scratch\nCOPY f nothere* /x/\nCOPY nothere?/* /y/\nADD *.none /z/\nCOPY --link n* /l/\n\
         COPY --parents **/none /p/\n",
    );
    bed.write("f", "f");
    let image = bed.build();
    assert_eq!(image.layers.len(), 1);
    bed.look(&image, |root| {
        assert_eq!(files(root), ["x/f"]);
        assert_eq!(fs::read_dir(root).unwrap().count(), 1, "no destination is made for nothing");
    });
    bed.write("Dockerfile", "FROM scratch\nCOPY f nothere /x/\n");
    let error = bed.fails(bed.request()).chain();
    assert!(error.contains("there is no \"nothere\""), "{error}");
}

#[test]
fn what_a_layer_says_of_its_files_is_what_the_files_say() {
    // The step in front changes nothing, so that the copies are known by what is copied alone.
    let text = |mark: &str, more: &str| {
        format!(
            "FROM busybox AS made\nRUN mkdir -p /d/e && cd /d && echo 1 > 1 && : > empty && ln -s 1 link && mkfifo e/pipe \
             && head -c 100000 /dev/zero > e/zeros && chmod 4711 1 && chown 3:4 empty && echo $RANDOM > /other\n\
             FROM scratch AS noted\nADD noted.tar /n/\n\
             FROM busybox\nRUN : {mark}\nCOPY --from=made /d /x\nCOPY --from=made /d/1 /y/\nCOPY --from=noted /n /z\n{more}"
        )
    };
    let bed = Bed::new(&text("one", ""));
    bed.write("noted.tar", noted());
    bed.build();
    // A process that wrote none of these layers.
    let config = BuilderConfig { cgroup: bed.group(), ..BuilderConfig::default() };
    let builder = Builder::new(bed.images.clone(), config).unwrap();
    bed.write("Dockerfile", text("two", "COPY --from=made /other /o\n"));
    let ran = bed.run_by(&builder, bed.request());
    let again = ran.events.iter().filter_map(|event| match event {
        BuildEvent::StepEnded { step, outcome: StepOutcome::Done, .. } => Some(*step),
        _ => None,
    });
    assert_eq!(ran.counts(StepOutcome::Cached), 5, "{:?} ran", again.collect::<Vec<usize>>());
}

/// What is to be seen of every file below a directory, sorted: its metadata, which names are its own, its content.
fn listing(root: &Path) -> Vec<String> {
    let (mut lines, mut open, mut first) = (Vec::new(), vec![root.to_owned()], BTreeMap::new());
    while let Some(dir) = open.pop() {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let kind = metadata.file_type();
            let content = match (kind.is_file(), kind.is_symlink()) {
                (true, _) => hako_names::Digest::of(&fs::read(&path).unwrap()).to_string(),
                (_, true) => fs::read_link(&path).unwrap().display().to_string(),
                _ => String::new(),
            };
            let also =
                if kind.is_dir() { &name } else { first.entry(metadata.ino()).or_insert(name.clone()) };
            let note = rustix::fs::lgetxattr(&path, "user.note", &mut [0; 64]).unwrap_or(0);
            let (mode, rdev) = (metadata.mode(), metadata.rdev());
            let (owner, time) = ((metadata.uid(), metadata.gid()), (metadata.mtime(), metadata.mtime_nsec()));
            lines.push(format!("{name} {mode:o} {owner:?} {rdev} {time:?} {also} {note} {content}"));
            if kind.is_dir() {
                open.push(path);
            }
        }
    }
    lines.sort();
    lines
}

/// A tar of one file that has an extended attribute.
fn noted() -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let entry = Entry {
        path: b"noted".to_vec(),
        kind: EntryKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_s: 1,
        mtime_ns: 5,
        size: 1,
        xattrs: vec![(b"user.note".to_vec(), b"kept".to_vec())],
        sparse: None,
    };
    tar.append(&entry, &b"x"[..]).unwrap();
    tar.finish().unwrap()
}

#[test]
fn a_layer_that_is_written_beside_its_files_has_what_they_have() {
    let bed = Bed::new(
        "FROM scratch AS noted\nADD noted.tar /n/\nFROM busybox AS made\n\
         RUN mkdir -p /d/sub /d/.hidden && cd /d && echo one > one && ln one two && ln -s sub/none link && : > empty \
         && head -c 3000000 /dev/urandom > large && ln large sub/also && chmod 600 large && echo a > .hidden/a \
         && mkfifo pipe && mknod device c 1 3 && chown 5:6 sub && chmod 1777 sub && touch -d @1 sub && chmod 4755 one\n\
         FROM busybox\nCOPY --from=made /d /new/deep\nCOPY --from=made --chown=7:8 --chmod=640 /d /other/\n\
         COPY --from=noted /n /with/note\nCOPY in /context\n",
    );
    bed.write("in/a/b", "x");
    bed.write("noted.tar", noted());
    let image = bed.build();
    let (there, archive) = (Bed::new(""), bed.dir.path().join("image.tar"));
    let mut file = fs::File::create(&archive).unwrap();
    bed.images.save(&[(image.clone(), image.names.clone())], SaveFormat::Oci, &mut file).unwrap();
    let loaded = there.images.load(fs::File::open(&archive).unwrap(), &Progress::none()).unwrap();
    let (ours, theirs) = (bed.look(&image, listing), there.look(&loaded[0], listing));
    assert_eq!(ours, theirs, "what was copied, and what its layers say");
    bed.look(&image, |root| {
        let facts = |path: &str| {
            let metadata = fs::symlink_metadata(root.join(path)).unwrap();
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid(), metadata.nlink())
        };
        assert_eq!(facts("new/deep/one"), (0o4755, 0, 0, 2));
        assert_eq!(facts("new/deep/sub"), (0o1777, 5, 6, 2));
        assert_eq!(facts("new/deep/large"), (0o600, 0, 0, 2));
        // No name of the stage's file, which cron and others would refuse: decision 21.
        assert_eq!(facts("new/deep/empty"), (0o644, 0, 0, 1));
        assert_eq!(facts("other/one"), (0o640, 7, 8, 2));
        assert_eq!(facts("other").1, 7);
        assert_eq!(fs::metadata(root.join("new/deep/sub")).unwrap().mtime(), 1);
        assert_eq!(fs::read_link(root.join("new/deep/link")).unwrap(), Path::new("sub/none"));
        assert!(
            ours.iter().any(|line| line.starts_with("with/note/noted ") && line.contains(" 4 ")),
            "{ours:?}"
        );
    });
}

#[test]
fn devices_that_no_machine_takes_are_no_part_of_a_layer() {
    let bed = Bed::new("");
    let tar = |args: &[&str]| {
        let made = std::process::Command::new("tar").args(args).output().unwrap();
        assert!(made.status.success());
        made.stdout
    };
    let disk = bed.dir.path().join("disk");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::BlockDevice;
    rustix::fs::mknodat(rustix::fs::CWD, &disk, kind, mode, rustix::fs::makedev(7, 301)).unwrap();
    bed.write("disk.tar", tar(&["-C", &bed.dir.path().display().to_string(), "-cf", "-", "disk"]));
    for (text, layer) in [
        ("FROM busybox\nRUN mknod /disk b 7 301\n", "layer of RUN mknod"),
        ("FROM busybox\nRUN mknod /disk c 1 2\n", "layer of RUN mknod"),
        ("FROM busybox\nADD disk.tar /\n", "layer of ADD disk.tar"),
    ] {
        bed.write("Dockerfile", text);
        let said = bed.fails(bed.request()).chain();
        let device = if text.contains("c 1 2") { "character device 1:2" } else { "block device 7:301" };
        assert!([layer, "\"disk\"", device].iter().all(|part| said.contains(part)), "{said}");
    }
    // What is gone at the end of the step never was.
    bed.write("Dockerfile", "FROM busybox\nRUN mknod /disk b 7 301 && rm /disk && mknod /null c 1 3\n");
    bed.build();
    bed.images.permit(hako_image::layer::Permits::ALL);
    bed.write("Dockerfile", "FROM busybox\nADD disk.tar /\n");
    let image = bed.build();
    assert_eq!(
        bed.look(&image, |root| fs::symlink_metadata(root.join("disk")).unwrap().rdev()),
        rustix::fs::makedev(7, 301)
    );
}

#[test]
fn the_root_of_an_archive_says_nothing_about_its_destination() {
    let bed =
        Bed::new("FROM busybox\nRUN mkdir -m 700 /kept\nADD a.tar /kept/\nADD --chown=5:6 a.tar /new/\n");
    let root = bed.dir.path().join("root");
    fs::create_dir_all(root.join("dir")).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    std::os::unix::fs::chown(&root, Some(12), Some(13)).unwrap();
    let made =
        Command::new("tar").args(["-C", &root.display().to_string(), "-cf", "-", "."]).output().unwrap();
    bed.write("a.tar", made.stdout);
    let image = bed.build();
    bed.look(&image, |root| {
        let facts = |path: &str| {
            let metadata = fs::symlink_metadata(root.join(path)).unwrap();
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
        };
        assert_eq!(
            (facts("kept"), facts("kept/dir"), facts("new")),
            ((0o700, 0, 0), (0o755, 0, 0), (0o755, 5, 6))
        );
    });
}

#[test]
fn a_copy_puts_no_file_in_the_place_of_a_directory_nor_the_other_way_round() {
    let bed = Bed::new("");
    bed.write("files/name", "a file");
    bed.write("dirs/name/below", "in a directory");
    for (text, reason) in [
        ("FROM busybox\nRUN mkdir -p /x/name/kept\nCOPY files /x\n", "a directory of that name is there"),
        ("FROM busybox\nRUN mkdir /x && echo 1 > /x/name\nCOPY dirs /x\n", "a file of that name is there"),
        ("FROM busybox\nCOPY files dirs /x/\n", "a file of that name is there"),
    ] {
        bed.write("Dockerfile", text);
        let error = bed.fails(bed.request());
        assert!(error.chain().contains("\"name") && error.chain().contains(reason), "{text}: {error:?}");
    }
}

#[test]
fn a_proxy_is_known_to_a_step_in_both_spellings() {
    let bed = Bed::new(
        "FROM busybox\nRUN echo $HTTP_PROXY $http_proxy $no_proxy $NO_PROXY > /p\nENV no_proxy=own\nRUN echo $no_proxy $NO_PROXY > /q\n",
    );
    let args = [("HTTP_PROXY", "http://one"), ("NO_PROXY", "here")];
    let args = args.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let image = bed.run(BuildRequest { args, ..bed.request() }).image();
    assert_eq!(bed.read(&image, "p"), "http://one http://one here here\n");
    assert_eq!(bed.read(&image, "q"), "own here\n");
}

#[test]
fn an_archive_with_absolute_names_is_added_below_its_destination() {
    let bed = Bed::new("FROM busybox\nADD absolute.tar /there/\n");
    bed.write("x", "x");
    let path = bed.context().join("x").display().to_string();
    let made = std::process::Command::new("tar").args(["-P", "-cf", "-", &path]).output().unwrap();
    bed.write("absolute.tar", made.stdout);
    let image = bed.build();
    assert_eq!(bed.read(&image, &format!("there{path}")), "x");
}

#[test]
fn what_several_layers_have_and_what_links_lead_to_is_copied_as_it_is_seen() {
    let bed = Bed::new(
        "FROM busybox AS made\nRUN mkdir -p /d/e /f && echo 1 > /d/x && echo 1 > /d/e/z && echo 3 > /f/g\n\
         RUN echo 2 > /d/y && rm /d/x && rm -r /d/e && mkdir /d/e && echo 4 > /d/e/w && ln -s /d /l && ln -s /f/g /h\n\
         RUN rm -r /f && mkdir /f && echo 5 > /f/g\n\
         FROM busybox\nCOPY --from=made /d /one\nCOPY --from=made /l/e /two\nCOPY --from=made /h /three/h\n\
         COPY --from=made /f /four\nCOPY --from=made /d/. /one\n\
         RUN rm -r /two\nCOPY --from=made /d /two\nWORKDIR /five\nCOPY --from=made /f .\n",
    );
    let image = bed.build();
    bed.look(&image, |root| {
        assert_eq!(files(&root.join("one")), ["e/w", "y"]);
        assert_eq!(files(&root.join("two")), ["e/w", "y"]);
        for (path, text) in [("three/h", "5\n"), ("four/g", "5\n"), ("five/g", "5\n"), ("one/e/w", "4\n")] {
            assert_eq!(fs::read_to_string(root.join(path)).unwrap(), text, "{path}");
        }
    });
}
