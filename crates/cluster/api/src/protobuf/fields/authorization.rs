//! Messages of authorization.k8s.io.

use super::meta::{LabelSelectorRequirement, ObjectMeta};

messages! {
    FieldSelectorAttributes {
        1 rawSelector: text, 2 requirements: [FieldSelectorRequirement],
    }
    FieldSelectorRequirement {
        1 key: text kept, 2 operator: text kept, 3 values: [text],
    }
    LabelSelectorAttributes {
        1 rawSelector: text, 2 requirements: [LabelSelectorRequirement],
    }
    LocalSubjectAccessReview {
        1 metadata: ObjectMeta, 2 spec: SubjectAccessReviewSpec, 3 status: SubjectAccessReviewStatus,
    }
    NonResourceAttributes {
        1 path: text, 2 verb: text,
    }
    NonResourceRule {
        1 verbs: [text], 2 nonResourceURLs: [text],
    }
    ResourceAttributes {
        1 namespace: text, 2 verb: text, 3 group: text, 4 version: text, 5 resource: text,
        6 subresource: text, 7 name: text, 8 fieldSelector: FieldSelectorAttributes nullable,
        9 labelSelector: LabelSelectorAttributes nullable,
    }
    ResourceRule {
        1 verbs: [text], 2 apiGroups: [text], 3 resources: [text], 4 resourceNames: [text],
    }
    SelfSubjectAccessReview {
        1 metadata: ObjectMeta, 2 spec: SelfSubjectAccessReviewSpec, 3 status: SubjectAccessReviewStatus,
    }
    SelfSubjectAccessReviewSpec {
        1 resourceAttributes: ResourceAttributes nullable,
        2 nonResourceAttributes: NonResourceAttributes nullable,
    }
    SelfSubjectRulesReview {
        1 metadata: ObjectMeta, 2 spec: SelfSubjectRulesReviewSpec, 3 status: SubjectRulesReviewStatus,
    }
    SelfSubjectRulesReviewSpec {
        1 namespace: text,
    }
    SubjectAccessReview {
        1 metadata: ObjectMeta, 2 spec: SubjectAccessReviewSpec, 3 status: SubjectAccessReviewStatus,
    }
    SubjectAccessReviewSpec {
        1 resourceAttributes: ResourceAttributes nullable,
        2 nonResourceAttributes: NonResourceAttributes nullable, 3 user: text, 4 groups: [text],
        5 extra: {texts}, 6 uid: text,
    }
    SubjectAccessReviewStatus {
        1 allowed: flag kept, 2 reason: text, 3 evaluationError: text, 4 denied: flag,
    }
    SubjectRulesReviewStatus {
        1 resourceRules: [ResourceRule], 2 nonResourceRules: [NonResourceRule], 3 incomplete: flag kept,
        4 evaluationError: text,
    }
}
