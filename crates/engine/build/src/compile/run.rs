//! RUN: its words, its environment, its mounts.

use super::arguments::in_both_spellings;
use super::stage::{Stage, invalid};
use crate::binfmt;
use crate::devices;
use crate::dockerfile::{Mount, Network, Program, Run, Security};
use crate::graph::{HOSTNAME, Input, MountKind, Op, Place, RunMount, RunOp};
use crate::platform::Platform;
use crate::request::{Entitlement, RunNetwork};
use hako_error::{Error, Kind, Result};

/// The build argument that says what a step finds its machine called.
const HOSTNAME_ARGUMENT: &str = "BUILDKIT_SANDBOX_HOSTNAME";
/// The kernel takes no longer one.
const LONGEST_HOSTNAME: usize = 64;
/// The build argument that stands before the ids of cache mounts.
const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

impl Stage<'_, '_> {
    pub(super) fn run(&mut self, place: Place, run: &Run) -> Result<()> {
        self.check_run(run)?;
        let devices = self.devices(run)?;
        let words = run.program.words(&self.state.shell);
        let mut mounts = Vec::new();
        for flag in &run.mounts {
            let mount = flag.resolve(&mut |word| self.expand(word).map_err(|error| error.to_string()));
            mounts.push(self.mount(mount.map_err(invalid)?, mounts.len(), &place)?);
        }
        let request = self.compiler.request;
        let network = match run.network {
            Network::Default => request.network,
            Network::None => RunNetwork::None,
            Network::Host => RunNetwork::Host,
        };
        let env = self.state.run_env();
        let quiet_env = in_both_spellings(&self.state.proxies, &env);
        let script = match &run.program {
            Program::Script { name, content } => Some((name.clone(), content.clone())),
            _ => None,
        };
        let text = format!("RUN {}", words.join(" "));
        let op = RunOp {
            words,
            env,
            quiet_env,
            workdir: self.state.workdir.clone(),
            user: self.state.user.clone(),
            mounts,
            network,
            hostname: self.hostname()?,
            extra_hosts: request.extra_hosts.clone(),
            limits: request.limits.clone(),
            is_insecure: run.security == Security::Insecure,
            devices,
            script,
        };
        self.node(Op::Run(Box::new(op)), place, &text);
        Ok(())
    }

    fn hostname(&self) -> Result<String> {
        let given = self.compiler.request.args.get(HOSTNAME_ARGUMENT).filter(|name| !name.is_empty());
        let name = given.map_or(HOSTNAME, String::as_str);
        if name.len() > LONGEST_HOSTNAME {
            return Err(invalid(format!("{HOSTNAME_ARGUMENT} is longer than {LONGEST_HOSTNAME} bytes")));
        }
        Ok(name.to_owned())
    }

    fn check_run(&self, run: &Run) -> Result<()> {
        let request = self.compiler.request;
        self.check_platform()?;
        let asks = [
            (
                run.security == Security::Insecure,
                Entitlement::SecurityInsecure,
                "--security=insecure",
                "security.insecure",
            ),
            (run.network == Network::Host, Entitlement::NetworkHost, "--network=host", "network.host"),
        ];
        for (wanted, entitlement, flag, name) in asks {
            let is_own = entitlement == Entitlement::NetworkHost && request.network == RunNetwork::Host;
            if wanted && !is_own && !request.allow.contains(&entitlement) {
                let message = format!("RUN {flag} has to be allowed: build with --allow {name}");
                return Err(Error::new(Kind::Forbidden, message));
            }
        }
        Ok(())
    }

    /// The full names of the devices that a step gets.
    fn devices(&self, run: &Run) -> Result<Vec<String>> {
        if run.devices.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.compiler.cdi.read();
        let mut names: Vec<String> = Vec::new();
        for wanted in &run.devices {
            for name in devices::select(&known, wanted)? {
                devices::check_allowed(&known, name, &self.compiler.request.allow)?;
                if !names.iter().any(|one| one == name) {
                    names.push(name.to_owned());
                }
            }
        }
        Ok(names)
    }

    /// Programs of another architecture need an emulator.
    fn check_platform(&self) -> Result<()> {
        if self.platform.runs_here() {
            return Ok(());
        }
        let emulator = binfmt::emulator(&self.compiler.contexts.ground.binfmt, &self.platform.architecture);
        let Some(lack) = emulator.lack() else { return Ok(()) };
        let message = format!(
            "programs of {} do not run on this machine, which is {}, and {lack}; build them in a stage FROM \
             --platform=$BUILDPLATFORM, or give the kernel an emulator: binfmt_misc, with the flag F, as the package \
             qemu-user-static does",
            self.platform,
            Platform::own(),
        );
        Err(Error::new(Kind::FailedPrecondition, message))
    }

    fn mount(&mut self, mount: Mount, index: usize, place: &Place) -> Result<RunMount> {
        let absolute = |target: &str| self.state.absolute(target);
        Ok(match mount {
            Mount::Bind { target, from, source, is_read_only } => {
                let target = absolute(&target);
                let input = self.input(from.as_deref(), place)?;
                let digest = self.digest(&input, &source)?;
                let from = from.unwrap_or_default();
                RunMount { target, kind: MountKind::Bind { input, from, source, is_read_only, digest } }
            }
            Mount::Cache { target, id, sharing, from, source, is_read_only, owner } => {
                let target = absolute(&target);
                let space = self.compiler.request.args.get(CACHE_NAMESPACE).filter(|name| !name.is_empty());
                let id = space.map_or_else(|| id.clone(), |space| format!("{space}/{id}"));
                let input = from.map(|from| self.input(Some(&from), place)).transpose()?;
                RunMount {
                    target,
                    kind: MountKind::Cache { id, sharing, input, source, is_read_only, owner },
                }
            }
            Mount::Tmpfs { target, size_bytes, is_read_only } => {
                RunMount { target: absolute(&target), kind: MountKind::Tmpfs { size_bytes, is_read_only } }
            }
            Mount::Secret { id, target, env, is_required, owner } => {
                let target = target.as_deref().map(absolute).unwrap_or_default();
                RunMount { target, kind: MountKind::Secret { id, env, is_required, owner } }
            }
            Mount::Ssh { id, target, is_required, owner } => {
                let target = target.unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{index}"));
                RunMount { target: absolute(&target), kind: MountKind::Ssh { id, is_required, owner } }
            }
        })
    }

    fn digest(&self, input: &Input, source: &str) -> Result<Option<hako_names::Digest>> {
        match input {
            Input::Files(files) => Ok(Some(files.digest_of(source, &[], false)?)),
            _ => Ok(None),
        }
    }
}
