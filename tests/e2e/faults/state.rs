//! Whether what the API tells is what kernel and disk have: no more, no less.

use super::api::Api;
use crate::platform::run;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that does not agree.
pub fn discord(api: &Api, data: &Path, instance: &str) -> Vec<String> {
    let told = Told::ask(api);
    let known = Known::read(data);
    let mut found = Vec::new();
    let mut same = |what: &str, told: &BTreeSet<String>, real: BTreeSet<String>| {
        let lost = told.difference(&real).map(|one| format!("{what} that is told of is not there: {one}"));
        found.extend(lost);
        found.extend(real.difference(told).map(|one| format!("{what} that nobody tells of: {one}")));
    };
    let all: BTreeSet<String> = told.containers.keys().cloned().collect();
    same("directory of a container", &all, names(&data.join("engine/containers")));
    same("sandbox", &known.sandboxes(&all), names(&data.join("engine/sandboxes")));
    same("snapshot", &all, known.snapshots.clone());
    same("volume", &told.volumes, names(&data.join("engine/volumes")));
    same("network", &told.networks, stems(&data.join("network/nets")));
    let up = known.sandboxes(&told.running());
    same("member of networks", &up, stems(&data.join("network/members")));
    same("shim", &up.iter().map(|id| id[..12].to_owned()).collect(), sockets(instance));
    same("control group", &up, groups(instance));
    let bridges =
        told.networks.iter().filter(|id| !told.is_default(id)).map(|id| format!("br-{}", &id[..12]));
    same("bridge", &bridges.clone().collect(), links("bridge", "br-"));
    let mut ruled = ruleset(instance);
    same("bridge in rules", &bridges.collect(), ruled.split_off("br-"));
    same("published address", &told.published(), ruled);
    found.extend(count("veth", told.endpoints(), links("veth", "").len()));
    found.extend(count("shim process", up.len(), shims(instance)));
    for dir in ["engine/trash", "snapshots/new", "snapshots/trash"] {
        found.extend(names(&data.join(dir)).into_iter().map(|name| format!("left in {dir}: {name}")));
    }
    found.extend(told.forgotten_volumes());
    found.extend(mounts(data));
    found.extend(told.containers.iter().filter_map(|(id, told)| frozen(instance, id, told)));
    found
}

fn count(what: &str, told: usize, real: usize) -> Option<String> {
    (told != real).then(|| format!("{real} of {what}, expected {told}"))
}

/// What the API tells.
struct Told {
    containers: BTreeMap<String, Value>,
    volumes: BTreeSet<String>,
    networks: BTreeSet<String>,
    default: String,
}

impl Told {
    fn ask(api: &Api) -> Self {
        let list = api.get("/containers/json?all=1");
        let ids = list.as_array().unwrap().iter().map(|one| text(&one["Id"]));
        // One that goes at this moment is gone.
        let inspected = ids.filter_map(|id| {
            let answer = api.call("GET", &format!("/containers/{id}/json"), &Value::Null).unwrap();
            (answer.status == 200).then(|| (id, answer.json()))
        });
        let volumes = api.get("/volumes");
        let volumes = volumes["Volumes"].as_array().into_iter().flatten().map(|one| text(&one["Name"]));
        let networks = api.get("/networks");
        let networks: Vec<&Value> =
            networks.as_array().unwrap().iter().filter(|one| one["Driver"] == "bridge").collect();
        let default = networks.iter().find(|one| one["Name"] == "bridge").map(|one| text(&one["Id"]));
        Self {
            containers: inspected.collect(),
            volumes: volumes.collect(),
            networks: networks.iter().map(|one| text(&one["Id"])).collect(),
            default: default.unwrap_or_default(),
        }
    }

    fn is_default(&self, network: &str) -> bool {
        network == self.default
    }

    fn up(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.containers.iter().filter(|(_, one)| one["State"]["Running"] == true)
    }

    fn running(&self) -> BTreeSet<String> {
        self.up().map(|(id, _)| id.clone()).collect()
    }

    fn endpoints(&self) -> usize {
        let networks =
            self.up().map(|(_, one)| one["NetworkSettings"]["Networks"].as_object().unwrap().len());
        networks.sum()
    }

    /// The addresses that published ports lead to.
    fn published(&self) -> BTreeSet<String> {
        let published = self.up().filter(|(_, one)| {
            let ports = one["NetworkSettings"]["Ports"].as_object().unwrap();
            ports.values().any(|bindings| bindings.as_array().is_some_and(|some| !some.is_empty()))
        });
        published.filter_map(|(_, one)| first_address(one)).collect()
    }

    /// Volumes without a name that no container has.
    fn forgotten_volumes(&self) -> Vec<String> {
        let mounts = self.containers.values().flat_map(|one| one["Mounts"].as_array().unwrap());
        let used: BTreeSet<String> = mounts.map(|mount| text(&mount["Name"])).collect();
        let anonymous = self.volumes.iter().filter(|name| name.len() == 64 && !used.contains(*name));
        anonymous.map(|name| format!("volume of no container: {name}")).collect()
    }
}

/// The first network that leads out is where published ports lead.
fn first_address(container: &Value) -> Option<String> {
    let networks = container["NetworkSettings"]["Networks"].as_object()?;
    networks.values().map(|one| text(&one["IPAddress"])).find(|ip| !ip.is_empty())
}

