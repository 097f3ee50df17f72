import { expect } from 'chai';
import fc from 'fast-check';
import { collectRows, type Rows } from '../../../lib/bbs/decisions/actual-lrps/rows.js';
import { countLrps } from '../../../lib/bbs/decisions/convergence/census.js';
import {
  applyStep,
  type ConvergenceView,
  type LrpStep,
  planLrps,
} from '../../../lib/bbs/decisions/convergence/lrps.js';
import { DesiredLRP, MetricTagValue, ProtoRoutes } from '../../../lib/bbs/messages/models.js';
import {
  claimed,
  crashed,
  evacuating,
  i,
  internalRoutes,
  j,
  moment,
  running,
  second,
  since,
  suspect,
  unclaimed,
} from './instances.js';

const desired = DesiredLRP.create({
  processGuid: 'p',
  domain: 'd',
  instances: 1,
  routes: ProtoRoutes.create({ routes: new Map([['internal-router', Buffer.from(JSON.stringify(internalRoutes))]]) }),
  metricTags: new Map([['source_id', MetricTagValue.create({ static: 'p' })]]),
});
const view: ConvergenceView = { now: since + 10n * second, freshDomains: new Set(['d']), cells: new Set(['c', 'e']) };
const later = { now: since + 31n * second };
const stale = { freshDomains: new Set<string>() };
const without = (cell: string) => ({ cells: new Set(['c', 'e'].filter((other) => other !== cell)) });

function plan(
  lrp: Partial<DesiredLRP> | undefined,
  indices: Record<number, Rows>,
  changes: Partial<ConvergenceView> = {},
) {
  const image = {
    desired: new Map(lrp ? [['p', { ...desired, ...lrp }]] : []),
    actual: new Map([['p', new Map(Object.entries(indices).map(([index, rows]) => [Number(index), rows]))]]),
  };
  return planLrps(image, { ...view, ...changes });
}

function kinds(steps: readonly LrpStep[]): string {
  return steps.map(({ kind }) => kind).join(' ');
}

/** docs/protocol/bbs.md §12.1 */
const cases: [
  what: string,
  desired: Partial<DesiredLRP> | undefined,
  rows: Rows,
  changes: Partial<ConvergenceView>,
  expected: string,
][] = [
  ['nothing for what runs as it should', {}, { ordinary: running(i) }, {}, ''],
  ['nothing for what has just been unclaimed', {}, { ordinary: unclaimed() }, {}, ''],
  ['another auction for what was unclaimed half a minute ago', {}, { ordinary: unclaimed() }, later, 'restart'],
  ['nothing for a claim on a cell that is there', {}, { ordinary: claimed(i) }, later, ''],
  ['suspicion for an instance whose cell is gone', {}, { ordinary: running(i) }, without('c'), 'lose-cell'],
  [
    'suspicion for every instance when all cells are gone',
    {},
    { ordinary: claimed(i) },
    { cells: new Set() },
    'lose-cell',
  ],
  ['nothing while the cells are not known', {}, { ordinary: running(i) }, { cells: undefined }, ''],
  ['a restart when the wait after a crash is over', {}, { ordinary: crashed(3) }, later, 'restart'],
  ['nothing before that', {}, { ordinary: crashed(4) }, later, ''],
  ['a retirement for an index too many', { instances: 0 }, { ordinary: running(i) }, {}, 'retire'],
  ['nothing for it in a stale domain', { instances: 0 }, { ordinary: running(i) }, stale, ''],
  [
    'the end of a suspect that nobody wants',
    { instances: 0 },
    { suspect: suspect(running(j)) },
    without('e'),
    'dismiss',
  ],
  ['a promotion of it first when its cell is back', { instances: 0 }, { suspect: suspect(running(j)) }, {}, 'promote'],
  [
    'nothing for it while its domain is stale',
    { instances: 0 },
    { suspect: suspect(running(j)) },
    { ...stale, ...without('e') },
    '',
  ],
  ['a retirement for an orphan', undefined, { ordinary: unclaimed() }, {}, 'retire'],
  ['both rows of an orphan', undefined, { ordinary: running(i), suspect: suspect(running(j)) }, {}, 'retire dismiss'],
  ['nothing for it in a stale domain either', undefined, { ordinary: unclaimed() }, stale, ''],
  [
    'the end of a suspect whose replacement runs',
    {},
    { ordinary: running(i), suspect: suspect(running(j)) },
    {},
    'dismiss',
  ],
  ['a promotion when the cell is back', {}, { ordinary: unclaimed(), suspect: suspect(running(j)) }, later, 'promote'],
  ['a promotion also where the replacement is missing', {}, { suspect: suspect(running(j)) }, {}, 'promote'],
  [
    'patience with a suspect whose cell is still gone',
    {},
    { ordinary: claimed(i), suspect: suspect(running(j)) },
    without('e'),
    '',
  ],
  [
    'no end of a suspect whose replacement is lost too',
    {},
    { ordinary: running(i), suspect: suspect(running(j)) },
    { cells: new Set() },
    'lose-cell',
  ],
  [
    'the end of what evacuates from a cell that is gone',
    {},
    { ordinary: running(i), evacuating: evacuating(running(j)) },
    without('e'),
    'dismiss',
  ],
  ['an update for other internal routes', {}, { ordinary: running(i, { actualLrpInternalRoutes: [] }) }, {}, 'update'],
  [
    'an update for other metric tags',
    {},
    { ordinary: running(i, { metricTags: new Map([['a', 'b']]) }) },
    {},
    'update',
  ],
  ['nothing for an instance that never told its tags', {}, { ordinary: running(i, { metricTags: new Map() }) }, {}, ''],
];

