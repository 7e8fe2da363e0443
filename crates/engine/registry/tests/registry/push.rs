use crate::support::{Fixture, OCI_INDEX, OCI_MANIFEST};
use hako_names::Digest;

#[test]
fn a_blob_is_pushed_in_one_post_in_post_and_put_and_in_chunks() {
    let registry = Fixture::start();
    registry.push_blob("a/b", b"at once");

    let begun = registry.send("POST", "/v2/a/b/blobs/uploads/", &[], "");
    assert_eq!(begun.status, 202);
    assert_eq!(begun.header("range"), "0-0");
    assert!(!begun.header("docker-upload-uuid").is_empty());
    let digest = Digest::of(b"post and put");
    let put =
        registry.send("PUT", &format!("{}?digest={digest}", begun.header("location")), &[], "post and put");
    assert_eq!((put.status, put.header("docker-content-digest")), (201, digest.to_string().as_str()));
    assert_eq!(registry.get(put.header("location")).body, b"post and put");

    let begun = registry.send("POST", "/v2/a/b/blobs/uploads/", &[], "");
    let location = begun.header("location");
    let first =
        registry.send("PATCH", location, &[("content-range", "0-4"), ("content-length", "5")], "chunk");
    assert_eq!((first.status, first.header("range")), (202, "0-4"));
    let status = registry.get(location);
    assert_eq!((status.status, status.header("range")), (204, "0-4"));
    assert_eq!(status.header("location"), location);
    let second = registry.send("PATCH", location, &[("content-range", "5-5")], "e");
    assert_eq!((second.status, second.header("range")), (202, "0-5"));
    let digest = Digest::of(b"chunked");
    let put = registry.send("PUT", &format!("{location}?digest={digest}"), &[("content-range", "6-6")], "d");
    assert_eq!(put.status, 201);
    assert_eq!(registry.get(&format!("/v2/a/b/blobs/{digest}")).body, b"chunked");
    assert_eq!(registry.get(location).code(), "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn a_chunk_out_of_order_is_refused_and_the_upload_goes_on() {
    let registry = Fixture::start();
    let location = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").header("location").to_owned();
    let ahead = registry.send("PATCH", &location, &[("content-range", "5-9")], "later");
    assert_eq!((ahead.status, ahead.code().as_str()), (416, "BLOB_UPLOAD_INVALID"));
    assert_eq!(ahead.header("location"), location);
    assert_eq!(registry.send("PATCH", &location, &[("content-range", "0-2")], "abc").status, 202);
    assert_eq!(registry.send("PATCH", &location, &[("content-range", "0-2")], "abc").status, 416);
    assert_eq!(registry.send("PATCH", &location, &[("content-range", "nonsense")], "abc").status, 400);
    let digest = Digest::of(b"abc");
    assert_eq!(registry.send("PUT", &format!("{location}?digest={digest}"), &[], "").status, 201);
}

#[test]
fn a_wrong_digest_or_length_leaves_nothing() {
    let registry = Fixture::start();
    let wrong = Digest::of(b"other");
    let at_once = registry.send("POST", &format!("/v2/a/blobs/uploads/?digest={wrong}"), &[], "bytes");
    assert_eq!((at_once.status, at_once.code().as_str()), (400, "DIGEST_INVALID"));
    let location = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").header("location").to_owned();
    let put = registry.send("PUT", &format!("{location}?digest={wrong}"), &[], "bytes");
    assert_eq!((put.status, put.code().as_str()), (400, "DIGEST_INVALID"));
    for bad in ["sha256:12", "md5:00", "nonsense", ""] {
        let location = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").header("location").to_owned();
        let put = registry.send("PUT", &format!("{location}?digest={bad}"), &[], "bytes");
        assert_eq!((put.status, put.code().as_str()), (400, "DIGEST_INVALID"), "{bad}");
    }
    let location = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").header("location").to_owned();
    let short = registry.send("PATCH", &location, &[("content-range", "0-9")], "short");
    assert_eq!((short.status, short.code().as_str()), (400, "SIZE_INVALID"));
    assert_eq!(registry.send("PUT", &location, &[], "").code(), "BLOB_UPLOAD_INVALID");
    assert_eq!(registry.stored(), 0);
}

#[test]
fn a_cancelled_upload_is_unknown() {
    let registry = Fixture::start();
    let location = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").header("location").to_owned();
    assert_eq!(registry.send("DELETE", &location, &[], "").status, 204);
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = registry.send(method, &location, &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (404, "BLOB_UPLOAD_UNKNOWN"), "{method}");
    }
    // Nobody writes to an upload of another repository.
    let location = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").header("location").to_owned();
    assert_eq!(registry.get(&location.replace("/v2/a/", "/v2/b/")).status, 404);
}

