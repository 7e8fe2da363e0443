//! Messages of resource.k8s.io.

use super::meta::{Condition, ObjectMeta};
use super::pod::NodeSelector;

messages! {
    AllocatedDeviceStatus {
        1 driver: text kept, 2 pool: text kept, 3 device: text kept, 4 conditions: [Condition],
        5 data: json nullable, 6 networkData: NetworkDeviceData nullable, 7 shareID: text nullable,
    }
    AllocationResult {
        1 devices: DeviceAllocationResult, 3 nodeSelector: NodeSelector nullable,
        5 allocationTimestamp: time nullable,
    }
    CELDeviceSelector {
        1 expression: text kept,
    }
    CapacityRequestPolicy {
        1 default: quantity nullable, 3 validValues: [quantity],
        4 validRange: CapacityRequestPolicyRange nullable,
    }
    CapacityRequestPolicyRange {
        1 min: quantity nullable, 2 max: quantity nullable, 3 step: quantity nullable,
    }
    CapacityRequirements {
        1 requests: {quantity},
    }
    Counter {
        1 value: quantity,
    }
    CounterSet {
        1 name: text kept, 2 counters: {Counter},
    }
    Device {
        1 name: text kept, 2 attributes: {DeviceAttribute}, 3 capacity: {DeviceCapacity},
        4 consumesCounters: [DeviceCounterConsumption], 5 nodeName: text nullable,
        6 nodeSelector: NodeSelector nullable, 7 allNodes: flag nullable, 8 taints: [DeviceTaint],
        9 bindsToNode: flag nullable, 10 bindingConditions: [text], 11 bindingFailureConditions: [text],
        12 allowMultipleAllocations: flag nullable,
        13 nodeAllocatableResourceMappings: {NodeAllocatableResourceMapping},
    }
    DeviceAllocationConfiguration {
        1 source: text kept, 2 requests: [text], 3 deviceConfiguration: (DeviceConfiguration),
    }
    DeviceAllocationResult {
        1 results: [DeviceRequestAllocationResult], 2 config: [DeviceAllocationConfiguration],
    }
    DeviceAttribute {
        2 int: int nullable, 3 bool: flag nullable, 4 string: text nullable, 5 version: text nullable,
        6 ints: [int], 7 bools: [flag], 8 strings: [text], 9 versions: [text],
    }
    DeviceCapacity {
        1 value: quantity, 2 requestPolicy: CapacityRequestPolicy nullable,
    }
    DeviceClaim {
        1 requests: [DeviceRequest], 2 constraints: [DeviceConstraint], 3 config: [DeviceClaimConfiguration],
    }
    DeviceClaimConfiguration {
        1 requests: [text], 2 deviceConfiguration: (DeviceConfiguration),
    }
    DeviceClass {
        1 metadata: ObjectMeta, 2 spec: DeviceClassSpec,
    }
    DeviceClassConfiguration {
        1 deviceConfiguration: (DeviceConfiguration),
    }
    DeviceClassSpec {
        1 selectors: [DeviceSelector], 2 config: [DeviceClassConfiguration],
        4 extendedResourceName: text nullable,
    }
    DeviceConfiguration {
        1 opaque: OpaqueDeviceConfiguration nullable,
    }
    DeviceConstraint {
        1 requests: [text], 2 matchAttribute: text nullable, 3 distinctAttribute: text nullable,
    }
    DeviceCounterConsumption {
        1 counterSet: text kept, 2 counters: {Counter},
    }
    DeviceRequest {
        1 name: text kept, 2 exactly: ExactDeviceRequest nullable, 3 firstAvailable: [DeviceSubRequest],
    }
    DeviceRequestAllocationResult {
        1 request: text kept, 2 driver: text kept, 3 pool: text kept, 4 device: text kept,
        5 adminAccess: flag nullable, 6 tolerations: [DeviceToleration], 7 bindingConditions: [text],
        8 bindingFailureConditions: [text], 9 shareID: text nullable, 10 consumedCapacity: {quantity},
    }
    DeviceSelector {
        1 cel: CELDeviceSelector nullable,
    }
    DeviceSubRequest {
        1 name: text kept, 2 deviceClassName: text kept, 3 selectors: [DeviceSelector],
        4 allocationMode: text, 5 count: int, 6 tolerations: [DeviceToleration],
        7 capacity: CapacityRequirements nullable,
    }
    DeviceTaint {
        1 key: text kept, 2 value: text, 3 effect: text kept, 4 timeAdded: time nullable,
    }
    DeviceToleration {
        1 key: text, 2 operator: text, 3 value: text, 4 effect: text, 5 tolerationSeconds: int nullable,
    }
    ExactDeviceRequest {
        1 deviceClassName: text kept, 2 selectors: [DeviceSelector], 3 allocationMode: text, 4 count: int,
        5 adminAccess: flag nullable, 6 tolerations: [DeviceToleration],
        7 capacity: CapacityRequirements nullable,
    }
    NetworkDeviceData {
        1 interfaceName: text, 2 ips: [text], 3 hardwareAddress: text,
    }
    NodeAllocatableResourceMapping {
        1 capacityKey: text nullable, 2 allocationMultiplier: quantity nullable,
    }
    OpaqueDeviceConfiguration {
        1 driver: text kept, 2 parameters: json,
    }
    ResourceClaim {
        1 metadata: ObjectMeta, 2 spec: ResourceClaimSpec, 3 status: ResourceClaimStatus,
    }
    ResourceClaimConsumerReference {
        1 apiGroup: text, 3 resource: text kept, 4 name: text kept, 5 uid: text kept,
    }
    ResourceClaimSpec {
        1 devices: DeviceClaim,
    }
    ResourceClaimStatus {
        1 allocation: AllocationResult nullable, 2 reservedFor: [ResourceClaimConsumerReference],
        4 devices: [AllocatedDeviceStatus],
    }
    ResourceClaimTemplate {
        1 metadata: ObjectMeta, 2 spec: ResourceClaimTemplateSpec,
    }
    ResourceClaimTemplateSpec {
        1 metadata: ObjectMeta, 2 spec: ResourceClaimSpec,
    }
    ResourcePool {
        1 name: text kept, 2 generation: int kept, 3 resourceSliceCount: int kept,
    }
    ResourceSlice {
        1 metadata: ObjectMeta, 2 spec: ResourceSliceSpec,
    }
    ResourceSliceSpec {
        1 driver: text kept, 2 pool: ResourcePool, 3 nodeName: text nullable,
        4 nodeSelector: NodeSelector nullable, 5 allNodes: flag nullable, 6 devices: [Device],
        7 perDeviceNodeSelection: flag nullable, 8 sharedCounters: [CounterSet],
    }
}
