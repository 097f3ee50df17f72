import { expect } from 'chai';
import fc from 'fast-check';
import { listRows, type Rows } from '../../../lib/bbs/decisions/actual-lrps/rows.js';
import { ActualRows } from '../../../lib/bbs/image/actual-rows.js';
import { DesiredRows } from '../../../lib/bbs/image/desired-rows.js';
import { elementOf, messageOf } from '../../../lib/bbs/image/element.js';
import { decode, encode } from '../../../lib/bbs/messages/codec.js';
import {
  ActualLRP,
  ActualLRPsRequest,
  ActualLRPsResponse,
  DesiredLRP,
  DesiredLRPResponse,
  DesiredLRPsRequest,
  DesiredLRPsResponse,
  MetricTagValue,
} from '../../../lib/bbs/messages/models.js';
import { claimed, evacuating, running, unclaimed } from '../decisions/instances.js';

describe('rows in memory', () => {
  it('stand in responses as their encoder would put them there, however long they are', () => {
    const lengths = fc.integer({ min: 0, max: 40_000 });
    fc.assert(
      fc.property(lengths, (length) => {
        const desiredLrp = DesiredLRP.create({ annotation: 'a'.repeat(length) });
        const element = elementOf(DesiredLRP, desiredLrp);
        expect(element.equals(encode(DesiredLRPResponse, DesiredLRPResponse.create({ desiredLrp })))).to.equal(true);
        expect(messageOf(element).equals(encode(DesiredLRP, desiredLrp))).to.equal(true);
      }),
      { numRuns: 50 },
    );
  });

  describe('of actual LRPs', () => {
    const cells = ['c', 'e'];
    const indices = fc.record({
      processGuid: fc.constantFrom('p', 'q'),
      index: fc.integer({ min: 0, max: 2 }),
      rows: fc.constantFrom('none', 'unclaimed', 'claimed', 'running', 'both'),
      cellId: fc.constantFrom(...cells),
    });

    it('are found by everything that lists are asked for, whatever was changed before', () => {
      fc.assert(
        fc.property(fc.array(indices, { maxLength: 20 }), (changes) => {
          const image = new ActualRows();
          const expected = new Map<string, Rows>();
          for (const { processGuid, index, rows, cellId } of changes) {
            const after = rowsOf(rows, processGuid, index, cellId);
            image.set(processGuid, index, after);
            expected.set(`${processGuid}/${index}`, after);
            // Lists are kept; a change must not leave an old one behind.
            image.list(ActualLRPsRequest.create());
          }
          const all = [...expected.values()].flatMap(listRows);
          expect(image.count).to.equal(all.length);
          const asked: [Partial<ActualLRPsRequest>, (row: ActualLRP) => boolean][] = [
            [{}, () => true],
            [{ domain: 'd' }, () => true],
            [{ domain: 'other' }, () => false],
            ...cells.map((cellId): (typeof asked)[number] => [
              { cellId },
              (row) => row.actualLrpInstanceKey.cellId === cellId,
            ]),
            [{ processGuid: 'p' }, (row) => row.actualLrpKey.processGuid === 'p'],
            [{ processGuid: 'p', index: 0 }, ({ actualLrpKey: k }) => k.processGuid === 'p' && k.index === 0],
            [{ index: 1 }, (row) => row.actualLrpKey.index === 1],
          ];
          for (const [request, isAsked] of asked) {
            const bytes = image.list(ActualLRPsRequest.create(request));
            const { actualLrps } = decode(ActualLRPsResponse, bytes);
            expect(sorted(actualLrps)).to.deep.equal(sorted(all.filter(isAsked)));
          }
        }),
      );
    });
  });

  describe('of desired LRPs', () => {
    const desired = (processGuid: string, domain: string) =>
      DesiredLRP.create({
        processGuid,
        domain,
        metricTags: new Map([['source_id', MetricTagValue.create({ static: processGuid })]]),
        metricsGuid: processGuid,
      });

    it('are listed by domain, guids and apps', () => {
      const image = new DesiredRows();
      const app = '0f9b6c1e-1111-4222-8333-444455556666';
      for (const row of [desired(`${app}-v1`, 'cf-apps'), desired('q', 'd'), desired('r', 'd')]) image.set(row);
      image.list('full', DesiredLRPsRequest.create());
      image.delete('r');
      const guids = (request: Partial<DesiredLRPsRequest>) =>
        decode(DesiredLRPsResponse, image.list('full', DesiredLRPsRequest.create(request))).desiredLrps.map(
          ({ processGuid }) => processGuid,
        );
      expect(guids({})).to.deep.equal([`${app}-v1`, 'q']);
      expect(guids({ domain: 'd' })).to.deep.equal(['q']);
      expect(guids({ processGuids: ['q', 'none', 'q'] })).to.deep.equal(['q']);
      expect(guids({ appGuids: [app] })).to.deep.equal([`${app}-v1`]);
      expect(guids({ domain: 'd', appGuids: [app] })).to.deep.equal([]);
    });

    it('keep of what decisions need the internal routes only', () => {
      const image = new DesiredRows();
      image.set(desired('p', 'd'));
      expect(image.outlines.get('p')).to.deep.include({ processGuid: 'p', domain: 'd', routes: undefined });
      expect(image.get('p')).to.deep.include({ processGuid: 'p', metricsGuid: 'p' });
      expect(image.get('none')).to.equal(undefined);
    });
  });
});

function rowsOf(kind: string, processGuid: string, index: number, cellId: string): Rows {
  const changes = { actualLrpKey: { processGuid, index, domain: 'd' } };
  const instanceKey = { instanceGuid: 'i', cellId };
  switch (kind) {
    case 'unclaimed':
      return { ordinary: unclaimed(changes) };
    case 'claimed':
      return { ordinary: claimed(instanceKey, changes) };
    case 'running':
      return { ordinary: running(instanceKey, changes) };
    case 'both':
      return { ordinary: unclaimed(changes), evacuating: evacuating(running(instanceKey, changes)) };
    default:
      return {};
  }
}

function sorted(rows: readonly ActualLRP[]): string[] {
  return rows.map((row) => encode(ActualLRP, row).toString('hex')).sort();
}