#[test]
fn a_mount_shares_the_blob_and_falls_back_to_an_upload() {
    let registry = Fixture::start();
    let digest = registry.push_blob("from", b"shared");
    let mounted = registry.send("POST", &format!("/v2/to/blobs/uploads/?mount={digest}&from=from"), &[], "");
    assert_eq!(
        (mounted.status, mounted.header("location")),
        (201, format!("/v2/to/blobs/{digest}").as_str())
    );
    assert_eq!(registry.get(&format!("/v2/to/blobs/{digest}")).body, b"shared");
    assert_eq!(registry.stored(), 1);

    let absent = Digest::of(b"absent");
    for query in [
        format!("mount={absent}&from=from"),
        format!("mount={digest}&from=nowhere"),
        format!("mount={digest}"),
    ] {
        let answer = registry.send("POST", &format!("/v2/to/blobs/uploads/?{query}"), &[], "");
        assert_eq!(answer.status, 202, "{query}");
        assert!(answer.header("location").starts_with("/v2/to/blobs/uploads/"));
    }
}

#[test]
fn a_manifest_must_name_only_what_the_repository_has() {
    let registry = Fixture::start();
    let mut manifest = registry.manifest("a", b"layer");
    let missing = Digest::of(b"missing");
    manifest["layers"].as_array_mut().unwrap().push(serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": missing, "size": 7}));
    let put =
        registry.send("PUT", "/v2/a/manifests/v1", &[("content-type", OCI_MANIFEST)], manifest.to_string());
    assert_eq!((put.status, put.code().as_str()), (404, "MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(put.json()["errors"][0]["detail"]["digests"][0], missing.to_string());
    // What another repository has does not count.
    let elsewhere = registry.manifest("b", b"layer of b");
    let put =
        registry.send("PUT", "/v2/a/manifests/v1", &[("content-type", OCI_MANIFEST)], elsewhere.to_string());
    assert_eq!(put.code(), "MANIFEST_BLOB_UNKNOWN");
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": missing, "size": 7}]});
    let put = registry.send("PUT", "/v2/a/manifests/v1", &[("content-type", OCI_INDEX)], index.to_string());
    assert_eq!(put.code(), "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(registry.stored(), 3, "refused manifests leave no bytes");
}

#[test]
fn a_manifest_that_says_other_sizes_than_what_is_stored_is_refused() {
    let registry = Fixture::start();
    let put = |manifest: &serde_json::Value| {
        let media_type = manifest["mediaType"].as_str().unwrap();
        registry.send("PUT", "/v2/a/manifests/v1", &[("content-type", media_type)], manifest.to_string())
    };
    let image = registry.manifest("a", b"the layer");
    let of = registry.put_manifest("a", "image", &image);
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [registry.descriptor("a", of)],
    });
    for (manifest, at) in [(&image, "/config"), (&image, "/layers/0"), (&index, "/manifests/0")] {
        let mut wrong = manifest.clone();
        let descriptor = wrong.pointer_mut(at).unwrap();
        let (digest, size) = (descriptor["digest"].as_str().unwrap().to_owned(), descriptor["size"].take());
        descriptor["size"] = 5.into();
        let refused = put(&wrong);
        assert_eq!((refused.status, refused.code().as_str()), (400, "MANIFEST_INVALID"), "{at}");
        let message = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        let sizes = format!("says that {digest} has 5 bytes, but it has {size}");
        assert!(message.contains(&sizes), "{message}");
        assert_eq!(registry.get("/v2/a/manifests/v1").status, 404, "{at}");
    }
    assert_eq!((put(&image).status, put(&index).status), (201, 201));
}

#[test]
fn manifests_that_are_none_are_refused_clearly() {
    let registry = Fixture::start();
    let put = |media_type: &str, body: &str| {
        registry.send("PUT", "/v2/a/manifests/v1", &[("content-type", media_type)], body)
    };
    let schema1 = put("application/vnd.docker.distribution.manifest.v1+prettyjws", r#"{"schemaVersion":1}"#);
    assert_eq!((schema1.status, schema1.code().as_str()), (400, "MANIFEST_INVALID"));
    assert!(schema1.json()["errors"][0]["message"].as_str().unwrap().contains("schema 1"));
    for body in ["", "{", "[]", "{}", r#"{"schemaVersion":2}"#] {
        let answer = put(OCI_MANIFEST, body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "MANIFEST_INVALID"), "{body}");
    }
    let large = put(OCI_MANIFEST, &" ".repeat((4 << 20) + 1));
    assert_eq!(large.status, 413);
    let manifest = registry.manifest("a", b"layer").to_string();
    let other = Digest::of(b"other");
    let answer = registry.send(
        "PUT",
        &format!("/v2/a/manifests/{other}"),
        &[("content-type", OCI_MANIFEST)],
        manifest,
    );
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
}

#[test]
fn a_put_by_digest_may_carry_tags() {
    let registry = Fixture::start();
    let manifest = registry.manifest("a", b"layer").to_string();
    let digest = Digest::of(manifest.as_bytes());
    let path = format!("/v2/a/manifests/{digest}?tag=one&tag=two");
    let put = registry.send("PUT", &path, &[("content-type", OCI_MANIFEST)], manifest);
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(put.headers.get_all("oci-tag").iter().count(), 2);
    assert_eq!(registry.get("/v2/a/tags/list").json()["tags"], serde_json::json!(["one", "two"]));
}

#[test]
fn names_paths_and_methods_that_mean_nothing_have_error_bodies() {
    let registry = Fixture::start();
    let cases = [
        ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/none/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/none/manifests/.bad", 400, "TAG_INVALID"),
        ("GET", "/v2/none/blobs/sha256:0", 400, "DIGEST_INVALID"),
        ("POST", "/v2/none/tags/list", 405, "UNSUPPORTED"),
        ("GET", "/v2/none/tags/list?n=x", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/_catalog?n=x", 400, "UNSUPPORTED"),
        ("GET", "/else", 404, "UNSUPPORTED"),
    ];
    for (method, path, status, code) in cases {
        let answer = registry.send(method, path, &[], "");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
    }
}

#[test]
fn a_method_that_is_not_supported_is_told_with_those_that_are() {
    let registry = Fixture::start();
    let digest = registry.push_image("a", "v1", b"layer");
    let layer = Digest::of(b"layer");
    registry.put_index("a", "index", digest);
    let upload = registry.begin("a");
    let cases = [
        ("POST", "/v2/", "GET, HEAD"),
        ("PUT", "/v2/_catalog", "GET"),
        ("DELETE", "/v2/a/tags/list", "GET"),
        ("GET", "/v2/a/blobs/uploads/", "POST"),
        ("POST", &upload, "GET, HEAD, PATCH, PUT, DELETE"),
        ("PATCH", "/v2/a/manifests/v1", "GET, HEAD, PUT, DELETE"),
        ("PUT", &format!("/v2/a/blobs/{layer}"), "GET, HEAD, DELETE"),
        // These exist, but others name them.
        ("DELETE", &format!("/v2/a/blobs/{layer}"), "GET, HEAD"),
        ("DELETE", &format!("/v2/a/manifests/{digest}"), "GET, HEAD"),
    ];
    for (method, path, allowed) in cases {
        let answer = registry.send(method, path, &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
    }
}

#[test]
fn a_chunk_of_another_length_than_its_range_is_refused_before_it_is_taken() {
    let registry = Fixture::start();
    let location = registry.begin("a");
    for range in ["0-1", "0-9"] {
        let other = registry.send("PATCH", &location, &[("content-range", range)], "abc");
        assert_eq!((other.status, other.code().as_str()), (400, "SIZE_INVALID"), "{range}");
        let announced = [("content-range", range), ("transfer-encoding", "chunked")];
        let more = registry.send("PATCH", &registry.begin("a"), &announced, "abc");
        assert_eq!((more.status, more.code().as_str()), (400, "SIZE_INVALID"), "{range} in pieces");
    }
    assert_eq!(registry.send("PATCH", &location, &[("content-range", "0-2")], "abc").status, 202);
    let digest = Digest::of(b"abc");
    assert_eq!(registry.send("PUT", &format!("{location}?digest={digest}"), &[], "").status, 201);
    // The escaped colon of a digest is a colon.
    let escaped = registry.get(&format!("/v2/a/blobs/sha256%3A{}", digest.hex()));
    assert_eq!((escaped.status, &*escaped.body), (200, &b"abc"[..]));
}
