import { expect } from 'chai';
import { originalEnvironment } from '../../lib/lifecycle/original-environment.js';

describe('the original environment', () => {
  it('has withheld values back under their own names, and no carriers', () => {
    const environment = originalEnvironment({
      HOME: '/home/vcap',
      ISTHMUS_WITHHELD_NODE_OPTIONS: '--max-old-space-size=100',
      ISTHMUS_WITHHELD_LD_PRELOAD: '',
    });
    expect(environment).to.deep.equal({
      HOME: '/home/vcap',
      NODE_OPTIONS: '--max-old-space-size=100',
      LD_PRELOAD: '',
    });
  });

  it('is the given one when nothing was withheld', () => {
    expect(originalEnvironment({ PATH: '/bin', NODE_PATH: '/x' })).to.deep.equal({ PATH: '/bin', NODE_PATH: '/x' });
  });
});
