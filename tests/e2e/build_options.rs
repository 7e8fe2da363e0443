//! What flags of `hako build` make steps see, and where the file, its rules and its contexts are found.

use crate::builds::context;
use crate::platform::{Platform, output, run};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

struct Desk {
    platform: Platform,
    dir: tempfile::TempDir,
}

impl Desk {
    fn start() -> Self {
        let platform = Platform::with_busybox();
        Self { platform, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// `hako build -t app` with these flags, in a directory of the desk.
    fn command(&self, flags: &[&str]) -> Command {
        let mut command = self.platform.hako();
        command.args(["build", "-t", "app"]).args(flags).current_dir(self.dir.path());
        command
    }

    #[track_caller]
    fn build(&self, flags: &[&str]) {
        run(&mut self.command(flags));
    }

    #[track_caller]
    fn refused(&self, flags: &[&str]) -> String {
        let output = output(&mut self.command(flags));
        assert!(!output.status.success(), "{flags:?} was built");
        String::from_utf8(output.stderr).unwrap()
    }

    /// What a step of that text wrote to `/out`.
    #[track_caller]
    fn out(&self, step: &str, flags: &[&str]) -> String {
        let main = context(&self.dir.path().join("main"), &format!("FROM busybox\n{step}\n"));
        self.build(&[flags, &[&main]].concat());
        self.cat("/out")
    }

    fn cat(&self, file: &str) -> String {
        self.platform.run(&["run", "--rm", "app", "cat", file])
    }
}

#[test]
fn steps_have_the_network_names_and_rights_that_flags_give_them() {
    let desk = Desk::start();
    let links = "RUN ls /sys/class/net | sort | tr '\\n' ' ' > /out; readlink /proc/self/ns/net > /ns";
    assert_eq!(desk.out(links, &["--network", "none"]), "lo ");
    assert_eq!(desk.out(links, &["--network=default"]), "eth0 lo ");
    assert_eq!(desk.out(links, &[]), "eth0 lo ");
    let own_none = links.replace("RUN", "RUN --network=none");
    assert_eq!(desk.out(&own_none, &["--network=default"]), "lo ");
    let own_default = links.replace("RUN", "RUN --network=default");
    assert_eq!(desk.out(&own_default, &["--network=none"]), "lo ", "what the build has");
    desk.out(links, &["--network", "host"]);
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap().display().to_string();
    assert_eq!(desk.cat("/ns").trim(), own);
    let far = "RUN grep -E '^10.9.8.7[[:space:]]+far$' /etc/hosts | tr '\\t' ' ' > /out; true";
    assert_eq!(desk.out(far, &["--add-host", "far:10.9.8.7"]), "10.9.8.7 far\n");
    assert_eq!(desk.out(far, &["--add-host", "far=10.9.8.8"]), "");

    let mount = "RUN --security=insecure mount -t tmpfs x /tmp && echo mounted > /out";
    let main = context(&desk.dir.path().join("main"), &format!("FROM busybox\n{mount}\n"));
    assert!(desk.refused(&[&main]).contains("--allow security.insecure"));
    assert!(desk.refused(&["--allow", "network.host", &main]).contains("--allow security.insecure"));
    assert_eq!(desk.out(mount, &["--allow", "security.insecure"]), "mounted\n");
    let main = context(
        &desk.dir.path().join("main"),
        "FROM busybox\nRUN --network=host readlink /proc/self/ns/net > /out\n",
    );
    assert!(desk.refused(&[&main]).contains("--allow network.host"));
    desk.build(&["--allow=network.host", &main]);
    assert_eq!(desk.cat("/out").trim(), own);
    assert!(desk.refused(&["--allow", "everything", &main]).contains("everything"));
    desk.platform.down();
}

/// Files of a step's groups of version 1, with what they are to say.
const LEGACY: [(&str, &str); 5] = [
    ("cpu/cpu.shares", "512"),
    ("cpu/cpu.cfs_period_us", "54321"),
    ("cpu/cpu.cfs_quota_us", "43210"),
    ("cpuset/cpuset.cpus", "0"),
    ("cpuset/cpuset.mems", "0"),
];
/// The same of version 2; the weight is reckoned from the shares.
const UNIFIED: [(&str, &str); 4] =
    [("cpu.weight", "20"), ("cpu.max", "43210 54321"), ("cpuset.cpus", "0"), ("cpuset.mems", "0")];

#[test]
fn steps_have_the_processors_and_the_swap_that_flags_give_them() {
    let desk = Desk::start();
    let is_legacy = Path::new("/sys/fs/cgroup/cpu").exists();
    let limits = if is_legacy { &LEGACY[..] } else { &UNIFIED };
    let names: Vec<&str> = limits.iter().map(|(name, _)| *name).collect();
    let step = format!(
        "RUN cd /sys/fs/cgroup && cat {} > /out && \
         {{ cat memory/memory.memsw.limit_in_bytes memory.swap.max > /swap 2>/dev/null || true; }}",
        names.join(" ")
    );
    let flags = "--cpu-shares 512 --cpu-period 54321 --cpu-quota 43210 --cpuset-cpus 0 --cpuset-mems 0 -m 64m --memory-swap 96m";
    let said = desk.out(&step, &flags.split(' ').collect::<Vec<_>>());
    assert_eq!(said.lines().collect::<Vec<_>>(), limits.iter().map(|(_, value)| *value).collect::<Vec<_>>());
    let swap = desk.cat("/swap");
    // Version 1 counts memory and swap together; not every kernel counts swap.
    let expected = if is_legacy { 96 << 20 } else { 32 << 20 };
    assert!(swap.is_empty() || swap.trim() == expected.to_string(), "{swap}");
    desk.platform.down();
}

#[test]
fn arguments_and_labels_come_from_flags_and_from_the_shell() {
    let desk = Desk::start();
    let main = context(
        &desk.dir.path().join("main"),
        "FROM busybox\nARG GIVEN=no\nARG SHELL_SAYS=no\nARG UNSET=no\nLABEL own=file changed=file\n\
         RUN echo $GIVEN $SHELL_SAYS $UNSET > /out\n",
    );
    let flags = ["--build-arg", "GIVEN=a=b", "--build-arg=SHELL_SAYS", "--build-arg", "UNSET"];
    let labels = ["--label", "changed=flag", "--label=new=a=b", "--label", "empty"];
    let mut command = desk.command(&[&flags[..], &labels, &[&main]].concat());
    run(command.env("SHELL_SAYS", "yes").env_remove("UNSET"));
    assert_eq!(desk.cat("/out"), "a=b yes no\n");
    let image: Value = serde_json::from_str(&desk.platform.run(&["image", "inspect", "app"])).unwrap();
    let labels = &image["Config"]["Labels"];
    for (name, value) in [("own", "file"), ("changed", "flag"), ("new", "a=b"), ("empty", "")] {
        assert_eq!(labels[name], value, "{labels}");
    }
    assert!(desk.command(&["-t", "second:2", &main]).status().unwrap().success());
    assert_eq!(
        desk.platform.run(&["run", "--rm", "second:2", "cat", "/out"]),
        "no no no\n",
        "each -t is a name"
    );
    desk.platform.down();
}

#[test]
fn the_file_its_rules_and_its_contexts_are_found_where_flags_say() {
    let desk = Desk::start();
    for (name, text) in [
        ("main/Dockerfile", "FROM busybox\nCOPY . /c\nRUN ls /c > /out; echo usual >> /out\n"),
        ("main/sub/Other", "FROM busybox\nCOPY . /c\nRUN ls /c > /out; echo inside >> /out\n"),
        ("main/.dockerignore", "a\nsub\nDockerfile\n.dockerignore\n"),
        ("main/sub/Other.dockerignore", "b\nsub\nDockerfile\n.dockerignore\n"),
        ("main/a", ""),
        ("main/b", ""),
        ("Beside", "FROM busybox\nCOPY . /c\nRUN ls /c > /out; echo beside >> /out\n"),
    ] {
        desk.write(name, text);
    }
    for (flags, said) in [
        (&["main"][..], "b\nusual\n"),
        (&["-f", "sub/Other", "main"], "a\ninside\n"),
        (&["--file=main/sub/Other", "main"], "a\ninside\n"),
        (&["-f", &desk.path("Beside"), "main"], "b\nbeside\n"),
        (&["-f", "Beside", "main"], "b\nbeside\n"),
    ] {
        desk.build(flags);
        assert_eq!(desk.cat("/out"), said, "{flags:?}");
    }
    run(desk.command(&[]).current_dir(desk.dir.path().join("main")));
    assert_eq!(desk.cat("/out"), "b\nusual\n", "the context is where the command runs");
    assert!(desk.refused(&["-f", "Nowhere", "main"]).contains("name one with --file"));
    assert!(desk.refused(&["-f", "sub", "main"]).contains("it is no regular file"));
    assert!(desk.refused(&[""]).contains("the build context is empty"));
    // The usual name in lower case counts where there is none in the usual one.
    desk.write("lower/dockerfile", "FROM busybox\nCOPY . /c\nRUN ls /c > /out; echo lower >> /out\n");
    desk.write("lower/dockerfile.dockerignore", "a\ndockerfile*\n");
    desk.write("lower/b", "");
    desk.write("lower/a", "");
    desk.build(&["lower"]);
    assert_eq!(desk.cat("/out"), "b\nlower\n");

    let layout = desk.path("layout");
    desk.build(&["-o", &format!("type=oci,tar=false,dest={layout}"), "main"]);
    desk.write("extra/f", "extra\n");
    desk.write(
        "named/Dockerfile",
        "FROM base\nCOPY --from=extra f /f\nCOPY --from=laid /out /laid\nRUN cat /f /laid > /out\n",
    );
    let named = ["--build-context", "base=docker-image://busybox", "--build-context=extra=extra"];
    desk.build(&[&named[..], &["--build-context", "laid=oci-layout://layout", "named"]].concat());
    assert_eq!(desk.cat("/out"), "extra\nb\nusual\n");
    let said = desk.refused(&["--build-context", "unused=nowhere", "main"]);
    assert!(said.contains("unused=nowhere: nowhere is no directory"), "{said}");
    desk.platform.down();
}

#[test]
fn secrets_and_agents_are_found_by_their_id_where_nothing_else_is_said() {
    let desk = Desk::start();
    let told = "RUN --mount=type=secret,id=SPOKEN,required cat /run/secrets/SPOKEN > /out";
    let main = context(&desk.dir.path().join("main"), &format!("FROM busybox\n{told}\n"));
    run(desk.command(&["--secret", "id=SPOKEN", &main]).env("SPOKEN", "by the shell"));
    assert_eq!(desk.cat("/out"), "by the shell");
    let said = desk.refused(&["--no-cache", &main]);
    assert!(
        said.contains("SPOKEN") && !said.contains("--on-error"),
        "no program ran that left something: {said}"
    );
    desk.write("WRITTEN", "by the file");
    let text = format!("FROM busybox\n{}\n", told.replace("SPOKEN", "WRITTEN"));
    desk.build(&["--secret", "id=WRITTEN", &context(Path::new(&main), &text)]);
    assert_eq!(desk.cat("/out"), "by the file");
    let said = desk.refused(&["--no-cache", "--secret", "id=nowhere", &main]);
    assert!(said.contains("nowhere is not set"), "{said}");

    let [one, two] =
        ["one", "two"].map(|name| (UnixListener::bind(desk.path(name)).unwrap(), desk.path(name)));
    let text = "FROM busybox\nRUN --mount=type=ssh,required --mount=type=ssh,id=mine,target=/m,required \
                test -S $SSH_AUTH_SOCK && test -S /m\n";
    let main = context(Path::new(&main), text);
    let agent = |flags: &[&str]| {
        let mut command = desk.command(&[flags, &["--no-cache", &main]].concat());
        output(command.env("SSH_AUTH_SOCK", &one.1)).status.success()
    };
    let mine = format!("mine={}", two.1);
    assert!(agent(&["--ssh", "default", "--ssh", &mine]));
    assert!(agent(&["--ssh=mine", "--ssh", "default"]), "the shell's, by both names");
    assert!(!agent(&["--ssh", "default"]) && !agent(&["--ssh", &mine]));
    drop((one, two));

    // A file of a key, by the agent's own protocol: a program of this machine asks from inside the step.
    let key = desk.path("key");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "of the test", "-f", &key]));
    let asks = Path::new(&main).join("asks");
    with_libraries("/usr/bin/ssh-add", &asks);
    let text = "FROM busybox\nCOPY asks /\nRUN --mount=type=ssh,required /usr/bin/ssh-add -l > /out\n";
    desk.build(&["--ssh", &format!("default={key}"), &context(Path::new(&main), text)]);
    assert!(desk.cat("/out").contains("(ED25519)"), "{}", desk.cat("/out"));
    let said = desk.refused(&["--ssh", &format!("default={key}.none"), &main]);
    assert!(said.contains("key.none"), "{said}");
    desk.platform.down();
}

