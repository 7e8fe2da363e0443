//! What the platform keeps is root's alone.

use crate::platform::{HAKO, Platform, enter_network_namespace, run};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Images hold set-uid programs of root, objects hold secrets: whoever is not root gets at neither (CVE-2021-41103).
#[test]
fn others_than_root_reach_neither_secrets_nor_the_files_of_images() {
    let platform = Platform::start();
    // As an installation that was made by an earlier version may be.
    platform.kill();
    std::fs::set_permissions(platform.data_dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    run(platform.hako().args(["up", "--detach", "--listen", "127.0.0.1:0"]));
    platform.run(&["image", "import-busybox"]);
    platform.kubectl(&["create", "secret", "generic", "s", "--from-literal=word=hidden"]);
    let data = platform.data_dir();
    // The directory of the test itself must be passable for the refusals to be the platform's own.
    std::fs::set_permissions(data.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["", "store", "store/store.redb", "snapshots/committed", "engine", "kubeconfig", "hako.log"] {
        let path = data.join(name);
        assert!(path.exists(), "{} is not there", path.display());
        let look = Command::new("ls").arg(&path).uid(65534).gid(65534).output().unwrap();
        assert!(!look.status.success(), "{} is open to everybody", path.display());
    }
    for name in ["store", "snapshots"] {
        let mode = data.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o77, 0, "{name} would be open if the directory above it were");
    }
    platform.down();
}

#[test]
fn a_socket_says_which_platform_goes_down() {
    enter_network_namespace();
    let (first, second) = (Platform::start_here("127.0.0.1:0"), Platform::start_here("127.0.0.1:0"));
    second.run(&["image", "import-busybox"]);
    second.run(&["run", "-d", "--name", "kept", "busybox", "sleep", "1000"]);
    let kept = second.container_processes();
    let host = format!("unix://{}", first.server()["engine_socket"].as_str().unwrap());
    let mut down = Command::new(HAKO);
    down.arg("--data-dir").arg(second.data_dir()).env("HAKO_HOST", &host).arg("down");
    run(&mut down);
    assert!(
        !first.hako().args(["ps"]).output().unwrap().status.success(),
        "the one that was named still runs"
    );
    assert_eq!(second.container_processes(), kept, "another one went down");
    first.down();
    second.down();
}
