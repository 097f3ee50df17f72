import { expect } from 'chai';
import { crashesOf, flappingIndices, runningCount } from '../../../lib/mini-cc/health/app-health.js';
import type { AppState } from '../../../lib/mini-cc/messages.js';

const beat = (instance: string, index: number, state: string) => ({ instance, index, state, state_timestamp: 12.5 });
const health = (more: Partial<AppState>): AppState => ({ droplet: 'app', version: 'v', ...more });

describe('what the health manager tells of an app', () => {
  it('counts wished indices that run or start, each once', () => {
    const told = health({
      instance_heartbeats: [
        beat('a', 0, 'RUNNING'),
        beat('b', 0, 'STARTING'),
        beat('c', 1, 'STARTING'),
        beat('d', 2, 'CRASHED'),
        beat('e', 3, 'RUNNING'),
      ],
    });
    expect(runningCount(told, 3)).to.equal(2);
    expect(runningCount(told, 0)).to.equal(0);
    expect(runningCount(health({ instance_heartbeats: [] }), 3)).to.equal(0);
  });

  it('counts nothing when the health manager does not know', () => {
    expect(runningCount(health({ instance_heartbeats: null }), 3)).to.equal(undefined);
    expect(runningCount(health({}), 3)).to.equal(undefined);
  });

  it('lists crashed instances of every index', () => {
    const told = health({
      instance_heartbeats: [beat('a', 0, 'CRASHED'), beat('b', 0, 'RUNNING'), beat('c', 0, 'CRASHED')],
    });
    expect(crashesOf(told)).to.deep.equal([
      { instance: 'a', since: 12.5 },
      { instance: 'c', since: 12.5 },
    ]);
    expect(crashesOf(health({}))).to.deep.equal([]);
  });

  it('calls an index flapping from the threshold on, unless it lives at this moment', () => {
    const count = (instance_index: number, crash_count: number) => ({ instance_index, crash_count, created_at: 99 });
    const told = health({
      instance_heartbeats: [beat('a', 2, 'RUNNING'), beat('b', 1, 'CRASHED')],
      crash_counts: [count(0, 2), count(1, 3), count(2, 7)],
    });
    expect([...flappingIndices(told, 3)]).to.deep.equal([[1, 99]]);
    expect([...flappingIndices(told, 2)]).to.deep.equal([
      [0, 99],
      [1, 99],
    ]);
    expect([...flappingIndices(health({}), 3)]).to.deep.equal([]);
  });
});
