//! Sentences of the Dockerfile reference, each by a whole build: what an instruction or a flag does, where no other test
//! of these builds shows it.

use crate::bed::Bed;
use crate::sources;
use hako_build::{BuildRequest, Secret, StepOutcome};
use hako_image::Image;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn config(image: &Image) -> &Value {
    &image.raw_config["config"]
}

/// Mode, owner and group.
fn facts(path: &Path) -> (u32, u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
}

/// What the image of a Dockerfile has in `/out`.
fn out(bed: &Bed, dockerfile: &str) -> String {
    bed.write("Dockerfile", dockerfile);
    bed.read(&bed.build(), "out")
}

#[test]
fn every_instruction_that_the_reference_names_expands_variables() {
    let bed = Bed::new(
        "ARG IMAGE=busy\nFROM ${IMAGE}box\nARG D=/opt P=80 S=INT W=root\n\
         ENV A=$D/a B=${NONE:-b} C=\"${D#/}\"\nLABEL l=$A m='$A' n=\\$A\nUSER $W\nEXPOSE $P ${P}80/udp\nVOLUME $D/v\n\
         STOPSIGNAL SIG$S\nWORKDIR $D/${B}\nCOPY ${C}-1 $D/copied\nADD ${C}-2 ${D}/added\n\
         COPY --chmod=6${C:+40} --exclude=${C}-x d $D/d/\nONBUILD LABEL later=$D\n\
         RUN [\"/bin/sh\", \"-c\", \"echo $D $(pwd) > /out\"]\nRUN [\"touch\", \"/$D\"]\n\
         CMD [\"$D\"]\nENTRYPOINT [\"$D\"]\n",
    );
    for name in ["opt-1", "opt-2", "d/opt-x", "d/y"] {
        bed.write(name, name);
    }
    let image = bed.build();
    let config = config(&image);
    assert_eq!(config["Labels"], json!({"l": "/opt/a", "m": "$A", "n": "$A"}));
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}, "8080/udp": {}}));
    assert_eq!(config["Volumes"], json!({"/opt/v": {}}));
    assert_eq!((&config["StopSignal"], &config["User"]), (&json!("SIGINT"), &json!("root")));
    assert_eq!(config["WorkingDir"], "/opt/b");
    assert_eq!(config["OnBuild"], json!(["LABEL later=$D"]));
    assert_eq!((&config["Cmd"], &config["Entrypoint"]), (&json!(["$D"]), &json!(["$D"])));
    let env = config["Env"].as_array().unwrap();
    for pair in ["A=/opt/a", "B=b", "C=opt"] {
        assert!(env.contains(&json!(pair)), "{pair}: {env:?}");
    }
    assert_eq!(bed.read(&image, "opt/copied") + &bed.read(&image, "opt/added"), "opt-1opt-2");
    assert_eq!(bed.read(&image, "out"), "/opt /opt/b\n", "the shell of the exec form did it");
    bed.look(&image, |root| {
        assert!(root.join("$D").exists(), "no shell, no variables");
        assert_eq!(facts(&root.join("opt/d/y")).0, 0o640);
        assert!(!root.join("opt/d/opt-x").exists());
    });
}

#[test]
fn every_modifier_of_a_variable_counts_in_a_build() {
    let bed = Bed::new(
        "FROM busybox\nARG GIVEN\nARG EMPTY=\nENV s=foobarbaz\n\
         LABEL a=${NONE:-d} b=${EMPTY:-d} c=${EMPTY-d} d=${s:+x} e=${EMPTY:+x} f=${EMPTY+x} g=${NONE+x}\n\
         LABEL h=${s#f*b} i=${s##f*b} j=${s%b*} k=${s%%b*} l=${s/ba/fo} m=${s//ba/fo} n=${GIVEN:-${s%%b*}}\n\
         LABEL o=${s:?never} p=${GIVEN?never}\n",
    );
    let image = bed.run(BuildRequest { args: args(&[("GIVEN", "one")]), ..bed.request() }).image();
    let labels = json!({
        "a": "d", "b": "d", "c": "", "d": "x", "e": "", "f": "x", "g": "", "h": "arbaz", "i": "az", "j": "foobar",
        "k": "foo", "l": "fooforbaz", "m": "fooforfoz", "n": "one", "o": "foobarbaz", "p": "one",
    });
    assert_eq!(config(&image)["Labels"], labels);
    for (form, part) in [("${GIVEN?it is needed}", "it is needed"), ("${EMPTY:?it is empty}", "it is empty")]
    {
        bed.write("Dockerfile", format!("FROM busybox\nARG GIVEN\nARG EMPTY=\nLABEL a={form}\n"));
        let error = bed.fails(bed.request()).chain();
        assert!(error.contains("Dockerfile:4") && error.contains(part), "{error}");
    }
}

