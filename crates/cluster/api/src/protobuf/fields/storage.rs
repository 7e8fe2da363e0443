//! Messages of storage.k8s.io.

use super::core_v1::{PersistentVolumeSpec, TopologySelectorTerm};
use super::meta::{LabelSelector, ObjectMeta};

messages! {
    CSIDriver {
        1 metadata: ObjectMeta, 2 spec: CSIDriverSpec,
    }
    CSIDriverSpec {
        1 attachRequired: flag nullable, 2 podInfoOnMount: flag nullable, 3 volumeLifecycleModes: [text],
        4 storageCapacity: flag nullable, 5 fsGroupPolicy: text nullable, 6 tokenRequests: [TokenRequest],
        7 requiresRepublish: flag nullable, 8 seLinuxMount: flag nullable,
        9 nodeAllocatableUpdatePeriodSeconds: int nullable, 10 serviceAccountTokenInSecrets: flag nullable,
        11 preventPodSchedulingIfMissing: flag nullable,
    }
    CSINode {
        1 metadata: ObjectMeta, 2 spec: CSINodeSpec,
    }
    CSINodeDriver {
        1 name: text kept, 2 nodeID: text kept, 3 topologyKeys: [text],
        4 allocatable: VolumeNodeResources nullable,
    }
    CSINodeSpec {
        1 drivers: [CSINodeDriver],
    }
    CSIStorageCapacity {
        1 metadata: ObjectMeta, 2 nodeTopology: LabelSelector nullable, 3 storageClassName: text kept,
        4 capacity: quantity nullable, 5 maximumVolumeSize: quantity nullable,
    }
    StorageClass {
        1 metadata: ObjectMeta, 2 provisioner: text kept, 3 parameters: {text},
        4 reclaimPolicy: text nullable, 5 mountOptions: [text], 6 allowVolumeExpansion: flag nullable,
        7 volumeBindingMode: text nullable, 8 allowedTopologies: [TopologySelectorTerm],
    }
    TokenRequest {
        1 audience: text kept, 2 expirationSeconds: int nullable,
    }
    VolumeAttachment {
        1 metadata: ObjectMeta, 2 spec: VolumeAttachmentSpec, 3 status: VolumeAttachmentStatus,
    }
    VolumeAttachmentSource {
        1 persistentVolumeName: text nullable, 2 inlineVolumeSpec: PersistentVolumeSpec nullable,
    }
    VolumeAttachmentSpec {
        1 attacher: text kept, 2 source: VolumeAttachmentSource kept, 3 nodeName: text kept,
    }
    VolumeAttachmentStatus {
        1 attached: flag kept, 2 attachmentMetadata: {text}, 3 attachError: VolumeError nullable,
        4 detachError: VolumeError nullable,
    }
    VolumeAttributesClass {
        1 metadata: ObjectMeta, 2 driverName: text kept, 3 parameters: {text},
    }
    VolumeError {
        1 time: time, 2 message: text, 3 errorCode: int nullable,
    }
    VolumeNodeResources {
        1 count: int nullable,
    }
}
