//! `Range` of a download and `Content-Range` of a chunk: RFC 9110 section 14, OCI distribution "Pushing a blob in
//! chunks".

use crate::error::RegistryError;
use crate::registry::ChunkRange;
use std::ops::Range;

/// The bytes a `Range` header asks for; `None` means all of them. Several ranges at once are answered with the whole,
/// as the RFC allows.
pub(super) fn of_download(header: Option<&str>, size: u64) -> Result<Option<Range<u64>>, RegistryError> {
    // Names of units have no case (RFC 9110, section 14.1).
    let ranges = header.and_then(|header| header.trim().split_once('='));
    let Some((_, ranges)) = ranges.filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes")) else {
        return Ok(None);
    };
    if ranges.contains(',') {
        return Ok(None);
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Ok(None) };
    let range = match (number(first), number(last)) {
        (Number::Is(first), Number::Is(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Number::Is(first), Number::Absent) => first..size,
        (Number::Absent, Number::Is(suffix)) => size.saturating_sub(suffix)..size,
        _ => return Ok(None),
    };
    if range.start >= range.end {
        return Err(RegistryError::RangeUnsatisfiable { size });
    }
    Ok(Some(range))
}

/// `FIRST-LAST`, both within the blob, in the specification's form without a unit, and in RFC 9110's.
pub(super) fn of_chunk(header: Option<&str>) -> Result<Option<ChunkRange>, RegistryError> {
    let Some(header) = header else { return Ok(None) };
    let bad = || RegistryError::Request {
        what: "Content-Range",
        problem: format!("{header:?}, expected FIRST-LAST"),
    };
    let range = header.trim().strip_prefix("bytes").unwrap_or(header).trim_start_matches([' ', '=']);
    let range = range.split('/').next().unwrap_or_default();
    let (first, last) = range.split_once('-').ok_or_else(bad)?;
    match (number(first), number(last)) {
        (Number::Is(first), Number::Is(last)) if first <= last && last < u64::MAX => {
            Ok(Some(ChunkRange { begins: first, length: last - first + 1 }))
        }
        _ => Err(bad()),
    }
}

enum Number {
    Absent,
    Is(u64),
    Bad,
}

fn number(text: &str) -> Number {
    match text.trim() {
        "" => Number::Absent,
        // Beyond 64 bits it is beyond every blob.
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Number::Is(text.parse().unwrap_or(u64::MAX))
        }
        _ => Number::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads() {
        let ask = |header| of_download(Some(header), 10);
        assert_eq!(ask("bytes=0-3").unwrap(), Some(0..4));
        assert_eq!(ask("bytes=4-").unwrap(), Some(4..10));
        assert_eq!(ask("bytes=-3").unwrap(), Some(7..10));
        assert_eq!(ask("bytes=-30").unwrap(), Some(0..10));
        for beyond in ["bytes=8-18446744073709551615", "bytes=8-99999999999999999999", "Bytes=8-10"] {
            assert_eq!(ask(beyond).unwrap(), Some(8..10), "{beyond}");
        }
        assert_eq!(ask("bytes=-99999999999999999999").unwrap(), Some(0..10));
        for whole in ["items=0-1", "bytes=0-1,3-4", "bytes=5-4", "bytes=x-y", "bytes=-"] {
            assert_eq!(ask(whole).unwrap(), None, "{whole}");
        }
        for none in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999-"] {
            assert!(matches!(ask(none), Err(RegistryError::RangeUnsatisfiable { size: 10 })), "{none}");
        }
        assert!(of_download(Some("bytes=0-"), 0).is_err());
    }

    #[test]
    fn chunks() {
        for good in ["5-9", "bytes 5-9/*", "bytes=5-9"] {
            let range = of_chunk(Some(good)).unwrap().unwrap();
            assert_eq!((range.begins, range.length), (5, 5), "{good}");
        }
        assert!(of_chunk(None).unwrap().is_none());
        for bad in ["", "5", "9-5", "-5", "5-", "a-b", "0-18446744073709551615", "0-99999999999999999999"] {
            assert!(of_chunk(Some(bad)).is_err(), "{bad}");
        }
    }
}