#[test]
fn a_variable_has_one_value_throughout_an_instruction() {
    let bed = Bed::new("FROM busybox\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n");
    let image = bed.build();
    let env = config(&image)["Env"].as_array().unwrap();
    for pair in ["abc=bye", "def=hello", "ghi=bye"] {
        assert!(env.contains(&json!(pair)), "{pair}: {env:?}");
    }
}

#[test]
fn the_directives_at_the_top_count_for_the_whole_file() {
    let bed = Bed::new(
        "# syntax=example.invalid/frontend:1\n# escape=`\nFROM busybox\nARG W=x\nENV P=c:\\dir Q=`$W\n\
         RUN echo one `\n    two > /words\nCOPY a `\n /copied\nONBUILD RUN echo three `\n    four > /later\n",
    );
    bed.write("a", "a");
    let tags = vec!["parent".parse().unwrap()];
    let image = bed.run(BuildRequest { tags, ..bed.request() }).image();
    let env = config(&image)["Env"].as_array().unwrap();
    assert!(env.contains(&json!("P=c:\\dir")) && env.contains(&json!("Q=$W")), "{env:?}");
    assert_eq!(bed.read(&image, "words") + &bed.read(&image, "copied"), "one two\na");
    bed.write("Dockerfile", "FROM parent\n");
    assert_eq!(bed.read(&bed.build(), "later"), "three four\n");
}

#[test]
fn an_argument_is_known_from_its_line_on_and_in_its_stage() {
    let bed = Bed::new(
        "ARG GLOBAL=g\nARG DERIVED=$GLOBAL-d\nFROM busybox AS one\nARG OWN=own\nRUN echo $GLOBAL. $OWN. > /one\n\
         FROM one AS two\nRUN echo $OWN. > /two\n\
         FROM busybox\nCOPY --from=two /one /two /\nRUN echo $OWN. > /three\n\
         ARG GLOBAL\nARG DERIVED\nARG OWN=${GLOBAL}2\nARG LATER\nARG TARGETSTAGE\n\
         RUN echo $GLOBAL $DERIVED $OWN $LATER. $TARGETSTAGE > /four\n",
    );
    let read = |image: &Image| ["one", "two", "three", "four"].map(|name| bed.read(image, name));
    assert_eq!(read(&bed.build()), [". own.\n", "own.\n", ".\n", "g g-d g2 . default\n"]);
    let given = args(&[("GLOBAL", "G"), ("LATER", "L")]);
    let image = bed.run(BuildRequest { args: given, ..bed.request() }).image();
    assert_eq!(read(&image), [". own.\n", "own.\n", ".\n", "G G-d G2 L. default\n"]);
    bed.write("Dockerfile", "FROM busybox AS named\nARG TARGETSTAGE\nRUN echo $TARGETSTAGE > /out\n");
    let named = bed.run(BuildRequest { target: Some("named".into()), ..bed.request() }).image();
    assert_eq!(bed.read(&named, "out"), "named\n");
    assert!(!config(&image).to_string().contains("OWN"), "arguments are no variables of the image");
}

