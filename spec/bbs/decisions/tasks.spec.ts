import { expect } from 'chai';
import { convergeTask, planTasks, type TaskView } from '../../../lib/bbs/decisions/convergence/tasks.js';
import { taskEvents } from '../../../lib/bbs/decisions/events/task-events.js';
import * as tasks from '../../../lib/bbs/decisions/tasks/lifecycle.js';
import { invalidRequest, resourceExists, resourceNotFound } from '../../../lib/bbs/errors.js';
import { ErrorType, Task, TaskDefinition, TaskState } from '../../../lib/bbs/messages/models.js';
import { moment, now, second, since } from './instances.js';

const definition = TaskDefinition.create({ rootFs: 'x:y', completionCallbackUrl: 'http://h/done' });
const pending = Task.create({
  taskGuid: 't',
  domain: 'd',
  taskDefinition: definition,
  state: TaskState.Pending,
  createdAt: since,
  updatedAt: since,
});
const running: Task = { ...pending, state: TaskState.Running, cellId: 'c1' };
const completed: Task = { ...pending, state: TaskState.Completed, firstCompletedAt: since, failed: true };
const resolving: Task = { ...completed, state: TaskState.Resolving };
const result = { failed: false, failureReason: '', result: 'ok' };

function transition(text: string) {
  return { type: ErrorType.InvalidStateTransition, message: `Cannot transition from ${text}` };
}

describe('a task', () => {
  it('is pending when it is desired, and goes to auction', () => {
    const outcome = tasks.desire(undefined, { taskGuid: 't', domain: 'd', definition }, moment);
    expect(outcome.after).to.deep.equal({ ...pending, createdAt: now, updatedAt: now });
    expect(outcome.isAuctionWanted).to.equal(true);
    expect(tasks.desire(pending, { taskGuid: 't', domain: 'd', definition }, moment).error).to.deep.equal(
      resourceExists,
    );
  });

  it('starts once, also when the cell asks twice', () => {
    const first = tasks.start(pending, 'c1', moment);
    expect(first).to.deep.include({ shouldStart: true, after: { ...running, updatedAt: now } });
    expect(tasks.start(first.after, 'c1', moment)).to.deep.include({
      shouldStart: false,
      after: first.after,
      changes: [],
    });
  });

  it('starts on one cell only', () => {
    expect(tasks.start(running, 'c2', moment).error).to.deep.equal(transition('Running to Running'));
    expect(tasks.start(completed, 'c1', moment).error).to.deep.equal(transition('Completed to Running'));
  });

  it('is completed by its cell, with its result, and its callback is due', () => {
    const { after, isCallbackDue } = tasks.complete(running, 'c1', result, moment);
    expect(after).to.deep.include({ state: TaskState.Completed, cellId: '', result: 'ok', firstCompletedAt: now });
    expect(isCallbackDue).to.equal(true);
  });

  it('is not completed by another cell, or before it runs', () => {
    expect(tasks.complete(running, 'c2', result, moment).error).to.deep.equal({
      type: ErrorType.RunningOnDifferentCell,
      message: 'Running on cell c1 not c2',
    });
    expect(tasks.complete(pending, 'c1', result, moment).error).to.deep.equal(transition('Pending to Completed'));
  });

  it('has no callback without an address', () => {
    const task = { ...running, taskDefinition: TaskDefinition.create() };
    expect(tasks.complete(task, 'c1', result, moment).isCallbackDue).to.equal(false);
  });

  it('is cancelled with its reason, and its rep is told', () => {
    const outcome = tasks.cancel(running, moment);
    expect(outcome.after).to.deep.include({
      failed: true,
      failureReason: 'task was cancelled',
      result: '',
      cellId: '',
    });
    expect(outcome.cancelOnCell).to.equal('c1');
    expect(tasks.cancel(pending, moment)).not.to.have.property('cancelOnCell');
    expect(tasks.cancel(resolving, moment).error).to.deep.equal(transition('Resolving to Completed'));
  });

  it('fails with a reason that is cut', () => {
    expect(tasks.fail(pending, 'x'.repeat(3000), moment).after?.failureReason).to.have.length(1024);
  });

  it('goes back when it is rejected, three times, and then fails', () => {
    const options = { now, maximumRetries: 3 };
    let task: Task | undefined = running;
    for (const count of [1, 2, 3]) {
      const outcome = tasks.reject(task, 'no room', options);
      expect(outcome.after).to.deep.include({ state: TaskState.Pending, rejectionCount: count, cellId: '' });
      expect([outcome.isAuctionWanted, outcome.isCallbackDue]).to.deep.equal([false, false]);
      task = outcome.after;
    }
    const last = tasks.reject(task, 'no room', options);
    expect(last.after).to.deep.include({ state: TaskState.Completed, rejectionCount: 4, failureReason: 'no room' });
    expect(last.isCallbackDue).to.equal(true);
  });

  it('is not rejected when it is over', () => {
    expect(tasks.reject(completed, 'x', { now, maximumRetries: 3 })).to.deep.include({
      error: invalidRequest,
      changes: [],
    });
  });

  it('is resolved, then deleted, and in no other order', () => {
    expect(tasks.resolve(completed, moment).after?.state).to.equal(TaskState.Resolving);
    expect(tasks.resolve(running, moment).error).to.deep.equal(transition('Running to Resolving'));
    expect(tasks.remove(completed).error).to.deep.equal(transition('Completed to Resolving'));
    expect(tasks.remove(resolving)).to.deep.include({
      after: undefined,
      changes: [{ before: resolving, after: undefined }],
    });
  });

  it('that nobody knows is not found', () => {
    const outcomes = [
      tasks.start(undefined, 'c', moment),
      tasks.complete(undefined, 'c', result, moment),
      tasks.cancel(undefined, moment),
      tasks.fail(undefined, 'x', moment),
      tasks.reject(undefined, 'x', { now, maximumRetries: 3 }),
      tasks.resolve(undefined, moment),
      tasks.remove(undefined),
    ];
    for (const { error } of outcomes) expect(error).to.deep.equal(resourceNotFound);
  });
});

