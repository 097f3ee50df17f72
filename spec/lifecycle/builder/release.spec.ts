import { expect } from 'chai';
import { parseRelease } from '../../../lib/lifecycle/builder/release.js';

describe('release info', () => {
  it('gives the default process types', () => {
    const output = '---\naddons: []\nconfig_vars: {}\ndefault_process_types:\n  web: perl .static/serve.pl\n';
    expect(parseRelease(output)).to.deep.equal({ web: 'perl .static/serve.pl' });
  });

  it('may have no process types, or be empty', () => {
    expect(parseRelease('--- {}\n')).to.deep.equal({});
    expect(parseRelease('default_process_types: ~\n')).to.deep.equal({});
    expect(parseRelease('')).to.deep.equal({});
  });

  for (const output of [']:[', 'just a text', '- a list', 'default_process_types: [web]']) {
    it(`is refused when it is ${output}`, () => {
      expect(() => parseRelease(output)).to.throw();
    });
  }
});
