//! Pods as they are asked for.

use super::cluster::LocalObjectReference;
use super::meta::{LabelSelector, ObjectMeta};
use super::pod_status::PodStatus;
use super::volumes::{ObjectFieldSelector, ResourceFieldSelector, Volume};

messages! {
    Affinity {
        1 nodeAffinity: NodeAffinity kept, 2 podAffinity: PodAffinity kept,
        3 podAntiAffinity: PodAntiAffinity kept,
    }
    AppArmorProfile {
        1 type: text kept, 2 localhostProfile: text kept,
    }
    Capabilities {
        1 add: [text], 2 drop: [text],
    }
    ConfigMapEnvSource {
        1 localObjectReference: (LocalObjectReference), 2 optional: flag kept,
    }
    ConfigMapKeySelector {
        1 localObjectReference: (LocalObjectReference), 2 key: text kept, 3 optional: flag kept,
    }
    Container {
        1 name: text kept, 2 image: text, 3 command: [text], 4 args: [text], 5 workingDir: text,
        6 ports: [ContainerPort], 7 env: [EnvVar], 8 resources: ResourceRequirements,
        9 volumeMounts: [VolumeMount], 10 livenessProbe: Probe kept, 11 readinessProbe: Probe kept,
        12 lifecycle: Lifecycle kept, 13 terminationMessagePath: text, 14 imagePullPolicy: text,
        15 securityContext: SecurityContext kept, 16 stdin: flag, 17 stdinOnce: flag, 18 tty: flag,
        19 envFrom: [EnvFromSource], 20 terminationMessagePolicy: text, 21 volumeDevices: [VolumeDevice],
        22 startupProbe: Probe kept, 23 resizePolicy: [ContainerResizePolicy], 24 restartPolicy: text kept,
        25 restartPolicyRules: [ContainerRestartRule],
    }
    ContainerPort {
        1 name: text, 2 hostPort: int, 3 containerPort: int kept, 4 protocol: text, 5 hostIP: text,
    }
    ContainerResizePolicy {
        1 resourceName: text kept, 2 restartPolicy: text kept,
    }
    ContainerRestartRule {
        1 action: text, 2 exitCodes: ContainerRestartRuleOnExitCodes kept,
    }
    ContainerRestartRuleOnExitCodes {
        1 operator: text, 2 values: [int],
    }
    EnvFromSource {
        1 prefix: text, 2 configMapRef: ConfigMapEnvSource kept, 3 secretRef: SecretEnvSource kept,
    }
    EnvVar {
        1 name: text kept, 2 value: text, 3 valueFrom: EnvVarSource kept,
    }
    EnvVarSource {
        1 fieldRef: ObjectFieldSelector kept, 2 resourceFieldRef: ResourceFieldSelector kept,
        3 configMapKeyRef: ConfigMapKeySelector kept, 4 secretKeyRef: SecretKeySelector kept,
        5 fileKeyRef: FileKeySelector kept,
    }
    EphemeralContainer {
        1 ephemeralContainerCommon: (EphemeralContainerCommon), 2 targetContainerName: text,
    }
    EphemeralContainerCommon {
        1 name: text kept, 2 image: text, 3 command: [text], 4 args: [text], 5 workingDir: text,
        6 ports: [ContainerPort], 7 env: [EnvVar], 8 resources: ResourceRequirements,
        9 volumeMounts: [VolumeMount], 10 livenessProbe: Probe kept, 11 readinessProbe: Probe kept,
        12 lifecycle: Lifecycle kept, 13 terminationMessagePath: text, 14 imagePullPolicy: text,
        15 securityContext: SecurityContext kept, 16 stdin: flag, 17 stdinOnce: flag, 18 tty: flag,
        19 envFrom: [EnvFromSource], 20 terminationMessagePolicy: text, 21 volumeDevices: [VolumeDevice],
        22 startupProbe: Probe kept, 23 resizePolicy: [ContainerResizePolicy], 24 restartPolicy: text kept,
        25 restartPolicyRules: [ContainerRestartRule],
    }
    ExecAction {
        1 command: [text],
    }
    FileKeySelector {
        1 volumeName: text kept, 2 path: text kept, 3 key: text kept, 4 optional: flag kept,
    }
    GRPCAction {
        1 port: int kept, 2 service: text kept,
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
        1 postStart: LifecycleHandler kept, 2 preStop: LifecycleHandler kept, 3 stopSignal: text kept,
    }
    LifecycleHandler {
        1 exec: ExecAction kept, 2 httpGet: HTTPGetAction kept, 3 tcpSocket: TCPSocketAction kept,
        4 sleep: SleepAction kept,
    }
    NodeAffinity {
        1 requiredDuringSchedulingIgnoredDuringExecution: NodeSelector kept,
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
        1 labelSelector: LabelSelector kept, 2 namespaces: [text], 3 topologyKey: text kept,
        4 namespaceSelector: LabelSelector kept, 5 matchLabelKeys: [text], 6 mismatchLabelKeys: [text],
    }
    PodAntiAffinity {
        1 requiredDuringSchedulingIgnoredDuringExecution: [PodAffinityTerm],
        2 preferredDuringSchedulingIgnoredDuringExecution: [WeightedPodAffinityTerm],
    }
    PodDNSConfig {
        1 nameservers: [text], 2 searches: [text], 3 options: [PodDNSConfigOption],
    }
    PodDNSConfigOption {
        1 name: text, 2 value: text kept,
    }
    PodOS {
        1 name: text kept,
    }
    PodReadinessGate {
        1 conditionType: text kept,
    }
    PodResourceClaim {
        1 name: text kept, 3 resourceClaimName: text kept, 4 resourceClaimTemplateName: text kept,
    }
    PodSchedulingGate {
        1 name: text kept,
    }
    PodSchedulingGroup {
        1 podGroupName: text kept,
    }
    PodSecurityContext {
        1 seLinuxOptions: SELinuxOptions kept, 2 runAsUser: int kept, 3 runAsNonRoot: flag kept,
        4 supplementalGroups: [int], 5 fsGroup: int kept, 6 runAsGroup: int kept, 7 sysctls: [Sysctl],
        8 windowsOptions: WindowsSecurityContextOptions kept, 9 fsGroupChangePolicy: text kept,
        10 seccompProfile: SeccompProfile kept, 11 appArmorProfile: AppArmorProfile kept,
        12 supplementalGroupsPolicy: text kept, 13 seLinuxChangePolicy: text kept,
    }
    PodSpec {
        1 volumes: [Volume], 2 containers: [Container], 3 restartPolicy: text,
        4 terminationGracePeriodSeconds: int kept, 5 activeDeadlineSeconds: int kept, 6 dnsPolicy: text,
        7 nodeSelector: {text}, 8 serviceAccountName: text, 9 serviceAccount: text, 10 nodeName: text,
        11 hostNetwork: flag, 12 hostPID: flag, 13 hostIPC: flag,
        14 securityContext: PodSecurityContext kept, 15 imagePullSecrets: [LocalObjectReference],
        16 hostname: text, 17 subdomain: text, 18 affinity: Affinity kept, 19 schedulerName: text,
        20 initContainers: [Container], 21 automountServiceAccountToken: flag kept,
        22 tolerations: [Toleration], 23 hostAliases: [HostAlias], 24 priorityClassName: text,
        25 priority: int kept, 26 dnsConfig: PodDNSConfig kept, 27 shareProcessNamespace: flag kept,
        28 readinessGates: [PodReadinessGate], 29 runtimeClassName: text kept,
        30 enableServiceLinks: flag kept, 31 preemptionPolicy: text kept, 32 overhead: {quantity},
        33 topologySpreadConstraints: [TopologySpreadConstraint],
        34 ephemeralContainers: [EphemeralContainer], 35 setHostnameAsFQDN: flag kept, 36 os: PodOS kept,
        37 hostUsers: flag kept, 38 schedulingGates: [PodSchedulingGate],
        39 resourceClaims: [PodResourceClaim], 40 resources: ResourceRequirements kept,
        41 hostnameOverride: text kept, 43 schedulingGroup: PodSchedulingGroup kept,
    }
    PodTemplateSpec {
        1 metadata: ObjectMeta, 2 spec: PodSpec,
    }
    PreferredSchedulingTerm {
        1 weight: int kept, 2 preference: NodeSelectorTerm kept,
    }
    Probe {
        1 handler: (ProbeHandler), 2 initialDelaySeconds: int, 3 timeoutSeconds: int, 4 periodSeconds: int,
        5 successThreshold: int, 6 failureThreshold: int, 7 terminationGracePeriodSeconds: int kept,
    }
    ProbeHandler {
        1 exec: ExecAction kept, 2 httpGet: HTTPGetAction kept, 3 tcpSocket: TCPSocketAction kept,
        4 grpc: GRPCAction kept,
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
        1 type: text kept, 2 localhostProfile: text kept,
    }
    SecretEnvSource {
        1 localObjectReference: (LocalObjectReference), 2 optional: flag kept,
    }
    SecretKeySelector {
        1 localObjectReference: (LocalObjectReference), 2 key: text kept, 3 optional: flag kept,
    }
    SecurityContext {
        1 capabilities: Capabilities kept, 2 privileged: flag kept, 3 seLinuxOptions: SELinuxOptions kept,
        4 runAsUser: int kept, 5 runAsNonRoot: flag kept, 6 readOnlyRootFilesystem: flag kept,
        7 allowPrivilegeEscalation: flag kept, 8 runAsGroup: int kept, 9 procMount: text kept,
        10 windowsOptions: WindowsSecurityContextOptions kept, 11 seccompProfile: SeccompProfile kept,
        12 appArmorProfile: AppArmorProfile kept,
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
        1 key: text, 2 operator: text, 3 value: text, 4 effect: text, 5 tolerationSeconds: int kept,
    }
    TopologySpreadConstraint {
        1 maxSkew: int kept, 2 topologyKey: text kept, 3 whenUnsatisfiable: text kept,
        4 labelSelector: LabelSelector kept, 5 minDomains: int kept, 6 nodeAffinityPolicy: text kept,
        7 nodeTaintsPolicy: text kept, 8 matchLabelKeys: [text],
    }
    VolumeDevice {
        1 name: text kept, 2 devicePath: text kept,
    }
    VolumeMount {
        1 name: text kept, 2 readOnly: flag, 3 mountPath: text kept, 4 subPath: text,
        5 mountPropagation: text kept, 6 subPathExpr: text, 7 recursiveReadOnly: text kept,
    }
    WeightedPodAffinityTerm {
        1 weight: int kept, 2 podAffinityTerm: PodAffinityTerm kept,
    }
    WindowsSecurityContextOptions {
        1 gmsaCredentialSpecName: text kept, 2 gmsaCredentialSpec: text kept, 3 runAsUserName: text kept,
        4 hostProcess: flag kept,
    }
}