#[test]
fn what_is_said_of_a_container_is_in_the_image_and_in_those_that_are_built_on_it() {
    let bed = Bed::new(
        "FROM busybox\nMAINTAINER Some One <one@example.test>\nLABEL kept=1 changed=1\nVOLUME [\"/a b\", \"/c\"]\nVOLUME /d /e\n\
         EXPOSE 80 53/udp 9000-9001\nSTOPSIGNAL 9\nUSER 5:6\nSHELL [\"/bin/sh\", \"-ec\"]\nENV A=1\n\
         HEALTHCHECK --interval=1m30s --timeout=2s --start-period=3s --start-interval=500ms --retries=4 CMD probe\n\
         CMD run it\n",
    );
    let tags = vec!["parent".parse().unwrap()];
    let parent = bed.run(BuildRequest { tags, ..bed.request() }).image();
    bed.write("Dockerfile", "FROM parent\nLABEL changed=2\nENV B=2\nUSER root\nENTRYPOINT serve\n");
    let child = bed.build();
    for image in [&parent, &child] {
        let config = config(image);
        assert_eq!(image.raw_config["author"], "Some One <one@example.test>");
        assert_eq!(config["Volumes"], json!({"/a b": {}, "/c": {}, "/d": {}, "/e": {}}));
        let ports = json!({"80/tcp": {}, "53/udp": {}, "9000/tcp": {}, "9001/tcp": {}});
        assert_eq!((&config["ExposedPorts"], &config["StopSignal"]), (&ports, &json!("9")));
        assert_eq!(config["Shell"], json!(["/bin/sh", "-ec"]));
        let second = 1_000_000_000_i64;
        let check = json!({
            "Test": ["CMD-SHELL", "probe"], "Interval": 90 * second, "Timeout": 2 * second, "StartPeriod": 3 * second,
            "StartInterval": second / 2, "Retries": 4,
        });
        assert_eq!(config["Healthcheck"], check);
    }
    assert_eq!(config(&parent)["User"], "5:6");
    assert_eq!(config(&parent)["Cmd"], json!(["/bin/sh", "-ec", "run it"]));
    assert_eq!(config(&child)["Labels"], json!({"kept": "1", "changed": "2"}));
    assert_eq!(config(&child)["User"], "root");
    assert_eq!(config(&child)["Entrypoint"], json!(["/bin/sh", "-ec", "serve"]));
    assert!(config(&child)["Cmd"].is_null(), "its words were for another program");
    bed.write("Dockerfile", "FROM parent\nHEALTHCHECK CMD [\"a\", \"b\"]\nHEALTHCHECK NONE\n");
    assert_eq!(config(&bed.build())["Healthcheck"], json!({"Test": ["NONE"]}), "the last one counts");
}

#[test]
fn a_step_runs_as_the_user_and_groups_that_the_image_knows_by_name() {
    let bed = Bed::new("");
    let step = "FROM busybox\nRUN echo 'web:x:33:34::/home/web:/bin/sh' >> /etc/passwd && \
                printf 'www:x:34:\\nmore:x:35:web\\nother:x:36:\\n' >> /etc/group && chmod 777 /\n";
    for (user, said) in [
        ("web", "33 34 34 35 /home/web\n"),
        ("web:other", "33 36 36 /home/web\n"),
        ("33", "33 34 34 35 /home/web\n"),
        ("77:78", "77 78 78 /\n"),
    ] {
        let text = format!("{step}USER {user}\nRUN echo $(id -u) $(id -g) $(id -G) $HOME > /out\n");
        assert_eq!(out(&bed, &text), said, "{user}");
    }
    bed.write("Dockerfile", format!("{step}USER web\nWORKDIR made/here\nWORKDIR and\nRUN touch there\n"));
    let image = bed.build();
    assert_eq!(config(&image)["WorkingDir"], "/made/here/and");
    bed.look(&image, |root| assert_eq!(facts(&root.join("made/here/and/there")), (0o644, 33, 34)));
}

