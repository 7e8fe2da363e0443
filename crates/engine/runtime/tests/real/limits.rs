//! Limits hold and are reported.

use hako_cgroup::CgroupRoot;
use hako_oci::runtime::{
    LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, PosixRlimitBuilder,
    PosixRlimitType, Spec,
};
use hako_runtime::ShimEvent;

use crate::bed::{Bed, shell, wait_exit};

fn resources(spec: &mut Spec, change: impl FnOnce(&mut LinuxResources)) {
    let linux = spec.linux_mut().as_mut().unwrap();
    let mut resources = linux.resources().clone().unwrap_or_default();
    change(&mut resources);
    linux.set_resources(Some(resources));
}

#[tokio::test]
async fn a_memory_hog_is_killed_and_reported() {
    let bed = Bed::new().await;
    let mut spec = shell(
        "head -c 200000000 /dev/zero | tail -c 199999999 > /dev/null; echo survived by the shell; exec tail /dev/zero",
    );
    resources(&mut spec, |resources| {
        resources
            .set_memory(Some(LinuxMemoryBuilder::default().limit(20 << 20).swap(20 << 20).build().unwrap()));
    });
    let mut events = bed.shim.events();
    bed.shim.create(bed.container("c", spec)).await.unwrap();
    bed.shim.start("c").await.unwrap();
    let mut saw_oom = false;
    let exit = loop {
        match events.recv().await.unwrap() {
            ShimEvent::Oom { kills, .. } => saw_oom |= kills > 0,
            ShimEvent::Exited { code, oom_killed, .. } => break (code, oom_killed),
            ShimEvent::Gone => panic!("the shim is gone"),
        }
    };
    assert_eq!(exit, (137, true));
    assert!(saw_oom);
    bed.finish().await;
}

#[tokio::test]
async fn processes_cpu_and_descriptors_are_limited() {
    let bed = Bed::new().await;
    let mut spec =
        shell("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; echo all; ulimit -n; sleep 1000");
    resources(&mut spec, |resources| {
        resources.set_pids(Some(LinuxPidsBuilder::default().limit(5_i64).build().unwrap()));
        resources.set_cpu(Some(
            LinuxCpuBuilder::default().quota(50_000_i64).period(100_000_u64).shares(512_u64).build().unwrap(),
        ));
    });
    let limit = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(100_u64)
        .hard(200_u64)
        .build()
        .unwrap();
    spec.process_mut().as_mut().unwrap().set_rlimits(Some(vec![limit]));
    let mut events = bed.shim.events();
    bed.shim.create(bed.container("c", spec)).await.unwrap();
    let group = CgroupRoot::detect().unwrap().open(&bed.cgroup("c")).unwrap();
    bed.shim.start("c").await.unwrap();
    // The shell gives up when it cannot fork.
    let exit = wait_exit(&mut events, "c", None).await;
    assert_ne!(exit.code, 0);
    assert!(bed.log("c").contains("Resource temporarily unavailable"), "{}", bed.log("c"));
    if let Some(cpu) =
        CgroupRoot::detect().unwrap().with("cpu").filter(|one| one.version == hako_cgroup::Version::V1)
    {
        let read =
            |file: &str| std::fs::read_to_string(cpu.mount.join(&bed.cgroup("c")[1..]).join(file)).unwrap();
        assert_eq!(read("cpu.cfs_quota_us").trim(), "50000");
        assert_eq!(read("cpu.shares").trim(), "512");
    }
    assert!(group.stats().unwrap().cpu_ns > 0);
    bed.finish().await;
}
