//! Every verb of every kind over HTTPS, with the kind's sample: what the table of kinds says is served does what it
//! does for any other kind.

pub mod calls;
pub mod messages;
mod parts;
mod statuses;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hako_api::kinds::{self, Kinds, Served};
use hako_api::schema::decode;
use http::StatusCode;
use serde_json::{Value, json};

use self::calls::{Http, Watch};
use crate::seen::PATCHES;
use crate::support::World;

const NAMESPACE: &str = "n";
/// What the samples of this suite are selected by.
const LABEL: &str = "suite";

/// A kind with its sample.
struct Case {
    row: Arc<Served>,
    sample: Value,
    http: Http,
}

/// The kinds whose objects are kept.
fn kept() -> impl Iterator<Item = Arc<Served>> {
    let defined = kinds::of_definition(&serde_json::to_vec(&definition()).unwrap().into()).unwrap();
    let built_in = Kinds::built_in().all().iter().filter(|row| row.question.is_none());
    built_in.cloned().chain(defined.into_iter().map(Arc::new)).collect::<Vec<_>>().into_iter()
}

pub fn read(file: &str) -> Value {
    let file = format!("{}/tests/suite/{file}", env!("CARGO_MANIFEST_DIR"));
    decode::yaml(&std::fs::read(file).unwrap()).unwrap().value
}

/// A definition of a kind that is none of the program's.
fn definition() -> Value {
    read("definitions/gadgets.yaml")
}

/// The sample of a kind, in any of its versions.
fn sample(row: &Served) -> Value {
    let group = if row.group.is_empty() { "core" } else { &*row.group };
    let mut object = match Kinds::built_in().by_resource(&row.group, &row.version, &row.plural) {
        Some(_) => read(&format!("samples/{}.{group}.yaml", row.plural)),
        None => read(&format!("definitions/{}.yaml", row.singular)),
    };
    object["apiVersion"] = row.api_version().into();
    object["metadata"]["labels"][LABEL] = "yes".into();
    object
}

async fn world() -> World {
    let world = World::start().await;
    world.kubectl(&["create", "namespace", NAMESPACE]).await;
    world.kubectl(&["create", "serviceaccount", "default", "-n", NAMESPACE]).await;
    crate::custom_resources::define(&world, &definition()).await;
    world
}