#[test]
fn a_base_may_be_named_by_its_digest_and_a_step_may_say_what_is_so_anyway() {
    let bed = Bed::new("FROM busybox\nRUN echo first > /what\n");
    let tags = vec!["app".parse().unwrap(), "kept".parse().unwrap()];
    let first = bed.run(BuildRequest { tags, ..bed.request() }).image();
    bed.write("Dockerfile", "FROM busybox\nRUN echo second > /what\n");
    bed.build();
    let text = format!(
        "FROM app@{}\nRUN --security=sandbox ! mount -t tmpfs x /tmp\nRUN --network=default cp /what /out\n",
        first.manifest_digest
    );
    assert_eq!(out(&bed, &text), "first\n");
}

#[test]
fn the_flags_of_add_are_those_of_copy() {
    let bed = Bed::new(
        "FROM busybox\nADD --chown=5:6 --chmod=u=rw,go= f /dressed\nADD --exclude=*.log --exclude=sub/x d /some/\n\
         ADD --link --chown=7 f /linked/f\nADD <<one <<\"two\" /texts/\na $PATH\none\nb $PATH\ntwo\n",
    );
    for name in ["f", "d/a", "d/a.log", "d/sub/x", "d/sub/y"] {
        bed.write(name, name);
    }
    let image = bed.build();
    bed.look(&image, |root| {
        assert_eq!(facts(&root.join("dressed")), (0o600, 5, 6));
        assert_eq!(facts(&root.join("linked/f")), (0o644, 7, 7));
        let there = ["a", "a.log", "sub/x", "sub/y"].map(|name| root.join("some").join(name).exists());
        assert_eq!(there, [true, false, false, true]);
    });
    assert!(bed.read(&image, "texts/one").starts_with("a /usr/"));
    assert_eq!(bed.read(&image, "texts/two"), "b $PATH\n");
    // A layer for itself is there also where what it is put on is another.
    let text = fs::read_to_string(bed.context().join("Dockerfile")).unwrap();
    bed.write("Dockerfile", text.replace("/dressed\n", "/dressed2\n"));
    let ran = bed.run(bed.request());
    let cached: Vec<usize> = ran.events.iter().filter_map(cached).collect();
    assert_eq!(cached.len(), 1, "{:?}", ran.events);
}

fn cached(event: &hako_build::BuildEvent) -> Option<usize> {
    match event {
        hako_build::BuildEvent::StepEnded { step, outcome: StepOutcome::Cached, .. } => Some(*step),
        _ => None,
    }
}

#[test]
fn flags_of_copy_count_for_stages_texts_and_layers_for_themselves() {
    let bed = Bed::new(
        "FROM busybox AS made\nRUN mkdir -p /d/sub && cd /d && touch a a.log sub/x sub/y\n\
         FROM busybox\nRUN echo 'web:x:33:34::/:/bin/sh' >> /etc/passwd\n\
         COPY --from=made --exclude=*.log --exclude=sub/x /d /e/\nCOPY --from=made --parents /d/./sub/* /p/\n\
         COPY --from=made --chown=web --chmod=640 /d/a /dressed\nCOPY --link --chown=web --chmod=g=u f /linked/\n\
         COPY --chown=5:6 --chmod=600 <<text /texts/\ntext\n",
    );
    bed.write("f", "f");
    let image = bed.build();
    bed.look(&image, |root| {
        let is_there = |name: &str| root.join(name).exists();
        assert_eq!(["e/a", "e/a.log", "e/sub/x", "e/sub/y"].map(is_there), [true, false, false, true]);
        assert_eq!(["p/sub/x", "p/sub/y", "p/a", "p/x"].map(is_there), [true, true, false, false]);
        assert_eq!(facts(&root.join("dressed")), (0o640, 33, 34));
        assert_eq!(facts(&root.join("linked/f")), (0o664, 33, 34));
        assert_eq!(facts(&root.join("texts/text")), (0o600, 5, 6));
    });
}