#[test]
fn an_agent_with_keys_ends_also_when_its_build_is_killed() {
    let desk = Desk::start();
    let main =
        context(&desk.dir.path().join("main"), "FROM busybox\nRUN --mount=type=ssh,required sleep 1000\n");
    let key = desk.path("key");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]));
    let places = desk.path("tmp");
    fs::create_dir(&places).unwrap();
    let mut client = desk.command(&["--progress=plain", "--ssh", &format!("default={key}"), &main]);
    let mut client = client.env("TMPDIR", &places).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(client.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("RUN --mount")), "the step runs");
    let dir = fs::read_dir(&places).unwrap().next().unwrap().unwrap().path();
    let listens = || UnixStream::connect(dir.join("agent")).is_ok();
    assert!(listens());
    client.kill().unwrap();
    client.wait().unwrap();
    drop(lines);
    // It looks every ten seconds whether what it watches over is there.
    while listens() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let text = "FROM busybox\nRUN --mount=type=ssh,required true\n";
    let mut next = desk.command(&["--ssh", &format!("default={key}"), &context(Path::new(&main), text)]);
    run(next.env("TMPDIR", &places));
    assert_eq!(
        fs::read_dir(&places).unwrap().count(),
        0,
        "the next build clears away what the killed one left"
    );
    desk.platform.down();
}

