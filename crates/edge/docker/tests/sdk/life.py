"""The life of a container through docker-py."""

import io
import os
import tarfile

import docker
from docker.errors import APIError, NotFound

client = docker.from_env(timeout=60)
assert client.ping()
version = client.version()
assert version["ApiVersion"] == os.environ["API"], version
info = client.info()
assert info["ID"] and info["OperatingSystem"] and info["Swarm"]["LocalNodeState"] == "inactive", info

# run, its output, its exit code
assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
try:
    client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    raise AssertionError("an exit code of 3 is a failure")
except docker.errors.ContainerError as error:
    assert error.exit_status == 3 and b"bad" in error.stderr, error

web = client.containers.run(
    "busybox",
    ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"],
    name="web",
    detach=True,
    environment={"A": "b"},
    labels={"tier": "one"},
    mem_limit="64m",
    pids_limit=30,
    cap_drop=["NET_RAW"],
    tmpfs={"/scratch": "size=1m"},
    volumes={"data": {"bind": "/data", "mode": "rw"}},
    ulimits=[docker.types.Ulimit(name="nofile", soft=100, hard=200)],
    stop_signal="SIGTERM",
    working_dir="/tmp",
    hostname="inside",
    domainname="example.test",
    init=False,
)


def wait_until_up(container, times):
    """Waits until the program has said so many times that it is there: from then on it heeds signals."""
    said = b""
    for part in container.logs(stream=True, follow=True):
        said += part
        if said == b"up\n" * times:
            return
    raise AssertionError(said)


wait_until_up(web, 1)
web.reload()
assert web.status == "running" and web.attrs["Config"]["Hostname"] == "inside"
assert web.attrs["HostConfig"]["Memory"] == 64 << 20
assert any(mount["Destination"] == "/data" for mount in web.attrs["Mounts"])
assert [c.name for c in client.containers.list(filters={"label": "tier=one"})] == ["web"]
assert client.containers.list(filters={"label": "tier=two"}) == []

# exec: with its code, its streams apart, as a stream and over a socket
code, out = web.exec_run(["sh", "-c", "echo $A; pwd; exit 5"])
assert (code, out) == (5, b"b\n/tmp\n"), (code, out)
code, (out, err) = web.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
assert (out, err) == (b"o\n", b"e\n")
_, stream = web.exec_run(["sh", "-c", "echo 1; echo 2"], stream=True)
assert b"".join(stream) == b"1\n2\n"
_, socket = web.exec_run(["cat"], stdin=True, socket=True, tty=True)
raw = socket._sock
raw.sendall(b"typed\n")
assert b"typed" in raw.recv(64)
socket.close()
assert web.exec_run(["true"], user="nobody")[0] in (0, 126)

# files in and out
data = io.BytesIO()
with tarfile.open(fileobj=data, mode="w") as archive:
    member = tarfile.TarInfo("dir/file")
    member.size = 3
    archive.addfile(member, io.BytesIO(b"abc"))
assert web.put_archive("/tmp", data.getvalue())
stream, stat = web.get_archive("/tmp/dir/file")
assert stat["name"] == "file" and stat["size"] == 3, stat
with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
    assert archive.extractfile("file").read() == b"abc"
try:
    web.get_archive("/nothing")
    raise AssertionError("there is nothing")
except NotFound:
    pass
assert {"Path": "/tmp/dir", "Kind": 1} in web.diff()

