//! Messages of version 3: those that a document of Kubernetes leads to.

use super::Shape::{Any, Default, Double, Flag, Int, List, Message as Of, OrFlag, OrReference, Text, Within};
use super::{Message, map};

pub(super) static DOCUMENT: Message = Message {
    fields: &[
        (1, "openapi", Text),
        (2, "info", Of(&INFO)),
        (4, "paths", Of(&PATHS)),
        (5, "components", Of(&COMPONENTS)),
    ],
    others: None,
    extensions: 9,
};

static INFO: Message = Message {
    fields: &[(1, "title", Text), (2, "description", Text), (6, "version", Text)],
    others: None,
    extensions: 7,
};

static PATHS: Message = Message { fields: &[], others: Some((1, Of(&PATH_ITEM))), extensions: 2 };

static PATH_ITEM: Message = Message {
    fields: &[
        (1, "$ref", Text),
        (2, "summary", Text),
        (3, "description", Text),
        (4, "get", Of(&OPERATION)),
        (5, "put", Of(&OPERATION)),
        (6, "post", Of(&OPERATION)),
        (7, "delete", Of(&OPERATION)),
        (8, "options", Of(&OPERATION)),
        (9, "head", Of(&OPERATION)),
        (10, "patch", Of(&OPERATION)),
        (11, "trace", Of(&OPERATION)),
        (13, "parameters", List(&OrReference(&PARAMETER))),
    ],
    others: None,
    extensions: 14,
};

static OPERATION: Message = Message {
    fields: &[
        (1, "tags", List(&Text)),
        (2, "summary", Text),
        (3, "description", Text),
        (4, "externalDocs", Of(&EXTERNAL_DOCS)),
        (5, "operationId", Text),
        (6, "parameters", List(&OrReference(&PARAMETER))),
        (7, "requestBody", OrReference(&REQUEST_BODY)),
        (8, "responses", Of(&RESPONSES)),
        (10, "deprecated", Flag),
    ],
    others: None,
    extensions: 13,
};

static EXTERNAL_DOCS: Message =
    Message { fields: &[(1, "description", Text), (2, "url", Text)], others: None, extensions: 3 };

static PARAMETER: Message = Message {
    fields: &[
        (1, "name", Text),
        (2, "in", Text),
        (3, "description", Text),
        (4, "required", Flag),
        (5, "deprecated", Flag),
        (6, "allowEmptyValue", Flag),
        (7, "style", Text),
        (8, "explode", Flag),
        (9, "allowReserved", Flag),
        (10, "schema", OrReference(&SCHEMA)),
        (11, "example", Any),
        (13, "content", Of(&MEDIA_TYPES)),
    ],
    others: None,
    extensions: 14,
};

static REQUEST_BODY: Message = Message {
    fields: &[(1, "description", Text), (2, "content", Of(&MEDIA_TYPES)), (3, "required", Flag)],
    others: None,
    extensions: 4,
};

static MEDIA_TYPES: Message = map(Of(&MEDIA_TYPE));

static MEDIA_TYPE: Message = Message {
    fields: &[(1, "schema", OrReference(&SCHEMA)), (2, "example", Any)],
    others: None,
    extensions: 5,
};

static RESPONSES: Message = Message {
    fields: &[(1, "default", OrReference(&RESPONSE))],
    others: Some((2, OrReference(&RESPONSE))),
    extensions: 3,
};

static RESPONSE: Message = Message {
    fields: &[(1, "description", Text), (3, "content", Of(&MEDIA_TYPES))],
    others: None,
    extensions: 5,
};

static COMPONENTS: Message =
    Message { fields: &[(1, "schemas", Of(&SCHEMAS))], others: None, extensions: 10 };

static SCHEMAS: Message = map(OrReference(&SCHEMA));

static SCHEMA: Message = Message {
    fields: &[
        (1, "nullable", Flag),
        (3, "readOnly", Flag),
        (4, "writeOnly", Flag),
        (6, "externalDocs", Of(&EXTERNAL_DOCS)),
        (7, "example", Any),
        (8, "deprecated", Flag),
        (9, "title", Text),
        (10, "multipleOf", Double),
        (11, "maximum", Double),
        (12, "exclusiveMaximum", Flag),
        (13, "minimum", Double),
        (14, "exclusiveMinimum", Flag),
        (15, "maxLength", Int),
        (16, "minLength", Int),
        (17, "pattern", Text),
        (18, "maxItems", Int),
        (19, "minItems", Int),
        (20, "uniqueItems", Flag),
        (21, "maxProperties", Int),
        (22, "minProperties", Int),
        (23, "required", List(&Text)),
        (24, "enum", List(&Any)),
        (25, "type", Text),
        (26, "allOf", List(&OrReference(&SCHEMA))),
        (27, "oneOf", List(&OrReference(&SCHEMA))),
        (28, "anyOf", List(&OrReference(&SCHEMA))),
        (29, "not", Of(&SCHEMA)),
        (30, "items", Within(&OrReference(&SCHEMA))),
        (31, "properties", Of(&SCHEMAS)),
        (32, "additionalProperties", OrFlag(&OrReference(&SCHEMA))),
        (33, "default", Default),
        (34, "description", Text),
        (35, "format", Text),
    ],
    others: None,
    extensions: 36,
};
