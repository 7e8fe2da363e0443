//! The core group besides pods.

use super::meta::{Condition, ObjectMeta};

messages! {
    AttachedVolume {
        1 name: text kept, 2 devicePath: text kept,
    }
    Binding {
        1 metadata: ObjectMeta, 2 target: ObjectReference kept,
    }
    ClientIPConfig {
        1 timeoutSeconds: int nullable,
    }
    ComponentCondition {
        1 type: text kept, 2 status: text kept, 3 message: text, 4 error: text,
    }
    ComponentStatus {
        1 metadata: ObjectMeta, 2 conditions: [ComponentCondition],
    }
    ConfigMap {
        1 metadata: ObjectMeta, 2 data: {text}, 3 binaryData: {bytes}, 4 immutable: flag nullable,
    }
    ConfigMapNodeConfigSource {
        1 namespace: text kept, 2 name: text kept, 3 uid: text, 4 resourceVersion: text,
        5 kubeletConfigKey: text kept,
    }
    ContainerImage {
        1 names: [text], 2 sizeBytes: int,
    }
    DaemonEndpoint {
        1 Port: int kept,
    }
    EndpointAddress {
        1 ip: text kept, 2 targetRef: ObjectReference nullable, 3 hostname: text, 4 nodeName: text nullable,
    }
    EndpointPort {
        1 name: text, 2 port: int kept, 3 protocol: text, 4 appProtocol: text nullable,
    }
    EndpointSubset {
        1 addresses: [EndpointAddress], 2 notReadyAddresses: [EndpointAddress], 3 ports: [EndpointPort],
    }
    Endpoints {
        1 metadata: ObjectMeta, 2 subsets: [EndpointSubset],
    }
    Event {
        1 metadata: ObjectMeta kept, 2 involvedObject: ObjectReference kept, 3 reason: text, 4 message: text,
        5 source: EventSource, 6 firstTimestamp: time, 7 lastTimestamp: time, 8 count: int, 9 type: text,
        10 eventTime: micro_time, 11 series: EventSeries nullable, 12 action: text,
        13 related: ObjectReference nullable, 14 reportingComponent: text kept,
        15 reportingInstance: text kept,
    }
    EventSeries {
        1 count: int, 2 lastObservedTime: micro_time,
    }
    EventSource {
        1 component: text, 2 host: text,
    }
    LoadBalancerIngress {
        1 ip: text, 2 hostname: text, 3 ipMode: text nullable, 4 ports: [PortStatus],
    }
    LoadBalancerStatus {
        1 ingress: [LoadBalancerIngress],
    }
    LocalObjectReference {
        1 name: text,
    }
    Namespace {
        1 metadata: ObjectMeta, 2 spec: NamespaceSpec, 3 status: NamespaceStatus,
    }
    NamespaceCondition {
        1 type: text kept, 2 status: text kept, 4 lastTransitionTime: time, 5 reason: text, 6 message: text,
    }
    NamespaceSpec {
        1 finalizers: [text],
    }
    NamespaceStatus {
        1 phase: text, 2 conditions: [NamespaceCondition],
    }
    Node {
        1 metadata: ObjectMeta, 2 spec: NodeSpec, 3 status: NodeStatus,
    }
    NodeAddress {
        1 type: text kept, 2 address: text kept,
    }
    NodeCondition {
        1 type: text kept, 2 status: text kept, 3 lastHeartbeatTime: time, 4 lastTransitionTime: time,
        5 reason: text, 6 message: text,
    }
    NodeConfigSource {
        2 configMap: ConfigMapNodeConfigSource nullable,
    }
    NodeConfigStatus {
        1 assigned: NodeConfigSource nullable, 2 active: NodeConfigSource nullable,
        3 lastKnownGood: NodeConfigSource nullable, 4 error: text,
    }
    NodeDaemonEndpoints {
        1 kubeletEndpoint: DaemonEndpoint,
    }
    NodeFeatures {
        1 supplementalGroupsPolicy: flag nullable,
    }
    NodeRuntimeHandler {
        1 name: text kept, 2 features: NodeRuntimeHandlerFeatures nullable,
    }
    NodeRuntimeHandlerFeatures {
        1 recursiveReadOnlyMounts: flag nullable, 2 userNamespaces: flag nullable,
    }
    NodeSpec {
        1 podCIDR: text, 2 externalID: text, 3 providerID: text, 4 unschedulable: flag, 5 taints: [Taint],
        6 configSource: NodeConfigSource nullable, 7 podCIDRs: [text],
    }
    NodeStatus {
        1 capacity: {quantity}, 2 allocatable: {quantity}, 3 phase: text, 4 conditions: [NodeCondition],
        5 addresses: [NodeAddress], 6 daemonEndpoints: NodeDaemonEndpoints, 7 nodeInfo: NodeSystemInfo,
        8 images: [ContainerImage], 9 volumesInUse: [text], 10 volumesAttached: [AttachedVolume],
        11 config: NodeConfigStatus nullable, 12 runtimeHandlers: [NodeRuntimeHandler],
        13 features: NodeFeatures nullable, 14 declaredFeatures: [text],
    }
    NodeSwapStatus {
        1 capacity: int nullable,
    }
    NodeSystemInfo {
        1 machineID: text kept, 2 systemUUID: text kept, 3 bootID: text kept, 4 kernelVersion: text kept,
        5 osImage: text kept, 6 containerRuntimeVersion: text kept, 7 kubeletVersion: text kept,
        8 kubeProxyVersion: text kept, 9 operatingSystem: text kept, 10 architecture: text kept,
        11 swap: NodeSwapStatus nullable,
    }
    ObjectReference {
        1 kind: text, 2 namespace: text, 3 name: text, 4 uid: text, 5 apiVersion: text,
        6 resourceVersion: text, 7 fieldPath: text,
    }
    PortStatus {
        1 port: int kept, 2 protocol: text kept, 3 error: text nullable,
    }
    Secret {
        1 metadata: ObjectMeta, 2 data: {bytes}, 3 type: text, 4 stringData: {text},
        5 immutable: flag nullable,
    }
    Service {
        1 metadata: ObjectMeta, 2 spec: ServiceSpec, 3 status: ServiceStatus,
    }
    ServiceAccount {
        1 metadata: ObjectMeta, 2 secrets: [ObjectReference], 3 imagePullSecrets: [LocalObjectReference],
        4 automountServiceAccountToken: flag nullable,
    }
    ServicePort {
        1 name: text, 2 protocol: text, 3 port: int kept, 4 targetPort: int_or_text, 5 nodePort: int,
        6 appProtocol: text nullable,
    }
    ServiceSpec {
        1 ports: [ServicePort], 2 selector: {text}, 3 clusterIP: text, 4 type: text, 5 externalIPs: [text],
        7 sessionAffinity: text, 8 loadBalancerIP: text, 9 loadBalancerSourceRanges: [text],
        10 externalName: text, 11 externalTrafficPolicy: text, 12 healthCheckNodePort: int,
        13 publishNotReadyAddresses: flag, 14 sessionAffinityConfig: SessionAffinityConfig nullable,
        17 ipFamilyPolicy: text nullable, 18 clusterIPs: [text], 19 ipFamilies: [text],
        20 allocateLoadBalancerNodePorts: flag nullable, 21 loadBalancerClass: text nullable,
        22 internalTrafficPolicy: text nullable, 23 trafficDistribution: text nullable,
    }
    ServiceStatus {
        1 loadBalancer: LoadBalancerStatus, 2 conditions: [Condition],
    }
    SessionAffinityConfig {
        1 clientIP: ClientIPConfig nullable,
    }
    Taint {
        1 key: text kept, 2 value: text, 3 effect: text kept, 4 timeAdded: time nullable,
    }
}
