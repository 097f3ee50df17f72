import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { freePort, type GardenProcess, RawConnection, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { thingsOfEngine } from '../support/leaks.js';

/** What docs/protocol/containers.md lists under "Do better than upstream", as far as no other spec looks at it. */
describe('bin/garden, where upstream has its weaknesses', function () {
  this.timeout(180_000);
  let garden: GardenProcess;
  let client: GardenClient;

  before(async () => {
    garden = await startGarden();
    client = new GardenClient(garden.socket);
  });

  after(() => garden.stop());

  afterEach(() => client.destroyAll());

  const mapped = async (handle: string) => (await client.info(handle)).MappedPorts;

  it('keeps containers with a host port outside the pool, or with that of another one, over a kill', async () => {
    const port = await freePort();
    const pooled = garden.portPool.start + 7;
    const outside = { host_port: port, container_port: 80 };
    const inside = { host_port: pooled, container_port: 81 };
    await client.create({ handle: 'one', netin: [outside, inside] });
    await client.create({ handle: 'other', netin: [inside] });
    await client.ask('POST', '/containers/other/net/in', outside);
    const before = [await mapped('one'), await mapped('other')];
    expect(before).to.deep.equal([
      [
        { HostPort: port, ContainerPort: 80 },
        { HostPort: pooled, ContainerPort: 81 },
      ],
      [
        { HostPort: pooled, ContainerPort: 81 },
        { HostPort: port, ContainerPort: 80 },
      ],
    ]);
    await garden.kill();
    await garden.start();
    expect(await client.handles()).to.deep.equal(['one', 'other']);
    expect([await mapped('one'), await mapped('other')]).to.deep.equal(before);
    expect(await client.read('other', 'echo lives')).to.equal('lives\n');
  });

  it('gives a handle to the first of those who ask at the same time', async () => {
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => client.call('POST', '/containers', { handle: 'same' })),
    );
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 500, 500, 500, 500, 500]);
    for (const { status, json } of answers) {
      if (status === 500) expect(json).to.include({ Message: "Handle 'same' already in use" });
    }
    expect(await client.read('same', 'echo lives')).to.equal('lives\n');
  });

  it('leaves no rule of a static subnet behind its last container, and all of them before', async () => {
    const subnet = `10.${randomInt(150, 190)}.7`;
    const rules = () =>
      execFileSync('iptables-save', { encoding: 'utf8' })
        .split('\n')
        .filter((line) => line.includes(`${subnet}.`));
    await client.create({ handle: 'one', network: `${subnet}.0/24` });
    await client.create({ handle: 'other', network: `${subnet}.0/24` });
    const masquerades = () => rules().filter((line) => line.includes('MASQUERADE')).length;
    const before = masquerades();
    expect(before).to.be.above(0);
    await client.ask('DELETE', '/containers/one');
    await eventually(() => rules().every((line) => !line.includes(`${subnet}.2/`)) || undefined, {
      what: 'the end of its own rules',
    });
    expect(masquerades()).to.equal(before);
    await client.ask('DELETE', '/containers/other');
    await eventually(() => rules().length === 0 || undefined, { what: 'the end of all rules' });
    await eventually(() => thingsOfEngine(garden.depot).links.every((name) => !name.includes('br')) || undefined);
  });

  it('breaks off an archive that cannot be completed', async () => {
    await client.create({ handle: 'c' });
    await client.read('c', 'mkdir /d; head -c 3000000 /dev/zero > /d/a; echo secret > /d/b; chmod 0600 /d/b');
    const connection = await RawConnection.request(garden.socket, 'GET /containers/c/files?user=vcap&source=/d/');
    await connection.ended();
    expect(connection.head).to.match(/^HTTP\/1.1 200 /);
    expect(connection.length).to.be.above(1_000_000);
    expect(connection.text).not.to.match(/\r\n0\r\n\r\n$/);
    const whole = await RawConnection.request(garden.socket, 'GET /containers/c/files?user=root&source=/d/');
    await whole.until(({ text }) => text.endsWith('\r\n0\r\n\r\n'));
    whole.close();
  });

  it('stops as soon as processes have ended', async () => {
    await client.create({ handle: 'c' });
    const begun = performance.now();
    const trapping = await client.run('c', {
      path: 'sh',
      args: ['-c', 'trap "exit 3" TERM; echo ready; while :; do sleep 0.01; done'],
    });
    await (await client.output('c', trapping, 'stdout')).until(({ rest }) => rest === 'ready\n');
    await client.ask('PUT', '/containers/c/stop', { kill: false });
    // Upstream looks once a second, and takes two.
    expect(performance.now() - begun).to.be.below(5_000);
    expect((await trapping.ended()).payloads.at(-1)).to.include({ exit_status: 3 });
  });

  it('gives capabilities to user 0, whatever his group, and to nobody else', async () => {
    await client.create({ handle: 'c' });
    const effective = async (user: string) =>
      /^CapEff:\t(\w+)$/m.exec(await client.read('c', 'cat /proc/self/status', { user }))?.[1];
    expect(await effective('0:1000')).to.equal('00000000a80425fb');
    expect(await effective('1000:0')).to.equal('0000000000000000');
  });

  it('removes the files of a process a minute after its end was told, and still knows its exit status', async () => {
    await client.create({ handle: 'c' });
    expect((await client.exec('c', 'echo said; exit 23', { id: 'p' })).status).to.equal(23);
    const files = [join(garden.depot, '@run/c/processes/p'), join(garden.depot, '@output/c/p')];
    expect(files.map((path) => existsSync(path))).to.deep.equal([true, true]);
    await eventually(() => files.every((path) => !existsSync(path)) || undefined, { timeoutMs: 90_000 });
    for (const way of ['as it is', 'after a restart']) {
      if (way !== 'as it is') await garden.restart();
      const attached = await client.attach('c', 'p');
      const stdout = await client.output('c', attached, 'stdout');
      expect((await attached.ended()).payloads.at(-1), way).to.include({ exit_status: 23 });
      expect((await stdout.ended()).rest).to.equal('');
    }
  });
});
