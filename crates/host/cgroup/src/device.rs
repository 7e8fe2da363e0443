//! Rules for device nodes.

use std::os::fd::AsFd;
use std::path::Path;

use hako_sys::BpfInstruction;

use crate::error::CgroupError;
use crate::file;
use crate::root::open_directory;

/// Character or block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both kinds.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// A device node by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its kind.
    pub kind: DeviceKind,
    /// Its major number; `None` is all.
    pub major: Option<u32>,
    /// Its minor number; `None` is all.
    pub minor: Option<u32>,
}

/// One rule: later rules win over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether access is allowed.
    pub allow: bool,
    /// To which devices.
    pub device: Device,
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// Creating the node.
    pub mknod: bool,
}

impl DeviceRule {
    /// The rule as `devices.allow` and `devices.deny` of version 1 take it, such as `c 1:3 rwm`.
    #[must_use]
    pub fn to_v1(&self) -> String {
        let kind = match self.device.kind {
            DeviceKind::All => 'a',
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let mut access = String::new();
        for (on, letter) in [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')] {
            if on {
                access.push(letter);
            }
        }
        format!("{kind} {}:{} {access}", number(self.device.major), number(self.device.minor))
    }
}

/// Attaches the rules to a group of version 2, which knows no files for them: as a BPF program.
pub(crate) fn attach(path: &Path, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    let group = open_directory(path)?;
    let failed = |source| {
        file::failed("attach device rules (does the kernel have CONFIG_CGROUP_BPF?) to", path, source)
    };
    hako_sys::attach_device_filter(group.as_fd(), &program(rules)).map_err(failed)
}

/// Registers: 1 is the kernel's context, then kind, access wanted, major, minor.
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE: u8 = 0xb7;
const JUMP: u8 = 0x05;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_ANY_BIT: u8 = 0x45;
const EXIT: u8 = 0x95;

fn op(code: u8, register: u8, offset: i16, immediate: i32) -> BpfInstruction {
    BpfInstruction { code, registers: register, offset, immediate }
}

fn answer(allowed: bool) -> [BpfInstruction; 2] {
    [op(MOVE, 0, 0, i32::from(allowed)), op(EXIT, 0, 0, 0)]
}

/// The rules as a program, from the last to the first: each takes the kinds of access it decides out of what is
/// still wanted. What no rule names is allowed, as in a group of version 1 without rules.
fn program(rules: &[DeviceRule]) -> Vec<BpfInstruction> {
    // The source register is in the high half: register 1 holds the context.
    let load = |register: u8, offset: i16| op(LOAD_WORD, register | 0x10, offset, 0);
    let mut code = vec![
        load(KIND, 0),
        op(AND, KIND, 0, 0xffff),
        load(ACCESS, 0),
        op(SHIFT_RIGHT, ACCESS, 0, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        code.extend(one(rule));
    }
    code.extend(answer(true));
    code
}

fn one(rule: &DeviceRule) -> Vec<BpfInstruction> {
    let mask = i32::from(rule.mknod) | i32::from(rule.read) << 1 | i32::from(rule.write) << 2;
    let verdict = answer(rule.allow);
    let mut body = match rule.allow {
        true => vec![op(AND, ACCESS, 0, !mask), op(JUMP_NOT_EQUAL, ACCESS, 2, 0)],
        false => vec![op(JUMP_ANY_BIT, ACCESS, 1, mask), op(JUMP, 0, 2, 0)],
    };
    body.extend(verdict);
    let kind = match rule.device.kind {
        DeviceKind::All => None,
        DeviceKind::Block => Some(1),
        DeviceKind::Char => Some(2),
    };
    let number = |number: Option<u32>| number.map(u32::cast_signed);
    let wanted = [(KIND, kind), (MAJOR, number(rule.device.major)), (MINOR, number(rule.device.minor))];
    let wanted: Vec<(u8, i32)> =
        wanted.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
    let mut code = Vec::new();
    for (index, (register, value)) in wanted.iter().enumerate() {
        // At most three comparisons and four instructions.
        let rest = wanted.len() - index - 1 + body.len();
        code.push(op(JUMP_NOT_EQUAL, *register, i16::try_from(rest).unwrap_or(i16::MAX), *value));
    }
    code.append(&mut body);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program on one access, as the kernel would.
    fn run(code: &[BpfInstruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let (mut registers, mut at) = ([0_u32; 6], 0_usize);
        loop {
            let now = code[at];
            at += 1;
            let register = usize::from(now.registers & 0xf);
            let value = now.immediate.cast_unsigned();
            let jump = usize::try_from(now.offset).unwrap();
            match now.code {
                LOAD_WORD => registers[register] = context[jump / 4],
                AND => registers[register] &= value,
                SHIFT_RIGHT => registers[register] >>= value,
                MOVE => registers[register] = value,
                JUMP => at += jump,
                JUMP_NOT_EQUAL if registers[register] != value => at += jump,
                JUMP_ANY_BIT if registers[register] & value != 0 => at += jump,
                JUMP_NOT_EQUAL | JUMP_ANY_BIT => {}
                EXIT => return registers[0] == 1,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn rule(
        allow: bool,
        kind: DeviceKind,
        major: Option<u32>,
        minor: Option<u32>,
        access: &str,
    ) -> DeviceRule {
        let has = |letter| access.contains(letter);
        let device = Device { kind, major, minor };
        DeviceRule { allow, device, read: has('r'), write: has('w'), mknod: has('m') }
    }

    #[test]
    fn later_rules_win_for_each_kind_of_access() {
        let ((block, char), (read, write)) = ((1, 2), (2, 4));
        let code = program(&[
            rule(false, DeviceKind::All, None, None, "rwm"),
            rule(true, DeviceKind::Char, Some(1), Some(3), "rwm"),
            rule(true, DeviceKind::Char, Some(136), None, "r"),
            rule(true, DeviceKind::Char, Some(136), Some(1), "w"),
            rule(false, DeviceKind::Char, Some(136), Some(2), "r"),
        ]);
        assert!(run(&code, char, read | write, 1, 3));
        assert!(!run(&code, char, read, 1, 4));
        assert!(!run(&code, block, read, 1, 3));
        assert!(run(&code, char, read, 136, 7));
        assert!(!run(&code, char, read | write, 136, 7));
        assert!(run(&code, char, read | write, 136, 1));
        assert!(!run(&code, char, read, 136, 2));
    }

    #[test]
    fn rules_of_version_1_are_written_as_it_takes_them() {
        assert_eq!(rule(true, DeviceKind::Char, Some(1), None, "rw").to_v1(), "c 1:* rw");
        assert_eq!(rule(false, DeviceKind::All, None, None, "rwm").to_v1(), "a *:* rwm");
    }
}
