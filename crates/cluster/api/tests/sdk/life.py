"""The API with the Python client: typed, dynamic, watching, applying, electing."""

import os
import threading
import uuid

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

config.load_kube_config()
core, apps = client.CoreV1Api(), client.AppsV1Api()
assert client.VersionApi().get_code().git_version.startswith("v1.36")

core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="py")))
utils.create_from_dict(client.ApiClient(), {
    "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "py"}})

# Typed: create, read, replace, three patches, conflict.
made = core.create_namespaced_config_map("py", {"metadata": {"name": "m", "labels": {"a": "b"}}, "data": {"k": "1"}})
made.data["k"] = "2"
changed = core.replace_namespaced_config_map("m", "py", made)
assert changed.data == {"k": "2"} and changed.metadata.resource_version != made.metadata.resource_version
try:
    core.replace_namespaced_config_map("m", "py", made)
    raise AssertionError("a stale replace went through")
except ApiException as error:
    assert error.status == 409 and "object has been modified" in error.body, error
core.patch_namespaced_config_map("m", "py", {"data": {"l": "3"}})
core.patch_namespaced_config_map("m", "py", [{"op": "remove", "path": "/data/k"}])
assert core.read_namespaced_config_map("m", "py").data == {"l": "3"}
try:
    core.create_namespaced_pod("py", {"metadata": {"name": "p"}, "spec": {"containers": []}})
    raise AssertionError("a pod without containers went through")
except ApiException as error:
    assert error.status == 422 and "spec.containers" in error.body, error

# Pages, selectors and a watch from where the list ended.
for at in range(7):
    core.create_namespaced_config_map("py", {"metadata": {"name": f"page-{at}", "labels": {"page": "yes"}}})
seen, token = [], None
while token != "":
    page = core.list_namespaced_config_map("py", label_selector="page=yes", limit=3, _continue=token)
    seen += [item.metadata.name for item in page.items]
    token = page.metadata._continue or ""
assert seen == [f"page-{at}" for at in range(7)], seen
version = core.list_namespaced_config_map("py").metadata.resource_version
core.delete_collection_namespaced_config_map("py", label_selector="page=yes")
stream = watch.Watch()
gone = []
for event in stream.stream(core.list_namespaced_config_map, "py", resource_version=version, timeout_seconds=30):
    assert event["type"] == "DELETED", event
    gone.append(event["object"].metadata.name)
    if len(gone) == 7:
        stream.stop()
assert sorted(gone) == seen, gone

# Deployment, its scale and its status.
deployment = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "py"},
    "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}},
}
utils.create_from_dict(client.ApiClient(), deployment)
apps.patch_namespaced_deployment_scale("web", "py", {"spec": {"replicas": 3}})
assert apps.read_namespaced_deployment_scale("web", "py").spec.replicas == 3
assert apps.read_namespaced_deployment("web", "py").spec.replicas == 3
assert core.create_namespaced_service_account_token("default", "py", {"spec": {}}).status.token

# Dynamic: discovery, server-side apply, conflicts.
anything = dynamic.DynamicClient(client.ApiClient())
maps = anything.resources.get(api_version="v1", kind="ConfigMap")
applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "1"}}
maps.server_side_apply(body=applied, namespace="py", field_manager="one")
applied["data"]["a"] = "2"
try:
    maps.server_side_apply(body=applied, namespace="py", field_manager="two")
    raise AssertionError("a conflict went through")
except dynamic.exceptions.ConflictError as error:
    assert "FieldManagerConflict" in str(error.body), error.body
maps.server_side_apply(body=applied, namespace="py", field_manager="two", force_conflicts=True)
assert maps.get(name="applied", namespace="py").data.a == "2"

# One leader.
led = threading.Event()
lock = ConfigMapLock("leader", "py", uuid.uuid4().hex)
settings = electionconfig.Config(
    lock, lease_duration=15, renew_deadline=10, retry_period=2, onstarted_leading=led.set, onstopped_leading=None)
threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()
assert led.wait(30), "nobody leads"

core.delete_namespace("py")
assert core.read_namespace("py").status.phase == "Terminating"
print("done", flush=True)
# The elector cannot be asked to stop, and a thread that still works while the interpreter is taken down can crash it.
os._exit(0)
