//! What the fuzz target runs, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/seccomp.rs"]
mod seccomp;

use serde_json::{Value, json};

#[test]
fn a_seccomp_profile_is_a_program_that_the_kernel_takes_or_refused() {
    let comparison =
        |index: u64, op: &str| json!({"index": index, "value": u64::MAX, "valueTwo": 1, "op": op});
    let ops = ["EQ", "NE", "GT", "GE", "LT", "LE", "MASKED_EQ"].map(|op| format!("SCMP_CMP_{op}"));
    let every: Vec<Value> = ops.iter().map(|op| comparison(5, op)).collect();
    let six: Vec<Value> = (0..6).map(|index| comparison(index, "SCMP_CMP_MASKED_EQ")).collect();
    let many = vec![comparison(0, "SCMP_CMP_LE"); 60];
    let conditional =
        |args: &[Value]| json!({"names": ["read", "mount"], "action": "SCMP_ACT_ALLOW", "args": args});
    let profiles = [
        json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": u32::MAX, "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
            "syscalls": [
                {"names": ["read", "write", "none"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": ""},
                {"name": "mount", "action": "SCMP_ACT_TRACE", "includes": {"caps": ["CAP_SYS_ADMIN", "x"]}},
                {"names": ["clone"], "action": "SCMP_ACT_KILL", "errnoRet": 7, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["ptrace"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": "4.8", "arches": ["amd64"]}},
                {"names": ["ptrace"], "action": "SCMP_ACT_TRAP", "includes": {"minKernel": "99999999999999999999.x"}},
            ],
        }),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ARM"], "syscalls": [conditional(&six)]}),
        json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [conditional(&every), conditional(&six)]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [conditional(&many)]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": vec![conditional(&six); 100]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [conditional(&[comparison(6, "SCMP_CMP_EQ")])]}),
        json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x", "syscalls": null}),
    ];
    let mut seeds: Vec<Vec<u8>> = profiles.iter().map(|profile| profile.to_string().into_bytes()).collect();
    seeds.push("[".repeat(5000).into_bytes());
    damaged::run(seeds, 3000, seccomp::run);
}
