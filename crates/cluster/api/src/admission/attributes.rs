//! A write in the words of an admission review (`admission.k8s.io/v1`, `AdmissionRequest`): what webhooks and policies are
//! asked about, in the version that they ask for.

use std::borrow::Cow;
use std::sync::Arc;

use hako_kube::{GroupVersionKind, GroupVersionResource};
use serde_json::{Map, Value, json};

use super::plugin::{Change, Operation};
use crate::http::Outcome;
use crate::kinds::Served;
use crate::resource;
use crate::server::Inner;

static NOTHING: Value = Value::Null;

/// A kind, with the resource under which it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub kind: GroupVersionKind,
    pub resource: GroupVersionResource,
}

/// As what a write is seen: as it was asked for, or as a change of the same objects in another version.
#[derive(Clone, Debug)]
pub(super) struct Matched {
    pub named: Named,
    /// The other version.
    equivalent: Option<Arc<Served>>,
}

/// A write before anybody has a say in it.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a> {
    pub change: &'a Change<'a>,
    /// The object as it would be stored, or what is sent to a part of it; nothing on delete.
    pub object: Option<&'a Value>,
}

/// A write in the version that somebody asks for.
pub(super) struct Versioned<'a> {
    pub change: &'a Change<'a>,
    pub named: &'a Named,
    object: Option<Cow<'a, Value>>,
    old: Option<Cow<'a, Value>>,
}

impl Operation {
    /// As rules and reviews name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

impl<'a> Attributes<'a> {
    /// As what the write was asked for.
    pub(super) fn named(&self) -> Named {
        named(&self.change.target.row, self.change.part)
    }

    /// The namespace; that of a namespace itself is its name.
    pub(super) fn namespace(&self) -> &'a str {
        let target = self.change.target;
        if self.change.is_of("", "namespaces") { &target.name } else { &target.namespace }
    }

    /// Whether it is about webhooks and policies themselves: those decide about nothing that could end them.
    pub(super) fn is_exempt(&self) -> bool {
        self.change.target.row.group == "admissionregistration.k8s.io"
    }

    /// Whether it is a question, of which nothing is kept: policies have no say in those.
    pub(super) fn is_question(&self) -> bool {
        self.change.target.row.question.is_some()
    }

    /// As what the write was asked for, for those that take it as such.
    pub(super) fn as_asked(&self) -> Matched {
        Matched { named: self.named(), equivalent: None }
    }

    /// The same objects in their other versions and groups.
    pub(super) fn equivalents(&self) -> Vec<Matched> {
        let (own, part) = (&self.change.target.row, self.change.part);
        let is_another = |row: &&Arc<Served>| {
            row.plural == own.plural
                && row.stored_group == own.stored_group
                && (&row.group, &row.version) != (&own.group, &own.version)
                && (part.is_empty() || row.subresource(part).is_some())
        };
        let kinds = self.change.server.kinds.now();
        let others = kinds.all().iter().filter(is_another);
        others.map(|row| Matched { named: named(row, part), equivalent: Some(Arc::clone(row)) }).collect()
    }

    /// The write as `matched` has it.
    ///
    /// # Errors
    /// Those of a conversion webhook.
    pub(super) async fn versioned(&self, matched: &'a Matched) -> Outcome<Versioned<'a>> {
        let (object, old) = (self.object, self.change.old);
        let (object, old) =
            (matched.shown(self.change, object).await?, matched.shown(self.change, old).await?);
        Ok(Versioned { change: self.change, named: &matched.named, object, old })
    }
}

impl Matched {
    /// The kind in that version.
    pub(super) fn row<'r>(&'r self, change: &'r Change<'_>) -> &'r Served {
        self.equivalent.as_ref().unwrap_or(&change.target.row)
    }

    /// An object of the write in the version that was asked for.
    async fn shown<'v>(
        &self,
        change: &Change<'_>,
        object: Option<&'v Value>,
    ) -> Outcome<Option<Cow<'v, Value>>> {
        let (Some(object), Some(row)) = (object, &self.equivalent) else {
            return Ok(object.map(Cow::Borrowed));
        };
        let made = converted(change.server, &change.target.row, row, object.clone()).await?;
        Ok(Some(Cow::Owned(made)))
    }

    /// From the version that was asked for to the write's own.
    ///
    /// # Errors
    /// Those of a conversion webhook.
    pub(super) async fn back(&self, change: &Change<'_>, object: Value) -> Outcome<Value> {
        match &self.equivalent {
            None => Ok(object),
            Some(row) => converted(change.server, row, &change.target.row, object).await,
        }
    }
}

fn named(row: &Served, part: &str) -> Named {
    let kind = match row.subresource(part) {
        Some(part) => GroupVersionKind::new(&*part.group, &*part.version, &*part.kind),
        None => row.gvk(),
    };
    Named { kind, resource: row.gvr() }
}

/// An object in another version of its kind; what is sent to a part in a form of its own stays as it is.
async fn converted(server: &Inner, from: &Served, to: &Served, object: Value) -> Outcome<Value> {
    if object.get("kind").is_some_and(|kind| *kind != *from.kind) {
        return Ok(object);
    }
    Box::pin(resource::in_version(server, from, to, object)).await
}

impl Versioned<'_> {
    /// The object; null if there is none.
    pub(super) fn object(&self) -> &Value {
        self.object.as_deref().unwrap_or(&NOTHING)
    }

    /// The object as it is; null if there is none.
    pub(super) fn old(&self) -> &Value {
        self.old.as_deref().unwrap_or(&NOTHING)
    }

    /// The `request` of a review without its objects, in the order of the API's types.
    pub(super) fn request(&self) -> Map<String, Value> {
        let (change, asked) = (self.change, named(&self.change.target.row, self.change.part));
        let attributes = Attributes { change, object: None };
        let mut request = Map::new();
        let mut put = |name: &str, value: Value| {
            if value != "" {
                request.insert(name.to_owned(), value);
            }
        };
        put("kind", json!(self.named.kind));
        put("resource", json!(self.named.resource));
        put("subResource", change.part.into());
        put("requestKind", json!(asked.kind));
        put("requestResource", json!(asked.resource));
        put("requestSubResource", change.part.into());
        put("name", change.target.name.as_str().into());
        put("namespace", attributes.namespace().into());
        put("operation", change.operation.name().into());
        put("userInfo", user(change));
        put("dryRun", change.manner.is_dry_run.into());
        put("options", change.manner.options(change.operation));
        request
    }
}

fn user(change: &Change<'_>) -> Value {
    let identity = change.identity;
    let mut user = json!({"username": identity.user});
    if !identity.uid.is_empty() {
        user["uid"] = identity.uid.as_str().into();
    }
    user["groups"] = json!(identity.groups);
    if !identity.extra.is_empty() {
        user["extra"] = json!(identity.extra);
    }
    user
}