describe('convergence of LRPs', () => {
  for (const [what, lrp, rows, changes, expected] of cases) {
    it(`plans ${what}`, () => {
      expect(kinds(plan(lrp, { 0: rows }, changes))).to.equal(expected);
    });
  }

  it('creates missing indices, fresh or not, also where there is one too many', () => {
    const steps = plan({ instances: 3 }, { 0: { ordinary: running(i) }, 5: { ordinary: running(j) } }, stale);
    expect(steps.map((step) => step.kind === 'create' && step.key.index)).to.deep.equal([1, 2]);
  });

  it('retires the one too many when the domain is fresh', () => {
    const steps = plan({ instances: 3 }, { 0: { ordinary: running(i) }, 5: { ordinary: running(j) } });
    expect(kinds(steps)).to.equal('retire create create');
  });

  it('updates only what differs', () => {
    const [step] = plan({}, { 0: { ordinary: running(i, { actualLrpInternalRoutes: [] }) } });
    expect(step).to.have.nested.property('update.internalRoutes').that.deep.equals(internalRoutes);
    expect(step).not.to.have.nested.property('update.metricTags');
  });

  it('takes internal routes in another order for the same', () => {
    const hosts = ['a', 'b'].map((hostname) => ({ hostname }));
    const routes = ProtoRoutes.create({ routes: new Map([['internal-router', Buffer.from(JSON.stringify(hosts))]]) });
    const row = running(i, { actualLrpInternalRoutes: [...hosts].reverse() });
    expect(plan({ routes }, { 0: { ordinary: row } })).to.deep.equal([]);
  });

  it('does nothing to an instance that has started since it was planned', () => {
    const [step] = plan({ instances: 0 }, { 0: { ordinary: unclaimed() } });
    const rows = { ordinary: running(i, { modificationTag: { epoch: 'epoch', index: 6 } }) };
    if (step?.kind === 'update') throw new Error('not expected');
    const outcome = applyStep(rows, step!, { ...moment, isCellPresent: () => true });
    expect(outcome).to.deep.equal({ after: rows, changes: [], isStartWanted: false, stops: [] });
  });

  it('counts what it saw', () => {
    const rows = [
      { ordinary: running(i), suspect: suspect(running(j)) },
      { ordinary: crashed(3) },
      { ordinary: unclaimed() },
      { ordinary: claimed({ instanceGuid: 'x', cellId: 'gone' }) },
    ];
    const image = {
      desired: new Map([['p', { ...desired, instances: 5 }]]),
      actual: new Map([['p', new Map(rows.entries())]]),
    };
    expect(countLrps(image, view, planLrps(image, view))).to.deep.equal({
      LRPsDesired: 5,
      LRPsUnclaimed: 1,
      LRPsClaimed: 1,
      LRPsRunning: 1,
      CrashedActualLRPs: 1,
      CrashingDesiredLRPs: 1,
      LRPsMissing: 1,
      LRPsExtra: 0,
      SuspectRunningActualLRPs: 1,
      SuspectClaimedActualLRPs: 0,
      PresentCells: 2,
      SuspectCells: 1,
    });
  });
});

