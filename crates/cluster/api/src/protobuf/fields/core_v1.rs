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
        1 secretName: text kept, 2 shareName: text kept, 3 readOnly: flag, 4 secretNamespace: text nullable,
    }
    CSIPersistentVolumeSource {
        1 driver: text kept, 2 volumeHandle: text kept, 3 readOnly: flag, 4 fsType: text,
        5 volumeAttributes: {text}, 6 controllerPublishSecretRef: SecretReference nullable,
        7 nodeStageSecretRef: SecretReference nullable, 8 nodePublishSecretRef: SecretReference nullable,
        9 controllerExpandSecretRef: SecretReference nullable,
        10 nodeExpandSecretRef: SecretReference nullable,
    }
    CephFSPersistentVolumeSource {
        1 monitors: [text], 2 path: text, 3 user: text, 4 secretFile: text,
        5 secretRef: SecretReference nullable, 6 readOnly: flag,
    }
    CinderPersistentVolumeSource {
        1 volumeID: text kept, 2 fsType: text, 3 readOnly: flag, 4 secretRef: SecretReference nullable,
    }
    FlexPersistentVolumeSource {
        1 driver: text kept, 2 fsType: text, 3 secretRef: SecretReference nullable, 4 readOnly: flag,
        5 options: {text},
    }
    GlusterfsPersistentVolumeSource {
        1 endpoints: text kept, 2 path: text kept, 3 readOnly: flag, 4 endpointsNamespace: text nullable,
    }
    ISCSIPersistentVolumeSource {
        1 targetPortal: text kept, 2 iqn: text kept, 3 lun: int kept, 4 iscsiInterface: text, 5 fsType: text,
        6 readOnly: flag, 7 portals: [text], 8 chapAuthDiscovery: flag,
        10 secretRef: SecretReference nullable, 11 chapAuthSession: flag, 12 initiatorName: text nullable,
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
        1 path: text kept, 2 fsType: text nullable,
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
        7 allocatedResourceStatuses: {text}, 8 currentVolumeAttributesClassName: text nullable,
        9 modifyVolumeStatus: ModifyVolumeStatus nullable,
    }
    PersistentVolumeSource {
        1 gcePersistentDisk: GCEPersistentDiskVolumeSource nullable,
        2 awsElasticBlockStore: AWSElasticBlockStoreVolumeSource nullable,
        3 hostPath: HostPathVolumeSource nullable, 4 glusterfs: GlusterfsPersistentVolumeSource nullable,
        5 nfs: NFSVolumeSource nullable, 6 rbd: RBDPersistentVolumeSource nullable,
        7 iscsi: ISCSIPersistentVolumeSource nullable, 8 cinder: CinderPersistentVolumeSource nullable,
        9 cephfs: CephFSPersistentVolumeSource nullable, 10 fc: FCVolumeSource nullable,
        11 flocker: FlockerVolumeSource nullable, 12 flexVolume: FlexPersistentVolumeSource nullable,
        13 azureFile: AzureFilePersistentVolumeSource nullable,
        14 vsphereVolume: VsphereVirtualDiskVolumeSource nullable, 15 quobyte: QuobyteVolumeSource nullable,
        16 azureDisk: AzureDiskVolumeSource nullable,
        17 photonPersistentDisk: PhotonPersistentDiskVolumeSource nullable,
        18 portworxVolume: PortworxVolumeSource nullable, 19 scaleIO: ScaleIOPersistentVolumeSource nullable,
        20 local: LocalVolumeSource nullable, 21 storageos: StorageOSPersistentVolumeSource nullable,
        22 csi: CSIPersistentVolumeSource nullable,
    }
    PersistentVolumeSpec {
        1 capacity: {quantity}, 2 persistent_volume_source: (PersistentVolumeSource), 3 accessModes: [text],
        4 claimRef: ObjectReference nullable, 5 persistentVolumeReclaimPolicy: text, 6 storageClassName: text,
        7 mountOptions: [text], 8 volumeMode: text nullable, 9 nodeAffinity: VolumeNodeAffinity nullable,
        10 volumeAttributesClassName: text nullable,
    }
    PersistentVolumeStatus {
        1 phase: text, 2 message: text, 3 reason: text, 4 lastPhaseTransitionTime: time nullable,
    }
    PodTemplate {
        1 metadata: ObjectMeta, 2 template: PodTemplateSpec,
    }
    RBDPersistentVolumeSource {
        1 monitors: [text], 2 image: text kept, 3 fsType: text, 4 pool: text, 5 user: text, 6 keyring: text,
        7 secretRef: SecretReference nullable, 8 readOnly: flag,
    }
    ReplicationController {
        1 metadata: ObjectMeta, 2 spec: ReplicationControllerSpec, 3 status: ReplicationControllerStatus,
    }
    ReplicationControllerCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text, 5 message: text,
    }
    ReplicationControllerSpec {
        1 replicas: int nullable, 2 selector: {text}, 3 template: PodTemplateSpec nullable,
        4 minReadySeconds: int,
    }
    ReplicationControllerStatus {
        1 replicas: int kept, 2 fullyLabeledReplicas: int, 3 observedGeneration: int, 4 readyReplicas: int,
        5 availableReplicas: int, 6 conditions: [ReplicationControllerCondition],
    }
    ResourceQuota {
        1 metadata: ObjectMeta, 2 spec: ResourceQuotaSpec, 3 status: ResourceQuotaStatus,
    }
    ResourceQuotaSpec {
        1 hard: {quantity}, 2 scopes: [text], 3 scopeSelector: ScopeSelector nullable,
    }
    ResourceQuotaStatus {
        1 hard: {quantity}, 2 used: {quantity},
    }
    ScaleIOPersistentVolumeSource {
        1 gateway: text kept, 2 system: text kept, 3 secretRef: SecretReference nullable, 4 sslEnabled: flag,
        5 protectionDomain: text, 6 storagePool: text, 7 storageMode: text, 8 volumeName: text,
        9 fsType: text, 10 readOnly: flag,
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
        1 volumeName: text, 2 volumeNamespace: text, 3 fsType: text, 4 readOnly: flag,
        5 secretRef: ObjectReference nullable,
    }
    TopologySelectorLabelRequirement {
        1 key: text kept, 2 values: [text],
    }
    TopologySelectorTerm {
        1 matchLabelExpressions: [TopologySelectorLabelRequirement],
    }
    VolumeNodeAffinity {
        1 required: NodeSelector nullable,
    }
}
