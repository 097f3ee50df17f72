import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { AppRunner } from '../../support/app-runner.js';
import { type BlobServer, startBlobServer } from '../../support/blob-server.js';
import { type Cell, makeCell } from '../../support/cell.js';
import { eventually } from '../../support/eventually.js';
import { containersIn, expectNothingLeft, thingsOfEngine } from '../../support/leaks.js';
import { type NatsServer, startNats } from '../../support/nats.js';
import { Peer } from '../../support/peer.js';
import { PlayedController } from '../../support/played-controller.js';
import { growth, type ProcessFigures, processFigures } from '../../support/process-figures.js';

/** How long things are killed; `npm run chaos` takes ten minutes. */
const seconds = Number(process.env.CHAOS_SECONDS ?? 8);
const instances = process.env.CHAOS_SECONDS ? 24 : 12;
/** Rounds of starting and stopping all, for the agent's figures. */
const rounds = process.env.CHAOS_SECONDS ? 12 : 2;
/** Between medians of rounds: what collections of garbage leave, and 1 MB for each round where there are many. */
const allowedGrowth: ProcessFigures = { residentMb: process.env.CHAOS_SECONDS ? 16 : 40, openFiles: 4 };
const killIntervalMs = 3_000;
const orderIntervalMs = 300;

