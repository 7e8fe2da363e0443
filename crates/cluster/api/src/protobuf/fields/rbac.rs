//! Messages of rbac.authorization.k8s.io.

use super::meta::{LabelSelector, ObjectMeta};

messages! {
    AggregationRule {
        1 clusterRoleSelectors: [LabelSelector],
    }
    ClusterRole {
        1 metadata: ObjectMeta, 2 rules: [PolicyRule], 3 aggregationRule: AggregationRule nullable,
    }
    ClusterRoleBinding {
        1 metadata: ObjectMeta, 2 subjects: [Subject], 3 roleRef: RoleRef kept,
    }
    PolicyRule {
        1 verbs: [text], 2 apiGroups: [text], 3 resources: [text], 4 resourceNames: [text],
        5 nonResourceURLs: [text],
    }
    Role {
        1 metadata: ObjectMeta, 2 rules: [PolicyRule],
    }
    RoleBinding {
        1 metadata: ObjectMeta, 2 subjects: [Subject], 3 roleRef: RoleRef kept,
    }
    RoleRef {
        1 apiGroup: text kept, 2 kind: text kept, 3 name: text kept,
    }
    Subject {
        1 kind: text kept, 2 apiGroup: text, 3 name: text kept, 4 namespace: text,
    }
}
