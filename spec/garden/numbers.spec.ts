import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { takeNetwork } from '../support/host-share.js';
import { descendantsOf, expectNoContainerLeft, thingsOfEngine } from '../support/leaks.js';
import { runtimes } from '../support/variants.js';

const megabyte = 1024 * 1024;
/** docs/protocol/containers.md §4.1, on hardware of that kind; the suite's own load has to be allowed for. */
const createTargetMs = { crun: 60, runc: 100 };
const allowance = Number(process.env.SPEED_ALLOWANCE ?? 5);

/** What the server and everything below it executes from `watch` to `seen`. */
class Executions {
  private constructor(
    private readonly strace: ChildProcess,
    private readonly log: string,
  ) {}

  /** Resolves when no start can be missed any more. */
  static async watch(server: number, log: string): Promise<Executions> {
    const pids = [server, ...descendantsOf(server)];
    const traced = pids.flatMap((pid) => ['-p', String(pid)]);
    const args = ['-f', '-qq', '-e', 'trace=execve', '-e', 'signal=none', '-o', log, ...traced];
    const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    await eventually(() => {
      if (strace.exitCode !== null) throw new Error(`strace ended with ${strace.exitCode}`);
      return pids.every((pid) => tracerOf(pid) === strace.pid) || undefined;
    });
    return new Executions(strace, log);
  }

  /**
   * Stops looking.
   *
   * @returns for each process that was started, the programs that it was, one after the other; without a container's own
   * first process, and without those that a runtime is itself once more
   */
  async seen(): Promise<string[]> {
    const ended = once(this.strace, 'exit');
    this.strace.kill('SIGINT');
    await ended;
    const programs = new Map<string, string[]>();
    for (const line of readFileSync(this.log, 'utf8').split('\n')) {
      const [, pid, program] = /^(\d+) +execve\("([^"]+)"/.exec(line) ?? [];
      if (pid !== undefined && program !== undefined && !line.includes(' = -1 '))
        programs.set(pid, [...(programs.get(pid) ?? []), basename(program)]);
    }
    const isOfContainer = (names: string[]) => names.includes('garden-init') || names[0] === 'exe';
    return [...programs.values()].filter((names) => !isOfContainer(names)).map((names) => names.join(' > '));
  }
}

function tracerOf(pid: number): number {
  return Number(/^TracerPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

describe('bin/garden in numbers', function () {
  this.timeout(180_000);

  describe('over many containers', () => {
    let garden: GardenProcess;
    let client: GardenClient;

    before(async () => {
      garden = await startGarden({ spares: 0, network_pool: takeNetwork(23) });
      client = new GardenClient(garden.socket);
    });

    after(() => garden.stop());

    it('destroys 50 at once, and the host is as it was before', async () => {
      // What is made once and for all is there.
      await client.create({ handle: 'first', netin: [{}] });
      await client.destroyAll();
      await expectNoContainerLeft(garden.depot, 20_000);
      const before = thingsOfEngine(garden.depot);
      const handles = Array.from({ length: 50 }, (_, index) => `many-${index}`);
      const limits = { disk_limits: { byte_hard: 16 * megabyte, scope: 1 } };
      await Promise.all(
        handles.map((handle, index) =>
          client.create({ handle, netin: [{}], netout_rules: [{ protocol: 1 }], ...(index % 5 === 0 && { limits }) }),
        ),
      );
      expect(thingsOfEngine(garden.depot).loopDevices).to.have.lengthOf(10);
      await client.destroyAll();
      expect(await client.handles()).to.deep.equal([]);
      await eventually(() => expect(thingsOfEngine(garden.depot)).to.deep.equal(before) && true, { timeoutMs: 60_000 });
    });
  });

  for (const runtime of runtimes) {
    describe(`with ${runtime}`, () => {
      let garden: GardenProcess;
      let client: GardenClient;

      before(async () => {
        garden = await startGarden({ runtime });
        client = new GardenClient(garden.socket);
        await client.create({ handle: 'first', limits: { disk_limits: { byte_hard: 64 * megabyte, scope: 1 } } });
        await client.destroyAll();
      });

      after(() => garden.stop());

      afterEach(() => client.destroyAll());

      it('creates a container in about the time that it should take', async () => {
        const times: number[] = [];
        for (let round = 0; round < 15; round += 1) {
          const begunAt = performance.now();
          await client.create({
            handle: `timed-${round}`,
            limits: { disk_limits: { byte_hard: 64 * megabyte, scope: 1 } },
          });
          times.push(performance.now() - begunAt);
          await client.destroyAll();
        }
        const median = times.sort((one, other) => one - other)[7]!;
        expect(median, `median of ${times.map(Math.round).join(' ')}`).to.be.below(createTargetMs[runtime] * allowance);
      });

      it('starts no program to tell of a container', async () => {
        await client.create({ handle: 'told' });
        const telling = await Executions.watch(garden.pid, join(garden.depot, '..', 'executions'));
        await client.info('told');
        await client.metrics('told');
        await client.ask('GET', '/containers/bulk_info?handles=told');
        await client.ask('GET', '/containers/bulk_metrics?handles=told');
        expect(await telling.seen()).to.deep.equal([]);
      });
    });

    it(`starts at most six processes for a create with ${runtime} when nothing was made in advance`, async () => {
      const garden = await startGarden({ runtime, spares: 0 });
      try {
        const client = new GardenClient(garden.socket);
        await client.create({ handle: 'first', netin: [{}] });
        await client.destroyAll();
        await expectNoContainerLeft(garden.depot, 20_000);
        const creating = await Executions.watch(garden.pid, join(garden.depot, '..', 'executions'));
        await client.create({ handle: 'counted', netin: [{}], netout_rules: [{ protocol: 1 }] });
        const started = await creating.seen();
        expect(started.length, started.join('; ')).to.be.within(1, 6);
      } finally {
        await garden.stop();
      }
    });
  }
});
