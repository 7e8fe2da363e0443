//! Messages of authentication.k8s.io.

use super::meta::ObjectMeta;

messages! {
    BoundObjectReference {
        1 kind: text, 2 apiVersion: text, 3 name: text, 4 uid: text,
    }
    SelfSubjectReview {
        1 metadata: ObjectMeta, 2 status: SelfSubjectReviewStatus,
    }
    SelfSubjectReviewStatus {
        1 userInfo: UserInfo,
    }
    TokenRequest {
        1 metadata: ObjectMeta, 2 spec: TokenRequestSpec, 3 status: TokenRequestStatus,
    }
    TokenRequestSpec {
        1 audiences: [text], 3 boundObjectRef: BoundObjectReference nullable,
        4 expirationSeconds: int nullable,
    }
    TokenRequestStatus {
        1 token: text kept, 2 expirationTimestamp: time,
    }
    TokenReview {
        1 metadata: ObjectMeta, 2 spec: TokenReviewSpec, 3 status: TokenReviewStatus,
    }
    TokenReviewSpec {
        1 token: text, 2 audiences: [text],
    }
    TokenReviewStatus {
        1 authenticated: flag, 2 user: UserInfo, 3 error: text, 4 audiences: [text],
    }
    UserInfo {
        1 username: text, 2 uid: text, 3 groups: [text], 4 extra: {texts},
    }
}
