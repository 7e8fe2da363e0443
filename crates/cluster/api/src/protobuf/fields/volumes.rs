//! Volumes and what they come from.

use super::cluster::LocalObjectReference;
use super::meta::{LabelSelector, ObjectMeta};

messages! {
    AWSElasticBlockStoreVolumeSource {
        1 volumeID: text kept, 2 fsType: text, 3 partition: int, 4 readOnly: flag,
    }
    AzureDiskVolumeSource {
        1 diskName: text kept, 2 diskURI: text kept, 3 cachingMode: text nullable, 4 fsType: text nullable,
        5 readOnly: flag nullable, 6 kind: text nullable,
    }
    AzureFileVolumeSource {
        1 secretName: text kept, 2 shareName: text kept, 3 readOnly: flag,
    }
    CSIVolumeSource {
        1 driver: text kept, 2 readOnly: flag nullable, 3 fsType: text nullable, 4 volumeAttributes: {text},
        5 nodePublishSecretRef: LocalObjectReference nullable,
    }
    CephFSVolumeSource {
        1 monitors: [text], 2 path: text, 3 user: text, 4 secretFile: text,
        5 secretRef: LocalObjectReference nullable, 6 readOnly: flag,
    }
    CinderVolumeSource {
        1 volumeID: text kept, 2 fsType: text, 3 readOnly: flag, 4 secretRef: LocalObjectReference nullable,
    }
    ClusterTrustBundleProjection {
        1 name: text nullable, 2 signerName: text nullable, 3 labelSelector: LabelSelector nullable,
        4 path: text kept, 5 optional: flag nullable,
    }
    ConfigMapProjection {
        1 localObjectReference: (LocalObjectReference), 2 items: [KeyToPath], 4 optional: flag nullable,
    }
    ConfigMapVolumeSource {
        1 localObjectReference: (LocalObjectReference), 2 items: [KeyToPath], 3 defaultMode: int nullable,
        4 optional: flag nullable,
    }
    DownwardAPIProjection {
        1 items: [DownwardAPIVolumeFile],
    }
    DownwardAPIVolumeFile {
        1 path: text kept, 2 fieldRef: ObjectFieldSelector nullable,
        3 resourceFieldRef: ResourceFieldSelector nullable, 4 mode: int nullable,
    }
    DownwardAPIVolumeSource {
        1 items: [DownwardAPIVolumeFile], 2 defaultMode: int nullable,
    }
    EmptyDirVolumeSource {
        1 medium: text, 2 sizeLimit: quantity nullable,
    }
    EphemeralVolumeSource {
        1 volumeClaimTemplate: PersistentVolumeClaimTemplate nullable,
    }
    FCVolumeSource {
        1 targetWWNs: [text], 2 lun: int nullable, 3 fsType: text, 4 readOnly: flag, 5 wwids: [text],
    }
    FlexVolumeSource {
        1 driver: text kept, 2 fsType: text, 3 secretRef: LocalObjectReference nullable, 4 readOnly: flag,
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
        1 path: text kept, 2 type: text nullable,
    }
    ISCSIVolumeSource {
        1 targetPortal: text kept, 2 iqn: text kept, 3 lun: int kept, 4 iscsiInterface: text, 5 fsType: text,
        6 readOnly: flag, 7 portals: [text], 8 chapAuthDiscovery: flag,
        10 secretRef: LocalObjectReference nullable, 11 chapAuthSession: flag,
        12 initiatorName: text nullable,
    }
    ImageVolumeSource {
        1 reference: text, 2 pullPolicy: text,
    }
    KeyToPath {
        1 key: text kept, 2 path: text kept, 3 mode: int nullable,
    }
    NFSVolumeSource {
        1 server: text kept, 2 path: text kept, 3 readOnly: flag,
    }
    ObjectFieldSelector {
        1 apiVersion: text, 2 fieldPath: text kept,
    }
    PersistentVolumeClaimSpec {
        1 accessModes: [text], 2 resources: VolumeResourceRequirements, 3 volumeName: text,
        4 selector: LabelSelector nullable, 5 storageClassName: text nullable, 6 volumeMode: text nullable,
        7 dataSource: TypedLocalObjectReference nullable, 8 dataSourceRef: TypedObjectReference nullable,
        9 volumeAttributesClassName: text nullable,
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
        1 signerName: text, 2 keyType: text, 3 maxExpirationSeconds: int nullable,
        4 credentialBundlePath: text, 5 keyPath: text, 6 certificateChainPath: text,
        7 userAnnotations: {text},
    }
    PortworxVolumeSource {
        1 volumeID: text kept, 2 fsType: text, 3 readOnly: flag,
    }
    ProjectedVolumeSource {
        1 sources: [VolumeProjection], 2 defaultMode: int nullable,
    }
    QuobyteVolumeSource {
        1 registry: text kept, 2 volume: text kept, 3 readOnly: flag, 4 user: text, 5 group: text,
        6 tenant: text,
    }
    RBDVolumeSource {
        1 monitors: [text], 2 image: text kept, 3 fsType: text, 4 pool: text, 5 user: text, 6 keyring: text,
        7 secretRef: LocalObjectReference nullable, 8 readOnly: flag,
    }
    ResourceFieldSelector {
        1 containerName: text, 2 resource: text kept, 3 divisor: quantity,
    }
    ScaleIOVolumeSource {
        1 gateway: text kept, 2 system: text kept, 3 secretRef: LocalObjectReference nullable,
        4 sslEnabled: flag, 5 protectionDomain: text, 6 storagePool: text, 7 storageMode: text,
        8 volumeName: text, 9 fsType: text, 10 readOnly: flag,
    }
    SecretProjection {
        1 localObjectReference: (LocalObjectReference), 2 items: [KeyToPath], 4 optional: flag nullable,
    }
    SecretVolumeSource {
        1 secretName: text, 2 items: [KeyToPath], 3 defaultMode: int nullable, 4 optional: flag nullable,
    }
    ServiceAccountTokenProjection {
        1 audience: text, 2 expirationSeconds: int nullable, 3 path: text kept,
    }
    StorageOSVolumeSource {
        1 volumeName: text, 2 volumeNamespace: text, 3 fsType: text, 4 readOnly: flag,
        5 secretRef: LocalObjectReference nullable,
    }
    TypedLocalObjectReference {
        1 apiGroup: text nullable, 2 kind: text kept, 3 name: text kept,
    }
    TypedObjectReference {
        1 apiGroup: text nullable, 2 kind: text kept, 3 name: text kept, 4 namespace: text nullable,
    }
    Volume {
        1 name: text kept, 2 volumeSource: (VolumeSource),
    }
    VolumeProjection {
        1 secret: SecretProjection nullable, 2 downwardAPI: DownwardAPIProjection nullable,
        3 configMap: ConfigMapProjection nullable,
        4 serviceAccountToken: ServiceAccountTokenProjection nullable,
        5 clusterTrustBundle: ClusterTrustBundleProjection nullable,
        6 podCertificate: PodCertificateProjection nullable,
    }
    VolumeResourceRequirements {
        1 limits: {quantity}, 2 requests: {quantity},
    }
    VolumeSource {
        1 hostPath: HostPathVolumeSource nullable, 2 emptyDir: EmptyDirVolumeSource nullable,
        3 gcePersistentDisk: GCEPersistentDiskVolumeSource nullable,
        4 awsElasticBlockStore: AWSElasticBlockStoreVolumeSource nullable,
        5 gitRepo: GitRepoVolumeSource nullable, 6 secret: SecretVolumeSource nullable,
        7 nfs: NFSVolumeSource nullable, 8 iscsi: ISCSIVolumeSource nullable,
        9 glusterfs: GlusterfsVolumeSource nullable,
        10 persistentVolumeClaim: PersistentVolumeClaimVolumeSource nullable,
        11 rbd: RBDVolumeSource nullable, 12 flexVolume: FlexVolumeSource nullable,
        13 cinder: CinderVolumeSource nullable, 14 cephfs: CephFSVolumeSource nullable,
        15 flocker: FlockerVolumeSource nullable, 16 downwardAPI: DownwardAPIVolumeSource nullable,
        17 fc: FCVolumeSource nullable, 18 azureFile: AzureFileVolumeSource nullable,
        19 configMap: ConfigMapVolumeSource nullable,
        20 vsphereVolume: VsphereVirtualDiskVolumeSource nullable, 21 quobyte: QuobyteVolumeSource nullable,
        22 azureDisk: AzureDiskVolumeSource nullable,
        23 photonPersistentDisk: PhotonPersistentDiskVolumeSource nullable,
        24 portworxVolume: PortworxVolumeSource nullable, 25 scaleIO: ScaleIOVolumeSource nullable,
        26 projected: ProjectedVolumeSource nullable, 27 storageos: StorageOSVolumeSource nullable,
        28 csi: CSIVolumeSource nullable, 29 ephemeral: EphemeralVolumeSource nullable,
        30 image: ImageVolumeSource nullable,
    }
    VsphereVirtualDiskVolumeSource {
        1 volumePath: text kept, 2 fsType: text, 3 storagePolicyName: text, 4 storagePolicyID: text,
    }
}
