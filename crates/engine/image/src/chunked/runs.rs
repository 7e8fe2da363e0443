//! zstd frames of little content, made without a compressor. A layer of small files has a frame for each and one for the
//! headers before it; headers of a tar are zeros for the most part, and content that is shorter than any match gains
//! nothing by looking for one. RFC 8878, sections 3.1.1.1 and 3.1.1.2.
//!
//! Measured: the compressor takes 10 µs to begin a frame, which for 2,000 files of a few bytes was most of the work.

use std::ops::Range;

/// Longer content is the compressor's.
const LONGEST: usize = 4 << 10;
/// Nothing can be spared of less.
const SHORTEST: usize = 64;
/// So many zeros in a row are worth a block of their own.
const RUN: usize = 16;
/// RFC 8878, section 3.1.1.
const MAGIC: u32 = 0xfd2f_b528;
/// The frame's only segment is its whole content, whose size stands in the header.
const SINGLE_SEGMENT: u8 = 1 << 5;
/// That size has two bytes, beginning with 256.
const TWO_BYTES: u8 = 1 << 6;

/// A part of the content, and whether it is nothing but zeros.
type Part = (Range<usize>, bool);

/// The content as a frame; `None` where compressing it is worth the work.
pub(super) fn frame(content: &[u8]) -> Option<Vec<u8>> {
    if content.is_empty() || content.len() > LONGEST {
        return None;
    }
    let mut frame = header(content.len());
    let parts = parts(content);
    for (number, (part, is_run)) in parts.iter().enumerate() {
        let is_last = number + 1 == parts.len();
        // Three bytes: whether it is the last, its type, its size.
        let block = u32::from(is_last) | u32::from(*is_run) << 1 | u32::try_from(part.len()).ok()? << 3;
        frame.extend_from_slice(&block.to_le_bytes()[..3]);
        frame.extend_from_slice(if *is_run { &[0] } else { &content[part.clone()] });
    }
    (content.len() <= SHORTEST || frame.len() * 4 <= content.len()).then_some(frame)
}

fn header(size: usize) -> Vec<u8> {
    let mut header = MAGIC.to_le_bytes().to_vec();
    if let Ok(size) = u8::try_from(size) {
        header.extend([SINGLE_SEGMENT, size]);
    } else {
        header.push(SINGLE_SEGMENT | TWO_BYTES);
        header.extend_from_slice(&u16::try_from(size - 256).unwrap_or(u16::MAX).to_le_bytes());
    }
    header
}

/// The first is never a run: decoders before 1.4.4 fail at a frame that begins with one.
fn parts(content: &[u8]) -> Vec<Part> {
    let (mut parts, mut begun, mut at) = (Vec::new(), 0, 1);
    while at < content.len() {
        let zeros = content[at..].iter().take_while(|byte| **byte == 0).count();
        if zeros >= RUN {
            if begun < at {
                parts.push((begun..at, false));
            }
            parts.push((at..at + zeros, true));
            begun = at + zeros;
        }
        at += zeros.max(1);
    }
    if begun < content.len() {
        parts.push((begun..content.len(), false));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_what_a_decoder_reads() {
        let mut header = vec![0; 1536];
        header[..5].copy_from_slice(b"a/b/c");
        header[100..156].fill(b'7');
        header[1024..1030].copy_from_slice(b"ustar\0");
        let mut padded = vec![0; 500];
        padded.extend_from_slice(&header);
        for content in [
            b"x".to_vec(),
            b"12345\n".to_vec(),
            vec![0; 1],
            vec![0; 64],
            vec![0; 255],
            vec![0; 256],
            vec![0; LONGEST],
            (0..64).collect(),
            header,
            padded,
        ] {
            let frame = frame(&content).unwrap_or_else(|| panic!("{} bytes are not framed", content.len()));
            assert_eq!(zstd::decode_all(&*frame).unwrap(), content);
            assert_eq!(zstd::bulk::decompress(&frame, content.len()).unwrap(), content);
        }
    }

    #[test]
    fn what_is_long_or_worth_compressing_is_left_to_the_compressor() {
        assert!(frame(&[]).is_none() && frame(&[0; LONGEST + 1]).is_none());
        assert!(frame(&b"no zeros here. ".repeat(20)).is_none());
    }
}
