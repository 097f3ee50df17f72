import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect } from 'chai';
import { type Task, TaskState } from '../../../../lib/bbs/messages/models.js';
import { type Caller, refusal } from '../../../support/board/caller.js';
import { Watch } from '../../../support/board/watch.js';
import { eventually } from '../../../support/eventually.js';
import { bodyOf, type HttpServer, startHttpServer } from '../../../support/http-server.js';

const notFound = 'ResourceNotFound: the requested resource could not be found';

/** docs/protocol/bbs.md §9 */
export function itKeepsTasks(caller: () => Caller): void {
  const start = (taskGuid: string, cellId: string) => caller().call('StartTask', { taskGuid, cellId });
  const complete = (taskGuid: string, cellId: string) =>
    caller().call('CompleteTask', { taskGuid, cellId, result: 'done' });
  const reject = () => caller().call('RejectTask', { taskGuid: 't', rejectionReason: 'no room' });
  const inShort = ({ state, failed, failureReason }: Task) => [state, failed, failureReason];

  describe('tasks', () => {
    it('run on one cell', async () => {
      const watch = await Watch.open(caller(), 'TaskEventStream');
      await caller().desireTask('t', { placementTags: ['gpu'] }, 'trace');
      const [pending] = [await caller().task('t')];
      expect([pending.state, pending.cellId]).to.deep.equal([TaskState.Pending, '']);
      const { auctioneer } = caller().board;
      const [asked] = await eventually(() => (auctioneer.requests.length > 0 ? auctioneer.requests : undefined));
      expect(asked!.headers['x-vcap-request-id']).to.equal('trace');
      expect(asked!.body).to.deep.equal([
        {
          ...{ TaskGuid: 't', Domain: 'd', PlacementTags: ['gpu'], VolumeDrivers: [], RootFs: 'preloaded:cflinuxfs4' },
          ...{ MemoryMB: 1, DiskMB: 2, MaxPids: 0, state: 'Invalid', failed: false },
        },
      ]);
      expect((await start('t', 'c1')).shouldStart).to.equal(true);
      expect((await start('t', 'c1')).shouldStart).to.equal(false);
      expect(await refusal(start('t', 'c2'))).to.equal(
        'InvalidStateTransition: Cannot transition from Running to Running',
      );
      expect(await refusal(complete('t', 'c2'))).to.equal('RunningOnDifferentCell: Running on cell c1 not c2');
      await complete('t', 'c1');
      const task = await caller().task('t');
      expect([task.state, task.cellId, task.result]).to.deep.equal([TaskState.Completed, '', 'done']);
      expect(task.firstCompletedAt).to.equal(task.updatedAt);
      expect(await refusal(complete('t', 'c1'))).to.equal(
        'InvalidStateTransition: Cannot transition from Completed to Completed',
      );
      expect(await watch.toldBriefly()).to.deep.equal(['task_created', 'task_changed', 'task_changed']);
      watch.stop();
    });

    it('exist once, and are known', async () => {
      await caller().desireTask('t');
      expect(await refusal(caller().desireTask('t'))).to.match(/^ResourceExists/);
      for (const call of [start('u', 'c1'), complete('u', 'c1')]) expect(await refusal(call)).to.equal(notFound);
      for (const name of ['TaskByGuid', 'CancelTask', 'ResolvingTask', 'DeleteTask'] as const) {
        expect(await refusal(caller().call(name, { taskGuid: 'u' }))).to.equal(notFound);
      }
    });

    it('are deleted when they are resolved', async () => {
      const watch = await Watch.open(caller(), 'TaskEventStream');
      const remove = () => caller().call('DeleteTask', { taskGuid: 't' });
      await caller().desireTask('t');
      await caller().call('CancelTask', { taskGuid: 't' });
      expect(await refusal(remove())).to.equal('InvalidStateTransition: Cannot transition from Completed to Resolving');
      await caller().call('ResolvingTask', { taskGuid: 't' });
      await remove();
      expect(await refusal(remove())).to.equal(notFound);
      expect(await watch.toldBriefly()).to.deep.equal(['task_created', 'task_changed', 'task_changed', 'task_removed']);
      watch.stop();
    });

    it('are cancelled, on their cell too', async () => {
      const { rep } = caller().board;
      await caller().desireTask('t');
      await start('t', 'c1');
      await caller().call('CancelTask', { taskGuid: 't' });
      expect(inShort(await caller().task('t'))).to.deep.equal([TaskState.Completed, true, 'task was cancelled']);
      await eventually(() => rep.requests.length > 0 || undefined, { what: 'a request to cancel' });
      expect(rep.requests.map(({ method, path }) => `${method} ${path}`)).to.deep.equal(['POST /v1/tasks/t/cancel']);
      expect(await refusal(caller().call('CancelTask', { taskGuid: 't' }))).to.equal(
        'InvalidStateTransition: Cannot transition from Completed to Completed',
      );
    });

    it('are tried again three times when no cell takes them', async () => {
      const callbacks = await playCallbacks();
      await caller().desireTask('t', { completionCallbackUrl: callbacks.url });
      await start('t', 'c1');
      for (const count of [1, 2, 3]) {
        await reject();
        const task = await caller().task('t');
        expect([task.state, task.cellId, task.rejectionCount, task.rejectionReason]).to.deep.equal([
          ...[TaskState.Pending, '', count, 'no room'],
        ]);
      }
      const watch = await Watch.open(caller(), 'TaskEventStream');
      await reject();
      const [changed] = await watch.told();
      watch.stop();
      expect(changed).to.have.nested.property('message.after.rejectionCount', 4);
      expect(changed).to.have.nested.property('message.after.failureReason', 'no room');
      const [body] = await callbacks.bodies(1);
      expect(body).to.deep.include({ task_guid: 't', failed: true, failure_reason: 'no room' });
      await untilGone(caller(), 't');
      await callbacks.stop();
    });

    it('are not rejected when they are over', async () => {
      await caller().desireTask('t');
      await caller().call('CancelTask', { taskGuid: 't' });
      const watch = await Watch.open(caller(), 'TaskEventStream');
      expect(await refusal(reject())).to.equal('InvalidRequest: the request received is invalid');
      expect(await watch.told()).to.deep.equal([]);
      watch.stop();
    });

    it('keep their result in full, and the beginning of a long reason', async () => {
      await caller().desireTask('t');
      await start('t', 'c1');
      const result = 'é'.repeat(5000);
      const failureReason = 'é'.repeat(1000);
      await caller().call('CompleteTask', { taskGuid: 't', cellId: 'c1', failed: true, failureReason, result });
      const task = await caller().task('t');
      expect(task.result).to.equal(result);
      expect(task.failureReason).to.equal(`${'é'.repeat(506)}(truncated)`);
    });
  });

  describe('tasks with a callback', () => {
    let callbacks: PlayedCallbacks;

    beforeEach(async () => {
      callbacks = await playCallbacks();
    });

    afterEach(() => callbacks.stop());

    async function finish(url = callbacks.url): Promise<void> {
      await caller().desireTask('t', { completionCallbackUrl: url, annotation: '<&>' });
      await start('t', 'c1');
      await complete('t', 'c1');
    }

    it('tell it what became of them, and go', async () => {
      await finish();
      const { createdAt } = await callbacks.whenAsked(() => caller().task('t'));
      await callbacks.answer();
      await untilGone(caller(), 't');
      const [{ headers, text }] = callbacks.requests as [PlayedCallback];
      expect(headers['content-type']).to.equal('application/json');
      expect(text).to.equal(
        `{"task_guid":"t","failed":false,"failure_reason":"","result":"done","annotation":"\\u003c\\u0026\\u003e","created_at":${createdAt}}`,
      );
    });

    it('ask again while it is not there for a moment', async () => {
      callbacks.statuses = [503, 504, 200];
      await finish();
      await untilGone(caller(), 't');
      expect(callbacks.requests).to.have.length(3);
    });

    it('take any other answer for an answer', async () => {
      callbacks.statuses = [404];
      await finish();
      await untilGone(caller(), 't');
      expect(callbacks.requests).to.have.length(1);
    });

    it('follow where it has gone', async () => {
      const moved = await startHttpServer((_request, response) => {
        response.writeHead(307, { Location: callbacks.url }).end();
      });
      await finish(moved.url);
      await untilGone(caller(), 't');
      await moved.stop();
      expect(callbacks.requests.map(({ method }) => method)).to.deep.equal(['POST']);
      expect(callbacks.requests[0]!.text).to.contain('"task_guid":"t"');
    });

    it('stay resolving when it is never there, until convergence offers them again', async () => {
      callbacks.statuses = [503, 503, 503];
      await finish();
      await callbacks.bodies(3);
      await offeredAgain(3);
    });

    it('stay resolving when it hangs up, and are not offered again at once', async () => {
      callbacks.statuses = [undefined];
      await finish();
      await callbacks.bodies(1);
      await offeredAgain(1);
    });

    async function offeredAgain(soFar: number): Promise<void> {
      const { board } = caller();
      expect((await caller().task('t')).state).to.equal(TaskState.Resolving);
      await board.bbs.converge();
      expect((await caller().task('t')).state).to.equal(TaskState.Resolving);
      board.advance(31);
      const watch = await Watch.open(caller(), 'TaskEventStream');
      await board.bbs.converge();
      await untilGone(caller(), 't');
      expect(callbacks.requests).to.have.length(soFar + 1);
      const states = (await watch.told()).map(({ message }) => 'after' in message && (message.after as Task).state);
      watch.stop();
      expect(states.slice(0, 2)).to.deep.equal([TaskState.Completed, TaskState.Resolving]);
    }
  });

  describe('tasks that nobody takes care of', () => {
    it('are auctioned again and again, and given up', async () => {
      const { board } = caller();
      await caller().desireTask('t');
      await caller().auctionedTasks();
      await board.bbs.converge();
      expect(await caller().auctionedTasks()).to.deep.equal(['t']);
      board.advance(1801);
      await board.bbs.converge();
      expect(inShort(await caller().task('t'))).to.deep.equal([
        ...[TaskState.Completed, true, 'not started within time limit'],
      ]);
      expect(await caller().auctionedTasks()).to.deep.equal([]);
    });

    it('are given up when their cell is gone, and told of later', async () => {
      const { board } = caller();
      const callbacks = await playCallbacks();
      await board.addCell('leaving');
      await caller().desireTask('t', { completionCallbackUrl: callbacks.url });
      await start('t', 'leaving');
      await board.bbs.converge();
      expect((await caller().task('t')).state).to.equal(TaskState.Running);
      await board.removeCell('leaving');
      await board.bbs.converge();
      expect(inShort(await caller().task('t'))).to.deep.equal([
        ...[TaskState.Completed, true, 'cell disappeared before completion'],
      ]);
      board.advance(31);
      await board.bbs.converge();
      await untilGone(caller(), 't');
      expect(callbacks.requests).to.have.length(1);
      await callbacks.stop();
    });

    it('go two minutes after they are completed', async () => {
      const { board } = caller();
      await caller().desireTask('t');
      await caller().call('CancelTask', { taskGuid: 't' });
      const watch = await Watch.open(caller(), 'TaskEventStream');
      board.advance(119);
      await board.bbs.converge();
      expect(await caller().hasTask('t')).to.equal(true);
      board.advance(2);
      await board.bbs.converge();
      expect(await caller().hasTask('t')).to.equal(false);
      expect(await watch.toldBriefly()).to.deep.equal(['task_removed']);
      watch.stop();
    });
  });
}

