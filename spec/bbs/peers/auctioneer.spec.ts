import { expect } from 'chai';
import {
  DesiredLRPSchedulingInfo,
  Task,
  TaskDefinition,
  VolumeMount,
  VolumePlacement,
} from '../../../lib/bbs/messages/models.js';
import { Auctioneer } from '../../../lib/bbs/peers/auctioneer.js';
import { PeerClient } from '../../../lib/bbs/peers/peer-client.js';
import type { Logger } from '../../../lib/logging/logger.js';
import { type PlayedPeer, startPlayedPeer } from '../../support/bbs.js';
import { eventually } from '../../support/eventually.js';
import { type RecordedLine, recordingLogger } from '../../support/recording-logger.js';

/** docs/protocol/bbs.md §13 */
describe('Auctioneer', () => {
  let played: PlayedPeer;
  let client: PeerClient;
  let logger: Logger;
  let lines: RecordedLine[];
  let auctioneer: Auctioneer;

  beforeEach(async () => {
    played = await startPlayedPeer();
    client = new PeerClient({ timeoutMs: 2000, connections: 2 });
    ({ logger, lines } = recordingLogger());
    auctioneer = new Auctioneer({ address: played.url, requireTls: false, client, logger });
  });

  afterEach(async () => {
    await auctioneer.stop();
    await client.stop();
    await played.stop();
  });

  const start = (processGuid: string, fields: Partial<DesiredLRPSchedulingInfo> = {}) => ({
    info: DesiredLRPSchedulingInfo.create({ desiredLrpKey: { processGuid, domain: 'd', logGuid: '' }, ...fields }),
    indices: [1, 0],
  });

  async function asked(count: number): Promise<PlayedPeer['requests']> {
    await eventually(() => played.requests.length >= count || undefined, { what: `${count} requests` });
    return played.requests;
  }

  it('is told of volumes and tags', async () => {
    const volumePlacement = VolumePlacement.create({ driverNames: ['nfs', 'nfs'] });
    auctioneer.lrps([start('p', { volumePlacement, placementTags: ['a'] })], '');
    const volumeMounts = [VolumeMount.create({ driver: 'smb' })];
    const taskDefinition = TaskDefinition.create({ volumeMounts, rootFs: 'docker:///x', maxPids: 3 });
    auctioneer.tasks([Task.create({ taskGuid: 't', taskDefinition })], '');
    const requests = await asked(2);
    const bodies = new Map(requests.map(({ path, body }) => [path, (body as object[])[0]]));
    expect(bodies.get('/v1/lrps')).to.deep.include({
      ...{ process_guid: 'p', indices: [1, 0], VolumeDrivers: ['nfs', 'nfs'], PlacementTags: ['a'] },
    });
    expect(bodies.get('/v1/tasks')).to.deep.include({
      ...{ TaskGuid: 't', VolumeDrivers: ['smb'], PlacementTags: null, RootFs: 'docker:///x', MaxPids: 3 },
    });
  });

  it('is told of what comes meanwhile at once, under the request where all come of one', async () => {
    auctioneer.lrps([start('first')], 'one');
    auctioneer.lrps([start('second')], 'two');
    auctioneer.lrps([start('third')], 'two');
    await eventually(() => played.requests.some(({ body }) => JSON.stringify(body).includes('third')) || undefined, {
      what: 'the last one',
    });
    const guids = played.requests.map(({ headers, body }) => [
      headers['x-vcap-request-id'],
      (body as { process_guid: string }[]).map(({ process_guid }) => process_guid),
    ]);
    expect(guids).to.deep.equal([
      ['one', ['first']],
      ['two', ['second', 'third']],
    ]);
  });

  it('is not told of more than it can take at a time', async () => {
    auctioneer.lrps(
      Array.from({ length: 2500 }, (_, index) => start(`p${index}`)),
      '',
    );
    const requests = await asked(3);
    expect(requests.map(({ body }) => (body as object[]).length)).to.deep.equal([1000, 1000, 500]);
  });

  it('is asked without TLS where it has none, unless it must have it', async () => {
    const address = played.url.replace('http:', 'https:');
    const lenient = new Auctioneer({ address, requireTls: false, client, logger });
    lenient.lrps([start('p')], '');
    await asked(1);
    await lenient.stop();
    const strict = new Auctioneer({ address, requireTls: true, client, logger });
    strict.lrps([start('p')], '');
    await eventually(() => lines.find(({ message }) => message === 'bbs.auction.not-requested'));
    await strict.stop();
    expect(played.requests).to.have.length(1);
  });

  it('does not have to accept', async () => {
    played.status = 503;
    auctioneer.lrps([start('p')], '');
    const line = await eventually(() => lines.find(({ message }) => message === 'bbs.auction.refused'));
    expect(line.data).to.deep.include({ path: '/v1/lrps', status: 503, count: 1 });
  });
});
