// The life of a container through dockerode.
const assert = require('node:assert');
const { PassThrough } = require('node:stream');
const Docker = require('dockerode');

const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace('unix://', '') });

function text(stream) {
  return new Promise((resolve, reject) => {
    const pieces = [];
    stream.on('data', (piece) => pieces.push(piece));
    stream.on('end', () => resolve(Buffer.concat(pieces).toString()));
    stream.on('error', reject);
  });
}

// Both outputs of a framed stream.
async function demuxed(stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  return Promise.all([text(out), text(err)]);
}

async function life() {
  assert.equal((await docker.version()).ApiVersion, process.env.API);
  const out = new PassThrough();
  // The exit may be told before the last output has come through the other connection.
  const said = new Promise((resolve) => out.once('data', (piece) => resolve(piece.toString())));
  const [result, once] = await docker.run('busybox', ['echo', 'hello'], out);
  assert.equal(result.StatusCode, 0);
  assert.match(await said, /hello/);
  await once.remove();

  const web = await docker.createContainer({
    Image: 'busybox', name: 'web', Cmd: ['sh', '-c', 'echo up; exec sleep 100'], Env: ['A=b'],
    HostConfig: { Memory: 64 << 20, Binds: ['data:/data'] },
  });
  await web.start();
  assert.equal((await web.inspect()).State.Running, true);
  const listed = await docker.listContainers({ filters: { name: ['web'] } });
  assert.deepEqual(listed.map((one) => one.Names), [['/web']]);

  // exec over an upgraded connection, and without one
  const exec = await web.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true, AttachStderr: true });
  const duplex = await exec.start({ hijack: true, stdin: true });
  const echoed = demuxed(duplex);
  duplex.write('typed\n');
  duplex.end();
  assert.deepEqual(await echoed, ['typed\n', '']);
  assert.equal((await exec.inspect()).ExitCode, 0);
  const plain = await web.exec({ Cmd: ['sh', '-c', 'echo o; echo e >&2; exit 4'], AttachStdout: true, AttachStderr: true });
  assert.deepEqual(await demuxed(await plain.start({})), ['o\n', 'e\n']);
  assert.equal((await plain.inspect()).ExitCode, 4);

  // attach to a container that echoes
  const echo = await docker.createContainer({ Image: 'busybox', Cmd: ['cat'], OpenStdin: true, StdinOnce: true, AttachStdin: true });
  const attached = await echo.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
  const answer = demuxed(attached);
  await echo.start();
  attached.write('through\n');
  attached.end();
  assert.deepEqual(await answer, ['through\n', '']);
  await echo.wait();
  await echo.remove();

  assert.match((await web.logs({ stdout: true, stderr: true })).toString(), /up/);
  assert.equal((await web.infoArchive({ path: '/bin' })).statusCode, 200);
  const archive = await text(await web.getArchive({ path: '/etc/passwd' }));
  assert.match(archive, /^passwd/);
  const stats = await web.stats({ stream: false });
  assert.ok(stats.memory_stats.usage > 0);
  await web.restart({ t: 0 });
  await web.stop({ t: 0 });
  await assert.rejects(web.stop(), (error) => error.statusCode === 304);
  await assert.rejects(docker.getContainer('nobody').inspect(), (error) => error.statusCode === 404);
  await web.remove({ v: true });
  await docker.getVolume('data').remove();

  // a network with two containers, and what is told of it
  const events = await docker.getEvents({ filters: { type: ['network'] } });
  const told = new Promise((resolve) => {
    let lines = '';
    events.on('data', (piece) => {
      lines += piece.toString();
      if (lines.includes('"destroy"')) resolve(lines.trim().split('\n').map((line) => JSON.parse(line).Action));
    });
  });
  const network = await docker.createNetwork({ Name: 'app', Labels: { kind: 'inner' } });
  const one = await docker.createContainer({
    Image: 'busybox', name: 'one', Cmd: ['sleep', '100'],
    NetworkingConfig: { EndpointsConfig: { app: { Aliases: ['first'] } } }, HostConfig: { NetworkMode: 'app' },
  });
  await one.start();
  const two = await docker.createContainer({ Image: 'busybox', Cmd: ['ping', '-c', '1', 'first'], HostConfig: { NetworkMode: 'app' } });
  await two.start();
  assert.equal((await two.wait()).StatusCode, 0);
  assert.deepEqual(Object.values((await network.inspect()).Containers).map((member) => member.Name), ['one']);
  await network.disconnect({ Container: 'one' });
  await one.remove({ force: true });
  await two.remove();
  await network.remove();
  // Docker 20.10 tells a disconnection twice.
  const actions = (await told).filter((action, index, all) => action !== all[index - 1]);
  assert.deepEqual(actions, ['create', 'connect', 'disconnect', 'destroy']);
  events.destroy();

  // a volume with labels, and an archive that is put
  await docker.createVolume({ Name: 'kept', Labels: { team: 'a' } });
  const volumes = await docker.listVolumes({ filters: { label: ['team=a'] } });
  assert.deepEqual(volumes.Volumes.map((volume) => volume.Name), ['kept']);
  await docker.getVolume('kept').remove();
  console.log('done');
  // What keeps a connection open is not waited for.
  process.exit(0);
}

life().catch((error) => { console.error(error); process.exit(1); });
