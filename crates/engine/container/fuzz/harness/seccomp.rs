//! A client's seccomp profile: a program that the kernel takes, the same each time, or a refusal. What is only a name that this
//! machine does not have changes nothing.

use hako_container::SeccompProfile;
use hako_oci::runtime::{Capabilities, Capability};
use hako_runtime::seccomp;

/// What the kernel takes.
const LONGEST: usize = 4096;
const DATA: u32 = 64;

pub fn run(data: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<SeccompProfile>(data) else { return };
    if let Err(refused) = profile.check() {
        assert!(!refused.chain().is_empty());
        return;
    }
    let all: [Capabilities; 2] = [Capabilities::new(), [Capability::SysAdmin].into_iter().collect()];
    for capabilities in &all {
        let Ok(resolved) = profile.resolve(capabilities) else { continue };
        let (first, again) = (seccomp::program(&resolved), seccomp::program(&resolved));
        match (first, again) {
            (Ok(first), Ok(again)) => {
                assert_eq!(first, again);
                check(&first);
            }
            (Err(first), Err(again)) => assert_eq!(first.chain(), again.chain()),
            (first, again) => panic!("{first:?}, {again:?}"),
        }
    }
}

/// What the kernel asks of a program: jumps that stay inside, loads of what is there, and an end.
fn check(program: &[seccomp::SeccompInstruction]) {
    assert!(program.len() <= LONGEST, "{}", program.len());
    for (at, now) in program.iter().enumerate() {
        let next = at + 1;
        match now.code {
            0x20 => assert!(now.k % 4 == 0 && now.k < DATA, "{at}: {now:?}"),
            0x05 => assert!(next + (now.k as usize) < program.len(), "{at}: {now:?}"),
            0x15 | 0x25 | 0x35 => {
                let furthest = usize::from(now.jump_true.max(now.jump_false));
                assert!(next + furthest < program.len(), "{at}: {now:?}");
            }
            0x54 | 0x06 => {}
            other => panic!("{at}: {other:#x}"),
        }
    }
    assert_eq!(program.last().map(|last| last.code), Some(0x06));
}