#[test]
fn copy_takes_from_images_and_named_contexts_of_every_kind() {
    let bed = Bed::new("FROM busybox\nRUN echo other > /what\n");
    let tags = vec!["other".parse().unwrap()];
    bed.run(BuildRequest { tags, ..bed.request() }).image();
    let repository = bed.dir.path().join("git/r.git");
    fs::create_dir_all(&repository).unwrap();
    fs::write(repository.join("what"), "repository\n").unwrap();
    sources::git(&repository, &["init", "-q"]);
    sources::git(&repository, &["add", "."]);
    sources::git(&repository, &["commit", "-q", "-m", "one"]);
    let daemon = sources::daemon(&bed.dir.path().join("git"));
    bed.write("../dir/what", "directory\n");
    bed.write("../dir/left-out", "x");
    bed.write("../dir/.dockerignore", "left-out\n");
    let contexts = args(&[
        ("image", "docker-image://other"),
        ("dir", &bed.dir.path().join("dir").display().to_string()),
        ("git", &format!("{}/r.git", daemon.1)),
    ]);
    bed.write(
        "Dockerfile",
        "FROM busybox AS first\nRUN echo first > /what\nFROM scratch\nCOPY --from=other /what /a\nCOPY --from=image /what /b\n\
         COPY --from=dir . /c/\nCOPY --from=git what /d\nCOPY --from=FIRST /what /e\nCOPY --from=0 /what /f\n",
    );
    let image = bed.run(BuildRequest { contexts: contexts.clone(), ..bed.request() }).image();
    let texts = ["a", "b", "c/what", "d", "e", "f"].map(|name| bed.read(&image, name));
    assert_eq!(texts, ["other\n", "other\n", "directory\n", "repository\n", "first\n", "first\n"]);
    bed.look(&image, |root| assert!(!root.join("c/left-out").exists()));
    // The same for mounts.
    bed.write(
        "Dockerfile",
        "FROM busybox\nRUN --mount=from=other,target=/a --mount=from=image,target=/b --mount=from=dir,target=/c \
         --mount=from=git,target=/d cat /a/what /b/what /c/what /d/what > /out\n",
    );
    let image = bed.run(BuildRequest { contexts, ..bed.request() }).image();
    assert_eq!(bed.read(&image, "out"), "other\nother\ndirectory\nrepository\n");
}

#[test]
fn triggers_copy_and_mount_from_what_the_next_file_has() {
    let bed = Bed::new(
        "FROM busybox\nONBUILD COPY --from=tools /tool /tool\nONBUILD RUN --mount=from=given,target=/g cat /g/f /tool > /out\n",
    );
    let tags = vec!["parent".parse().unwrap()];
    bed.run(BuildRequest { tags, ..bed.request() }).image();
    bed.write("../given/f", "given\n");
    bed.write("Dockerfile", "FROM busybox AS tools\nRUN echo tool > /tool\nFROM parent\n");
    let contexts = args(&[("given", &bed.dir.path().join("given").display().to_string())]);
    let image = bed.run(BuildRequest { contexts, ..bed.request() }).image();
    assert_eq!(bed.read(&image, "out"), "given\ntool\n");
}

#[test]
fn every_name_of_a_mounts_options_has_its_effect() {
    let bed = Bed::new(
        "FROM busybox AS made\nRUN mkdir /m && echo made > /m/f\nFROM busybox\nARG T=/x\nWORKDIR /w\n\
         RUN --mount=type=bind,from=made,src=/m,dst=/one --mount=from=made,source=m,destination=two \
         --mount=from=made,target=$T,readwrite=false --mount=from=made,target=/y,readonly=0 --mount=from=made,target=/z,readwrite \
         cat /one/f /w/two/f > /out && test -e /x/m/f && ! touch /x/z && touch /y/z /z/z && ! touch /one/z\n\
         RUN --mount=type=cache,id=same,target=/c1 echo kept > /c1/f\n\
         RUN --mount=type=cache,id=same,target=/c2,readonly cat /c2/f >> /out && ! touch /c2/x\n\
         RUN --mount=type=cache,target=/c3//in/ echo own > /c3/in/f\n\
         RUN --mount=type=cache,id=/c3/in,target=/c4 cat /c4/f >> /out && test ! -e /c1\n\
         RUN --mount=type=tmpfs,target=/t --mount=type=tmpfs,dst=/s,size=1m,ro touch /t/x && ! touch /s/x && df -k /s | awk 'END { print $2 }' >> /out\n",
    );
    let image = bed.build();
    assert_eq!(bed.read(&image, "out"), "made\nmade\nkept\nown\n1024\n");
    bed.look(&image, |root| {
        for gone in ["one", "w/two", "x", "y", "z", "c1", "c2", "c3", "c4", "t", "s"] {
            assert!(!root.join(gone).exists(), "{gone} is no part of the image");
        }
    });
}

