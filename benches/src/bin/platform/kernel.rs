//! What the kernel alone takes of a start, among few and among many: namespaces, a port on a bridge, file systems and a new
//! root, without groups, an overlay, a daemon or a program. It is what an engine can come down to, and tells its growth from ours.

use anyhow::Context as _;
use hako_benches::{Row, Target, median, ms};
use hako_netlink::{Links, Veth, in_namespace};
use hako_sys::{Child, CloneFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

const MANY: usize = 1000;
const BRIDGE: &str = "hkfloor";

pub fn kernel(_hako: &Path) -> anyhow::Result<Vec<Row>> {
    let place = tempfile::tempdir()?;
    let mut links = Links::open()?;
    links.create_bridge(BRIDGE, [2, 0x66, 0, 0, 0, 1])?;
    let mut held = Vec::new();
    let took = (0..MANY).map(|number| {
        let began = Instant::now();
        held.push(start(&mut links, place.path(), number)?);
        Ok(ms(began.elapsed()))
    });
    let took = took.collect::<anyhow::Result<Vec<f64>>>();
    for (child, _) in held {
        end(&child)?;
    }
    links.delete(BRIDGE)?;
    let took = took?;
    let (first, last) = (median(took[..100].to_vec()), median(took[MANY - 100..].to_vec()));
    Ok(vec![Row {
        what: "the kernel's part of a start among 1,000, the last hundred".into(),
        ours: last,
        peer: Some(("the first hundred".into(), first)),
        unit: "ms",
        target: Target::None,
        why: String::new(),
    }])
}

/// Who holds it, and the socket that tells it to go on.
fn start(links: &mut Links, place: &Path, number: usize) -> anyhow::Result<(Child, OwnedFd)> {
    let (ours, theirs) = hako_sys::socket_pair()?;
    let kinds = [CloneFlags::NEWIPC, CloneFlags::NEWUTS, CloneFlags::NEWNS, CloneFlags::NEWPID];
    let kinds = kinds.into_iter().fold(CloneFlags::NEWNET, CloneFlags::with);
    let child = hako_sys::spawn(kinds, None, || i32::from(hold(&theirs, place).is_err()))?;
    drop(theirs);
    let namespace = File::open(format!("/proc/{}/ns/net", child.pid))?;
    let name = format!("hkf{number}");
    let master = links.get(BRIDGE)?.index;
    let octets = u16::try_from(number + 2)?.to_be_bytes();
    links.create_veth(&Veth {
        name: &name,
        master: Some(master),
        peer_name: "eth0",
        peer_mac: [2, 0x66, 0, 1, octets[0], octets[1]],
        peer_namespace: namespace.as_fd(),
        mtu: None,
    })?;
    links.open_port(&name)?;
    in_namespace(namespace.as_fd(), || {
        let mut inner = Links::open()?;
        inner.set_up("lo")?;
        inner.set_up("eth0")?;
        let link = inner.get("eth0")?.index;
        inner.add_ip(link, Ipv4Addr::new(10, 213, octets[0], octets[1]).into(), 16)
    })??;
    hako_sys::send(ours.as_fd(), b"go", &[])?;
    let told = hako_sys::receive(ours.as_fd(), &mut [0; 4], &mut Vec::new())?;
    anyhow::ensure!(told > 0, "a process did not get its root");
    Ok((child, ours))
}

/// The process: makes itself a root when it is told to, and stays.
fn hold(socket: &OwnedFd, place: &Path) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    hako_sys::receive(socket.as_fd(), &mut [0; 4], &mut Vec::new())?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    mount("tmpfs", place, "tmpfs", MountFlags::empty(), None)?;
    for kind in ["proc", "sysfs"] {
        let target = place.join(kind);
        fs::create_dir(&target)?;
        mount(kind, &target, kind, MountFlags::empty(), None)?;
    }
    rustix::process::chdir(place)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    hako_sys::send(socket.as_fd(), b"done", &[])?;
    hako_sys::receive(socket.as_fd(), &mut [0; 4], &mut Vec::new())?;
    Ok(())
}

fn end(child: &Child) -> anyhow::Result<()> {
    let pid = i32::try_from(child.pid).ok().and_then(rustix::process::Pid::from_raw).context("a pid")?;
    kill_process(pid, Signal::KILL)?;
    waitpid(Some(pid), WaitOptions::empty())?;
    Ok(())
}
