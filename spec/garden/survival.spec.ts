import { chmodSync, existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { callGarden, type GardenProcess, RawConnection, startGarden } from '../support/garden.js';

describe('bin/garden, when it ends and begins again', function () {
  this.timeout(120_000);
  let garden: GardenProcess;

  beforeEach(async () => {
    garden = await startGarden();
  });

  afterEach(() => garden.stop());

  const call = (method: string, path: string, body?: unknown) => callGarden(garden.socket, method, path, body);
  const begin = async (head: string, body?: unknown) => {
    const connection = await RawConnection.request(garden.socket, head, body);
    return connection.until(({ rest }) => rest.includes('\n'));
  };
  const run = (script: string, spec: Record<string, unknown> = {}) =>
    begin('POST /containers/c/processes', { path: 'sh', args: ['-c', script], user: 'root', ...spec });
  const attach = (id: string) => begin(`GET /containers/c/processes/${id}`);
  const output = async (connection: RawConnection) => {
    const { process_id: id, stream_id: stream } = connection.payloads[0]!;
    return RawConnection.request(garden.socket, `GET /containers/c/processes/${id}/attaches/${stream}/stdout`);
  };
  const exitOf = async (connection: RawConnection) => (await connection.ended()).payloads.at(-1)?.exit_status;
  const ticking = 'i=0; until [ -e /tmp/end ]; do i=$((i+1)); echo $i; sleep 0.1; done; exit 9';

  for (const way of ['killed', 'stopped'] as const) {
    it(`loses nothing of its processes and containers when it is ${way}`, async () => {
      await call('POST', '/containers', {
        handle: 'c',
        properties: { a: '1' },
        netin: [{}],
        grace_time: 60_000_000_000,
      });
      await call('PUT', '/containers/c/properties/b', { value: '2' });
      await call('POST', '/containers/c/net/in', {});
      const before = (await call('GET', '/containers/c/info')).json as Record<string, unknown>;
      const first = await run(ticking, { id: 'ticking' });
      const followed = await (await output(first)).until(({ rest }) => rest.includes('3\n'));
      await run('sleep 0.5; echo last; exit 17', { id: 'ending' });
      await run('sleep 0.5; kill -9 $$', { id: 'dying' });
      if (way === 'killed') await garden.kill();
      else expect(await garden.terminate()).to.equal(0);
      await Promise.all([first.ended(), followed.ended()]);
      expect(first.payloads).to.have.lengthOf(1);
      // All but the ticking ends while nobody is there to see.
      const exit = join(garden.depot, '@run/c/processes/dying/exit/c');
      await eventually(() => existsSync(exit) || undefined);

      await garden.start();
      const after = (await call('GET', '/containers/c/info')).json as Record<string, unknown>;
      expect(after).to.deep.equal({ ...before, ProcessIDs: ['ticking'] });
      const second = await attach('ticking');
      expect(second.payloads[0]).to.include({ stream_id: '1' });
      const rest = await (await output(second)).until(({ length }) => length > 200);
      await run('touch /tmp/end');
      expect(await exitOf(second)).to.equal(9);
      const ticks = (followed.rest + (await rest.ended()).rest).trim().split('\n').map(Number);
      expect(ticks).to.deep.equal(ticks.map((_, index) => index + 1));

      const ended = await attach('ending');
      expect(await exitOf(ended)).to.equal(17);
      expect((await (await output(ended)).ended()).rest).to.equal('last\n');
      expect(await exitOf(await attach('dying'))).to.equal(137);
    });
  }

  it('finds its containers when the way to its depot was opened or closed meanwhile', async () => {
    const way = dirname(garden.depot);
    for (const [index, mode] of [0o711, 0o700, 0o711].entries()) {
      const handle = `c${index}`;
      expect((await call('POST', '/containers', { handle })).status).to.equal(200);
      await garden.terminate();
      chmodSync(way, mode);
      await garden.start();
      for (const known of new Set(['c0', handle])) {
        const { status } = await call('GET', `/containers/${known}/info`);
        expect(status).to.equal(200);
        const ended = await begin(`POST /containers/${known}/processes`, { path: 'true', user: 'root' });
        expect(await exitOf(ended), `${known} after ${mode.toString(8)}`).to.equal(0);
      }
    }
  });

  it('leaves the input of processes open for the client that comes back', async () => {
    await call('POST', '/containers', { handle: 'c' });
    const first = await run('cat; exit 3', { id: 'cat' });
    await garden.kill();
    await first.ended();
    await garden.start();
    const second = await attach('cat');
    await garden.restart();
    await second.ended();
    const third = await attach('cat');
    const stdout = await output(third);
    third.send('{"source":0,"data":"still there"}{"source":0}');
    expect(await exitOf(third)).to.equal(3);
    expect((await stdout.ended()).rest).to.equal('still there');
  });

  it('lets running requests end before it does', async () => {
    await call('POST', '/containers', { handle: 'c' });
    await run("trap '' TERM; while :; do sleep 0.05; done", { id: 'stubborn' });
    const idle = await RawConnection.open(garden.socket);
    const stopping = call('PUT', '/containers/c/stop', { kill: false });
    await eventually(async () => {
      const { State } = (await call('GET', '/containers/c/info')).json as { State: string };
      return State === 'stopped' || undefined;
    });
    const ended = garden.terminate();
    await idle.ended();
    expect((await stopping).text).to.equal('{}\n');
    expect(await ended).to.equal(0);
    expect(existsSync(garden.socket)).to.equal(false);
    await garden.start();
  });

  it('listens at once, on the socket that a killed one left, and answers when it knows its containers', async () => {
    expect(statSync(garden.socket).mode & 0o777).to.equal(0o660);
    await Promise.all(Array.from({ length: 5 }, (_, index) => call('POST', '/containers', { handle: `c${index}` })));
    await garden.kill();
    expect(existsSync(garden.socket)).to.equal(true);
    await garden.start({ waits: false });
    const { json } = await call('GET', '/containers');
    expect(json).to.deep.equal({ Handles: ['c0', 'c1', 'c2', 'c3', 'c4'] });
  });
});
