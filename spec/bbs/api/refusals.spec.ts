import { expect } from 'chai';
import { MetricTagValue, ProtoRoutes } from '../../../lib/bbs/messages/models.js';
import type { CallName } from '../../../lib/bbs/routes.js';
import { startBbs } from '../../support/bbs.js';
import { field, hex } from '../../support/board/bytes.js';
import { Caller, refusal } from '../../support/board/caller.js';
import { readByTables } from '../../support/board/message-tables.js';
import { exchange } from '../../support/board/raw-exchange.js';
import { eventually } from '../../support/eventually.js';
import { startMetron } from '../../support/metron.js';

const invalid = (...names: string[]) => `InvalidRequest: ${names.map((name) => `Invalid field: ${name}`).join(', ')}`;
const invalidRequest = 'InvalidRequest: the request received is invalid';

/** docs/protocol/bbs.md §4, as far as it is seen from outside; spec/bbs/validation has every finding. */
describe('a request that is not valid', () => {
  let caller: Caller;

  before(async () => {
    caller = new Caller(await startBbs({ config: { max_request_bytes: 1_500_000 } }));
  });

  after(() => caller.board.stop());

  const cases: [CallName, object, string][] = [
    ['UpsertDomain', {}, invalid('domain')],
    ['ActualLRPsByProcessGuids', {}, 'InvalidRequest: process_guids must not be empty'],
    ['ActualLRPGroupsByProcessGuid', {}, invalid('process_guid')],
    ['ActualLRPGroupsByProcessGuidAndIndex', { index: -1 }, invalid('process_guid', 'index')],
    ['ClaimActualLRP', { index: -1 }, invalid('process_guid', 'actual_lrp_instance_key')],
    [
      'StartActualLRP',
      {
        actualLrpKey: { processGuid: '', index: -1, domain: '' },
        actualLrpInstanceKey: { instanceGuid: '', cellId: '' },
      },
      invalid('process_guid', 'index', 'domain', 'cell_id', 'instance_guid', 'actual_lrp_net_info'),
    ],
    ['CrashActualLRP', {}, invalid('actual_lrp_key', 'actual_lrp_instance_key')],
    ['FailActualLRP', {}, invalid('actual_lrp_key', 'error_message')],
    ['RetireActualLRP', { actualLrpKey: { processGuid: 'p', index: 0, domain: '' } }, invalid('domain')],
    ['RemoveActualLRP', {}, invalid('process_guid')],
    ['EvacuateCrashedActualLRP', {}, invalid('actual_lrp_key', 'actual_lrp_instance_key', 'error_message')],
    ['DesireDesiredLRP', {}, invalid('desired_lrp')],
    ['DesiredLRPByProcessGuid', {}, invalid('process_guid')],
    ['DesireTask', { taskGuid: 'a b' }, invalid('task_guid', 'domain', 'task_definition')],
    ['StartTask', { taskGuid: 'é' }, invalid('task_guid', 'cell_id')],
    ['CompleteTask', {}, invalid('task_guid', 'cell_id')],
    ['FailTask', { taskGuid: 't' }, invalid('failure_reason')],
    ['RejectTask', { taskGuid: 't' }, invalid('failure_reason')],
    ['CancelTask', {}, invalid('task_guid')],
  ];
  for (const [name, request, expected] of cases) {
    it(`is told all that is wrong: ${name}`, async () => {
      expect(await refusal(caller.call(name, request))).to.equal(expected);
    });
  }

  it('desires without a metric tag', async () => {
    expect(await refusal(caller.desire('p', { metricTags: new Map() }))).to.equal(invalid('metric_tags'));
    const other = { metricsGuid: 'm', metricTags: new Map([['source_id', MetricTagValue.create({ static: 'x' })]]) };
    expect(await refusal(caller.desire('p', other))).to.equal(
      invalid('metric_tags', 'source_id should match metrics_guid'),
    );
  });

  it('desires with a guid of other characters, or without a root filesystem', async () => {
    expect(await refusal(caller.desire('bad guid!'))).to.equal(invalid('process_guid'));
    expect(await refusal(caller.desire('p', { rootFs: '' }))).to.equal(invalid('rootfs', 'rootfs'));
    expect(await refusal(caller.desire('p', { rootFs: 'no-scheme' }))).to.equal(invalid('rootfs'));
    expect(await refusal(caller.desire('p', { action: undefined }))).to.equal('InvalidRequest: invalid action type');
  });

  it('has too long an annotation, by a byte', async () => {
    await caller.desire('annotated', { annotation: 'é'.repeat(5120) });
    const tooLong = `${'é'.repeat(5120)}x`;
    expect(await refusal(caller.desire('p', { annotation: tooLong }))).to.equal(invalid('annotation'));
    expect(await refusal(caller.update('annotated', { annotation: tooLong }))).to.equal(invalid('annotation'));
    expect(await refusal(caller.desireTask('t', { annotation: tooLong }))).to.equal(invalid('annotation'));
    await caller.desireTask('annotated', { annotation: 'x'.repeat(10_240) });
  });

  it('has too large routes, by a byte', async () => {
    const routes = (...lengths: number[]) =>
      ProtoRoutes.create({
        routes: new Map(
          lengths.map((length, index) => [`router-${index}`, Buffer.from(`"${'x'.repeat(length - 2)}"`)]),
        ),
      });
    await caller.desire('routed', { routes: routes(131_000, 72) });
    expect((await caller.desired('routed')).routes?.routes.get('router-0')).to.have.length(131_000);
    expect(await refusal(caller.desire('p', { routes: routes(131_000, 73) }))).to.equal(invalid('routes'));
    expect(await refusal(caller.update('routed', { routes: routes(131_073) }))).to.equal(invalid('routes'));
  });

  it('mounts too large files, by a byte', async () => {
    const file = (length: number) => [{ path: 'f', content: 'x'.repeat(length) }];
    await caller.desire('mounted', { volumeMountedFiles: file(1_048_576) });
    expect(await refusal(caller.desire('p', { volumeMountedFiles: file(1_048_577) }))).to.equal(
      invalid('volumeMountedFiles', 'volumeMountedFiles'),
    );
  });

  it('is larger than the board takes', async () => {
    const { status, headers, body } = await exchange(`${caller.board.url}/v1/desired_lrp/desire.r2`, {
      body: Buffer.alloc(1_500_001),
    });
    expect([status, headers.connection]).to.deep.equal([200, 'close']);
    expect(readByTables('DesiredLRPLifecycleResponse', body)).to.deep.equal({
      error: { type: 'InvalidRequest', message: 'the request body is larger than 1500000 bytes' },
    });
  });

  it('has text that is not UTF-8', async () => {
    const bytes = field(1, hex('70 ff'));
    const { body } = await exchange(`${caller.board.url}/v1/desired_lrp/remove`, { body: bytes });
    const { error } = readByTables('DesiredLRPLifecycleResponse', body) as { error: { type: string; message: string } };
    expect(`${error.type}: ${error.message}`).to.equal(invalidRequest);
  });

  it('is nested beyond all reason', async () => {
    let action = Buffer.from('');
    for (let depth = 0; depth < 2000; depth += 1) action = field(8, field(1, action)) as Buffer<ArrayBuffer>;
    const { body } = await exchange(`${caller.board.url}/v1/desired_lrp/desire.r2`, {
      body: field(1, field(7, action)),
    });
    expect(readByTables('DesiredLRPLifecycleResponse', body)).to.have.nested.property('error.type', 'InvalidRequest');
  });

  it('changes nothing', async () => {
    const { desiredLrps } = await caller.call('DesiredLRPs');
    expect(desiredLrps.map(({ processGuid }) => processGuid).sort()).to.deep.equal(['annotated', 'mounted', 'routed']);
    expect((await caller.call('Tasks')).tasks.map(({ taskGuid }) => taskGuid)).to.deep.equal(['annotated']);
  });
});

