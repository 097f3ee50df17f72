import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type HealthCheckTarget, waitUntilHealthy } from '../../../lib/dea/instances/health-check.js';
import { freeTcpPort } from '../../support/nats.js';

/** docs/protocol/dea.md §11.1, §11.2. */
describe('the health check of a started app', () => {
  const home = '/home/vcap';
  let rootDirectory: string;
  let servers: Server[];
  let abort: AbortController;

  beforeEach(async () => {
    rootDirectory = await mkdtemp(join(tmpdir(), 'health-'));
    await mkdir(join(rootDirectory, home), { recursive: true });
    servers = [];
    abort = new AbortController();
  });

  afterEach(async () => {
    abort.abort();
    for (const server of servers) server.close();
    await rm(rootDirectory, { recursive: true });
  });

  const inHome = (name: string) => join(rootDirectory, home, name);
  const check = (target: Partial<HealthCheckTarget> = {}) =>
    waitUntilHealthy({ rootDirectory, home, address: undefined, timeoutMs: 1000, ...target }, abort.signal);

  /** Resolves to the outcome, or to `waiting` when there is none yet. */
  async function outcomeSoFar(outcome: Promise<boolean>): Promise<boolean | 'waiting'> {
    return Promise.race([outcome, new Promise<'waiting'>((resolve) => setTimeout(() => resolve('waiting'), 300))]);
  }

  it('waits for the port of an app with routes, and no longer than the app may take', async () => {
    const address = { host: '127.0.0.1', port: await freeTcpPort() };
    expect(await check({ address, timeoutMs: 200 })).to.equal(false);
    const healthy = check({ address, timeoutMs: 10_000 });
    const server = createServer((socket) => socket.end()).listen(address.port, address.host);
    servers.push(server);
    expect(await healthy).to.equal(true);
  });

  it('waits for the process of an app without routes', async () => {
    expect(await check({ timeoutMs: 100 })).to.equal(false);
    await writeFile(inHome('run.pid'), '17\n');
    expect(await check()).to.equal(true);
  });

  for (const routes of ['with', 'without']) {
    it(`believes the state file that a droplet declares, ${routes} routes`, async () => {
      await writeFile(inHome('droplet.yaml'), 'state_file: app/state.json\n');
      await mkdir(inHome('app'));
      const address = routes === 'with' ? { host: '127.0.0.1', port: 1 } : undefined;
      const healthy = check({ address, timeoutMs: 10 });
      expect(await outcomeSoFar(healthy)).to.equal('waiting');
      for (const text of ['not JSON', 'null', '{"state":"STARTING"}']) {
        await writeFile(inHome('app/state.json'), text);
        expect(await outcomeSoFar(healthy)).to.equal('waiting');
      }
      await writeFile(inHome('app/state.json'), '{"state":"RUNNING"}');
      expect(await healthy).to.equal(true);
    });
  }

  it('looks at the port when the droplet declares nothing that can be read', async () => {
    const address = { host: '127.0.0.1', port: 1 };
    for (const text of ['state_file: 5\n', '[', 'other: 1\n', 'x'.repeat(300 * 1024)]) {
      await writeFile(inHome('droplet.yaml'), text);
      expect(await check({ address, timeoutMs: 50 })).to.equal(false);
    }
  });

  it('neither waits for a writer of a pipe nor reads a file of the host', async () => {
    await writeFile(inHome('droplet.yaml'), 'state_file: state.json\n');
    execFileSync('mkfifo', [inHome('state.json')]);
    const healthy = check();
    expect(await outcomeSoFar(healthy)).to.equal('waiting');
    const hostFile = join(rootDirectory, '..', `running-${process.pid}.json`);
    await writeFile(hostFile, '{"state":"RUNNING"}');
    try {
      await rm(inHome('state.json'));
      await symlink(hostFile, inHome('state.json'));
      expect(await outcomeSoFar(healthy)).to.equal('waiting');
    } finally {
      await rm(hostFile);
    }
    abort.abort(new Error('given up'));
    expect(await healthy.catch((error: Error) => error.message)).to.equal('given up');
  });
});
