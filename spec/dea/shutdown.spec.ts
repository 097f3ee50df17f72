import { expect } from 'chai';
import { step } from '../../lib/dea/shutdown.js';
import { type Logger, silentLogger } from '../../lib/logging/logger.js';

describe('a step of a shutdown', () => {
  let errors: string[];
  let logger: Logger;

  beforeEach(() => {
    errors = [];
    logger = { ...silentLogger, error: (message: string) => void errors.push(message) };
  });

  it('is waited for', async () => {
    let isDone = false;
    await step(
      'work',
      10_000,
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        isDone = true;
      },
      logger,
    );
    expect(isDone).to.equal(true);
    expect(errors).to.deep.equal([]);
  });

  it('that hangs is left behind when its time is up, and named', async () => {
    await step('bus', 20, () => new Promise(() => {}), logger);
    expect(errors).to.deep.equal(['shutdown.bus.timed-out']);
  });

  it('that fails is named, and keeps nobody', async () => {
    await step('bus', 10_000, () => Promise.reject(new Error('no')), logger);
    expect(errors).to.deep.equal(['shutdown.bus.failed']);
  });
});
