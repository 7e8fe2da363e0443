//! The graph of a build.
//!
//! Every instruction that may change files becomes a [`Node`]; instructions that only say something about the
//! image are notes on the node behind them. A node's inputs stand before it, so the list is in topological order.
//! All variables are expanded when a node is made: what a step does never depends on when it runs.
//!
//! ```text
//!   FROM a         Base ──> Run ──> Copy ─────────────> Join ──> …      one chain a stage
//!                                    ^                    ^
//!   FROM b AS x    Base ──> Run ─────┘      Link (no parent, --link) ┘
//! ```
//!
//! A node has two keys. Its **definition key** is the digest of what it does and of the definition keys of its
//! inputs: it is known before anything runs, and with it a build that changed nothing touches no snapshot. Its
//! **content key** is the digest of what it does and of what its inputs turned out to be (the chain id of the
//! layers below, the digest of the files copied): a step whose inputs were made anew with the same result is
//! not run again. Times of files are in neither, so touching a file invalidates nothing.
//!
//! A build for several platforms is one graph: what has the same definition for two of them is one node.

use crate::dockerfile::{FileMode, Owner, Sharing};
use crate::files::Source;
use crate::request::RunNetwork;
use crate::solve::KEYS;
use crate::step;
use hako_image::Layer;
use hako_names::{Digest, Hasher};
use std::collections::HashMap;
use std::sync::Arc;

/// A node's place in [`Graph::nodes`].
pub(crate) type NodeId = usize;

/// All nodes of a build.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub nodes: Vec<Node>,
    /// Their definition keys.
    pub keys: Vec<Digest>,
    epoch_unix_s: Option<i64>,
    /// The nodes of platforms that are done with.
    earlier: HashMap<Digest, NodeId>,
}

/// One step of the build.
#[derive(Debug)]
pub(crate) struct Node {
    pub op: Op,
    /// The node whose files this one changes; `None` starts from nothing.
    pub parent: Option<NodeId>,
    /// The instruction it comes from.
    pub place: Place,
    /// Instructions before it that changed no file.
    pub before: Vec<Place>,
    /// Whether its result is looked for before it runs.
    pub use_cache: bool,
}

/// An instruction, for people.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// Counted from 1 over the needed stages.
    pub step: usize,
    /// The stage's name or number.
    pub stage: String,
    /// The line it starts at; 0 for what is in no file.
    pub line: usize,
    /// It as written.
    pub text: String,
}

/// What a node does.
#[derive(Debug)]
pub(crate) enum Op {
    /// Layers that exist.
    Base(Vec<Layer>),
    /// A program.
    Run(Box<RunOp>),
    /// Files from elsewhere.
    Copy(Box<CopyOp>),
    /// The same as a layer for itself, on nothing.
    Link(Box<CopyOp>),
    /// Puts the layer of that [`Op::Link`] on the parent.
    Join(NodeId),
    /// Makes a directory.
    Workdir { path: String, user: String },
}

/// Where files come from.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A directory of this machine: the context, a named one, a git checkout.
    Files(Arc<Source>),
    /// The files of a node.
    Node(NodeId),
    /// Nothing.
    Scratch,
    /// One file that is here already.
    File(Arc<OneFile>),
}

/// A file that did not come out of a directory: a download, or a text of the Dockerfile.
#[derive(Debug)]
pub(crate) struct OneFile {
    pub name: String,
    pub digest: Digest,
    pub mode: u32,
    pub mtime_unix_s: i64,
    pub data: FileData,
}

/// Where a file's bytes are.
#[derive(Debug)]
pub(crate) enum FileData {
    Bytes(Vec<u8>),
    Disk(crate::scratch::Scratch),
}

/// COPY and ADD.
#[derive(Debug)]
pub(crate) struct CopyOp {
    pub items: Vec<CopyItem>,
    /// Absolute, with the slash at its end that it was written with.
    pub destination: String,
    pub chown: Option<String>,
    pub chmod: Option<(String, FileMode)>,
    pub keeps_parents: bool,
    pub excludes: Vec<String>,
    /// What messages call the place files come from.
    pub from: String,
}

/// One source.
#[derive(Debug)]
pub(crate) struct CopyItem {
    pub input: Input,
    /// A path or pattern in it.
    pub pattern: String,
    /// Whether archives are unpacked.
    pub unpack: bool,
    /// Digest of the files it names, where that is known before anything runs.
    pub digest: Option<Digest>,
}

/// What a step finds its machine called.
pub(crate) const HOSTNAME: &str = "build";

/// RUN.
#[derive(Debug)]
pub(crate) struct RunOp {
    pub words: Vec<String>,
    pub env: Vec<String>,
    /// Variables that the program gets and that do not count for the key.
    pub quiet_env: Vec<String>,
    pub workdir: String,
    pub user: String,
    pub mounts: Vec<RunMount>,
    pub network: RunNetwork,
    pub hostname: String,
    pub extra_hosts: Vec<(String, std::net::IpAddr)>,
    /// They do not count for the key.
    pub limits: crate::RunLimits,
    pub is_insecure: bool,
    /// Full names of CDI devices.
    pub devices: Vec<String>,
    /// Name and text of a script that is the program.
    pub script: Option<(String, String)>,
}

/// `--mount`.
#[derive(Debug)]
pub(crate) struct RunMount {
    /// Absolute; empty where a secret is only a variable.
    pub target: String,
    pub kind: MountKind,
}

