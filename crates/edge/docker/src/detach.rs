//! The keys by which the user of a terminal leaves it without ending what runs there.

use crate::error::{Failure, invalid};

/// Control and p, then control and q.
const DEFAULT: [u8; 2] = [16, 17];

/// Looks for the keys in what a client types; holds back what may be their beginning.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    keys: Vec<u8>,
    /// How many of them came last.
    matched: usize,
}

impl Keys {
    /// Of `ctrl-p,ctrl-q`, the default, and its like.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Self { keys: DEFAULT.to_vec(), matched: 0 });
        };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        let keys = keys.ok_or_else(|| invalid(format!("invalid detach keys ({text}) provided")))?;
        Ok(Self { keys, matched: 0 })
    }

    /// Takes the keys out of `typed`: what is for the program, and whether the user leaves.
    pub(crate) fn feed(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len() + self.matched);
        for byte in typed {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(*byte == self.keys[0] && self.keys.len() > 1);
            if self.matched == 0 {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

fn key(name: &str) -> Option<u8> {
    if let Some(with) = name.strip_prefix("ctrl-") {
        return match with.as_bytes() {
            [letter @ (b'a'..=b'z' | b'A'..=b'Z')] => Some(letter.to_ascii_lowercase() - b'a' + 1),
            [b'@'] => Some(0),
            [sign @ b'['..=b'_'] => Some(sign - b'@'),
            _ => None,
        };
    }
    match name.as_bytes() {
        b"DEL" => Some(127),
        [byte] => Some(*byte),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_wherever_the_pieces_end_and_others_pass() {
        let mut keys = Keys::parse(None).unwrap();
        assert_eq!(keys.feed(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.feed(b"\x10c"), (b"\x10\x10c".to_vec(), false));
        assert_eq!(keys.feed(b"x\x10"), (b"x".to_vec(), false));
        assert_eq!(keys.feed(b"\x11rest"), (b"".to_vec(), true));
        let mut one = Keys::parse(Some("a")).unwrap();
        assert_eq!(one.feed(b"bca"), (b"bc".to_vec(), true));
    }

    #[test]
    fn keys_have_docker_s_names() {
        let keys = |text| Keys::parse(Some(text)).map(|keys| keys.keys);
        assert_eq!(keys("ctrl-a,ctrl-[,ctrl-@,ctrl-_,DEL,q").unwrap(), [1, 27, 0, 31, 127, b'q']);
        for bad in ["ctrl-", "ctrl-ab", "xy", "ctrl-1", "a,,b"] {
            assert!(keys(bad).unwrap_err().0.to_string().contains("invalid detach keys"), "{bad}");
        }
    }
}
