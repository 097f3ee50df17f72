import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { EngineProcess } from '../../support/engine-process.js';
import { expectNoContainerLeft } from '../../support/leaks.js';
import { type OciSubject, startOciEngine } from '../../support/oci.js';
import { stackRootfs } from '../../support/stack.js';
import { runToEnd, script } from '../engine-contract.js';

/** Moments of `kill -9` in the short run; `npm run chaos` tries more. */
const rounds = Number(process.env.CHAOS_ROUNDS ?? 3);

const limits = { memoryBytes: 64 * 1024 * 1024, disk: { bytes: 16 * 1024 * 1024 } };
/** Of the time that one container takes; three are worked on at once. */
const longestDelay = 6;

/** What happened before the engine was killed. */
interface History {
  created: Set<string>;
  destroyed: Set<string>;
}

/** Keeps an engine busy making and destroying until it is killed, and tells what it acknowledged. */
async function workUntilKilled(engine: EngineProcess, delayMs: number): Promise<History> {
  const history: History = { created: new Set(), destroyed: new Set() };
  const worker = async (name: string) => {
    for (let round = 0; ; round += 1) {
      const handle = `${name}-${round}`;
      await engine.ask({ verb: 'create', spec: { handle, rootfs: stackRootfs(), limits, netIn: [{}] } });
      history.created.add(handle);
      await engine.ask({ verb: 'run', handle, spec: script('sleep 1000') });
      if (round % 2 === 1) continue;
      // From here on either state is right: the answer may be what was lost.
      history.created.delete(handle);
      await engine.ask({ verb: 'destroy', handle });
      history.destroyed.add(handle);
    }
  };
  const workers = ['a', 'b', 'c'].map((name) => worker(name).catch((error: Error) => error.message));
  await delay(delayMs);
  await engine.kill();
  expect(new Set(await Promise.all(workers))).to.deep.equal(new Set(['the engine was killed']));
  return history;
}

describe('the oci engine, killed at any point of making and destroying containers', function () {
  this.timeout(Math.max(300_000, rounds * 15_000));

  let subject: OciSubject;
  /** What one container took to be made and destroyed, by this machine as busy as it is. */
  let cycleMs: number;

  before(async () => {
    subject = await startOciEngine();
    // Copying the root file system once would be all that is ever killed.
    await subject.engine.prepare!(stackRootfs());
    const begun = performance.now();
    await subject.engine.create({ handle: 'measured', rootfs: stackRootfs(), limits });
    await subject.engine.destroy('measured');
    cycleMs = performance.now() - begun;
    await subject.engine.stop();
  });

  after(async () => {
    await subject.start();
    await subject.dispose();
  });

  it('finds every container that it acknowledged, none that it destroyed, and leaks nothing', async () => {
    let acknowledged = 0;
    for (let round = 0; round < rounds; round += 1) {
      // From all parts of the time, so that some kills find what was acknowledged.
      const delayMs = ((round + Math.random()) / rounds) * longestDelay * cycleMs;
      const history = await workUntilKilled(await EngineProcess.start(subject.settings), delayMs);
      acknowledged += history.created.size;
      const engine = await subject.start();
      const handles = (await engine.list()).map(({ handle }) => handle);
      const told = `killed after ${delayMs} ms`;
      expect(handles, told).to.include.members([...history.created]);
      expect(
        handles.filter((handle) => history.destroyed.has(handle)),
        told,
      ).to.deep.equal([]);
      for (const handle of history.created) {
        const { stdout } = await runToEnd(await engine.lookup(handle), script('echo alive'));
        expect(stdout, told).to.equal('alive\n');
      }
      await Promise.all(handles.map((handle) => engine.destroy(handle)));
      await engine.stop();
      await expectNoContainerLeft(subject.settings.depotDirectory);
    }
    expect(acknowledged).to.be.above(0);
  });
});
