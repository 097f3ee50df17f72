import { createHmac, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { type BlobServer, sha1, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { makeDroplet } from '../../support/droplets.js';
import { eventually } from '../../support/eventually.js';
import { readJobSocket } from '../../support/job-socket.js';
import { type Metron, startMetron } from '../../support/metron.js';
import { startNats } from '../../support/nats.js';
import { type Message, Peer } from '../../support/peer.js';
import { startMessage } from '../../support/start-message.js';
import { zipDirectory } from '../../support/zip.js';

/** Says when it is told to end, and goes on for a moment. */
const talker = String.raw`
$| = 1; select(STDERR); $| = 1; select(STDOUT);
$SIG{TERM} = sub { print "after TERM\n"; print STDERR "and on\n"; select(undef, undef, undef, 0.2); print "last words"; exit };
print "hello\n\n  \nworld\r\nlong " . ('x' x 9000) . "\n"; print STDERR "oh\n";
sleep 1 while 1;
`;

/** Is not impressed by TERM. */
const stubborn = String.raw`
$| = 1; $SIG{TERM} = sub { print "TERM, so what\n" };
print("tick\n"), sleep 1 while 1;
`;

/** Prints all it has to say at once. */
const burst = String.raw`print "line $_\n" for 0 .. 99_999; $| = 1; while (1) { sleep 1; print "done\n" }`;

/** Prints numbered lines, ten each hundredth of a second. */
const counter = String.raw`
use Time::HiRes 'sleep'; $| = 1; my $number = 0;
for my $round (1 .. 100) { for (1 .. 10) { print "line ", $number++, "\n" } sleep 0.01 }
sleep 3600;
`;

/** Numbers in titles are those of docs/protocol/dea.md §25. */
describe('the logs of apps in a cell', function () {
  this.timeout(90_000);
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let metron: Metron;
  let cell: Cell;
  let peer: Peer;
  let droplets: Record<'talker' | 'counter' | 'quitter' | 'burst' | 'server', { url: string; sha1: string }>;

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    metron = await startMetron();
    peer = await Peer.connect(nats.url);
    const put = async (name: string, droplet: Buffer) => ({ url: blobs.put(`/${name}`, droplet), sha1: sha1(droplet) });
    const script = (source: string) =>
      makeDroplet({ startCommand: 'exec perl script.pl', files: { 'app/script.pl': source } });
    droplets = {
      talker: await put('talker', await script(talker)),
      counter: await put('counter', await script(counter)),
      burst: await put('burst', await script(burst)),
      quitter: await put('quitter', await script('sleep 1; print STDERR "truly\n"; print "I am done"; exit 3;')),
      server: await put('server', await makeDroplet()),
    };
    cell = await makeCell({
      natsUrl: nats.url,
      config: { index: 7, loggregator: { router: `127.0.0.1:${metron.port}` } },
    });
    await cell.start();
  });

  after(async () => {
    await cell?.dispose();
    await metron?.stop();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  /** Changes with a restart. */
  const cellId = () => eventually(() => peer.all('dea.advertise').at(-1)?.data.id);

  async function start(name: keyof typeof droplets, overrides: Message = {}): Promise<string> {
    const { url, sha1: digest } = droplets[name];
    const uris = name === 'server' ? ['web.example.com'] : [];
    const sent: Message = startMessage({ sha1: digest, executableUri: url, uris, ...overrides });
    peer.publish(`dea.${await cellId()}.start`, sent);
    return sent.droplet;
  }

  async function running(app: string): Promise<Message> {
    return eventually(
      async () =>
        (await cell.snapshot()).instances.find(
          ({ application_id, state }) => application_id === app && state === 'RUNNING',
        ) as Message | undefined,
      { timeoutMs: 30_000, what: 'a RUNNING instance' },
    );
  }

  async function stop(app: string): Promise<void> {
    peer.publish('dea.stop', { droplet: app });
    await eventually(
      async () => (await cell.snapshot()).instances.every(({ application_id }) => application_id !== app) || undefined,
      { timeoutMs: 30_000, what: 'the end of the instance' },
    );
  }

  const texts = (app: string, source?: string) => metron.logs(app, source).map(({ text }) => text);
  const socketPath = (instance: Message, name: string) =>
    join(instance.warden_container_path, 'jobs', String(instance.warden_job_id), name);

  it('tell of start and stop in the words that users know', async () => {
    const app = await start('talker', { index: 3 });
    await running(app);
    await stop(app);
    await eventually(() => texts(app, 'DEA').length === 3 || undefined);
    expect(texts(app, 'DEA')).to.deep.equal([
      `Starting app instance (index 3) with guid ${app}`,
      `Stopping app instance (index 3) with guid ${app}`,
      `Stopped app instance (index 3) with guid ${app}`,
    ]);
    expect(metron.logs(app, 'DEA')[0]).to.include({ type: 'OUT', sourceInstance: '7' });
    expect(metron.envelopes.every(({ origin }) => origin === 'DEA')).to.equal(true);
  });

  it('have what the app prints, line by line, until its end', async () => {
    const app = await start('talker', { index: 3 });
    await running(app);
    await eventually(() => texts(app, 'App').length >= 4 || undefined);
    await stop(app);
    await eventually(() => texts(app, 'App').includes('last words') || undefined);
    const lines = metron.logs(app, 'App');
    const of = (type: string) => lines.filter((line) => line.type === type).map(({ text }) => text);
    expect(of('ERR')).to.deep.equal(['oh', 'and on']);
    expect(of('OUT')).to.deep.equal([
      'hello',
      'world',
      `long ${'x'.repeat(8704 - 9 - 5)}TRUNCATED`,
      'after TERM',
      'last words',
    ]);
    expect(lines.every(({ sourceInstance }) => sourceInstance === '3')).to.equal(true);
  });

  it('21: come from the job sockets, too, to each reader, to the last word', async () => {
    const app = await start('talker');
    const instance = await running(app);
    expect((await stat(socketPath(instance, 'stdout.sock'))).mode & 0o777).to.equal(0o600);
    const readers = await Promise.all([1, 2].map(() => readJobSocket(socketPath(instance, 'stdout.sock'))));
    const errors = await readJobSocket(socketPath(instance, 'stderr.sock'));
    await stop(app);
    await eventually(() => [...readers, errors].every(({ hasEnded }) => hasEnded) || undefined);
    for (const reader of readers) {
      expect(reader.position).to.equal(0);
      expect(reader.text).to.match(/^hello\n\n {2}\nworld\r\nlong x{9000}\nafter TERM\nlast words$/);
    }
    expect(errors.text).to.equal('oh\nand on\n');
    await eventually(() => !existsSync(instance.warden_container_path) || undefined);
  });

  it('12: have an ERR line of an app that does not begin to listen', async () => {
    const app = await start('talker', { uris: ['silent.example.com'], health_check_timeout: 2, index: 1 });
    await peer.next('droplet.exited', ({ droplet }) => droplet === app, { timeoutMs: 30_000 });
    await eventually(() => texts(app, 'DEA').length >= 2 || undefined);
    expect(metron.logs(app, 'DEA').filter(({ type }) => type === 'ERR')).to.have.length(1);
    expect(metron.logs(app, 'DEA')[1]).to.include({
      type: 'ERR',
      text: 'Instance (index 1) failed to start accepting connections',
    });
  });

  it('have an ERR line with the reason when there is no room', async () => {
    const app = await start('talker', { limits: { mem: 100_000, disk: 64, fds: 16 } });
    await eventually(() => texts(app).length >= 2 || undefined);
    expect(metron.logs(app).filter(({ type }) => type === 'ERR')).to.have.length(1);
    expect(metron.logs(app)[1]).to.include({
      type: 'ERR',
      sourceType: 'DEA',
      text: 'Instance (index 0) failed to start: Not enough memory resource available.',
    });
  });

  it('have an ERR line with the reason, and no password in it, when the droplet cannot be had', async () => {
    const app = await start('talker', { sha1: '0'.repeat(40), executableUri: 'http://user:hidden@127.0.0.1:1/x' });
    await eventually(() => texts(app).length >= 2 || undefined, { timeoutMs: 20_000 });
    const [, failure] = metron.logs(app);
    expect(failure).to.include({ type: 'ERR', sourceType: 'DEA' });
    expect(failure!.text).to.match(/^Instance \(index 0\) failed to start: .*127\.0\.0\.1:1/);
    expect(failure!.text).to.not.contain('hidden');
  });

  it('arrive whole and in order when two apps print a thousand lines a second', async () => {
    const apps = await Promise.all([start('counter', { index: 0 }), start('counter', { index: 1 })]);
    await Promise.all(
      apps.map((app) => eventually(() => texts(app, 'App').length >= 1000 || undefined, { timeoutMs: 60_000 })),
    );
    for (const app of apps) {
      expect(texts(app, 'App')).to.deep.equal(Array.from({ length: 1000 }, (_, number) => `line ${number}`));
      const times = metron.logs(app, 'App').map(({ timestampNs }) => timestampNs);
      expect(times.every((time, at) => at === 0 || time > times[at - 1]!)).to.equal(true);
    }
    await Promise.all(apps.map(stop));
  });

  it('keep their order in a burst of a hundred thousand lines, which the agent takes with little memory', async () => {
    const app = await start('burst', { index: 5 });
    const isDone = () => metron.datagrams.slice(-20).some((datagram) => datagram.includes('done'));
    await eventually(() => isDone() || undefined, { timeoutMs: 60_000 });
    const numbers = texts(app, 'App')
      .filter((text) => text !== 'done')
      .map((text) => Number(text.slice('line '.length)));
    // What this socket had no room for is nobody's fault.
    expect(numbers.length).to.be.greaterThan(50_000);
    expect(numbers.every((number, at) => at === 0 || number > numbers[at - 1]!)).to.equal(true);
    const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${cell.pid}/status`, 'utf8'))!;
    expect(Number(kilobytes)).to.be.below(400 * 1024);
    await stop(app);
  });

  it('go on after a restart of the agent, without loss or doubles, and so do the sockets', async () => {
    const app = await start('server');
    const before = await running(app);
    const say = async (line: string) => {
      const { instance_host_port: port } = before;
      const host = (await peer.next('router.register', (data) => data.app === app)).host;
      await (await fetch(`http://${host}:${port}/log?line=${line}`)).text();
    };
    await say('one');
    await eventually(() => texts(app, 'App').includes('one') || undefined);
    await cell.kill();
    await say('two');
    await cell.start();
    const after = await running(app);
    await say('three');
    await eventually(() => texts(app, 'App').includes('three') || undefined);
    const said = metron.logs(app, 'App').filter(({ type }) => type === 'OUT');
    expect(said.map(({ text }) => text)).to.deep.equal(['one', 'two', 'three']);
    const reader = await readJobSocket(socketPath(after, 'stdout.sock'));
    await say('four');
    await eventually(() => reader.text.includes('four') || undefined);
    expect(reader.text).to.equal('two\nthree\nfour\n');
    await stop(app);
    expect(texts(app, 'DEA').filter((text) => text.startsWith('Starting'))).to.have.length(1);
  });

  it('have the last words of an app that crashes, and tell when its crash is removed', async () => {
    const app = randomUUID();
    const crash = async () => {
      await start('quitter', { droplet: app, index: 2 });
      return peer.next('droplet.exited', ({ droplet }) => droplet === app, { since: peer.mark, timeoutMs: 30_000 });
    };
    expect(await crash()).to.include({ exit_status: 3 });
    await eventually(() => texts(app, 'App').length === 2 || undefined);
    expect(metron.logs(app, 'App').map(({ type, text }) => [type, text])).to.have.deep.members([
      ['OUT', 'I am done'],
      ['ERR', 'truly'],
    ]);
    await crash();
    const removal = `Removing crash for app with id ${app}`;
    await eventually(() => texts(app, 'DEA').includes(removal) || undefined, { timeoutMs: 30_000 });
    await eventually(() => texts(app, 'DEA').length >= 5 || undefined);
    const starting = `Starting app instance (index 2) with guid ${app}`;
    expect(texts(app, 'DEA')).to.deep.equal([
      starting,
      starting,
      removal,
      `Stopping app instance (index 2) with guid ${app}`,
      `Stopped app instance (index 2) with guid ${app}`,
    ]);
  });

  async function stage(app: string, cacheUploadUri: (upload: string) => string): Promise<void> {
    const content = await zipDirectory('spec/fixtures/buildpacks/static-buildpack');
    const key = `static_${sha1(content)}`;
    const upload = `${blobs.urlWithCredentials}/staging/droplets/${app}/upload`;
    const replies = await peer.request(
      `staging.${await cellId()}.start`,
      {
        app_id: app,
        task_id: randomUUID(),
        properties: { services: [], environment: [], resources: {} },
        download_uri: blobs.put('/package.zip', await zipDirectory('spec/fixtures/apps/static')),
        upload_uri: upload,
        buildpack_cache_upload_uri: cacheUploadUri(upload),
        admin_buildpacks: [{ key, url: blobs.put(`/buildpacks/${key}`, content) }],
      },
      { count: 2, timeoutMs: 60_000 },
    );
    expect(replies[1]).to.not.have.property('error');
  }

  it('have what a staging prints', async () => {
    const app = randomUUID();
    await stage(app, (upload) => `${upload}/cache`);
    await eventually(() => texts(app).some((text) => text.startsWith('-----> Uploading droplet')) || undefined);
    expect(texts(app, 'DEA')).to.deep.equal([`Got staging request for app with id ${app}`]);
    const staging = metron.logs(app, 'STG');
    expect(staging[0]!.text).to.match(/^-----> Downloaded app package \(\S+\)$/);
    expect(staging[0]).to.include({ type: 'OUT', sourceInstance: '7' });
    expect(staging.some(({ text }) => text.startsWith('-----> static: '))).to.equal(true);
    expect(staging.at(-1)!.text).to.match(/^-----> Uploading droplet \(\S+\)$/);
  });

  it('have a warning when a staging cannot store its buildpack cache', async () => {
    const app = randomUUID();
    await stage(app, () => 'http://user:hidden@127.0.0.1:1/cache');
    const warning = '-----> Warning: the buildpack cache could not be stored for the next time';
    await eventually(() => texts(app, 'STG').includes(warning) || undefined);
  });

  it('have an ERR line with the reason when a staging cannot begin', async () => {
    const app = randomUUID();
    const message = {
      app_id: app,
      task_id: randomUUID(),
      stack: 'beos',
      properties: { services: [], environment: [], resources: {} },
      download_uri: 'http://user:hidden@127.0.0.1:1/package',
      upload_uri: 'http://127.0.0.1:1/upload',
      admin_buildpacks: [],
    };
    await peer.request(`staging.${await cellId()}.start`, message, { count: 2, timeoutMs: 20_000 });
    await eventually(() => texts(app, 'STG').length > 0 || undefined);
    expect(metron.logs(app, 'STG')[0]).to.include({
      type: 'ERR',
      text: 'Failed to stage: Error staging: Stack beos does not exist',
    });
  });

  it('stand beside what instances use, which is told when they run', async () => {
    const app = await start('server', { index: 4 });
    await running(app);
    const { container } = await eventually(() =>
      metron.envelopes.find((envelope) => envelope.container?.applicationId === app),
    );
    expect(container).to.include({ applicationId: app, instanceIndex: 4 });
    expect(container!.memoryBytes)
      .to.be.greaterThan(0)
      .and.below(64 * 1024 * 1024);
    await stop(app);
  });

  it('stand beside the values of the cell and the counters of its engine', async () => {
    const names = (kind: 'value' | 'counter') =>
      new Set(metron.envelopes.flatMap((envelope) => envelope[kind]?.name ?? []));
    expect([...names('value')]).to.include.members(['uptime', 'remaining_memory', 'dea_registry_running']);
    const memory = metron.envelopes.find(({ value }) => value?.name === 'remaining_memory')!;
    expect(memory.value).to.deep.equal({ name: 'remaining_memory', value: 4096, unit: 'mb' });
    expect([...names('counter')]).to.include.members(['total_warden_response_time_in_ms', 'warden_request_count']);
  });
});

describe('a cell beside a logging agent of its own', function () {
  this.timeout(90_000);
  const sharedSecret = 'between us';
  let nats: Awaited<ReturnType<typeof startNats>>;
  let blobs: BlobServer;
  let metron: Metron;
  let cell: Cell;
  let peer: Peer;

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    metron = await startMetron({ isSigned: true });
    peer = await Peer.connect(nats.url);
    const loggregator = { router: `127.0.0.1:${metron.port}`, shared_secret: sharedSecret, emit_app_output: false };
    cell = await makeCell({ natsUrl: nats.url, config: { loggregator } });
    await cell.start();
  });

  after(async () => {
    await cell?.dispose();
    await metron?.stop();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  it('21: leaves what apps print to it, to the KILL, and signs what it says itself', async () => {
    const droplet = await makeDroplet({ startCommand: 'exec perl script.pl', files: { 'app/script.pl': stubborn } });
    const message = startMessage({ sha1: sha1(droplet), executableUri: blobs.put('/droplet', droplet), uris: [] });
    peer.publish(`dea.${await peer.cellId()}.start`, message);
    const { droplet: app } = message as { droplet: string };
    const instance = await eventually(
      async () => (await cell.snapshot()).instances.find(({ state }) => state === 'RUNNING') as Message | undefined,
      { timeoutMs: 30_000 },
    );
    const reader = await readJobSocket(join(instance.warden_container_path, 'jobs/1/stdout.sock'));
    peer.publish('dea.stop', { droplet: app });
    await eventually(() => reader.hasEnded || undefined, { timeoutMs: 20_000 });
    const [before, ...after] = reader.text.split('TERM, so what\n');
    expect(before).to.match(/^(tick\n)+$/);
    expect(after.join('')).to.match(/^(tick\n){5,}$/);
    await eventually(() => metron.logs(app, 'DEA').length === 3 || undefined);
    expect(metron.logs(app)).to.have.length(3);
    for (const datagram of metron.datagrams) {
      const mac = createHmac('sha256', sharedSecret).update(datagram.subarray(32)).digest();
      expect(datagram.subarray(0, 32).equals(mac)).to.equal(true);
    }
  });
});
