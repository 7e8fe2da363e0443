//! In what kinds differ when they are written and deleted, where most are alike.

use super::row::KindRow;

/// How objects of a kind are written and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteRules {
    /// An update of what is not there makes it.
    pub creates_on_update: bool,
    /// An update has to say which version it is of.
    pub needs_version: bool,
    /// A deletion answers with the object that is gone, not with a status.
    pub returns_deleted: bool,
    /// What admission puts into an object that its type does not have is a failure, and not just left out.
    pub refuses_unknown: bool,
    /// What a deletion that does not say does with what the object owns.
    pub dependents: Dependents,
}

impl WriteRules {
    /// Those of most kinds.
    pub(super) const MOST: Self = Self {
        creates_on_update: false,
        needs_version: false,
        returns_deleted: false,
        refuses_unknown: true,
        dependents: Dependents::Deleted,
    };
}

/// What becomes of what an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dependents {
    /// It goes, too.
    Deleted,
    /// It stays: clients of the first versions expect that.
    Orphaned,
    /// Nothing is ever owned.
    None,
}

const MOST: WriteRules = WriteRules::MOST;
const CREATES: WriteRules = WriteRules { creates_on_update: true, ..MOST };
const NEEDS: WriteRules = WriteRules { needs_version: true, ..MOST };
const RETURNS: WriteRules = WriteRules { returns_deleted: true, ..MOST };
const RETURNS_AND_NEEDS: WriteRules = WriteRules { needs_version: true, ..RETURNS };
const CREATES_AND_NEEDS: WriteRules = WriteRules { needs_version: true, ..CREATES };
const EVENTS: WriteRules = WriteRules { dependents: Dependents::None, ..CREATES };
const ORPHANS: WriteRules = WriteRules { dependents: Dependents::Orphaned, ..MOST };

const RULES: &[(&str, &[&str], WriteRules)] = &[
    ("", &["endpoints", "limitranges"], CREATES),
    ("", &["services"], WriteRules { returns_deleted: true, ..CREATES }),
    ("", &["events"], EVENTS),
    ("events.k8s.io", &["events"], EVENTS),
    ("", &["replicationcontrollers"], ORPHANS),
    ("batch", &["jobs"], ORPHANS),
    (
        "",
        &[
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "podtemplates",
            "resourcequotas",
            "serviceaccounts",
        ],
        RETURNS,
    ),
    (
        "resource.k8s.io",
        &["deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"],
        RETURNS,
    ),
    ("storage.k8s.io", &["storageclasses", "volumeattributesclasses"], RETURNS),
    ("storage.k8s.io", &["csidrivers", "csinodes", "volumeattachments"], RETURNS_AND_NEEDS),
    ("storage.k8s.io", &["csistoragecapacities"], NEEDS),
    ("coordination.k8s.io", &["leases"], CREATES_AND_NEEDS),
    ("node.k8s.io", &["runtimeclasses"], CREATES_AND_NEEDS),
    ("policy", &["poddisruptionbudgets"], NEEDS),
    ("storagemigration.k8s.io", &["storageversionmigrations"], NEEDS),
    ("rbac.authorization.k8s.io", &["clusterrolebindings", "clusterroles", "rolebindings", "roles"], CREATES),
    ("apiextensions.k8s.io", &["customresourcedefinitions"], NEEDS),
    ("apiregistration.k8s.io", &["apiservices"], NEEDS),
    (
        "admissionregistration.k8s.io",
        &[
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
        ],
        NEEDS,
    ),
];

impl KindRow {
    /// How objects of the kind are written and deleted.
    pub(super) fn write_rules(&self) -> WriteRules {
        let is_meant = |(group, plurals, _): &&(&str, &[&str], _)| {
            self.group == *group && plurals.contains(&self.plural)
        };
        RULES.iter().find(is_meant).map_or(MOST, |(.., rules)| *rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_about_kinds_that_are_served() {
        for (group, plurals, _) in RULES {
            for plural in *plurals {
                let mut rows = super::super::table().iter();
                assert!(rows.any(|row| (row.group, row.plural) == (*group, *plural)), "{plural}.{group}");
            }
        }
    }
}