/// Tries every kind, and says at the end which ones failed.
async fn try_all(rows: impl Iterator<Item = Arc<Served>>, attempt: impl Fn(Case) -> BoxFuture<'static, ()>) {
    let world = world().await;
    let mut faults = Vec::new();
    for row in rows {
        let (name, sample) = (format!("{} {}", row.api_version(), row.plural), sample(&row));
        let case = Case { row, sample, http: Http::new(&world) };
        if let Err(panicked) = tokio::spawn(attempt(case)).await {
            let text =
                panicked.into_panic().downcast::<String>().map_or_else(|_| String::new(), |text| *text);
            faults.push(format!("{name}: {text}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_created_read_changed_watched_and_deleted() {
    let attempt = |case: Case| {
        async move {
            let created = case.is_created_and_told().await;
            case.is_read(&created).await;
            case.is_replaced(created).await;
            case.is_patched().await;
            case.is_deleted().await;
        }
        .boxed()
    };
    try_all(kept(), attempt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_deleted_by_selector() {
    let rows = kept().filter(|row| row.verbs.contains(&"deletecollection"));
    try_all(rows, |case| async move { case.goes_with_its_collection().await }.boxed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_is_read_replaced_and_patched() {
    let rows = kept().filter(|row| row.subresources.iter().any(parts::is_in_place));
    let attempt = |case: Case| {
        async move {
            let created = case.create().await;
            case.is_settled(created).await;
            case.has_its_parts().await;
            case.remove().await;
        }
        .boxed()
    };
    try_all(rows, attempt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_the_same_in_protobuf_as_in_json() {
    let attempt = |case: Case| {
        async move {
            case.is_the_same_in_protobuf().await;
            case.remove().await;
        }
        .boxed()
    };
    try_all(kept(), attempt).await;
}

impl Case {
    fn root(&self) -> String {
        match &*self.row.group {
            "" => format!("/api/{}", self.row.version),
            group => format!("/apis/{group}/{}", self.row.version),
        }
    }

    fn collection(&self) -> String {
        let Self { row, .. } = self;
        match row.is_namespaced() {
            true => format!("{}/namespaces/{NAMESPACE}/{}", self.root(), row.plural),
            false => format!("{}/{}", self.root(), row.plural),
        }
    }

    fn name(&self) -> &str {
        self.sample["metadata"]["name"].as_str().unwrap()
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name())
    }

    async fn get(&self) -> Value {
        self.http.ok("GET", &self.path(), "", &Value::Null).await
    }

    async fn create(&self) -> Value {
        self.http.ok("POST", &self.collection(), "application/json", &self.sample).await
    }

    async fn is_created_and_told(&self) -> Value {
        let list = self.http.ok("GET", &self.collection(), "", &Value::Null).await;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let query = format!("watch=1&resourceVersion={version}&labelSelector={LABEL}");
        let mut watch = Watch::open(&self.http, &format!("{}?{query}", self.collection())).await;
        let dry = self.http.ok("POST", &self.dry(), "application/json", &self.sample).await;
        assert_eq!(dry["metadata"]["name"], self.name(), "{}", self.row.plural);
        self.is_gone().await;
        let created = self.create().await;
        for field in ["uid", "resourceVersion", "creationTimestamp"] {
            assert!(created["metadata"][field].is_string(), "{field}: {created}");
        }
        let (word, object) = watch.next().await;
        assert_eq!((word.as_str(), &object), ("ADDED", &created), "{}", self.row.plural);
        self.is_settled(created).await
    }

    /// The object once the server has said what it makes of it.
    async fn is_settled(&self, mut object: Value) -> Value {
        let is_said_of =
            ["flowschemas", "customresourcedefinitions", "apiservices"].contains(&&*self.row.plural);
        let has_conditions = |object: &Value| {
            object["status"]["conditions"].as_array().is_some_and(|conditions| !conditions.is_empty())
        };
        let is_settled = |object: &Value| !is_said_of || has_conditions(object);
        for _ in 0..1000 {
            if is_settled(&object) {
                return object;
            }
            object = self.get().await;
        }
        panic!("{object}");
    }

    fn dry(&self) -> String {
        format!("{}?dryRun=All", self.collection())
    }

    async fn is_read(&self, created: &Value) {
        assert_eq!(&self.get().await, created);
        let everywhere = format!("{}/{}?labelSelector={LABEL}", self.root(), self.row.plural);
        for path in [format!("{}?labelSelector={LABEL}", self.collection()), everywhere] {
            let list = self.http.ok("GET", &path, "", &Value::Null).await;
            assert_eq!(list["kind"], *self.row.list_kind);
            let mut items = list["items"].as_array().unwrap().clone();
            assert_eq!(items.len(), 1, "{path}: {list}");
            // Members of a list say nothing of their type upstream; ours may.
            let mut expected = created.clone();
            for object in [&mut items[0], &mut expected] {
                let _ = (object["apiVersion"].take(), object["kind"].take());
            }
            assert_eq!(items[0], expected, "{path}");
        }
    }

    async fn is_replaced(&self, mut object: Value) {
        let before = object.clone();
        object["metadata"]["labels"]["put"] = "yes".into();
        let dry = format!("{}?dryRun=All", self.path());
        let shown = self.http.ok("PUT", &dry, "application/json", &object).await;
        assert_eq!(shown["metadata"]["labels"]["put"], "yes");
        assert_eq!(self.get().await, before, "a dry run changes nothing");
        let replaced = self.http.ok("PUT", &self.path(), "application/json", &object).await;
        assert_eq!(replaced["metadata"]["labels"]["put"], "yes");
        assert_eq!(replaced["metadata"]["uid"], before["metadata"]["uid"]);
        assert_ne!(replaced["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
        object["metadata"]["labels"]["late"] = "yes".into();
        let (code, status) = self.http.call("PUT", &self.path(), "application/json", &object).await;
        assert_eq!((code, &status["reason"]), (StatusCode::CONFLICT, &json!("Conflict")), "{status}");
        assert_eq!(self.get().await, replaced);
    }

    async fn is_patched(&self) {
        for (format, content_type) in PATCHES {
            let label = format.trim_start_matches("patch:");
            if self.refuses(format) {
                let patch = self.labelled(label);
                let (code, status) = self.http.call("PATCH", &self.path(), content_type, &patch).await;
                assert_eq!(
                    (code, &status["reason"]),
                    (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!("UnsupportedMediaType"))
                );
                continue;
            }
            let patched =
                self.http.ok("PATCH", &self.patch_path(label), content_type, &self.labelled(label)).await;
            assert_eq!(patched["metadata"]["labels"][label], "yes", "{patched}");
        }
        let object = self.get().await;
        let labels: BTreeSet<&str> =
            object["metadata"]["labels"].as_object().unwrap().keys().map(String::as_str).collect();
        let all = [LABEL, "put", "json", "merge", "strategic", "apply"];
        for label in all.into_iter().filter(|label| !self.refuses(&format!("patch:{label}"))) {
            assert!(labels.contains(label), "{label} is not in {object}");
        }
        let managers: Vec<&Value> =
            object["metadata"]["managedFields"].as_array().unwrap().iter().map(|it| &it["manager"]).collect();
        assert!(managers.contains(&&json!("applier")), "{object}");
    }

    /// Whether the kind has no patches of that format.
    fn refuses(&self, format: &str) -> bool {
        format == "patch:strategic" && !self.row.takes_strategic_patches
    }

    fn patch_path(&self, format: &str) -> String {
        let query = if format == "apply" { "?fieldManager=applier" } else { "" };
        format!("{}{query}", self.path())
    }

    /// A patch in a format that adds a label of the same name.
    fn labelled(&self, format: &str) -> Value {
        match format {
            "json" => json!([{"op": "add", "path": "/metadata/labels/json", "value": "yes"}]),
            "apply" => json!({
                "apiVersion": self.row.api_version(), "kind": *self.row.kind,
                "metadata": {"name": self.name(), "labels": {"apply": "yes"}},
            }),
            format => json!({"metadata": {"labels": {format: "yes"}}}),
        }
    }

    async fn is_deleted(&self) {
        let version = self.get().await["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let query = format!("watch=1&resourceVersion={version}&fieldSelector=metadata.name={}", self.name());
        let mut watch = Watch::open(&self.http, &format!("{}?{query}", self.collection())).await;
        let dry = format!("{}?dryRun=All", self.path());
        self.http.ok("DELETE", &dry, "", &Value::Null).await;
        assert_eq!(self.get().await["metadata"]["resourceVersion"], version, "a dry run changes nothing");
        self.remove().await;
        let gone = loop {
            match watch.next().await {
                (word, _) if word == "MODIFIED" => {}
                (word, object) => break (word, object["metadata"]["name"].clone()),
            }
        };
        assert_eq!(gone, ("DELETED".into(), json!(self.name())));
    }

    async fn goes_with_its_collection(&self) {
        self.create().await;
        let others = || async {
            let path = format!("{}?labelSelector=!{LABEL}", self.collection());
            let list = self.http.ok("GET", &path, "", &Value::Null).await;
            list["items"].as_array().unwrap().len()
        };
        let before = others().await;
        let path = format!("{}?labelSelector={LABEL}", self.collection());
        self.http.ok("DELETE", &path, "", &Value::Null).await;
        self.release().await;
        self.is_gone().await;
        assert_eq!(others().await, before, "{}", self.row.plural);
    }

    /// Deletes the object and what holds it.
    async fn remove(&self) {
        self.http.ok("DELETE", &self.path(), "", &Value::Null).await;
        self.release().await;
        self.is_gone().await;
    }

    /// Takes the finalizers off a deleted object, as their controllers do.
    async fn release(&self) {
        let (code, mut object) = self.http.call("GET", &self.path(), "", &Value::Null).await;
        if code == StatusCode::NOT_FOUND {
            return;
        }
        assert!(object["metadata"]["deletionTimestamp"].is_string(), "{object}");
        if self.row.plural == "customresourcedefinitions" {
            // The server does that itself.
            return self.goes_by_itself().await;
        }
        if self.row.subresource("finalize").is_some() {
            object["spec"]["finalizers"] = json!([]);
            self.http.ok("PUT", &format!("{}/finalize", self.path()), "application/json", &object).await;
        } else {
            let free = json!({"metadata": {"finalizers": null}});
            self.http.ok("PATCH", &self.path(), PATCHES[1].1, &free).await;
        }
    }

    async fn goes_by_itself(&self) {
        let began = Instant::now();
        while self.http.call("GET", &self.path(), "", &Value::Null).await.0 != StatusCode::NOT_FOUND {
            assert!(began.elapsed() < Duration::from_secs(60), "{} stays", self.path());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn is_gone(&self) {
        let (code, status) = self.http.call("GET", &self.path(), "", &Value::Null).await;
        assert_eq!((code, &status["reason"]), (StatusCode::NOT_FOUND, &json!("NotFound")), "{status}");
        let details = &status["details"];
        assert_eq!((&details["name"], &details["kind"]), (&json!(self.name()), &json!(*self.row.plural)));
    }
}
