//! Messages of version 2: those that a document of Kubernetes leads to.

use super::Shape::{
    Any, Double, Flag, Int, List, Message as Of, OrFlag, OrReference, Parameter, Text, Within,
};
use super::{Field, Message, map};

pub(super) static DOCUMENT: Message = Message {
    fields: &[
        (1, "swagger", Text),
        (2, "info", Of(&INFO)),
        (8, "paths", Of(&PATHS)),
        (9, "definitions", Of(&SCHEMAS)),
    ],
    others: None,
    extensions: 16,
};

static INFO: Message = Message {
    fields: &[(1, "title", Text), (2, "version", Text), (3, "description", Text)],
    others: None,
    extensions: 7,
};

static PATHS: Message = Message { fields: &[], others: Some((2, Of(&PATH_ITEM))), extensions: 1 };

static PATH_ITEM: Message = Message {
    fields: &[
        (1, "$ref", Text),
        (2, "get", Of(&OPERATION)),
        (3, "put", Of(&OPERATION)),
        (4, "post", Of(&OPERATION)),
        (5, "delete", Of(&OPERATION)),
        (6, "options", Of(&OPERATION)),
        (7, "head", Of(&OPERATION)),
        (8, "patch", Of(&OPERATION)),
        (9, "parameters", List(&Parameter)),
    ],
    others: None,
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        (1, "tags", List(&Text)),
        (2, "summary", Text),
        (3, "description", Text),
        (4, "externalDocs", Of(&EXTERNAL_DOCS)),
        (5, "operationId", Text),
        (6, "produces", List(&Text)),
        (7, "consumes", List(&Text)),
        (8, "parameters", List(&Parameter)),
        (9, "responses", Of(&RESPONSES)),
        (10, "schemes", List(&Text)),
        (11, "deprecated", Flag),
    ],
    others: None,
    extensions: 13,
};

static EXTERNAL_DOCS: Message =
    Message { fields: &[(1, "description", Text), (2, "url", Text)], others: None, extensions: 3 };

static RESPONSES: Message = Message { fields: &[], others: Some((1, OrReference(&RESPONSE))), extensions: 2 };

static RESPONSE: Message = Message {
    fields: &[(1, "description", Text), (2, "schema", Within(&Of(&SCHEMA))), (3, "headers", Of(&HEADERS))],
    others: None,
    extensions: 5,
};

static HEADERS: Message = map(Of(&HEADER));

static HEADER: Message = Message {
    fields: &[(1, "type", Text), (2, "format", Text), (18, "description", Text)],
    others: None,
    extensions: 19,
};

pub(super) static BODY: Message = Message {
    fields: &[
        (1, "description", Text),
        (2, "name", Text),
        (3, "in", Text),
        (4, "required", Flag),
        (5, "schema", Of(&SCHEMA)),
    ],
    others: None,
    extensions: 6,
};

/// The message of a parameter elsewhere than in the body, and its number in the choice of them.
pub(super) fn parameter(place: &str) -> (u32, &'static Message) {
    match place {
        "header" => (1, &SHORT),
        "formData" => (2, &LONG),
        "query" => (3, &LONG),
        _ => (4, &SHORT),
    }
}

static SHORT: Message = Message { fields: &of_parameter(0), others: None, extensions: 22 };

/// It has a field more before the type: whether the value may be empty.
static LONG: Message = Message { fields: &of_parameter(1), others: None, extensions: 23 };

/// The fields of a parameter, those from the type on `later`.
const fn of_parameter(later: u32) -> [Field; 20] {
    [
        (1, "required", Flag),
        (2, "in", Text),
        (3, "description", Text),
        (4, "name", Text),
        (5 + later, "type", Text),
        (6 + later, "format", Text),
        (8 + later, "collectionFormat", Text),
        (9 + later, "default", Any),
        (10 + later, "maximum", Double),
        (11 + later, "exclusiveMaximum", Flag),
        (12 + later, "minimum", Double),
        (13 + later, "exclusiveMinimum", Flag),
        (14 + later, "maxLength", Int),
        (15 + later, "minLength", Int),
        (16 + later, "pattern", Text),
        (17 + later, "maxItems", Int),
        (18 + later, "minItems", Int),
        (19 + later, "uniqueItems", Flag),
        (20 + later, "enum", List(&Any)),
        (21 + later, "multipleOf", Double),
    ]
}

static SCHEMAS: Message = map(Of(&SCHEMA));

static SCHEMA: Message = Message {
    fields: &[
        (1, "$ref", Text),
        (2, "format", Text),
        (3, "title", Text),
        (4, "description", Text),
        (5, "default", Any),
        (6, "multipleOf", Double),
        (7, "maximum", Double),
        (8, "exclusiveMaximum", Flag),
        (9, "minimum", Double),
        (10, "exclusiveMinimum", Flag),
        (11, "maxLength", Int),
        (12, "minLength", Int),
        (13, "pattern", Text),
        (14, "maxItems", Int),
        (15, "minItems", Int),
        (16, "uniqueItems", Flag),
        (17, "maxProperties", Int),
        (18, "minProperties", Int),
        (19, "required", List(&Text)),
        (20, "enum", List(&Any)),
        (21, "additionalProperties", OrFlag(&Of(&SCHEMA))),
        (22, "type", Within(&Text)),
        (23, "items", Within(&Of(&SCHEMA))),
        (24, "allOf", List(&Of(&SCHEMA))),
        (25, "properties", Of(&SCHEMAS)),
        (26, "discriminator", Text),
        (27, "readOnly", Flag),
        (29, "externalDocs", Of(&EXTERNAL_DOCS)),
        (30, "example", Any),
    ],
    others: None,
    extensions: 31,
};
