//! Messages of the core group that are not in pods, nodes and services.

use super::cluster::ObjectReference;
use super::meta::ObjectMeta;
use super::pod::{NodeSelector, PodTemplateSpec};
use super::volumes::{
    AWSElasticBlockStoreVolumeSource, AzureDiskVolumeSource, FCVolumeSource, FlockerVolumeSource,
    GCEPersistentDiskVolumeSource, HostPathVolumeSource, NFSVolumeSource, PersistentVolumeClaimSpec,
    PhotonPersistentDiskVolumeSource, PortworxVolumeSource, QuobyteVolumeSource,
    VsphereVirtualDiskVolumeSource,
};

messages! {
    AzureFilePersistentVolumeSource {
        1 secretName: text kept, 2 shareName: text kept, 3 readOnly: flag kept, 4 secretNamespace: text,
    }
    CSIPersistentVolumeSource {
        1 driver: text kept, 2 volumeHandle: text kept, 3 readOnly: flag kept, 4 fsType: text,
        5 volumeAttributes: {text}, 6 controllerPublishSecretRef: SecretReference kept,
        7 nodeStageSecretRef: SecretReference kept, 8 nodePublishSecretRef: SecretReference kept,
        9 controllerExpandSecretRef: SecretReference kept, 10 nodeExpandSecretRef: SecretReference kept,
    }
    CephFSPersistentVolumeSource {
        1 monitors: [text], 2 path: text, 3 user: text, 4 secretFile: text,
        5 secretRef: SecretReference kept, 6 readOnly: flag kept,
    }
    CinderPersistentVolumeSource {
        1 volumeID: text kept, 2 fsType: text, 3 readOnly: flag kept, 4 secretRef: SecretReference kept,
    }
    FlexPersistentVolumeSource {
        1 driver: text kept, 2 fsType: text, 3 secretRef: SecretReference kept, 4 readOnly: flag kept,
        5 options: {text},
    }
    GlusterfsPersistentVolumeSource {
        1 endpoints: text kept, 2 path: text kept, 3 readOnly: flag kept, 4 endpointsNamespace: text,
    }
    ISCSIPersistentVolumeSource {
        1 targetPortal: text kept, 2 iqn: text kept, 3 lun: int kept, 4 iscsiInterface: text,
        5 fsType: text, 6 readOnly: flag kept, 7 portals: [text], 8 chapAuthDiscovery: flag kept,
        10 secretRef: SecretReference kept, 11 chapAuthSession: flag kept, 12 initiatorName: text,
    }
    LimitRange {
        1 metadata: ObjectMeta, 2 spec: LimitRangeSpec,
    }
    LimitRangeItem {
        1 type: text kept, 2 max: {quantity}, 3 min: {quantity}, 4 default: {quantity},
        5 defaultRequest: {quantity}, 6 maxLimitRequestRatio: {quantity},
    }
    LimitRangeSpec {
        1 limits: [LimitRangeItem],
    }
    LocalVolumeSource {
        1 path: text kept, 2 fsType: text,
    }
    ModifyVolumeStatus {
        1 targetVolumeAttributesClassName: text, 2 status: text kept,
    }
    PersistentVolume {
        1 metadata: ObjectMeta, 2 spec: PersistentVolumeSpec, 3 status: PersistentVolumeStatus,
    }
    PersistentVolumeClaim {
        1 metadata: ObjectMeta, 2 spec: PersistentVolumeClaimSpec, 3 status: PersistentVolumeClaimStatus,
    }
    PersistentVolumeClaimCondition {
        1 type: text kept, 2 status: text kept, 3 lastProbeTime: time, 4 lastTransitionTime: time,
        5 reason: text, 6 message: text,
    }
    PersistentVolumeClaimStatus {
        1 phase: text, 2 accessModes: [text], 3 capacity: {quantity},
        4 conditions: [PersistentVolumeClaimCondition], 5 allocatedResources: {quantity},
        7 allocatedResourceStatuses: {text}, 8 currentVolumeAttributesClassName: text,
        9 modifyVolumeStatus: ModifyVolumeStatus kept,
    }
    PersistentVolumeSource {
        1 gcePersistentDisk: GCEPersistentDiskVolumeSource kept,
        2 awsElasticBlockStore: AWSElasticBlockStoreVolumeSource kept,
        3 hostPath: HostPathVolumeSource kept, 4 glusterfs: GlusterfsPersistentVolumeSource kept,
        5 nfs: NFSVolumeSource kept, 6 rbd: RBDPersistentVolumeSource kept,
        7 iscsi: ISCSIPersistentVolumeSource kept, 8 cinder: CinderPersistentVolumeSource kept,
        9 cephfs: CephFSPersistentVolumeSource kept, 10 fc: FCVolumeSource kept,
        11 flocker: FlockerVolumeSource kept, 12 flexVolume: FlexPersistentVolumeSource kept,
        13 azureFile: AzureFilePersistentVolumeSource kept,
        14 vsphereVolume: VsphereVirtualDiskVolumeSource kept, 15 quobyte: QuobyteVolumeSource kept,
        16 azureDisk: AzureDiskVolumeSource kept,
        17 photonPersistentDisk: PhotonPersistentDiskVolumeSource kept,
        18 portworxVolume: PortworxVolumeSource kept, 19 scaleIO: ScaleIOPersistentVolumeSource kept,
        20 local: LocalVolumeSource kept, 21 storageos: StorageOSPersistentVolumeSource kept,
        22 csi: CSIPersistentVolumeSource kept,
    }
    PersistentVolumeSpec {
        1 capacity: {quantity}, 2 persistent_volume_source: (PersistentVolumeSource),
        3 accessModes: [text], 4 claimRef: ObjectReference kept, 5 persistentVolumeReclaimPolicy: text,
        6 storageClassName: text, 7 mountOptions: [text], 8 volumeMode: text,
        9 nodeAffinity: VolumeNodeAffinity kept, 10 volumeAttributesClassName: text kept,
    }
    PersistentVolumeStatus {
        1 phase: text, 2 message: text, 3 reason: text, 4 lastPhaseTransitionTime: time,
    }
    PodTemplate {
        1 metadata: ObjectMeta, 2 template: PodTemplateSpec kept,
    }
    RBDPersistentVolumeSource {
        1 monitors: [text], 2 image: text kept, 3 fsType: text, 4 pool: text, 5 user: text,
        6 keyring: text, 7 secretRef: SecretReference kept, 8 readOnly: flag kept,
    }
    ReplicationController {
        1 metadata: ObjectMeta, 2 spec: ReplicationControllerSpec, 3 status: ReplicationControllerStatus,
    }
    ReplicationControllerCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text,
        5 message: text,
    }
    ReplicationControllerSpec {
        1 replicas: int kept, 2 selector: {text}, 3 template: PodTemplateSpec kept,
        4 minReadySeconds: int kept,
    }
    ReplicationControllerStatus {
        1 replicas: int kept, 2 fullyLabeledReplicas: int kept, 3 observedGeneration: int kept,
        4 readyReplicas: int kept, 5 availableReplicas: int kept,
        6 conditions: [ReplicationControllerCondition],
    }
    ResourceQuota {
        1 metadata: ObjectMeta, 2 spec: ResourceQuotaSpec, 3 status: ResourceQuotaStatus,
    }
    ResourceQuotaSpec {
        1 hard: {quantity}, 2 scopes: [text], 3 scopeSelector: ScopeSelector kept,
    }
    ResourceQuotaStatus {
        1 hard: {quantity}, 2 used: {quantity},
    }
    ScaleIOPersistentVolumeSource {
        1 gateway: text kept, 2 system: text kept, 3 secretRef: SecretReference kept,
        4 sslEnabled: flag kept, 5 protectionDomain: text, 6 storagePool: text, 7 storageMode: text,
        8 volumeName: text, 9 fsType: text, 10 readOnly: flag kept,
    }
    ScopeSelector {
        1 matchExpressions: [ScopedResourceSelectorRequirement],
    }
    ScopedResourceSelectorRequirement {
        1 scopeName: text kept, 2 operator: text kept, 3 values: [text],
    }
    SecretReference {
        1 name: text, 2 namespace: text,
    }
    StorageOSPersistentVolumeSource {
        1 volumeName: text, 2 volumeNamespace: text, 3 fsType: text, 4 readOnly: flag kept,
        5 secretRef: ObjectReference kept,
    }
    TopologySelectorLabelRequirement {
        1 key: text kept, 2 values: [text],
    }
    TopologySelectorTerm {
        1 matchLabelExpressions: [TopologySelectorLabelRequirement],
    }
    VolumeNodeAffinity {
        1 required: NodeSelector kept,
    }
}