/// What a mount shows.
#[derive(Debug)]
pub(crate) enum MountKind {
    Bind {
        input: Input,
        /// What messages call the source; empty for the context.
        from: String,
        source: String,
        is_read_only: bool,
        digest: Option<Digest>,
    },
    Cache {
        id: String,
        sharing: Sharing,
        input: Option<Input>,
        source: String,
        is_read_only: bool,
        owner: Owner,
    },
    Tmpfs {
        size_bytes: Option<u64>,
        is_read_only: bool,
    },
    Secret {
        id: String,
        env: Option<String>,
        is_required: bool,
        owner: Owner,
    },
    Ssh {
        id: String,
        is_required: bool,
        owner: Owner,
    },
}

impl Graph {
    /// A graph whose results have no later time than that.
    pub(crate) fn new(epoch_unix_s: Option<i64>) -> Self {
        Self { epoch_unix_s, ..Self::default() }
    }

    /// What comes now is for another platform.
    pub(crate) fn next_platform(&mut self) {
        self.earlier = self.keys.iter().enumerate().map(|(id, key)| (*key, id)).collect();
    }

    /// Adds a node, unless an earlier platform has it.
    pub(crate) fn push(&mut self, node: Node) -> NodeId {
        let key = self.definition(&node);
        if let Some(known) = self.earlier.get(&key)
            && self.nodes[*known].use_cache == node.use_cache
        {
            return *known;
        }
        self.nodes.push(node);
        self.keys.push(key);
        self.nodes.len() - 1
    }

    fn definition(&self, node: &Node) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(format!("{KEYS} definition {:?}\n", self.epoch_unix_s).as_bytes());
        node.op.describe(&mut hasher);
        for input in node.parent.iter().chain(&node.op.inputs()) {
            hasher.update(self.keys[*input].hex().as_bytes());
        }
        step::known_digests(&node.op).for_each(|digest| hasher.update(digest.hex().as_bytes()));
        hasher.finish()
    }

    /// The nodes that a node takes files from, besides its parent.
    pub(crate) fn inputs(&self, id: NodeId) -> Vec<NodeId> {
        self.nodes[id].op.inputs()
    }
}

impl Op {
    fn inputs(&self) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut add = |input: &Input| {
            if let Input::Node(node) = input {
                found.push(*node);
            }
        };
        match self {
            Op::Copy(copy) | Op::Link(copy) => copy.items.iter().for_each(|item| add(&item.input)),
            Op::Run(run) => {
                for mount in &run.mounts {
                    match &mount.kind {
                        MountKind::Bind { input, .. } | MountKind::Cache { input: Some(input), .. } => {
                            add(input)
                        }
                        _ => {}
                    }
                }
            }
            Op::Join(link) => found.push(*link),
            Op::Base(_) | Op::Workdir { .. } => {}
        }
        found
    }

    /// What the node does, without what it does it to: the part that both keys have in common.
    pub(crate) fn describe(&self, hasher: &mut Hasher) {
        let mut field = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        match self {
            Self::Base(layers) => {
                field("base");
                layers.iter().for_each(|layer| field(&layer.diff_id.to_string()));
            }
            Self::Workdir { path, user } => {
                [&"workdir".to_owned(), path, user].into_iter().for_each(|s| field(s))
            }
            Self::Join(_) => field("join"),
            Self::Copy(copy) | Self::Link(copy) => {
                field(if matches!(self, Self::Link(_)) { "link" } else { "copy" });
                copy.describe(&mut field);
            }
            Self::Run(run) => run.describe(&mut field),
        }
    }
}

impl CopyOp {
    fn describe(&self, field: &mut dyn FnMut(&str)) {
        field(&self.destination);
        field(&format!("{:?}", self.chown));
        field(self.chmod.as_ref().map_or("", |(text, _)| text));
        field(&format!("{} {:?}", self.keeps_parents, self.excludes));
        for item in &self.items {
            field(&item.pattern);
            field(if item.unpack { "unpack" } else { "" });
        }
    }
}

impl RunOp {
    fn describe(&self, field: &mut dyn FnMut(&str)) {
        field("run");
        field(&format!("{:?} {:?} {} {}", self.words, self.env, self.workdir, self.user));
        field(&format!("{:?} {} {:?}", self.network, self.is_insecure, self.script));
        self.devices.iter().for_each(|device| field(&format!("device {device}")));
        if !self.extra_hosts.is_empty() {
            field(&format!("hosts {:?}", self.extra_hosts));
        }
        if self.hostname != HOSTNAME {
            field(&format!("hostname {}", self.hostname));
        }
        for mount in &self.mounts {
            field(&mount.target);
            match &mount.kind {
                MountKind::Bind { source, is_read_only, .. } => {
                    field(&format!("bind {source} {is_read_only}"))
                }
                // What a cache holds may not change the result; which one it is may, and how it begins.
                MountKind::Cache { id, source, is_read_only, owner, .. } => {
                    field(&format!("cache {id} {source} {is_read_only} {owner:?}"));
                }
                MountKind::Tmpfs { size_bytes, is_read_only } => {
                    field(&format!("tmpfs {size_bytes:?} {is_read_only}"));
                }
                // Never the value.
                MountKind::Secret { id, env, is_required, owner } => {
                    field(&format!("secret {id} {env:?} {is_required} {owner:?}"));
                }
                MountKind::Ssh { id, is_required, owner } => {
                    field(&format!("ssh {id} {is_required} {owner:?}"));
                }
            }
        }
    }
}
