//! A writer that knows what has to be in the store: what was acknowledged, and nothing else.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, PostParams};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A small generator, seeded and printed, so that a failing run can be repeated.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What is sent for one object; its value afterwards, `None` when it shall be gone.
struct Change {
    name: String,
    value: Option<String>,
}

/// How many changes of each kind were acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acknowledged {
    pub created: usize,
    pub updated: usize,
    pub deleted: usize,
}

impl Acknowledged {
    pub fn add(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

/// Creates, updates and deletes objects that nobody else touches, one change at a time.
pub struct Writer {
    configs: Api<ConfigMap>,
    prefix: String,
    random: Random,
    serial: u64,
    /// Each object's value, as it has to be found.
    pub known: BTreeMap<String, String>,
    pub acknowledged: Acknowledged,
}

impl Writer {
    pub async fn new(kubeconfig: &Path, prefix: String, random: Random) -> Self {
        let configs = Api::default_namespaced(client(kubeconfig).await);
        let (known, acknowledged) = (BTreeMap::new(), Acknowledged::default());
        Self { configs, prefix, random, serial: 0, known, acknowledged }
    }

    pub async fn run(mut self, stop: &AtomicBool) -> Self {
        while !stop.load(Ordering::Relaxed) {
            let change = self.choose();
            match self.send(&change).await {
                Ok(()) => self.acknowledge(change),
                Err(error) => self.settle(change, &error).await,
            }
        }
        self
    }

    fn choose(&mut self) -> Change {
        self.serial += 1;
        let at = self.random.below(self.known.len().max(1) as u64);
        let present = self.known.keys().nth(usize::try_from(at).unwrap()).cloned();
        match (self.random.below(4), present) {
            (0, Some(name)) => Change { name, value: None },
            (1 | 2, Some(name)) => Change { name, value: Some(self.value()) },
            _ => Change { name: format!("{}-{}", self.prefix, self.serial), value: Some(self.value()) },
        }
    }

    fn value(&self) -> String {
        format!("{} writes {}", self.prefix, self.serial)
    }

    async fn send(&self, change: &Change) -> kube::Result<()> {
        let Some(value) = &change.value else {
            return self.configs.delete(&change.name, &DeleteParams::default()).await.map(drop);
        };
        let mut config = ConfigMap::default();
        config.metadata.name = Some(change.name.clone());
        config.data = Some(BTreeMap::from([("value".to_owned(), value.clone())]));
        match self.known.contains_key(&change.name) {
            true => self.configs.replace(&change.name, &PostParams::default(), &config).await.map(drop),
            false => self.configs.create(&PostParams::default(), &config).await.map(drop),
        }
    }

    fn acknowledge(&mut self, change: Change) {
        let is_known = self.known.contains_key(&change.name);
        match (&change.value, is_known) {
            (None, _) => self.acknowledged.deleted += 1,
            (Some(_), true) => self.acknowledged.updated += 1,
            (Some(_), false) => self.acknowledged.created += 1,
        }
        self.remember(change.name, change.value);
    }

    fn remember(&mut self, name: String, value: Option<String>) {
        match value {
            Some(value) => self.known.insert(name, value),
            None => self.known.remove(&name),
        };
    }

    /// The server went away before it answered: the change is made or it is not, and the object is nothing third.
    async fn settle(&mut self, change: Change, error: &kube::Error) {
        let found = self.read(&change.name).await;
        let before = self.known.get(&change.name);
        assert!(
            found.as_ref() == before || found == change.value,
            "{}: {found:?} is stored; {before:?} was acknowledged, {:?} was cut off by {error}",
            change.name,
            change.value
        );
        self.remember(change.name, found);
    }

    /// The stored value, asked for until there is an answer.
    async fn read(&self, name: &str) -> Option<String> {
        loop {
            match self.configs.get_opt(name).await {
                Ok(found) => return found.map(|config| value_of(&config)),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

/// Every writer's objects that are stored, with their values.
pub async fn stored(kubeconfig: &Path) -> BTreeMap<String, String> {
    let configs: Api<ConfigMap> = Api::default_namespaced(client(kubeconfig).await);
    let all = configs.list(&Default::default()).await.unwrap();
    let named = all.iter().map(|config| (config.metadata.name.clone().unwrap(), value_of(config)));
    named.filter(|(name, _)| name.starts_with("writer-")).collect()
}

fn value_of(config: &ConfigMap) -> String {
    config.data.as_ref().and_then(|data| data.get("value")).cloned().unwrap_or_default()
}

async fn client(kubeconfig: &Path) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}
