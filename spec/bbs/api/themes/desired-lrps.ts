import { expect } from 'chai';
import {
  ActualLRPPresence,
  MetricTagValue,
  MetricTagValueDynamicValue,
  ProtoRoutes,
} from '../../../../lib/bbs/messages/models.js';
import { type Caller, netInfo, refusal } from '../../../support/board/caller.js';
import { Watch } from '../../../support/board/watch.js';
import { eventually } from '../../../support/eventually.js';

const trace = '4bf92f35-77b3-4da6-a3ce-929d0e0e4736';
const guidPattern = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** docs/protocol/bbs.md §6 */
export function itKeepsDesiredLrps(caller: () => Caller): void {
  describe('desired LRPs', () => {
    it('get their instances at once, and the auctioneer is asked once', async () => {
      const watch = await Watch.open(caller(), 'LRPInstanceEventStream');
      await caller().desire('p', { instances: 3, placementTags: ['gpu'] }, trace);
      const rows = await caller().rows('p');
      expect(rows.map(({ actualLrpKey }) => actualLrpKey.index)).to.deep.equal([0, 1, 2]);
      for (const row of rows) {
        expect(row).to.deep.include({ state: 'UNCLAIMED', presence: ActualLRPPresence.ORDINARY, routable: false });
        expect(row.modificationTag.index).to.equal(0);
        expect(row.modificationTag.epoch).to.match(guidPattern);
      }
      expect(new Set(rows.map(({ modificationTag }) => modificationTag.epoch)).size).to.equal(3);
      const requests = await caller().auctions();
      expect(requests).to.have.length(1);
      expect(requests[0]!.headers['x-vcap-request-id']).to.equal(trace);
      const [element, ...others] = requests[0]!.body as { indices: number[] }[];
      expect(others).to.deep.equal([]);
      expect({ ...element, indices: [...element!.indices].sort() }).to.deep.equal({
        ...{ process_guid: 'p', domain: 'd', indices: [0, 1, 2], PlacementTags: ['gpu'], VolumeDrivers: [] },
        ...{ RootFs: 'preloaded:cflinuxfs4', MemoryMB: 128, DiskMB: 256, MaxPids: 0 },
      });
      const events = await watch.told();
      watch.stop();
      expect(events.map(({ name }) => name)).to.deep.equal([
        'desired_lrp_created',
        ...Array(3).fill('actual_lrp_instance_created'),
      ]);
      for (const { message } of events) expect(message).to.have.property('traceId', trace);
    });

    it('exist once', async () => {
      await caller().desire('p');
      await caller().auctions();
      expect(await refusal(caller().desire('p'))).to.equal('ResourceExists: the requested resource already exists');
      expect(await caller().auctions()).to.deep.equal([]);
    });

    it('count their modification tag on, also when an update says nothing', async () => {
      const watch = await Watch.open(caller(), 'LRPInstanceEventStream');
      await caller().desire('p', { modificationTag: { epoch: 'mine', index: 7 } });
      const { epoch } = (await caller().desired('p')).modificationTag!;
      expect(epoch).to.match(guidPattern);
      await caller().update('p', { annotation: 'new' });
      expect((await caller().desired('p')).modificationTag).to.deep.equal({ epoch, index: 1 });
      await caller().update('p', {});
      const after = await caller().desired('p');
      expect(after.modificationTag).to.deep.equal({ epoch, index: 2 });
      expect(after.annotation).to.equal('new');
      const changes = (await watch.told()).filter(({ name }) => name === 'desired_lrp_changed');
      watch.stop();
      expect(changes).to.have.length(2);
      expect(changes[0]).to.have.deep.nested.property('message.after.modificationTag', { epoch, index: 1 });
      expect(changes[1]).to.have.deep.nested.property('message.after.modificationTag', { epoch, index: 2 });
    });

    it('lose instances only when the update says how many', async () => {
      await caller().desire('p', { instances: 2 });
      await caller().update('p', { annotation: 'a' });
      expect(await caller().brief('p')).to.deep.equal(['UNCLAIMED', 'UNCLAIMED']);
      await caller().update('p', { instances: 0 });
      expect(await caller().brief('p')).to.deep.equal([]);
      expect((await caller().desired('p')).instances).to.equal(0);
    });

    it('get more instances, of which the auctioneer hears', async () => {
      await caller().desire('p');
      await caller().auctions();
      await caller().update('p', { instances: 3 });
      expect(await caller().auctioned()).to.deep.equal(['p/1', 'p/2']);
    });

    it('stop instances that run, whose rows stay until their rep reports', async () => {
      const { board } = caller();
      await caller().desire('p', { instances: 3 });
      await caller().start('p', 1, 'i1/c1');
      await caller().claim('p', 2, 'i2/nowhere');
      await caller().removeDesired('p');
      await eventually(() => board.rep.requests.length > 0 || undefined, { what: 'a request to stop' });
      expect(board.rep.requests.map(({ method, path, body }) => [method, path, body])).to.deep.equal([
        ['POST', '/v1/lrps/p/instances/i1/stop', undefined],
      ]);
      expect(await caller().brief('p')).to.deep.equal(['RUNNING i1/c1', 'CLAIMED i2/nowhere']);
      expect(await refusal(caller().removeDesired('p'))).to.match(/^ResourceNotFound/);
    });

    it('tell reps of new internal routes and tags, and of those only', async () => {
      const { board } = caller();
      const routes = (value: string) =>
        ProtoRoutes.create({ routes: new Map([['internal-router', Buffer.from(value)]]) });
      await caller().desire('p', { routes: routes('[{"hostname":"a.apps.internal"}]') });
      await caller().start('p', 0, 'i/c1', { actualLrpNetInfo: netInfo });
      await caller().update('p', { routes: routes(' [ {"hostname":"a.apps.internal"} ] ') });
      await caller().update('p', { routes: routes('[{"hostname":"b.apps.internal"}]') });
      const told = async (count: number) => {
        const { requests } = board.rep;
        await eventually(() => requests.length >= count || undefined, { what: `${count} requests to the rep` });
        return requests.map(({ method, path, body }) => [method, path, body]);
      };
      const instance = { instance_guid: 'i', process_guid: 'p', index: 0, domain: 'd' };
      const put = (changes: object) => ['PUT', '/v2/lrps/p/instances/i', { ...instance, ...changes }];
      const newRoutes = put({ internal_routes: [{ hostname: 'b.apps.internal' }], metric_tags: null });
      expect(await told(1)).to.deep.equal([newRoutes]);
      const tags = {
        source_id: MetricTagValue.create({ static: 'p' }),
        instance_id: MetricTagValue.create({ dynamic: MetricTagValueDynamicValue.INDEX }),
      };
      await caller().update('p', { metricTags: new Map(Object.entries(tags)) });
      const newTags = put({ internal_routes: null, metric_tags: { source_id: 'p', instance_id: '0' } });
      expect(await told(2)).to.deep.equal([newRoutes, newTags]);
      // Routes of others, and a map that loses its internal ones.
      const others = ProtoRoutes.create({ routes: new Map([['cf-router', Buffer.from('[]')]]) });
      await caller().update('p', { routes: others });
      await caller().update('p', { routes: others, annotation: 'again' });
      const noRoutes = put({ internal_routes: [], metric_tags: null });
      expect(await told(3)).to.deep.equal([newRoutes, newTags, noRoutes]);
    });

    it('keep routes byte for byte, but for white space and what HTML would mind', async () => {
      const sent = '[ {"a": 1.0, "big":12345678901234567890 , "h":"<&>\u2028", "a":2} ]';
      const stored = '[{"a":1.0,"big":12345678901234567890,"h":"\\u003c\\u0026\\u003e\\u2028","a":2}]';
      await caller().desire('p', { routes: ProtoRoutes.create({ routes: new Map([['r', Buffer.from(sent)]]) }) });
      expect((await caller().desired('p')).routes?.routes.get('r')?.toString()).to.equal(stored);
      const broken = ProtoRoutes.create({ routes: new Map([['r', Buffer.from('{')]]) });
      expect(await refusal(caller().update('p', { routes: broken }))).to.equal(
        'InvalidRequest: the request received is invalid',
      );
      await caller().update('p', { routes: ProtoRoutes.create() });
      expect((await caller().desired('p')).routes?.routes.size).to.equal(0);
    });

    it('must fit the columns of the database', async () => {
      const invalid = 'InvalidRequest: the request received is invalid';
      expect(await refusal(caller().desire('p'.repeat(256)))).to.equal(invalid);
      expect(await refusal(caller().desire('p', { rootFs: `preloaded:${'x'.repeat(1024)}` }))).to.equal(invalid);
      await caller().desire('p', { domain: '😀'.repeat(255), annotation: '😀' });
      expect((await caller().desired('p')).annotation).to.equal('😀');
    });

    it('survive the board', async () => {
      await caller().desire('p', { instances: 2, annotation: 'note' });
      await caller().start('p', 1, 'i/c1');
      await caller().desireTask('t', { annotation: 'note' });
      await caller().call('UpsertDomain', { domain: 'kept', ttl: 0 });
      const read = async () => [
        await caller().desired('p'),
        await caller().rows('p'),
        await caller().task('t'),
        (await caller().call('Domains')).domains.includes('kept'),
      ];
      const before = await read();
      await caller().board.restart();
      expect(await read()).to.deep.equal(before);
    });
  });
}
