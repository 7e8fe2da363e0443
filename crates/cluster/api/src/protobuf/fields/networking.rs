//! Ingresses, network policies, ranges and addresses of services.

use super::meta::{Condition, LabelSelector, ObjectMeta};
use super::volumes::TypedLocalObjectReference;

messages! {
    HTTPIngressPath {
        1 path: text, 2 backend: IngressBackend kept, 3 pathType: text nullable,
    }
    HTTPIngressRuleValue {
        1 paths: [HTTPIngressPath],
    }
    IPAddress {
        1 metadata: ObjectMeta, 2 spec: IPAddressSpec,
    }
    IPAddressSpec {
        1 parentRef: ParentReference nullable,
    }
    IPBlock {
        1 cidr: text kept, 2 except: [text],
    }
    Ingress {
        1 metadata: ObjectMeta, 2 spec: IngressSpec, 3 status: IngressStatus,
    }
    IngressBackend {
        3 resource: TypedLocalObjectReference nullable, 4 service: IngressServiceBackend nullable,
    }
    IngressClass {
        1 metadata: ObjectMeta, 2 spec: IngressClassSpec,
    }
    IngressClassParametersReference {
        1 apiGroup: text nullable, 2 kind: text kept, 3 name: text kept, 4 scope: text nullable,
        5 namespace: text nullable,
    }
    IngressClassSpec {
        1 controller: text, 2 parameters: IngressClassParametersReference nullable,
    }
    IngressLoadBalancerIngress {
        1 ip: text, 2 hostname: text, 4 ports: [IngressPortStatus],
    }
    IngressLoadBalancerStatus {
        1 ingress: [IngressLoadBalancerIngress],
    }
    IngressPortStatus {
        1 port: int kept, 2 protocol: text kept, 3 error: text nullable,
    }
    IngressRule {
        1 host: text, 2 ingressRuleValue: (IngressRuleValue),
    }
    IngressRuleValue {
        1 http: HTTPIngressRuleValue nullable,
    }
    IngressServiceBackend {
        1 name: text kept, 2 port: ServiceBackendPort,
    }
    IngressSpec {
        1 defaultBackend: IngressBackend nullable, 2 tls: [IngressTLS], 3 rules: [IngressRule],
        4 ingressClassName: text nullable,
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
        1 podSelector: LabelSelector nullable, 2 namespaceSelector: LabelSelector nullable,
        3 ipBlock: IPBlock nullable,
    }
    NetworkPolicyPort {
        1 protocol: text nullable, 2 port: int_or_text nullable, 3 endPort: int nullable,
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
