//! Several platforms on one machine.

use crate::platform::{Platform, enter_network_namespace};

#[test]
fn two_platforms_on_one_machine_do_not_meet() {
    enter_network_namespace();
    let first = Platform::start_here("127.0.0.1:0");
    let second = Platform::start_here("127.0.0.1:0");
    assert_ne!(first.instance(), second.instance());
    for (platform, own, other) in [(&first, "one", "two"), (&second, "two", "one")] {
        platform.run(&["image", "import-busybox"]);
        platform.run(&["run", "-d", "--name", own, "busybox", "sleep", "1000"]);
        platform.kubectl(&["create", "configmap", own]);
        assert!(!platform.run(&["ps"]).contains(other));
    }
    assert!(!second.kubectl(&["get", "configmaps"]).contains("one"));
    // What ends one leaves the other alone.
    let kept = second.container_processes();
    assert_eq!(kept.len(), 1);
    first.down();
    assert_eq!(second.container_processes(), kept);
    assert_eq!(second.run(&["exec", "two", "echo", "still here"]), "still here\n");
    second.down();
}
