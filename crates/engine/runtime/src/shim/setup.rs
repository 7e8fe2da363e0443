//! From a fresh process to the holder of a sandbox.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use hako_sys::{Child, CloneFlags};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::pause;
use crate::plan::sysctl::{self, Own};
use crate::types::{NamespaceMode, SharedMount, ShimConfig, TmpfsMount};
use crate::user::UserNamespace;

fn text<E: std::fmt::Display>(doing: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("{doing}: {error}")
}

/// What a shim has before it serves.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Where connections come to.
    pub listener: UnixListener,
    pub pause: Option<Child>,
    pub dns: Option<[OwnedFd; 2]>,
    pub home_net: Option<OwnedFd>,
    pub user: Option<UserNamespace>,
}

/// Makes the namespaces and what is in them. `joined` are those that are another sandbox's, and perhaps the place of parameters; `is_in_group` tells of the shims'
/// group in the unified hierarchy.
pub(super) fn prepare(
    config: &ShimConfig,
    mut joined: Vec<OwnedFd>,
    is_in_group: bool,
) -> Result<Prepared, String> {
    rustix::process::setsid().map_err(text("cannot start a session"))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(text("cannot become subreaper"))?;
    std::env::set_current_dir("/").map_err(text("cannot change to /"))?;
    let _unnamed = rustix::thread::set_name(c"hako-shim");
    // Best effort: lowering takes CAP_SYS_RESOURCE.
    let _unchanged = fs::write("/proc/self/oom_score_adj", config.oom_score_adj.to_string());
    crate::shims_group::join(&config.cgroup, is_in_group)?;
    let namespaces = &config.namespaces;
    let home_net = fs::File::open("/proc/self/ns/net").map_err(text("cannot open the network namespace"))?;
    let home_net = (namespaces.net != NamespaceMode::Host).then(|| home_net.into());
    let own = Own::from(namespaces);
    config.sysctls.keys().try_for_each(|name| sysctl::check(name, own)).map_err(|error| error.to_string())?;
    let parameters = config.has_parameters.then(|| joined.pop()).flatten();
    let mut joined = joined.into_iter();
    let user = user_namespace(config, &mut joined)?;
    let made = make_namespaces(config, &mut joined)?;
    populate(config, user.as_ref(), &made, parameters.as_ref().map(AsFd::as_fd))?;
    // The shim's mounts are the host's matter, as what it does for containers is.
    crate::host_mounts::remember().map_err(text("cannot open the mount namespace"))?;
    hako_sys::unshare(CloneFlags::NEWNS).map_err(text("cannot make the sandbox's mount namespace"))?;
    // Mounts of the host go on to appear here, for containers that ask for them; none of ours appears there.
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(text("cannot detach from the host's mounts"))?;
    for mount in &config.tmpfs {
        tmpfs(mount)?;
    }
    if !config.shared.is_empty() {
        let other = joined.next().ok_or("the mount namespace to take mounts from did not come")?;
        take_mounts(&other, &config.shared)?;
    }
    fs::create_dir_all(&config.state_dir).map_err(text("cannot create the state directory"))?;
    fs::create_dir_all(config.state_dir.join(ROOT)).map_err(text("cannot create the directory for roots"))?;
    let pause = namespaces.shared_pid.then(|| pause::start(&config.state_dir)).transpose()?;
    let dns = config.dns.then(|| dns_sockets(config)).transpose()?;
    Ok(Prepared { listener: listen(&config.socket)?, pause, dns, home_net, user })
}

