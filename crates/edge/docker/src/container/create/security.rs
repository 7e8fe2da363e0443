//! Security options.

use crate::error::{Failure, unimplemented};
use hako_container::Seccomp;

pub(super) fn security(options: &[String]) -> Result<(Seccomp, bool), Failure> {
    let (mut seccomp, mut no_new_privs) = (Seccomp::Default, false);
    for option in options {
        match option.replace(':', "=").as_str() {
            "seccomp=unconfined" => seccomp = Seccomp::Unconfined,
            "seccomp=builtin" | "no-new-privileges=false" | "apparmor=unconfined" | "label=disable" => {}
            "no-new-privileges" | "no-new-privileges=true" => no_new_privs = true,
            _ => return Err(unimplemented(format!("SecurityOpt {option:?} is unimplemented"))),
        }
    }
    Ok((seccomp, no_new_privs))
}
