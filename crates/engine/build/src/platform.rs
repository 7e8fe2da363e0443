//! For which machines an image is.

use hako_error::{Error, Kind, Result};
use hako_image::{Image, transfer};
use serde_json::{Value, json};
use std::fmt;

/// `os/arch[/variant]` in the images' words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

impl Platform {
    /// This machine.
    pub(crate) fn own() -> Self {
        Self { os: "linux".into(), architecture: own_architecture().into(), variant: None }
    }

    /// What a request or `FROM --platform` says; nothing means this machine.
    pub(crate) fn wanted(text: Option<&str>) -> Result<Self> {
        match text.filter(|text| !text.is_empty() && *text != "local") {
            None => Ok(Self::own()),
            Some(text) => Self::parse(text),
        }
    }

    /// Those of a request, each once; none means this machine.
    pub(crate) fn all(texts: &[String]) -> Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        for text in texts {
            let platform = Self::wanted(Some(text))?;
            if !all.contains(&platform) {
                all.push(platform);
            }
        }
        Ok(if all.is_empty() { vec![Self::own()] } else { all })
    }

    fn parse(text: &str) -> Result<Self> {
        let malformed =
            || Error::new(Kind::Invalid, format!("platform {text:?}: expected one such as linux/arm64"));
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if !parts.iter().all(is_word) {
            return Err(malformed());
        }
        let (os, architecture, variant) = match parts.as_slice() {
            ["linux"] => return Ok(Self::own()),
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some((*variant).to_owned())),
            _ => return Err(malformed()),
        };
        let architecture = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            "i386" | "i686" => "386".to_owned(),
            other => other.to_owned(),
        };
        // v8 is what every arm64 is, v1 what every amd64.
        let implied = match architecture.as_str() {
            "arm64" => "v8",
            "amd64" => "v1",
            _ => "",
        };
        let variant = variant.filter(|variant| variant != implied);
        Ok(Self { os: os.to_ascii_lowercase(), architecture, variant })
    }

    /// Whether it is this machine's, of whatever variant.
    pub(crate) fn is_own(&self) -> bool {
        self.os == "linux" && self.architecture == own_architecture()
    }

    /// The same in the words of who chooses images.
    pub(crate) fn of_images(&self) -> transfer::Platform {
        transfer::Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }

    /// Whether an image was made for exactly that. One that says nothing is taken to be.
    pub(crate) fn is_of(&self, image: &Image) -> bool {
        let text = |key: &str| image.raw_config.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        let is_same = |own: &str, said: &str| own.is_empty() || said.is_empty() || own == said;
        is_same(&self.architecture, text("architecture"))
            && is_same(self.variant.as_deref().unwrap_or_default(), text("variant"))
    }

    /// What an image is for, where that is another system or architecture. One that says nothing is for what is wanted; what
    /// it says is as hostile as all of it, and is refused where it is no platform.
    pub(crate) fn other_of(&self, image: &Image) -> Result<Option<Self>> {
        let text = |key: &str| image.raw_config.get(key).and_then(Value::as_str).unwrap_or_default();
        let (os, architecture, variant) = (text("os"), text("architecture"), text("variant"));
        if architecture.is_empty() {
            return Ok(None);
        }
        let os = if os.is_empty() { self.os.as_str() } else { os };
        let end = if variant.is_empty() { String::new() } else { format!("/{variant}") };
        let said = Self::parse(&format!("{os}/{architecture}{end}"))?;
        let is_same = said.os == self.os && said.architecture == self.architecture;
        Ok((!is_same).then_some(said))
    }

    /// As descriptors say it.
    pub(crate) fn json(&self) -> Value {
        let mut platform = json!({"architecture": self.architecture, "os": self.os});
        if let Some(variant) = &self.variant {
            platform["variant"] = variant.as_str().into();
        }
        platform
    }

    /// As a directory is called: `linux_arm64`.
    pub(crate) fn directory(&self) -> String {
        self.to_string().replace('/', "_")
    }

    /// Whether programs of that platform run here.
    pub(crate) fn runs_here(&self) -> bool {
        let own = own_architecture();
        self.os == "linux" && (self.architecture == own || (own == "amd64" && self.architecture == "386"))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// This machine's architecture in the images' words.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_one_name_each() {
        let text = |text: &str| Platform::wanted(Some(text)).map(|platform| platform.to_string());
        assert_eq!(text("linux/aarch64").unwrap(), "linux/arm64");
        assert_eq!(text("linux/arm64/v8").unwrap(), "linux/arm64");
        assert_eq!(text("linux/arm/v7").unwrap(), "linux/arm/v7");
        assert_eq!(text("x86_64").unwrap(), "linux/amd64");
        assert_eq!(Platform::wanted(None).unwrap(), Platform::own());
        let all = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            Platform::all(&texts).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(all(&["linux/arm64", "arm64", "linux/arm/v7"]), ["linux/arm64", "linux/arm/v7"]);
        assert_eq!(all(&[]), [Platform::own().to_string()]);
        for bad in ["linux//x", "a/b/c/d", "linux/ä"] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }
}
