//! Pods as they are.

use super::pod::ResourceRequirements;

messages! {
    ContainerExtendedResourceRequest {
        1 containerName: text kept, 2 resourceName: text kept, 3 requestName: text kept,
    }
    ContainerState {
        1 waiting: ContainerStateWaiting nullable, 2 running: ContainerStateRunning nullable,
        3 terminated: ContainerStateTerminated nullable,
    }
    ContainerStateRunning {
        1 startedAt: time,
    }
    ContainerStateTerminated {
        1 exitCode: int kept, 2 signal: int, 3 reason: text, 4 message: text, 5 startedAt: time,
        6 finishedAt: time, 7 containerID: text,
    }
    ContainerStateWaiting {
        1 reason: text, 2 message: text,
    }
    ContainerStatus {
        1 name: text kept, 2 state: ContainerState, 3 lastState: ContainerState, 4 ready: flag kept,
        5 restartCount: int kept, 6 image: text kept, 7 imageID: text kept, 8 containerID: text,
        9 started: flag nullable, 10 allocatedResources: {quantity},
        11 resources: ResourceRequirements nullable, 12 volumeMounts: [VolumeMountStatus],
        13 user: ContainerUser nullable, 14 allocatedResourcesStatus: [ResourceStatus],
        15 stopSignal: text nullable,
    }
    ContainerUser {
        1 linux: LinuxContainerUser nullable,
    }
    HostIP {
        1 ip: text kept,
    }
    ImageVolumeStatus {
        1 imageRef: text,
    }
    LinuxContainerUser {
        1 uid: int kept, 2 gid: int kept, 3 supplementalGroups: [int],
    }
    NodeAllocatableResourceClaimStatus {
        1 resourceClaimName: text kept, 2 containers: [text], 3 resources: {quantity},
    }
    PodCondition {
        1 type: text kept, 2 status: text kept, 3 lastProbeTime: time, 4 lastTransitionTime: time,
        5 reason: text, 6 message: text, 7 observedGeneration: int,
    }
    PodExtendedResourceClaimStatus {
        1 requestMappings: [ContainerExtendedResourceRequest], 2 resourceClaimName: text kept,
    }
    PodIP {
        1 ip: text kept,
    }
    PodResourceClaimStatus {
        1 name: text kept, 2 resourceClaimName: text nullable,
    }
    PodStatus {
        1 phase: text, 2 conditions: [PodCondition], 3 message: text, 4 reason: text, 5 hostIP: text,
        6 podIP: text, 7 startTime: time nullable, 8 containerStatuses: [ContainerStatus], 9 qosClass: text,
        10 initContainerStatuses: [ContainerStatus], 11 nominatedNodeName: text, 12 podIPs: [PodIP],
        13 ephemeralContainerStatuses: [ContainerStatus], 14 resize: text,
        15 resourceClaimStatuses: [PodResourceClaimStatus], 16 hostIPs: [HostIP], 17 observedGeneration: int,
        18 extendedResourceClaimStatus: PodExtendedResourceClaimStatus nullable,
        19 allocatedResources: {quantity}, 20 resources: ResourceRequirements nullable,
        21 nodeAllocatableResourceClaimStatuses: [NodeAllocatableResourceClaimStatus],
    }
    ResourceHealth {
        1 resourceID: text kept, 2 health: text, 6 message: text nullable,
    }
    ResourceStatus {
        1 name: text kept, 2 resources: [ResourceHealth],
    }
    VolumeMountStatus {
        1 name: text kept, 2 mountPath: text kept, 3 readOnly: flag, 4 recursiveReadOnly: text nullable,
        5 volumeStatus: VolumeStatus nullable,
    }
    VolumeStatus {
        1 image: ImageVolumeStatus nullable,
    }
}
