//! What scripts rely on: results as JSON.

use crate::platform::{Platform, run};
use serde_json::{Value, json};

#[test]
fn results_are_json_where_a_script_asks_for_it() {
    let platform = Platform::start();
    let json = |arguments: &[&str]| -> Value {
        let text = run(platform.hako().args(["--output", "json"]).args(arguments));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text:?}"))
    };
    platform.run(&["down"]);
    let mut up = json(&["up", "--detach", "--listen", platform.listen()]);
    assert!(up.as_object_mut().unwrap().remove("ready_ms").is_some_and(|ms| ms.is_u64()));
    assert_eq!(up, platform.server());

    platform.run(&["image", "import-busybox"]);
    let ran = json(&["run", "-d", "busybox", "sleep", "1000"]);
    assert_eq!(ran["id"], json(&["ps"])[0]["Id"]);

    platform.kubectl(&["create", "deployment", "web", "--image=busybox", "--replicas=0"]);
    assert_eq!(json(&["scale", "deployment/web", "--replicas", "1"])["spec"]["replicas"], 1);
    let scaled = platform.run(&["scale", "deployment/web", "--replicas", "0", "--output", "name"]);
    assert_eq!(scaled, "deployment/web\n");
    let gone = json!({ "deleted": [{ "kind": "Deployment", "namespace": "default", "name": "web" }] });
    assert_eq!(json(&["delete", "deployment/web"]), gone);
    platform.down();
}