/// What records on disk say.
struct Known {
    /// Sandboxes by their containers.
    sandboxes: BTreeMap<String, String>,
    /// Containers with a snapshot.
    snapshots: BTreeSet<String>,
}

impl Known {
    fn read(data: &Path) -> Self {
        let dir = data.join("engine/containers");
        let sandbox = |id: String| {
            let record = std::fs::read(dir.join(&id).join("container.json")).ok()?;
            let record: Value = serde_json::from_slice(&record).ok()?;
            Some((id, text(&record["sandbox"])))
        };
        let live = data.join("snapshots/live");
        let snapshot = |name: String| {
            let record = std::fs::read(live.join(&name).join("record.json")).ok()?;
            let record: Value = serde_json::from_slice(&record).ok()?;
            let id = text(&record["name"]).strip_prefix("container-")?.split('.').next()?.to_owned();
            Some(id)
        };
        Self {
            sandboxes: names(&dir).into_iter().filter_map(sandbox).collect(),
            snapshots: names(&live).into_iter().filter_map(snapshot).collect(),
        }
    }

    fn sandboxes(&self, containers: &BTreeSet<String>) -> BTreeSet<String> {
        containers.iter().map(|id| self.sandboxes.get(id).cloned().unwrap_or_default()).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn stems(dir: &Path) -> BTreeSet<String> {
    names(dir).into_iter().map(|name| name.trim_end_matches(".json").to_owned()).collect()
}

fn sockets(instance: &str) -> BTreeSet<String> {
    let names = names(&Path::new("/run/hako").join(instance).join("s"));
    names.into_iter().map(|name| name.trim_end_matches(".sock").to_owned()).collect()
}

fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    let below = std::fs::read_dir(&root).unwrap().flatten().map(|entry| entry.path());
    std::iter::once(root.clone()).chain(below).filter(|path| path.join("cgroup.procs").exists()).collect()
}

/// Sandboxes that have a control group in some hierarchy.
fn groups(instance: &str) -> BTreeSet<String> {
    let all =
        hierarchies().into_iter().flat_map(|hierarchy| names(&hierarchy.join(format!("hako-{instance}"))));
    all.filter(|name| name.len() == 64).collect()
}

/// The processes that are shims of this instance.
fn shims(instance: &str) -> usize {
    let group = format!("/hako-{instance}/shims");
    let is_shim = |pid: &String| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let groups = read("cgroup");
        groups.lines().any(|line| line.ends_with(&group))
            && read("cmdline").split('\0').nth(1) == Some("shim")
    };
    names(Path::new("/proc")).iter().filter(|pid| is_shim(pid)).count()
}

fn links(kind: &str, prefix: &str) -> BTreeSet<String> {
    let said = run(Command::new("ip").args(["-j", "link", "show", "type", kind]));
    let list: Value = serde_json::from_str(&said).unwrap_or_default();
    let names = list.as_array().into_iter().flatten().map(|link| text(&link["ifname"]));
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// The bridges that rules name, and the addresses that they lead published ports to.
fn ruleset(instance: &str) -> BTreeSet<String> {
    let table = format!("hako-{instance}-nets");
    let listed = Command::new("nft").args(["-j", "list", "table", "inet", &table]).output().unwrap();
    let rules: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    let mut found = BTreeSet::new();
    collect(&rules, &mut found);
    found
}

fn collect(rules: &Value, found: &mut BTreeSet<String>) {
    match rules {
        Value::String(word) if word.starts_with("br-") => drop(found.insert(word.clone())),
        Value::Array(list) => list.iter().for_each(|one| collect(one, found)),
        Value::Object(fields) => {
            if let Some(map) = fields.get("map").filter(|map| map["type"].is_array()) {
                for target in map["elem"].as_array().into_iter().flatten() {
                    found.extend(target[1]["concat"][0].as_str().map(str::to_owned));
                }
            }
            fields.values().for_each(|one| collect(one, found));
        }
        _ => {}
    }
}

fn mounts(data: &Path) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let ours = mounts.lines().filter(|line| line.contains(data.to_str().unwrap()));
    ours.map(|line| format!("mount {line}")).collect()
}

/// Whether a container stands still although the API does not say so, or the other way round.
fn frozen(instance: &str, id: &str, told: &Value) -> Option<String> {
    if told["State"]["Running"] != true {
        return None;
    }
    let is_frozen = hierarchies().into_iter().flat_map(|hierarchy| {
        let own = hierarchy.join(format!("hako-{instance}"));
        names(&own).into_iter().map(move |sandbox| own.join(sandbox).join(id))
    });
    let is_frozen = is_frozen.into_iter().any(|group| {
        let read = |name: &str| std::fs::read_to_string(group.join(name)).unwrap_or_default();
        read("freezer.state").trim() == "FROZEN" || read("cgroup.freeze").trim() == "1"
    });
    let is_told = told["State"]["Paused"] == true;
    (is_frozen != is_told).then(|| format!("container {id} is frozen: {is_frozen}, and told so: {is_told}"))
}

/// Every file and directory, but logs, and what only says when something was used.
pub fn files(data: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open =
        ["engine", "network", "snapshots", "content", "images"].map(|name| data.join(name)).to_vec();
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.parent().is_some_and(|parent| parent.ends_with("snapshots/committed")) {
                // A layer, whose files are the image's.
                found.insert(path);
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}
