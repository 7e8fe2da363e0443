//! Archives that ADD unpacks: tar, plain or in gzip, bzip2, xz or zstd, told by content and never by name.

use crate::error::BuildError;
use hako_error::Result;
use hako_image::layer::{Decoder, Limits, add_archive};
use hako_oci::media_type::Compression;
use std::fs::File;
use std::io::{self, BufReader, Read};
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
    add_archive(directory, open(path)?, what, limits)?;
    Ok(())
}

/// The file's bytes, decompressed.
fn open(path: &Path) -> Result<Box<dyn Read>> {
    decompressed(File::open(path).map_err(BuildError::io("open", path))?)
}

/// How many bytes tell how a stream is compressed.
const MAGIC: u64 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

fn form(head: &[u8]) -> Form {
    match head {
        [0x1f, 0x8b, ..] => Form::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Form::Zstd,
        // The size of a block, then the first of pi's digits.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Form::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Form::Xz,
        _ => Form::Plain,
    }
}

/// Whether a stream that starts like this is compressed in one of the forms that contexts and archives come in.
pub fn is_compressed(head: &[u8]) -> bool {
    form(head) != Form::Plain
}

/// A stream's bytes, decompressed if they are gzip, zstd, bzip2 or xz.
pub fn decompressed(mut stream: impl Read + 'static) -> Result<Box<dyn Read>> {
    let mut head = Vec::new();
    let read = stream.by_ref().take(MAGIC).read_to_end(&mut head);
    read.map_err(BuildError::io("read", "an archive"))?;
    let form = form(&head);
    let stream = BufReader::with_capacity(1 << 17, io::Cursor::new(head).chain(stream));
    Ok(match form {
        Form::Plain => Box::new(stream),
        Form::Gzip => Box::new(Decoder::new(stream, Compression::Gzip)?),
        Form::Zstd => Box::new(Decoder::new(stream, Compression::Zstd)?),
        Form::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(stream)),
        Form::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(stream, true, XZ_MEMORY_KIB)),
    })
}
