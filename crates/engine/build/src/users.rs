//! Users and groups by name, as the image's own files have them.

use rustix::fs::{OFlags, ResolveFlags};
use std::fs::File;
use std::io::Read;

/// Who a process is, or whose a file shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups, `gid` first: a rule that denies something to a group must not be escaped by having
    /// it as the primary group only (CVE-2023-25173).
    pub groups: Vec<u32>,
    pub home: Option<String>,
}

/// Larger user databases are cut; no image has one.
const LIMIT: u64 = 4 << 20;

/// Resolves `user[:group]`, each a name or a number, in a root file system; nothing stands for user and group 0.
pub(crate) fn resolve(root: &File, text: &str) -> Result<Identity, String> {
    let passwd = read(root, "etc/passwd");
    let groups = read(root, "etc/group");
    find(&passwd, &groups, text)
}

/// Whose a file shall be: a user's number without a group is the group's number too, whatever the image's own files
/// say (Dockerfile reference, COPY --chown; BuildKit has it so for WORKDIR as well).
pub(crate) fn owner(root: &File, text: &str) -> Result<(u32, u32), String> {
    if let Ok(number) = text.parse() {
        return Ok((number, number));
    }
    resolve(root, text).map(|identity| (identity.uid, identity.gid))
}

fn find(passwd: &str, groups: &str, text: &str) -> Result<Identity, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let number: Option<u32> = if user.is_empty() { Some(0) } else { user.parse().ok() };
    let record = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
        fields.len() >= 6 && (fields[0] == user || (number.is_some() && fields[2].parse().ok() == number))
    });
    let mut identity = Identity::default();
    match (&record, number) {
        (Some(fields), _) => {
            identity.uid =
                fields[2].parse().map_err(|_| format!("user {user:?} has no number in /etc/passwd"))?;
            identity.gid = fields[3].parse().unwrap_or(0);
            identity.home = Some(fields[5].to_owned());
        }
        (None, Some(number)) => identity.uid = number,
        (None, None) => {
            return Err(format!(
                "user {user:?} is not in the image's /etc/passwd; use a number, or add it in a RUN step"
            ));
        }
    }
    let mut others = Vec::new();
    if let Some(group) = group.filter(|group| !group.is_empty()) {
        identity.gid = group_id(groups, group)?;
    } else if let Some(fields) = record.filter(|_| !user.is_empty()) {
        others = memberships(groups, fields[0]);
    }
    others.retain(|group| *group != identity.gid);
    identity.groups = std::iter::once(identity.gid).chain(others).collect();
    Ok(identity)
}

fn group_id(groups: &str, group: &str) -> Result<u32, String> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut named = fields.filter(|fields| fields.len() >= 3 && fields[0] == group);
    named.find_map(|fields| fields[2].parse().ok()).ok_or_else(|| {
        format!("group {group:?} is not in the image's /etc/group; use a number, or add it in a RUN step")
    })
}

fn memberships(groups: &str, user: &str) -> Vec<u32> {
    let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.len() >= 4 && fields[3].split(',').any(|member| member == user))
        .filter_map(|fields| fields[2].parse().ok())
        .collect()
}

fn read(root: &File, path: &str) -> String {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let mut text = String::new();
    if let Ok(fd) = hako_sys::open_resolved(root, path, flags, resolve) {
        let _ = File::from(fd).take(LIMIT).read_to_string(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlogs:x:4:syslog,web\n";

    #[test]
    fn names_and_numbers_are_found_in_the_images_own_files() {
        let web = Identity { uid: 33, gid: 34, groups: vec![34, 4], home: Some("/srv".into()) };
        assert_eq!(find(PASSWD, GROUP, "web").unwrap(), web);
        assert_eq!(find(PASSWD, GROUP, "33").unwrap(), web);
        let mixed = find(PASSWD, GROUP, "web:logs").unwrap();
        assert_eq!((mixed.uid, mixed.gid, mixed.groups), (33, 4, vec![4]));
        let free = find(PASSWD, GROUP, "1000:2000").unwrap();
        assert_eq!((free.uid, free.gid, free.home), (1000, 2000, None));
        let root = find(PASSWD, "root:x:0:\nwheel:x:10:root\n", "").unwrap();
        assert_eq!((root.uid, root.groups, root.home.as_deref()), (0, vec![0], Some("/root")));
        assert_eq!(find("", "", "").unwrap(), Identity { groups: vec![0], ..Identity::default() });
        for unknown in ["nobody", "web:nogroup"] {
            assert!(find(PASSWD, GROUP, unknown).unwrap_err().contains("image's"), "{unknown}");
        }
    }
}
