//! OpenAPI's documents, read of their messages and written as the JSON they were.
//!
//! Field numbers are those of gnostic's `OpenAPIv2.proto` and `OpenAPIv3.proto`, as far as documents of Kubernetes go.

use std::fmt::Debug;

use prost::{DecodeError, Message};
use serde_json::{Map, Value, json};

/// The JSON of a document of version 2.
///
/// # Errors
/// It is no such message.
pub fn v2(message: &[u8]) -> Result<Value, DecodeError> {
    Ok(v2::Document::decode(message)?.json())
}

/// The JSON of a document of version 3.
///
/// # Errors
/// It is no such message.
pub fn v3(message: &[u8]) -> Result<Value, DecodeError> {
    Ok(v3::Document::decode(message)?.json())
}

/// What can be written as JSON; null is left out.
trait Json {
    fn json(&self) -> Value;
}

impl Json for String {
    fn json(&self) -> Value {
        if self.is_empty() { Value::Null } else { json!(self) }
    }
}

impl Json for bool {
    fn json(&self) -> Value {
        if *self { json!(true) } else { Value::Null }
    }
}

impl Json for i64 {
    fn json(&self) -> Value {
        if *self == 0 { Value::Null } else { json!(self) }
    }
}

impl Json for f64 {
    fn json(&self) -> Value {
        if *self == 0.0 { Value::Null } else { json!(self) }
    }
}

impl<T: Json> Json for Vec<T> {
    fn json(&self) -> Value {
        if self.is_empty() { Value::Null } else { self.iter().map(Json::json).collect() }
    }
}

impl<T: Json> Json for Option<T> {
    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Json::json)
    }
}

impl<T: Json> Json for Box<T> {
    fn json(&self) -> Value {
        (**self).json()
    }
}

/// A name and a value.
#[derive(Clone, PartialEq, Message)]
struct Named<T: Message + Default + Debug> {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<T>,
}

/// A map.
#[derive(Clone, PartialEq, Message)]
struct All<T: Message + Default + Debug> {
    #[prost(message, repeated, tag = "1")]
    all: Vec<Named<T>>,
}

impl<T: Message + Default + Debug + Json> Json for All<T> {
    fn json(&self) -> Value {
        let mut members = Map::new();
        add(&mut members, &self.all);
        Value::Object(members)
    }
}

fn add<T: Message + Default + Debug + Json>(members: &mut Map<String, Value>, named: &[Named<T>]) {
    members.extend(named.iter().map(|it| (it.name.clone(), it.value.json())));
}

/// YAML, which is JSON here.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

impl Json for Any {
    fn json(&self) -> Value {
        serde_json::from_str(&self.yaml).unwrap_or_else(|_| json!({ "no JSON": self.yaml }))
    }
}

#[derive(Clone, PartialEq, Message)]
struct Reference {
    #[prost(string, tag = "1")]
    target: String,
}

#[derive(Clone, PartialEq, Message)]
struct OrReference<T: Message + Default + Debug> {
    #[prost(message, optional, tag = "1")]
    it: Option<T>,
    #[prost(message, optional, tag = "2")]
    reference: Option<Reference>,
}

impl<T: Message + Default + Debug + Json> Json for OrReference<T> {
    fn json(&self) -> Value {
        match &self.reference {
            Some(reference) => json!({ "$ref": reference.target }),
            None => self.it.json(),
        }
    }
}

/// A list as a message of its own, of which there is one item.
#[derive(Clone, PartialEq, Message)]
struct Within<T: Message + Default + Debug> {
    #[prost(message, repeated, tag = "1")]
    items: Vec<T>,
}

impl<T: Message + Default + Debug + Json> Json for Within<T> {
    fn json(&self) -> Value {
        self.items.first().map_or(Value::Null, Json::json)
    }
}

#[derive(Clone, PartialEq, Message)]
struct OrFlag<T: Message + Default + Debug> {
    #[prost(message, optional, tag = "1")]
    it: Option<T>,
    #[prost(bool, optional, tag = "2")]
    flag: Option<bool>,
}

impl<T: Message + Default + Debug + Json> Json for OrFlag<T> {
    fn json(&self) -> Value {
        self.flag.map_or_else(|| self.it.json(), |flag| json!(flag))
    }
}

