import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { DuplicateReservationError, InsufficientResourcesError, Ledger } from '../../lib/cell/ledger.js';

const capacity = { memoryMb: 1000, diskMb: 2000 };

describe('Ledger', () => {
  let directory: string;
  let path: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ledger-'));
    path = join(directory, 'ledger.json');
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  const open = (at = path) => Ledger.open({ path: at, capacity });

  async function rejection(promise: Promise<unknown>): Promise<unknown> {
    return promise.then(
      () => expect.fail('was accepted'),
      (error: unknown) => error,
    );
  }

  it('admits what fits exactly and nothing more', async () => {
    const ledger = await open();
    await ledger.reserve({ id: 'a', owner: 'dea', memoryMb: 1000, diskMb: 2000 });
    expect(ledger.free()).to.deep.equal({ memoryMb: 0, diskMb: 0 });
    const error = await rejection(ledger.reserve({ id: 'b', owner: 'rep', memoryMb: 1, diskMb: 0 }));
    expect(error).to.be.instanceOf(InsufficientResourcesError).with.property('resource', 'memory');
  });

  it('names disk first when both lack', async () => {
    const ledger = await open();
    const error = await rejection(ledger.reserve({ id: 'b', owner: 'staging', memoryMb: 1001, diskMb: 2001 }));
    expect((error as Error).message).to.equal('Not enough disk resources available');
  });

  it('has a reservation on the disk when it is granted, and finds it again', async () => {
    const ledger = await open();
    await ledger.reserve({ id: 'a', owner: 'dea', memoryMb: 10, diskMb: 20 });
    expect(await readFile(path, 'utf8')).to.contain('"id":"a"');
    expect((await open()).list()).to.deep.equal([{ id: 'a', owner: 'dea', memoryMb: 10, diskMb: 20 }]);
  });

  it('reserves nothing when it cannot be written down', async () => {
    const ledger = await open(join(directory, 'missing', 'ledger.json'));
    await rejection(ledger.reserve({ id: 'a', owner: 'dea', memoryMb: 10, diskMb: 20 }));
    expect(ledger.reserved()).to.deep.equal({ memoryMb: 0, diskMb: 0 });
  });

  it('refuses an id twice', async () => {
    const ledger = await open();
    await ledger.reserve({ id: 'a', owner: 'dea', memoryMb: 10, diskMb: 20 });
    const error = await rejection(ledger.reserve({ id: 'a', owner: 'dea', memoryMb: 10, diskMb: 20 }));
    expect(error).to.be.instanceOf(DuplicateReservationError);
    expect(ledger.reserved().memoryMb).to.equal(10);
  });

  it('only ever shrinks a reservation', async () => {
    const ledger = await open();
    await ledger.reserve({ id: 'a', owner: 'dea', memoryMb: 10, diskMb: 20 });
    await ledger.shrink('a', { memoryMb: 0, diskMb: 500 });
    expect((await open()).get('a')).to.deep.equal({ id: 'a', owner: 'dea', memoryMb: 0, diskMb: 20 });
  });

  it('tells listeners of each change', async () => {
    const ledger = await open();
    const seen: number[] = [];
    const unsubscribe = ledger.onChange(() => seen.push(ledger.free().memoryMb));
    await ledger.reserve({ id: 'a', owner: 'dea', memoryMb: 10, diskMb: 20 });
    await ledger.release('a');
    unsubscribe();
    await ledger.reserve({ id: 'b', owner: 'dea', memoryMb: 10, diskMb: 20 });
    expect(seen).to.deep.equal([990, 1000]);
  });

  it('does not guess when its file is damaged', async () => {
    await writeFile(path, '{"reservations": [{"id": 3}]}');
    expect(await rejection(open()))
      .to.be.instanceOf(Error)
      .with.property('message')
      .that.contains('is damaged');
  });

  it('never oversells, and remembers exactly what was granted, whatever two fronts do at once', async function () {
    this.timeout(60_000);
    const request = fc.record({
      kind: fc.constantFrom('reserve', 'release', 'shrink'),
      id: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      owner: fc.constantFrom('dea' as const, 'rep' as const, 'staging' as const),
      memoryMb: fc.integer({ min: 0, max: 700 }),
      diskMb: fc.integer({ min: 0, max: 1500 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 25 }), async (requests) => {
        await rm(path, { force: true });
        const ledger = await open();
        ledger.onChange(() => {
          expect(ledger.free().memoryMb).to.be.at.least(0);
          expect(ledger.free().diskMb).to.be.at.least(0);
        });
        await Promise.all(
          requests.map(async ({ kind, id, owner, memoryMb, diskMb }) => {
            if (kind === 'release') return ledger.release(id);
            if (kind === 'shrink') return ledger.shrink(id, { memoryMb, diskMb });
            return ledger.reserve({ id, owner, memoryMb, diskMb }).catch((error: unknown) => {
              const isRefusal =
                error instanceof InsufficientResourcesError || error instanceof DuplicateReservationError;
              if (!isRefusal) throw error;
            });
          }),
        );
        expect((await open()).list()).to.have.deep.members(ledger.list());
      }),
      { numRuns: 60 },
    );
  });
});