#[test]
fn a_secret_has_the_name_mode_owner_and_variable_that_its_mount_says() {
    let bed = Bed::new(
        "FROM busybox\nRUN echo 'web:x:33:34::/:/bin/sh' >> /etc/passwd\n\
         RUN --mount=type=secret,id=key stat -c %a:%u:%g /run/secrets/key > /out\n\
         RUN --mount=type=secret,target=/etc/key cat /etc/key >> /out\n\
         RUN --mount=type=secret,id=key,target=/a,env=KEY,gid=7,uid=8,mode=0444 echo $KEY $(cat /a) $(stat -c %a:%u:%g /a) >> /out\n\
         RUN --mount=type=secret,id=key,env=KEY test ! -e /run/secrets/key && echo $KEY >> /out\n\
         RUN test -z \"$KEY\" && test ! -e /etc/key\n",
    );
    let secrets = BTreeMap::from([("key".to_owned(), Secret(b"word".to_vec()))]);
    let image = bed.run(BuildRequest { secrets: secrets.clone(), ..bed.request() }).image();
    assert_eq!(bed.read(&image, "out"), "400:0:0\nwordword word 444:8:7\nword\n");
    assert!(!image.raw_config.to_string().contains("\"word"), "{}", image.raw_config);
    // None of it is taken from the cache for another mode or owner, nor from where it was not required.
    let step = |options: &str| {
        bed.write(
            "Dockerfile",
            format!("FROM busybox\nRUN --mount=type=secret,id=key{options} stat -c %a:%u:%g /run/secrets/key > /out; true\n"),
        );
    };
    for (options, how) in
        [("", "400:0:0\n"), (",mode=0444", "444:0:0\n"), (",uid=3", "400:3:0\n"), (",gid=4", "400:0:4\n")]
    {
        step(options);
        let image = bed.run(BuildRequest { secrets: secrets.clone(), ..bed.request() }).image();
        assert_eq!(bed.read(&image, "out"), how, "{options:?}");
    }
    bed.build();
    step(",required=false");
    bed.build();
    step(",required=true");
    assert!(bed.fails(bed.request()).chain().contains("--secret id=key"));
}

#[test]
fn an_agent_has_the_name_place_mode_and_owner_that_its_mount_says() {
    let socket = "stat -c %F:%a:%u:%g";
    let bed = Bed::new(&format!(
        "FROM busybox\nRUN --mount=type=ssh {socket} $SSH_AUTH_SOCK > /out && echo $SSH_AUTH_SOCK >> /out\n\
         RUN --mount=type=ssh,id=other,target=/a/s,mode=0666,uid=5,gid=6 {socket} $SSH_AUTH_SOCK >> /out && echo $SSH_AUTH_SOCK >> /out\n\
         RUN --mount=type=ssh,id=none test -z \"$SSH_AUTH_SOCK\"\n"
    ));
    let path = |name: &str| bed.dir.path().join(name);
    let _agents = ["one", "two"].map(|name| std::os::unix::net::UnixListener::bind(path(name)).unwrap());
    let ssh = BTreeMap::from([("default".to_owned(), path("one")), ("other".to_owned(), path("two"))]);
    let request = || BuildRequest { ssh: ssh.clone(), ..bed.request() };
    let image = bed.run(request()).image();
    let said = "socket:600:0:0\n/run/buildkit/ssh_agent.0\nsocket:666:5:6\n/a/s\n";
    assert_eq!(bed.read(&image, "out"), said);
    let text = fs::read_to_string(bed.context().join("Dockerfile")).unwrap();
    bed.write("Dockerfile", text.replace("mode=0666", "mode=0640"));
    let image = bed.run(request()).image();
    assert_eq!(bed.read(&image, "out"), said.replace("666", "640"), "another mode is another step");
    bed.write("Dockerfile", text.replace("id=none", "id=none,required=true"));
    assert!(bed.fails(request()).chain().contains("--ssh none"));
}

