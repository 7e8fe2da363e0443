//! Volumes and what they come from.

use super::cluster::LocalObjectReference;
use super::meta::{LabelSelector, ObjectMeta};

messages! {
    AWSElasticBlockStoreVolumeSource {
        1 volumeID: text kept, 2 fsType: text, 3 partition: int, 4 readOnly: flag,
    }
    AzureDiskVolumeSource {
        1 diskName: text kept, 2 diskURI: text kept, 3 cachingMode: text kept, 4 fsType: text kept,
        5 readOnly: flag kept, 6 kind: text kept,
    }
    AzureFileVolumeSource {
        1 secretName: text kept, 2 shareName: text kept, 3 readOnly: flag,
    }
    CSIVolumeSource {
        1 driver: text kept, 2 readOnly: flag kept, 3 fsType: text kept, 4 volumeAttributes: {text},
        5 nodePublishSecretRef: LocalObjectReference kept,
    }
    CephFSVolumeSource {
        1 monitors: [text], 2 path: text, 3 user: text, 4 secretFile: text,
        5 secretRef: LocalObjectReference kept, 6 readOnly: flag,
    }
    CinderVolumeSource {
        1 volumeID: text kept, 2 fsType: text, 3 readOnly: flag, 4 secretRef: LocalObjectReference kept,
    }
    ClusterTrustBundleProjection {
        1 name: text kept, 2 signerName: text kept, 3 labelSelector: LabelSelector kept, 4 path: text kept,
        5 optional: flag kept,
    }
    ConfigMapProjection {
        1 localObjectReference: (LocalObjectReference), 2 items: [KeyToPath], 4 optional: flag kept,
    }
    ConfigMapVolumeSource {
        1 localObjectReference: (LocalObjectReference), 2 items: [KeyToPath], 3 defaultMode: int kept,
        4 optional: flag kept,
    }
    DownwardAPIProjection {
        1 items: [DownwardAPIVolumeFile],
    }
    DownwardAPIVolumeFile {
        1 path: text kept, 2 fieldRef: ObjectFieldSelector kept,
        3 resourceFieldRef: ResourceFieldSelector kept, 4 mode: int kept,
    }
    DownwardAPIVolumeSource {
        1 items: [DownwardAPIVolumeFile], 2 defaultMode: int kept,
    }
    EmptyDirVolumeSource {
        1 medium: text, 2 sizeLimit: quantity,
    }
    EphemeralVolumeSource {
        1 volumeClaimTemplate: PersistentVolumeClaimTemplate kept,
    }
    FCVolumeSource {
        1 targetWWNs: [text], 2 lun: int kept, 3 fsType: text, 4 readOnly: flag, 5 wwids: [text],
    }
    FlexVolumeSource {
        1 driver: text kept, 2 fsType: text, 3 secretRef: LocalObjectReference kept, 4 readOnly: flag,
        5 options: {text},
    }
    FlockerVolumeSource {
        1 datasetName: text, 2 datasetUUID: text,
    }
    GCEPersistentDiskVolumeSource {
        1 pdName: text kept, 2 fsType: text, 3 partition: int, 4 readOnly: flag,
    }
    GitRepoVolumeSource {
        1 repository: text kept, 2 revision: text, 3 directory: text,
    }
    GlusterfsVolumeSource {
        1 endpoints: text kept, 2 path: text kept, 3 readOnly: flag,
    }
    HostPathVolumeSource {
        1 path: text kept, 2 type: text kept,
    }
    ISCSIVolumeSource {
        1 targetPortal: text kept, 2 iqn: text kept, 3 lun: int kept, 4 iscsiInterface: text,
        5 fsType: text, 6 readOnly: flag, 7 portals: [text], 8 chapAuthDiscovery: flag,
        10 secretRef: LocalObjectReference kept, 11 chapAuthSession: flag, 12 initiatorName: text kept,
    }
    ImageVolumeSource {
        1 reference: text, 2 pullPolicy: text,
    }
    KeyToPath {
        1 key: text kept, 2 path: text kept, 3 mode: int kept,
    }
    NFSVolumeSource {
        1 server: text kept, 2 path: text kept, 3 readOnly: flag,
    }
    ObjectFieldSelector {
        1 apiVersion: text, 2 fieldPath: text kept,
    }
    PersistentVolumeClaimSpec {
        1 accessModes: [text], 2 resources: VolumeResourceRequirements, 3 volumeName: text,
        4 selector: LabelSelector kept, 5 storageClassName: text kept, 6 volumeMode: text kept,
        7 dataSource: TypedLocalObjectReference kept, 8 dataSourceRef: TypedObjectReference kept,
        9 volumeAttributesClassName: text kept,
    }
    PersistentVolumeClaimTemplate {
        1 metadata: ObjectMeta, 2 spec: PersistentVolumeClaimSpec kept,
    }
    PersistentVolumeClaimVolumeSource {
        1 claimName: text kept, 2 readOnly: flag,
    }
    PhotonPersistentDiskVolumeSource {
        1 pdID: text kept, 2 fsType: text,
    }
    PodCertificateProjection {
        1 signerName: text, 2 keyType: text, 3 maxExpirationSeconds: int kept, 4 credentialBundlePath: text,
        5 keyPath: text, 6 certificateChainPath: text, 7 userAnnotations: {text},
    }
    PortworxVolumeSource {
        1 volumeID: text kept, 2 fsType: text, 3 readOnly: flag,
    }
    ProjectedVolumeSource {
        1 sources: [VolumeProjection], 2 defaultMode: int kept,
    }
    QuobyteVolumeSource {
        1 registry: text kept, 2 volume: text kept, 3 readOnly: flag, 4 user: text, 5 group: text,
        6 tenant: text,
    }
    RBDVolumeSource {
        1 monitors: [text], 2 image: text kept, 3 fsType: text, 4 pool: text, 5 user: text, 6 keyring: text,
        7 secretRef: LocalObjectReference kept, 8 readOnly: flag,
    }
    ResourceFieldSelector {
        1 containerName: text, 2 resource: text kept, 3 divisor: quantity,
    }
    ScaleIOVolumeSource {
        1 gateway: text kept, 2 system: text kept, 3 secretRef: LocalObjectReference kept,
        4 sslEnabled: flag, 5 protectionDomain: text, 6 storagePool: text, 7 storageMode: text,
        8 volumeName: text, 9 fsType: text, 10 readOnly: flag,
    }
    SecretProjection {
        1 localObjectReference: (LocalObjectReference), 2 items: [KeyToPath], 4 optional: flag kept,
    }
    SecretVolumeSource {
        1 secretName: text, 2 items: [KeyToPath], 3 defaultMode: int kept, 4 optional: flag kept,
    }
    ServiceAccountTokenProjection {
        1 audience: text, 2 expirationSeconds: int kept, 3 path: text kept,
    }
    StorageOSVolumeSource {
        1 volumeName: text, 2 volumeNamespace: text, 3 fsType: text, 4 readOnly: flag,
        5 secretRef: LocalObjectReference kept,
    }
    TypedLocalObjectReference {
        1 apiGroup: text kept, 2 kind: text kept, 3 name: text kept,
    }
    TypedObjectReference {
        1 apiGroup: text kept, 2 kind: text kept, 3 name: text kept, 4 namespace: text kept,
    }
    Volume {
        1 name: text kept, 2 volumeSource: (VolumeSource),
    }
    VolumeProjection {
        1 secret: SecretProjection kept, 2 downwardAPI: DownwardAPIProjection kept,
        3 configMap: ConfigMapProjection kept, 4 serviceAccountToken: ServiceAccountTokenProjection kept,
        5 clusterTrustBundle: ClusterTrustBundleProjection kept,
        6 podCertificate: PodCertificateProjection kept,
    }
    VolumeResourceRequirements {
        1 limits: {quantity}, 2 requests: {quantity},
    }
    VolumeSource {
        1 hostPath: HostPathVolumeSource kept, 2 emptyDir: EmptyDirVolumeSource kept,
        3 gcePersistentDisk: GCEPersistentDiskVolumeSource kept,
        4 awsElasticBlockStore: AWSElasticBlockStoreVolumeSource kept, 5 gitRepo: GitRepoVolumeSource kept,
        6 secret: SecretVolumeSource kept, 7 nfs: NFSVolumeSource kept, 8 iscsi: ISCSIVolumeSource kept,
        9 glusterfs: GlusterfsVolumeSource kept,
        10 persistentVolumeClaim: PersistentVolumeClaimVolumeSource kept, 11 rbd: RBDVolumeSource kept,
        12 flexVolume: FlexVolumeSource kept, 13 cinder: CinderVolumeSource kept,
        14 cephfs: CephFSVolumeSource kept, 15 flocker: FlockerVolumeSource kept,
        16 downwardAPI: DownwardAPIVolumeSource kept, 17 fc: FCVolumeSource kept,
        18 azureFile: AzureFileVolumeSource kept, 19 configMap: ConfigMapVolumeSource kept,
        20 vsphereVolume: VsphereVirtualDiskVolumeSource kept, 21 quobyte: QuobyteVolumeSource kept,
        22 azureDisk: AzureDiskVolumeSource kept,
        23 photonPersistentDisk: PhotonPersistentDiskVolumeSource kept,
        24 portworxVolume: PortworxVolumeSource kept, 25 scaleIO: ScaleIOVolumeSource kept,
        26 projected: ProjectedVolumeSource kept, 27 storageos: StorageOSVolumeSource kept,
        28 csi: CSIVolumeSource kept, 29 ephemeral: EphemeralVolumeSource kept,
        30 image: ImageVolumeSource kept,
    }
    VsphereVirtualDiskVolumeSource {
        1 volumePath: text kept, 2 fsType: text, 3 storagePolicyName: text, 4 storagePolicyID: text,
    }
}
