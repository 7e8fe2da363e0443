"""What somebody who means no good asks for through docker-py: refused in one sentence, never an error of the server's own."""

import http.client
import io
import json
import os
import socket
import tarfile
import threading

import docker
from docker.errors import APIError, NotFound

client = docker.from_env(timeout=60)
low = client.api
outside = os.path.join(os.environ["HOME"], "outside")
os.mkdir(outside)


faults = []


def refused(call, *statuses, words=""):
    """The call fails as the request's own fault, with a sentence; what does not is told in the end."""
    try:
        answer = call()
    except APIError as error:
        usual = error.status_code in (statuses or (400, 403, 404, 409, 501))
        if not (usual and error.explanation and words in error.explanation):
            faults.append((error.status_code, error.explanation))
        return
    except (ValueError, TypeError, docker.errors.DockerException):
        # The library itself refuses it.
        return
    faults.append(("it was taken", repr(answer)))


def sent(method, path, body):
    """A body that the library would not make: the status of its answer, and that it says something."""
    response = low._result(low._post(low._url(path), data=body, headers={"Content-Type": "application/json"})) \
        if method == "POST" else low._result(low._get(low._url(path)))
    return response


# names and references that lead elsewhere, or are none
for name in ["../evil", "a/b", ".", "..", "-x", "x" * 300, "a b", "ä", "x\n", "x\x00y", "%2e%2e", "\u202e"]:
    refused(lambda: client.containers.create("busybox", name=name), 400)
    refused(lambda: client.volumes.create(name), 400)
for name in ["../../etc/passwd", "a/../../b", "%2e%2e%2f", "x" * 5000, "\u202e", "?all=1", "#x"]:
    refused(lambda: client.containers.get(name), 400, 404, 405, 414, 431)
for image in ["../evil", "busybox:..", "busybox@sha256:short", "BUSYBOX", "x" * 300, "a//b", ":", "-"]:
    refused(lambda: client.containers.create(image, "true"), 400, 404)
    refused(lambda: client.images.get("busybox").tag(image), 400)

# bodies of every wrong form
for body in ["", "[", "null", "[]", "7", '"x"', "{" * 100000, '{"Image":7}', '{"Image":"busybox","HostConfig":[]}',
             '{"Image":"busybox","Cmd":{"a":1}}', '{"Image":"busybox","HostConfig":{"Memory":"much"}}',
             '{"Image":"busybox","HostConfig":{"Memory":1e400}}', '{"Image":"busybox","Env":[7]}',
             '{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":{"HostPort":1}}}}',
             '{"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"bridge":7}}}', '\xff\xfe']:
    refused(lambda: sent("POST", "/containers/create", body))

