import { expect } from 'chai';
import { HealthMonitor } from '../../../lib/dea/instances/health-monitor.js';
import { eventually } from '../../support/eventually.js';

describe('the check of a running app', () => {
  let answers: (boolean | Error)[];
  let checks: number;
  let verdicts: number;
  let monitor: HealthMonitor;

  function make(intervalMs = 5): void {
    checks = 0;
    verdicts = 0;
    monitor = new HealthMonitor({
      intervalMs,
      isAnswering: async () => {
        const answer = answers[Math.min(checks, answers.length - 1)]!;
        checks += 1;
        if (answer instanceof Error) throw answer;
        return answer;
      },
      onUnhealthy: () => {
        verdicts += 1;
      },
    });
  }

  afterEach(() => monitor.stop());

  it('finds an app unhealthy after three failures in a row, once', async () => {
    answers = [true, false, false, true, false, new Error('gone'), false];
    make();
    monitor.start();
    await eventually(() => (verdicts > 0 ? true : undefined));
    expect(checks).to.equal(7);
    expect(verdicts).to.equal(1);
  });

  it('is not made when the interval is 0, as upstream makes none', async () => {
    answers = [false];
    make(0);
    monitor.start();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(checks).to.equal(0);
  });

  it('ends when it is stopped, for good', async () => {
    answers = [false];
    make();
    monitor.stop();
    monitor.start();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(checks).to.equal(0);
  });
});