describe('convergence of any rows', () => {
  const cells = fc.constantFrom('c', 'e', 'gone');
  const occupied = fc
    .tuple(fc.constantFrom(claimed, running), fc.constantFrom('1', '2', '3'), cells)
    .map(([make, instanceGuid, cellId]) => make({ instanceGuid, cellId }));
  const ordinary = fc.oneof(
    occupied,
    fc.constant(unclaimed()),
    fc.integer({ min: 3, max: 200 }).map((count) => crashed(count)),
  );
  const rowsOfIndex = fc
    .tuple(fc.option(ordinary), fc.option(occupied), fc.option(occupied))
    .map(([first, second, third]) =>
      collectRows(
        [first, second && suspect(second), third && evacuating({ ...third, state: 'RUNNING' })].filter(
          (row) => row !== null,
        ),
      ),
    );

  /** Everything that is planned is done at once, reps do as they are told, and the auctioneer finds no cell. */
  function pass(indices: Map<number, Rows>, instances: number, now: bigint): Map<number, Rows> {
    const image = { desired: new Map([['p', { ...desired, instances }]]), actual: new Map([['p', indices]]) };
    const after = new Map(indices);
    for (const step of planLrps(image, { ...view, now })) {
      if (step.kind === 'update') continue;
      const { index } = 'key' in step ? step.key : step.row.actualLrpKey;
      const outcome = applyStep(after.get(index) ?? {}, step, { ...moment, now, isCellPresent: (id) => id !== 'gone' });
      after.set(index, outcome.stops.length > 0 ? { ...outcome.after, ordinary: undefined } : outcome.after);
    }
    return after;
  }

  it('ends with exactly the wanted indices, and nobody on lost cells but suspects', () => {
    const indices = fc.array(rowsOfIndex, { maxLength: 4 });
    fc.assert(
      fc.property(indices, fc.integer({ min: 0, max: 4 }), (list, instances) => {
        const placed = list.map((rows, index) => [index, placeAt(rows, index)] as const);
        let after = new Map<number, Rows>(placed);
        for (let round = 1n; round <= 4n; round += 1n) after = pass(after, instances, since + round * 31n * second);
        for (const [index, rows] of after) {
          expect(rows.ordinary !== undefined, `index ${index}`).to.equal(index < instances);
          for (const row of [rows.ordinary, rows.evacuating]) {
            expect(row?.actualLrpInstanceKey.cellId).not.to.equal('gone');
          }
          if (!rows.suspect) continue;
          expect(index).to.be.below(instances);
          expect(rows.suspect.actualLrpInstanceKey.cellId).to.equal('gone');
        }
        for (let index = 0; index < instances; index += 1) expect(after.get(index)?.ordinary).not.to.equal(undefined);
      }),
    );
  });

  function placeAt(rows: Rows, index: number): Rows {
    const list = Object.values(rows).filter((row) => row !== undefined);
    return collectRows(list.map((row) => ({ ...row, actualLrpKey: { ...row.actualLrpKey, index } })));
  }
});
