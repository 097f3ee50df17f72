import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { startNats } from '../../support/nats.js';
import { Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';

/** What nobody may find in a log. */
const secret = 'p1anted-s3cret';

describe('what a cell logs', function () {
  this.timeout(90_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let cell: Cell;
  let peer: Peer;
  let cellId: string;

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    cell = await makeCell({
      natsUrl: nats.url.replace('nats://', `nats://user:${secret}@`),
      config: {
        logging: { level: 'all' },
        loggregator: { router: '127.0.0.1:9', shared_secret: secret },
        cc_url: `http://user:${secret}@127.0.0.1:1`,
        status: { user: 'admin', password: secret },
      },
    });
    await cell.start();
    cellId = await peer.cellId();
  });

  after(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  const everything = () => JSON.stringify(cell.logs) + cell.standardError();

  it('has no secret of any message in it, at any level, when all goes well and when it fails', async () => {
    const droplet = await makeDroplet();
    const services = [
      { label: 'mysql', name: 'db', credentials: { uri: `mysql://u:${secret}@host/db`, password: secret } },
    ];
    const planted = {
      services,
      env: [`TOKEN=${secret}`],
      // Has the blob server's own password in it.
      executableUri: blobs.put('/droplet', droplet),
      sha1: sha1(droplet),
      debug: null,
    };
    const good = startMessage({ ...planted, vcap_services: services });
    const noDroplet = startMessage({
      ...planted,
      sha1: '0'.repeat(40),
      executableUri: `http://u:${secret}@127.0.0.1:1/x?hmac=${secret}`,
    });
    const badDigest = startMessage({ ...planted, sha1: '1'.repeat(40) });
    const noRoom = startMessage({ ...planted, limits: { mem: 100_000, disk: 64, fds: 16 } });
    const invalid = startMessage({ ...planted, uris: 'x' });
    for (const message of [good, noDroplet, badDigest, noRoom, invalid]) {
      peer.publish(`dea.${cellId}.start`, message);
    }
    peer.publishRaw(`dea.${cellId}.start`, `{"env":["A=${secret}"]`);
    const app = good.droplet as string;
    await peer.next('router.register', (data) => data.app === app, { timeoutMs: 30_000 });
    for (const { droplet: failed } of [noDroplet, badDigest, noRoom]) {
      await peer.next('droplet.exited', (data) => data.droplet === failed, { timeoutMs: 30_000 });
    }
    await peer.request('dea.find.droplet', { droplet: app, include_stats: true, path: '/logs' });
    const staging = {
      app_id: randomUUID(),
      task_id: randomUUID(),
      properties: { services, environment: [`A=${secret}`], resources: {} },
      download_uri: `http://user:${secret}@127.0.0.1:1/package?X-Amz-Signature=${secret}`,
      upload_uri: `http://user:${secret}@127.0.0.1:1/upload`,
      buildpack_cache_download_uri: `http://user:${secret}@127.0.0.1:1/cache`,
      admin_buildpacks: [{ key: 'k', url: `http://user:${secret}@127.0.0.1:1/buildpack` }],
      start_message: good,
    };
    await peer.request(`staging.${cellId}.start`, staging, { count: 2, timeoutMs: 30_000 });
    peer.publish('dea.update', { droplet: app, uris: ['other.example.com'], env: [secret] });
    peer.publish('dea.stop', { droplet: app });
    await peer.next('router.unregister', (data) => data.app === app, { timeoutMs: 30_000 });
    await eventually(
      async () => (await cell.snapshot()).instances.every(({ application_id }) => application_id !== app) || undefined,
    );
    expect(cell.logs.filter(({ message }) => message === 'nats.message.received').length).to.be.greaterThan(6);
    expect(cell.logs.some(({ message }) => message === 'nats.subscription.json_error')).to.equal(true);
    for (const password of [secret, 'se@cret', 'se%40cret']) {
      const at = everything().indexOf(password);
      expect(at < 0 ? '' : everything().slice(Math.max(0, at - 300), at + 50)).to.equal('');
    }
  });

  it('says of each line where it comes from', () => {
    for (const line of cell.logs as unknown as Record<string, unknown>[]) {
      expect(line.file, JSON.stringify(line)).to.match(/\/lib\/.*\.ts$/);
      expect(line.lineno).to.be.greaterThan(0);
      expect(line.method).to.be.a('string').and.not.equal('');
    }
  });

  it('changes with the level of the configuration on HUP, and not with a broken one', async () => {
    const text = await readFile(cell.configPath, 'utf8');
    const logged = (message: string) => cell.logs.findIndex((line) => line.message === message);
    await writeFile(cell.configPath, JSON.stringify({ ...JSON.parse(text), logging: { level: 'info' } }));
    cell.signal('SIGHUP');
    const reopened = await eventually(() => (logged('logging.reopened') < 0 ? undefined : logged('logging.reopened')));
    await writeFile(cell.configPath, '{');
    await peer.request('dea.find.droplet', { droplet: randomUUID() }, { timeoutMs: 500 });
    cell.signal('SIGHUP');
    await eventually(() => logged('logging.configuration.invalid') > 0 || undefined);
    await writeFile(cell.configPath, text);
    expect(cell.logs.slice(reopened).filter(({ log_level }) => log_level.startsWith('debug'))).to.deep.equal([]);
    const mark = peer.mark;
    await peer.next('dea.advertise', () => true, { since: mark });
  });
});
