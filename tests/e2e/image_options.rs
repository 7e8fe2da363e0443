//! Options of the commands about images: what they write and where, what they print, what they remove.

use crate::builds::{context, fed};
use crate::images::Registry;
use crate::platform::{Platform, output, run};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

struct Dock {
    platform: Platform,
    dir: tempfile::TempDir,
}

impl Dock {
    fn start() -> Self {
        let platform = Platform::with_busybox();
        Self { platform, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Builds the image `app` of that text with these flags.
    #[track_caller]
    fn build(&self, dockerfile: &str, flags: &[&str]) {
        let main = context(&self.dir.path().join("main"), dockerfile);
        run(self.platform.hako().args(["build", "-t", "app"]).args(flags).arg(main));
    }

    fn try_run(&self, arguments: &[&str]) -> Output {
        output(self.platform.hako().args(arguments))
    }

    /// Names of all images, in order.
    fn names(&self) -> Vec<String> {
        let listed = self.platform.run(&["images", "--output", "name"]);
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// What a command writes to standard output, in a file.
    #[track_caller]
    fn written(&self, name: &str, arguments: &[&str]) -> String {
        let file = fs::File::create(self.path(name)).unwrap();
        let mut command = self.platform.hako();
        let status = command.args(arguments).stdin(Stdio::null()).stdout(file).status().unwrap();
        assert!(status.success(), "{arguments:?}");
        self.path(name)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Names of a tar's entries.
fn entries(tar: &str) -> Vec<String> {
    run(Command::new("tar").args(["-tf", tar])).lines().map(str::to_owned).collect()
}

#[test]
fn archives_of_a_build_are_of_the_kind_that_its_output_names() {
    let dock = Dock::start();
    let built = |kind: &str| {
        let to = dock.path(kind);
        dock.build("FROM scratch\nCOPY Dockerfile /in/file\n", &["-o", &format!("type={kind},dest={to}")]);
        entries(&to)
    };
    assert_eq!(built("tar"), ["in", "in/file"], "the files of the image");
    for (kind, is_for_docker) in [("oci", false), ("docker", true)] {
        let all = built(kind);
        let has = |name: &str| all.iter().any(|entry| entry == name);
        assert!(has("oci-layout") && has("index.json"), "{kind}: {all:?}");
        assert_eq!(has("manifest.json"), is_for_docker, "{kind}: {all:?}");
    }
    dock.platform.down();
}

const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";

#[test]
fn layers_of_zstd_are_made_anew_in_chunks_and_left_alone_otherwise() {
    let dock = Dock::start();
    dock.build("FROM scratch\nCOPY Dockerfile /in/file\n", &[]);
    let [archive, plain] = ["archive", "plain"].map(|name| dock.path(name));
    dock.platform.run(&["save", "-o", &archive, "app"]);
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--dest-compress-format", "zstd", &format!("docker-archive:{archive}")]);
    run(skopeo.arg(format!("oci:{plain}:app:latest")));
    // Nothing of what was built is left to take.
    dock.platform.run(&["rmi", "app"]);
    dock.platform.run(&["system", "prune", "--force"]);
    dock.platform.run(&["load", "-i", &plain]);
    let layer = |layout: &str| {
        let read = |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
        let index = read(&Path::new(layout).join("index.json"));
        let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
        read(&Path::new(layout).join("blobs").join(digest))["layers"][0].clone()
    };
    let given = layer(&plain);
    for (form, is_chunked) in [("zstd", false), ("stored", false), ("zstd:chunked", true)] {
        let (built, saved) = (dock.path(&format!("built-{form}")), dock.path(&format!("saved-{form}")));
        let to = format!("type=oci,tar=false,dest={built},compression={form}");
        let main = context(&dock.dir.path().join("labelled"), "FROM app\nLABEL a=b\n");
        dock.platform.run(&["build", "-o", &to, &main]);
        dock.platform.run(&["save", "--format", "oci-dir", "--compression", form, "-o", &saved, "app"]);
        for layer in [built, saved].map(|layout| layer(&layout)) {
            assert_eq!(layer["annotations"][POSITION].is_string(), is_chunked, "{form}: {layer}");
            assert_eq!(layer["digest"] == given["digest"], !is_chunked, "{form}: {layer}");
        }
    }
    dock.platform.down();
}

#[test]
fn images_come_from_standard_input_and_go_to_standard_output() {
    let dock = Dock::start();
    let saved = dock.written("saved", &["save", "busybox"]);
    let exported = dock.written("exported", &["image", "export", "busybox", "-"]);
    assert!(entries(&saved).contains(&"manifest.json".to_owned()));
    let laid = dock.written("laid", &["save", "--format=oci", "busybox"]);
    assert!(!entries(&laid).contains(&"manifest.json".to_owned()), "others than docker read it");
    let refused = dock.try_run(&["save", "--format=oci-dir", "busybox"]);
    assert!(!refused.status.success() && said(&refused).contains("give -o DIR"), "{}", said(&refused));

    dock.platform.run(&["rmi", "busybox"]);
    assert_eq!(fed(&dock.platform, &["load"], &fs::read(saved).unwrap()), "busybox:latest\n");
    let loaded = dock.platform.run(&["load", "--from", &laid, "--output", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&loaded).unwrap(), serde_json::json!(["busybox:latest"]));
    fed(&dock.platform, &["image", "import", "-", "again:v1"], &fs::read(exported).unwrap());
    assert_eq!(dock.platform.run(&["run", "--rm", "again:v1", "/bin/busybox", "echo", "whole"]), "whole\n");
    dock.platform.down();
}

#[test]
fn a_busybox_is_made_of_the_program_that_is_named() {
    let dock = Dock::start();
    // It acts as its name says.
    let own = dock.path("busybox");
    fs::copy("/bin/busybox", &own).unwrap();
    fs::File::options().append(true).open(&own).unwrap().write_all(b"marked").unwrap();
    dock.platform.run(&["image", "import-busybox", "--from", &own, "own:v1"]);
    let end = |image: &str| dock.platform.run(&["run", "--rm", image, "tail", "-c", "6", "/bin/busybox"]);
    assert_eq!(end("own:v1"), "marked");
    let none = dock.try_run(&["image", "import-busybox", "--from", &dock.path("none")]);
    assert!(!none.status.success() && said(&none).contains("--from"), "{}", said(&none));
    dock.platform.down();
}

#[test]
fn a_quiet_push_or_pull_prints_the_name_alone() {
    let dock = Dock::start();
    let registry = Registry::start(dock.dir.path(), false);
    let name = format!("{}/box:v1", registry.host);
    dock.platform.run(&["tag", "busybox", &name]);
    for flag in ["-q", "--quiet"] {
        for command in ["push", "pull"] {
            let quiet = dock.try_run(&[command, flag, &name]);
            assert!(quiet.status.success(), "{command}: {}", said(&quiet));
            let printed = String::from_utf8(quiet.stdout.clone()).unwrap();
            assert_eq!((printed, said(&quiet)), (format!("{name}\n"), String::new()), "{command} {flag}");
            assert_ne!(said(&dock.try_run(&[command, &name])), "", "{command} tells how it goes");
        }
    }
    dock.platform.down();
}

#[test]
fn what_still_has_names_or_containers_is_removed_by_force_alone() {
    let dock = Dock::start();
    dock.platform.run(&["tag", "busybox", "second:2"]);
    let inspected: Value = serde_json::from_str(&dock.platform.run(&["inspect", "busybox"])).unwrap();
    let id = inspected[0]["Id"].as_str().unwrap();
    for (what, part) in [(id, "several names"), ("busybox", "ended")] {
        if part == "ended" {
            dock.platform.run(&["image", "import-busybox"]);
            dock.platform.run(&["run", "--name", part, "busybox", "true"]);
        }
        let refused = dock.try_run(&["rmi", what]);
        assert!(!refused.status.success() && said(&refused).contains("force"), "{part}: {}", said(&refused));
        dock.platform.run(&["rmi", "--force", what]);
        assert!(dock.names().is_empty(), "{part}: {:?}", dock.names());
    }
    dock.platform.down();
}

#[test]
fn a_prune_takes_what_its_options_name_and_no_more() {
    let dock = Dock::start();
    dock.build("FROM busybox\nRUN echo x > /x\nVOLUME /v\n", &[]);
    let volumes = || {
        let usage = dock.platform.run(&["system", "df", "--output", "json"]);
        serde_json::from_str::<Value>(&usage).unwrap()["Volumes"].as_array().map_or(0, Vec::len)
    };
    dock.platform.run(&["run", "app", "touch", "/v/f"]);
    assert_eq!(volumes(), 1);
    dock.platform.run(&["system", "prune", "--force"]);
    assert_eq!(dock.platform.run(&["ps", "--all", "--quiet"]), "", "an ended container goes");
    assert_eq!((volumes(), dock.names().len()), (1, 2), "and neither its volume nor what has a name");
    dock.platform.run(&["system", "prune", "--volumes", "--force"]);
    assert_eq!((volumes(), dock.names().len()), (0, 2));

    for prune in [&["image", "prune"][..], &["prune"], &["system", "prune"]] {
        dock.platform.run(&["image", "import-busybox"]);
        let with = |flags: &[&str]| dock.try_run(&[prune, flags].concat());
        assert!(with(&["--force"]).status.success(), "{prune:?}");
        assert!(dock.names().contains(&"busybox:latest".to_owned()), "{prune:?}: it has a name");
        let unasked = with(&["--all"]);
        assert!(!unasked.status.success() && said(&unasked).contains("--force"), "{}", said(&unasked));
        assert!(dock.names().contains(&"busybox:latest".to_owned()), "{prune:?}: nobody said yes");
        assert!(with(&["--all", "--force"]).status.success(), "{prune:?}");
        assert!(dock.names().is_empty(), "{prune:?}: {:?}", dock.names());
    }
    dock.platform.down();
}

#[test]
fn histories_and_lists_are_printed_in_the_form_that_is_named() {
    let dock = Dock::start();
    let long = format!("RUN echo {} > /x", "x".repeat(80));
    dock.build(&format!("FROM busybox\n{long}\n"), &[]);
    for history in [&["history"][..], &["image", "history"]] {
        let of = |flags: &[&str]| dock.platform.run(&[history, flags, &["app"]].concat());
        assert!(!of(&[]).contains(&long[4..]), "it is cut");
        assert!(of(&["--output", "wide"]).contains(&long[4..]));
        let steps: Value = serde_json::from_str(&of(&["--output", "json"])).unwrap();
        assert!(steps[0]["CreatedBy"].as_str().unwrap().contains(&long[4..]), "{steps}");
    }
    for list in [&["images"][..], &["image", "ls"]] {
        let of = |flags: &[&str]| dock.platform.run(&[list, flags].concat());
        assert_eq!(of(&["--output", "name"]).lines().count(), 2);
        assert!(of(&[]).starts_with("NAME"), "{}", of(&[]));
        let images: Value = serde_json::from_str(&of(&["--output", "json"])).unwrap();
        assert_eq!(images.as_array().unwrap().len(), 2);
    }
    dock.platform.down();
}

#[test]
fn the_commands_below_image_do_what_those_of_the_same_name_do() {
    let dock = Dock::start();
    let registry = Registry::start(dock.dir.path(), false);
    let (name, archive) = (format!("{}/box:v1", registry.host), dock.path("archive"));
    let image = |arguments: &[&str]| dock.platform.run(&[&["image"], arguments].concat());
    image(&["tag", "busybox", &name]);
    let pushed: Value = serde_json::from_str(&image(&["push", "--output", "json", &name])).unwrap();
    image(&["save", "-o", &archive, &name]);
    assert_eq!(image(&["rm", &name, "busybox"]), format!("{name}\nbusybox\n"));
    assert!(dock.names().is_empty());
    let pulled: Value = serde_json::from_str(&image(&["pull", "--output", "json", &name])).unwrap();
    assert_eq!(pulled["digest"], pushed["digest"], "{pulled}");
    assert_eq!(dock.names(), [name.as_str()]);
    image(&["rm", &name]);
    assert_eq!(image(&["load", "-i", &archive]), format!("{name}\n"));
    assert_eq!(dock.platform.run(&["run", "--rm", &name, "echo", "whole"]), "whole\n");
    dock.platform.down();
}
