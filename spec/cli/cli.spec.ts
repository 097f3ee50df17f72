import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { type CliWorld, startCliWorld } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { clientToken } from '../support/mini-cc.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { type StagingScript, stageWell } from '../support/scripted-agent.js';

const staticApp = 'spec/fixtures/apps/static';

describe('isthmus', () => {
  let nats: NatsServer;
  let world: CliWorld;
  let { cc, agent, home, isthmus } = {} as CliWorld;
  let stage: (script: StagingScript) => Promise<void>;

  before(async () => {
    nats = await startNats();
  });

  after(() => nats.stop());

  beforeEach(async () => {
    stage = stageWell;
    world = await startCliWorld({ natsUrl: nats.url, stage: (script) => stage(script) });
    ({ cc, agent, home, isthmus } = world);
  });

  afterEach(() => world.stop());

  const push = (...more: string[]) => isthmus(['push', 'hello', staticApp, ...more]);
  const record = (name = 'hello') => world.record(name);

  it('pushes an app: streams the staging, waits for the instances, prints the address that answers', async () => {
    const { status, out, error } = await push('-i', '2', '-m', '128M');
    const port = new URL(agent.routerUrl).port;
    expect({ status, error }).to.deep.equal({ status: 0, error: '' });
    expect(out).to.contain('Uploading 4 files');
    expect(out).to.contain('-----> Downloaded app package\n-----> Scripted buildpack\n-----> Uploading droplet\n');
    expect(out).to.match(/#0 +running +\d{4}-\d\d-\d\d/);
    expect(out).to.match(/#1 +running/);
    expect(out).to.match(new RegExp(`hello answers at http://hello\\.localhost:${port}\n$`));
    expect(await record()).to.include({ memory: 128, instances: 2, state: 'STARTED' });
  });

  it('shows the output of a staging while it runs', async () => {
    let isSeen = () => {};
    const seen = new Promise<void>((resolve) => {
      isSeen = resolve;
    });
    stage = async (script) => {
      script.setUp();
      script.log('-----> halfway\n');
      // The staging goes on only when its user has read so far.
      await seen;
      script.log('-----> the rest\n');
      script.complete({ droplet_sha1: await script.upload(Buffer.from('droplet')) });
    };
    const { status, out } = await isthmus(['push', 'hello', staticApp], {
      watch: (text) => {
        if (text.includes('-----> halfway')) isSeen();
      },
    });
    expect(status).to.equal(0);
    expect(out.split('-----> halfway')).to.have.length(2);
    expect(out.split('-----> the rest')).to.have.length(2);
  });

  it('fails with the error of a staging', async () => {
    stage = async (script) => {
      script.setUp();
      script.log('-----> trying\n');
      script.complete({ error: 'x', error_info: { type: 'NoAppDetectedError', message: 'no buildpack fits' } });
    };
    const { status, out, error } = await push();
    expect(status).to.equal(1);
    expect(out).to.contain('-----> trying');
    expect(error).to.equal(
      'isthmus: staging hello failed: no buildpack fits (NoAppDetectedError)\n(isthmus logs hello --recent tells more)\n',
    );
  });

  it('fails with the error of the first reply', async () => {
    stage = async (script) => script.setUp({ error: 'Error staging: Stack x does not exist' });
    const { status, error } = await push();
    expect(status).to.equal(1);
    expect(error).to.contain('Stack x does not exist');
  });

  it('fails with the reason of a crash', async () => {
    agent.options.startsInstances = false;
    const { status, out, error } = await isthmus(['push', 'hello', staticApp], {
      watch: (text) => {
        if (text.includes('1 starting') && agent.instances[0]?.state === 'STARTING')
          agent.crash(0, 3, 'app instance exited');
      },
    });
    expect(status).to.equal(1);
    expect(out).to.match(/#0 +crashed .*app instance exited \(exit status 3\)/);
    expect(error).to.equal(
      'isthmus: instance 0 of hello crashed: app instance exited, exit status 3\n(isthmus logs hello --recent tells more)\n',
    );
  });

  it('fails when there is no room for all instances', async () => {
    const { status, error } = await push('-i', '9', '-m', '1G');
    expect(status).to.equal(1);
    expect(error).to.contain('Insufficient resources to run hello');
  });

  it('gives an app what is asked for, and keeps it at the next push', async () => {
    const variables = ['--env', 'A=1', '--env', 'B=x=y'];
    await push('-b', 'scripted', '-c', 'run this', '-k', '512M', '--hostname', 'Other', ...variables);
    const wanted = { buildpack: 'scripted', command: 'run this', disk_quota: 512, env: { A: '1', B: 'x=y' } };
    expect(await record()).to.deep.include({ ...wanted, routes: ['other.localhost'] });
    await push('--env', 'C=3');
    expect(await record()).to.deep.include({ ...wanted, routes: ['other.localhost'], env: { ...wanted.env, C: '3' } });
    await push('-b', 'default', '-c', 'default', '--no-route');
    expect(await record()).to.deep.include({ buildpack: null, command: null, routes: [] });
    expect(agent.stagings).to.have.length(3);
  });

  it('leaves out what .cfignore names', async () => {
    const app = join(home, 'app');
    await rm(app, { recursive: true, force: true });
    await cp(staticApp, app, { recursive: true });
    await writeFile(join(app, '.cfignore'), 'assets/\n');
    const { out } = await isthmus(['push', 'hello', app]);
    expect(out).to.contain('Uploading 2 files');
  });

  it('lists apps in a table, and as JSON', async () => {
    expect((await isthmus(['apps'])).out).to.equal('no apps yet; try: isthmus push NAME DIR\n');
    await push('-i', '2');
    await isthmus(['push', 'a-much-longer-name', staticApp, '--no-route']);
    await isthmus(['stop', 'a-much-longer-name']);
    const { out } = await isthmus(['apps']);
    const { port } = new URL(agent.routerUrl);
    expect(out.split('\n')).to.deep.equal([
      'name                 state     instances   memory   disk   addresses',
      `hello                started   2/2         256M     1G     http://hello.localhost:${port}`,
      'a-much-longer-name   stopped   0/1         256M     1G',
      '',
    ]);
    const json = JSON.parse((await isthmus(['apps', '--json'])).out);
    expect(json.map(({ name }: { name: string }) => name)).to.deep.equal(['hello', 'a-much-longer-name']);
  });

  it('shows one app with its instances', async () => {
    await push();
    const { out } = await isthmus(['app', 'hello']);
    expect(out).to.match(/^name: +hello$/m);
    expect(out).to.match(/^buildpack: +Scripted$/m);
    expect(out).to.match(/^instances: +1\/1$/m);
    expect(out).to.match(/^#0 +running/m);
    expect(JSON.parse((await isthmus(['app', 'hello', '--json'])).out).instance_states['0'].state).to.equal('RUNNING');
  });

  it('scales the number of instances without a restart, and the memory with one', async () => {
    await push();
    const [first] = agent.instances;
    expect((await isthmus(['scale', 'hello', '-i', '3'])).out).to.contain('3 of 3 instances running');
    expect(agent.instances).to.include(first).and.to.have.length(3);
    expect((await isthmus(['scale', 'hello', '-m', '64M', '-i', '1'])).status).to.equal(0);
    expect(agent.instances).to.have.length(1);
    expect(agent.instances[0]!.limits.mem).to.equal(64);
    expect((await isthmus(['scale', 'hello'])).error).to.equal('isthmus: give -i, -m or -k\n');
  });

  it('stops, starts, restarts and restages', async () => {
    await push();
    expect((await isthmus(['stop', 'hello'])).out).to.equal('hello is stopped\n');
    await eventually(() => (agent.instances.length === 0 ? true : undefined));
    expect((await isthmus(['start', 'hello'])).out).to.contain('hello answers at');
    expect((await isthmus(['start', 'hello'])).out).to.equal(
      'hello is already started; to start it anew: isthmus restart hello\n',
    );
    expect((await isthmus(['restart', 'hello'])).status).to.equal(0);
    expect(agent.stagings).to.have.length(1);
    expect((await isthmus(['restage', 'hello'])).out).to.contain('-----> Scripted buildpack');
    expect(agent.stagings).to.have.length(2);
  });

  it('deletes an app only when told to', async () => {
    await push();
    const { status, error } = await isthmus(['delete', 'hello']);
    expect({ status, error }).to.deep.equal({
      status: 1,
      error: 'isthmus: this removes hello for good; say so with -f\n',
    });
    expect((await isthmus(['delete', 'hello', '-f'])).out).to.equal('hello is deleted\n');
    await eventually(() => (agent.instances.length === 0 ? true : undefined));
    expect((await isthmus(['app', 'hello'])).error).to.equal('isthmus: there is no app named hello\n');
  });

  it('prints files through the router', async () => {
    await push();
    expect((await isthmus(['files', 'hello', 'logs/stdout.log'])).out).to.equal('file logs/stdout.log\n');
    expect((await isthmus(['files', 'hello'])).status).to.equal(0);
    const { status, error } = await isthmus(['files', 'hello', 'x', '-i', '7']);
    expect(status).to.equal(1);
    expect(error).to.contain('out of range');
  });

  it('prints what instances use', async () => {
    await push();
    const { out } = await isthmus(['stats', 'hello']);
    expect(out.split('\n')[1]).to.match(/^#0 +running +up 7s +1\.2% +50M of 256M +1K of 1G +127\.0\.0\.1:61001$/);
    expect(JSON.parse((await isthmus(['stats', 'hello', '--json'])).out)['0'].stats.uptime).to.equal(7);
  });

  it('prints what happened to an app, without the values of its variables', async () => {
    await push('--env', 'PASSWORD=secret');
    const { out } = await isthmus(['events', 'hello']);
    expect(out).to.match(/audit\.app\.create +name: hello/);
    expect(out).to.contain('audit.app.upload-bits');
    expect(out).not.to.contain('secret');
  });

  it('takes the target from the option, the environment or the file of a running Cloud Controller', async () => {
    const elsewhere = { HOME: join(home, 'nowhere') };
    const none = await isthmus(['apps'], { environment: elsewhere });
    expect(none.status).to.equal(1);
    expect(none.error).to.match(/^isthmus: no Cloud Controller is running here; start bin\/standalone/);
    const byOption = await isthmus(['--target', cc.url, '--token', clientToken, 'apps'], { environment: elsewhere });
    expect(byOption.status).to.equal(0);
    const variables = { ...elsewhere, ISTHMUS_TARGET: cc.url, ISTHMUS_TOKEN: clientToken };
    expect((await isthmus(['apps'], { environment: variables })).status).to.equal(0);
    const tokenless = await isthmus(['--target', 'http://127.0.0.1:1', 'apps']);
    expect(tokenless.error).to.equal(
      'isthmus: no token for http://127.0.0.1:1; give one with --token or $ISTHMUS_TOKEN\n',
    );
  });

  it('tells in one line what is wrong, without a stack', async () => {
    const cases: [string[], RegExp][] = [
      [
        ['--target', 'http://127.0.0.1:1', '--token', 'x', 'apps'],
        /^isthmus: the Cloud Controller at .* does not answer/,
      ],
      [['--token', 'wrong', 'apps'], /^isthmus: Invalid Auth Token\n$/],
      [['push', 'hello', '/nowhere'], /^isthmus: \/nowhere is neither a directory nor a zip file\n$/],
      [['push', 'hello', staticApp, '-k', '99G'], /^isthmus: The app is invalid: too much disk/],
    ];
    for (const [args, text] of cases) {
      const { status, error } = await isthmus(args);
      expect(status).to.equal(1);
      expect(error).to.match(text);
    }
    expect((await isthmus(['push', 'hello', staticApp, '-m', 'much'])).error).to.contain('Give it as 256M or 1G.');
    expect((await isthmus(['fly'])).status).to.equal(1);
    expect((await isthmus(['--help'])).out).to.contain('push|p [options] [name] [path]');
  });

  it('ends at once at Ctrl-C', async () => {
    const interrupt = new AbortController();
    stage = async () => interrupt.abort();
    const { status, error } = await isthmus(['push', 'hello', staticApp], { signal: interrupt.signal });
    expect({ status, error }).to.deep.equal({ status: 130, error: '' });
  });
});