/** docs/protocol/bbs.md §4.5 */
describe('an LRP that is refused', () => {
  it('is told of in the log of its app', async () => {
    const metron = await startMetron();
    const board = await startBbs({ config: { dropsonde_port: metron.port } });
    try {
      const caller = new Caller(board);
      const app = '2a0b3f3c-0000-4000-8000-0123456789ab';
      const guid = `${app}-7e57ab1e-0000-4000-8000-000000000000`;
      await refusal(caller.desire(guid, { rootFs: 'no address' }));
      await caller.desire(guid, { instances: 0 });
      await refusal(caller.update(guid, { instances: -1 }));
      await refusal(caller.call('RemoveDesiredLRP', { processGuid: '' }));
      const logs = await eventually(() => (metron.logs(app).length >= 2 ? metron.logs(app) : undefined), {
        what: 'two lines',
      });
      const beginning = `Error parsing request for app with guid ${app}`;
      expect(logs.map(({ text }) => text)).to.deep.equal([
        `${beginning}, DesireLRPRequest, Invalid field: rootfs`,
        `${beginning}, UpdateDesiredLRPRequest, Invalid field: instances`,
      ]);
      for (const log of logs) expect(log).to.include({ type: 'ERR', sourceType: 'DIEGO-API' });
      const tags = metron.envelopes.filter(({ log }) => log).map((envelope) => envelope.tags);
      expect(tags).to.deep.equal([{ source_id: app }, { source_id: app }]);
    } finally {
      await board.stop();
      await metron.stop();
    }
  });
});
