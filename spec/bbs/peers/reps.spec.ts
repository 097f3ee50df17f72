import { expect } from 'chai';
import { ActualLRP, CellPresence } from '../../../lib/bbs/messages/models.js';
import { OutsideFailure } from '../../../lib/bbs/outside-failure.js';
import { HttpReps } from '../../../lib/bbs/peers/http-reps.js';
import { PeerClient } from '../../../lib/bbs/peers/peer-client.js';
import { type PlayedPeer, startPlayedPeer } from '../../support/bbs.js';
import { refusingUrl, startHttpServer } from '../../support/http-server.js';
import { rejectionOf } from '../../support/rejection.js';

/** docs/protocol/bbs.md §13 */
describe('HttpReps', () => {
  let rep: PlayedPeer;
  let client: PeerClient;
  let reps: HttpReps;
  let cell: CellPresence;
  const instance = ActualLRP.create({
    actualLrpKey: { processGuid: 'p/1', index: 2, domain: 'd' },
    actualLrpInstanceKey: { instanceGuid: 'i', cellId: 'c' },
  });

  beforeEach(async () => {
    rep = await startPlayedPeer();
    client = new PeerClient({ timeoutMs: 2000 });
    reps = new HttpReps(client);
    cell = CellPresence.create({ cellId: 'c', repUrl: rep.url, repAddress: 'http://127.0.0.1:9' });
  });

  afterEach(async () => {
    await client.stop();
    await rep.stop();
  });

  const asked = () => rep.requests.map(({ method, path }) => `${method} ${path}`);

  it('stops an instance, under the request that wants it', async () => {
    await reps.stopInstance(cell, instance, 'trace\r\n1');
    expect(asked()).to.deep.equal(['POST /v1/lrps/p%2F1/instances/i/stop']);
    const [{ headers, body }] = rep.requests as [(typeof rep.requests)[0]];
    expect(headers).to.include({ 'content-type': 'application/json', 'x-vcap-request-id': 'trace1' });
    expect(body).to.equal(undefined);
  });

  it('asks at the older address where there is no other', async () => {
    await reps.cancelTask({ ...cell, repUrl: '', repAddress: rep.url }, 't', '');
    expect(asked()).to.deep.equal(['POST /v1/tasks/t/cancel']);
    expect(rep.requests[0]!.headers).to.have.property('x-vcap-request-id', '');
  });

  it('tells an instance only what changed', async () => {
    await reps.updateInstance(cell, { instance, metricTags: new Map([['a', 'b']]) }, '');
    expect(asked()).to.deep.equal(['PUT /v2/lrps/p%2F1/instances/i']);
    expect(rep.requests[0]!.body).to.deep.equal({
      ...{ instance_guid: 'i', process_guid: 'p/1', index: 2, domain: 'd' },
      ...{ internal_routes: null, metric_tags: { a: 'b' } },
    });
  });

  it('tells a rep of old routes only', async () => {
    const bodies: unknown[] = [];
    const old = await startHttpServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      bodies.push(JSON.parse(Buffer.concat(chunks).toString()));
      response.writeHead(request.url?.startsWith('/v1/') ? 202 : 404).end();
    });
    const oldCell = { ...cell, repUrl: old.url };
    const internalRoutes = [{ hostname: 'h' }];
    await reps.updateInstance(oldCell, { instance, internalRoutes, metricTags: new Map([['a', 'b']]) }, '');
    await reps.updateInstance(oldCell, { instance, metricTags: new Map([['a', 'b']]) }, '');
    await old.stop();
    expect(old.requests).to.deep.equal([
      ...['PUT /v2/lrps/p%2F1/instances/i', 'PUT /v1/lrps/p%2F1/instances/i', 'PUT /v2/lrps/p%2F1/instances/i'],
    ]);
    expect(bodies[1]).to.deep.include({ internal_routes: internalRoutes, metric_tags: null });
  });

  it('says what a rep answered, or that it did not', async () => {
    rep.status = 500;
    for (const call of [
      reps.stopInstance(cell, instance, ''),
      reps.updateInstance(cell, { instance, internalRoutes: [] }, ''),
      reps.cancelTask(cell, 't', ''),
    ]) {
      const error = await rejectionOf(call);
      expect(error).to.be.instanceOf(OutsideFailure).with.property('message', 'the rep of cell c answered 500');
    }
    const gone = { ...cell, repUrl: await refusingUrl() };
    expect(await rejectionOf(reps.stopInstance(gone, instance, ''))).to.be.instanceOf(OutsideFailure);
  });

  it('does not wait for ever', async () => {
    const silent = await startHttpServer(() => {});
    const hasty = new PeerClient({ timeoutMs: 50 });
    const error = await rejectionOf(new HttpReps(hasty).cancelTask({ ...cell, repUrl: silent.url }, 't', ''));
    expect(error)
      .to.be.instanceOf(OutsideFailure)
      .with.property('message')
      .that.matches(/timeout/);
    await hasty.stop();
    await silent.stop();
  });
});