# looking on
assert web.stats(stream=False)["memory_stats"]["usage"] > 0
assert web.top()["Titles"]
web.pause()
web.reload()
assert web.status == "paused"
web.unpause()
web.rename("renamed")
web.update(mem_limit="32m", memswap_limit="64m", restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
web.reload()
assert web.attrs["HostConfig"]["Memory"] == 32 << 20
assert web.attrs["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
image = web.commit(repository="made", tag="one")
assert "made:one" in image.tags
web.restart(timeout=1)
wait_until_up(web, 2)
web.stop(timeout=5)
assert web.wait()["StatusCode"] == 0
web.start()
web.kill()
assert web.wait()["StatusCode"] == 137

# conflicts and refusals
try:
    client.containers.create("busybox", name="renamed")
    raise AssertionError("the name is taken")
except APIError as error:
    assert error.status_code == 409 and "already in use by container" in error.explanation, error
try:
    client.containers.get("nobody")
    raise AssertionError("there is nobody")
except NotFound as error:
    assert "No such container: nobody" in error.explanation
web.remove()
client.images.remove("made:one")

# attach to a container before it starts
box = client.containers.create("busybox", ["cat"], stdin_open=True, tty=False)
attached = box.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
box.start()
attached._sock.sendall(b"through\n")
attached._sock.shutdown(1)
assert box.wait()["StatusCode"] == 0
assert box.logs() == b"through\n"
box.remove()

# over a WebSocket, as browsers do, where the library for it is there
volume = client.volumes.get("data")
assert volume.name == "data"
volume.remove()
events = client.events(since=1, until=2, decode=True)
assert list(events) == []
assert {network.name for network in client.networks.list()} >= {"bridge", "host", "none"}
assert client.df()["Images"]
try:
    client.swarm.reload()
    raise AssertionError("there is no swarm")
except APIError as error:
    assert error.status_code == 503 and "not a swarm manager" in error.explanation
assert client.plugins.list() == []

# networks: made, joined while running, left
pool = docker.types.IPAMPool(subnet="10.77.0.0/24", gateway="10.77.0.1")
network = client.networks.create(
    "app", labels={"kind": "inner"}, ipam=docker.types.IPAMConfig(pool_configs=[pool]), check_duplicate=True
)
one = client.containers.run("busybox", ["sleep", "100"], name="one", network="app", detach=True)
two = client.containers.run("busybox", ["sleep", "100"], name="two", detach=True)
network.connect(two, aliases=["second"], ipv4_address="10.77.0.22")
code, out = one.exec_run(["ping", "-c", "1", "second"])
assert code == 0 and b"10.77.0.22" in out, out
network.reload()
assert {container.name for container in network.containers} == {"one", "two"}
assert network.attrs["IPAM"]["Config"] == [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}], network.attrs
network.disconnect(two)
assert one.exec_run(["ping", "-c", "1", "-W", "1", "10.77.0.22"])[0] != 0
assert [found.name for found in client.networks.list(filters={"label": "kind=inner"})] == ["app"]
try:
    network.remove()
    raise AssertionError("somebody is connected")
except APIError as error:
    assert error.status_code == 403 and "active endpoints" in error.explanation, error

# events as they happen
events = client.events(decode=True, filters={"container": "one", "type": "container"})
one.remove(force=True)
actions = []
for event in events:
    actions.append(event["Action"])
    if event["Action"] == "destroy":
        break
events.close()
assert actions == ["kill", "die", "destroy"], actions
two.remove(force=True)
network.remove()

# volumes
kept = client.volumes.create("kept", driver="local", labels={"team": "a"})
assert kept.attrs["Labels"] == {"team": "a"} and kept.attrs["Scope"] == "local", kept.attrs
assert [found.name for found in client.volumes.list(filters={"label": "team=a"})] == ["kept"]
mount = docker.types.Mount("/kept", "kept", read_only=True)
out = client.containers.run("busybox", ["sh", "-c", "touch /kept/x || echo refused"], mounts=[mount], remove=True, stderr=True)
assert b"refused" in out, out
kept.remove()

# images: built, saved, loaded, pruned
dockerfile = io.BytesIO(b"FROM busybox\nARG WHO\nLABEL who=$WHO\nCMD echo built\n")
built, _ = client.images.build(fileobj=dockerfile, tag="built:one", buildargs={"WHO": "me"}, rm=True)
assert built.labels["who"] == "me"
assert client.containers.run("built:one", remove=True) == b"built\n"
assert built.history()[0]["Tags"] == ["built:one"]
saved = b"".join(built.save(named=True))
client.images.remove("built:one")
assert [image.tags for image in client.images.load(saved)] == [["built:one"]]
assert client.images.get("built:one").tag("built", "two")
assert len(client.images.list("built")) == 1
client.images.remove("built:one")
client.images.remove("built:two")
assert client.containers.prune()["SpaceReclaimed"] == 0
assert client.images.prune(filters={"dangling": True})["SpaceReclaimed"] >= 0
assert client.networks.prune()["NetworksDeleted"] is None
print("done")
