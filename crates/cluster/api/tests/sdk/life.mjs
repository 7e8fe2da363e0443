// The API with the JavaScript client: typed objects, patches, a watch and an informer.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.PACKAGES}/package.json`);
const k8s = require('@kubernetes/client-node');

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const namespace = 'js';
const until = async (what, isSo) => {
  const end = Date.now() + 30_000;
  while (!isSo()) {
    assert(Date.now() < end, `waited in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
};

await core.createNamespace({ body: { metadata: { name: namespace } } });
const made = await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'm' }, data: { k: '1' } } });
made.data.k = '2';
const changed = await core.replaceNamespacedConfigMap({ namespace, name: 'm', body: made });
assert.equal(changed.data.k, '2');
await assert.rejects(core.replaceNamespacedConfigMap({ namespace, name: 'm', body: made }), (error) => error.code === 409);
await assert.rejects(core.readNamespacedPod({ namespace, name: 'none' }), (error) => error.code === 404);

for (const [strategy, body, expected] of [
  [k8s.PatchStrategy.JsonPatch, [{ op: 'add', path: '/data/json', value: 'x' }], { k: '2', json: 'x' }],
  [k8s.PatchStrategy.MergePatch, { data: { k: null } }, { json: 'x' }],
  [k8s.PatchStrategy.StrategicMergePatch, { data: { s: 'y' } }, { json: 'x', s: 'y' }],
]) {
  const options = k8s.setHeaderOptions('Content-Type', strategy);
  const patched = await core.patchNamespacedConfigMap({ namespace, name: 'm', body }, options);
  assert.deepEqual(patched.data, expected);
}
const apply = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.ServerSideApply);
const applied = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied' }, data: { a: '1' } };
const owned = await core.patchNamespacedConfigMap(
  { namespace, name: 'applied', body: applied, fieldManager: 'js', force: true },
  apply,
);
assert.equal(owned.metadata.managedFields[0].operation, 'Apply');

// An informer and a watch see the same.
const seen = [];
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () =>
  core.listNamespacedConfigMap({ namespace }),
);
for (const event of ['add', 'update', 'delete']) {
  informer.on(event, (object) => seen.push(`${event} ${object.metadata.name}`));
}
await informer.start();
assert.deepEqual(seen.slice().sort(), ['add applied', 'add m']);
const events = [];
const watching = await new k8s.Watch(config).watch(
  `/api/v1/namespaces/${namespace}/configmaps`,
  { labelSelector: 'late' },
  (type, object) => events.push(`${type} ${object.metadata.name}`),
  () => {},
);
await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'n', labels: { late: 'yes' } } } });
await core.deleteNamespacedConfigMap({ namespace, name: 'n' });
await until('the events', () => events.length >= 2 && seen.includes('delete n'));
assert.deepEqual(events, ['ADDED n', 'DELETED n']);
assert.deepEqual(seen.slice(2), ['add n', 'delete n']);
assert.equal(informer.list().length, 2);
watching.abort();
await informer.stop();

// Objects of any kind, as a file has them.
const anything = k8s.KubernetesObjectApi.makeApiClient(config);
const deployment = {
  apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web', namespace },
  spec: {
    selector: { matchLabels: { app: 'web' } },
    template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
  },
};
await anything.create(deployment);
const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'web' });
scale.spec.replicas = 4;
await apps.replaceNamespacedDeploymentScale({ namespace, name: 'web', body: scale });
assert.equal((await anything.read(deployment)).spec.replicas, 4);
await anything.delete(deployment);
await core.deleteNamespace({ name: namespace });
console.log('done');
