//! An OCI seccomp profile as a BPF program.
//!
//! The program is a balanced tree over ranges of system call numbers, so that loading it is quick (the kernel walks
//! it for every number once to build its own cache) and no call is many comparisons away:
//!
//! ```text
//!   load arch; foreign? -> default        load number; x32 or newer than the tables? -> ENOSYS
//!   number >= 128 ?  ... number >= 64 ? ...   leaf: return action
//!                                             leaf: compare arguments, rule by rule; return action; default
//! ```

use std::collections::BTreeMap;

use hako_error::{Classify, Kind};
use hako_oci::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};
use hako_sys::SeccompInstruction;

use super::syscalls;

/// Why a profile cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeccompError {
    /// An action this runtime has no listener for.
    #[error("seccomp action {action} is not supported; use SCMP_ACT_ERRNO or SCMP_ACT_KILL_PROCESS")]
    Action { action: String },
    /// There are six arguments.
    #[error("seccomp rule for {name} compares argument {index}, a system call has arguments 0 to 5")]
    Argument { name: String, index: usize },
    /// The kernel takes 4096 instructions.
    #[error("seccomp profile is too large: {instructions} instructions, the kernel takes 4096")]
    TooLarge { instructions: usize },
}

impl Classify for SeccompError {
    fn kind(&self) -> Kind {
        match self {
            Self::Action { .. } => Kind::Unimplemented,
            _ => Kind::Invalid,
        }
    }
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQ: u16 = 0x15;
const JUMP_GT: u16 = 0x25;
const JUMP_GE: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = 38;
const EPERM: u32 = 1;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// A call's number in `struct seccomp_data`, and its architecture.
const NUMBER_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;
/// The bit of x32's system calls, a second table for the same architecture.
const X32_BIT: u32 = 0x4000_0000;

type Code = Vec<SeccompInstruction>;

fn op(code: u16, k: u32) -> SeccompInstruction {
    branch(code, k, 0, 0)
}

fn branch(code: u16, k: u32, jump_true: u8, jump_false: u8) -> SeccompInstruction {
    SeccompInstruction { code, jump_true, jump_false, k }
}

/// What happens to one system call: rules in order, and what if none matches.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    conditional: Vec<(Vec<LinuxSeccompArg>, u32)>,
    otherwise: u32,
}

/// The program for a profile.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Code, SeccompError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let verdicts = verdicts(profile, default)?;
    let newer =
        if profile.default_action() == LinuxSeccompAction::ScmpActErrno { ERRNO | ENOSYS } else { default };
    let fallback = Verdict { conditional: Vec::new(), otherwise: default };
    // Ranges of equal verdicts: (first number, verdict).
    let mut ranges: Vec<(u32, &Verdict)> = vec![(0, &fallback)];
    for number in 0..=syscalls::highest() {
        let verdict = verdicts.get(&number).unwrap_or(&fallback);
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number, verdict));
        }
    }
    let above = Verdict { conditional: Vec::new(), otherwise: newer };
    ranges.push((syscalls::highest() + 1, &above));
    let mut code = vec![
        op(LOAD, ARCH_OFFSET),
        branch(JUMP_EQ, ARCH, 1, 0),
        op(RETURN, default),
        op(LOAD, NUMBER_OFFSET),
        branch(JUMP_GE, X32_BIT, 0, 1),
        op(RETURN, newer),
    ];
    code.extend(tree(&ranges));
    if code.len() > 4096 {
        return Err(SeccompError::TooLarge { instructions: code.len() });
    }
    Ok(code)
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    let errno = errno.unwrap_or(EPERM) & 0xffff;
    Ok(match action {
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | errno,
        LinuxSeccompAction::ScmpActErrno => ERRNO | errno,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActKillProcess => 0x8000_0000,
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => 0,
        other => {
            return Err(SeccompError::Action { action: format!("{other:?}") });
        }
    })
}

/// Verdicts by number. Names this architecture does not have are skipped, as profiles name those of all.
fn verdicts(profile: &LinuxSeccomp, default: u32) -> Result<BTreeMap<u32, Verdict>, SeccompError> {
    let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
    for rule in profile.syscalls().iter().flatten() {
        let result = action(rule.action(), rule.errno_ret())?;
        for name in rule.names() {
            let Some(number) = syscalls::number(name) else { continue };
            let verdict = verdicts
                .entry(number)
                .or_insert_with(|| Verdict { conditional: Vec::new(), otherwise: default });
            match rule.args().as_deref().unwrap_or_default() {
                [] => verdict.otherwise = result,
                args => {
                    if let Some(bad) = args.iter().find(|arg| arg.index() > 5) {
                        return Err(SeccompError::Argument { name: name.clone(), index: bad.index() });
                    }
                    let rules = if is_one_rule(args) { vec![args] } else { args.chunks(1).collect() };
                    verdict.conditional.extend(rules.into_iter().map(|args| (args.to_vec(), result)));
                }
            }
        }
    }
    Ok(verdicts)
}

