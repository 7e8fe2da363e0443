//! `hako up --userns-remap`: containers whose users are not the host's, beside pods whose users are.

use crate::platform::{Platform, enter_network_namespace, output, run, wait_until};
use std::path::Path;
use std::process::Command;

/// Shows this thread, and all it starts, files of its own in place of the machine's ranges of ids.
fn own_ranges(dir: &Path, text: &str) {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    run(Command::new("mount").args(["--make-rprivate", "/"]));
    for name in ["subuid", "subgid"] {
        let (own, machines) = (dir.join(name), Path::new("/etc").join(name));
        if machines.exists() {
            std::fs::write(&own, text).unwrap();
            run(Command::new("mount").arg("--bind").arg(&own).arg(&machines));
        }
    }
}

#[test]
fn containers_are_remapped_and_pods_are_not_also_after_a_crash() {
    enter_network_namespace();
    let scratch = tempfile::tempdir().unwrap();
    own_ranges(scratch.path(), "somebody:100000:65536\n");
    let mut platform = Platform::start_here("127.0.0.1:0");
    platform.run(&["image", "import-busybox"]);
    platform.kill();
    let up = |platform: &mut Platform, spec: &[&str]| {
        run(platform.hako().args(["up", "--detach", "--listen", platform.listen()]).args(spec));
    };
    let refused = output(platform.hako().args(["up", "--detach", "--userns-remap", "nobody-here"]));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("no subuid ranges found for user"), "{said}");
    up(&mut platform, &["--userns-remap", "default"]);
    let ranges = std::fs::read_to_string("/etc/subuid").unwrap();
    assert_eq!(ranges, "somebody:100000:65536\ndockremap:165536:65536\n");
    let docker = |platform: &Platform, arguments: &[&str]| {
        let socket = platform.server()["engine_socket"].as_str().unwrap().to_owned();
        run(Command::new("docker").arg("--host").arg(format!("unix://{socket}")).args(arguments))
    };
    let script = "awk '{print $2}' /proc/self/uid_map; exec sleep 1000";
    docker(&platform, &["run", "-d", "--name", "mapped", "-v", "kept:/kept", "busybox", "sh", "-c", script]);
    wait_until("its first line", || docker(&platform, &["logs", "mapped"]) == "165536\n");
    platform.kubectl(&[
        "run",
        "pod",
        "--image",
        "busybox",
        "--image-pull-policy",
        "IfNotPresent",
        "--",
        "sh",
        "-c",
        script,
    ]);
    wait_until("the pod's first line", || {
        let logs = output(platform.kubectl_command().args(["logs", "pod"]));
        String::from_utf8_lossy(&logs.stdout) == "0\n"
    });
    let before = platform.container_processes();
    platform.kill();
    // Ranges are a matter of new containers; those that are there keep theirs.
    up(&mut platform, &[]);
    assert_eq!(platform.container_processes(), before, "not all were adopted");
    let check = "id -u; awk '{print $2}' /proc/self/uid_map; touch /kept/x; stat -c %u /kept/x";
    assert_eq!(docker(&platform, &["exec", "mapped", "sh", "-c", check]), "0\n165536\n0\n");
    docker(&platform, &["restart", "-t", "0", "mapped"]);
    assert_eq!(docker(&platform, &["exec", "mapped", "sh", "-c", check]), "0\n165536\n0\n");
    assert_eq!(
        docker(&platform, &["run", "--rm", "busybox", "sh", "-c", "awk '{print $2}' /proc/self/uid_map"]),
        "0\n"
    );
    docker(&platform, &["rm", "-f", "mapped"]);
    platform.down();
}
