//! The process: arguments, environment, user, capabilities, limits of its own.

use super::Surroundings;
use crate::error::EngineError;
use crate::resolve::{DEFAULT_PATH, merge_env};
use crate::users::Identity;
use crate::{ContainerSpec, ExecSpec, Resolved, Rlimit};
use hako_oci::runtime::{
    Capabilities, Capability, LinuxCapabilities, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process,
    User,
};

/// The process of an exec: the container's own with what the exec changes. `given` is the environment that image and
/// request of the container have, without what is added to it.
pub(crate) fn exec_process(
    container: &Process,
    given: &[String],
    exec: &ExecSpec,
    identity: Option<&Identity>,
) -> Result<Process, EngineError> {
    if exec.argv.is_empty() {
        return Err(EngineError::NoCommand);
    }
    let mut process = container.clone();
    let mut inherited = container.env().clone().unwrap_or_default();
    if exec.tty {
        inherited.push("TERM=xterm".to_owned());
    }
    if let Some(identity) = identity.filter(|_| without_empty_home(given).all(|one| !is_home(one))) {
        // What is there is that of the container's own user.
        inherited.push(format!("HOME={}", identity.home));
    }
    process.set_args(Some(exec.argv.clone()));
    process.set_terminal(Some(exec.tty));
    process.set_env(Some(merge_env(inherited.iter().chain(without_empty_home(&exec.env)))));
    if !exec.working_dir.is_empty() {
        process.set_cwd(exec.working_dir.clone().into());
    }
    if let Some(identity) = identity {
        process.set_user(user(identity));
    }
    if exec.privileged {
        process.set_capabilities(Some(capability_sets(all_capabilities(), true)));
    } else if identity.is_some() {
        let bounding = container.capabilities().as_ref().and_then(|sets| sets.bounding().clone());
        let is_root = process.user().uid() == 0;
        process.set_capabilities(Some(capability_sets(bounding.unwrap_or_default(), is_root)));
    }
    Ok(process)
}

fn is_home(entry: &str) -> bool {
    entry.starts_with("HOME=")
}

/// To runc an empty one is none.
fn without_empty_home(env: &[String]) -> impl Iterator<Item = &String> {
    env.iter().filter(|entry| *entry != "HOME=")
}

fn user(identity: &Identity) -> User {
    let mut user = User::default();
    user.set_uid(identity.uid);
    user.set_gid(identity.gid);
    user.set_additional_gids(Some(identity.groups.clone()));
    user
}

pub(super) fn fill_process(
    process: &mut Process,
    spec: &ContainerSpec,
    resolved: &Resolved,
    identity: &Identity,
    around: &Surroundings,
) -> Result<(), EngineError> {
    if spec.run_as_non_root && identity.uid == 0 {
        return Err(EngineError::RootForbidden { user: resolved.user.clone() });
    }
    let mut defaults = vec![
        DEFAULT_PATH.to_owned(),
        format!("HOSTNAME={}", around.hostname),
        format!("HOME={}", identity.home),
    ];
    if spec.tty {
        defaults.push("TERM=xterm".to_owned());
    }
    let env = merge_env(defaults.iter().chain(without_empty_home(&resolved.env)));
    let dropped = if spec.privileged { all_capabilities() } else { capabilities(process, spec)? };
    process.set_terminal(Some(spec.tty));
    process.set_args(Some(resolved.argv.clone()));
    process.set_env(Some(env));
    let directory = if resolved.working_dir.is_empty() { "/" } else { &resolved.working_dir };
    process.set_cwd(directory.into());
    process.set_user(user(identity));
    process.set_capabilities(Some(capability_sets(dropped, identity.uid == 0)));
    process.set_no_new_privileges(Some(spec.no_new_privs));
    process.set_oom_score_adj(spec.oom_score_adj);
    let rlimits = spec.rlimits.iter().map(rlimit).collect::<Result<Vec<_>, _>>()?;
    process.set_rlimits(Some(rlimits).filter(|limits| !limits.is_empty()));
    Ok(())
}

