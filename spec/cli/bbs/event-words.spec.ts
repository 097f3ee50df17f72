import { expect } from 'chai';
import type { BbsEvent } from '../../../lib/bbs/decisions/events/event.js';
import {
  ActualLRP,
  ActualLRPChangedEvent,
  ActualLRPCrashedEvent,
  ActualLRPCreatedEvent,
  ActualLRPGroup,
  ActualLRPInfo,
  ActualLRPInstanceChangedEvent,
  ActualLRPInstanceCreatedEvent,
  ActualLRPInstanceKey,
  ActualLRPKey,
  DesiredLRP,
  DesiredLRPChangedEvent,
  DesiredLRPRemovedEvent,
  Task,
  TaskChangedEvent,
  TaskCreatedEvent,
} from '../../../lib/bbs/messages/models.js';
import { type BbsWords, startBbsWords } from '../../support/bbs-words.js';
import { chunk, type PlayedStream } from '../../support/played-bbs.js';

const key = ActualLRPKey.create({ processGuid: 'p', index: 1, domain: 'd' });
const instanceKey = ActualLRPInstanceKey.create({ instanceGuid: 'i', cellId: 'c' });
const lrp = ActualLRP.create({ actualLrpKey: key, actualLrpInstanceKey: instanceKey, state: 'RUNNING' });
const group = ActualLRPGroup.create({ evacuating: lrp });
const desired = (instances: number) => DesiredLRP.create({ processGuid: 'p', instances });

const events = {
  desiredRemoved: {
    name: 'desired_lrp_removed',
    message: DesiredLRPRemovedEvent.create({ desiredLrp: desired(1), traceId: 't' }),
  },
  desiredChanged: {
    name: 'desired_lrp_changed',
    message: DesiredLRPChangedEvent.create({ before: desired(1), after: desired(2) }),
  },
  groupCreated: { name: 'actual_lrp_created', message: ActualLRPCreatedEvent.create({ actualLrpGroup: group }) },
  groupChanged: {
    name: 'actual_lrp_changed',
    message: ActualLRPChangedEvent.create({ before: ActualLRPGroup.create(), after: group }),
  },
  crashed: {
    name: 'actual_lrp_crashed',
    message: ActualLRPCrashedEvent.create({
      actualLrpKey: key,
      actualLrpInstanceKey: instanceKey,
      crashCount: 3,
      crashReason: 'boom\n<&>',
      since: 1_700_000_000_000_000_000n,
    }),
  },
  created: {
    name: 'actual_lrp_instance_created',
    message: ActualLRPInstanceCreatedEvent.create({ actualLrp: lrp, traceId: 't' }),
  },
  changed: {
    name: 'actual_lrp_instance_changed',
    message: ActualLRPInstanceChangedEvent.create({
      actualLrpKey: key,
      actualLrpInstanceKey: instanceKey,
      before: ActualLRPInfo.create({ state: 'CLAIMED' }),
      after: ActualLRPInfo.create({ state: 'RUNNING' }),
    }),
  },
  taskCreated: { name: 'task_created', message: TaskCreatedEvent.create({ task: Task.create({ taskGuid: 't' }) }) },
  taskChanged: {
    name: 'task_changed',
    message: TaskChangedEvent.create({
      before: Task.create({ taskGuid: 't', state: 1 }),
      after: Task.create({ taskGuid: 't', state: 2, cellId: 'c' }),
    }),
  },
} satisfies Record<string, BbsEvent>;

const deprecation = 'actual_lrp_created, actual_lrp_changed, actual_lrp_removed are deprecated; -x leaves them out.\n';
const crashedLine =
  '{"type":"actual_lrp_crashed","data":{"process_guid":"p","index":1,"domain":"d","instance_guid":"i","cell_id":"c","crash_count":3,"crash_reason":"boom\\n\\u003c\\u0026\\u003e","since":1700000000000000000}}\n';

