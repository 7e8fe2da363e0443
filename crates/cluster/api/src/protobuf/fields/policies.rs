//! Budgets of disruptions, priorities, classes of runtimes, requests for certificates.

use super::meta::{Condition, LabelSelector, ObjectMeta};
use super::pod::Toleration;

messages! {
    CertificateSigningRequest {
        1 metadata: ObjectMeta, 2 spec: CertificateSigningRequestSpec,
        3 status: CertificateSigningRequestStatus,
    }
    CertificateSigningRequestCondition {
        1 type: text kept, 2 reason: text, 3 message: text, 4 lastUpdateTime: time,
        5 lastTransitionTime: time, 6 status: text kept,
    }
    CertificateSigningRequestSpec {
        1 request: bytes kept, 2 username: text, 3 uid: text, 4 groups: [text], 5 usages: [text],
        6 extra: {texts}, 7 signerName: text kept, 8 expirationSeconds: int nullable,
    }
    CertificateSigningRequestStatus {
        1 conditions: [CertificateSigningRequestCondition], 2 certificate: bytes,
    }
    Overhead {
        1 podFixed: {quantity},
    }
    PodDisruptionBudget {
        1 metadata: ObjectMeta, 2 spec: PodDisruptionBudgetSpec, 3 status: PodDisruptionBudgetStatus,
    }
    PodDisruptionBudgetSpec {
        1 minAvailable: int_or_text nullable, 2 selector: LabelSelector nullable,
        3 maxUnavailable: int_or_text nullable, 4 unhealthyPodEvictionPolicy: text nullable,
    }
    PodDisruptionBudgetStatus {
        1 observedGeneration: int, 2 disruptedPods: {time}, 3 disruptionsAllowed: int kept,
        4 currentHealthy: int kept, 5 desiredHealthy: int kept, 6 expectedPods: int kept,
        7 conditions: [Condition],
    }
    PriorityClass {
        1 metadata: ObjectMeta, 2 value: int kept, 3 globalDefault: flag, 4 description: text,
        5 preemptionPolicy: text nullable,
    }
    RuntimeClass {
        1 metadata: ObjectMeta, 2 handler: text kept, 3 overhead: Overhead nullable,
        4 scheduling: Scheduling nullable,
    }
    Scheduling {
        1 nodeSelector: {text}, 2 tolerations: [Toleration],
    }
}
