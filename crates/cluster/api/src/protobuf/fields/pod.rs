//! Pods as they are asked for.

use super::cluster::LocalObjectReference;
use super::meta::{LabelSelector, ObjectMeta};
use super::pod_status::PodStatus;
use super::volumes::{ObjectFieldSelector, ResourceFieldSelector, Volume};

messages! {
    Affinity {
        1 nodeAffinity: NodeAffinity nullable, 2 podAffinity: PodAffinity nullable,
        3 podAntiAffinity: PodAntiAffinity nullable,
    }
    AppArmorProfile {
        1 type: text kept, 2 localhostProfile: text nullable,
    }
    Capabilities {
        1 add: [text], 2 drop: [text],
    }
    ConfigMapEnvSource {
        1 localObjectReference: (LocalObjectReference), 2 optional: flag nullable,
    }
    ConfigMapKeySelector {
        1 localObjectReference: (LocalObjectReference), 2 key: text kept, 3 optional: flag nullable,
    }
    Container {
        1 name: text kept, 2 image: text, 3 command: [text], 4 args: [text], 5 workingDir: text,
        6 ports: [ContainerPort], 7 env: [EnvVar], 8 resources: ResourceRequirements,
        9 volumeMounts: [VolumeMount], 10 livenessProbe: Probe nullable, 11 readinessProbe: Probe nullable,
        12 lifecycle: Lifecycle nullable, 13 terminationMessagePath: text, 14 imagePullPolicy: text,
        15 securityContext: SecurityContext nullable, 16 stdin: flag, 17 stdinOnce: flag, 18 tty: flag,
        19 envFrom: [EnvFromSource], 20 terminationMessagePolicy: text, 21 volumeDevices: [VolumeDevice],
        22 startupProbe: Probe nullable, 23 resizePolicy: [ContainerResizePolicy],
        24 restartPolicy: text nullable, 25 restartPolicyRules: [ContainerRestartRule],
    }
    ContainerPort {
        1 name: text, 2 hostPort: int, 3 containerPort: int kept, 4 protocol: text, 5 hostIP: text,
    }
    ContainerResizePolicy {
        1 resourceName: text kept, 2 restartPolicy: text kept,
    }
    ContainerRestartRule {
        1 action: text, 2 exitCodes: ContainerRestartRuleOnExitCodes nullable,
    }
    ContainerRestartRuleOnExitCodes {
        1 operator: text, 2 values: [int],
    }
    EnvFromSource {
        1 prefix: text, 2 configMapRef: ConfigMapEnvSource nullable, 3 secretRef: SecretEnvSource nullable,
    }
    EnvVar {
        1 name: text kept, 2 value: text, 3 valueFrom: EnvVarSource nullable,
    }
    EnvVarSource {
        1 fieldRef: ObjectFieldSelector nullable, 2 resourceFieldRef: ResourceFieldSelector nullable,
        3 configMapKeyRef: ConfigMapKeySelector nullable, 4 secretKeyRef: SecretKeySelector nullable,
        5 fileKeyRef: FileKeySelector nullable,
    }
    EphemeralContainer {
        1 ephemeralContainerCommon: (EphemeralContainerCommon), 2 targetContainerName: text,
    }
    EphemeralContainerCommon {
        1 name: text kept, 2 image: text, 3 command: [text], 4 args: [text], 5 workingDir: text,
        6 ports: [ContainerPort], 7 env: [EnvVar], 8 resources: ResourceRequirements,
        9 volumeMounts: [VolumeMount], 10 livenessProbe: Probe nullable, 11 readinessProbe: Probe nullable,
        12 lifecycle: Lifecycle nullable, 13 terminationMessagePath: text, 14 imagePullPolicy: text,
        15 securityContext: SecurityContext nullable, 16 stdin: flag, 17 stdinOnce: flag, 18 tty: flag,
        19 envFrom: [EnvFromSource], 20 terminationMessagePolicy: text, 21 volumeDevices: [VolumeDevice],
        22 startupProbe: Probe nullable, 23 resizePolicy: [ContainerResizePolicy],
        24 restartPolicy: text nullable, 25 restartPolicyRules: [ContainerRestartRule],
    }
    ExecAction {
        1 command: [text],
    }
    FileKeySelector {
        1 volumeName: text kept, 2 path: text kept, 3 key: text kept, 4 optional: flag nullable,
    }
    GRPCAction {
        1 port: int kept, 2 service: text nullable,
    }
    HTTPGetAction {
        1 path: text, 2 port: int_or_text kept, 3 host: text, 4 scheme: text, 5 httpHeaders: [HTTPHeader],
    }
    HTTPHeader {
        1 name: text kept, 2 value: text kept,
    }
    HostAlias {
        1 ip: text kept, 2 hostnames: [text],
    }
    Lifecycle {
        1 postStart: LifecycleHandler nullable, 2 preStop: LifecycleHandler nullable,
        3 stopSignal: text nullable,
    }
    LifecycleHandler {
        1 exec: ExecAction nullable, 2 httpGet: HTTPGetAction nullable, 3 tcpSocket: TCPSocketAction nullable,
        4 sleep: SleepAction nullable,
    }
    NodeAffinity {
        1 requiredDuringSchedulingIgnoredDuringExecution: NodeSelector nullable,
        2 preferredDuringSchedulingIgnoredDuringExecution: [PreferredSchedulingTerm],
    }
    NodeSelector {
        1 nodeSelectorTerms: [NodeSelectorTerm],
    }
    NodeSelectorRequirement {
        1 key: text kept, 2 operator: text kept, 3 values: [text],
    }
    NodeSelectorTerm {
        1 matchExpressions: [NodeSelectorRequirement], 2 matchFields: [NodeSelectorRequirement],
    }
    Pod {
        1 metadata: ObjectMeta, 2 spec: PodSpec, 3 status: PodStatus,
    }
    PodAffinity {
        1 requiredDuringSchedulingIgnoredDuringExecution: [PodAffinityTerm],
        2 preferredDuringSchedulingIgnoredDuringExecution: [WeightedPodAffinityTerm],
    }
    PodAffinityTerm {
        1 labelSelector: LabelSelector nullable, 2 namespaces: [text], 3 topologyKey: text kept,
        4 namespaceSelector: LabelSelector nullable, 5 matchLabelKeys: [text], 6 mismatchLabelKeys: [text],
    }
    PodAntiAffinity {
        1 requiredDuringSchedulingIgnoredDuringExecution: [PodAffinityTerm],
        2 preferredDuringSchedulingIgnoredDuringExecution: [WeightedPodAffinityTerm],
    }
    PodDNSConfig {
        1 nameservers: [text], 2 searches: [text], 3 options: [PodDNSConfigOption],
    }
    PodDNSConfigOption {
        1 name: text, 2 value: text nullable,
    }
    PodOS {
        1 name: text kept,
    }
    PodReadinessGate {
        1 conditionType: text kept,
    }
    PodResourceClaim {
        1 name: text kept, 3 resourceClaimName: text nullable, 4 resourceClaimTemplateName: text nullable,
    }
    PodSchedulingGate {
        1 name: text kept,
    }
    PodSchedulingGroup {
        1 podGroupName: text nullable,
    }
    PodSecurityContext {
        1 seLinuxOptions: SELinuxOptions nullable, 2 runAsUser: int nullable, 3 runAsNonRoot: flag nullable,
        4 supplementalGroups: [int], 5 fsGroup: int nullable, 6 runAsGroup: int nullable, 7 sysctls: [Sysctl],
        8 windowsOptions: WindowsSecurityContextOptions nullable, 9 fsGroupChangePolicy: text nullable,
        10 seccompProfile: SeccompProfile nullable, 11 appArmorProfile: AppArmorProfile nullable,
        12 supplementalGroupsPolicy: text nullable, 13 seLinuxChangePolicy: text nullable,
    }
    PodSpec {
        1 volumes: [Volume], 2 containers: [Container], 3 restartPolicy: text,
        4 terminationGracePeriodSeconds: int nullable, 5 activeDeadlineSeconds: int nullable,
        6 dnsPolicy: text, 7 nodeSelector: {text}, 8 serviceAccountName: text, 9 serviceAccount: text,
        10 nodeName: text, 11 hostNetwork: flag, 12 hostPID: flag, 13 hostIPC: flag,
        14 securityContext: PodSecurityContext nullable, 15 imagePullSecrets: [LocalObjectReference],
        16 hostname: text, 17 subdomain: text, 18 affinity: Affinity nullable, 19 schedulerName: text,
        20 initContainers: [Container], 21 automountServiceAccountToken: flag nullable,
        22 tolerations: [Toleration], 23 hostAliases: [HostAlias], 24 priorityClassName: text,
        25 priority: int nullable, 26 dnsConfig: PodDNSConfig nullable,
        27 shareProcessNamespace: flag nullable, 28 readinessGates: [PodReadinessGate],
        29 runtimeClassName: text nullable, 30 enableServiceLinks: flag nullable,
        31 preemptionPolicy: text nullable, 32 overhead: {quantity},
        33 topologySpreadConstraints: [TopologySpreadConstraint],
        34 ephemeralContainers: [EphemeralContainer], 35 setHostnameAsFQDN: flag nullable,
        36 os: PodOS nullable, 37 hostUsers: flag nullable, 38 schedulingGates: [PodSchedulingGate],
        39 resourceClaims: [PodResourceClaim], 40 resources: ResourceRequirements nullable,
        41 hostnameOverride: text nullable, 43 schedulingGroup: PodSchedulingGroup nullable,
    }
    PodTemplateSpec {
        1 metadata: ObjectMeta, 2 spec: PodSpec,
    }
    PreferredSchedulingTerm {
        1 weight: int kept, 2 preference: NodeSelectorTerm kept,
    }
    Probe {
        1 handler: (ProbeHandler), 2 initialDelaySeconds: int, 3 timeoutSeconds: int, 4 periodSeconds: int,
        5 successThreshold: int, 6 failureThreshold: int, 7 terminationGracePeriodSeconds: int nullable,
    }
    ProbeHandler {
        1 exec: ExecAction nullable, 2 httpGet: HTTPGetAction nullable, 3 tcpSocket: TCPSocketAction nullable,
        4 grpc: GRPCAction nullable,
    }
    ResourceClaim {
        1 name: text kept, 2 request: text,
    }
    ResourceRequirements {
        1 limits: {quantity}, 2 requests: {quantity}, 3 claims: [ResourceClaim],
    }
    SELinuxOptions {
        1 user: text, 2 role: text, 3 type: text, 4 level: text,
    }
    SeccompProfile {
        1 type: text kept, 2 localhostProfile: text nullable,
    }
    SecretEnvSource {
        1 localObjectReference: (LocalObjectReference), 2 optional: flag nullable,
    }
    SecretKeySelector {
        1 localObjectReference: (LocalObjectReference), 2 key: text kept, 3 optional: flag nullable,
    }
    SecurityContext {
        1 capabilities: Capabilities nullable, 2 privileged: flag nullable,
        3 seLinuxOptions: SELinuxOptions nullable, 4 runAsUser: int nullable, 5 runAsNonRoot: flag nullable,
        6 readOnlyRootFilesystem: flag nullable, 7 allowPrivilegeEscalation: flag nullable,
        8 runAsGroup: int nullable, 9 procMount: text nullable,
        10 windowsOptions: WindowsSecurityContextOptions nullable, 11 seccompProfile: SeccompProfile nullable,
        12 appArmorProfile: AppArmorProfile nullable,
    }
    SleepAction {
        1 seconds: int kept,
    }
    Sysctl {
        1 name: text kept, 2 value: text kept,
    }
    TCPSocketAction {
        1 port: int_or_text kept, 2 host: text,
    }
    Toleration {
        1 key: text, 2 operator: text, 3 value: text, 4 effect: text, 5 tolerationSeconds: int nullable,
    }
    TopologySpreadConstraint {
        1 maxSkew: int kept, 2 topologyKey: text kept, 3 whenUnsatisfiable: text kept,
        4 labelSelector: LabelSelector nullable, 5 minDomains: int nullable,
        6 nodeAffinityPolicy: text nullable, 7 nodeTaintsPolicy: text nullable, 8 matchLabelKeys: [text],
    }
    VolumeDevice {
        1 name: text kept, 2 devicePath: text kept,
    }
    VolumeMount {
        1 name: text kept, 2 readOnly: flag, 3 mountPath: text kept, 4 subPath: text,
        5 mountPropagation: text nullable, 6 subPathExpr: text, 7 recursiveReadOnly: text nullable,
    }
    WeightedPodAffinityTerm {
        1 weight: int kept, 2 podAffinityTerm: PodAffinityTerm kept,
    }
    WindowsSecurityContextOptions {
        1 gmsaCredentialSpecName: text nullable, 2 gmsaCredentialSpec: text nullable,
        3 runAsUserName: text nullable, 4 hostProcess: flag nullable,
    }
}
