//! Aggregated discovery.

use super::meta::ObjectMeta;

messages! {
    APIGroupDiscovery {
        1 metadata: ObjectMeta, 2 versions: [APIVersionDiscovery],
    }
    APIResourceDiscovery {
        1 resource: text kept, 2 responseKind: GroupVersionKind nullable, 3 scope: text kept,
        4 singularResource: text kept, 5 verbs: [text], 6 shortNames: [text], 7 categories: [text],
        8 subresources: [APISubresourceDiscovery],
    }
    APISubresourceDiscovery {
        1 subresource: text kept, 2 responseKind: GroupVersionKind nullable,
        3 acceptedTypes: [GroupVersionKind], 4 verbs: [text],
    }
    APIVersionDiscovery {
        1 version: text kept, 2 resources: [APIResourceDiscovery], 3 freshness: text,
    }
    GroupVersionKind {
        1 group: text kept, 2 version: text kept, 3 kind: text kept,
    }
}
