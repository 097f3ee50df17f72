import { createSocket } from 'node:dgram';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { encodeEnvelope } from '../../lib/loggregator/envelope.js';
import { type CliWorld, startCliWorld } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { zipDirectory } from '../support/zip.js';

const buildpack = 'spec/fixtures/buildpacks/static-buildpack';

/** One world for all: each spec leaves the app as it found it, or does not care. */
describe('isthmus, looking after an app', () => {
  let nats: NatsServer;
  let world: CliWorld;

  before(async () => {
    nats = await startNats();
    world = await startCliWorld({ natsUrl: nats.url });
    const { status, error } = await run('push', 'hello', 'spec/fixtures/apps/static', '-i', '2', '--env', 'A=1');
    expect({ status, error }).to.deep.equal({ status: 0, error: '' });
  });

  after(async () => {
    await world.stop();
    await nats.stop();
  });

  const run = (...args: string[]) => world.isthmus(args);
  const record = () => world.record('hello');

  describe('variables', () => {
    it('are shown by where they come from', async () => {
      const { out } = await run('env', 'hello');
      expect(out).to.contain('From the system:\n  VCAP_SERVICES: {}\n  VCAP_APPLICATION: {\n');
      expect(out).to.contain('    "application_name": "hello",\n');
      expect(out).to.match(
        /\nOf the app:\n {2}A: 1\nOf all running apps:\n {2}\(none\)\nOf all stagings:\n {2}\(none\)\n$/,
      );
    });

    it('are set and taken away, one by one', async () => {
      expect((await run('set-env', 'hello', 'B', 'x=y z')).out).to.equal(
        'B is set; it takes effect with: isthmus restage hello\n',
      );
      expect((await record()).env).to.deep.equal({ A: '1', B: 'x=y z' });
      await run('unset-env', 'hello', 'B');
      expect((await record()).env).to.deep.equal({ A: '1' });
      expect((await run('unset-env', 'hello', 'B')).out).to.equal('B was not set\n');
      expect((await run('se', 'hello', '1B', 'x')).error).to.contain('Give a name of a variable.');
    });
  });

  describe('addresses', () => {
    it('are given to running instances and taken from them', async () => {
      const { port } = new URL(world.agent.routerUrl);
      expect((await run('map-route', 'hello', 'Example.com', '-n', 'shop', '--path', 'v1')).out).to.equal(
        `hello gets http://shop.example.com:${port}/v1\n`,
      );
      expect((await record()).routes).to.deep.equal(['hello.localhost', 'shop.example.com/v1']);
      await eventually(() => (world.agent.instances[0]!.uris.length === 2 ? true : undefined));
      expect((await run('map-route', 'hello', 'localhost', '-n', 'hello')).out).to.equal(
        'hello already has hello.localhost\n',
      );
      await run('unmap-route', 'hello', 'example.com', '--hostname', 'shop', '--path', '/v1');
      expect((await record()).routes).to.deep.equal(['hello.localhost']);
      expect((await run('unmap-route', 'hello', 'example.com')).error).to.equal(
        'isthmus: hello does not have example.com; it has hello.localhost\n',
      );
    });
  });

  describe('instances', () => {
    it('are stopped one by one', async () => {
      expect((await run('kill', 'hello', '1')).out).to.contain('instance 1 of hello is stopped');
      await eventually(() => (world.agent.instances.length === 1 ? true : undefined));
      expect((await run('restart-app-instance', 'hello', '7')).error).to.contain('there is no instance 7');
      expect((await run('kill', 'hello', 'x')).error).to.contain('Give a whole number.');
      await run('scale', 'hello', '-i', '1');
    });

    it('that crashed are listed', async () => {
      expect((await run('crashes', 'hello')).out).to.equal('no crashes of hello are known\n');
      const { instance } = world.agent.instances[0]!;
      world.agent.crash(0, 3, 'app instance exited');
      const { out } = await run('crashes', 'hello');
      expect(out).to.match(new RegExp(`^instance +since\\n${instance} +\\d{4}-`));
      expect((await run('restart', 'hello')).status).to.equal(0);
    });

    it('run on cells that can be looked at', async () => {
      const { out } = await run('placement');
      expect(out).to.match(/^cell +zone +stacks +memory +disk +instances\n/);
      expect(out).to.match(new RegExp(`\n${world.agent.id} +default +bookworm +\\S+G +16G +\\d+\n$`));
    });
  });

  describe('logs', () => {
    const send = async (text: string, timestampNs: bigint) => {
      const { guid: appId } = await record();
      const socket = createSocket('udp4');
      const line = { kind: 'LogMessage', appId, text, type: 'OUT', sourceType: 'App', sourceInstance: '0' } as const;
      await new Promise((resolve) =>
        socket.send(encodeEnvelope('DEA', timestampNs, line), world.cc.miniCc.logPort!, '127.0.0.1', resolve),
      );
      socket.close();
    };
    const nowNs = () => BigInt(Date.now()) * 1_000_000n;

    it("are shown as they were, with the Cloud Controller's own lines", async () => {
      await send('hello, log', nowNs());
      const out = await eventually(async () => {
        const { out: text } = await run('logs', 'hello', '--recent');
        return text.includes('hello, log') ? text : undefined;
      });
      expect(out).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d[+-]\d{4} \[API\/0\] {5} OUT Created app with guid /);
      expect(out).to.match(/\n\S+ \[App\/0\] {5} OUT hello, log\n/);
      expect(out).to.contain('{"state":"STARTED"}');
    });

    it('are followed until Ctrl-C', async () => {
      const interrupt = new AbortController();
      let isSent = false;
      const following = world.isthmus(['logs', 'hello'], {
        signal: interrupt.signal,
        watch: (out) => {
          if (out.includes('line 1')) interrupt.abort();
        },
      });
      const sending = eventually(async () => {
        // The stream may not be open yet: what comes before that is not part of it.
        if (!interrupt.signal.aborted) await send('line 1', nowNs());
        isSent = true;
        return interrupt.signal.aborted || undefined;
      });
      const { status, out, error } = await following;
      await sending;
      expect(isSent).to.equal(true);
      expect({ status, error }).to.deep.equal({ status: 130, error: 'Lines of hello, until Ctrl-C:\n' });
      expect(out).to.match(/^\S+ \[App\/0\] {5} OUT line 1\n/);
      expect(out).not.to.contain('hello, log');
    });
  });

  describe('buildpacks', () => {
    const names = async () =>
      (await world.cc.call('GET', '/v2/buildpacks')).body.resources.map((each: { name: string }) => each.name);

    it('are made of directories and zip files, in the place that is asked for', async () => {
      const zip = join(world.home, 'zipped.zip');
      await writeFile(zip, await zipDirectory(buildpack));
      expect((await run('create-buildpack', 'of-directory', buildpack, '1')).out).to.equal('of-directory is created\n');
      expect((await run('create-buildpack', 'of-zip', zip, '9', '--disable')).status).to.equal(0);
      expect((await run('buildpacks')).out.split('\n')).to.deep.equal([
        'name           position   enabled   file',
        'of-directory   1          yes       static-buildpack.zip',
        'scripted       2          yes       upload.zip',
        'of-zip         3          no        zipped.zip',
        '',
      ]);
    });

    it('are changed and deleted by their names', async () => {
      expect((await run('update-buildpack', 'of-zip', '-i', '1', '--enable', '-p', buildpack)).out).to.equal(
        'of-zip is updated\n',
      );
      expect(await names()).to.deep.equal(['of-zip', 'of-directory', 'scripted']);
      expect((await run('update-buildpack', 'of-zip')).error).to.equal('isthmus: give -p, -i, --enable or --disable\n');
      expect((await run('delete-buildpack', 'of-zip')).error).to.contain('say so with -f');
      for (const name of ['of-zip', 'of-directory']) await run('delete-buildpack', name, '-f');
      expect(await names()).to.deep.equal(['scripted']);
      expect((await run('delete-buildpack', 'of-zip', '-f')).error).to.equal(
        'isthmus: there is no buildpack named of-zip\n',
      );
    });

    it('leave nothing behind when they cannot be made', async () => {
      const text = join(world.home, 'text.zip');
      await writeFile(text, 'no zip');
      const cases: [string[], RegExp][] = [
        [[text, '1'], /text\.zip is no zip file: /],
        [['/nowhere', '1'], /\/nowhere is neither a directory nor a zip file/],
        [[buildpack, '0'], /The first position is 1/],
        [[buildpack, '1', '--enable', '--disable'], /give --enable or --disable, not both/],
      ];
      for (const [args, problem] of cases) {
        expect((await run('create-buildpack', 'bad', ...args)).error, args.join(' ')).to.match(problem);
      }
      expect((await run('create-buildpack', 'scripted', buildpack, '1')).error).to.contain(
        'there is a buildpack named scripted',
      );
      expect(await names()).to.deep.equal(['scripted']);
    });
  });

  it('takes the short names of cf, and tells of each command with --help', async () => {
    const shorts = {
      p: 'push',
      a: 'apps',
      st: 'start',
      sp: 'stop',
      rs: 'restart',
      rg: 'restage',
      d: 'delete',
      e: 'env',
      se: 'set-env',
      f: 'files',
    };
    for (const [short, name] of Object.entries(shorts)) {
      const { status, out } = await run(short, '--help');
      expect(status, short).to.equal(0);
      expect(out, short).to.match(new RegExp(`^Usage: isthmus ${name}\\|${short} `));
    }
    const { out } = await run('--help');
    const listed = [...out.matchAll(/^ {2}([a-z][a-z-]+)(?:\||\b)/gm)].map(([, name]) => name!);
    expect(listed).to.include.members(['logs', 'kill', 'map-route', 'unmap-route', 'create-buildpack', 'crashes']);
    for (const name of listed.filter((each) => each !== 'help')) {
      expect((await run(name, '--help')).out, name).to.match(/^Usage: isthmus [\s\S]+\n\n[a-z].+\n/);
    }
  });

  it('gives an app another name', async () => {
    expect((await run('rename', 'hello', 'other')).out).to.equal('hello is now other\n');
    expect((await run('rename', 'other', 'hello')).status).to.equal(0);
  });
});
