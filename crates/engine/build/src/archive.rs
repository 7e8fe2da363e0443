//! Archives that ADD unpacks: tar, plain or in gzip, bzip2, xz or zstd, told by content and never by name.

use crate::error::BuildError;
use hako_error::Result;
use hako_image::layer::{Decoder, Limits, apply};
use hako_oci::media_type::Compression;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

/// A tar's first header is that long.
const HEADER: usize = 512;
/// xz may ask for so much memory for its dictionary; `xz -9` takes 64 MiB.
const XZ_MEMORY_KIB: u32 = 256 << 10;

/// Whether the file is a tar in one of those forms.
pub(crate) fn is_archive(path: &Path) -> Result<bool> {
    let mut head = [0; HEADER];
    // What is compressed and not a tar, or cut short, is a file like any other.
    let is_whole = open(path)?.read_exact(&mut head).is_ok();
    Ok(is_whole && is_tar_header(&head))
}

/// POSIX and GNU archives have a magic word; older ones only a checksum over the header.
fn is_tar_header(head: &[u8; HEADER]) -> bool {
    if &head[257..262] == b"ustar" {
        return true;
    }
    let sum: u32 = head
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    let written = std::str::from_utf8(&head[148..156]).unwrap_or("");
    let written = u32::from_str_radix(written.trim_matches(|c: char| c == '\0' || c == ' '), 8);
    head[0] != 0 && written.is_ok_and(|written| written == sum)
}

/// Unpacks the archive into a directory.
pub(crate) fn unpack(directory: &File, path: &Path, what: &str, limits: Limits) -> Result<()> {
    apply(directory, open(path)?, what, limits)?;
    Ok(())
}

/// The file's bytes, decompressed.
fn open(path: &Path) -> Result<Box<dyn Read>> {
    let mut file = File::open(path).map_err(BuildError::io("open", path))?;
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(6).read_to_end(&mut magic).map_err(BuildError::io("read", path))?;
    file.rewind().map_err(BuildError::io("read", path))?;
    let file = io::BufReader::with_capacity(1 << 17, file);
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(Decoder::new(file, Compression::Gzip)?),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(Decoder::new(file, Compression::Zstd)?),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB))
        }
        _ => Box::new(file),
    })
}
