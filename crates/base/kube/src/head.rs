//! The part of an object that routing, selecting and garbage collection need, without decoding the rest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The head of an object; unknown fields are skipped, not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Head {
    /// The group and version, as written.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The needed part of the metadata.
    pub metadata: HeadMeta,
}

/// The needed part of `metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HeadMeta {
    /// The name; empty while `generateName` has not been used yet.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The prefix of a name to be generated.
    pub generate_name: Option<String>,
    /// The namespace, if the kind has one.
    pub namespace: Option<String>,
    /// The identity over time.
    #[serde(deserialize_with = "null_as_default")]
    pub uid: String,
    /// The revision at which the object was read.
    pub resource_version: Option<String>,
    /// Counts changes of the desired state.
    pub generation: Option<i64>,
    /// Labels.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// When the object was made, RFC 3339.
    pub creation_timestamp: Option<String>,
    /// When deletion was asked for, RFC 3339.
    pub deletion_timestamp: Option<String>,
    /// The grace period of the deletion.
    pub deletion_grace_period_seconds: Option<i64>,
    /// What has to happen before the object may vanish.
    #[serde(deserialize_with = "null_as_default")]
    pub finalizers: Vec<String>,
    /// What this object belongs to.
    #[serde(deserialize_with = "null_as_default")]
    pub owner_references: Vec<OwnerReference>,
}

/// One owner of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OwnerReference {
    /// The owner's group and version.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's identity.
    pub uid: String,
    /// Whether the owner manages this object.
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this object.
    pub block_owner_deletion: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Existence {
    metadata: ExistenceMeta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExistenceMeta {
    #[serde(deserialize_with = "null_as_default")]
    uid: String,
    deletion_timestamp: Option<Timestamp>,
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl Head {
    /// Parses the head out of an object's JSON bytes.
    ///
    /// # Errors
    /// Where the bytes are no JSON object or a field of the head has the wrong type.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        // A derived reader takes a list for a structure too.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(serde::de::Error::custom("a list is no object"));
        }
        serde_json::from_slice(bytes)
    }

    /// The head of an object that is decoded already.
    ///
    /// # Errors
    /// Where a field of the head has the wrong type.
    pub fn of(object: &serde_json::Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(object)
    }

    /// The UID of an object, and its `deletionTimestamp` if its deletion was asked for, out of its JSON bytes: all that
    /// others want to know of it with each of their requests.
    ///
    /// # Errors
    /// Where the bytes are no JSON object or one of the two has the wrong type.
    pub fn identity(bytes: &[u8]) -> Result<(String, Option<Timestamp>), serde_json::Error> {
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(serde::de::Error::custom("a list is no object"));
        }
        let Existence { metadata } = serde_json::from_slice(bytes)?;
        Ok((metadata.uid, metadata.deletion_timestamp))
    }

    /// The owner that manages this object, if one does.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.metadata.owner_references.iter().find(|owner| owner.controller == Some(true))
    }

    /// Whether deletion was asked for.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_read_and_the_rest_is_skipped() {
        let head = Head::parse(
            br#"{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"a","namespace":"b","uid":"u",
            "labels":{"x":"y"},"annotations":null,"ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment",
            "name":"d","uid":"1","controller":true}]},"spec":{"replicas":[1,{"x":2}]}}"#,
        )
        .unwrap();
        assert_eq!(head.metadata.name, "a");
        assert_eq!(head.metadata.labels["x"], "y");
        assert_eq!(head.controller().unwrap().name, "d");
        assert!(!head.is_deleting());
        assert!(Head::parse(b"[]").is_err());
    }

    #[test]
    fn the_identity_is_that_of_the_head() {
        for (metadata, identity) in [
            (r#"{"uid":"u","name":"a","managedFields":[{}]}"#, ("u", None)),
            (
                r#"{"uid":"u","deletionTimestamp":"2026-01-02T03:04:05Z"}"#,
                ("u", Some("2026-01-02T03:04:05Z")),
            ),
            (r#"{"uid":null,"deletionTimestamp":null}"#, ("", None)),
        ] {
            let object = format!(r#"{{"kind":"Pod","metadata":{metadata},"spec":{{"x":[1]}}}}"#);
            let head = Head::parse(object.as_bytes()).unwrap();
            let deleted = identity.1.map(|text| text.parse().unwrap());
            assert_eq!((head.metadata.uid.as_str(), head.is_deleting()), (identity.0, deleted.is_some()));
            assert_eq!(Head::identity(object.as_bytes()).unwrap(), (identity.0.to_owned(), deleted));
        }
        assert_eq!(Head::identity(b"{}").unwrap(), (String::new(), None));
        for no_object in [&b"[]"[..], b"{", b"7", br#"{"metadata":{"uid":7}}"#] {
            assert!(Head::identity(no_object).is_err());
        }
    }
}
