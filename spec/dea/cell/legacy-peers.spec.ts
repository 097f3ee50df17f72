import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, freePort, makeCell } from '../../support/cell.js';
import { CertificateAuthority } from '../../support/certificates.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { startHealthManager } from '../../support/health-manager.js';
import { type Answer, askWhole } from '../../support/http-client.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';

const user = 'collector';
const password = 'p:ss wörd';

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('a cell among peers of before 2016', function () {
  this.timeout(60_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let cell: Cell;
  let peer: Peer;
  let id: string;
  let statusPort: number;
  let app: Message;

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url);
    statusPort = await freePort();
    cell = await makeCell({
      natsUrl: nats.url,
      config: { local_ip: '127.0.0.1', status: { port: statusPort, user, password } },
    });
    await cell.start();
    id = await peer.cellId();
    const droplet = await makeDroplet();
    app = startMessage({
      sha1: sha1(droplet),
      executableUri: blobs.put('/droplet', droplet),
      services: [{ name: 'db', label: 'sql', credentials: { password: 'planted-secret' } }],
      env: ['TOKEN=planted-secret'],
      uris: [],
    });
    peer.publish(`dea.${id}.start`, app);
    await eventually(
      async () => (await peer.request('dea.find.droplet', { droplet: app.droplet, states: ['RUNNING'] }))[0],
      { timeoutMs: 30_000 },
    );
  });

  after(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  const credentials = (text: string) => ({ Authorization: `Basic ${Buffer.from(text).toString('base64')}` });
  const page = (path: string, headers: Record<string, string> = credentials(`${user}:${password}`)): Promise<Answer> =>
    askWhole({ port: statusPort, path, headers });

  it('40: announces itself and answers discoveries, by the id of its advertisements', async () => {
    const announced = await peer.next('vcap.component.announce');
    expect(Object.keys(announced)).to.deep.equal(['type', 'index', 'uuid', 'host', 'credentials', 'start']);
    expect(announced).to.deep.include({
      type: 'DEA',
      index: 0,
      uuid: id,
      host: `127.0.0.1:${statusPort}`,
      credentials: [user, password],
    });
    expect(id).to.match(/^0-[0-9a-f]{32}$/);
    expect((await peer.next('staging.advertise')).id).to.equal(id);
    expect((await peer.next('dea.heartbeat')).dea).to.equal(id);
    expect(announced.start).to.match(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}$/);
    const [discovered] = await peer.request('vcap.component.discover', {});
    expect(discovered).to.deep.equal({ ...announced, uptime: discovered!.uptime });
    expect(discovered!.uptime).to.match(/^0d:0h:\d+m:\d+s$/);
  });

  it('40: shows its pages only to who knows the password', async () => {
    const wrong = [
      {},
      credentials(`${user}:wrong`),
      credentials(user),
      credentials(''),
      { Authorization: 'Basic' },
      { Authorization: 'Basic !!!' },
      { Authorization: `Bearer ${Buffer.from(`${user}:${password}`).toString('base64')}` },
    ];
    for (const path of ['/varz', '/healthz', '/metrics', '/nowhere']) {
      for (const headers of wrong) {
        const answer = await page(path, headers as Record<string, string>);
        expect(answer, `${path} ${JSON.stringify(headers)}`).to.include({ status: 401, body: '' });
        expect(answer.headers['www-authenticate']).to.equal('Basic realm=""');
      }
    }
    expect((await page('/nowhere')).status).to.equal(404);
  });

  it('40: says that it is healthy', async () => {
    for (const path of ['/healthz', '/healthz/', '/healthz/below', '/healthz?x']) {
      const answer = await page(path);
      expect(answer).to.include({ status: 200, body: 'ok\n' });
      expect(answer.headers).to.include({ 'content-type': 'application/json', 'content-length': '3' });
    }
    expect((await page('/healthzz')).status).to.equal(404);
  });

  it('40: tells its figures in /varz, and no secrets', async () => {
    const answer = await page('/varz');
    expect(answer.status).to.equal(200);
    expect(answer.headers['content-type']).to.equal('application/json');
    expect(answer.body.endsWith('\n}\n')).to.equal(true);
    expect(answer.body).not.to.contain('planted-secret').and.not.contain('/droplet');
    const varz = JSON.parse(answer.body) as Message;
    expect(varz).to.have.all.keys(
      ...[
        'type',
        'index',
        'uuid',
        'host',
        'credentials',
        'start',
        'num_cores',
        'log_counts',
        'stacks',
        'uptime',
        'cpu',
      ],
      ...['cpu_load_avg', 'mem_bytes', 'mem_used_bytes', 'mem_free_bytes', 'can_stage', 'reservable_stagers'],
      ...['available_memory_ratio', 'available_disk_ratio', 'warden_containers', 'instance_registry'],
      ...['total_warden_response_time_in_ms', 'warden_request_count', 'warden_error_response_count'],
    );
    expect(varz).to.deep.include({
      uuid: id,
      stacks: ['bookworm'],
      can_stage: 1,
      reservable_stagers: Math.floor((4096 - 64) / 256),
      available_memory_ratio: 1 - 64 / 4096,
    });
    expect(varz.log_counts.info).to.be.greaterThan(1);
    expect(varz.log_counts.off).to.equal(0);
    expect(varz.warden_containers).to.have.lengthOf(1);
    expect(varz.warden_request_count).to.be.greaterThan(3);
    for (const name of ['num_cores', 'cpu', 'cpu_load_avg', 'mem_bytes', 'mem_used_bytes', 'mem_free_bytes']) {
      expect(varz[name], name).to.be.a('number').and.be.at.least(0);
    }
  });

  it('40: describes its instances in /varz', async () => {
    const { instance_registry: registry, warden_containers: handles } = JSON.parse((await page('/varz')).body);
    expect(Object.keys(registry)).to.deep.equal([app.droplet]);
    const [[instanceId, instance]] = Object.entries(registry[app.droplet]) as [[string, Message]];
    expect(instance).to.have.all.keys(
      ...['stack', 'prod', 'executableFile', 'limits', 'cc_partition', 'console', 'debug', 'start_command'],
      ...['health_check_timeout', 'vcap_application', 'egress_network_rules', 'instance_index', 'application_version'],
      ...['application_name', 'application_uris', 'application_id', 'droplet_sha1', 'instance_id'],
      ...['private_instance_id', 'state', 'state_timestamp', 'state_born_timestamp', 'state_starting_timestamp'],
      ...['state_running_timestamp', 'warden_handle', 'warden_job_id', 'used_memory_in_bytes', 'used_disk_in_bytes'],
      'computed_pcpu',
    );
    expect(instance).to.deep.include({
      instance_id: instanceId,
      application_id: app.droplet,
      droplet_sha1: app.sha1,
      state: 'RUNNING',
      limits: app.limits,
      warden_handle: handles[0],
      state_timestamp: instance.state_running_timestamp,
    });
    expect(instance.used_memory_in_bytes).to.be.greaterThan(0);
  });

  it('tells its figures in the format of Prometheus', async () => {
    const answer = await page('/metrics');
    expect(answer.status).to.equal(200);
    expect(answer.headers['content-type']).to.equal('text/plain; version=0.0.4; charset=utf-8');
    const samples = new Map<string, number>();
    for (const line of answer.body.trimEnd().split('\n')) {
      if (/^# (HELP|TYPE) [a-z_]+ \S/.test(line)) continue;
      const [, sample, value] = /^([a-z_]+(?:\{[a-z]+="[^"]*"\})?) ([0-9.e+-]+)$/.exec(line) ?? [];
      expect(sample, line).to.be.a('string');
      expect(samples.has(sample!), line).to.equal(false);
      samples.set(sample!, Number(value));
    }
    expect(samples.get('isthmus_dea_instances{state="RUNNING"}')).to.equal(1);
    expect(samples.get('isthmus_dea_instances{state="CRASHED"}')).to.equal(0);
    expect(samples.get('isthmus_dea_memory_free_bytes')).to.equal((4096 - 64) * 1024 * 1024);
    expect(samples.get('isthmus_dea_memory_reserved_bytes{owner="dea"}')).to.equal(64 * 1024 * 1024);
    expect(samples.get('isthmus_dea_instance_starts_total')).to.equal(1);
    expect(samples.get('isthmus_dea_instance_crashes_total')).to.equal(0);
    expect(samples.get('isthmus_dea_engine_calls_total{call="create"}')).to.equal(1);
    expect(samples.get('isthmus_dea_heartbeats_sent_total{transport="nats"}')).to.be.greaterThan(0);
    expect(samples.get('process_resident_memory_bytes')).to.be.greaterThan(1e6);
    expect(samples.get('process_open_fds')).to.be.greaterThan(5);
  });

  it('40: answers dea.discover by how much room it has', async () => {
    const [offer] = await peer.request('dea.discover', { droplet: 'x', limits: { mem: 64, disk: 64 } });
    expect(offer).to.deep.equal({ id, ip: '127.0.0.1', port: cell.directoryServerPort, version: '0.0.1' });
    for (const limits of [
      { mem: 5000, disk: 64 },
      { mem: 64, disk: 20_000 },
    ]) {
      expect(await peer.request('dea.discover', { droplet: 'x', limits }, { timeoutMs: 500 })).to.deep.equal([]);
    }
  });

  it('answers droplet.status for instances that start or run', async () => {
    expect(await peer.request('droplet.status', { droplet: app.droplet })).to.deep.equal([{ name: 'web', uris: [] }]);
    expect(await peer.request('droplet.status', { droplet: 'x' }, { timeoutMs: 300 })).to.deep.equal([]);
  });

  it('40: answers dea.status, staging.locate and dea.locate', async () => {
    const [status] = await peer.request('dea.status', {});
    expect(status).to.include({ id, ip: '127.0.0.1', max_memory: 4096, reserved_memory: 64, num_clients: null });
    const mark = peer.mark;
    peer.publish('staging.locate', {});
    expect(await peer.next('staging.advertise', () => true, { since: mark })).to.have.all.keys(
      ...['id', 'stacks', 'available_memory', 'available_disk'],
    );
    peer.publish('dea.locate', {});
    await peer.next('dea.advertise', () => true, { since: mark });
  });

  it('8: outlives garbage on every subject, and advertises on time', async () => {
    const subjects = [
      ...[`dea.${id}.start`, 'dea.stop', 'dea.update', 'dea.find.droplet', 'router.start', `staging.${id}.start`],
      ...['staging.stop', 'staging', 'healthmanager.start', 'dea.status', 'dea.locate', 'staging.locate'],
      ...['dea.discover', 'droplet.status', 'vcap.component.discover'],
    ];
    const values = ['}{', '', '[]', '1', 'null', '"x"', '{"droplet":{}}', '{"droplet":[],"limits":"x"}', '\u0000'];
    const mark = peer.mark;
    const before = cell.logs.length;
    for (const subject of subjects) for (const value of values) peer.publishRaw(subject, value);
    const badJson = await eventually(() => {
      const named = cell.logs
        .slice(before)
        .filter(({ message }) => message === 'nats.subscription.json_error')
        .map(({ data }) => data.subject);
      return subjects.every((subject) => named.includes(subject)) ? named : undefined;
    });
    expect(new Set(badJson)).to.deep.equal(new Set(subjects));
    await peer.next('dea.advertise', () => true, { since: mark, timeoutMs: 2000 });
    const [found] = await peer.request('dea.find.droplet', { droplet: app.droplet });
    expect(found).to.include({ state: 'RUNNING' });
  });

  it('stays on time under thousands of discoveries', async () => {
    const mark = peer.mark;
    const replies: Message[][] = [];
    for (let number = 0; number < 5000; number += 1) {
      peer.publish('dea.discover', { droplet: app.droplet, limits: { mem: 1, disk: 1 } });
      if (number % 10 === 0) {
        replies.push(peer.requestReplies('dea.discover', { droplet: app.droplet, limits: { mem: 1, disk: 1 } }));
      }
    }
    await peer.next('dea.advertise', () => true, { since: mark, timeoutMs: 4000 });
    await eventually(() => (replies.every(({ length }) => length === 1) ? true : undefined));
    expect((await page('/healthz')).status).to.equal(200);
  });

  it('40: counts and describes apps whose ids are names that every object knows', async () => {
    const mark = peer.mark;
    const ids = ['__proto__', 'constructor'];
    for (const droplet of ids) {
      peer.publish(`dea.${id}.start`, startMessage({ droplet, limits: { mem: 100_000, disk: 1, fds: 1 } }));
      await peer.next('droplet.exited', (data) => data.droplet === droplet, { since: mark });
    }
    const { app_id_to_count: counts } = await peer.next('dea.advertise', () => true, { since: peer.mark });
    const { instance_registry: registry } = JSON.parse((await page('/varz')).body);
    for (const droplet of ids) {
      expect(Object.getOwnPropertyDescriptor(counts, droplet)?.value).to.equal(1);
      const [[, instance]] = Object.entries(Object.getOwnPropertyDescriptor(registry, droplet)?.value) as [
        [string, Message],
      ];
      expect(instance).to.include({ application_id: droplet, state: 'CRASHED' });
    }
    // Not in the instances of other apps.
    expect(Object.keys(registry[app.droplet])).to.have.lengthOf(1);
  });
});

describe('a cell without legacy protocols', function () {
  this.timeout(60_000);

  it('beats over TLS alone when dea.heartbeat is off, and counts what HM9000 accepts', async () => {
    const authority = CertificateAuthority.create();
    const healthManager = await startHealthManager(authority);
    const nats = await startNats();
    const peer = await Peer.connect(nats.url);
    const statusPort = await freePort();
    const cell = await makeCell({
      natsUrl: nats.url,
      config: {
        legacy_protocols: ['vcap.component'],
        hm9000: healthManager.config,
        local_ip: '127.0.0.1',
        status: { port: statusPort, user, password },
      },
    });
    try {
      await cell.start();
      await eventually(() => (healthManager.heartbeats.length >= 2 ? true : undefined));
      healthManager.answer = (_request, response) => void response.writeHead(500).end();
      await eventually(async () => {
        const { body } = await askWhole({
          port: statusPort,
          path: '/metrics',
          headers: { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` },
        });
        expect(body).to.match(/^isthmus_dea_heartbeats_sent_total\{transport="https"\} [2-9]/m);
        expect(body).to.match(/^isthmus_dea_heartbeats_failed_total\{transport="https"\} [1-9]/m);
        expect(body).to.match(/^isthmus_dea_heartbeats_sent_total\{transport="nats"\} 0$/m);
        return true;
      });
      expect(peer.all('dea.heartbeat')).to.deep.equal([]);
    } finally {
      await cell.dispose();
      await peer.close();
      await nats.stop();
      await healthManager.stop();
      authority.remove();
    }
  });

  it('serves no component pages, answers no early peer, and has a UUID for id', async () => {
    const nats = await startNats();
    const peer = await Peer.connect(nats.url);
    const statusPort = await freePort();
    const cell = await makeCell({
      natsUrl: nats.url,
      config: { legacy_protocols: ['dea.heartbeat'], local_ip: '127.0.0.1', status: { port: statusPort } },
    });
    try {
      await cell.start();
      expect(await peer.cellId()).to.match(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      for (const subject of ['vcap.component.discover', 'dea.discover', 'droplet.status', 'dea.status']) {
        const question = { droplet: 'x', limits: { mem: 1, disk: 1 } };
        expect(await peer.request(subject, question, { timeoutMs: 300 }), subject).to.deep.equal([]);
      }
      await askWhole({ port: statusPort, path: '/varz' }).then(
        () => expect.fail('answered'),
        (error: NodeJS.ErrnoException) => expect(error.code).to.equal('ECONNREFUSED'),
      );
      expect(peer.all('vcap.component.announce')).to.deep.equal([]);
    } finally {
      await cell.dispose();
      await peer.close();
      await nats.stop();
    }
  });
});
