//! Flags of `hako build` from the command line to what others read: caches that travel, what stands beside an image,
//! the form of layers, checks.

use crate::builds::context;
use crate::images::Registry;
use crate::platform::{Platform, output, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Yard {
    platform: Platform,
    dir: tempfile::TempDir,
    registry: Registry,
}

impl Yard {
    fn start() -> Self {
        let platform = Platform::with_busybox();
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::start(dir.path(), false);
        Self { platform, dir, registry }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.host)
    }

    fn context(&self, dockerfile: &str) -> String {
        context(&self.dir.path().join("main"), dockerfile)
    }

    /// A build that must succeed; gives what it says.
    #[track_caller]
    fn build(&self, context: &str, flags: &[&str]) -> String {
        let (is_done, said) = self.try_build(context, flags);
        assert!(is_done, "{flags:?}: {said}");
        said
    }

    fn try_build(&self, context: &str, flags: &[&str]) -> (bool, String) {
        let output = output(self.platform.hako().arg("build").args(flags).arg(context));
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    /// Forgets results of steps and empties cache mounts, as a machine that has never built.
    fn forget(&self) {
        self.platform.run(&["system", "prune", "--force"]);
    }

    fn cat(&self, image: &str, file: &str) -> String {
        self.platform.run(&["run", "--rm", image, "cat", file])
    }
}

const DRAWS: &str = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /drawn\n";

#[test]
fn an_image_that_is_pushed_with_its_cache_is_one_for_who_pulls_results() {
    let yard = Yard::start();
    let main = yard.context(DRAWS);
    let (with, without) = (yard.name("app:with"), yard.name("app:without"));
    yard.build(&main, &["-t", &with, "--cache-to", "type=inline", "-o", "type=registry"]);
    let drawn = yard.cat(&with, "/drawn");
    yard.forget();
    yard.build(&main, &["-t", &without, "-o", "type=registry"]);
    assert_ne!(yard.cat(&without, "/drawn"), drawn, "it ran again");
    yard.platform.run(&["rmi", &with, &without]);
    for from in [format!("type=inline,ref={with}"), with.clone()] {
        yard.forget();
        let said = yard.build(&main, &["-t", "app", "--cache-from", &from]);
        assert!(said.contains("CACHED"), "{said}");
        assert_eq!(yard.cat("app", "/drawn"), drawn, "{from}");
    }
    yard.forget();
    let said = yard.build(&main, &["-t", "app", "--cache-from", &format!("type=inline,ref={without}")]);
    assert!(!said.contains("CACHED") && said.contains("is not used"), "it carries none: {said}");
    yard.platform.down();
}

const STAGES: &str = "FROM busybox AS hidden\nRUN cat /proc/sys/kernel/random/uuid > /drawn\n\
    FROM busybox\nCOPY f /f\nCOPY --from=hidden /drawn /drawn\n";

#[test]
fn a_cache_has_all_stages_or_those_that_the_image_shows() {
    let yard = Yard::start();
    let main = yard.context(STAGES);
    let change = |text: &str| fs::write(Path::new(&main).join("f"), text).unwrap();
    // Without a mode it is `min`.
    for (number, (more, is_whole)) in
        [(",mode=max", true), (",mode=min", false), ("", false)].into_iter().enumerate()
    {
        let cache = yard.name(&format!("cache:{number}"));
        change("before");
        yard.build(&main, &["-t", "app", "--cache-to", &format!("type=registry,ref={cache}{more}")]);
        let drawn = yard.cat("app", "/drawn");
        yard.forget();
        yard.build(&main, &["-t", "app", "--cache-from", &cache]);
        assert_eq!(yard.cat("app", "/drawn"), drawn, "{more:?}: all that the image shows is there");
        yard.forget();
        change("after");
        yard.build(&main, &["-t", "app", "--cache-from", &cache]);
        assert_eq!(yard.cat("app", "/f"), "after");
        assert_eq!(yard.cat("app", "/drawn") == drawn, is_whole, "{more:?}");
        yard.forget();
    }
    yard.platform.down();
}

#[test]
fn a_directory_has_several_caches_by_tag_and_by_digest() {
    let yard = Yard::start();
    let main = yard.context(DRAWS);
    let cache = yard.path("caches");
    let mut drawn = Vec::new();
    for tag in ["one", "two"] {
        yard.build(&main, &["-t", tag, "--cache-to", &format!("type=local,dest={cache},tag={tag}")]);
        drawn.push(yard.cat(tag, "/drawn"));
        yard.forget();
    }
    assert_ne!(drawn[0], drawn[1]);
    let index = json(&Path::new(&cache).join("index.json"));
    let manifests = index["manifests"].as_array().unwrap();
    let name = |manifest: &&Value| manifest["annotations"]["org.opencontainers.image.ref.name"] == "two";
    let two = manifests.iter().find(name).unwrap()["digest"].as_str().unwrap();
    for (which, expected) in [("tag=one".to_owned(), &drawn[0]), (format!("digest={two}"), &drawn[1])] {
        yard.build(&main, &["-t", "app", "--cache-from", &format!("type=local,src={cache},{which}")]);
        assert_eq!(yard.cat("app", "/drawn"), *expected, "{which}");
        yard.forget();
    }
    let said = yard.build(&main, &["-t", "app", "--cache-from", &format!("type=local,src={cache}")]);
    assert!(
        said.contains("is not used") && !drawn.contains(&yard.cat("app", "/drawn")),
        "none is latest: {said}"
    );
    yard.platform.down();
}

#[test]
fn a_cache_that_no_registry_takes_fails_the_build_unless_that_does_not_matter() {
    let yard = Yard::start();
    let main = yard.context(DRAWS);
    let gone = {
        let dir = tempfile::tempdir().unwrap();
        Registry::start(dir.path(), false).host.clone()
    };
    let to = format!("type=registry,ref={gone}/cache:1");
    let (is_done, said) = yard.try_build(&main, &["-t", "app", "--cache-to", &to]);
    assert!(!is_done && said.contains("the cache was not written"), "{said}");
    let said = yard.build(&main, &["-t", "app", "--cache-to", &format!("{to},ignore-error=true")]);
    assert!(said.contains("the cache was not written"), "it says so: {said}");
    assert_eq!(yard.cat("app", "/drawn").len(), 37);
    let (is_done, _) = yard.try_build(&main, &["--cache-to", &format!("{to},ignore-error=false")]);
    assert!(!is_done);
    yard.platform.down();
}

#[test]
fn what_cache_mounts_hold_travels_if_asked_for() {
    let yard = Yard::start();
    let mount = "RUN --mount=type=cache,id=m,target=/c";
    let looking = yard.dir.path().join("looking");
    let looking = context(&looking, &format!("FROM busybox\n{mount} ls -A /c > /seen\n"));
    let filling = yard.context(&format!("FROM busybox\n{mount} echo warm > /c/file\n"));
    for (more, seen) in [("", ""), (",mounts=false", ""), (",mounts=true", "file\n")] {
        let cache = yard.path(&format!("cache{}", more.len()));
        yard.build(&filling, &["--cache-to", &format!("type=local,dest={cache}{more}")]);
        yard.forget();
        yard.build(&looking, &["-t", "app", "--cache-from", &format!("type=local,src={cache}")]);
        assert_eq!(yard.cat("app", "/seen"), seen, "{more:?}");
        yard.forget();
    }
    yard.platform.down();
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"))).unwrap()
}

/// The file of a digest in a layout directory.
fn blob(layout: &Path, digest: &Value) -> PathBuf {
    layout.join("blobs/sha256").join(digest.as_str().unwrap().strip_prefix("sha256:").unwrap())
}

/// The statements that stand beside the image of a layout.
fn statements(layout: &Path) -> Vec<Value> {
    let top = json(&layout.join("index.json"));
    let index = json(&blob(layout, &top["manifests"][0]["digest"]));
    let Some(beside) = index["manifests"].get(1) else { return Vec::new() };
    let manifest = json(&blob(layout, &beside["digest"]));
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| json(&blob(layout, &layer["digest"]))).collect()
}

