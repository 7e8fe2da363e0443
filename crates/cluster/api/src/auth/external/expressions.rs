//! The expressions of an `AuthenticationConfiguration`: what they may name, what they make of claims, and what that may
//! cost (`apiserver/pkg/authentication/cel`).

use std::sync::LazyLock;

use hako_cel::{Declared, Env, ListKind, Program, Type, Value as Cel};
use serde_json::{Value, json};

use crate::auth::Identity;
use crate::metrics::cel;

/// Units that one expression may cost: a tenth of a second on an old server.
const COST_MAX: u64 = 1_000_000;
/// Units for all expressions of one token.
const BUDGET: u64 = 10_000_000;

static CLAIMS: LazyLock<Declared> = LazyLock::new(|| Declared::map(Declared::dynamic(), None));
static USER: LazyLock<Declared> = LazyLock::new(user);

/// What an expression is about, and has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Claims; what comes of it is looked at when there are some.
    Claims,
    /// Claims; it is true or false.
    ClaimRule,
    /// The user that was made of claims; it is true or false.
    UserRule,
}

#[derive(Debug)]
pub(super) struct Expression {
    text: String,
    program: Program,
}

/// Those of one issuer. Rules have the message for where they are false.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    pub username: Option<Expression>,
    pub groups: Option<Expression>,
    pub uid: Option<Expression>,
    /// By key.
    pub extra: Vec<(String, Expression)>,
    pub claim_rules: Vec<(Expression, String)>,
    pub user_rules: Vec<(Expression, String)>,
}

/// The claims or the user of one token, and what may still be spent on it.
pub(super) struct Evaluation<'a> {
    variable: [Cel<'a>; 1],
    left: &'a mut u64,
}

impl Expression {
    /// Compiles a text.
    ///
    /// # Errors
    /// All its faults, as one text.
    pub(super) fn compile(of: Of, text: &str) -> Result<Self, String> {
        let env = match of {
            Of::Claims | Of::ClaimRule => Env::new().with("claims", CLAIMS.clone()),
            Of::UserRule => Env::new().with("user", USER.clone()),
        };
        let program = cel::compiling(|| env.compile(text));
        let program = program.map_err(|error| format!("compilation failed: {error}"))?;
        // A claim is of no known type: one that is a boolean by chance is not a rule.
        if of != Of::Claims && *program.ty() != Type::Bool {
            return Err("must evaluate to bool".to_owned());
        }
        Ok(Self { text: text.to_owned(), program })
    }

    /// Whether the expression names a claim.
    pub(super) fn uses(&self, claim: &str) -> bool {
        self.program.selects(0, claim)
    }
}

impl Expressions {
    /// Whether something of what is asked of claims, or made of them, looks whether an address is verified.
    pub(super) fn verify_the_email(&self) -> bool {
        let rules = self.claim_rules.iter().map(|(rule, _)| rule);
        let made = self.username.iter().chain(self.extra.iter().map(|(_, expression)| expression));
        rules.chain(made).any(|expression| expression.uses("email_verified"))
    }
}

/// What may be spent on one token.
pub(super) const fn budget() -> u64 {
    BUDGET
}

/// The user as expressions see it: all members are there.
pub(super) fn seen(identity: &Identity) -> Value {
    json!({
        "username": identity.user, "uid": identity.uid, "groups": identity.groups, "extra": identity.extra,
    })
}

impl<'a> Evaluation<'a> {
    pub(super) fn of_claims(claims: &'a Value, left: &'a mut u64) -> Self {
        Self { variable: [Cel::json(claims, &CLAIMS)], left }
    }

    pub(super) fn of_user(user: &'a Value, left: &'a mut u64) -> Self {
        Self { variable: [Cel::json(user, &USER)], left }
    }

    fn value(&mut self, expression: &'a Expression) -> Result<Cel<'a>, String> {
        let why = |error: &dyn std::fmt::Display| {
            format!("expression '{}' resulted in error: {error}", expression.text)
        };
        let evaluated = cel::evaluating(|| {
            expression.program.evaluate(self.variable.as_slice(), COST_MAX.min(*self.left))
        });
        *self.left = self.left.saturating_sub(evaluated.cost);
        evaluated.result.map_err(|error| why(&error))
    }

    /// The text that an expression makes; `what` it is for is told where it makes none.
    pub(super) fn text(&mut self, expression: &'a Expression, what: &str) -> Result<String, String> {
        let made = self.value(expression).and_then(|value| match value {
            Cel::String(text) => Ok(text.to_string()),
            _ => Err(format!("{what} claim expression must return a string")),
        });
        made.map_err(|why| format!("oidc: error evaluating {what} claim expression: {why}"))
    }

    /// The texts that an expression makes; empty ones and null are none.
    pub(super) fn texts(&mut self, expression: &'a Expression, what: &str) -> Result<Vec<String>, String> {
        let made = self.value(expression).and_then(|value| texts(&value));
        made.map_err(|why| format!("oidc: error evaluating {what} claim expression: {why}"))
    }

    /// Whether all rules are true; the message of the first that is not.
    pub(super) fn judge(&mut self, rules: &'a [(Expression, String)], what: &str) -> Result<(), String> {
        for (rule, message) in rules {
            let held = match self.value(rule) {
                Ok(Cel::Bool(true)) => continue,
                Ok(Cel::Bool(false)) => format!("validation expression '{}' failed: {message}", rule.text),
                Ok(_) => "validation expression must return a boolean".to_owned(),
                Err(why) => why,
            };
            return Err(format!("oidc: error evaluating {what}: {held}"));
        }
        Ok(())
    }
}

fn texts(value: &Cel<'_>) -> Result<Vec<String>, String> {
    let text = |value: &Cel<'_>| match value {
        Cel::String(text) => Some(text.to_string()),
        _ => None,
    };
    let all: Option<Vec<String>> = match value {
        Cel::Null => return Ok(Vec::new()),
        Cel::List(list) => list.iter().map(|item| text(&item)).collect(),
        one => text(one).map(|text| vec![text]),
    };
    let mut all = all.ok_or("expression must return a string or a list of strings")?;
    all.retain(|text| !text.is_empty());
    Ok(all)
}

fn user() -> Declared {
    let text = |name: &str| (name.to_owned(), Declared::string(None), false);
    let texts = || Declared::list(Declared::string(None), None, ListKind::Atomic);
    let groups = ("groups".to_owned(), texts(), false);
    let extra = ("extra".to_owned(), Declared::map(texts(), None), false);
    Declared::object("kubernetes.UserInfo", [text("username"), text("uid"), groups, extra])
}
