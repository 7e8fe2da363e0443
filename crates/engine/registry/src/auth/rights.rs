//! Rights by rules, and the caller who has them.

use super::token::Token;
use crate::config::{Rights, Rule, any};
use crate::name::Repository;
use std::sync::Arc;

/// What is wanted of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read.
    Pull,
    /// Write.
    Push,
    /// Delete.
    Delete,
}

impl Action {
    /// The word of scopes.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// What a client should ask for: who pushes also looks whether things are there.
    pub(super) const fn scope(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        }
    }
}

impl Rights {
    pub(crate) const ALL: Self = Self { pull: true, push: true, delete: true };

    pub(crate) const fn has(self, action: Action) -> bool {
        match action {
            Action::Pull => self.pull,
            Action::Push => self.push,
            Action::Delete => self.delete,
        }
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self {
            pull: self.pull || other.pull,
            push: self.push || other.push,
            delete: self.delete || other.delete,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            pull: self.pull && other.pull,
            push: self.push && other.push,
            delete: self.delete && other.delete,
        }
    }
}

/// The rules of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    rules: Arc<[Rule]>,
    /// Whether there is neither authentication nor a rule: everybody may do everything.
    is_open: bool,
}

impl Rules {
    pub(super) fn new(rules: &[Rule], is_open: bool) -> Self {
        Self { rules: rules.into(), is_open }
    }

    /// Without rules, whoever proved a name may do everything.
    fn rights(&self, user: Option<&str>, repository: &str) -> Rights {
        if self.is_open || (self.rules.is_empty() && user.is_some()) {
            return Rights::ALL;
        }
        let is_about = |rule: &&Rule| {
            let is_named = |name: &String| match name.as_str() {
                "anonymous" => true,
                "*" => user.is_some(),
                name => user == Some(name),
            };
            rule.users.iter().any(is_named) && any(&rule.repositories, repository)
        };
        self.rules.iter().filter(is_about).fold(Rights::default(), |sum, rule| sum.with(rule.rights))
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    user: Option<String>,
    rules: Rules,
    /// What a token grants, where tokens are used.
    grants: Option<Vec<(String, Rights)>>,
    has_catalog: bool,
    is_proven: bool,
}

impl Caller {
    /// A caller whom only rules bound.
    pub(super) fn by_rules(user: Option<String>, rules: &Rules) -> Self {
        let is_proven = user.is_some();
        Self { user, rules: rules.clone(), grants: None, has_catalog: true, is_proven }
    }

    /// A caller whom a token bounds too.
    pub(super) fn by_token(token: impl Into<Option<Token>>, rules: &Rules) -> Self {
        let token = token.into();
        let is_proven = token.is_some();
        let Token { user, grants, has_catalog } = token.unwrap_or_default();
        Self { user, rules: rules.clone(), grants: Some(grants), has_catalog, is_proven }
    }

    /// The name proved.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether the caller showed anything that was good: a password, or a token, be it anonymous.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// What the caller may do with a repository.
    pub(crate) fn rights(&self, repository: &Repository) -> Rights {
        let by_rules = self.rules.rights(self.user.as_deref(), repository.as_str());
        match &self.grants {
            None => by_rules,
            Some(grants) => {
                let granted = grants
                    .iter()
                    .filter(|(name, _)| name == repository.as_str())
                    .fold(Rights::default(), |sum, (_, rights)| sum.with(*rights));
                by_rules.and(granted)
            }
        }
    }

    /// Whether the caller may.
    pub(crate) fn may(&self, repository: &Repository, action: Action) -> bool {
        self.rights(repository).has(action)
    }

    /// Whether the catalogue is shown; only what the caller may pull is in it.
    pub(crate) fn has_catalog(&self) -> bool {
        self.has_catalog
    }

    /// Whether a repository is in the caller's catalogue.
    pub(crate) fn sees(&self, repository: &Repository) -> bool {
        self.rules.rights(self.user.as_deref(), repository.as_str()).pull
    }
}
