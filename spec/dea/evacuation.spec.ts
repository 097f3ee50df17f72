import { expect } from 'chai';
import type { DeaConfig } from '../../lib/dea/config.js';
import { bailOutSeconds, Evacuation, evacuationEnd } from '../../lib/dea/evacuation.js';
import type { Heartbeat } from '../../lib/dea/heartbeat.js';
import type { InstanceManager } from '../../lib/dea/instances/instance-manager.js';
import { InstanceRegistry } from '../../lib/dea/instances/instance-registry.js';
import type { StagingRegistry } from '../../lib/dea/staging/staging-registry.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { eventually } from '../support/eventually.js';

describe('the end of an evacuation', () => {
  const progress = { states: [], stagingTasks: 0, elapsedMs: 0, bailOutMs: 600_000 };

  it('has come when nothing lives any more', () => {
    expect(evacuationEnd(progress)).to.equal('drained');
    expect(evacuationEnd({ ...progress, states: ['STOPPING', 'STOPPED', 'CRASHED'] })).to.equal('drained');
  });

  for (const state of ['BORN', 'STARTING', 'RUNNING', 'RESUMING', 'EVACUATING'] as const) {
    it(`is held up by an instance in ${state}`, () => {
      expect(evacuationEnd({ ...progress, states: ['CRASHED', state] })).to.equal(undefined);
    });
  }

  it('is held up by a staging task', () => {
    expect(evacuationEnd({ ...progress, stagingTasks: 1 })).to.equal(undefined);
  });

  it('comes when the time is up, whatever lives', () => {
    const held = { ...progress, states: ['EVACUATING' as const], stagingTasks: 2 };
    expect(evacuationEnd({ ...held, elapsedMs: 599_999 })).to.equal(undefined);
    expect(evacuationEnd({ ...held, elapsedMs: 600_000 })).to.equal('bail-out');
  });
});

describe('the bail-out time of an evacuation', () => {
  const seconds = (keys: Partial<DeaConfig>) => bailOutSeconds(keys as DeaConfig);

  it('is what the file says, in the words of its time, or ten minutes', () => {
    expect(seconds({})).to.equal(600);
    expect(seconds({ evacuation_delay_secs: 30 })).to.equal(30);
    expect(seconds({ evacuation_bail_out_time_in_seconds: 900, evacuation_delay_secs: 30 })).to.equal(900);
  });
});

describe('an evacuation', () => {
  function make(nowMs: () => number, ends: string[]): Evacuation {
    const instances = new InstanceRegistry();
    return new Evacuation({
      bailOutMs: 60_000,
      instances,
      manager: {} as InstanceManager,
      stagingTasks: { all: () => [{}] } as unknown as StagingRegistry,
      heartbeat: { send: () => ends.push('heartbeat') } as unknown as Heartbeat,
      monotonicClock: nowMs,
      onEnd: () => ends.push('end'),
      logger: silentLogger,
    });
  }

  it('reports at once, ends once, by a clock that nobody sets', async () => {
    let nowMs = 1_000;
    const seen: string[] = [];
    const evacuation = make(() => nowMs, seen);
    evacuation.start();
    evacuation.start();
    expect(seen).to.deep.equal(['heartbeat']);
    nowMs += 60_000;
    await eventually(() => (seen.includes('end') ? true : undefined));
    evacuation.stop();
    expect(seen).to.deep.equal(['heartbeat', 'end']);
  });

  it('tells of no end once it was stopped', async () => {
    let nowMs = 0;
    const seen: string[] = [];
    const evacuation = make(() => nowMs, seen);
    evacuation.start();
    evacuation.stop();
    nowMs = 1e9;
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(seen).to.deep.equal(['heartbeat']);
  });
});
