import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Ledger } from '../../../lib/cell/ledger.js';
import { InstanceRegistry } from '../../../lib/dea/instances/instance-registry.js';
import { Discovery, discoverDelayMs } from '../../../lib/dea/responders/discovery.js';
import { eventually } from '../../support/eventually.js';

describe('the delay of a dea.discover', () => {
  const cases: [instances: number, share: number, delayMs: number][] = [
    [0, 0, 0],
    [0, 0.5, 50],
    [3, 0, 30],
    [3, 1, 130],
    [100, 1, 250],
  ];
  for (const [instances, share, delayMs] of cases) {
    it(`is ${delayMs} ms with ${instances} instances of the app and ${share * 100} % of the memory reserved`, () => {
      expect(discoverDelayMs(instances, share)).to.equal(delayMs);
    });
  }
});

describe('Discovery', () => {
  let directory: string;
  let ledger: Ledger;
  let isAccepting: boolean;
  let discovery: Discovery;
  let answers: number;
  const small = { memoryMb: 64, diskMb: 64 };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'discovery-'));
    ledger = await Ledger.open({ path: join(directory, 'ledger'), capacity: { memoryMb: 1000, diskMb: 1000 } });
    isAccepting = true;
    answers = 0;
    discovery = new Discovery({ ledger, instances: new InstanceRegistry(), isAccepting: () => isAccepting });
  });

  afterEach(async () => {
    discovery.stop();
    await rm(directory, { recursive: true });
  });

  const ask = (wanted = small) =>
    discovery.answerSoon('app', wanted, () => {
      answers += 1;
    });
  const reserve = (memoryMb: number) => ledger.reserve({ id: `${memoryMb}`, owner: 'dea', memoryMb, diskMb: 1 });

  it('answers when there is room', async () => {
    ask();
    await eventually(() => (answers === 1 ? true : undefined));
  });

  it('does not answer without room, or while no work is taken', async () => {
    ask({ memoryMb: 1001, diskMb: 1 });
    ask({ memoryMb: 1, diskMb: 1001 });
    isAccepting = false;
    ask();
    isAccepting = true;
    ask();
    await eventually(() => (answers === 1 ? true : undefined));
  });

  it('does not answer when the room is gone after the delay', async () => {
    await reserve(500);
    ask();
    await reserve(450);
    // Waits longer than the first, because less is free.
    ask({ memoryMb: 1, diskMb: 1 });
    await eventually(() => (answers > 0 ? true : undefined));
    expect(answers).to.equal(1);
  });

  it('keeps at most a thousand answers waiting', async () => {
    await reserve(500);
    for (let number = 0; number < 3000; number += 1) ask();
    await eventually(() => (answers >= 1000 ? true : undefined));
    expect(answers).to.equal(1000);
  });

  it('gives no answer after a stop', async () => {
    await reserve(500);
    ask();
    discovery.stop();
    ask();
    await eventually(() => (answers > 0 ? true : undefined));
    expect(answers).to.equal(1);
  });
});
