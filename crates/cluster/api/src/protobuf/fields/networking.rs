//! Ingresses, network policies, ranges and addresses of services.

use super::meta::{Condition, LabelSelector, ObjectMeta};
use super::volumes::TypedLocalObjectReference;

messages! {
    HTTPIngressPath {
        1 path: text, 2 backend: IngressBackend kept, 3 pathType: text kept,
    }
    HTTPIngressRuleValue {
        1 paths: [HTTPIngressPath],
    }
    IPAddress {
        1 metadata: ObjectMeta, 2 spec: IPAddressSpec,
    }
    IPAddressSpec {
        1 parentRef: ParentReference kept,
    }
    IPBlock {
        1 cidr: text kept, 2 except: [text],
    }
    Ingress {
        1 metadata: ObjectMeta, 2 spec: IngressSpec, 3 status: IngressStatus,
    }
    IngressBackend {
        3 resource: TypedLocalObjectReference kept, 4 service: IngressServiceBackend kept,
    }
    IngressClass {
        1 metadata: ObjectMeta, 2 spec: IngressClassSpec,
    }
    IngressClassParametersReference {
        1 apiGroup: text kept, 2 kind: text kept, 3 name: text kept, 4 scope: text kept,
        5 namespace: text kept,
    }
    IngressClassSpec {
        1 controller: text, 2 parameters: IngressClassParametersReference kept,
    }
    IngressLoadBalancerIngress {
        1 ip: text, 2 hostname: text, 4 ports: [IngressPortStatus],
    }
    IngressLoadBalancerStatus {
        1 ingress: [IngressLoadBalancerIngress],
    }
    IngressPortStatus {
        1 port: int kept, 2 protocol: text kept, 3 error: text kept,
    }
    IngressRule {
        1 host: text, 2 ingressRuleValue: (IngressRuleValue),
    }
    IngressRuleValue {
        1 http: HTTPIngressRuleValue kept,
    }
    IngressServiceBackend {
        1 name: text kept, 2 port: ServiceBackendPort,
    }
    IngressSpec {
        1 defaultBackend: IngressBackend kept, 2 tls: [IngressTLS], 3 rules: [IngressRule],
        4 ingressClassName: text kept,
    }
    IngressStatus {
        1 loadBalancer: IngressLoadBalancerStatus,
    }
    IngressTLS {
        1 hosts: [text], 2 secretName: text,
    }
    NetworkPolicy {
        1 metadata: ObjectMeta, 2 spec: NetworkPolicySpec,
    }
    NetworkPolicyEgressRule {
        1 ports: [NetworkPolicyPort], 2 to: [NetworkPolicyPeer],
    }
    NetworkPolicyIngressRule {
        1 ports: [NetworkPolicyPort], 2 from: [NetworkPolicyPeer],
    }
    NetworkPolicyPeer {
        1 podSelector: LabelSelector kept, 2 namespaceSelector: LabelSelector kept, 3 ipBlock: IPBlock kept,
    }
    NetworkPolicyPort {
        1 protocol: text kept, 2 port: int_or_text kept, 3 endPort: int kept,
    }
    NetworkPolicySpec {
        1 podSelector: LabelSelector kept, 2 ingress: [NetworkPolicyIngressRule],
        3 egress: [NetworkPolicyEgressRule], 4 policyTypes: [text],
    }
    ParentReference {
        1 group: text, 2 resource: text, 3 namespace: text, 4 name: text,
    }
    ServiceBackendPort {
        1 name: text, 2 number: int,
    }
    ServiceCIDR {
        1 metadata: ObjectMeta, 2 spec: ServiceCIDRSpec, 3 status: ServiceCIDRStatus,
    }
    ServiceCIDRSpec {
        1 cidrs: [text],
    }
    ServiceCIDRStatus {
        1 conditions: [Condition],
    }
}
