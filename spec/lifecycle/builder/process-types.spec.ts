import { expect } from 'chai';
import { processTypes, procfileReplaces, startCommand } from '../../../lib/lifecycle/builder/process-types.js';

describe('process types', () => {
  it('are a mapping of types to commands', () => {
    expect(processTypes({ web: 'run', worker: 'work' })).to.deep.equal({ web: 'run', worker: 'work' });
  });

  it('leave out a type without a command', () => {
    expect(processTypes({ web: null, worker: 'work' })).to.deep.equal({ worker: 'work' });
  });

  for (const [title, value] of [
    ['a list', ['web']],
    ['a text', 'web'],
    ['nothing', null],
    ['a mapping in a mapping', { web: { command: 'x' } }],
  ] as const) {
    it(`are not ${title}`, () => {
      expect(() => processTypes(value)).to.throw(TypeError);
    });
  }

  it("of a Procfile replace all released ones under the DEA's rule", () => {
    expect(procfileReplaces({ worker: 'work' }, { web: 'released' })).to.deep.equal({ worker: 'work' });
    expect(procfileReplaces(null, { web: 'released' })).to.deep.equal({ web: 'released' });
  });
});

describe('the start command', () => {
  const procfile = { web: 'from Procfile' };
  const released = { web: 'from release' };

  it("is the user's own before all others", () => {
    expect(startCommand('own', procfile, released)).to.equal('own');
  });

  it("is the Procfile's web when the user has none", () => {
    expect(startCommand(undefined, procfile, released)).to.equal('from Procfile');
    expect(startCommand('', procfile, released)).to.equal('from Procfile');
    expect(startCommand(null, procfile, released)).to.equal('from Procfile');
  });

  it('is the released one without a Procfile, and with one that has no web', () => {
    expect(startCommand(null, null, released)).to.equal('from release');
    expect(startCommand(null, { worker: 'work' }, released)).to.equal('from release');
  });

  it('is null when nobody names one', () => {
    expect(startCommand(null, null, {})).to.equal(null);
  });
});
