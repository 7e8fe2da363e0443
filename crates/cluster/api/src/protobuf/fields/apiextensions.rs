//! Messages of apiextensions.k8s.io. A schema has schemas in it.

use super::meta::ObjectMeta;

messages! {
    CustomResourceColumnDefinition {
        1 name: text kept, 2 type: text kept, 3 format: text, 4 description: text, 5 priority: int,
        6 jsonPath: text kept,
    }
    CustomResourceConversion {
        1 strategy: text kept, 2 webhook: WebhookConversion nullable,
    }
    CustomResourceDefinition {
        1 metadata: ObjectMeta, 2 spec: CustomResourceDefinitionSpec,
        3 status: CustomResourceDefinitionStatus,
    }
    CustomResourceDefinitionCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text, 5 message: text,
        6 observedGeneration: int,
    }
    CustomResourceDefinitionNames {
        1 plural: text kept, 2 singular: text, 3 shortNames: [text], 4 kind: text kept, 5 listKind: text,
        6 categories: [text],
    }
    CustomResourceDefinitionSpec {
        1 group: text kept, 3 names: CustomResourceDefinitionNames, 4 scope: text kept,
        7 versions: [CustomResourceDefinitionVersion], 9 conversion: CustomResourceConversion nullable,
        10 preserveUnknownFields: flag,
    }
    CustomResourceDefinitionStatus {
        1 conditions: [CustomResourceDefinitionCondition], 2 acceptedNames: CustomResourceDefinitionNames,
        3 storedVersions: [text], 4 observedGeneration: int,
    }
    CustomResourceDefinitionVersion {
        1 name: text kept, 2 served: flag kept, 3 storage: flag kept,
        4 schema: CustomResourceValidation nullable, 5 subresources: CustomResourceSubresources nullable,
        6 additionalPrinterColumns: [CustomResourceColumnDefinition], 7 deprecated: flag,
        8 deprecationWarning: text nullable, 9 selectableFields: [SelectableField],
    }
    CustomResourceSubresourceScale {
        1 specReplicasPath: text kept, 2 statusReplicasPath: text kept, 3 labelSelectorPath: text nullable,
    }
    CustomResourceSubresourceStatus {
    }
    CustomResourceSubresources {
        1 status: CustomResourceSubresourceStatus nullable, 2 scale: CustomResourceSubresourceScale nullable,
    }
    CustomResourceValidation {
        1 openAPIV3Schema: JSONSchemaProps nullable,
    }
    ExternalDocumentation {
        1 description: text, 2 url: text,
    }
    JSONSchemaProps {
        1 id: text, 2 "$schema": text, 3 "$ref": text nullable, 4 description: text, 5 type: text,
        6 format: text, 7 title: text, 8 default: json nullable, 9 maximum: double nullable,
        10 exclusiveMaximum: flag, 11 minimum: double nullable, 12 exclusiveMinimum: flag,
        13 maxLength: int nullable, 14 minLength: int nullable, 15 pattern: text, 16 maxItems: int nullable,
        17 minItems: int nullable, 18 uniqueItems: flag, 19 multipleOf: double nullable, 20 enum: [json],
        21 maxProperties: int nullable, 22 minProperties: int nullable, 23 required: [text],
        24 items: or_list nullable, 25 allOf: [JSONSchemaProps], 26 oneOf: [JSONSchemaProps],
        27 anyOf: [JSONSchemaProps], 28 not: JSONSchemaProps nullable, 29 properties: {JSONSchemaProps},
        30 additionalProperties: or_flag nullable, 31 patternProperties: {JSONSchemaProps},
        32 dependencies: {or_texts}, 33 additionalItems: or_flag nullable, 34 definitions: {JSONSchemaProps},
        35 externalDocs: ExternalDocumentation nullable, 36 example: json nullable, 37 nullable: flag,
        38 "x-kubernetes-preserve-unknown-fields": flag nullable, 39 "x-kubernetes-embedded-resource": flag,
        40 "x-kubernetes-int-or-string": flag, 41 "x-kubernetes-list-map-keys": [text],
        42 "x-kubernetes-list-type": text nullable, 43 "x-kubernetes-map-type": text nullable,
        44 "x-kubernetes-validations": [ValidationRule],
    }
    SelectableField {
        1 jsonPath: text kept,
    }
    ServiceReference {
        1 namespace: text kept, 2 name: text kept, 3 path: text nullable, 4 port: int nullable,
    }
    ValidationRule {
        1 rule: text kept, 2 message: text, 3 messageExpression: text, 4 reason: text nullable,
        5 fieldPath: text, 6 optionalOldSelf: flag nullable,
    }
    WebhookClientConfig {
        1 service: ServiceReference nullable, 2 caBundle: bytes, 3 url: text nullable,
    }
    WebhookConversion {
        2 clientConfig: WebhookClientConfig nullable, 3 conversionReviewVersions: [text],
    }
}
