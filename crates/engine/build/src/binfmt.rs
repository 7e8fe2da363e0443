//! Whether the kernel gives programs of another architecture to an emulator: kernel documentation,
//! admin-guide/binfmt-misc.
//!
//! The table cannot be asked about an architecture, only read: what counts is whether one of its entries takes the first
//! bytes that a program of the architecture has.

use std::fmt;
use std::fs;
use std::path::Path;

/// Where the kernel shows its table.
pub(crate) const DIR: &str = "/proc/sys/fs/binfmt_misc";
/// The bytes of an ELF header up to the architecture, ELF specification, "ELF Header".
const HEADER: usize = 20;
/// `EI_CLASS` and `EI_DATA` of it.
const NARROW: u8 = 1;
const WIDE: u8 = 2;
const LITTLE: u8 = 1;
const BIG: u8 = 2;

/// How programs of an architecture get on here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Emulator {
    /// An entry takes them.
    Ready,
    /// An entry takes them, and looks for its interpreter in the root of who starts them.
    Elsewhere { name: String },
    /// No entry takes them.
    None,
    /// The kernel does not use its table.
    Off,
    /// The table cannot be seen.
    Unknown { dir: String },
}

/// What a step lacks to run programs of an architecture.
#[derive(Debug)]
pub(crate) struct Lack(Emulator);

impl Emulator {
    pub(crate) fn lack(self) -> Option<Lack> {
        (self != Self::Ready).then_some(Lack(self))
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Emulator::Ready => Ok(()),
            Emulator::Elsewhere { name } => {
                write!(
                    f,
                    "the emulator {name} is registered without the flag F: the step's root does not have it"
                )
            }
            Emulator::None => f.write_str("the kernel knows no emulator for them"),
            Emulator::Off => f.write_str("the kernel's emulators are switched off"),
            Emulator::Unknown { dir } => {
                write!(f, "no emulator is known: binfmt_misc is not mounted on {dir}")
            }
        }
    }
}

/// What the table in `dir` does with programs of an architecture.
pub(crate) fn emulator(dir: &Path, architecture: &str) -> Emulator {
    // Reading it mounts the table where the system does so on demand.
    match fs::read_to_string(dir.join("status")) {
        Err(_) => return Emulator::Unknown { dir: dir.display().to_string() },
        Ok(status) if status.trim() != "enabled" => return Emulator::Off,
        Ok(_) => {}
    }
    let Some(header) = header(architecture) else { return Emulator::None };
    let mut found = Emulator::None;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        if !takes(&text, &header) {
            continue;
        }
        if field(&text, "flags:").is_some_and(|flags| flags.contains('F')) {
            return Emulator::Ready;
        }
        found = Emulator::Elsewhere { name: entry.file_name().to_string_lossy().into_owned() };
    }
    found
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Whether an entry of the table is for a program with that header.
fn takes(entry: &str, header: &[u8; HEADER]) -> bool {
    let bytes = |name| field(entry, name).and_then(unhex);
    let Some(magic) = bytes("magic ") else { return false };
    let mask = bytes("mask ").unwrap_or_else(|| vec![0xff; magic.len()]);
    let offset = field(entry, "offset ").and_then(|text| text.parse().ok()).unwrap_or(0);
    let Some(there) = header.get(offset..offset + magic.len()) else { return false };
    let is_same =
        magic.iter().zip(&mask).zip(there).all(|((magic, mask), there)| magic & mask == there & mask);
    entry.lines().next() == Some("enabled") && is_same
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

/// How programs of an architecture begin.
fn header(architecture: &str) -> Option<[u8; HEADER]> {
    // `e_machine` of the ABIs' supplements to the ELF specification.
    let (class, order, machine): (u8, u8, u16) = match architecture {
        "386" => (NARROW, LITTLE, 3),
        "amd64" => (WIDE, LITTLE, 62),
        "arm" => (NARROW, LITTLE, 40),
        "arm64" => (WIDE, LITTLE, 183),
        "loong64" => (WIDE, LITTLE, 258),
        "mips" => (NARROW, BIG, 8),
        "mipsle" => (NARROW, LITTLE, 8),
        "mips64" => (WIDE, BIG, 8),
        "mips64le" => (WIDE, LITTLE, 8),
        "ppc64" => (WIDE, BIG, 21),
        "ppc64le" => (WIDE, LITTLE, 21),
        "riscv64" => (WIDE, LITTLE, 243),
        "s390x" => (WIDE, BIG, 22),
        _ => return None,
    };
    let mut header = [0; HEADER];
    header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
    // `e_type`: an executable.
    let words =
        [2, machine].map(|word: u16| if order == BIG { word.to_be_bytes() } else { word.to_le_bytes() });
    header[16..].copy_from_slice(&words.concat());
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn table(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in entries {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn an_entry_is_found_by_the_programs_that_it_takes() {
        let table = table(&[
            ("status", "enabled\n"),
            ("qemu-aarch64", ARM64),
            ("python", "enabled\nextension .pyc\n"),
        ]);
        assert_eq!(emulator(table.path(), "arm64"), Emulator::Ready);
        assert_eq!(emulator(table.path(), "riscv64"), Emulator::None);
        assert_eq!(emulator(table.path(), "arm"), Emulator::None);
        assert_eq!(emulator(table.path(), "vax"), Emulator::None);
    }

    #[test]
    fn what_is_lacking_is_told_apart() {
        let lack =
            |entries: &[(&str, &str)]| emulator(table(entries).path(), "arm64").lack().unwrap().to_string();
        let status = ("status", "enabled\n");
        assert!(lack(&[]).contains("not mounted on /"));
        assert!(lack(&[("status", "disabled\n"), ("q", ARM64)]).contains("switched off"));
        assert!(lack(&[status, ("q", &ARM64.replace("enabled", "disabled"))]).contains("knows no emulator"));
        assert!(
            lack(&[status, ("q", &ARM64.replace("POCF", "POC"))])
                .contains("q is registered without the flag F")
        );
        let big = ARM64.replace(
            "magic 7f454c460201010000000000000000000200b700",
            "magic 7f454c4602020100000000000000000000020016",
        );
        let big = table(&[status, ("qemu-s390x", &big)]);
        assert_eq!(emulator(big.path(), "s390x"), Emulator::Ready);
    }
}
