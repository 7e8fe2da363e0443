"""An operator as people write them with PyPI's `kubernetes`: its leader election, watches, finalizers, server-side apply.

Of a Greeting it makes a ConfigMap with the text. What it has greeted is noted in the ConfigMap `greeted` of its own
namespace, which only the finalizer clears.
"""

import logging
import os
import queue
import signal
import sys
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

GROUP, VERSION, PLURAL = "greet.example.com", "v1", "greetings"
FINALIZER = "greet.example.com/greeted"
MANAGER = "greeter"
NAMESPACE = open("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read()
IDENTITY = os.environ["POD_NAME"]


def follow(listing, told, key):
    """Lists and watches for ever; tells the keys of what came or changed."""
    version = None
    while True:
        try:
            if version is None:
                there = listing()
                if not isinstance(there, dict):
                    there = client.ApiClient().sanitize_for_serialization(there)
                version = there["metadata"]["resourceVersion"]
                for item in there["items"]:
                    told.put(key(item))
            stream = watch.Watch()
            for event in stream.stream(listing, resource_version=version, timeout_seconds=60):
                told.put(key(event["raw_object"]))
                version = event["raw_object"]["metadata"]["resourceVersion"]
        except ApiException as error:
            logging.warning("the watch: %s %s", error.status, error.reason)
            version = None


def of_greeting(item):
    return item["metadata"]["namespace"], item["metadata"]["name"]


def of_owner(item):
    for owner in item["metadata"].get("ownerReferences", []):
        if owner["kind"] == "Greeting" and owner.get("controller"):
            return item["metadata"]["namespace"], owner["name"]
    return None


class Greeter:
    def __init__(self):
        self.greetings = client.CustomObjectsApi()
        self.core = client.CoreV1Api()
        self.dynamic = dynamic.DynamicClient(client.ApiClient())
        self.maps = self.dynamic.resources.get(api_version="v1", kind="ConfigMap")

    def lead(self):
        """Acts on all greetings, one after the other."""
        told = queue.Queue()
        all_greetings = lambda **options: self.greetings.list_cluster_custom_object(GROUP, VERSION, PLURAL, **options)
        all_maps = lambda **options: self.core.list_config_map_for_all_namespaces(
            label_selector="greeting", **options
        )
        for listing, key in [(all_greetings, of_greeting), (all_maps, of_owner)]:
            threading.Thread(target=follow, args=(listing, told, key), daemon=True).start()
        while True:
            key = told.get()
            if key is None:
                continue
            try:
                self.reconcile(*key)
            except ApiException as error:
                if error.status != 404:
                    logging.warning("%s/%s: %s %s", *key, error.status, error.body)
                    threading.Timer(0.5, told.put, [key]).start()

    def reconcile(self, namespace, name):
        greeting = self.greetings.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
        metadata = greeting["metadata"]
        finalizers = metadata.get("finalizers", [])
        if "deletionTimestamp" in metadata:
            self.note(namespace, name, None)
            kept = [finalizer for finalizer in finalizers if finalizer != FINALIZER]
            self.patch(namespace, name, metadata["resourceVersion"], {"finalizers": kept})
            return
        if FINALIZER not in finalizers:
            finalizers = finalizers + [FINALIZER]
            self.patch(namespace, name, metadata["resourceVersion"], {"finalizers": finalizers})
        self.note(namespace, name, metadata["uid"])
        text = self.text(greeting["spec"])
        owner = {
            "apiVersion": f"{GROUP}/{VERSION}", "kind": "Greeting", "name": name, "uid": metadata["uid"],
            "controller": True, "blockOwnerDeletion": True,
        }
        body = {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"greeting": name}, "ownerReferences": [owner]},
            "data": {"text": text},
        }
        self.maps.server_side_apply(body=body, namespace=namespace, field_manager=MANAGER, force_conflicts=True)
        status = {"text": text, "observedGeneration": metadata["generation"], "greetedBy": IDENTITY}
        if greeting.get("status") != status:
            self.greetings.patch_namespaced_custom_object_status(
                GROUP, VERSION, namespace, PLURAL, name, {"status": status}
            )

    @staticmethod
    def text(spec):
        """What is said, as loud as it is wanted: a number of marks, or a share of three."""
        loudness = spec["loudness"]
        if isinstance(loudness, str):
            loudness = round(3 * int(loudness.rstrip("%")) / 100)
        return spec["words"] + "!" * loudness

    def patch(self, namespace, name, version, metadata):
        body = {"metadata": {**metadata, "resourceVersion": version}}
        self.greetings.patch_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name, body)

    def note(self, namespace, name, value):
        self.core.patch_namespaced_config_map("greeted", NAMESPACE, {"data": {f"{namespace}.{name}": value}})


def main():
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config.load_incluster_config()
    lock = LeaseLock("greeter", NAMESPACE, IDENTITY)
    leaderelection.LeaderElection(
        electionconfig.Config(
            lock, lease_duration=4, renew_deadline=3, retry_period=1,
            onstarted_leading=Greeter().lead, onstopped_leading=lambda: os._exit(1),
        )
    ).run()


main()