# numbers beyond every bound
made = client.containers.create("busybox", ["sleep", "1000"], name="victim")
for option in [{"mem_limit": "1k"}, {"mem_limit": 2**63}, {"mem_limit": -5}, {"nano_cpus": -1}, {"nano_cpus": 2**62},
               {"cpuset_cpus": "0-999999999"}, {"cpuset_cpus": "a-b"}, {"shm_size": -1},
               {"oom_score_adj": 5000}, {"blkio_weight": 5}, {"mem_swappiness": 101}, {"cpu_shares": -2},
               {"ulimits": [docker.types.Ulimit(name="nofile", soft=10, hard=5)]},
               {"ulimits": [docker.types.Ulimit(name="nosuch", soft=1, hard=1)]},
               {"ports": {"70000/tcp": 1}}, {"ports": {"80/tcp": 70000}}, {"ports": {"80/odd": 80}},
               {"sysctls": {"kernel.panic": "1"}}, {"sysctls": {"../x": "1"}}, {"devices": ["/dev/nosuch:/dev/x:rwm"]},
               {"device_cgroup_rules": ["c *:* rwmx"]}, {"extra_hosts": {"a\nb": "1.2.3.4"}}, {"dns": ["nobody"]}, {"dns_search": ["a\nnameserver 1.2.3.4"]}, {"hostname": "a\n1.2.3.4 b"},
               {"cap_add": ["SYS_NOTHING"]}, {"security_opt": ["seccomp={"]}, {"security_opt": ["nothing=x"]},
               {"network_mode": "container:nobody"}, {"network_mode": "nonet"}, {"pid_mode": "container:nobody"},
               {"ipc_mode": "odd"}, {"userns_mode": "odd"}, {"runtime": "/bin/sh"}, {"cgroup_parent": "../../x"},
               {"volumes": ["/etc:relative"]}, {"volumes": ["/etc:/"]}, {"volumes": ["a/../b:/x"]}, {"tmpfs": {"/x": "exec,foo"}},
               {"mounts": [docker.types.Mount("/x", "../up", type="volume")]},
               {"mounts": [docker.types.Mount("/x", "rel", type="bind")]},
               {"restart_policy": {"Name": "sometimes"}}, {"stop_signal": "SIGNOTHING"}, {"log_config": docker.types.LogConfig(type="odd")},
               {"working_dir": "relative"}, {"mac_address": "zz"}, {"healthcheck": {"test": ["ODD", "x"]}}]:
    def run():
        # Some of these only a start can know.
        container = client.containers.create("busybox", ["true"], **option)
        try:
            container.start()
        finally:
            container.remove(force=True)
        return option

    refused(run)

# paths of archives: what is meant for the host lands in the container or nowhere
made.start()
evil = io.BytesIO()
with tarfile.open(fileobj=evil, mode="w") as archive:
    def add(name, kind=tarfile.REGTYPE, link="", data=b"evil"):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        member.size = len(data) if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(data) if kind == tarfile.REGTYPE else None)

    add("way", tarfile.SYMTYPE, outside)
    add("way/through-a-link")
    add("up", tarfile.SYMTYPE, "../../../../../../../.." + outside)
    add("up/by-dots")
    add("hard", tarfile.LNKTYPE, outside + "/by-a-hard-link")
for path in ["/tmp", "/../../../tmp", "/proc/1/root/tmp", "/proc/self/root", "/dev/../tmp"]:
    try:
        low.put_archive("victim", path, evil.getvalue())
    except APIError as error:
        assert error.status_code in (400, 403, 404), error
assert os.listdir(outside) == [], os.listdir(outside)
for path in ["/nothing", "relative/../../..", "/proc/1/root/../../../etc/shadow", "/tmp/way/../../secret", "", "/x" * 3000, "a\x00b"]:
    try:
        stream, stat = low.get_archive("victim", path)
        whole = b"".join(stream)
        assert b"root:" not in whole or b"root:*" not in whole, path
    except (APIError, ValueError) as error:
        assert getattr(error, "status_code", 404) in (400, 404, 414, 431), error
for garbage in [b"", b"x", b"\x00" * 511, b"x" * 4096, b"\x1f\x8b" + b"\x00" * 100, evil.getvalue()[:700]]:
    try:
        low.put_archive("victim", "/tmp", garbage)
    except APIError as error:
        assert error.status_code == 400, (garbage[:4], error)
    refused(lambda: client.images.load(garbage) or "nothing was loaded")

# execs of others, twice, in what does not run
run_id = low.exec_create("victim", ["true"])["Id"]
low.exec_start(run_id)
refused(lambda: low.exec_start(run_id), 409)
for bad in ["", "x" * 64, "0" * 64]:
    refused(lambda: low.exec_inspect(bad), 400, 404, 405)
    refused(lambda: low.exec_start(bad), 400, 404, 405)
refused(lambda: low.exec_create("victim", []), 400)
code, said = client.containers.get("victim").exec_run(["cat"], user="nobody:nogroup-at-all")
assert code in (126, 127), (code, said)
code, said = client.containers.get("victim").exec_run(["/proc/self/exe"], workdir="/proc/self/fd")
assert code != 0 or b"hako" not in said, (code, said)
for height, width in [(-1, 5), ("a", 5)]:
    refused(lambda: low.resize("victim", height, width), 400)