#[test]
fn a_proxy_counts_for_the_cache_where_an_arg_names_it() {
    let bed = Bed::new(
        "FROM busybox AS quiet\nRUN echo $http_proxy > /out\nFROM quiet\nARG HTTP_PROXY\nRUN echo $HTTP_PROXY > /own\n",
    );
    let build = |proxy: &str| {
        let ran = bed.run(BuildRequest { args: args(&[("HTTP_PROXY", proxy)]), ..bed.request() });
        let cached = ran.counts(StepOutcome::Cached);
        let image = ran.image();
        (bed.read(&image, "out"), bed.read(&image, "own"), cached)
    };
    assert_eq!(build("one"), ("one\n".into(), "one\n".into(), 0));
    assert_eq!(build("two"), ("one\n".into(), "two\n".into(), 1));
    assert_eq!(build("two").2, 2);
}

#[test]
fn build_arguments_of_the_builders_own_have_their_effect() {
    let bed = Bed::new(
        "FROM busybox\nRUN --mount=type=cache,id=c,target=/c hostname > /out; ls -A /c >> /out; touch /c/$(hostname)\n",
    );
    let build = |given: &[(&str, &str)]| {
        let ran = bed.run(BuildRequest { args: args(given), ..bed.request() });
        bed.read(&ran.image(), "out")
    };
    let named = |name| ("BUILDKIT_SANDBOX_HOSTNAME", name);
    assert_eq!(build(&[]), "build\n");
    assert_eq!(build(&[named("own")]), "own\nbuild\n");
    assert_eq!(
        build(&[named("own"), ("BUILDKIT_CACHE_MOUNT_NS", "mine")]),
        "own\n",
        "a cache of another space"
    );
    assert_eq!(build(&[named("other"), ("BUILDKIT_CACHE_MOUNT_NS", "mine")]), "other\nown\n");
    let error = bed.fails(BuildRequest { args: args(&[named(&"x".repeat(65))]), ..bed.request() }).chain();
    assert!(error.contains("BUILDKIT_SANDBOX_HOSTNAME is longer than 64 bytes"), "{error}");
    let ran = bed.run(BuildRequest { args: args(&[("BUILDKIT_MULTI_PLATFORM", "1")]), ..bed.request() });
    let is_told = |event: &hako_build::BuildEvent| matches!(event, hako_build::BuildEvent::Warning { message, .. } if message.contains("BUILDKIT_MULTI_PLATFORM is unimplemented"));
    assert!(ran.events.iter().any(is_told), "{:?}", ran.events);
}

#[test]
fn an_address_that_asks_who_is_there_is_told_by_secrets_for_its_server() {
    let bed = Bed::new("");
    let host = sources::serve_to("Bearer t0ken");
    bed.write("Dockerfile", format!("FROM scratch\nADD {host}/f /f\n"));
    let of = |name: &str, value: &str| BuildRequest {
        secrets: BTreeMap::from([(name.to_owned(), Secret(value.into()))]),
        ..bed.request()
    };
    for (name, value) in
        [("HTTP_AUTH_TOKEN_127.0.0.1", "t0ken\n"), ("HTTP_AUTH_HEADER_127.0.0.1", "Bearer t0ken")]
    {
        let image = bed.run(BuildRequest { no_cache: true, ..of(name, value) }).image();
        assert_eq!(bed.read(&image, "f"), "for you");
        assert!(!image.raw_config.to_string().contains("t0ken"));
    }
    for request in
        [bed.request(), of("HTTP_AUTH_TOKEN_localhost", "t0ken"), of("HTTP_AUTH_TOKEN_127.0.0.1", "wrong")]
    {
        assert_eq!(bed.fails(request).kind(), hako_error::Kind::Forbidden);
    }
    // Who is sent elsewhere does not take it along.
    let other = sources::redirect_to(&host.replace("127.0.0.1", "localhost"));
    bed.write("Dockerfile", format!("FROM scratch\nADD {other}/f /f\n"));
    assert_eq!(bed.fails(of("HTTP_AUTH_TOKEN_127.0.0.1", "t0ken")).kind(), hako_error::Kind::Forbidden);
}

