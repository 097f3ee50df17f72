import { expect } from 'chai';
import { Activity } from '../../../lib/dea/activity.js';
import { countedLogger } from '../../../lib/dea/component/counted-logger.js';
import { recordingLogger } from '../../support/recording-logger.js';

describe('a counted logger', () => {
  it('counts the lines of each level that is logged, those of its children included', () => {
    const recording = recordingLogger();
    const { logger, counts } = countedLogger(recording.logger, 'info');
    logger.info('a', { x: 1 });
    logger.debug('b');
    logger.child({ tag: 1 }).error('c');
    logger.child({ tag: 1 }, 'Source').child({}).error('d');
    expect(counts).to.deep.equal({
      ...{ off: 0, fatal: 0, error: 2, warn: 0, info: 1, debug: 0, debug1: 0, debug2: 0, all: 0 },
    });
    expect(recording.lines.map(({ level, message }) => `${level} ${message}`)).to.deep.equal([
      ...['info a', 'debug b', 'error c', 'error d'],
    ]);
    expect(recording.lines[0]!.data).to.deep.equal({ x: 1 });
  });
});

describe('the activity of an agent', () => {
  it('puts durations of stagings into all classes that are wide enough', () => {
    const activity = new Activity();
    for (const seconds of [1, 20, 20, 5000]) activity.stagingEnded(seconds, seconds < 100);
    expect(activity.stagings).to.deep.equal({
      ok: 3,
      failed: 1,
      seconds: 5041,
      byBound: [1, 1, 3, 3, 3, 3, 3, 3],
    });
  });

  it('sums calls of the engine by method and in total', () => {
    const activity = new Activity();
    activity.engineCalled('run', 1, true);
    activity.engineCalled('run', 2, false);
    activity.engineCalled('create', 4, true);
    expect(activity.engineCalls.get('run')).to.deep.equal({ count: 2, failed: 1, seconds: 3 });
    expect(activity.engineTotal).to.deep.equal({ count: 3, failed: 1, seconds: 7 });
  });
});