describe('a cell whose agent, bus and containers are killed again and again', function () {
  this.timeout((seconds * 2 + 300) * 1000);
  let nats: NatsServer;
  let blobs: BlobServer;
  let peer: Peer;
  let cell: Cell;
  let controller: PlayedController;
  const kills = { agent: 0, bus: 0, process: 0 };

  before(async () => {
    nats = await startNats();
    blobs = await startBlobServer();
    peer = await Peer.connect(nats.url, { reconnects: true });
    cell = await makeCell({ natsUrl: nats.url });
    await cell.start();
    controller = new PlayedController(peer, await AppRunner.create(peer, blobs));
  });

  after(async () => {
    await cell?.dispose();
    await peer?.close();
    await blobs?.stop();
    await nats?.stop();
  });

  const depot = () => join(cell.baseDirectory, 'base/depot');

  async function converge(timeoutMs = 90_000): Promise<void> {
    await eventually(
      () => {
        controller.reconcile();
        return controller.isSatisfied || undefined;
      },
      { timeoutMs, what: `${controller.desired.size} running instances` },
    ).catch((error: unknown) => {
      const complaints = cell.logs.filter(({ log_level: level }) => level === 'warn' || level === 'error').slice(-20);
      console.log(`      lives ${JSON.stringify(controller.living())}; ${JSON.stringify(complaints)}`);
      throw error;
    });
  }

  async function orderUntil(deadline: number): Promise<void> {
    while (Date.now() < deadline) {
      if (controller.desired.size < instances) controller.addApp();
      else if (Math.random() < 0.5) controller.removeApp();
      controller.reconcile();
      await delay(orderIntervalMs);
    }
  }

  /** Each kind once, then at random. */
  async function killUntil(deadline: number): Promise<void> {
    const kinds: (() => Promise<void>)[] = [killAgent, killBus, killOneProcess];
    for (let count = 0; Date.now() < deadline || count < kinds.length; count += 1) {
      await delay(killIntervalMs * (0.5 + Math.random()));
      await kinds[count < kinds.length ? count : Math.floor(Math.random() * kinds.length)]!();
    }
  }

  async function killAgent(): Promise<void> {
    kills.agent += 1;
    await cell.kill();
    await cell.start();
  }

  async function killBus(): Promise<void> {
    kills.bus += 1;
    await nats.kill();
    nats = await startNats({ port: nats.port });
  }

  /** A process of an app, or one that looks after it. */
  async function killOneProcess(): Promise<void> {
    kills.process += 1;
    const { processes } = thingsOfEngine(depot());
    const candidates = processes
      .filter((line) => /perl|bash|conmon/.test(line))
      .map((line) => Number.parseInt(line, 10));
    const victim = candidates[Math.floor(Math.random() * candidates.length)];
    if (victim === undefined) return;
    try {
      process.kill(victim, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }

  /** Ledger, containers, snapshot and what the played Cloud Controller sees are one. */
  async function expectAgreement(): Promise<void> {
    await eventually(
      async () => {
        controller.reconcile();
        const saved = (await cell.snapshot()).instances;
        const running = saved.filter(({ state }) => state === 'RUNNING');
        const crashed = saved.filter(({ state }) => state === 'CRASHED');
        expect(saved).to.have.lengthOf(running.length + crashed.length);
        expect(running.map(({ application_id: app }) => app)).to.have.members([...controller.desired]);
        const beat = peer.all('dea.heartbeat').at(-1)!.data.droplets;
        expect(beat.map(({ instance }: { instance: string }) => instance)).to.have.members(
          saved.map(({ instance_id: id }) => id),
        );
        expect(containersIn(depot())).to.have.members(running.map(({ warden_handle: handle }) => handle));
        const { reservations } = JSON.parse(await readFile(join(cell.baseDirectory, 'base/db/ledger.json'), 'utf8'));
        // Crashes fill the disk's capacity between two passes of the reaper: who finds no room then has none reserved.
        const reserved = saved.filter(({ exit_description: text }) => !String(text).startsWith('Not enough'));
        expect(reservations.map(({ id }: { id: string }) => id)).to.have.members(
          reserved.map(({ private_instance_id: id }) => id),
        );
        const offer = peer.all('dea.advertise').at(-1)!.data;
        expect(offer.available_memory).to.equal(4096 - running.length * 64);
        expect(offer.available_disk).to.equal(16384 - reserved.length * 128);
        return true;
      },
      { timeoutMs: 60_000 },
    );
  }

  async function expectEachToAnswer(): Promise<void> {
    for (const { instance_host_port: port, application_id: app, state } of (await cell.snapshot()).instances) {
      if (state !== 'RUNNING') continue;
      // The registration of the start may have been lost with the bus; all are repeated every 20 s.
      const { data: route } = await eventually(() => peer.all('router.register', { app, port }).at(-1), {
        timeoutMs: 30_000,
        what: `the route of ${app} to port ${port}`,
      });
      const answer = await fetch(`http://${route.host}:${route.port}/hello`, { signal: AbortSignal.timeout(10_000) });
      expect(await answer.text()).to.equal('hello from 0');
    }
  }

  it('ends up with what it was told, and agrees with itself about it', async () => {
    const deadline = Date.now() + seconds * 1000;
    // Both have ended before what they work with is looked at.
    const ends = await Promise.allSettled([orderUntil(deadline), killUntil(deadline)]);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    while (controller.desired.size < instances) controller.addApp();
    await converge();
    await expectAgreement();
    await expectEachToAnswer();
    const { starts, stops } = controller.orders;
    console.log(`      kills ${JSON.stringify(kills)}; ${starts} starts and ${stops} stops ordered`);
  });

  it('is no larger after many starts and stops than after few, and leaves nothing on the host', async () => {
    const figures: ProcessFigures[] = [];
    for (let round = 0; round < rounds; round += 1) {
      while (controller.desired.size < instances) controller.addApp();
      await converge();
      controller.desired.clear();
      await converge();
      await eventually(() => (containersIn(depot()).length === 0 ? true : undefined), { timeoutMs: 30_000 });
      figures.push(processFigures(cell.pid));
    }
    const grown = growth(figures);
    console.log(
      `      agent without instances, after each ${instances}: resident ${figures.map((of) => of.residentMb).join(' ')} MB` +
        `, open files ${figures.map((of) => of.openFiles).join(' ')}; grown by ${JSON.stringify(grown)}`,
    );
    expect(grown.openFiles).to.be.at.most(allowedGrowth.openFiles);
    expect(grown.residentMb).to.be.at.most(allowedGrowth.residentMb);
    expect(await cell.terminate()).to.equal(0);
    await expectNothingLeft(depot(), 10_000);
  });
});
