//! A status that each kind takes.

use serde_json::{Value, json};

pub fn status_of(plural: &str) -> Value {
    match plural {
        // Its conditions are the server's.
        "customresourcedefinitions" => json!({"storedVersions": ["v1"]}),
        "cronjobs" => json!({"lastScheduleTime": "2026-01-01T00:00:00Z"}),
        "ingresses" => json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
        "jobs" => json!({"startTime": "2026-01-01T00:00:00Z"}),
        "persistentvolumes" => json!({"phase": "Failed", "message": "worn out"}),
        "poddisruptionbudgets" => json!({"desiredHealthy": 3}),
        "resourceclaims" => json!({}),
        "resourcequotas" => json!({"hard": {"pods": "7"}, "used": {"pods": "3"}}),
        "volumeattachments" => json!({"attached": true}),
        "horizontalpodautoscalers" => json!({"desiredReplicas": 3}),
        "certificatesigningrequests" => json!({}),
        "daemonsets" => json!({"numberReady": 3}),
        "replicasets" | "replicationcontrollers" | "statefulsets" => json!({"replicas": 3}),
        "validatingadmissionpolicies" => json!({"observedGeneration": 7}),
        _ => json!({"conditions": [{
            "type": "Seen", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": "Suite", "message": "seen",
        }]}),
    }
}