async function untilGone(caller: Caller, taskGuid: string): Promise<void> {
  await eventually(async () => ((await caller.hasTask(taskGuid)) ? undefined : true), { what: 'the end of the task' });
}

interface PlayedCallback {
  method: string;
  headers: Record<string, unknown>;
  text: string;
}

/** Who wants to know of completed tasks. */
interface PlayedCallbacks extends Pick<HttpServer, 'url' | 'stop'> {
  requests: PlayedCallback[];
  /** Of the next answers, 200 behind the last one; undefined hangs up. */
  statuses: (number | undefined)[];
  bodies(count: number): Promise<Record<string, unknown>[]>;
  /** Looks while the request waits for its answer. */
  whenAsked<T>(look: () => Promise<T>): Promise<T>;
  answer(): Promise<void>;
}

async function playCallbacks(): Promise<PlayedCallbacks> {
  const requests: PlayedCallback[] = [];
  const waiting: ServerResponse[] = [];
  let isHeld = false;
  const server = await startHttpServer(async (request, response) => {
    const text = (await bodyOf(request)).toString();
    requests.push({ method: request.method ?? '', headers: request.headers, text });
    const status = played.statuses.length > 0 ? played.statuses.shift() : 200;
    if (status === undefined) response.destroy();
    else if (isHeld) waiting.push(response.writeHead(status));
    else response.writeHead(status).end();
  });
  const played: PlayedCallbacks = {
    url: server.url,
    requests,
    statuses: [],
    async bodies(count) {
      await eventually(() => requests.length >= count || undefined, { what: `${count} callbacks` });
      return requests.map(({ text }) => JSON.parse(text));
    },
    whenAsked: (look) => {
      isHeld = true;
      return look();
    },
    async answer() {
      const response = await eventually(() => waiting.shift(), { what: 'a callback' });
      const closed = once(response, 'close');
      response.end();
      await closed;
      isHeld = false;
    },
    stop: () => server.stop(),
  };
  return played;
}
