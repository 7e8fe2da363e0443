//! Messages of autoscaling/v2.

use super::meta::{LabelSelector, ObjectMeta};

messages! {
    ContainerResourceMetricSource {
        1 name: text kept, 2 target: MetricTarget kept, 3 container: text kept,
    }
    ContainerResourceMetricStatus {
        1 name: text kept, 2 current: MetricValueStatus kept, 3 container: text kept,
    }
    CrossVersionObjectReference {
        1 kind: text kept, 2 name: text kept, 3 apiVersion: text,
    }
    ExternalMetricSource {
        1 metric: MetricIdentifier kept, 2 target: MetricTarget kept,
    }
    ExternalMetricStatus {
        1 metric: MetricIdentifier kept, 2 current: MetricValueStatus kept,
    }
    HPAScalingPolicy {
        1 type: text kept, 2 value: int kept, 3 periodSeconds: int kept,
    }
    HPAScalingRules {
        1 selectPolicy: text, 2 policies: [HPAScalingPolicy], 3 stabilizationWindowSeconds: int kept,
        4 tolerance: quantity,
    }
    HorizontalPodAutoscaler {
        1 metadata: ObjectMeta, 2 spec: HorizontalPodAutoscalerSpec,
        3 status: HorizontalPodAutoscalerStatus,
    }
    HorizontalPodAutoscalerBehavior {
        1 scaleUp: HPAScalingRules kept, 2 scaleDown: HPAScalingRules kept,
    }
    HorizontalPodAutoscalerCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text,
        5 message: text,
    }
    HorizontalPodAutoscalerSpec {
        1 scaleTargetRef: CrossVersionObjectReference kept, 2 minReplicas: int kept,
        3 maxReplicas: int kept, 4 metrics: [MetricSpec],
        5 behavior: HorizontalPodAutoscalerBehavior kept,
    }
    HorizontalPodAutoscalerStatus {
        1 observedGeneration: int kept, 2 lastScaleTime: time, 3 currentReplicas: int kept,
        4 desiredReplicas: int kept, 5 currentMetrics: [MetricStatus],
        6 conditions: [HorizontalPodAutoscalerCondition],
    }
    MetricIdentifier {
        1 name: text kept, 2 selector: LabelSelector kept,
    }
    MetricSpec {
        1 type: text kept, 2 object: ObjectMetricSource kept, 3 pods: PodsMetricSource kept,
        4 resource: ResourceMetricSource kept, 5 external: ExternalMetricSource kept,
        7 containerResource: ContainerResourceMetricSource kept,
    }
    MetricStatus {
        1 type: text kept, 2 object: ObjectMetricStatus kept, 3 pods: PodsMetricStatus kept,
        4 resource: ResourceMetricStatus kept, 5 external: ExternalMetricStatus kept,
        7 containerResource: ContainerResourceMetricStatus kept,
    }
    MetricTarget {
        1 type: text kept, 2 value: quantity, 3 averageValue: quantity, 4 averageUtilization: int kept,
    }
    MetricValueStatus {
        1 value: quantity, 2 averageValue: quantity, 3 averageUtilization: int kept,
    }
    ObjectMetricSource {
        1 describedObject: CrossVersionObjectReference kept, 2 target: MetricTarget kept,
        3 metric: MetricIdentifier kept,
    }
    ObjectMetricStatus {
        1 metric: MetricIdentifier kept, 2 current: MetricValueStatus kept,
        3 describedObject: CrossVersionObjectReference kept,
    }
    PodsMetricSource {
        1 metric: MetricIdentifier kept, 2 target: MetricTarget kept,
    }
    PodsMetricStatus {
        1 metric: MetricIdentifier kept, 2 current: MetricValueStatus kept,
    }
    ResourceMetricSource {
        1 name: text kept, 2 target: MetricTarget kept,
    }
    ResourceMetricStatus {
        1 name: text kept, 2 current: MetricValueStatus kept,
    }
}
