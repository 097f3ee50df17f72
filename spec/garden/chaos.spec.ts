import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { pack } from 'tar-stream';
import type { Container, ContainerProcess } from '../../lib/containers/engine.js';
import { UnknownProcessError } from '../../lib/containers/errors.js';
import { GardenEngine } from '../../lib/containers/garden/client/garden-engine.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { Collector } from '../support/collector.js';
import { eventually } from '../support/eventually.js';
import { callGarden, type GardenProcess, startGarden } from '../support/garden.js';
import { takeNetwork, takePorts } from '../support/host-share.js';

/** How long clients work and things are killed; `npm run chaos` takes ten minutes. */
const seconds = Number(process.env.CHAOS_SECONDS ?? 10);
const clients = 8;
/** Two hundred kills in ten minutes, with the second or so that half of them need for a new server. */
const killIntervalMs = 2_000;
const megabyte = 1024 * 1024;
const lines = 200;

/** What clients were told, to be compared with what is there in the end. */
class Ledger {
  kills = 0;
  /** From before a kill until its victim is known to be gone; a broken connection may tell of it sooner. */
  isKilling = false;
  readonly acknowledged = new Set<string>();
  readonly destroyed = new Set<string>();
  readonly done = { created: 0, ended: 0, resumed: 0, streamed: 0, destroyed: 0, lost: 0 };

  /** Does something that a kill may break off; undefined when one did. */
  async attempt<Result>(what: string, work: () => Promise<Result>): Promise<Result | undefined> {
    const before = this.kills;
    try {
      return await work();
    } catch (error) {
      if (this.kills > before || this.isKilling || isLost(error)) return undefined;
      throw new Error(`${what} failed although nothing was killed: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** The exit status of a process whose conmon was killed is known to nobody, for good. */
function isLost(error: unknown): boolean {
  return error instanceof Error && error.message.includes('its conmon is gone');
}

/** Containers that each client leaves. */
const keptOfEach = 10;

/** One client that makes containers, runs processes, streams files and destroys, until the time is up. */
class Client {
  #count = 0;

  constructor(
    private readonly name: string,
    private readonly garden: GardenProcess,
    private readonly ledger: Ledger,
    private readonly engine: GardenEngine,
  ) {}

  async workUntil(deadline: number): Promise<void> {
    while (Date.now() < deadline) {
      await this.reachable();
      this.#count += 1;
      await this.round(`${this.name}-${this.#count}`);
    }
  }

  private async round(handle: string): Promise<void> {
    const { ledger, engine } = this;
    const container = await ledger.attempt('create', () =>
      engine.create({
        handle,
        limits: { memoryBytes: 64 * megabyte, disk: { bytes: 16 * megabyte } },
        netIn: [{ containerPort: 8080 }],
      }),
    );
    if (!container) return;
    ledger.acknowledged.add(handle);
    ledger.done.created += 1;
    await this.runProcess(container);
    await this.streamFile(container);
    // A part of them stays to be found in the end; more than there are subnets cannot.
    if (this.#count % 3 === 0 && this.#count <= 3 * keptOfEach) return;
    ledger.acknowledged.delete(handle);
    await this.reachable();
    const isDestroyed = await ledger.attempt('destroy', async () => {
      await engine.destroy(handle);
      return true;
    });
    if (!isDestroyed) return;
    ledger.destroyed.add(handle);
    ledger.done.destroyed += 1;
  }

  /** Its exit status must be right, and its output whole, however often the server was killed meanwhile. */
  private async runProcess(container: Container): Promise<void> {
    const { ledger } = this;
    const expected = this.#count % 200;
    const script = `i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo $i; sleep 0.005; done; exit ${expected}`;
    const stdout = new Collector();
    const spec = { id: 'counting', path: '/bin/sh', args: ['-c', script] };
    const before = ledger.kills;
    const started = await ledger.attempt('run', () => container.run(spec, { stdout }));
    let status = started && (await ledger.attempt('wait', () => started.wait()));
    for (let attempt = 0; status === undefined && attempt < 20; attempt += 1) {
      await this.reachable();
      try {
        status = await ledger.attempt('attach', async () => (await this.attach(container, stdout)).wait());
      } catch (error) {
        // What was never acknowledged may not have come to be.
        if (started === undefined && (error as Error).cause instanceof UnknownProcessError) return;
        throw error;
      }
    }
    if (status === undefined) {
      ledger.done.lost += 1;
      return;
    }
    expect(status, `exit status of ${container.handle}`).to.equal(expected);
    ledger.done.ended += 1;
    if (ledger.kills === before && !ledger.isKilling) {
      expect(stdout.text.trim().split('\n')).to.have.lengthOf(lines);
      return;
    }
    ledger.done.resumed += 1;
  }

  private async attach({ handle }: Container, stdout: Collector): Promise<ContainerProcess> {
    return (await this.engine.lookup(handle)).attach('counting', { stdout, outputFrom: 'undelivered' });
  }

  private async streamFile(container: Container): Promise<void> {
    const { ledger } = this;
    await this.reachable();
    const content = `${container.handle} `.repeat(2_000);
    const archive = pack();
    archive.entry({ name: 'file' }, content);
    archive.finalize();
    const bytes = await buffer(archive);
    const isIn = await ledger.attempt('stream in', async () => {
      await container.streamIn({ path: '/tmp/in', tar: Readable.from([bytes], { objectMode: false }) });
      return true;
    });
    if (!isIn) return;
    const out = await ledger.attempt('stream out', async () =>
      buffer(await container.streamOut({ path: '/tmp/in/file' })),
    );
    if (!out) return;
    expect(out.includes(content)).to.equal(true);
    ledger.done.streamed += 1;
  }

  /** The server may be away for as long as it takes to start it again. */
  private async reachable(): Promise<void> {
    const isUp = () =>
      callGarden(this.garden.socket, 'GET', '/ping').then(
        ({ status }) => status === 200,
        () => false,
      );
    while (!(await isUp())) await delay(50);
  }
}

/** Kills the server, a conmon or a runtime of its, at random, and starts the server again. */
async function killUntil(deadline: number, garden: GardenProcess, ledger: Ledger): Promise<void> {
  while (Date.now() < deadline) {
    await delay(killIntervalMs * (0.5 + Math.random()));
    const choice = Math.random();
    const victims = choice < 0.5 ? [] : processesOf(garden.depot, choice < 0.75 ? 'conmon' : 'crun');
    const victim = victims[Math.floor(Math.random() * victims.length)];
    ledger.isKilling = true;
    await (victim === undefined ? garden.kill() : killForGood(victim));
    ledger.kills += 1;
    ledger.isKilling = false;
    if (victim === undefined) await garden.start();
  }
}

async function killForGood(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
  await eventually(() => !existsSync(`/proc/${pid}`) || undefined, { what: `the end of process ${pid}` });
}

/** Numbers of processes of a program that name the depot on their command line. */
function processesOf(depot: string, program: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
        return basename(args[0] ?? '') === program && args.some((arg) => arg.startsWith(depot));
      } catch {
        return false;
      }
    })
    .map(Number);
}