for signal in ["0", "-9", "99999", "SIGNOTHING", "9; rm"]:
    refused(lambda: low.kill("victim", signal), 400)
refused(lambda: low.rename("victim", "victim"), 400, 409)
refused(lambda: low.rename("victim", "../victim"), 400)
refused(lambda: low.update_container("victim", mem_limit="1k"), 400)
refused(lambda: low.wait("victim", condition="never"), 400)
refused(lambda: low.pause("nobody"), 404)
refused(lambda: client.images.build(fileobj=io.BytesIO(b"FROM nothing at all\nODD x")) , 400)
refused(lambda: client.images.build(path=os.environ["HOME"], dockerfile="../../../etc/passwd"), 400)
refused(lambda: low._result(low._post(low._url("/build?remote=file:///etc/passwd"))), 400, 501)
refused(lambda: low._result(low._post(low._url("/build?buildargs=[7"))), 400)
refused(lambda: low.import_image(src="/nothing"), 400, 404, 503)
refused(lambda: client.networks.create("x" * 300, driver="odd"), 400, 404)
refused(lambda: client.networks.create("bridge"), 403, 409)
refused(lambda: client.networks.create(
    "odd", ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet="10.0.0.0/33")])), 400)
for wanted in ['{"status":["odd"]}', "[", '{"label":7}', '{"until":["never"]}', '{"nothing":["x"]}']:
    for path in ["/containers/json", "/images/json", "/networks", "/volumes"]:
        try:
            low._result(low._get(low._url(path), params={"filters": wanted}))
        except APIError as error:
            assert error.status_code == 400, (path, wanted, error)

# many at once for one name: one has it, the others are told so
outcomes, barrier = [], threading.Barrier(12)


def race():
    own = docker.from_env(timeout=60)
    barrier.wait()
    try:
        own.containers.create("busybox", ["true"], name="wanted")
        outcomes.append(201)
    except APIError as error:
        outcomes.append(error.status_code)


threads = [threading.Thread(target=race) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert sorted(outcomes) == [201] + [409] * 11, outcomes
client.containers.get("wanted").remove()

# everything at once to one container: each is done or told why not, and nothing is left of it
statuses = set()


def do(action):
    own = docker.from_env(timeout=60)
    barrier.wait()
    try:
        action(own.api)
    except APIError as error:
        statuses.add(error.status_code if error.status_code < 500 else (error.status_code, error.explanation))
    except (http.client.HTTPException, OSError) as error:
        statuses.add(repr(error))


for _ in range(12):
    client.containers.create("busybox", ["sleep", "1000"], name="torn")
    actions = [lambda api: api.start("torn"), lambda api: api.stop("torn", timeout=0), lambda api: api.kill("torn"),
               lambda api: api.restart("torn", timeout=0), lambda api: api.pause("torn"), lambda api: api.unpause("torn"),
               lambda api: api.rename("torn", "torn-again"), lambda api: api.update_container("torn", cpu_shares=512),
               lambda api: api.exec_create("torn", "true"), lambda api: api.top("torn"),
               lambda api: api.remove_container("torn", force=True), lambda api: api.remove_container("torn", force=True)]
    threads = [threading.Thread(target=do, args=(action,)) for action in actions]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for name in ["torn", "torn-again"]:
        try:
            client.containers.get(name).remove(force=True)
        except NotFound:
            pass
assert statuses <= {400, 404, 409}, statuses

# raw bytes between the requests of one connection
raw = socket.socket(socket.AF_UNIX)
raw.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
raw.sendall(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x")
said = raw.recv(65536)
assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 411")) or said == b"", said
raw.close()

made.remove(force=True)
assert faults == [], faults
assert client.ping() and client.containers.list(all=True) == [], client.containers.list(all=True)
print("done")
