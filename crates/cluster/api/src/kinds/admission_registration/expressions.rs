//! What expressions of webhooks and policies may name, and whether they compile (Kubernetes documentation, "Validating
//! Admission Policy", "Validation Expression"; `apiserver/pkg/admission/plugin/cel`).

use super::{Faults, Place};
use hako_cel::{Declared, Env, ListKind, Program, Type};
use std::sync::{Arc, LazyLock};

const AUTHORIZER: Type = Type::Opaque("kubernetes.authorization.Authorizer");
const RESOURCE_CHECK: Type = Type::Opaque("kubernetes.authorization.ResourceCheck");

/// The type of the `request` of a review.
pub(crate) static REQUEST: LazyLock<Declared> = LazyLock::new(request);
/// The type of `namespaceObject`.
pub(crate) static NAMESPACE: LazyLock<Declared> = LazyLock::new(namespace);

/// The type of what has no schema here.
pub(crate) fn anything() -> &'static Declared {
    static ANYTHING: LazyLock<Declared> = LazyLock::new(Declared::dynamic);
    &ANYTHING
}

/// What a name of an expression stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Object,
    OldObject,
    Request,
    Namespace,
    Params,
    /// A variable of the policy, by its place.
    Variable(usize),
    Authorizer,
    RequestResource,
}

/// A program, and what the names that it knows stand for, in their order.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub program: Program,
    pub slots: Vec<Slot>,
}

/// What the expressions of one webhook or policy may name.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    env: Env,
    slots: Vec<Slot>,
    variables: usize,
    has_authorizer: bool,
}

impl Names {
    fn of_objects(object: Declared) -> Self {
        // What is compiled for one webhook or policy has its patterns bounded together.
        let env = Env::new().with_patterns(Arc::default());
        let mut names = Self { env, slots: Vec::new(), variables: 0, has_authorizer: true };
        names.put("object", Slot::Object, object.clone());
        names.put("oldObject", Slot::OldObject, object);
        names.put("request", Slot::Request, REQUEST.clone());
        names.put("namespaceObject", Slot::Namespace, NAMESPACE.clone());
        names
    }

    /// What conditions of webhooks may name. Their `namespaceObject` is always null, as upstream has it.
    pub(crate) fn of_webhook() -> Self {
        Self::of_objects(Declared::dynamic())
    }

    /// What expressions of policies may name; parameters only where the policy has some.
    pub(crate) fn of_policy(has_params: bool) -> Self {
        Self::of_types(Declared::dynamic(), has_params.then(Declared::dynamic))
    }

    /// The same where the types of objects and parameters are known.
    pub(crate) fn of_types(object: Declared, params: Option<Declared>) -> Self {
        let mut names = Self::of_objects(object);
        if let Some(params) = params {
            names.put("params", Slot::Params, params);
        }
        names
    }

    /// The same for mutations, which are written as values of `Object` and `JSONPatch`.
    pub(crate) fn for_mutations(&self) -> Self {
        Self { env: self.env.clone().for_mutations(), ..self.clone() }
    }

    /// The same without the authorizer, which messages may not ask.
    pub(crate) fn without_authorizer(&self) -> Self {
        Self { has_authorizer: false, ..self.clone() }
    }

    fn put(&mut self, name: &str, slot: Slot, declared: Declared) {
        self.env = std::mem::take(&mut self.env).with(name, declared);
        self.slots.push(slot);
    }

    /// Declares the next variable of a policy, which later expressions may name.
    pub(crate) fn declare(&mut self, name: &str, compiled: Option<&Compiled>) {
        let ty = compiled.map_or(Type::Dyn, |compiled| compiled.program.ty().clone());
        self.put(&format!("variables.{name}"), Slot::Variable(self.variables), Declared::of(ty));
        self.variables += 1;
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// All its faults, as one text.
    pub(crate) fn compile(&self, source: &str) -> Result<Compiled, String> {
        let mut whole = Self::clone(self);
        if self.has_authorizer {
            whole.put("authorizer", Slot::Authorizer, Declared::of(AUTHORIZER));
            whole.put("authorizer.requestResource", Slot::RequestResource, Declared::of(RESOURCE_CHECK));
        }
        let program = whole.env.compile(source).map_err(|error| error.to_string())?;
        Ok(Compiled { program, slots: whole.slots })
    }

    /// Compiles a variable of a policy, which later expressions may name.
    pub(super) fn add_variable(&mut self, name: &str, expression: &Place<'_>, faults: &mut Faults) {
        let compiled = self.compile_at(expression, &[], faults);
        self.declare(name, compiled.as_ref());
    }

    /// Compiles an expression that must be of one of `types`; any if there are none.
    pub(super) fn check(&self, expression: &Place<'_>, types: &[Type], faults: &mut Faults) {
        self.compile_at(expression, types, faults);
    }

    fn compile_at(&self, expression: &Place<'_>, types: &[Type], faults: &mut Faults) -> Option<Compiled> {
        let source = expression.text();
        if source.trim().is_empty() {
            return None;
        }
        match self.compile(source) {
            Err(error) => {
                faults.push(expression.invalid(&format!("compilation failed: {error}")));
                None
            }
            Ok(compiled) => {
                let ty = compiled.program.ty();
                if !types.is_empty() && !types.contains(ty) && *ty != Type::Dyn {
                    faults.push(expression.invalid(&wrong_type(types)));
                }
                Some(compiled)
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
    let condition = [
        text("status"),
        text("type"),
        member("lastTransitionTime", Declared::date_time()),
        text("message"),
        text("reason"),
    ];
    let condition = Declared::object("kubernetes.NamespaceCondition", condition);
    let status = [member("conditions", Declared::list(condition, None, ListKind::Atomic)), text("phase")];
    Declared::object(
        "kubernetes.Namespace",
        [
            member("metadata", Declared::object("kubernetes.NamespaceMetadata", metadata)),
            member("spec", Declared::object("kubernetes.NamespaceSpec", [texts("finalizers")])),
            member("status", Declared::object("kubernetes.NamespaceStatus", status)),
        ],
    )
}
