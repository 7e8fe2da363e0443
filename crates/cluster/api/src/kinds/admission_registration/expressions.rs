//! What expressions of webhooks and policies may name, and whether they compile (Kubernetes documentation, "Validating
//! Admission Policy", "Validation Expression"; `apiserver/pkg/admission/plugin/cel`).

use super::{Faults, Place};
use hako_cel::{Declared, Env, ListKind, Type};

const AUTHORIZER: Type = Type::Opaque("kubernetes.authorization.Authorizer");
const RESOURCE_CHECK: Type = Type::Opaque("kubernetes.authorization.ResourceCheck");

/// What the expressions of one webhook or policy may name.
#[derive(Debug)]
pub(super) struct Names {
    env: Env,
    has_authorizer: bool,
}

impl Names {
    /// What conditions of webhooks may name.
    pub(super) fn of_webhook() -> Self {
        let env = Env::new()
            .with("object", Declared::dynamic())
            .with("oldObject", Declared::dynamic())
            .with("request", request());
        Self { env, has_authorizer: true }
    }

    /// What expressions of policies may name; parameters only where the policy has some.
    pub(super) fn of_policy(has_params: bool) -> Self {
        let Self { mut env, .. } = Self::of_webhook();
        env = env.with("namespaceObject", namespace());
        if has_params {
            env = env.with("params", Declared::dynamic());
        }
        Self { env, has_authorizer: true }
    }

    /// The same without the authorizer, which messages may not ask.
    pub(super) fn without_authorizer(&self) -> Self {
        Self { env: self.env.clone(), has_authorizer: false }
    }

    /// Compiles a variable of a policy, which later expressions may name.
    pub(super) fn add_variable(&mut self, name: &str, expression: &Place<'_>, faults: &mut Faults) {
        let ty = self.compile(expression, &[], faults).unwrap_or(Type::Dyn);
        let env = std::mem::take(&mut self.env);
        self.env = env.with(&format!("variables.{name}"), Declared::of(ty));
    }

    /// Compiles an expression that must be of one of `types`; any if there are none.
    pub(super) fn check(&self, expression: &Place<'_>, types: &[Type], faults: &mut Faults) {
        self.compile(expression, types, faults);
    }

    fn compile(&self, expression: &Place<'_>, types: &[Type], faults: &mut Faults) -> Option<Type> {
        let source = expression.text();
        if source.trim().is_empty() {
            return None;
        }
        let mut env = self.env.clone();
        if self.has_authorizer {
            env = env
                .with("authorizer", Declared::of(AUTHORIZER))
                .with("authorizer.requestResource", Declared::of(RESOURCE_CHECK));
        }
        match env.compile(source) {
            Err(error) => {
                faults.push(expression.invalid(&format!("compilation failed: {error}")));
                None
            }
            Ok(program) => {
                let ty = program.ty().clone();
                if !types.is_empty() && !types.contains(&ty) && ty != Type::Dyn {
                    faults.push(expression.invalid(&wrong_type(types)));
                }
                Some(ty)
            }
        }
    }
}

fn wrong_type(types: &[Type]) -> String {
    match types {
        [ty] => format!("must evaluate to {ty}"),
        types => {
            let shown: Vec<_> = types.iter().map(ToString::to_string).collect();
            format!("must evaluate to one of {}", shown.join(", "))
        }
    }
}

type Field = (String, Declared, bool);

fn member(name: &str, declared: Declared) -> Field {
    (name.to_owned(), declared, false)
}

fn text(name: &str) -> Field {
    member(name, Declared::string(None))
}

fn texts(name: &str) -> Field {
    member(name, Declared::list(Declared::string(None), None, ListKind::Atomic))
}

fn text_map(name: &str) -> Field {
    member(name, Declared::map(Declared::string(None), None))
}

/// The `request` of an admission review.
fn request() -> Declared {
    let kind =
        || Declared::object("kubernetes.GroupVersionKind", [text("group"), text("version"), text("kind")]);
    let resource = || {
        Declared::object(
            "kubernetes.GroupVersionResource",
            [text("group"), text("version"), text("resource")],
        )
    };
    let groups = Declared::list(Declared::string(None), None, ListKind::Atomic);
    let extra = Declared::map(groups, None);
    let user = [text("username"), text("uid"), texts("groups"), member("extra", extra)];
    Declared::object(
        "kubernetes.AdmissionRequest",
        [
            member("kind", kind()),
            member("resource", resource()),
            text("subResource"),
            member("requestKind", kind()),
            member("requestResource", resource()),
            text("requestSubResource"),
            text("name"),
            text("namespace"),
            text("operation"),
            member("userInfo", Declared::object("kubernetes.UserInfo", user)),
            member("dryRun", Declared::bool()),
            member("options", Declared::dynamic()),
        ],
    )
}

/// The namespace of the object, as much of it as expressions may see.
fn namespace() -> Declared {
    let metadata = [
        text("name"),
        text("generateName"),
        text("namespace"),
        text_map("labels"),
        text_map("annotations"),
        text("UID"),
        member("creationTimestamp", Declared::date_time()),
        member("deletionGracePeriodSeconds", Declared::int()),
        member("deletionTimestamp", Declared::date_time()),
        member("generation", Declared::int()),
        text("resourceVersion"),
        texts("finalizers"),
    ];
    Declared::object(
        "kubernetes.Namespace",
        [
            member("metadata", Declared::object("kubernetes.NamespaceMetadata", metadata)),
            member("spec", Declared::object("kubernetes.NamespaceSpec", [texts("finalizers")])),
            member("status", Declared::object("kubernetes.NamespaceStatus", [text("phase")])),
        ],
    )
}
