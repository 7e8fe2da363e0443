//! Messages of apiregistration.k8s.io.

use super::meta::ObjectMeta;

messages! {
    APIService {
        1 metadata: ObjectMeta, 2 spec: APIServiceSpec, 3 status: APIServiceStatus,
    }
    APIServiceCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text, 5 message: text,
    }
    APIServiceSpec {
        1 service: ServiceReference nullable, 2 group: text, 3 version: text, 4 insecureSkipTLSVerify: flag,
        5 caBundle: bytes, 7 groupPriorityMinimum: int kept, 8 versionPriority: int kept,
    }
    APIServiceStatus {
        1 conditions: [APIServiceCondition],
    }
    ServiceReference {
        1 namespace: text, 2 name: text, 3 port: int nullable,
    }
}