const SPDX: &str = "https://spdx.dev/Document";
const SLSA: &str = "https://slsa.dev/provenance/v1";

#[test]
fn attest_asks_for_either_statement_and_says_how_much_and_by_whom() {
    let yard = Yard::start();
    let main = yard.context("FROM busybox\nARG WHO\nRUN echo $WHO > /who\n");
    let mut number = 0;
    let mut told = |flags: &[&str]| {
        number += 1;
        let layout = yard.path(&format!("layout{number}"));
        let to = format!("type=oci,tar=false,dest={layout}");
        yard.build(&main, &[&["-t", "app", "--build-arg", "WHO=me", "-o", &to][..], flags].concat());
        statements(Path::new(&layout))
    };
    let kinds = |told: &[Value]| -> Vec<String> {
        told.iter().map(|one| one["predicateType"].as_str().unwrap().to_owned()).collect()
    };
    let builder = |told: &Value| told["predicate"]["runDetails"]["builder"]["id"].clone();

    assert!(told(&[]).is_empty());
    assert_eq!(kinds(&told(&["--attest", "type=sbom"])), [SPDX]);
    assert_eq!(kinds(&told(&["--attest=type=sbom,disabled=true", "--attest=type=provenance"])), [SLSA]);
    let both = told(&["--attest", "type=sbom", "--attest", "type=provenance,mode=min"]);
    assert_eq!(kinds(&both), [SPDX, SLSA]);
    assert!(!both[1].to_string().contains("\"WHO\""), "{}", both[1]);
    assert_eq!(builder(&both[1]), "urn:hakobune:builder");
    let full = told(&["--attest", "type=provenance,mode=max,builder-id=https://ci.example.org/7"]);
    assert_eq!(kinds(&full), [SLSA]);
    assert!(full[0].to_string().contains("\"WHO\":\"me\""), "{}", full[0]);
    assert_eq!(builder(&full[0]), "https://ci.example.org/7");
    let own = told(&["--attest=type=provenance,mode=max", "--provenance=mode=min,builder-id=urn:me"]);
    assert!(builder(&own[0]) == "urn:me" && !own[0].to_string().contains("\"WHO\""), "{own:?}");
    assert_eq!(kinds(&told(&["--sbom"])), [SPDX]);
    assert_eq!(kinds(&told(&["--sbom=true", "--provenance"])), [SPDX, SLSA]);
    assert_eq!(kinds(&told(&["--sbom=false", "--provenance=true"])), [SLSA]);
    assert!(told(&["--attest=type=sbom", "--sbom=false", "--provenance=false"]).is_empty());
    assert!(told(&["--provenance=mode=max"])[0].to_string().contains("\"WHO\":\"me\""));
    let (is_done, said) = yard.try_build(&main, &["--attest", "type=vex"]);
    assert!(!is_done && said.contains("type=vex"), "{said}");
    yard.platform.down();
}

