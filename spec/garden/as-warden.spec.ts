import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGardenAsWarden } from '../support/garden.js';
import { WardenPeer } from '../support/warden.js';

describe('bin/garden in the place of a Warden, with its configuration', function () {
  this.timeout(120_000);
  let warden: GardenProcess;
  let peer: WardenPeer;
  let directory: string;
  let pidFile: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'warden-pid-'));
    pidFile = join(directory, 'warden.pid');
    // What a killed one has left is nobody's.
    writeFileSync(pidFile, '1\n');
    warden = await startGardenAsWarden({
      server: {
        pidfile: pidFile,
        unix_domain_permissions: '0777',
        container_rlimits: { nofile: 1234 },
        job_output_limit: 100_000,
      },
      network: { mtu: 1400 },
    });
    peer = await WardenPeer.open(warden.wardenSocket);
  });

  after(async () => {
    await peer.close();
    await warden.stop();
    rmSync(directory, { recursive: true });
  });

  const run = async (handle: string, script: string) => {
    const { exitStatus, stdout } = await peer.request('Run', { handle, script: Buffer.from(script) });
    return { exitStatus, stdout: stdout?.toString() };
  };

  it('tells of its health on the port of the file', async () => {
    const health = await eventually(async () => {
      const socket = connect(warden.tcp.port, warden.tcp.host);
      await once(socket, 'connect');
      return socket;
    });
    health.write('GET / HTTP/1.0\r\n\r\n');
    expect(await text(health)).to.equal('HTTP/1.1 200 OK\r\n');
  });

  it('makes containers as the file says', async () => {
    expect(statSync(warden.wardenSocket).mode & 0o777).to.equal(0o777);
    const { handle } = await peer.request('Create', {});
    expect(await run(handle, 'ulimit -n; cat /sys/class/net/eth0/mtu; whoami')).to.deep.equal({
      exitStatus: 0,
      stdout: '1234\n1400\nvcap\n',
    });
    expect((await run(handle, 'head -c 200000 /dev/zero; sleep 100')).exitStatus).to.equal(255);
    expect((await run(handle, 'exec 3<>/dev/tcp/192.0.2.1/80')).exitStatus).not.to.equal(0);
    const { containerPath } = await peer.request('Info', { handle });
    expect(containerPath?.startsWith(warden.depot)).to.equal(true);
  });

  it('tells a monitor which process it is, as long as it is', async () => {
    expect(readFileSync(pidFile, 'utf8')).to.equal(`${warden.pid}\n`);
    await peer.close();
    expect(await warden.terminate()).to.equal(0);
    expect(existsSync(pidFile)).to.equal(false);
    await warden.start();
    expect(readFileSync(pidFile, 'utf8')).to.equal(`${warden.pid}\n`);
    peer = await WardenPeer.open(warden.wardenSocket);
  });

  it('speaks no Garden beside it', () => {
    expect(existsSync(warden.socket)).to.equal(false);
  });
});