#[test]
fn a_git_address_may_say_more_by_parameters() {
    let bed = Bed::new("");
    let base = bed.dir.path().join("git");
    let (part, repository) = (base.join("part.git"), base.join("r.git"));
    let commit = |dir: &Path, text: &str| {
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("sub/f"), text).unwrap();
        sources::git(dir, &["add", "."]);
        sources::git(dir, &["commit", "-q", "-m", text]);
        sources::git(dir, &["rev-parse", "HEAD"])
    };
    fs::create_dir_all(&part).unwrap();
    fs::create_dir_all(&repository).unwrap();
    sources::git(&part, &["init", "-q"]);
    commit(&part, "part");
    let daemon = sources::daemon(&base);
    sources::git(&repository, &["init", "-q"]);
    sources::git(&repository, &["submodule", "--quiet", "add", &format!("{}/part.git", daemon.1), "module"]);
    let first = commit(&repository, "one");
    sources::git(&repository, &["tag", "v1"]);
    sources::git(&repository, &["branch", "old"]);
    commit(&repository, "two");
    let url = format!("{}/r.git", daemon.1);
    let added = |query: &str| {
        bed.write("Dockerfile", format!("FROM scratch\nADD {url}?{query} /x/\n"));
        let image =
            bed.run(bed.request()).result.map(|built| built.image.unwrap()).map_err(|error| error.chain())?;
        bed.look(&image, |root| {
            let text =
                fs::read_to_string(root.join("x/f")).or_else(|_| fs::read_to_string(root.join("x/sub/f")));
            let has = |name: &str| root.join("x").join(name).exists();
            Ok::<_, String>((text.unwrap(), has("module/sub/f"), has(".git")))
        })
    };
    let is = |text: &str, has_module, has_git| Ok((text.to_owned(), has_module, has_git));
    assert_eq!(added("ref=v1"), is("one", true, false));
    assert_eq!(added("tag=v1&submodules=false"), is("one", false, false));
    assert_eq!(added("branch=old&keep-git-dir=true&mtime=commit"), is("one", true, true));
    assert_eq!(added("branch=main&subdir=sub"), is("two", false, false));
    assert_eq!(added(&format!("commit={first}")), is("one", true, false));
    assert_eq!(added(&format!("tag=v1&checksum={}", &first[..9])), is("one", true, false));
    assert_eq!(added(&format!("branch=main&checksum={first}&fetch-by-commit")), is("one", true, false));
    let error = added(&format!("branch=main&checksum={first}")).unwrap_err();
    assert!(error.contains(&format!("the address wants {first}")), "{error}");
    assert!(added("tag=old").unwrap_err().contains("git fetch failed"), "a branch is no tag");
    // A context without and with what git keeps beside the files.
    let context = |given: &[(&str, &str)]| {
        let text = Some(
            "FROM busybox\nCOPY . /c\nRUN test -e /c/.git && echo kept > /out || echo gone > /out\n"
                .to_owned(),
        );
        let remote = Some(format!("{url}#v1"));
        let image = bed
            .run(BuildRequest { remote, dockerfile_text: text, args: args(given), ..bed.request() })
            .image();
        bed.read(&image, "out")
    };
    assert_eq!(context(&[]), "gone\n");
    assert_eq!(context(&[("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "1")]), "kept\n");
}
