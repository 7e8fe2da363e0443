//! Users and groups by the image's own /etc/passwd and /etc/group.

use crate::layers::Layers;
use hako_error::{Classify, Kind};
use std::path::Path;

/// Who the first process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The supplementary groups, `gid` first: who is denied something as its member must not get it for having started
    /// with it as the primary one and given it up (CVE-2022-36109).
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("unable to find user {name}: no matching entries in passwd file")]
    NoUser { name: String },
    #[error("unable to find group {name}: no matching entries in group file")]
    NoGroup { name: String },
    #[error("{what} {number}: uids and gids must be in range 0-2147483647")]
    Range { what: &'static str, number: i64 },
    #[error("read {path} of the image")]
    Read { path: &'static str, source: std::io::Error },
}

impl Classify for UserError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoUser { .. } | Self::NoGroup { .. } | Self::Range { .. } => Kind::Invalid,
            Self::Read { .. } => Kind::Internal,
        }
    }
}

/// Resolves `user[:group]`, empty meaning root, with the groups that list the user as member.
pub(crate) fn resolve(
    layers: &Layers<'_>,
    user: &str,
    additional: &[u32],
    named: &[String],
) -> Result<Identity, UserError> {
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let passwd = read(layers, "/etc/passwd")?;
    let groups = read(layers, "/etc/group")?;
    let mut identity = find_user(&passwd, &groups, user)?;
    if let Some(group) = group.filter(|group| !group.is_empty()) {
        identity.gid = find_group(&groups, group)?;
        identity.groups.clear();
    }
    let named = named.iter().map(|name| find_group(&groups, name)).collect::<Result<Vec<_>, _>>()?;
    let listed = std::mem::take(&mut identity.groups);
    for gid in [identity.gid].iter().chain(&listed).chain(additional).chain(&named) {
        if !identity.groups.contains(gid) {
            identity.groups.push(*gid);
        }
    }
    in_range("user", identity.uid.into())?;
    identity.groups.iter().try_for_each(|gid| in_range("group", (*gid).into()))?;
    Ok(identity)
}

/// The kernel takes the last number for none, and programs that reckon with signed numbers take half of all for errors.
fn in_range(what: &'static str, number: i64) -> Result<(), UserError> {
    if (0..=i64::from(i32::MAX)).contains(&number) { Ok(()) } else { Err(UserError::Range { what, number }) }
}

fn read(layers: &Layers<'_>, path: &'static str) -> Result<String, UserError> {
    let content = layers.read(Path::new(path)).map_err(|source| UserError::Read { path, source })?;
    Ok(String::from_utf8_lossy(&content.unwrap_or_default()).into_owned())
}

/// `name:password:uid:gid:comment:home:shell`, passwd(5). A number that no line has is a user all the same.
fn find_user(passwd: &str, groups: &str, user: &str) -> Result<Identity, UserError> {
    let user = if user.is_empty() { "0" } else { user };
    let number =
        user.parse::<i64>().ok().map(|number| in_range("user", number).map(|()| number)).transpose()?;
    let number = number.and_then(|number| u32::try_from(number).ok());
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, rest @ ..] = fields.as_slice() else {
            continue;
        };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else {
            continue;
        };
        if *name == user || number == Some(uid) {
            let home = rest.get(1).filter(|home| !home.is_empty()).unwrap_or(&"/");
            return Ok(Identity { uid, gid, groups: memberships(groups, name), home: (*home).to_owned() });
        }
    }
    match number {
        Some(uid) => Ok(Identity { uid, gid: 0, groups: Vec::new(), home: "/".into() }),
        None => Err(UserError::NoUser { name: user.to_owned() }),
    }
}

/// `name:password:gid:member,member`, group(5).
fn group_lines(groups: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

fn memberships(groups: &str, user: &str) -> Vec<u32> {
    group_lines(groups)
        .filter(|(_, _, members)| members.split(',').any(|member| member == user))
        .map(|(_, gid, _)| gid)
        .collect()
}

fn find_group(groups: &str, group: &str) -> Result<u32, UserError> {
    let by_name = group_lines(groups).find(|(name, ..)| *name == group).map(|(_, gid, _)| gid);
    if let Some(gid) = by_name {
        return Ok(gid);
    }
    let number: i64 = group.parse().map_err(|_| UserError::NoGroup { name: group.to_owned() })?;
    in_range("group", number)?;
    u32::try_from(number).map_err(|_| UserError::Range { what: "group", number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str) -> Result<Identity, UserError> {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir(tmp.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:Web:/srv:/bin/false\nbroken\n";
        std::fs::write(tmp.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(tmp.path().join("etc/group"), "root:x:0:\nlog:x:7:web,root\nweb:x:44:\n").unwrap();
        resolve(&Layers::new([tmp.path()]), user, &[7, 9], &[])
    }

    #[test]
    fn names_and_numbers_resolve_by_the_images_files() {
        let web = Identity { uid: 33, gid: 44, groups: vec![44, 7, 9], home: "/srv".into() };
        assert_eq!(identity("web").unwrap(), web);
        assert_eq!(identity("33").unwrap(), web);
        assert_eq!(identity("").unwrap().home, "/root");
        let strange = identity("1000").unwrap();
        assert_eq!((strange.uid, strange.gid), (1000, 0));
        assert_eq!(identity("web:log").unwrap().gid, 7);
        assert_eq!(identity("1:1").unwrap().gid, 1);
        assert_eq!(identity("1:1").unwrap().groups, [1, 7, 9]);
        assert_eq!(identity("web:log").unwrap().groups, [7, 9]);
        assert!(matches!(identity("nobody"), Err(UserError::NoUser { .. })));
        assert!(matches!(identity("web:nogroup"), Err(UserError::NoGroup { .. })));
    }

    #[test]
    fn numbers_that_the_kernel_or_programs_take_for_something_else_are_refused() {
        assert_eq!(identity("2147483647:2147483647").unwrap().uid, 2_147_483_647);
        for user in ["2147483648", "4294967295", "4294967296", "-1", "1:2147483648", "web:-1"] {
            let refused = identity(user).unwrap_err().to_string();
            let number = user.rsplit(':').next().unwrap();
            assert!(refused.contains(number) && refused.contains("0-2147483647"), "{user}: {refused}");
        }
    }
}
