//! Messages of admissionregistration.k8s.io.

use super::meta::{Condition, LabelSelector, ObjectMeta};

messages! {
    ApplyConfiguration {
        1 expression: text,
    }
    AuditAnnotation {
        1 key: text kept, 2 valueExpression: text kept,
    }
    ExpressionWarning {
        2 fieldRef: text kept, 3 warning: text kept,
    }
    JSONPatch {
        1 expression: text,
    }
    MatchCondition {
        1 name: text kept, 2 expression: text kept,
    }
    MatchResources {
        1 namespaceSelector: LabelSelector nullable, 2 objectSelector: LabelSelector nullable,
        3 resourceRules: [NamedRuleWithOperations], 4 excludeResourceRules: [NamedRuleWithOperations],
        7 matchPolicy: text nullable,
    }
    MutatingAdmissionPolicy {
        1 metadata: ObjectMeta, 2 spec: MutatingAdmissionPolicySpec,
    }
    MutatingAdmissionPolicyBinding {
        1 metadata: ObjectMeta, 2 spec: MutatingAdmissionPolicyBindingSpec,
    }
    MutatingAdmissionPolicyBindingSpec {
        1 policyName: text, 2 paramRef: ParamRef nullable, 3 matchResources: MatchResources nullable,
    }
    MutatingAdmissionPolicySpec {
        1 paramKind: ParamKind nullable, 2 matchConstraints: MatchResources nullable, 3 variables: [Variable],
        4 mutations: [Mutation], 5 failurePolicy: text nullable, 6 matchConditions: [MatchCondition],
        7 reinvocationPolicy: text,
    }
    MutatingWebhook {
        1 name: text kept, 2 clientConfig: WebhookClientConfig kept, 3 rules: [RuleWithOperations],
        4 failurePolicy: text nullable, 5 namespaceSelector: LabelSelector nullable,
        6 sideEffects: text nullable, 7 timeoutSeconds: int nullable, 8 admissionReviewVersions: [text],
        9 matchPolicy: text nullable, 10 reinvocationPolicy: text nullable,
        11 objectSelector: LabelSelector nullable, 12 matchConditions: [MatchCondition],
    }
    MutatingWebhookConfiguration {
        1 metadata: ObjectMeta, 2 webhooks: [MutatingWebhook],
    }
    Mutation {
        2 patchType: text kept, 3 applyConfiguration: ApplyConfiguration nullable,
        4 jsonPatch: JSONPatch nullable,
    }
    NamedRuleWithOperations {
        1 resourceNames: [text], 2 rule_with_operations: (RuleWithOperations),
    }
    ParamKind {
        1 apiVersion: text, 2 kind: text,
    }
    ParamRef {
        1 name: text, 2 namespace: text, 3 selector: LabelSelector nullable,
        4 parameterNotFoundAction: text nullable,
    }
    Rule {
        1 apiGroups: [text], 2 apiVersions: [text], 3 resources: [text], 4 scope: text nullable,
    }
    RuleWithOperations {
        1 operations: [text], 2 rule: (Rule),
    }
    ServiceReference {
        1 namespace: text kept, 2 name: text kept, 3 path: text nullable, 4 port: int nullable,
    }
    TypeChecking {
        1 expressionWarnings: [ExpressionWarning],
    }
    ValidatingAdmissionPolicy {
        1 metadata: ObjectMeta, 2 spec: ValidatingAdmissionPolicySpec,
        3 status: ValidatingAdmissionPolicyStatus,
    }
    ValidatingAdmissionPolicyBinding {
        1 metadata: ObjectMeta, 2 spec: ValidatingAdmissionPolicyBindingSpec,
    }
    ValidatingAdmissionPolicyBindingSpec {
        1 policyName: text, 2 paramRef: ParamRef nullable, 3 matchResources: MatchResources nullable,
        4 validationActions: [text],
    }
    ValidatingAdmissionPolicySpec {
        1 paramKind: ParamKind nullable, 2 matchConstraints: MatchResources nullable,
        3 validations: [Validation], 4 failurePolicy: text nullable, 5 auditAnnotations: [AuditAnnotation],
        6 matchConditions: [MatchCondition], 7 variables: [Variable],
    }
    ValidatingAdmissionPolicyStatus {
        1 observedGeneration: int, 2 typeChecking: TypeChecking nullable, 3 conditions: [Condition],
    }
    ValidatingWebhook {
        1 name: text kept, 2 clientConfig: WebhookClientConfig kept, 3 rules: [RuleWithOperations],
        4 failurePolicy: text nullable, 5 namespaceSelector: LabelSelector nullable,
        6 sideEffects: text nullable, 7 timeoutSeconds: int nullable, 8 admissionReviewVersions: [text],
        9 matchPolicy: text nullable, 10 objectSelector: LabelSelector nullable,
        11 matchConditions: [MatchCondition],
    }
    ValidatingWebhookConfiguration {
        1 metadata: ObjectMeta, 2 webhooks: [ValidatingWebhook],
    }
    Validation {
        1 expression: text kept, 2 message: text, 3 reason: text nullable, 4 messageExpression: text,
    }
    Variable {
        1 name: text kept, 2 expression: text kept,
    }
    WebhookClientConfig {
        1 service: ServiceReference nullable, 2 caBundle: bytes, 3 url: text nullable,
    }
}
