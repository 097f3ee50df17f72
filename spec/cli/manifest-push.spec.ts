import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type CliWorld, startCliWorld } from '../support/cli.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { zipDirectory } from '../support/zip.js';

describe('isthmus push with a manifest', () => {
  let nats: NatsServer;
  let world: CliWorld;
  let directory: string;

  before(async () => {
    nats = await startNats();
    world = await startCliWorld({ natsUrl: nats.url });
  });

  after(async () => {
    await world.stop();
    await nats.stop();
  });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'manifest-push-'));
    await cp('spec/fixtures/apps/static', join(directory, 'site'), { recursive: true });
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  const manifest = (text: string, path = 'manifest.yml') => writeFile(join(directory, path), text);
  const push = (...args: string[]) => world.isthmus(['push', ...args], { directory });

  it('pushes all of its apps in their order, each with what is said of it', async () => {
    await manifest(`
memory: 64M
path: site
env: {COLOR: blue}
applications:
- {name: second-by-name, host: b, instances: 2, health-check-type: process, timeout: 90, no-route: false}
- {name: a, no-route: true, command: run it, disk_quota: 128M, env: {SIZE: 1}}
`);
    const { status, out, error } = await push();
    expect({ status, error }).to.deep.equal({ status: 0, error: '' });
    expect(out).to.match(/^Using manifest manifest\.yml\nCreating app second-by-name\n[\s\S]*\n\nCreating app a\n/);
    expect(await world.record('second-by-name')).to.deep.include({
      state: 'STARTED',
      memory: 64,
      instances: 2,
      routes: ['b.localhost'],
      env: { COLOR: 'blue' },
      health_check_type: 'none',
      health_check_timeout: 90,
    });
    expect(await world.record('a')).to.deep.include({
      memory: 64,
      disk_quota: 128,
      command: 'run it',
      routes: [],
      env: { COLOR: 'blue', SIZE: '1' },
    });
  });

  it('pushes the one that is named, options before the manifest', async () => {
    await manifest('path: site\nmemory: 64M\nno-route: true\napplications: [{name: one}, {name: two, instances: 3}]');
    expect((await push('two', '-i', '1', '--no-start')).status).to.equal(0);
    expect(await world.record('two')).to.include({ instances: 1, memory: 64, state: 'STOPPED' });
    expect(await world.record('one')).to.equal(undefined);
    expect((await push('-i', '1')).error).to.contain('name one of one, two');
    expect((await push('three')).error).to.equal('isthmus: the manifest has no app named three; it has one, two\n');
  });

  it('takes the manifest that is named, and none when none is wanted', async () => {
    await mkdir(join(directory, 'deploy'));
    await manifest(
      'applications: [{name: named, path: ../site, routes: [{route: www.example.com/shop}]}]',
      'deploy/m.yml',
    );
    await manifest('memory: nonsense');
    expect((await push('-f', 'deploy/m.yml', '--no-start')).error).to.equal('');
    expect(await world.record('named')).to.deep.include({ routes: ['www.example.com/shop'] });
    expect(
      (await push('plain', '-p', 'site', '--no-manifest', '--no-start', '-d', 'x.org', '--no-hostname')).error,
    ).to.equal('');
    expect(await world.record('plain')).to.deep.include({ routes: ['x.org'] });
    expect((await push('plain')).error).to.equal('isthmus: manifest.yml: memory: Give it as 256M or 1G.\n');
  });

  it('takes a zip file for the files of an app', async () => {
    await writeFile(join(directory, 'site.zip'), await zipDirectory(join(directory, 'site')));
    await manifest('applications: [{name: zipped, path: site.zip}]');
    expect((await push('--no-start')).out).to.match(/\nUploading \d+ files, /);
    await manifest('applications: [{name: zipped, path: manifest.yml}]');
    expect((await push()).error).to.match(/manifest\.yml is no zip file: /);
  });

  it('warns of keys that it does not know, and goes on', async () => {
    await manifest('applications: [{name: warned, path: site, memroy: 1G}]');
    const { status, error } = await push('--no-start', '--random-route');
    expect(status).to.equal(0);
    expect(error).to.equal('warning: manifest.yml: applications[0].memroy: unknown key (did you mean memory?)\n');
    const { routes } = await world.record('warned');
    expect(routes).to.have.length(1);
    expect(routes[0]).to.match(/^warned-[a-z]+-[a-z]+-\d+\.localhost$/);
    await push('--no-start', '--random-route');
    expect((await world.record('warned')).routes).to.deep.equal(routes);
  });

  it('changes nothing when an app needs services', async () => {
    await manifest('path: site\nservices: [db]\napplications: [{name: served}, {name: other}]');
    expect((await push()).error).to.equal(
      'isthmus: served: services cannot be bound, this Cloud Controller has none: db\n',
    );
    expect(await world.record('served')).to.equal(undefined);
  });
});