/// Whether all comparisons have to hold. Several of one argument are rules of their own, of which one is enough: so runc
/// reads profiles that were written when every comparison was a rule.
fn is_one_rule(args: &[LinuxSeccompArg]) -> bool {
    (0..=5).all(|index| args.iter().filter(|arg| arg.index() == index).count() <= 1)
}

/// A balanced tree over ranges; jumps are relative, so halves are compiled on their own.
fn tree(ranges: &[(u32, &Verdict)]) -> Code {
    if let [(_, verdict)] = ranges {
        return leaf(verdict);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (left, right) = (tree(low), tree(high));
    let border = high[0].0;
    let mut code = match u8::try_from(left.len()) {
        Ok(skip) => vec![branch(JUMP_GE, border, skip, 0)],
        // A conditional jump reaches 255 instructions, an unconditional one everything.
        Err(_) => vec![branch(JUMP_GE, border, 0, 1), op(JUMP, left.len() as u32)],
    };
    code.extend(left);
    code.extend(right);
    code
}

fn leaf(verdict: &Verdict) -> Code {
    let mut code = Code::new();
    for (args, result) in &verdict.conditional {
        let start = code.len();
        // Marks a jump to the end of this rule until its length is known.
        const FAIL: u8 = u8::MAX;
        for arg in args {
            code.extend(compare(arg, FAIL));
        }
        code.push(op(RETURN, *result));
        let end = code.len();
        for (index, instruction) in code.iter_mut().enumerate().skip(start) {
            // At most six comparisons, one of each argument, of six instructions: the distance fits.
            let distance = u8::try_from(end - index - 1).unwrap_or(FAIL);
            if instruction.jump_true == FAIL {
                instruction.jump_true = distance;
            }
            if instruction.jump_false == FAIL {
                instruction.jump_false = distance;
            }
        }
    }
    code.push(op(RETURN, verdict.otherwise));
    code
}

/// Falls through when the argument compares, else jumps to `fail`. Arguments are 64 bits, BPF compares 32.
fn compare(arg: &LinuxSeccompArg, fail: u8) -> Code {
    let offset = 16 + 8 * arg.index() as u32;
    let (load_low, load_high) = (op(LOAD, offset), op(LOAD, offset + 4));
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    let (low, high) = halves(arg.value());
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => {
            vec![load_high, branch(JUMP_EQ, high, 0, fail), load_low, branch(JUMP_EQ, low, 0, fail)]
        }
        LinuxSeccompOperator::ScmpCmpNe => {
            vec![load_high, branch(JUMP_EQ, high, 0, 2), load_low, branch(JUMP_EQ, low, fail, 0)]
        }
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let (want_low, want_high) = halves(arg.value_two().unwrap_or(0));
            vec![
                load_high,
                op(AND, high),
                branch(JUMP_EQ, want_high, 0, fail),
                load_low,
                op(AND, low),
                branch(JUMP_EQ, want_low, 0, fail),
            ]
        }
        LinuxSeccompOperator::ScmpCmpGt => greater(load_low, load_high, low, high, JUMP_GT, fail),
        LinuxSeccompOperator::ScmpCmpGe => greater(load_low, load_high, low, high, JUMP_GE, fail),
        LinuxSeccompOperator::ScmpCmpLe => less(load_low, load_high, low, high, JUMP_GT, fail),
        LinuxSeccompOperator::ScmpCmpLt => less(load_low, load_high, low, high, JUMP_GE, fail),
    }
}

fn greater(
    load_low: SeccompInstruction,
    load_high: SeccompInstruction,
    low: u32,
    high: u32,
    last: u16,
    fail: u8,
) -> Code {
    vec![
        load_high,
        branch(JUMP_GT, high, 3, 0),
        branch(JUMP_EQ, high, 0, fail),
        load_low,
        branch(last, low, 0, fail),
    ]
}