describe('a word that prints events', () => {
  let words: BbsWords;

  before(async () => {
    words = await startBbsWords();
  });

  afterEach(() => words.bbs.reset());

  after(() => words.stop());

  async function play(index: number, ...played: BbsEvent[]): Promise<PlayedStream> {
    const stream = await words.bbs.stream(index);
    for (const event of played) stream.send(event);
    return stream;
  }

  it('prints a line of JSON for each event of LRPs, until the stream ends', async () => {
    const run = words.say(['lrp-events', '-x', '-c', 'c']);
    (await play(0, events.crashed, events.created)).end();
    const { status, out, error } = await run;
    expect({ status, error }).to.deep.equal({ status: 0, error: '' });
    expect(out.slice(0, crashedLine.length)).to.equal(crashedLine);
    expect(out.slice(crashedLine.length)).to.match(
      /^\{"type":"actual_lrp_instance_created","data":\{"actual_lrp":\{"process_guid":"p",.*\},"trace_id":"t"\}\}\n$/,
    );
    const [{ path, message, headers }] = words.bbs.requests as [(typeof words.bbs.requests)[0]];
    expect({ path, message }).to.deep.equal({ path: '/v1/events/lrp_instances.r1', message: { cellId: 'c' } });
    expect(headers).to.not.have.property('x-vcap-request-id');
    expect(words.bbs.requests).to.have.length(1);
  });

  it('prints those of the deprecated groups, too, but nothing twice, until both streams end', async () => {
    const run = words.say(['lrp-events', '--cell-id', 'c']);
    const groups = await play(0, events.desiredRemoved, events.crashed, events.groupCreated);
    const instances = await play(1, events.crashed);
    expect([groups.request.path, instances.request.path]).to.deep.equal([
      '/v1/events.r1',
      '/v1/events/lrp_instances.r1',
    ]);
    groups.end();
    instances.send(events.created);
    instances.end();
    const { status, out, error } = await run;
    expect({ status, error }).to.deep.equal({ status: 0, error: deprecation });
    const types = out
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { type: string }).type);
    expect(types).to.have.members(['actual_lrp_created', 'actual_lrp_crashed', 'actual_lrp_instance_created']);
  });

  it('prints those of tasks', async () => {
    const run = words.say(['task-events']);
    (await play(0, events.taskCreated)).end();
    expect((await run).out).to.match(/^\{"type":"task_created","data":\{"task":\{"task_guid":"t",/);
  });

  it('prints a line that a person can read', async () => {
    const run = words.say(['lrp-events'], { isOutputTerminal: true });
    const groups = await play(0, events.groupCreated, events.groupChanged);
    const { desiredRemoved, desiredChanged, crashed, created, changed } = events;
    const instances = await play(1, desiredRemoved, desiredChanged, crashed, created, changed);
    groups.end();
    instances.end();
    const { out } = await run;
    expect(out.trimEnd().split('\n')).to.have.members([
      'actual_lrp_created            p/1 RUNNING c',
      'actual_lrp_changed            p/1 RUNNING c',
      'desired_lrp_removed           p with 1 instances',
      'desired_lrp_changed           p with 1 instances -> p with 2 instances',
      'actual_lrp_crashed            p/1 crashed 3 times: boom <&>',
      'actual_lrp_instance_created   p/1 RUNNING c',
      'actual_lrp_instance_changed   p/1 CLAIMED -> RUNNING c',
    ]);
    const tasks = words.say(['task-events'], { isOutputTerminal: true });
    (await play(2, events.taskCreated, events.taskChanged)).end();
    expect((await tasks).out).to.equal(
      'task_created                  t Invalid\ntask_changed                  t Pending -> t Running c\n',
    );
  });

  it('goes on after a broken stream, and says that events may be missing', async () => {
    const run = words.say(['task-events']);
    (await play(0, events.taskCreated)).socket.end();
    (await play(1, events.taskCreated)).end();
    const { status, out, error } = await run;
    expect(status).to.equal(0);
    expect(out.split('\n')).to.have.length(3);
    expect(error).to.equal('the connection ended before the stream; it is tried again, and events may be missing\n');
  });

  it('ends with the interrupt of the operator', async () => {
    const interrupt = new AbortController();
    const run = words.say(['lrp-events'], { signal: interrupt.signal });
    await play(1);
    interrupt.abort();
    expect(await run).to.deep.equal({ status: 130, out: '', error: deprecation });
  });

  describe('that fails', () => {
    it('tells as an error of the BBS that it was not granted, with status 4', async () => {
      words.bbs.rawAnswers['/v1/events/lrp_instances.r1'] = (_request, response) => void response.writeHead(418).end();
      expect(await words.say(['lrp-events'])).to.deep.equal({
        status: 4,
        out: '',
        error: `${deprecation}Error: BBS error\nType 0: UnknownError\nMessage: Invalid Response with status code: 418\n`,
      });
    });

    it('tells an event of an unknown name with status 5, when the other stream has ended', async () => {
      const run = words.say(['lrp-events']);
      const groups = await play(0);
      groups.raw(chunk('event: moon_full\ndata: AA==\n\n'));
      (await play(1, events.crashed)).end();
      expect(await run).to.deep.equal({
        status: 5,
        out: crashedLine,
        error: `${deprecation}Error: unrecognized event type: "moon_full"\n`,
      });
    });
  });
});
