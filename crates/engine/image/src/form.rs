//! In which form layers leave this machine.

use crate::chunked::Position;
use crate::{ImageError, Layer};
use hako_oci::media_type::{self, Compression};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How the layers of an image are stored where it goes. The words are those of BuildKit and podman.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerForm {
    /// As they are here: the manifest stays the same to the byte.
    Stored,
    /// Plain tars.
    Uncompressed,
    /// What every client reads.
    Gzip,
    /// What clients from 2022 on read. Layers that are made so are in chunks too.
    Zstd,
    /// zstd in chunks with a table: who has an earlier version fetches what changed.
    #[serde(rename = "zstd:chunked")]
    Chunked,
}

const WORDS: [(&str, LayerForm); 6] = [
    ("stored", LayerForm::Stored),
    ("uncompressed", LayerForm::Uncompressed),
    ("none", LayerForm::Uncompressed),
    ("gzip", LayerForm::Gzip),
    ("zstd", LayerForm::Zstd),
    ("zstd:chunked", LayerForm::Chunked),
];

impl LayerForm {
    /// Whether a layer has the form already.
    pub(crate) fn is_of(self, layer: &Layer) -> bool {
        let compression = media_type::layer_compression(&layer.media_type);
        match self {
            Self::Stored => true,
            Self::Uncompressed => compression == Some(Compression::None),
            Self::Gzip => compression == Some(Compression::Gzip),
            Self::Zstd => compression == Some(Compression::Zstd),
            Self::Chunked => {
                compression == Some(Compression::Zstd)
                    && Position::of(&layer.annotations, layer.size).is_some()
            }
        }
    }

    /// What a layer of `stored` is called once it has the form.
    pub(crate) fn media_type(self, stored: &str) -> &str {
        match self {
            Self::Stored => stored,
            Self::Uncompressed => media_type::LAYER_TAR,
            Self::Gzip => media_type::LAYER_GZIP,
            Self::Zstd | Self::Chunked => media_type::LAYER_ZSTD,
        }
    }
}

impl fmt::Display for LayerForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(_, form)| form == self).map_or("stored", |(word, _)| *word);
        f.write_str(word)
    }
}

impl FromStr for LayerForm {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let found = WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, form)| *form).ok_or_else(|| ImageError::Form { text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_have_one_word_that_reads_back() {
        for (word, form) in WORDS {
            assert_eq!(word.parse::<LayerForm>().unwrap(), form);
            assert_eq!(form.to_string().parse::<LayerForm>().unwrap(), form);
            assert_eq!(serde_json::to_value(form).unwrap(), form.to_string());
        }
        assert!("estargz".parse::<LayerForm>().unwrap_err().to_string().contains("zstd:chunked"));
    }
}
