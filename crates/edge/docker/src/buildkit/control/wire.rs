//! Messages of BuildKit's control service and gateway; field numbers are theirs.

use crate::buildkit::wire::{Nothing, Timestamp};
use bytes::Bytes;
use std::collections::HashMap;

/// `SolveRequest` of Control.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SolveRequest {
    #[prost(string, tag = "1")]
    pub(crate) reference: String,
    /// A graph in BuildKit's own form; only whether there is one matters.
    #[prost(message, optional, tag = "2")]
    pub(crate) definition: Option<Definition>,
    #[prost(string, tag = "3")]
    pub(crate) exporter: String,
    #[prost(map = "string, string", tag = "4")]
    pub(crate) exporter_attributes: HashMap<String, String>,
    #[prost(string, tag = "5")]
    pub(crate) session: String,
    #[prost(string, tag = "6")]
    pub(crate) frontend: String,
    #[prost(map = "string, string", tag = "7")]
    pub(crate) attributes: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    pub(crate) cache: Option<CacheOptions>,
    #[prost(string, repeated, tag = "9")]
    pub(crate) entitlements: Vec<String>,
    #[prost(map = "string, message", tag = "10")]
    pub(crate) inputs: HashMap<String, Definition>,
    #[prost(message, optional, tag = "12")]
    pub(crate) policy: Option<Nothing>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) exporters: Vec<Typed>,
}

/// `pb.Definition`, as far as it shows whether there is one.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Definition {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) operations: Vec<Bytes>,
}

/// `CacheOptions`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CacheOptions {
    #[prost(message, repeated, tag = "4")]
    pub(crate) exports: Vec<Typed>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) imports: Vec<Typed>,
}

/// `Exporter`, `CacheOptionsEntry`: a type and its attributes.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Typed {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) attributes: HashMap<String, String>,
}

/// `SolveResponse` of Control.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SolveResponse {
    #[prost(map = "string, string", tag = "1")]
    pub(crate) exporter: HashMap<String, String>,
}

/// `ListWorkersResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Workers {
    #[prost(message, repeated, tag = "1")]
    pub(crate) records: Vec<Worker>,
}

/// `WorkerRecord`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Worker {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) labels: HashMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) platforms: Vec<Platform>,
    #[prost(message, optional, tag = "5")]
    pub(crate) version: Option<Version>,
}

/// `pb.Platform`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Platform {
    #[prost(string, tag = "1")]
    pub(crate) architecture: String,
    #[prost(string, tag = "2")]
    pub(crate) os: String,
}

/// `BuildkitVersion`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Version {
    #[prost(string, tag = "1")]
    pub(crate) package: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
}

/// `InfoResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Info {
    #[prost(message, optional, tag = "1")]
    pub(crate) version: Option<Version>,
}

/// `DiskUsageRequest` and `PruneRequest`, whose first field is the filter.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Filtered {
    #[prost(string, repeated, tag = "1")]
    pub(crate) filter: Vec<String>,
}

/// `DiskUsageResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Usage {
    #[prost(message, repeated, tag = "1")]
    pub(crate) records: Vec<UsageRecord>,
}

/// `UsageRecord`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UsageRecord {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(int64, tag = "4")]
    pub(crate) size: i64,
    #[prost(message, optional, tag = "6")]
    pub(crate) created: Option<Timestamp>,
    #[prost(string, tag = "9")]
    pub(crate) description: String,
    #[prost(string, tag = "10")]
    pub(crate) record_type: String,
}

/// `HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Health {
    #[prost(int32, tag = "1")]
    pub(crate) status: i32,
}

/// `SolveRequest` of the gateway.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GatewaySolve {
    #[prost(message, optional, tag = "1")]
    pub(crate) definition: Option<Definition>,
    #[prost(string, tag = "2")]
    pub(crate) frontend: String,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) attributes: HashMap<String, String>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) cache_imports: Vec<Typed>,
    #[prost(map = "string, message", tag = "13")]
    pub(crate) inputs: HashMap<String, Definition>,
}

/// `SolveResponse` of the gateway, in the form that every client reads.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GatewaySolved {
    #[prost(string, tag = "1")]
    pub(crate) reference: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) result: Option<GatewayResult>,
}

/// `Result` of the gateway with its deprecated reference, which clients of all ages read.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GatewayResult {
    #[prost(string, optional, tag = "1")]
    pub(crate) reference: Option<String>,
}

/// `PongResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Pong {
    #[prost(message, repeated, tag = "1")]
    pub(crate) frontend: Vec<Capability>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) workers: Vec<Worker>,
}

/// `APICap`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Capability {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bool, tag = "2")]
    pub(crate) enabled: bool,
}

/// `ReturnRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Return {
    #[prost(message, optional, tag = "1")]
    pub(crate) result: Option<GatewayResult>,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<RpcStatus>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}
