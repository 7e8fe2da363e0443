//! Limits of RUN steps beyond what the machine's own say.

use crate::builds::context;
use crate::platform::{Platform, output};

#[test]
fn steps_have_both_limits_of_a_kind_and_the_memory_nodes_that_flags_give_them() {
    let platform = Platform::with_busybox();
    let dir = tempfile::tempdir().unwrap();
    let main =
        context(&dir.path().join("main"), "FROM busybox\nRUN echo $(ulimit -Sn) $(ulimit -Hn) > /out\n");
    let out = |limit: &str| {
        platform.run(&["build", "-t", "app", "--no-cache", "--ulimit", limit, &main]);
        platform.run(&["run", "--rm", "app", "cat", "/out"])
    };
    assert_eq!(out("nofile=77:88"), "77 88\n");
    assert_eq!(out("nofile=66"), "66 66\n", "one stands for both");
    // Every machine has the first node, and so it shows nothing; no machine has this one.
    let refused = output(platform.hako().args(["build", "--no-cache", "--cpuset-mems", "1000", &main]));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("cpuset.mems"), "{said}");
    platform.down();
}
