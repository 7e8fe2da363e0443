//! The rules by name, as Docker's build checks have them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! rules {
    ($($name:ident: $sentence:literal;)*) => {
        /// A rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $sentence] $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name, as `check=skip=` takes it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it asks for and why, in one sentence.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

rules! {
    StageNameCasing: "Names of stages are lower case, because that is how they are compared.";
    FromAsCasing: "FROM and its AS are written in the same case.";
    NoEmptyContinuation: "An instruction that goes on over several lines has no empty line inside, a future version will refuse it.";
    ConsistentInstructionCasing: "All instructions of a file are written in the same case, upper or lower.";
    DuplicateStageName: "Each stage has a name of its own, of two with the same name the nearest above is meant.";
    ReservedStageName: "No stage is named scratch or context, those words mean something else.";
    JSONArgsRecommended: "CMD and ENTRYPOINT are JSON arrays, so that no shell stands between the program and its signals.";
    MaintainerDeprecated: "The author is a label (org.opencontainers.image.authors), MAINTAINER is deprecated.";
    UndefinedArgInFrom: "What FROM refers to is declared by an ARG before the first FROM.";
    WorkdirRelativePath: "The first WORKDIR of a stage is absolute, because the base image's may change.";
    UndefinedVar: "A variable is defined before it is used.";
    MultipleInstructionsDisallowed: "A stage has one CMD, one ENTRYPOINT and one HEALTHCHECK, all but the last are without effect.";
    LegacyKeyValueFormat: "ENV and LABEL are written key=value, the form with a space takes one pair only.";
    RedundantTargetPlatform: "FROM needs no --platform=$TARGETPLATFORM, that is the default.";
    SecretsUsedInArgOrEnv: "Secrets are no ARG or ENV, those stay in the image and its history; use RUN --mount=type=secret.";
    InvalidDefaultArgInFrom: "With the defaults of its ARGs alone, FROM names a valid image.";
    InvalidBaseImagePlatform: "A base image is for the platform that the image is built for, else its programs do not run there.";
    FromPlatformFlagConstDisallowed: "The --platform of FROM is no constant, a file should build for every platform.";
    CopyIgnoredFile: "COPY and ADD do not name what .dockerignore leaves out.";
    InvalidDefinitionDescription: "A comment right above ARG or FROM describes it and starts with its name.";
    ExposeProtoCasing: "The protocol in EXPOSE is lower case.";
    ExposeInvalidFormat: "EXPOSE has neither addresses nor ports of the host, a future version will refuse them.";
}

impl Rule {
    /// Whether it counts only where the file asks for it with `check=experimental=`.
    #[must_use]
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// The rule with that name, case included.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| de::Error::custom(format_args!("there is no rule {name:?}")))
    }
}
