//! Messages that every group shares.

messages! {
    Condition {
        1 type: text kept, 2 status: text kept, 3 observedGeneration: int, 4 lastTransitionTime: time,
        5 reason: text kept, 6 message: text kept,
    }
    DeleteOptions {
        1 gracePeriodSeconds: int kept, 2 preconditions: Preconditions kept, 3 orphanDependents: flag kept,
        4 propagationPolicy: text kept, 5 dryRun: [text],
        6 ignoreStoreReadErrorWithClusterBreakingPotential: flag kept,
    }
    LabelSelector {
        1 matchLabels: {text}, 2 matchExpressions: [LabelSelectorRequirement],
    }
    LabelSelectorRequirement {
        1 key: text kept, 2 operator: text kept, 3 values: [text],
    }
    ManagedFieldsEntry {
        1 manager: text, 2 operation: text, 3 apiVersion: text, 4 time: time, 6 fieldsType: text,
        7 fieldsV1: json kept, 8 subresource: text,
    }
    ObjectMeta {
        1 name: text, 2 generateName: text, 3 namespace: text, 4 selfLink: text, 5 uid: text,
        6 resourceVersion: text, 7 generation: int, 8 creationTimestamp: time, 9 deletionTimestamp: time,
        10 deletionGracePeriodSeconds: int kept, 11 labels: {text}, 12 annotations: {text},
        13 ownerReferences: [OwnerReference], 14 finalizers: [text], 17 managedFields: [ManagedFieldsEntry],
    }
    OwnerReference {
        1 kind: text kept, 3 name: text kept, 4 uid: text kept, 5 apiVersion: text kept,
        6 controller: flag kept, 7 blockOwnerDeletion: flag kept,
    }
    Preconditions {
        1 uid: text kept, 2 resourceVersion: text kept,
    }
}