/// Less is not greater-or-equal, so the last comparison is the opposite one.
fn less(
    load_low: SeccompInstruction,
    load_high: SeccompInstruction,
    low: u32,
    high: u32,
    opposite: u16,
    fail: u8,
) -> Code {
    vec![
        load_high,
        branch(JUMP_GT, high, fail, 0),
        branch(JUMP_EQ, high, 0, 2),
        load_low,
        branch(opposite, low, fail, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::default_profile;

    /// Runs a program on a call, as the kernel would.
    fn run(code: &[SeccompInstruction], number: u32, args: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(ARCH.to_le_bytes());
        data.extend([0; 8]);
        args.iter().for_each(|arg| data.extend(arg.to_le_bytes()));
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let now = code[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { now.jump_true } else { now.jump_false });
            match now.code {
                LOAD => {
                    let from = now.k as usize;
                    accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
                }
                AND => accumulator &= now.k,
                JUMP => at += now.k as usize,
                JUMP_EQ => at += jump(accumulator == now.k),
                JUMP_GT => at += jump(accumulator > now.k),
                JUMP_GE => at += jump(accumulator >= now.k),
                RETURN => return now.k,
                other => panic!("{other}"),
            }
        }
    }

    fn number(name: &str) -> u32 {
        syscalls::number(name).unwrap()
    }

    #[test]
    fn the_default_profile_allows_and_denies_as_documented() {
        let code = compile(&default_profile(0)).unwrap();
        let allow = 0x7fff_0000;
        assert_eq!(run(&code, number("read"), [0; 6]), allow);
        assert_eq!(run(&code, number("mount"), [0; 6]), ERRNO | 1);
        assert_eq!(run(&code, number("clone3"), [0; 6]), ERRNO | 38);
        assert_eq!(run(&code, number("clone"), [17, 0, 0, 0, 0, 0]), allow);
        assert_eq!(run(&code, number("clone"), [0x1000_0000, 0, 0, 0, 0, 0]), ERRNO | 1);
        assert_eq!(run(&code, number("socket"), [2, 0, 0, 0, 0, 0]), allow);
        assert_eq!(run(&code, number("socket"), [40, 0, 0, 0, 0, 0]), ERRNO | 1);
        assert_eq!(run(&code, number("personality"), [8, 0, 0, 0, 0, 0]), allow);
        assert_eq!(run(&code, number("personality"), [9, 0, 0, 0, 0, 0]), ERRNO | 1);
        assert_eq!(run(&code, 100_000, [0; 6]), ERRNO | 38);
        assert_eq!(run(&code, X32_BIT | 1, [0; 6]), ERRNO | 38);
    }

    #[test]
    fn of_several_comparisons_of_one_argument_one_is_enough() {
        let profile = |args: serde_json::Value| -> LinuxSeccomp {
            let rule = serde_json::json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args});
            serde_json::from_value(serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}))
                .unwrap()
        };
        let is =
            |index: u64, value: u64| serde_json::json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
        let allowed = |profile: &LinuxSeccomp, args: [u64; 6]| {
            run(&compile(profile).unwrap(), number("read"), args) == 0x7fff_0000
        };
        let both = profile(serde_json::json!([is(0, 1), is(1, 2)]));
        assert!(allowed(&both, [1, 2, 0, 0, 0, 0]) && !allowed(&both, [1, 0, 0, 0, 0, 0]));
        let either = profile(serde_json::json!([is(0, 1), is(0, 3), is(1, 2)]));
        for args in [[1, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0]] {
            assert!(allowed(&either, args), "{args:?}");
        }
        assert!(!allowed(&either, [2, 3, 0, 0, 0, 0]));
        // More of them than a jump reaches.
        let many = profile((0..90).map(|value| is(0, value)).collect());
        assert!(allowed(&many, [0; 6]) && allowed(&many, [89, 0, 0, 0, 0, 0]));
        assert!(!allowed(&many, [90, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn comparisons_are_of_64_bits() {
        use hako_oci::runtime::{LinuxSeccompArgBuilder, LinuxSeccompBuilder, LinuxSyscallBuilder};
        let pivot = 0x1_0000_0005_u64;
        let values = [0, 4, 5, 6, pivot - 1, pivot, pivot + 1, 0x2_0000_0000];
        type Holds = fn(u64, u64) -> bool;
        let holds: [(LinuxSeccompOperator, Holds); 6] = [
            (LinuxSeccompOperator::ScmpCmpEq, |a, b| a == b),
            (LinuxSeccompOperator::ScmpCmpNe, |a, b| a != b),
            (LinuxSeccompOperator::ScmpCmpGt, |a, b| a > b),
            (LinuxSeccompOperator::ScmpCmpGe, |a, b| a >= b),
            (LinuxSeccompOperator::ScmpCmpLt, |a, b| a < b),
            (LinuxSeccompOperator::ScmpCmpLe, |a, b| a <= b),
        ];
        for (operator, expected) in holds {
            let arg =
                LinuxSeccompArgBuilder::default().index(1_usize).value(pivot).op(operator).build().unwrap();
            let rule = LinuxSyscallBuilder::default()
                .names(vec!["read".to_owned()])
                .action(LinuxSeccompAction::ScmpActAllow)
                .args(vec![arg])
                .build()
                .unwrap();
            let profile = LinuxSeccompBuilder::default()
                .default_action(LinuxSeccompAction::ScmpActKillProcess)
                .syscalls(vec![rule])
                .build()
                .unwrap();
            let code = compile(&profile).unwrap();
            for value in values {
                let allowed = run(&code, number("read"), [0, value, 0, 0, 0, 0]) == 0x7fff_0000;
                assert_eq!(allowed, expected(value, pivot), "{operator:?} {value:#x}");
            }
        }
    }
}
