import { expect } from 'chai';
import { InvalidProcfileError } from '../../../lib/lifecycle/builder/errors.js';
import { parseProcfile } from '../../../lib/lifecycle/builder/procfile.js';

describe('a Procfile', () => {
  it('gives commands by process type', () => {
    expect(parseProcfile('web: bundle exec rackup -p $PORT\nworker: rake work\n')).to.deep.equal({
      web: 'bundle exec rackup -p $PORT',
      worker: 'rake work',
    });
  });

  it('keeps commands as they are spelled, whatever they look like', () => {
    expect(parseProcfile('web: 08\nclock: yes\nquoted: "true"\n')).to.deep.equal({
      web: '08',
      clock: 'yes',
      quoted: 'true',
    });
  });

  it('takes the last of two commands for one type', () => {
    expect(parseProcfile('web: first\nweb: second\n')).to.deep.equal({ web: 'second' });
  });

  it('may have a type called __proto__ without harm', () => {
    const types = parseProcfile('__proto__: x\nweb: y\n');
    expect(Object.keys(types!)).to.deep.equal(['__proto__', 'web']);
    expect(Object.getPrototypeOf(types)).to.equal(Object.prototype);
  });

  it('counts as absent without content', () => {
    expect(parseProcfile('')).to.equal(null);
    expect(parseProcfile('# nothing yet\n')).to.equal(null);
    expect(parseProcfile('---\n')).to.equal(null);
  });

  for (const [title, content] of [
    ['a list', '- web: x\n'],
    ['a text', 'just a line\n'],
    ['no YAML', 'web: [unclosed\n'],
    ['a mapping of mappings', 'web:\n  command: x\n'],
  ] as const) {
    it(`is refused as ${title}`, () => {
      expect(() => parseProcfile(content)).to.throw(
        InvalidProcfileError,
        'Invalid Procfile format. Please ensure it is a valid YAML hash',
      );
    });
  }
});