/// Docker's order: a dropped ALL empties the default set before the additions, an added ALL fills it before the rest is dropped.
fn capabilities(process: &Process, spec: &ContainerSpec) -> Result<Capabilities, EngineError> {
    let is_all = |name: &String| name.eq_ignore_ascii_case("all");
    let default =
        process.capabilities().as_ref().and_then(|sets| sets.bounding().clone()).unwrap_or_default();
    let mut set = match (spec.cap_add.iter().any(is_all), spec.cap_drop.iter().any(is_all)) {
        (true, _) => all_capabilities(),
        (false, true) => Capabilities::new(),
        (false, false) => default,
    };
    for name in spec.cap_add.iter().filter(|name| !is_all(name)) {
        set.insert(capability(name)?);
    }
    for name in spec.cap_drop.iter().filter(|name| !is_all(name)) {
        set.remove(&capability(name)?);
    }
    Ok(set)
}

fn capability(name: &str) -> Result<Capability, EngineError> {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).parse().map_err(|_| EngineError::Value {
        what: "capability",
        value: name.to_owned(),
        expected: "a name of capabilities(7) such as NET_ADMIN, or ALL",
    })
}

/// A user that is not root keeps the bounding set only, so that set-uid programs and file capabilities still work.
fn capability_sets(set: Capabilities, is_root: bool) -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    let active = if is_root { set.clone() } else { Capabilities::new() };
    sets.set_bounding(Some(set));
    sets.set_effective(Some(active.clone()));
    sets.set_permitted(Some(active));
    sets.set_inheritable(Some(Capabilities::new()));
    sets.set_ambient(Some(Capabilities::new()));
    sets
}

/// All that this process may hand on: capabilities that the engine itself lacks cannot be given.
fn all_capabilities() -> Capabilities {
    hako_sys::own_bounding_names().into_iter().filter_map(|name| name.parse().ok()).collect()
}

fn rlimit(limit: &Rlimit) -> Result<PosixRlimit, EngineError> {
    let upper = limit.name.to_ascii_uppercase();
    let name = format!("RLIMIT_{}", upper.strip_prefix("RLIMIT_").unwrap_or(&upper));
    let bad = |_| EngineError::Value {
        what: "ulimit",
        value: limit.name.clone(),
        expected: "a name of setrlimit(2) such as nofile",
    };
    let typ: PosixRlimitType = serde_json::from_value(serde_json::Value::String(name)).map_err(bad)?;
    let built = PosixRlimitBuilder::default().typ(typ).soft(limit.soft).hard(limit.hard).build();
    built.map_err(|_| EngineError::Value {
        what: "ulimit",
        value: limit.name.clone(),
        expected: "a soft limit not above the hard one",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_an_exec_is_its_users_unless_it_is_given() {
        let home = |given: &[&str], asked: &[&str], identity: Option<&Identity>| {
            let texts = |texts: &[&str]| texts.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
            let mut container = Process::default();
            container.set_env(Some(merge_env(&texts(&[&["HOME=/root"][..], given].concat()))));
            let spec = ExecSpec { argv: texts(&["true"]), env: texts(asked), ..ExecSpec::default() };
            let process = exec_process(&container, &texts(given), &spec, identity).unwrap();
            let env = process.env().clone().unwrap();
            env.into_iter().filter(|entry| is_home(entry)).collect::<Vec<_>>().join(" ")
        };
        let web = Identity { uid: 33, home: "/srv".to_owned(), ..Identity::default() };
        assert_eq!(home(&[], &[], None), "HOME=/root");
        assert_eq!(home(&[], &[], Some(&web)), "HOME=/srv");
        assert_eq!(home(&["HOME=/image"], &[], Some(&web)), "HOME=/image");
        assert_eq!(home(&[], &["HOME=/asked"], Some(&web)), "HOME=/asked");
        assert_eq!(home(&[], &["HOME="], Some(&web)), "HOME=/srv");
    }
}
