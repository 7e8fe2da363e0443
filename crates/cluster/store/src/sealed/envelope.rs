//! The form of a sealed value.
//!
//! ```text
//! | magic 4 | key id 8 | salt 32 | AES-256-GCM of the value, tag 16 |
//!                  │         └─► HKDF-SHA256 of the key named ─► the data key of this record alone
//!                  └─► which key
//! authenticated with it: magic, key id, salt, the store's key
//! ```
//! A data key seals one value, so its nonce is a constant.

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// No value of JSON begins like that.
const MAGIC: [u8; 4] = [0, b'h', b's', 1];
const ID_END: usize = 12;
const HEAD: usize = 44;
const LABEL: &[u8] = b"hako sealed record 1";

/// Names a key.
pub type KeyId = [u8; 8];
/// A key of the ring.
pub type KeyBytes = [u8; 32];

/// What ring refuses: it does not say why, and it happens where the system has no random numbers.
#[derive(Debug)]
pub struct Refused;

impl From<ring::error::Unspecified> for Refused {
    fn from(_: ring::error::Unspecified) -> Self {
        Self
    }
}

/// The key that sealed a value; `None` if it is not sealed.
pub fn key_id(value: &[u8]) -> Option<KeyId> {
    if value.len() < HEAD || value[..4] != MAGIC {
        return None;
    }
    value[4..ID_END].try_into().ok()
}

/// Fills with random bytes.
pub fn draw<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(bytes)
}

pub fn seal(id: KeyId, key: &KeyBytes, name: &[u8], value: &[u8]) -> Result<Bytes, Refused> {
    let salt: [u8; 32] = draw()?;
    let mut sealed = Vec::with_capacity(HEAD + value.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&MAGIC);
    sealed.extend_from_slice(&id);
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(value);
    let aad = [&sealed[..HEAD], name].concat();
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let tag = data_key(key, &salt)?.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut sealed[HEAD..])?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed.into())
}

/// The value, if it was sealed with this key under this name.
pub fn open(key: &KeyBytes, name: &[u8], sealed: &[u8]) -> Result<Bytes, Refused> {
    let (head, body) = sealed.split_at_checked(HEAD).ok_or(Refused)?;
    let aad = [head, name].concat();
    let mut body = body.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let length = data_key(key, &head[ID_END..])?.open_in_place(nonce, Aad::from(aad), &mut body)?.len();
    body.truncate(length);
    Ok(body.into())
}

fn data_key(key: &KeyBytes, salt: &[u8]) -> Result<LessSafeKey, Refused> {
    let derived = Salt::new(HKDF_SHA256, salt).extract(key);
    let key = UnboundKey::from(derived.expand(&[LABEL], &AES_256_GCM)?);
    Ok(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyBytes = [7; 32];

    #[test]
    fn a_sealed_value_opens_under_its_name_and_key_only() {
        let sealed = seal([1; 8], &KEY, b"a", b"value").unwrap();
        assert_eq!(key_id(&sealed), Some([1; 8]));
        assert_eq!(open(&KEY, b"a", &sealed).unwrap(), "value");
        assert!(open(&KEY, b"b", &sealed).is_err(), "another name");
        assert!(open(&[8; 32], b"a", &sealed).is_err(), "another key");
    }

    #[test]
    fn no_byte_can_be_changed_and_none_cut() {
        let sealed = seal([1; 8], &KEY, b"a", b"value").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert!(open(&KEY, b"a", &changed).is_err(), "byte {at}");
            assert!(open(&KEY, b"a", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_same_value_never_looks_the_same() {
        let [one, two] = [(), ()].map(|()| seal([1; 8], &KEY, b"a", b"value").unwrap());
        assert_ne!(one[HEAD..], two[HEAD..]);
    }

    #[test]
    fn what_is_not_sealed_names_no_key() {
        assert_eq!(key_id(b"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{}}"), None);
        assert_eq!(key_id(&MAGIC), None);
    }
}
