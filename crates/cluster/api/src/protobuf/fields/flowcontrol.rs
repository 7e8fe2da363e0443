//! Messages of flowcontrol.apiserver.k8s.io.

use super::meta::ObjectMeta;

messages! {
    ExemptPriorityLevelConfiguration {
        1 nominalConcurrencyShares: int nullable, 2 lendablePercent: int nullable,
    }
    FlowDistinguisherMethod {
        1 type: text kept,
    }
    FlowSchema {
        1 metadata: ObjectMeta, 2 spec: FlowSchemaSpec, 3 status: FlowSchemaStatus,
    }
    FlowSchemaCondition {
        1 type: text, 2 status: text, 3 lastTransitionTime: time, 4 reason: text, 5 message: text,
    }
    FlowSchemaSpec {
        1 priorityLevelConfiguration: PriorityLevelConfigurationReference kept,
        2 matchingPrecedence: int kept, 3 distinguisherMethod: FlowDistinguisherMethod nullable,
        4 rules: [PolicyRulesWithSubjects],
    }
    FlowSchemaStatus {
        1 conditions: [FlowSchemaCondition],
    }
    GroupSubject {
        1 name: text kept,
    }
    LimitResponse {
        1 type: text kept, 2 queuing: QueuingConfiguration nullable,
    }
    LimitedPriorityLevelConfiguration {
        1 nominalConcurrencyShares: int nullable, 2 limitResponse: LimitResponse,
        3 lendablePercent: int nullable, 4 borrowingLimitPercent: int nullable,
    }
    NonResourcePolicyRule {
        1 verbs: [text], 6 nonResourceURLs: [text],
    }
    PolicyRulesWithSubjects {
        1 subjects: [Subject], 2 resourceRules: [ResourcePolicyRule],
        3 nonResourceRules: [NonResourcePolicyRule],
    }
    PriorityLevelConfiguration {
        1 metadata: ObjectMeta, 2 spec: PriorityLevelConfigurationSpec,
        3 status: PriorityLevelConfigurationStatus,
    }
    PriorityLevelConfigurationCondition {
        1 type: text, 2 status: text, 3 lastTransitionTime: time, 4 reason: text, 5 message: text,
    }
    PriorityLevelConfigurationReference {
        1 name: text kept,
    }
    PriorityLevelConfigurationSpec {
        1 type: text kept, 2 limited: LimitedPriorityLevelConfiguration nullable,
        3 exempt: ExemptPriorityLevelConfiguration nullable,
    }
    PriorityLevelConfigurationStatus {
        1 conditions: [PriorityLevelConfigurationCondition],
    }
    QueuingConfiguration {
        1 queues: int kept, 2 handSize: int kept, 3 queueLengthLimit: int kept,
    }
    ResourcePolicyRule {
        1 verbs: [text], 2 apiGroups: [text], 3 resources: [text], 4 clusterScope: flag, 5 namespaces: [text],
    }
    ServiceAccountSubject {
        1 namespace: text kept, 2 name: text kept,
    }
    Subject {
        1 kind: text kept, 2 user: UserSubject nullable, 3 group: GroupSubject nullable,
        4 serviceAccount: ServiceAccountSubject nullable,
    }
    UserSubject {
        1 name: text kept,
    }
}