describe('convergence of tasks', () => {
  const patience = { expirePendingSeconds: 1800, expireCompletedSeconds: 120, kickSeconds: 30, rejectedSeconds: 27 };
  const view = (seconds: number, cells: ReadonlySet<string> | undefined = new Set(['c1'])): TaskView => ({
    now: since + BigInt(seconds) * second,
    cells,
    patience,
  });
  const namesOf = (task: Task, at: TaskView) => taskEvents(convergeTask(task, at).changes).map(({ name }) => name);

  it('auctions what is pending, and gives it up after half an hour', () => {
    expect(convergeTask(pending, view(1800))).to.deep.include({ after: pending, isAuctionWanted: true });
    const late = convergeTask(pending, view(1801));
    expect(late.after).to.deep.include({ failed: true, failureReason: 'not started within time limit' });
    expect([late.isAuctionWanted, late.isCallbackDue]).to.deep.equal([false, false]);
  });

  it('offers what no cell took only when it has waited, however often there is a pass', () => {
    const { after } = tasks.reject(pending, 'no room', { now: since, maximumRetries: 3 });
    expect(convergeTask(after!, view(27))).to.deep.include({ after, isAuctionWanted: false });
    expect(convergeTask(after!, view(28))).to.deep.include({ after, isAuctionWanted: true });
    expect(convergeTask(after!, view(1801)).after).to.deep.include({ state: TaskState.Completed });
  });

  it('fails what ran on a cell that is gone, which stays named', () => {
    const { after } = convergeTask(running, view(1, new Set(['c2'])));
    expect(after).to.deep.include({ failureReason: 'cell disappeared before completion', cellId: 'c1' });
    expect(convergeTask(running, view(1)).changes).to.deep.equal([]);
  });

  it('takes no cell for gone while it does not know which there are', () => {
    const unknown: TaskView = { ...view(1), cells: undefined };
    expect(convergeTask(running, unknown).changes).to.deep.equal([]);
    expect(convergeTask(running, view(1, new Set())).changes).to.have.length(1);
  });

  it('offers a result again that was not taken within half a minute', () => {
    expect(namesOf(resolving, view(30))).to.deep.equal([]);
    const outcome = convergeTask(resolving, view(31));
    expect(outcome.after).to.deep.equal({ ...completed, updatedAt: since });
    expect(outcome.isCallbackDue).to.equal(true);
  });

  it('deletes what was completed two minutes ago, telling of each step', () => {
    expect(namesOf(completed, view(121))).to.deep.equal(['task_removed']);
    expect(namesOf(resolving, view(121))).to.deep.equal(['task_changed', 'task_removed']);
    expect(convergeTask(completed, view(121)).after).to.equal(undefined);
  });

  it('leaves out those about which nothing is to be done', () => {
    expect(planTasks([pending, running, completed], view(1)).map(({ before }) => before)).to.deep.equal([pending]);
  });
});
