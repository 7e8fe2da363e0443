//! Messages that every group shares.

messages! {
    APIGroup {
        1 name: text kept, 2 versions: [GroupVersionForDiscovery],
        3 preferredVersion: GroupVersionForDiscovery, 4 serverAddressByClientCIDRs: [ServerAddressByClientCIDR],
    }
    APIGroupList {
        1 groups: [APIGroup],
    }
    APIResource {
        1 name: text kept, 2 namespaced: flag kept, 3 kind: text kept, 4 verbs: texts, 5 shortNames: [text],
        6 singularName: text kept, 7 categories: [text], 8 group: text, 9 version: text,
        10 storageVersionHash: text,
    }
    APIResourceList {
        1 groupVersion: text kept, 2 resources: [APIResource],
    }
    APIVersions {
        1 versions: [text], 2 serverAddressByClientCIDRs: [ServerAddressByClientCIDR],
    }
    Condition {
        1 type: text kept, 2 status: text kept, 3 observedGeneration: int, 4 lastTransitionTime: time,
        5 reason: text kept, 6 message: text kept,
    }
    DeleteOptions {
        1 gracePeriodSeconds: int nullable, 2 preconditions: Preconditions nullable,
        3 orphanDependents: flag nullable, 4 propagationPolicy: text nullable, 5 dryRun: [text],
        6 ignoreStoreReadErrorWithClusterBreakingPotential: flag nullable,
    }
    GroupVersionForDiscovery {
        1 groupVersion: text kept, 2 version: text kept,
    }
    LabelSelector {
        1 matchLabels: {text}, 2 matchExpressions: [LabelSelectorRequirement],
    }
    LabelSelectorRequirement {
        1 key: text kept, 2 operator: text kept, 3 values: [text],
    }
    ListMeta {
        1 selfLink: text, 2 resourceVersion: text, 3 continue: text, 4 remainingItemCount: int nullable,
    }
    ManagedFieldsEntry {
        1 manager: text, 2 operation: text, 3 apiVersion: text, 4 time: time nullable, 6 fieldsType: text,
        7 fieldsV1: json nullable, 8 subresource: text,
    }
    ObjectMeta {
        1 name: text, 2 generateName: text, 3 namespace: text, 4 selfLink: text, 5 uid: text,
        6 resourceVersion: text, 7 generation: int, 8 creationTimestamp: time,
        9 deletionTimestamp: time nullable, 10 deletionGracePeriodSeconds: int nullable, 11 labels: {text},
        12 annotations: {text}, 13 ownerReferences: [OwnerReference], 14 finalizers: [text],
        17 managedFields: [ManagedFieldsEntry],
    }
    OwnerReference {
        1 kind: text kept, 3 name: text kept, 4 uid: text kept, 5 apiVersion: text kept,
        6 controller: flag nullable, 7 blockOwnerDeletion: flag nullable,
    }
    PartialObjectMetadata {
        1 metadata: ObjectMeta,
    }
    Preconditions {
        1 uid: text nullable, 2 resourceVersion: text nullable,
    }
    ServerAddressByClientCIDR {
        1 clientCIDR: text kept, 2 serverAddress: text kept,
    }
    Status {
        1 metadata: ListMeta, 2 status: text, 3 message: text, 4 reason: text,
        5 details: StatusDetails nullable, 6 code: int,
    }
    StatusCause {
        1 reason: text, 2 message: text, 3 field: text,
    }
    StatusDetails {
        1 name: text, 2 group: text, 3 kind: text, 4 causes: [StatusCause], 5 retryAfterSeconds: int,
        6 uid: text,
    }
}
