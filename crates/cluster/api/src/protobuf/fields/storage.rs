//! Messages of storage.k8s.io.

use super::core_v1::{PersistentVolumeSpec, TopologySelectorTerm};
use super::meta::{LabelSelector, ObjectMeta};

messages! {
    CSIDriver {
        1 metadata: ObjectMeta, 2 spec: CSIDriverSpec,
    }
    CSIDriverSpec {
        1 attachRequired: flag kept, 2 podInfoOnMount: flag kept, 3 volumeLifecycleModes: [text],
        4 storageCapacity: flag kept, 5 fsGroupPolicy: text, 6 tokenRequests: [TokenRequest],
        7 requiresRepublish: flag kept, 8 seLinuxMount: flag kept,
        9 nodeAllocatableUpdatePeriodSeconds: int kept, 10 serviceAccountTokenInSecrets: flag kept,
        11 preventPodSchedulingIfMissing: flag kept,
    }
    CSINode {
        1 metadata: ObjectMeta, 2 spec: CSINodeSpec,
    }
    CSINodeDriver {
        1 name: text kept, 2 nodeID: text kept, 3 topologyKeys: [text],
        4 allocatable: VolumeNodeResources kept,
    }
    CSINodeSpec {
        1 drivers: [CSINodeDriver],
    }
    CSIStorageCapacity {
        1 metadata: ObjectMeta, 2 nodeTopology: LabelSelector kept, 3 storageClassName: text kept,
        4 capacity: quantity, 5 maximumVolumeSize: quantity,
    }
    StorageClass {
        1 metadata: ObjectMeta, 2 provisioner: text kept, 3 parameters: {text}, 4 reclaimPolicy: text,
        5 mountOptions: [text], 6 allowVolumeExpansion: flag kept, 7 volumeBindingMode: text,
        8 allowedTopologies: [TopologySelectorTerm],
    }
    TokenRequest {
        1 audience: text kept, 2 expirationSeconds: int kept,
    }
    VolumeAttachment {
        1 metadata: ObjectMeta, 2 spec: VolumeAttachmentSpec, 3 status: VolumeAttachmentStatus,
    }
    VolumeAttachmentSource {
        1 persistentVolumeName: text, 2 inlineVolumeSpec: PersistentVolumeSpec kept,
    }
    VolumeAttachmentSpec {
        1 attacher: text kept, 2 source: VolumeAttachmentSource kept, 3 nodeName: text kept,
    }
    VolumeAttachmentStatus {
        1 attached: flag kept, 2 attachmentMetadata: {text}, 3 attachError: VolumeError kept,
        4 detachError: VolumeError kept,
    }
    VolumeAttributesClass {
        1 metadata: ObjectMeta, 2 driverName: text kept, 3 parameters: {text},
    }
    VolumeError {
        1 time: time, 2 message: text, 3 errorCode: int kept,
    }
    VolumeNodeResources {
        1 count: int kept,
    }
}
