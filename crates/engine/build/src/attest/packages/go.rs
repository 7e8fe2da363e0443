//! Modules of programs written in Go: the linker puts a list of them into each, debug/buildinfo.
//!
//! ```text
//! section .go.buildinfo    magic (14), pointer size, flags, up to 32 bytes
//!                          length and text of the Go version, length and text of the modules, between marks of 16 bytes
//! ```
//! Read are 64-bit little-endian programs from Go 1.18 on; others have pointers there.

use super::Package;
use crate::files::Found;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The flag of texts that stand in the section itself.
const INLINE: u8 = 2;
const SECTION: &[u8] = b".go.buildinfo";
/// More of a section is not read.
const LARGEST: u64 = 4 << 20;
const MARK: usize = 16;

/// A section of an ELF file.
struct Section {
    name: usize,
    offset: u64,
    size: u64,
}

/// The modules of a program; none if it is none of Go.
pub(super) fn modules(file: &Found) -> Vec<Package> {
    if file.metadata.mode() & 0o111 == 0 {
        return Vec::new();
    }
    let info = File::open(&file.path).ok().and_then(|program| build_info(&program));
    info.map(|info| listed(&info)).unwrap_or_default()
}

fn build_info(program: &File) -> Option<Vec<u8>> {
    let mut head = [0; 64];
    program.read_exact_at(&mut head, 0).ok()?;
    // ELF specification, "ELF Header": 64 bit, little-endian.
    if head[..6] != *b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size) = (number(&head, 0x28, 8)?, number(&head, 0x3a, 2)?);
    let (count, of_names) = (number(&head, 0x3c, 2)?, usize::try_from(number(&head, 0x3e, 2)?).ok()?);
    let table = read(program, table, size * count)?;
    let sections = table.chunks_exact(usize::try_from(size).ok().filter(|size| *size >= 40)?);
    let sections: Vec<Section> = sections.filter_map(section).collect();
    let names = sections.get(of_names)?;
    let names = read(program, names.offset, names.size)?;
    let is_it = |section: &&Section| {
        let name = names.get(section.name..).unwrap_or_default();
        name.strip_prefix(SECTION).is_some_and(|rest| rest.first() == Some(&0))
    };
    let found = sections.iter().find(is_it)?;
    read(program, found.offset, found.size)
}

fn section(entry: &[u8]) -> Option<Section> {
    let name = usize::try_from(number(entry, 0, 4)?).ok()?;
    Some(Section { name, offset: number(entry, 0x18, 8)?, size: number(entry, 0x20, 8)? })
}

fn read(program: &File, offset: u64, size: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).ok().filter(|_| size <= LARGEST)?];
    program.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn number(bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset + size)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// What the section lists.
fn listed(section: &[u8]) -> Vec<Package> {
    let texts = || {
        let is_inline = section.starts_with(MAGIC) && section.get(15)? & INLINE != 0;
        let (version, rest) = text(section.get(32..).filter(|_| is_inline)?)?;
        let (modules, _) = text(rest)?;
        Some((version, modules.get(MARK..modules.len().checked_sub(MARK)?)?))
    };
    let Some((version, modules)) = texts() else { return Vec::new() };
    let version = String::from_utf8_lossy(version);
    let version = version.split_whitespace().next().unwrap_or_default().trim_start_matches("go");
    let mut found = vec![module("stdlib", version)];
    for line in String::from_utf8_lossy(modules).lines() {
        let mut fields = line.split('\t');
        let (kind, name, version) = (fields.next(), fields.next(), fields.next());
        let (Some(kind), Some(name), Some(version)) = (kind, name, version) else { continue };
        match kind {
            "mod" | "dep" => found.push(module(name, version)),
            // What stands in the place of the one before.
            "=>" => {
                found.pop();
                found.push(module(name, version));
            }
            _ => {}
        }
    }
    // What was built from a directory has no version.
    found.retain(|module| module.version != "(devel)");
    found
}

fn module(name: &str, version: &str) -> Package {
    Package { name: name.into(), version: version.into(), kind: "golang", ..Package::default() }
}

/// A text behind its length, and what follows it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut at) = (0_usize, 0);
    loop {
        let byte = *bytes.get(at).filter(|_| at < 4)?;
        length |= usize::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte & 0x80 == 0 {
            return bytes.get(at..)?.split_at_checked(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section_of(version: &str, modules: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.resize(32, 0);
        bytes[15] = INLINE;
        let marked = [vec![1; MARK], modules.as_bytes().to_vec(), vec![2; MARK]].concat();
        for text in [version.as_bytes(), &marked] {
            let (low, high) = (text.len() & 0x7f, text.len() >> 7);
            bytes.extend([u8::try_from(low).unwrap() | 0x80, u8::try_from(high).unwrap()]);
            bytes.extend(text);
        }
        bytes
    }

    #[test]
    fn modules_are_listed_with_what_replaces_them_and_without_what_has_no_version() {
        let modules = "path\tx/cmd\nmod\tx\t(devel)\t\ndep\ta.org/b\tv1.0.0\th1:x=\ndep\tc\tv2.0.0\n=>\td\tv3.0.0\th1:y=\n\
            build\t-compiler=gc\n";
        let found = listed(&section_of("go1.21.3 X:fieldtrack", modules));
        let found: Vec<(&str, &str)> =
            found.iter().map(|module| (module.name.as_str(), module.version.as_str())).collect();
        assert_eq!(found, [("stdlib", "1.21.3"), ("a.org/b", "v1.0.0"), ("d", "v3.0.0")]);
    }

    #[test]
    fn what_is_cut_short_or_none_of_go_lists_nothing() {
        let whole = section_of("go1.21", "dep\ta\tv1\n");
        for end in 0..whole.len() {
            assert!(listed(&whole[..end]).is_empty(), "{end}");
        }
        let none = File::open("/bin/busybox").unwrap();
        assert!(build_info(&none).is_none_or(|info| listed(&info).is_empty()));
    }

    /// skopeo is written in Go, and other tests need it anyway.
    #[test]
    fn a_program_of_this_machine_says_what_it_was_built_with() {
        let program = File::open("/usr/bin/skopeo").expect("skopeo, from scripts/setup");
        let found = listed(&build_info(&program).unwrap());
        let version =
            found.iter().find(|module| module.name == "stdlib").map(|module| module.version.as_str());
        assert!(version.is_some_and(|version| version.starts_with("1.")), "{found:?}");
    }
}