describe('a container server that is killed again and again', function () {
  this.timeout((seconds + 240) * 1000);

  it('keeps what it acknowledged, tells right exit statuses, and leaks nothing', async () => {
    const ports = takePorts(2000);
    const garden = await startGarden({
      runtime: 'crun',
      network_pool: takeNetwork(22),
      port_pool_start: ports.start,
      port_pool_size: ports.size,
    });
    const engine = new GardenEngine({ address: { kind: 'unix', path: garden.socket }, logger: silentLogger });
    const ledger = new Ledger();
    try {
      await engine.start();
      // Makes the root file system ready, which takes its time once.
      await engine.create({ handle: 'first' });
      const deadline = Date.now() + seconds * 1000;
      const names = Array.from({ length: clients }, (_, index) => String.fromCharCode(97 + index));
      // All have ended before what they work with is taken away.
      const ends = await Promise.allSettled([
        killUntil(deadline, garden, ledger),
        ...names.map((name) => new Client(name, garden, ledger, engine).workUntil(deadline)),
      ]);
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
      const handles = (await engine.list()).map(({ handle }) => handle);
      expect(handles).to.include.members([...ledger.acknowledged]);
      expect(handles.filter((handle) => ledger.destroyed.has(handle))).to.deep.equal([]);
      for (const handle of ledger.acknowledged)
        expect((await (await engine.lookup(handle)).info()).state).to.equal('active');
      expect(ledger.done.ended).to.be.above(0);
      if (process.env.CHAOS_SECONDS) console.log(`      ${ledger.kills} kills; ${JSON.stringify(ledger.done)}`);
    } finally {
      await engine.stop();
      await garden.stop();
    }
  });
});
