//! What all pods of a node share.

use crate::NodeConfig;
use crate::env::{Referenced, References};
use crate::pod::{PodEvent, Room};
use crate::tokens::Tokens;
use hako_client::{EventType, Informer, Object, Recorder, reference_to};
use hako_names::Quantity;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What all pods of a node share.
pub(crate) struct Context {
    /// What the node was started with.
    pub(crate) config: NodeConfig,
    /// What time it is.
    pub(crate) clock: Clock,
    /// What the node can give in all.
    pub(crate) allocatable: BTreeMap<String, Quantity>,
    /// What its pods hold of that.
    pub(crate) room: Room,
    /// Tokens of pods.
    pub(crate) tokens: Tokens,
    recorder: Recorder,
    config_maps: Informer<ConfigMap>,
    secrets: Informer<Secret>,
    services: Informer<Service>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What time it is: the machine's clock, or in tests one that follows the runtime's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// The machine's.
    System,
    /// `base` was at this instant of the runtime.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests pause the clock"))]
    Anchored { base: Timestamp, instant: Instant },
}

impl Clock {
    /// Now.
    pub(crate) fn now(self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Anchored { base, instant } => base.saturating_add(instant.elapsed()).unwrap_or(base),
        }
    }

    /// How long it is until `at`.
    pub(crate) fn until(self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now())).unwrap_or(Duration::ZERO)
    }

    /// The runtime's instant for `at`.
    pub(crate) fn instant(self, at: Timestamp) -> Instant {
        Instant::now() + self.until(at)
    }
}

impl Context {
    /// The context of the node that `config` describes.
    pub(crate) fn new(config: NodeConfig, clock: Clock, allocatable: BTreeMap<String, Quantity>) -> Self {
        let recorder = Recorder::new(config.client.clone(), "kubelet", Some(&config.node_name));
        Self {
            recorder,
            tokens: Tokens::new(config.client.clone()),
            config_maps: config.informers.get(),
            secrets: config.informers.get(),
            services: config.informers.get(),
            clock,
            room: Room::new(allocatable.clone()),
            allocatable,
            config,
        }
    }

    /// Tells the API's users.
    pub(crate) fn emit(&self, pod: &Pod, event: &PodEvent) {
        let mut reference = reference_to(pod);
        reference.field_path.clone_from(&event.field);
        let kind = if event.is_warning { EventType::Warning } else { EventType::Normal };
        self.recorder.event(&reference, kind, event.reason, &event.message);
    }

    /// Tells about the node itself.
    pub(crate) fn emit_node<K: Object>(&self, node: &K, reason: &str, message: &str) {
        self.recorder.normal(node, reason, message);
    }

    /// Reads what `names` says, straight from the API so that what was written before the pod is seen; from the
    /// cache where the API does not answer. What does not exist is left out.
    pub(crate) async fn referenced(&self, pod: &Pod, names: &References) -> Referenced {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let maps = self.read_all(namespace, &names.config_maps, &self.config_maps);
        let secrets = self.read_all(namespace, &names.secrets, &self.secrets);
        let now = self.clock.now();
        let tokens = names.tokens.iter().map(async |wish| {
            let token = self.tokens.get(pod, wish, now).await;
            (wish.clone(), token.map_err(|error| error.chain()))
        });
        let tokens = futures::future::join_all(tokens);
        let (config_maps, secrets, tokens) = futures::join!(maps, secrets, tokens);
        Referenced { config_maps, secrets, tokens: tokens.into_iter().collect() }
    }

    async fn read_all<K: Object<Scope = NamespaceResourceScope>>(
        &self,
        namespace: &str,
        names: &BTreeSet<String>,
        cache: &Informer<K>,
    ) -> HashMap<String, Arc<K>> {
        let api = self.config.client.namespaced::<K>(namespace);
        let reads = names.iter().map(async |name| {
            let found = match api.get_opt(name).await {
                Ok(found) => found.map(Arc::new),
                Err(_) => cache.get(namespace, name),
            };
            found.map(|object| (name.clone(), object))
        });
        futures::future::join_all(reads).await.into_iter().flatten().collect()
    }

    /// The services a pod of `namespace` may be told about.
    pub(crate) async fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        self.services.synced().await;
        let mut services = self.services.list_in(namespace);
        if namespace != "default" {
            services.extend(self.services.get("default", "kubernetes"));
        }
        services
    }

    /// The node's memory in bytes.
    pub(crate) fn memory_capacity(&self) -> i64 {
        self.allocatable.get("memory").map_or(i64::MAX, Quantity::units)
    }
}