/// Declares a message by its fields: number, kind, and name in JSON.
macro_rules! message {
    ($name:ident { $($field:ident $tag:literal $json:literal: $kind:ty [$($prost:tt)*],)* } extensions $extensions:literal $(, others $others:literal: $of:ty)?) => {
        #[derive(Clone, PartialEq, ::prost::Message)]
        pub(super) struct $name {
            $(#[prost($($prost)*, tag = $tag)] $field: $kind,)*
            #[prost(message, repeated, tag = $extensions)]
            extensions: Vec<Named<Any>>,
            $(#[prost(message, repeated, tag = $others)] others: Vec<Named<$of>>,)?
        }

        impl Json for $name {
            fn json(&self) -> Value {
                let mut members = Map::new();
                $(members.insert($json.to_owned(), self.$field.json());)*
                members.retain(|_, value| !value.is_null());
                $(let others: &[Named<$of>] = &self.others; add(&mut members, others);)?
                add(&mut members, &self.extensions);
                Value::Object(members)
            }
        }
    };
}

mod v2 {
    use super::{All, Any, Json, Named, OrFlag, OrReference, Within, add};
    use serde_json::{Map, Value};

    message! { Document {
        swagger "1" "swagger": String [string],
        info "2" "info": Option<Info> [message, optional],
        paths "8" "paths": Option<Paths> [message, optional],
        definitions "9" "definitions": Option<All<Schema>> [message, optional],
    } extensions "16" }

    message! { Info {
        title "1" "title": String [string],
        version "2" "version": String [string],
    } extensions "7" }

    message! { Paths {} extensions "1", others "2": PathItem }

    message! { PathItem {
        get "2" "get": Option<Operation> [message, optional],
        put "3" "put": Option<Operation> [message, optional],
        post "4" "post": Option<Operation> [message, optional],
        delete "5" "delete": Option<Operation> [message, optional],
        patch "8" "patch": Option<Operation> [message, optional],
    } extensions "10" }

    message! { Operation {
        description "3" "description": String [string],
        id "5" "operationId": String [string],
        produces "6" "produces": Vec<String> [string, repeated],
        consumes "7" "consumes": Vec<String> [string, repeated],
        parameters "8" "parameters": Vec<OrReference<Parameter>> [message, repeated],
        responses "9" "responses": Option<Responses> [message, optional],
    } extensions "13" }

    message! { Responses {} extensions "2", others "1": OrReference<Response> }

    message! { Response {
        description "1" "description": String [string],
        schema "2" "schema": Option<Within<Schema>> [message, optional],
    } extensions "5" }

    #[derive(Clone, PartialEq, ::prost::Message)]
    pub(super) struct Parameter {
        #[prost(message, optional, tag = "1")]
        body: Option<Body>,
        #[prost(message, optional, tag = "2")]
        other: Option<Other>,
    }

    impl Json for Parameter {
        fn json(&self) -> Value {
            if self.body.is_some() { self.body.json() } else { self.other.json() }
        }
    }

    #[derive(Clone, PartialEq, ::prost::Message)]
    pub(super) struct Other {
        #[prost(message, optional, tag = "3")]
        query: Option<InQuery>,
        #[prost(message, optional, tag = "4")]
        path: Option<InPath>,
    }

    impl Json for Other {
        fn json(&self) -> Value {
            if self.query.is_some() { self.query.json() } else { self.path.json() }
        }
    }

    message! { Body {
        name "2" "name": String [string],
        place "3" "in": String [string],
        required "4" "required": bool [bool],
        schema "5" "schema": Option<Schema> [message, optional],
    } extensions "6" }

    message! { InQuery {
        required "1" "required": bool [bool],
        place "2" "in": String [string],
        name "4" "name": String [string],
        kind "6" "type": String [string],
        unique "20" "uniqueItems": bool [bool],
    } extensions "23" }

    message! { InPath {
        required "1" "required": bool [bool],
        place "2" "in": String [string],
        name "4" "name": String [string],
        kind "5" "type": String [string],
        unique "19" "uniqueItems": bool [bool],
    } extensions "22" }

    #[derive(Clone, PartialEq, ::prost::Message)]
    pub(super) struct Type {
        #[prost(string, repeated, tag = "1")]
        names: Vec<String>,
    }

    impl Json for Type {
        fn json(&self) -> Value {
            self.names.first().json()
        }
    }

    impl Json for &String {
        fn json(&self) -> Value {
            (**self).json()
        }
    }

    message! { Schema {
        reference "1" "$ref": String [string],
        format "2" "format": String [string],
        description "4" "description": String [string],
        default "5" "default": Option<Any> [message, optional],
        maximum "7" "maximum": f64 [double],
        exclusive_maximum "8" "exclusiveMaximum": bool [bool],
        minimum "9" "minimum": f64 [double],
        max_length "11" "maxLength": i64 [int64],
        min_length "12" "minLength": i64 [int64],
        pattern "13" "pattern": String [string],
        max_items "14" "maxItems": i64 [int64],
        min_items "15" "minItems": i64 [int64],
        unique "16" "uniqueItems": bool [bool],
        required "19" "required": Vec<String> [string, repeated],
        values "20" "enum": Vec<Any> [message, repeated],
        additional "21" "additionalProperties": Option<Box<OrFlag<Schema>>> [message, optional, boxed],
        kind "22" "type": Option<Type> [message, optional],
        items "23" "items": Option<Within<Schema>> [message, optional],
        all_of "24" "allOf": Vec<Schema> [message, repeated],
        properties "25" "properties": Option<All<Schema>> [message, optional],
    } extensions "31" }
}

mod v3 {
    use super::{All, Any, Json, Named, OrFlag, OrReference, Within, add};
    use serde_json::{Map, Value, json};

    message! { Document {
        openapi "1" "openapi": String [string],
        info "2" "info": Option<Info> [message, optional],
        paths "4" "paths": Option<Paths> [message, optional],
        components "5" "components": Option<Components> [message, optional],
    } extensions "9" }

    message! { Info {
        title "1" "title": String [string],
        version "6" "version": String [string],
    } extensions "7" }

    message! { Paths {} extensions "2", others "1": PathItem }

    message! { Components {
        schemas "1" "schemas": Option<All<AnySchema>> [message, optional],
    } extensions "10" }

    message! { PathItem {
        get "4" "get": Option<Operation> [message, optional],
        put "5" "put": Option<Operation> [message, optional],
        post "6" "post": Option<Operation> [message, optional],
        delete "7" "delete": Option<Operation> [message, optional],
        patch "10" "patch": Option<Operation> [message, optional],
    } extensions "14" }

    message! { Operation {
        description "3" "description": String [string],
        id "5" "operationId": String [string],
        parameters "6" "parameters": Vec<OrReference<Parameter>> [message, repeated],
        body "7" "requestBody": Option<OrReference<RequestBody>> [message, optional],
        responses "8" "responses": Option<Responses> [message, optional],
    } extensions "13" }

    message! { Parameter {
        name "1" "name": String [string],
        place "2" "in": String [string],
        required "4" "required": bool [bool],
        schema "10" "schema": Option<AnySchema> [message, optional],
    } extensions "14" }

    message! { RequestBody {
        content "2" "content": Option<All<MediaType>> [message, optional],
        required "3" "required": bool [bool],
    } extensions "4" }

    message! { MediaType {
        schema "1" "schema": Option<AnySchema> [message, optional],
    } extensions "5" }

    message! { Responses {} extensions "3", others "2": OrReference<Response> }

    message! { Response {
        description "1" "description": String [string],
        content "3" "content": Option<All<MediaType>> [message, optional],
    } extensions "5" }

    type AnySchema = OrReference<Schema>;

    #[derive(Clone, PartialEq, ::prost::Message)]
    pub(super) struct Default {
        #[prost(double, optional, tag = "1")]
        number: Option<f64>,
        #[prost(bool, optional, tag = "2")]
        flag: Option<bool>,
        #[prost(string, optional, tag = "3")]
        text: Option<String>,
    }

    impl Json for Default {
        fn json(&self) -> Value {
            let text = self.text.as_ref().map(|text| json!(text));
            let scalar = text.or(self.flag.map(|flag| json!(flag)));
            scalar.or(self.number.map(|number| json!(number))).unwrap_or_default()
        }
    }

    message! { Schema {
        nullable "1" "nullable": bool [bool],
        maximum "11" "maximum": f64 [double],
        exclusive_maximum "12" "exclusiveMaximum": bool [bool],
        minimum "13" "minimum": f64 [double],
        max_length "15" "maxLength": i64 [int64],
        min_length "16" "minLength": i64 [int64],
        pattern "17" "pattern": String [string],
        max_items "18" "maxItems": i64 [int64],
        min_items "19" "minItems": i64 [int64],
        unique "20" "uniqueItems": bool [bool],
        required "23" "required": Vec<String> [string, repeated],
        values "24" "enum": Vec<Any> [message, repeated],
        kind "25" "type": String [string],
        all_of "26" "allOf": Vec<AnySchema> [message, repeated],
        one_of "27" "oneOf": Vec<AnySchema> [message, repeated],
        any_of "28" "anyOf": Vec<AnySchema> [message, repeated],
        not "29" "not": Option<Box<Schema>> [message, optional, boxed],
        items "30" "items": Option<Within<AnySchema>> [message, optional],
        properties "31" "properties": Option<All<AnySchema>> [message, optional],
        additional "32" "additionalProperties": Option<Box<OrFlag<AnySchema>>> [message, optional, boxed],
        default "33" "default": Option<Default> [message, optional],
        description "34" "description": String [string],
        format "35" "format": String [string],
    } extensions "36" }
}