/// A kind of namespace: how it is made, how it is entered, its name in /proc.
type NamespaceKind = (CloneFlags, LinkNameSpaceType, &'static str);

/// The one that comes first of those that are joined, or a new one.
fn user_namespace(
    config: &ShimConfig,
    joined: &mut impl Iterator<Item = OwnedFd>,
) -> Result<Option<UserNamespace>, String> {
    let Some(map) = &config.user else { return Ok(None) };
    if config.namespaces.shared_pid {
        return Err("a pid namespace for all containers is not supported in a user namespace".to_owned());
    }
    let made = match config.joins_user {
        false => UserNamespace::new(map),
        true => UserNamespace::of(joined.next().ok_or("the user namespace to join did not come")?),
    };
    made.map(Some).map_err(|error| error.to_string())
}

/// Joins those of others; returns those that are to be made.
fn make_namespaces(
    config: &ShimConfig,
    joined: &mut impl Iterator<Item = OwnedFd>,
) -> Result<Vec<NamespaceKind>, String> {
    let namespaces = &config.namespaces;
    let mut new = Vec::new();
    for (mode, kind) in [
        (namespaces.net, (CloneFlags::NEWNET, LinkNameSpaceType::Network, "net")),
        (namespaces.ipc, (CloneFlags::NEWIPC, LinkNameSpaceType::InterProcessCommunication, "ipc")),
        (namespaces.uts, (CloneFlags::NEWUTS, LinkNameSpaceType::HostNameAndNISDomainName, "uts")),
    ] {
        match mode {
            NamespaceMode::New => new.push(kind),
            NamespaceMode::Host => {}
            NamespaceMode::Join => {
                let namespace = joined.next().ok_or("a namespace to join did not come with the request")?;
                move_into_link_name_space(namespace.as_fd(), Some(kind.1))
                    .map_err(text("cannot join another sandbox's namespace"))?;
            }
        }
    }
    Ok(new)
}

/// Makes the new namespaces, as belonging to the user namespace if there is one, goes into them and sets them up.
fn populate(
    config: &ShimConfig,
    user: Option<&UserNamespace>,
    new: &[NamespaceKind],
    parameters: Option<BorrowedFd<'_>>,
) -> Result<(), String> {
    let doing = "cannot make the sandbox's namespaces";
    match user {
        None => {
            let all = new.iter().fold(CloneFlags::default(), |all, (kind, ..)| all.with(*kind));
            hako_sys::unshare(all).map_err(text(doing))?;
            set_up(config, parameters)
        }
        Some(user) => {
            let kinds: Vec<_> = new.iter().map(|(kind, _, name)| (*kind, *name)).collect();
            // Their parameters belong to their root, who is nobody here.
            let made = user.populate(&kinds, || set_up(config, parameters).map_err(std::io::Error::other));
            for (namespace, (_, kind, _)) in made.map_err(text(doing))?.iter().zip(new) {
                move_into_link_name_space(namespace.as_fd(), Some(*kind)).map_err(text(doing))?;
            }
            Ok(())
        }
    }
}

/// What new namespaces have to have before anybody is in them.
fn set_up(config: &ShimConfig, parameters: Option<BorrowedFd<'_>>) -> Result<(), String> {
    let namespaces = &config.namespaces;
    if namespaces.net == NamespaceMode::New {
        hako_sys::set_up_loopback().map_err(text("cannot set the loopback link up"))?;
    }
    if namespaces.uts == NamespaceMode::New {
        if !config.hostname.is_empty() {
            rustix::system::sethostname(config.hostname.as_bytes())
                .map_err(text("cannot set the host name"))?;
        }
        if !config.domainname.is_empty() {
            hako_sys::set_domain_name(&config.domainname).map_err(text("cannot set the domain name"))?;
        }
    }
    for (key, value) in &config.sysctls {
        crate::init::set_sysctl(parameters, key, value).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The sockets outlive every engine: what is asked while none is there waits in them.
fn dns_sockets(config: &ShimConfig) -> Result<[OwnedFd; 2], String> {
    const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 0);
    if config.namespaces.net != NamespaceMode::New {
        return Err("names are answered in a network namespace of the sandbox's own only".to_owned());
    }
    let udp = UdpSocket::bind(ADDRESS).map_err(text("cannot listen for names"))?;
    let tcp = TcpListener::bind(ADDRESS).map_err(text("cannot listen for names"))?;
    Ok([udp.into(), tcp.into()])
}

/// The directory under the state directory where each container's root is mounted, in that container's own mount
/// namespace.
pub(crate) const ROOT: &str = "rootfs";

fn tmpfs(mount: &TmpfsMount) -> Result<(), String> {
    let doing = format!("cannot mount tmpfs at {}", mount.path.display());
    fs::create_dir_all(&mount.path).map_err(text(&doing))?;
    // Whoever made the directory says by it whom the mount belongs to.
    let below = fs::metadata(&mount.path).map_err(text(&doing))?;
    let owner = format!(",uid={},gid={}", below.uid(), below.gid());
    let size = mount.size_bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let options =
        std::ffi::CString::new(format!("mode={:o}{owner}{size}", mount.mode)).map_err(text(&doing))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", &mount.path, "tmpfs", flags, options.as_c_str()).map_err(text(&doing))
}

/// A mount is copied where it is and put up here; both sides then see one file system.
fn take_mounts(other: &OwnedFd, wanted: &[SharedMount]) -> Result<(), String> {
    let own = fs::File::open("/proc/self/ns/mnt").map_err(text("cannot open the mount namespace"))?;
    let enter = |namespace| {
        move_into_link_name_space(namespace, None).map_err(text("cannot enter another sandbox's mounts"))
    };
    enter(other.as_fd())?;
    let copied: Result<Vec<OwnedFd>, String> = wanted
        .iter()
        .map(|mount| {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            open_tree(CWD, &mount.from, flags).map_err(text("cannot take another sandbox's mount"))
        })
        .collect();
    enter(own.as_fd())?;
    for (tree, mount) in copied?.iter().zip(wanted) {
        let doing = format!("cannot mount at {}", mount.to.display());
        fs::create_dir_all(&mount.to).map_err(text(&doing))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(tree, "", CWD, &mount.to, flags).map_err(text(&doing))?;
    }
    Ok(())
}

fn listen(path: &Path) -> Result<UnixListener, String> {
    let doing = format!("cannot listen on {}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(text(&doing))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(text(&doing)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(text(&doing))?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(text(&doing))?;
    listener.set_nonblocking(true).map_err(text(&doing))?;
    Ok(listener)
}