/// Media types of an image's own layers, and how their bytes begin.
fn layers(layout: &Path) -> Vec<(String, Vec<u8>)> {
    let top = json(&layout.join("index.json"));
    let manifest = json(&blob(layout, &top["manifests"][0]["digest"]));
    let read = |layer: &Value| {
        let bytes = fs::read(blob(layout, &layer["digest"])).unwrap();
        assert_eq!(layer["size"], bytes.len());
        (layer["mediaType"].as_str().unwrap().to_owned(), bytes)
    };
    manifest["layers"].as_array().unwrap().iter().map(read).collect()
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

#[test]
fn layers_leave_in_the_form_that_the_output_names() {
    let yard = Yard::start();
    let main = yard.context("FROM busybox\nRUN echo x > /x\n");
    let written = |form: &str| {
        let layout = yard.path(&form.replace(':', "-"));
        let more = if form.is_empty() { String::new() } else { format!(",compression={form}") };
        yard.build(&main, &["-t", "app", "-o", &format!("type=oci,tar=false,dest={layout}{more}")]);
        layers(Path::new(&layout))
    };
    let tar = "application/vnd.oci.image.layer.v1.tar";
    for (form, media_type, start) in [
        ("gzip", format!("{tar}+gzip"), GZIP),
        ("zstd", format!("{tar}+zstd"), ZSTD),
        ("zstd:chunked", format!("{tar}+zstd"), ZSTD),
        ("uncompressed", tar.to_owned(), b""),
    ] {
        let all = written(form);
        assert_eq!(all.len(), 2, "{form}");
        for (kind, bytes) in all {
            assert!(kind == media_type && bytes.starts_with(start), "{form}: {kind}");
            let is_tar = bytes.get(257..262) == Some(b"ustar");
            assert_eq!(is_tar, form == "uncompressed", "{form}");
        }
    }
    let (stored, as_it_is) = (written("stored"), written(""));
    assert!(stored == as_it_is && stored[0].1.starts_with(ZSTD), "as they are here");
    for (form, is_ok) in [("estargz", false), ("brotli", false), ("gzip", true)] {
        let to = format!("type=docker,dest={},compression={form}", yard.path("app.tar"));
        let (is_done, said) = yard.try_build(&main, &["-t", "app", "-o", &to]);
        assert_eq!(is_done, is_ok, "{form}: {said}");
        assert!(is_ok || said.contains("zstd:chunked"), "what there is instead: {said}");
    }
    let files = run(Command::new("tar").args(["-tf", &yard.path("app.tar")]));
    assert!(files.contains("manifest.json"), "{files}");
    yard.platform.down();
}

#[test]
fn layers_are_pushed_and_saved_in_the_form_that_is_named() {
    let yard = Yard::start();
    let main = yard.context("FROM busybox\nRUN echo x > /x\n");
    let there = |name: &str| -> Vec<String> {
        let mut command = Command::new("skopeo");
        command.args(["inspect", "--raw", "--tls-verify=false"]).arg(format!("docker://{name}"));
        let manifest: Value = serde_json::from_str(&run(&mut command)).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let kind =
            |layer: &Value| layer["mediaType"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
        layers.map(kind).collect()
    };
    for (form, kind) in
        [("uncompressed", "tar"), ("gzip", "tar+gzip"), ("zstd", "tar+zstd"), ("stored", "tar+zstd")]
    {
        let (built, pushed) = (yard.name(&format!("built:{form}")), yard.name(&format!("pushed-{form}:1")));
        yard.build(&main, &["-t", &built, "-o", &format!("type=registry,compression={form}")]);
        yard.platform.run(&["tag", &built, &pushed]);
        yard.platform.run(&["push", "--compression", form, &pushed]);
        for name in [&built, &pushed] {
            assert_eq!(there(name), [kind, kind], "{name}");
        }
        let layout = yard.path(&format!("saved-{form}"));
        yard.platform.run(&["save", "--format", "oci-dir", "--compression", form, "-o", &layout, &built]);
        let saved: Vec<String> = layers(Path::new(&layout)).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(
            saved,
            [
                format!("application/vnd.oci.image.layer.v1.{kind}"),
                format!("application/vnd.oci.image.layer.v1.{kind}")
            ]
        );
    }
    yard.platform.down();
}

#[test]
fn checks_are_chosen_by_the_file_and_by_who_builds() {
    let platform = Platform::with_busybox();
    let dir = tempfile::tempdir().unwrap();
    // One fault of each: the stage's name, and a CMD that is no list.
    let faults = "FROM busybox AS Upper\nCMD echo x\n";
    let run = |text: &str, flags: &[&str]| {
        let main = context(&dir.path().join("main"), text);
        let output = output(platform.hako().arg("build").args(flags).arg(main));
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), said)
    };
    let found = |directive: &str, argument: &str| {
        let text =
            if directive.is_empty() { faults.to_owned() } else { format!("# check={directive}\n{faults}") };
        let argument = format!("BUILDKIT_DOCKERFILE_CHECK={argument}");
        let (is_good, said) = run(&text, &["--check", "--build-arg", &argument]);
        let names = ["StageNameCasing", "JSONArgsRecommended"].map(|name| said.contains(name));
        assert_eq!(is_good, names == [false, false], "{said}");
        names
    };
    assert_eq!(found("", ""), [true, true]);
    assert_eq!(found("skip=StageNameCasing", ""), [false, true]);
    assert_eq!(found("", "skip=JSONArgsRecommended"), [true, false]);
    assert_eq!(found("skip=StageNameCasing", "skip=JSONArgsRecommended"), [true, false], "who builds wins");
    assert_eq!(found("skip=all", ""), [false, false]);
    assert_eq!(found("skip=StageNameCasing,JSONArgsRecommended", ""), [false, false]);

    // A build goes on, unless findings are errors.
    assert!(run(faults, &[]).0);
    let strict = format!("# check=error=true\n{faults}");
    let (is_done, said) = run(&strict, &[]);
    assert!(
        !is_done && said.contains("Dockerfile:2: StageNameCasing") && said.contains("check=error=true"),
        "{said}"
    );
    assert!(run(&strict, &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=false"]).0);
    assert!(run(&format!("# check=error=true;skip=all\n{faults}"), &[]).0);
    assert!(!run(faults, &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true"]).0);
    let (is_done, said) = run(&format!("# check=skips=all\n{faults}"), &[]);
    assert!(!is_done && said.contains("skips"), "{said}");
    platform.down();
}

#[test]
fn what_has_no_name_is_refused_and_an_agent_without_one_is_the_default() {
    let platform = Platform::with_busybox();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret").display().to_string();
    fs::write(&file, "whispered").unwrap();
    let text = "FROM busybox\nRUN --mount=type=secret,id=s,required cat /run/secrets/s > /told\n";
    let main = context(&dir.path().join("main"), text);
    let run = |flag: &str, value: &str| {
        let mut build = platform.hako();
        build
            .args(["build", "-t", "app", flag, value, &main])
            .env("SPOKEN", "said")
            .env("SSH_AUTH_SOCK", &file);
        let output = output(&mut build);
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let secret = |rest: &str| format!("id=,{rest}");
    for (flag, value) in [
        ("--build-arg", ""),
        ("--build-arg", "=x"),
        ("--label", "=x"),
        ("--output", "type=local,dest="),
        ("--secret", secret(&format!("src={file}")).as_str()),
        ("--secret", "id=s,env="),
        ("--secret", "env="),
        ("--secret", &format!("src={file}")),
        ("--build-context", "=/"),
        ("--build-context", "extra="),
    ] {
        let (is_done, said) = run(flag, value);
        assert!(!is_done && said.contains(&format!("{flag} {value}: ")), "{flag} {value:?}: {said}");
        assert!(!said.contains("[1/"), "something was built: {said}");
    }
    for source in [format!("src={file}"), format!("type=file,source={file}")] {
        assert!(run("--secret", &format!("id=s,{source}")).0);
        assert_eq!(platform.run(&["run", "--rm", "app", "cat", "/told"]), "whispered");
    }
    for source in ["env=SPOKEN", "type=env,src=SPOKEN"] {
        let (is_done, said) = run("--secret", &format!("id=s,{source}"));
        assert!(is_done, "{source}: {said}");
        platform.run(&["system", "prune", "--force"]);
    }
    let agent = std::os::unix::net::UnixListener::bind(dir.path().join("agent")).unwrap();
    let shown = "FROM busybox\nRUN --mount=type=ssh,required test -S \"$SSH_AUTH_SOCK\"\n";
    fs::write(Path::new(&main).join("Dockerfile"), shown).unwrap();
    for id in ["", "default"] {
        let (is_done, said) = run("--ssh", &format!("{id}={}", dir.path().join("agent").display()));
        assert!(is_done, "{id:?}: {said}");
        platform.run(&["system", "prune", "--force"]);
    }
    drop(agent);
    platform.down();
}

#[test]
fn a_quiet_build_prints_the_image_s_id_and_why_it_failed() {
    let yard = Yard::start();
    let main =
        yard.context("FROM busybox AS good\nRUN echo passing by\nFROM good\nRUN echo the reason; exit 5\n");
    let build = |flags: &[&str]| {
        let said = output(yard.platform.hako().arg("build").args(flags).arg(&main));
        (
            said.status.success(),
            String::from_utf8(said.stdout).unwrap(),
            String::from_utf8(said.stderr).unwrap(),
        )
    };
    let (is_done, id, progress) = build(&["-q", "-t", "app", "--target", "good"]);
    assert!(is_done && progress.is_empty(), "{progress}");
    let known: Value = serde_json::from_str(&yard.platform.run(&["inspect", "app"])).unwrap();
    assert_eq!(known[0]["Id"], id.trim_end_matches('\n'));
    for quiet in ["--quiet", "--progress=quiet"] {
        let (is_done, id, progress) = build(&[quiet, "--no-cache"]);
        assert!(!is_done && id.is_empty(), "{id}");
        assert!(progress.contains("the reason") && !progress.contains("passing by"), "{progress}");
    }
    yard.platform.down();
}

#[test]
fn an_image_is_pushed_and_kept_as_flags_of_their_own_say() {
    let yard = Yard::start();
    let main = yard.context(&DRAWS.replace("FROM busybox", "FROM busybox AS drawn"));
    let (name, tar) = (yard.name("app:1"), format!("type=tar,dest={}", yard.path("app.tar")));
    let (is_done, said) = yard.try_build(&main, &["--push"]);
    assert!(!is_done && said.contains("--tag"), "{said}");
    yard.build(&main, &["-t", &name, "-o", &tar]);
    assert!(
        yard.platform.run(&["images"]).lines().all(|line| !line.contains("app")),
        "only a tar was asked for"
    );
    yard.build(&main, &["-t", &name, "-o", &tar, "--load"]);
    let drawn = yard.cat(&name, "/drawn");
    yard.build(&main, &["-t", &name, "--push"]);
    yard.platform.run(&["rmi", &name]);
    yard.platform.run(&["pull", &name]);
    assert_eq!(yard.cat(&name, "/drawn"), drawn);
    yard.build(&main, &["-t", &name, "--no-cache-filter", "drawn"]);
    assert_ne!(yard.cat(&name, "/drawn"), drawn, "the stage ran again");
    yard.platform.down();
}

#[test]
fn steps_have_the_limits_that_flags_give_them() {
    let yard = Yard::start();
    let main = yard.context(
        "FROM busybox\nRUN ulimit -n > /files; grep ' /dev/shm ' /proc/mounts > /shm; \
         cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes > /memory 2>/dev/null; true\n",
    );
    yard.build(&main, &["-t", "app", "--ulimit", "nofile=77:88", "--shm-size", "128k", "-m", "64m"]);
    assert_eq!(yard.cat("app", "/files").trim(), "77");
    assert!(yard.cat("app", "/shm").contains("size=128k"));
    assert_eq!(yard.cat("app", "/memory").trim(), (64 << 20).to_string());
    let (is_done, said) = yard.try_build(&main, &["--ulimit", "nofile"]);
    assert!(!is_done && said.contains("NAME=SOFT[:HARD]"), "{said}");
    yard.platform.down();
}