/// Copies a program and what it is linked to below `root`.
fn with_libraries(program: &str, root: &Path) {
    let linked = output(Command::new("ldd").arg(program)).stdout;
    let linked = String::from_utf8(linked).unwrap();
    let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain([program]) {
        let to = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

#[test]
fn programs_read_what_a_build_and_its_checks_say() {
    let desk = Desk::start();
    let main = context(&desk.dir.path().join("main"), "FROM busybox AS Upper\nRUN echo said\n");
    let raw = output(&mut desk.command(&["--progress=rawjson", &main]));
    assert!(raw.status.success());
    let events: Vec<Value> = String::from_utf8(raw.stderr)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&str> =
        events.iter().map(|event| event.as_object().unwrap().keys().next().unwrap().as_str()).collect();
    for kind in ["planned", "step_started", "output", "step_ended", "checked"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let json = |flags: &[&str]| {
        let output = output(desk.platform.hako().args(["--output", "json", "build"]).args(flags).arg(&main));
        (output.status.success(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (is_done, built) = json(&["-t", "app"]);
    assert!(is_done && built["id"].as_str().unwrap().starts_with("sha256:"), "{built}");
    let (is_clean, found) = json(&["--check"]);
    assert!(!is_clean, "{found}");
    assert_eq!(
        (&found["findings"][0]["rule"], &found["findings"][0]["line"]),
        (&"StageNameCasing".into(), &1.into())
    );
    let plain =
        String::from_utf8(output(&mut desk.command(&["--progress", "plain", "--no-cache", &main])).stderr)
            .unwrap();
    let (warnings, steps): (Vec<&str>, Vec<&str>) = plain.lines().partition(|line| !line.starts_with('#'));
    assert!(steps.iter().any(|line| line.ends_with(" said")), "{plain:?}");
    let told = "warning: Dockerfile:1: StageNameCasing: the stage's name \"Upper\" should be lower case";
    assert_eq!(warnings, [told], "{plain:?}");
    assert_eq!(plain.lines().last(), Some(told), "below what the steps said");
    desk.platform.down();
}

#[test]
fn an_image_is_kept_where_the_output_is_one_and_its_names_are_those_of_the_flags() {
    let desk = Desk::start();
    let main = context(&desk.dir.path().join("main"), "FROM busybox\nRUN echo made > /out\n");
    for output in
        [&["-o", "type=image"][..], &["--output=type=docker"], &["--to", "type=image,push=false"], &[]]
    {
        desk.build(&[output, &["--tag", "second:2", &main]].concat());
        for name in ["app", "second:2"] {
            assert_eq!(desk.platform.run(&["run", "--rm", name, "cat", "/out"]), "made\n", "{output:?}");
        }
        desk.platform.run(&["rmi", "app", "second:2"]);
    }
    for output in
        ["type=image,name=third:3", "type=docker,\"name=third:3,fourth:4\"", "name=third:3,type=image"]
    {
        desk.build(&["-o", output, &main]);
        assert_eq!(desk.platform.run(&["run", "--rm", "third:3", "cat", "/out"]), "made\n", "{output}");
        desk.platform.run(&["rmi", "app", "third:3"]);
    }
    desk.platform.run(&["rmi", "fourth:4"]);
    desk.build(&["-o", "out", &main]);
    assert_eq!(fs::read_to_string(desk.path("out/out")).unwrap(), "made\n");
    assert!(!desk.platform.run(&["images"]).contains("app"), "a directory alone is no image");
    for (output, part) in [
        ("type=oci", "needs dest=PATH"),
        ("type=tar,dest=x,name=y", "tar makes no image"),
        ("type=local,dest=x,annotation.a=b", "local makes no image"),
        ("type=nowhere", "no output of type"),
        ("type=cacheonly,dest=x", "takes the type alone"),
        ("type=image,push-by-digest=true", "no field"),
        ("type=image,compression-level=9", "compression-level of an output is unimplemented"),
        ("type=image,oci-mediatypes=false", "images are written in the media types of OCI"),
        ("type=image,annotation.=b", "has no name"),
        ("type=image,annotation-index.a=b", "annotation-index.a is unimplemented"),
        ("type=image,name=X:y:z", "X:y:z"),
    ] {
        let said = desk.refused(&["-o", output, &main]);
        assert!(said.contains(part), "{output}: {said}");
    }
    desk.platform.down();
}

#[test]
fn an_image_has_the_annotations_of_its_outputs_in_every_form_and_a_build_may_make_none_at_all() {
    let desk = Desk::start();
    let main = context(&desk.dir.path().join("main"), "FROM busybox\nRUN date +%N > /out\n");
    let silent = output(&mut desk.command(&["-o", "type=cacheonly", &main]));
    assert!(silent.status.success() && silent.stdout.is_empty(), "{silent:?}");
    assert!(!desk.platform.run(&["images"]).contains("app"), "what the steps came to is no image");
    let dest = desk.path("layout");
    let fields = "annotation.org.example.team=one,annotation-manifest.b=c=d,oci-mediatypes=true,unpack=1";
    desk.build(&["-o", &format!("type=oci,tar=false,dest={dest},{fields}"), "--load", &main]);
    let drawn = desk.cat("/out");
    let again = output(&mut desk.command(&["--progress=plain", "-o", "type=cacheonly", &main]));
    assert!(String::from_utf8_lossy(&again.stderr).contains("CACHED"), "{again:?}");
    desk.build(&[&main]);
    assert_eq!(desk.cat("/out"), drawn, "the step ran once");
    let annotations = |layout: &str| {
        let blob = |digest: &Value| {
            let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
            let bytes = fs::read(Path::new(layout).join("blobs/sha256").join(hex)).unwrap();
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let index = fs::read(Path::new(layout).join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        blob(&index["manifests"][0]["digest"])["annotations"].clone()
    };
    let told = serde_json::json!({ "org.example.team": "one", "b": "c=d" });
    assert_eq!(annotations(&dest), told);
    let plain = desk.path("plain");
    let form =
        format!("type=oci,tar=false,dest={plain},compression=uncompressed,force-compression=true,{fields}");
    desk.build(&["-o", &form, &main]);
    assert_eq!(annotations(&plain), told, "layers in another form make another manifest");
    desk.platform.down();
}

/// Stands for ssh(1): carries out the command here, where an agent is.
const SSH: &str = "#!/bin/sh\ntest -S \"$SSH_AUTH_SOCK\" || { echo no agent >&2; exit 255; }\n\
    for word in \"$@\"; do last=$word; done\nexec sh -c \"$last\"\n";

#[test]
fn a_repository_behind_ssh_is_a_context_and_a_source_with_the_agent_that_is_lent() {
    crate::platform::enter_network_namespace();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("bin")).unwrap();
    fs::write(at("bin/ssh"), SSH).unwrap();
    fs::set_permissions(at("bin/ssh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let repository = at("r.git");
    context(&repository, "FROM scratch\nCOPY f /f\n");
    fs::write(repository.join("f"), "behind ssh").unwrap();
    for words in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "one"]] {
        let mut git = Command::new("git");
        git.current_dir(&repository).args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(words);
        run(git.env("GIT_CONFIG_GLOBAL", "/dev/null"));
    }
    let platform = Platform::prepare(&[]);
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    run(platform.hako().args(["up", "--detach", "--listen", "127.0.0.1:0"]).env("PATH", path));
    let agent = UnixListener::bind(at("agent")).unwrap();
    let lent = format!("--ssh=default={}", at("agent").display());
    let adds = |address: &str| context(&at("adds"), &format!("FROM scratch\nADD {address} /\n"));
    let address = format!("git@host.example:{}", repository.display());
    let other = format!("ssh://git@host.example{}", repository.display());
    for source in [address.clone(), other.clone(), adds(&address), adds(&other)] {
        let (to, main) = (at("to"), source);
        let _ = fs::remove_dir_all(&to);
        run(platform.hako().args(["build", &lent, "-o"]).arg(&to).arg(&main));
        assert_eq!(fs::read_to_string(to.join("f")).unwrap(), "behind ssh", "{main}");
    }
    let alone = output(platform.hako().args(["build", &address]));
    assert!(!alone.status.success() && String::from_utf8_lossy(&alone.stderr).contains("no agent"));
    drop(agent);
    platform.down();
}
