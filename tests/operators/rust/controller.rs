//! Makes of a site a ConfigMap and a Deployment, says how it stands, and strikes it off the register when it goes.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use crate::site::v2::Site;
use crate::{MANAGER, REGISTER};

const FINALIZER: &str = "fleet.example.com/register";

struct Context {
    client: Client,
    identity: String,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the API said no")]
    Api(#[from] kube::Error),
    #[error("the finalizer of a site")]
    Finalizer(#[from] Box<kube::runtime::finalizer::Error<Self>>),
    #[error("site {0:?} has no namespace or identity")]
    NotStored(String),
}

/// Runs until it is dropped.
pub async fn run(client: Client, identity: String) {
    let sites: Api<Site> = Api::all(client.clone());
    let context = Arc::new(Context { client: client.clone(), identity });
    Controller::new(sites, watcher::Config::default())
        .owns(Api::<ConfigMap>::all(client.clone()), watcher::Config::default())
        .owns(Api::<Deployment>::all(client), watcher::Config::default())
        .run(reconcile, again, context)
        .for_each(async |done| {
            if let Err(error) = done {
                eprintln!("{:#}", anyhow::Error::new(error));
            }
        })
        .await;
}

fn again(_: Arc<Site>, _: &Error, _: Arc<Context>) -> Action {
    Action::requeue(Duration::from_millis(500))
}

async fn reconcile(site: Arc<Site>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = site.namespace().ok_or_else(|| Error::NotStored(site.name_any()))?;
    let sites: Api<Site> = Api::namespaced(context.client.clone(), &namespace);
    let done = finalizer(&sites, FINALIZER, site, async |event| match event {
        Event::Apply(site) => apply(&site, &namespace, &context).await,
        Event::Cleanup(site) => register(&context, &namespace, &site.name_any(), Value::Null).await,
    });
    Ok(done.await.map_err(Box::new)?)
}

/// What is registered outlives the site: no owner but the finalizer takes it away.
async fn register(context: &Context, namespace: &str, name: &str, value: Value) -> Result<Action, Error> {
    let maps: Api<ConfigMap> = Api::default_namespaced(context.client.clone());
    let change = json!({"data": {format!("{namespace}.{name}"): value}});
    maps.patch(REGISTER, &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(Action::await_change())
}

async fn apply(site: &Site, namespace: &str, context: &Context) -> Result<Action, Error> {
    let name = site.name_any();
    register(context, namespace, &name, site.metadata.uid.clone().into()).await?;
    let owner = site.controller_owner_ref(&()).ok_or_else(|| Error::NotStored(name.clone()))?;
    let parameters = PatchParams::apply(MANAGER).force();
    let metadata = json!({"name": name, "ownerReferences": [owner], "labels": {"site": name}});
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": site.spec.pages});
    maps.patch(&name, &parameters, &Patch::Apply(map)).await?;
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), namespace);
    let wanted = deployment(&name, &metadata, site.spec.replicas);
    let deployment = deployments.patch(&name, &parameters, &Patch::Apply(wanted)).await?;
    let ready = deployment.status.and_then(|status| status.ready_replicas).unwrap_or(0);
    let status = json!({
        "apiVersion": Site::api_version(&()), "kind": Site::kind(&()), "metadata": {"name": name},
        "status": {
            "observedGeneration": site.metadata.generation, "readyReplicas": ready, "reconciledBy": context.identity,
        },
    });
    let sites: Api<Site> = Api::namespaced(context.client.clone(), namespace);
    sites.patch_status(&name, &parameters, &Patch::Apply(status)).await?;
    Ok(Action::await_change())
}

fn deployment(name: &str, metadata: &Value, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"site": name}},
            "template": {
                "metadata": {"labels": {"site": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "volumes": [{"name": "pages", "configMap": {"name": name}}],
                    "containers": [{
                        "name": "httpd", "image": "busybox", "imagePullPolicy": "IfNotPresent",
                        "command": ["httpd", "-f", "-p", "8080", "-h", "/pages"],
                        "volumeMounts": [{"name": "pages", "mountPath": "/pages"}],
                        "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
                    }],
                },
            },
        },
    })
}
