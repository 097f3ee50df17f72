import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { load as parseYaml } from 'js-yaml';
import { type BlobServer, sha1, startBlobServer } from '../support/blob-server.js';
import { freePort } from '../support/cell.js';
import { DebianRoot, signalInside } from '../support/debian-root.js';
import { makeDroplet } from '../support/droplets.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { type Message, Peer } from '../support/peer.js';
import { startMessage } from '../support/start-message.js';

const dea = '/etc/systemd/system/isthmus-dea.service';
const standalone = '/etc/systemd/system/isthmus-standalone.service';
const wanted = 'etc/systemd/system/multi-user.target.wants';

/** The machine is made once; each step goes on from the one before, as with a real machine. */
describe('vagrant/provision', function () {
  this.timeout(600_000);
  let root: DebianRoot;

  before(async () => {
    root = await DebianRoot.make();
  });

  after(() => root.remove());

  const provision = (...args: string[]) => root.run('/vagrant/vagrant/provision', ...args);
  const enabled = async () => (await readdir(root.path(wanted))).filter((name) => /isthmus|nats/.test(name)).sort();

  it('makes a cell out of a bare Debian', async () => {
    const { status, output } = await provision();
    expect(status, output).to.equal(0);
    expect(output)
      .to.match(/^changed: packages nodejs npm rsync$/m)
      .and.match(/^[5-9] changes$/m);
    expect(existsSync(root.path('opt/isthmus/dist/dea/main.js'))).to.equal(true);
    expect(await readFile(root.path('etc/isthmus/dea.yml'), 'utf8')).to.equal(await readFile('config/dea.yml', 'utf8'));
    expect((await stat(root.path('etc/isthmus/dea.yml'))).mode & 0o777).to.equal(0o640);
    expect(await enabled()).to.deep.equal(['isthmus-dea.service', 'nats-server.service']);
  });

  it('changes nothing the second time', async () => {
    const before = await root.run('find', ...changeable);
    const { status, output } = await provision();
    expect(status, output).to.equal(0);
    expect(output)
      .to.match(/^nothing has changed$/m)
      .and.not.include('changed:');
    expect((await root.run('find', ...changeable)).output).to.equal(before.output);
  });

  it('installs units that systemd finds no fault with', async () => {
    const { status, output } = await root.run('systemd-analyze', 'verify', dea, standalone);
    expect([status, output]).to.deep.equal([0, '']);
  });

  describe('with the DEA started as its unit says', () => {
    let nats: NatsServer;
    let blobs: BlobServer;
    let peer: Peer;

    before(async () => {
      nats = await startNats();
      blobs = await startBlobServer();
      peer = await Peer.connect(nats.url);
    });

    after(async () => {
      await peer.close();
      await blobs.stop();
      await nats.stop();
    });

    it('runs an app, and needs no more capabilities than the unit leaves', async () => {
      const config = parseYaml(await readFile('config/dea.yml', 'utf8')) as Message;
      config.nats_servers = [nats.url];
      config.directory_server.v2_port = await freePort();
      config.directory_server.file_api_port = await freePort();
      config.containers.network_pool = `10.${200 + (process.pid % 40)}.252.0/22`;
      config.containers.port_pool_start = 42_000;
      await root.write('etc/isthmus/dea.yml', JSON.stringify(config));

      const unit = await readFile(root.path(dea), 'utf8');
      const command = settingOf(unit, 'ExecStart').split(' ');
      const capabilities = settingOf(unit, 'CapabilityBoundingSet')
        .toLowerCase()
        .replaceAll('cap_', '+')
        .replaceAll(' ', ',');
      const init = ['catatonit', '--', 'setpriv', `--bounding-set=-all,${capabilities}`];
      const agent = root.spawn([...init, ...command]);
      let output = '';
      agent.stdout!.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
      try {
        const { id } = await peer.next('dea.advertise', () => true, { timeoutMs: 60_000 });
        const droplet = await makeDroplet();
        const app = startMessage({ sha1: sha1(droplet), executableUri: blobs.put('/droplet', droplet) });
        peer.publish(`dea.${id}.start`, app);
        const isOurs = (data: Message) => data.app === app.droplet;
        const { host, port } = await peer
          .next('router.register', isOurs, { timeoutMs: 60_000 })
          .catch((error: unknown) => expect.fail(`${error}\n${output}`));
        const answer = await fetch(`http://${host}:${port}/hello`);
        expect(await answer.text()).to.equal('hello from 0');
      } finally {
        const ended = once(agent, 'exit');
        await signalInside(agent, 'SIGTERM');
        const [status] = await ended;
        expect(status, output).to.equal(0);
      }
    });
  });

  it('makes it a machine with everything on it when asked, and keeps the configuration there is', async () => {
    const before = await readFile(root.path('etc/isthmus/dea.yml'));
    const { status, output } = await provision('--service', 'standalone');
    expect(status, output).to.equal(0);
    expect(await enabled()).to.deep.equal(['isthmus-standalone.service']);
    expect(await readlink(root.path(wanted, 'isthmus-standalone.service'))).to.equal(standalone);
    expect((await readFile(root.path('etc/isthmus/dea.yml'))).equals(before)).to.equal(true);
  });

  it('stages an app there with the Node.js of Debian, and runs it', async () => {
    const unit = await readFile(root.path(standalone), 'utf8');
    await root.write('root/push', pushScript(settingOf(unit, 'ExecStart')));
    const { status, output } = await root.run('catatonit', '--', 'bash', '/root/push');
    expect(status, output).to.equal(0);
    expect(output).to.match(/^1 of 1 instance running$/m);
  });

  it('names what is wrong with its arguments', async () => {
    for (const [args, reason] of [
      [['--service', 'x'], "--service: 'x' is neither dea nor standalone"],
      [['--source', '/etc'], '--source: there is no checkout in /etc'],
      [['--service'], '--service needs a value'],
      [['x'], 'Usage: provision'],
    ] as const) {
      const { status, output } = await provision(...args);
      expect(status).to.equal(1);
      expect(output).to.include(reason);
    }
  });
});

