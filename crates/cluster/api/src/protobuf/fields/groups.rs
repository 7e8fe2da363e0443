//! Leases, endpoint slices, evictions and scales.

use super::cluster::ObjectReference;
use super::meta::{DeleteOptions, ObjectMeta};

messages! {
    Endpoint {
        1 addresses: [text], 2 conditions: EndpointConditions, 3 hostname: text nullable,
        4 targetRef: ObjectReference nullable, 5 deprecatedTopology: {text}, 6 nodeName: text nullable,
        7 zone: text nullable, 8 hints: EndpointHints nullable,
    }
    EndpointConditions {
        1 ready: flag nullable, 2 serving: flag nullable, 3 terminating: flag nullable,
    }
    EndpointHints {
        1 forZones: [ForZone], 2 forNodes: [ForNode],
    }
    EndpointPort {
        1 name: text nullable, 2 protocol: text nullable, 3 port: int nullable, 4 appProtocol: text nullable,
    }
    EndpointSlice {
        1 metadata: ObjectMeta, 2 endpoints: [Endpoint], 3 ports: [EndpointPort], 4 addressType: text kept,
    }
    Eviction {
        1 metadata: ObjectMeta, 2 deleteOptions: DeleteOptions nullable,
    }
    ForNode {
        1 name: text kept,
    }
    ForZone {
        1 name: text kept,
    }
    Lease {
        1 metadata: ObjectMeta, 2 spec: LeaseSpec,
    }
    LeaseSpec {
        1 holderIdentity: text nullable, 2 leaseDurationSeconds: int nullable,
        3 acquireTime: micro_time nullable, 4 renewTime: micro_time nullable,
        5 leaseTransitions: int nullable, 6 strategy: text nullable, 7 preferredHolder: text nullable,
    }
    Scale {
        1 metadata: ObjectMeta, 2 spec: ScaleSpec, 3 status: ScaleStatus,
    }
    ScaleSpec {
        1 replicas: int,
    }
    ScaleStatus {
        1 replicas: int kept, 2 selector: text,
    }
}
