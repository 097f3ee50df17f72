import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { startHttpServer } from '../support/http-server.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { Peer } from '../support/peer.js';
import { ask } from '../support/router.js';
import { builtProgram } from '../support/typescript.js';

describe('the program router', function () {
  this.timeout(60_000);
  let directory: string;
  let nats: NatsServer;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'router-'));
    nats = await startNats();
  });

  after(async () => {
    await nats.stop();
    await rm(directory, { recursive: true });
  });

  function run(...args: string[]): ChildProcess {
    return spawn(process.execPath, [...builtProgram('lib/router/main.ts'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  async function configure(lines: string[]): Promise<string> {
    const path = join(directory, 'router.yml');
    await writeFile(path, lines.join('\n'));
    return path;
  }

  it('checks its configuration, and names what is wrong with it', async () => {
    const check = async (path: string) => {
      const program = run('--check', path);
      const exited = once(program, 'exit');
      const said = [await text(program.stdout!), await text(program.stderr!)];
      return { status: (await exited)[0], said: said.join('') };
    };
    expect(await check('config/router.yml')).to.deep.equal({ status: 0, said: 'config/router.yml: ok\n' });
    const bad = await check(await configure(['nats_servers: [n]', 'droplet_stale_threshold: soon']));
    expect(bad.said).to.contain('droplet_stale_threshold: expected seconds, or a duration such as 30s or 2m');
    expect(bad.status).to.equal(1);
  });

  it('routes, and ends with status 0 when it is told to', async () => {
    const app = await startHttpServer((_request, response) => void response.end('app'));
    const peer = await Peer.connect(nats.url);
    const config = [
      'ip: 127.0.0.1',
      'port: 0',
      `nats_servers: ["${nats.url}"]`,
      'start_response_delay_interval: 200ms',
    ];
    const program = run(await configure(config));
    let output = '';
    program.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    try {
      await peer.next('router.start', () => true, { timeoutMs: 30_000 });
      peer.publish('router.register', { host: '127.0.0.1', port: app.port, uris: ['app.io'] });
      const port = await eventually(() => /"router\.started".*"port":(\d+)/.exec(output)?.[1]);
      expect((await ask(Number(port), '/', { host: 'app.io' })).body).to.equal('app');
      const exited = once(program, 'exit');
      program.kill('SIGTERM');
      expect(await exited).to.deep.equal([0, null]);
    } finally {
      program.kill('SIGKILL');
      await peer.close();
      await app.stop();
    }
  });
});