describe('Vagrantfile', () => {
  it('is valid', async () => {
    const { stdout } = await promisify(execFile)('vagrant', ['validate', '--ignore-provider'], {
      env: {
        ...process.env,
        VAGRANT_HOME: join(tmpdir(), 'vagrant-home'),
        VAGRANT_DOTFILE_PATH: join(tmpdir(), 'vagrant-dot'),
      },
    });
    expect(stdout).to.include('Vagrantfile validated successfully.');
  });

  it('provisions by a script that can be run', async () => {
    const [, path] = /provision 'shell', path: '([^']+)'/.exec(await readFile('Vagrantfile', 'utf8'))!;
    expect((await lstat(path!)).mode & 0o111).to.equal(0o111);
  });
});

/** Starts everything as its unit says, pushes an app, and ends with the status of that. */
const pushScript = (start: string) => `
export HOME=/root
${start} >/root/standalone.log 2>&1 &
for _ in $(seq 120); do grep -q ^Ready /root/standalone.log && break; sleep 0.5; done
cd /opt/isthmus
bin/isthmus push hello spec/fixtures/apps/static || { status=$?; cat /root/standalone.log; }
kill -TERM $!; wait $!
exit \${status:-0}
`;

/** Everything that a run could change, with its content's size and time. */
const changeable = [
  ...['/etc', '/usr', '/opt/isthmus', '-path', '/opt/isthmus/node_modules/*', '-prune', '-o', '-not', '-type', 'd'],
  ...['-printf', '%p %s %T@ %m\\n'],
];

/** What a unit says to a key; a list may take several lines. */
function settingOf(unit: string, key: string): string {
  const values = unit.split('\n').filter((line) => line.startsWith(`${key}=`));
  return values.map((line) => line.slice(key.length + 1)).join(' ');
}
