//! Messages of admissionregistration.k8s.io.

use super::meta::{Condition, LabelSelector, ObjectMeta};

messages! {
    AuditAnnotation {
        1 key: text kept, 2 valueExpression: text kept,
    }
    ExpressionWarning {
        2 fieldRef: text kept, 3 warning: text kept,
    }
    MatchCondition {
        1 name: text kept, 2 expression: text kept,
    }
    MatchResources {
        1 namespaceSelector: LabelSelector kept, 2 objectSelector: LabelSelector kept,
        3 resourceRules: [NamedRuleWithOperations], 4 excludeResourceRules: [NamedRuleWithOperations],
        7 matchPolicy: text,
    }
    MutatingWebhook {
        1 name: text kept, 2 clientConfig: WebhookClientConfig kept, 3 rules: [RuleWithOperations],
        4 failurePolicy: text, 5 namespaceSelector: LabelSelector kept, 6 sideEffects: text kept,
        7 timeoutSeconds: int kept, 8 admissionReviewVersions: [text], 9 matchPolicy: text,
        10 reinvocationPolicy: text, 11 objectSelector: LabelSelector kept,
        12 matchConditions: [MatchCondition],
    }
    MutatingWebhookConfiguration {
        1 metadata: ObjectMeta, 2 webhooks: [MutatingWebhook],
    }
    NamedRuleWithOperations {
        1 resourceNames: [text], 2 rule_with_operations: (RuleWithOperations),
    }
    ParamKind {
        1 apiVersion: text, 2 kind: text,
    }
    ParamRef {
        1 name: text, 2 namespace: text, 3 selector: LabelSelector kept, 4 parameterNotFoundAction: text,
    }
    Rule {
        1 apiGroups: [text], 2 apiVersions: [text], 3 resources: [text], 4 scope: text,
    }
    RuleWithOperations {
        1 operations: [text], 2 rule: (Rule),
    }
    ServiceReference {
        1 namespace: text kept, 2 name: text kept, 3 path: text, 4 port: int kept,
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
        1 policyName: text kept, 2 paramRef: ParamRef kept, 3 matchResources: MatchResources kept,
        4 validationActions: [text],
    }
    ValidatingAdmissionPolicySpec {
        1 paramKind: ParamKind kept, 2 matchConstraints: MatchResources kept, 3 validations: [Validation],
        4 failurePolicy: text, 5 auditAnnotations: [AuditAnnotation], 6 matchConditions: [MatchCondition],
        7 variables: [Variable],
    }
    ValidatingAdmissionPolicyStatus {
        1 observedGeneration: int kept, 2 typeChecking: TypeChecking kept, 3 conditions: [Condition],
    }
    ValidatingWebhook {
        1 name: text kept, 2 clientConfig: WebhookClientConfig kept, 3 rules: [RuleWithOperations],
        4 failurePolicy: text, 5 namespaceSelector: LabelSelector kept, 6 sideEffects: text kept,
        7 timeoutSeconds: int kept, 8 admissionReviewVersions: [text], 9 matchPolicy: text,
        10 objectSelector: LabelSelector kept, 11 matchConditions: [MatchCondition],
    }
    ValidatingWebhookConfiguration {
        1 metadata: ObjectMeta, 2 webhooks: [ValidatingWebhook],
    }
    Validation {
        1 expression: text kept, 2 message: text, 3 reason: text, 4 messageExpression: text,
    }
    Variable {
        1 name: text kept, 2 expression: text kept,
    }
    WebhookClientConfig {
        1 service: ServiceReference kept, 2 caBundle: bytes, 3 url: text,
    }
}
