//! Leases, endpoint slices, evictions and scales.

use super::cluster::ObjectReference;
use super::meta::{DeleteOptions, ObjectMeta};

messages! {
    Endpoint {
        1 addresses: [text], 2 conditions: EndpointConditions, 3 hostname: text kept,
        4 targetRef: ObjectReference kept, 5 deprecatedTopology: {text}, 6 nodeName: text kept,
        7 zone: text kept, 8 hints: EndpointHints kept,
    }
    EndpointConditions {
        1 ready: flag kept, 2 serving: flag kept, 3 terminating: flag kept,
    }
    EndpointHints {
        1 forZones: [ForZone], 2 forNodes: [ForNode],
    }
    EndpointPort {
        1 name: text kept, 2 protocol: text kept, 3 port: int kept, 4 appProtocol: text kept,
    }
    EndpointSlice {
        1 metadata: ObjectMeta, 2 endpoints: [Endpoint], 3 ports: [EndpointPort], 4 addressType: text kept,
    }
    Eviction {
        1 metadata: ObjectMeta, 2 deleteOptions: DeleteOptions kept,
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
        1 holderIdentity: text kept, 2 leaseDurationSeconds: int kept, 3 acquireTime: micro_time,
        4 renewTime: micro_time, 5 leaseTransitions: int kept, 6 strategy: text kept,
        7 preferredHolder: text kept,
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
