//! Ids of containers and sandboxes.

use hako_error::{Classify, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The id of a container or sandbox: 64 lower-case hex digits, as Docker and the CRI use.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(Box<str>);

/// Why a text is no container id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a container id, expected 64 lower-case hex digits")]
pub struct ParseContainerIdError(String);

impl Classify for ParseContainerIdError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl ContainerId {
    /// The id made of 32 random bytes, which the caller takes from the kernel.
    #[must_use]
    pub fn from_bytes(random: [u8; 32]) -> Self {
        Self(hex::encode(random).into())
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, as people read it.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for ContainerId {
    type Err = ParseContainerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_id { Ok(Self(text.into())) } else { Err(ParseContainerIdError(text.to_owned())) }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = ParseContainerIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_lower_case_hex_digits_are_an_id() {
        let id = ContainerId::from_bytes([0xab; 32]);
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_eq!(id.short(), "abababababab");
        for bad in ["", "ab", "../../etc", &"A".repeat(64), &"g".repeat(64)] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad}");
        }
    }
}
